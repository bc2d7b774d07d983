"""Ollama's driver. Its answers are composed after Ollama 0.33's documentation and source, not recorded."""

import json
from typing import Any

import msgspec
import pytest

from benchsuite.driver import LoadsModels, engine_arguments, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Message, Target
from benchsuite_backends.ollama import Ollama

URL = "http://127.0.0.1:11434"
DRIVER = Ollama()
NDJSON = (("content-type", "application/x-ndjson"),)
JSON = (("content-type", "application/json; charset=utf-8"),)
HEAD = {"model": "qwen3:8b", "created_at": "2026-11-24T10:00:00.123456789Z"}
END = {
    "done": True,
    "done_reason": "length",
    "total_duration": 5043500667,
    "load_duration": 5025959,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 325953000,
    "eval_count": 4,
    "eval_duration": 4709213000,
}


def lines(*objects: dict[str, Any], end: bytes = b"\n") -> bytes:
    return b"\n".join(json.dumps(HEAD | one).encode() for one in objects) + end


def said(text: str = "", **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text} | more, "done": False}


def last(text: str = "", **more: Any) -> dict[str, Any]:
    return said(text) | END | more


def written(text: str) -> dict[str, Any]:
    return {"response": text, "done": False}


CHAT = lines(said(" sep"), said("ar"), said("ate"), last("d."))
THINKING = lines(said(thinking="Let"), said(thinking=" me"), said("Yes"), last())
GENERATE = lines(written("a"), written(" b"), {"response": ""} | END, end=b"")
TOOLS = lines(said(tool_calls=[{"function": {"name": "look", "arguments": {"q": 1}}}]), last())
WHOLE = json.dumps(HEAD | last("Hello.")).encode()
COMPATIBLE = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":" you"},"finish_reason":"length"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":26,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)
FACTS: dict[str, Any] = {"prompt_tokens": 26, "output_tokens": 4, "finish_reason": "length"}
VERSION = tape(b'{"version":"0.33.0"}', headers=JSON)


def answered(body: object, status: int = 200):
    return tape(json.dumps(body).encode(), status=status, headers=JSON)


def model(name: str = "qwen3:8b", quantization: str = "Q4_K_M", **more: Any) -> dict[str, Any]:
    details = {
        "format": "gguf",
        "family": "qwen3",
        "parameter_size": "8.2B",
        "quantization_level": quantization,
    }
    return {"name": name, "model": name, "size": 1000, "details": details} | more


def identity(loaded=(), there=(), shown: dict[str, Any] | None = None):
    tapes = [VERSION, answered({"models": list(loaded)}), answered({"models": list(there)})]
    if shown is not None:
        tapes.append(answered(shown) if shown else answered({"error": "model 'x' not found"}, 404))
    return DRIVER.identity(tuple(tapes))


class TestOllama(DriverConformance):
    driver = DRIVER
    target = Target(backend="ollama", url=URL, model="qwen3:8b", key=KEY)
    recordings = (
        Recording(
            name="chat", tape=tape(CHAT, headers=NDJSON), events=4, first_text=" sep", last_text="d.", **FACTS
        ),
        Recording(name="thinking", tape=tape(THINKING), events=3, first_text="Let", last_text="Yes", **FACTS),
        Recording(name="generate", tape=tape(GENERATE), events=2, first_text="a", last_text=" b", **FACTS),
        Recording(
            name="tools",
            tape=tape(TOOLS),
            events=1,
            first_text='look{"q":1}',
            last_text='look{"q":1}',
            **FACTS,
        ),
        Recording(name="whole", tape=tape(WHOLE, headers=JSON), **FACTS),
        Recording(
            name="unknown model",
            tape=answered({"error": "model 'x' not found"}, 404),
            error_kind="not_found",
            complete=False,
        ),
        Recording(
            name="full queue",
            tape=answered(
                {"error": "server busy, please try again.  maximum pending requests exceeded"}, 503
            ),
            error_kind="overloaded",
            complete=False,
        ),
    )
    identity_tapes = (VERSION, answered({"models": []}), answered({"models": []}))
    # An event ends with its brace; the line feed before the error is the line's own.
    error_event = b'\n{"error":"an error was encountered while running the model"}\n'
    usage_field = b""


class TestOllamaCompatible(DriverConformance):
    driver = DRIVER
    target = Target(backend="ollama", url=URL, model="m", key=KEY, options={"endpoint": "chat"})
    recordings = (
        Recording(
            name="compatible",
            tape=tape(COMPATIBLE),
            events=2,
            first_text="Hi",
            last_text=" you",
            prompt_tokens=26,
            output_tokens=2,
            finish_reason="length",
        ),
    )
    identity_tapes = TestOllama.identity_tapes
    unobserved = {"server_timings": "only the native endpoints tell them"}


def test_each_kind_of_delta_is_told_apart():
    assert DRIVER.decode(tape(THINKING)).kind == b"rrc"
    assert DRIVER.decode(tape(TOOLS)).kind == b"t"
    both = DRIVER.decode(tape(lines(said("b", thinking="a"), last())))
    assert (both.kind, list(both.texts)) == (b"rc", ["a", "b"])


def test_a_whole_answer_that_is_not_done_is_not_complete():
    unfinished = json.dumps(HEAD | said("Hel")).encode()
    assert not DRIVER.decode(tape(unfinished, headers=JSON)).complete
    assert not DRIVER.decode(tape(WHOLE[:-1], headers=JSON)).complete


def test_durations_stay_in_nanoseconds_under_their_own_names():
    timings = DRIVER.decode(tape(CHAT)).server_timings
    assert timings == {name: float(value) for name, value in END.items() if name.endswith("_duration")}


def test_counts_and_durations_that_are_left_out_are_unknown():
    reply = DRIVER.decode(tape(lines(said("a"), said() | {"done": True, "done_reason": "stop"})))
    assert (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens) == (None, None, None)
    assert reply.server_timings == {} and reply.complete and reply.finish_reason == "stop"


def test_an_answer_given_up_for_its_repetitions_says_so():
    cut = lines(said("a"), *[said(" no")] * 30)
    assert DRIVER.decode(tape(cut)).error_kind == ""
    assert not DRIVER.decode(tape(cut)).complete
    for body in (lines(*[said(" no")] * 31), lines(said("a"), *[said("no "), said(" no")] * 16)):
        reply = DRIVER.decode(tape(body))
        assert reply.error_kind == "repetition" and "30 times" in reply.error_message
        assert len(reply.texts) >= 31
    whole = lines(*[said(" no")] * 40, last())
    assert DRIVER.decode(tape(whole)).error_kind == "" and DRIVER.decode(tape(whole)).complete


def test_a_connection_that_broke_is_no_repetition():
    from msgspec.structs import replace

    broken = replace(tape(lines(*[said(" no")] * 40)), framing_complete=False, error="reset")
    assert DRIVER.decode(broken).error_kind == ""


def test_an_error_line_is_told_with_its_words():
    reply = DRIVER.decode(tape(lines(said("a")) + b'{"error":"llama runner process has terminated"}\n'))
    assert (reply.error_kind, list(reply.texts)) == ("server_error", ["a"])
    assert reply.error_message == "llama runner process has terminated"


def test_a_line_that_is_no_json_is_a_protocol_error():
    assert DRIVER.decode(tape(b'{"a"\n' + CHAT)).error_kind == "protocol"


def body(reasoning="", cache="cold", messages=None, model="qwen3:8b", context_tokens=1024, **options):
    from msgspec.structs import replace

    asked = replace(request("hello", cache=cache), reasoning=reasoning)
    if messages:
        asked = replace(asked, messages=messages)
    target = Target(
        backend="ollama", url=URL, model=model, options=options, context_tokens=context_tokens, extra_body={}
    )
    call = DRIVER.encode(asked, target)
    return call.path, json.loads(call.body)


def test_every_native_request_has_the_same_context_and_keeps_the_model():
    path, sent = body()
    assert path == "/api/chat"
    assert sent["options"] == {"num_predict": 16, "temperature": 0, "num_ctx": 1024}
    assert sent["keep_alive"] == "10m" and sent["stream"] is True
    assert sent["truncate"] is False and sent["shift"] is False
    assert "think" not in sent
    path, sent = body(num_ctx="4096", keep_alive="-1", temperature="none")
    assert sent["options"] == {"num_predict": 16, "num_ctx": 4096} and sent["keep_alive"] == -1
    with pytest.raises(UsageError, match="num_ctx is a whole number above 0, not '0'"):
        body(num_ctx="0")


def test_raw_generation_uses_no_template():
    turns = (Message(role="system", content="S"), Message(role="user", content="U"))
    path, sent = body(endpoint="generate", messages=turns)
    assert path == "/api/generate" and sent["raw"] is True and sent["prompt"] == "S\n\nU"
    assert sent["options"]["num_ctx"] == 1024 and "messages" not in sent


@pytest.mark.parametrize(
    ("door", "option"), [("chat", "num_ctx"), ("completions", "think"), ("generate", "think")]
)
def test_an_option_that_an_endpoint_would_not_hear_is_refused(door, option):
    with pytest.raises(UsageError, match=f"--option {option} doesn't reach Ollama's {door} endpoint"):
        body(endpoint=door, **{option: "4096"})


def test_the_compatible_endpoints_get_no_options_of_ollamas_own():
    path, sent = body(endpoint="chat")
    assert path == "/v1/chat/completions" and not {"options", "keep_alive", "think"} & set(sent)
    path, sent = body(endpoint="completions")
    assert path == "/v1/completions" and sent["prompt"] == "hello"


@pytest.mark.parametrize(
    ("reasoning", "model", "options", "think"),
    [
        ("off", "qwen3:8b", {}, False),
        ("low", "qwen3:8b", {}, True),
        ("low", "gpt-oss:20b", {}, "low"),
        ("high", "hub.example/gpt-oss-120b", {}, "high"),
        ("high", "qwen3:8b", {"think": "medium"}, "medium"),
        ("", "qwen3:8b", {"think": "false"}, False),
    ],
)
def test_reasoning_is_a_word_only_where_models_take_words(reasoning, model, options, think):
    sent = body(reasoning, model=model, **options)[1]["think"]
    assert (type(sent), sent) == (type(think), think)


def test_reasoning_reaches_chats_only():
    assert body("low", endpoint="chat")[1]["reasoning_effort"] == "low"
    for endpoint in ("generate", "completions"):
        with pytest.raises(UsageError, match="use --endpoint native"):
            body("low", endpoint=endpoint)


def test_the_loaded_models_are_the_ones_to_measure():
    two = [model(), model("other:1b", "F16")]
    assert identity(there=two).models == ("qwen3:8b", "other:1b")
    loaded = model(context_length=8192, size_vram=250)
    who = identity([loaded], two)
    assert (who.server, who.version, who.models, who.slots) == ("Ollama", "0.33.0", ("qwen3:8b",), None)
    assert who.context_tokens == 8192
    assert who.details == {
        "quantization": "Q4_K_M",
        "parameters": "8.2B",
        "family": "qwen3",
        "on_gpu": "25 %",
    }


def test_a_model_that_was_named_is_told_of_even_among_others():
    shown = {
        "details": model()["details"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    }
    other = model("other:1b", "F16", context_length=2048)
    who = identity([other], [model(), other], shown)
    assert who.context_tokens == 40960 and who.details["quantization"] == "Q4_K_M"
    assert "on_gpu" not in who.details
    who = identity([other, model(context_length=4096)], [model(), other], shown)
    assert who.context_tokens == 4096
    assert identity([], [other], {}).models == ("other:1b",)


def test_a_version_alone_is_not_ollama():
    other = tape(b'{"version":"1"}')
    assert DRIVER.identity((other, tape(b"", status=404), tape(b"", status=404))) is None


def test_a_named_model_is_asked_about():
    target = Target(backend="ollama", url=URL, model="m", extra_body={"think": True})
    *_, show = DRIVER.identify(target)
    assert (show.method, show.path, json.loads(show.body)) == ("POST", "/api/show", {"model": "m"})
    assert [call.path for call in DRIVER.identify(Target(backend="ollama", url=URL))] == [
        "/api/version",
        "/api/ps",
        "/api/tags",
    ]


def test_loading_asks_for_the_runs_context_but_not_for_the_compatible_endpoints():
    who = identity()
    assert isinstance(DRIVER, LoadsModels)

    def load(**options):
        target = Target(backend="ollama", url=URL, model="m", options=options)
        call = DRIVER.load_call(target, who, 2048, 4)
        return call.path, json.loads(call.body)

    path, sent = load()
    assert path == "/api/generate" and "prompt" not in sent
    assert sent["options"] == {"num_ctx": 2048} and sent["keep_alive"] == "10m" and sent["stream"] is False
    assert "options" not in load(endpoint="chat")[1]


def test_a_pulls_progress_is_the_share_of_all_layers():
    said = [
        {"status": "pulling manifest"},
        {"status": "pulling aaa", "digest": "sha256:aaa", "total": 100, "completed": 100},
        {"status": "pulling bbb", "digest": "sha256:bbb", "total": 300},
        {"status": "pulling bbb", "digest": "sha256:bbb", "total": 300, "completed": 60},
    ]
    text = b"\n".join(json.dumps(one).encode() for one in said)
    assert DRIVER.loading(tape(text)) == ("pulling bbb", 0.4)
    assert DRIVER.loading(tape(text[:-5])) == ("pulling bbb", 0.25)
    assert DRIVER.loading(tape(b'{"status": "pulling manifest"}\n')) == ("pulling manifest", None)
    assert DRIVER.loading(tape(b"")) == ("", None)
    assert DRIVER.decode(tape(text + b'\n{"error":"max retries exceeded"}')).error_kind == "server_error"


def launched(engine=(), engine_args=(), model="qwen3:8b"):
    return DRIVER.launch(
        Target(backend="ollama", url="", model=model, engine=dict(engine), engine_args=tuple(engine_args))
    ).argv


def test_what_is_asked_for_stands_in_the_command_and_wins():
    assert launched() == (
        "env",
        "OLLAMA_NUM_PARALLEL={slots}",
        "OLLAMA_CONTEXT_LENGTH={context}",
        "OLLAMA_HOST=127.0.0.1:{port}",
        "ollama",
        "serve",
    )
    words = launched({"max-seqs": "8", "attention": "on"}, ("OLLAMA_DEBUG=1", "OLLAMA_HOST=0.0.0.0"))
    assert "OLLAMA_NUM_PARALLEL=8" in words and "OLLAMA_FLASH_ATTENTION=1" in words
    assert "OLLAMA_NUM_PARALLEL={slots}" not in words
    assert words.index("OLLAMA_HOST=0.0.0.0") < words.index("OLLAMA_HOST=127.0.0.1:{port}")
    assert engine_arguments(DRIVER.settings, {"kv-cache-dtype": "q8_0"}) == ("OLLAMA_KV_CACHE_TYPE=q8_0",)


def test_what_ollama_can_not_be_started_with_is_refused():
    with pytest.raises(UsageError, match="set by variables, NAME=VALUE, not by '--verbose'"):
        launched(engine_args=("--verbose",))
    for name in ("shape:5m", "~/m.gguf"):
        with pytest.raises(UsageError, match="--backend llamacpp takes it"):
            launched(model=name)


@pytest.mark.parametrize(
    ("name", "endpoint"), [("ollama", "native"), ("ollama", "generate"), ("lmstudio", "native")]
)
def test_an_option_of_the_compatible_doors_is_refused_at_the_own_ones(name, endpoint):
    options = {"endpoint": endpoint, "max_tokens_field": "max_completion_tokens"}
    target = Target(backend=name, url="http://127.0.0.1:1", model="m", options=options)
    with pytest.raises(UsageError, match="max_tokens_field"):
        load(name).encode(request(), target)
    door = msgspec.structs.replace(target, options=options | {"endpoint": "chat"})
    assert b"max_completion_tokens" in load(name).encode(request(), door).body
