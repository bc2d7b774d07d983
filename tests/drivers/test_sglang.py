"""SGLang's driver: the OpenAI dialect as SGLang 0.5.23 writes it, and its own `/generate`.

No SGLang was at hand: the bodies are made after its source.
"""

import json

import msgspec
import pytest

from benchsuite.driver import HasMetrics, ResetsCache, Tokenizes, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite_backends.sglang import SGLang

URL = "http://127.0.0.1:30000"
MODELS = {
    "object": "list",
    "data": [
        {"id": "org/m", "object": "model", "owned_by": "sglang", "root": "org/m", "max_model_len": 8192}
    ],
}
SERVER = {
    "model_path": "org/m",
    "revision": "abc123",
    "dtype": "bfloat16",
    "quantization": "fp8",
    "kv_cache_dtype": "auto",
    "disable_radix_cache": False,
    "load_format": "auto",
    "tp_size": 2,
    "pp_size": 1,
    "dp_size": 2,
    "device": "cuda",
    "max_running_requests": None,
    "internal_states": [{"effective_max_running_requests_per_dp": 24}, {}],
    "version": "0.5.23",
}


def event(data):
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def chunk(delta, reason=None, usage=None):
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, "matched_stop": None}
    choices = [] if usage else [choice]
    return event({"id": "x", "object": "chat.completion.chunk", "choices": choices, "usage": usage})


def said(content=None, reasoning=None):
    return {"role": None, "content": content, "reasoning_content": reasoning, "tool_calls": None}


CHAT = b"".join(
    [
        chunk({"role": "assistant", "content": "", "reasoning_content": None}),
        chunk(said(reasoning="hm")),
        chunk(said(" sep")),
        chunk(said("ader"), "length"),
        chunk(
            {},
            usage={
                "prompt_tokens": 19,
                "total_tokens": 22,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 7},
                "reasoning_tokens": 1,
            },
        ),
        b"data: [DONE]\n\n",
    ]
)


def generated(text, tokens, reason=None, **more):
    meta = {"id": "x", "finish_reason": reason, "prompt_tokens": 9, "weight_version": "default"}
    return event({"text": text, "meta_info": meta | {"completion_tokens": tokens, "cached_tokens": 4} | more})


LENGTH = {"type": "length", "length": 3}
NATIVE = b"".join(
    [
        generated("", 0),
        generated(" a", 1),
        generated(' a "choices": ', 2),
        generated(' a "choices": end', 3, LENGTH, e2e_latency=0.25, queue_time=0.01),
        b"data: [DONE]\n\n",
    ]
)
PIECES = generated(" a", 1) + generated(" b", 2) + generated(" b", 3, LENGTH) + b"data: [DONE]\n\n"
ERROR = {"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 400}


CACHED = "natively, else only with --enable-cache-report, which benchsuite starts it with"


def refused(name, kind, status, **error):
    return Recording(
        name=name,
        tape=tape(json.dumps(ERROR | error).encode(), status=status),
        complete=False,
        error_kind=kind,
    )


class TestSGLang(DriverConformance):
    driver = SGLang()
    target = Target(backend="sglang", url=URL, model="org/m", key=KEY)
    recordings = (
        Recording(
            name="chat",
            tape=tape(CHAT),
            events=3,
            first_text="hm",
            last_text="ader",
            prompt_tokens=19,
            output_tokens=3,
            cached_tokens=7,
            reasoning_tokens=1,
            finish_reason="length",
        ),
        refused("queue", "overloaded", 503, message="The request queue is full.", code=503),
        refused(
            "too long",
            "context_length",
            400,
            message="The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        ),
        refused("nobody", "not_found", 404, message="The model 'x' does not exist.", code=404),
    )
    identity_tapes = (
        tape(json.dumps(MODELS).encode()),
        tape(json.dumps(SERVER).encode()),
        tape(b"", status=404),
    )
    unobserved = {"cached_tokens": CACHED}


class TestNative(DriverConformance):
    """Its own dialect, through the same driver."""

    driver = SGLang()
    target = Target(backend="sglang", url=URL, model="org/m", key=KEY, options={"endpoint": "native"})
    recordings = (
        Recording(
            name="cumulative",
            tape=tape(NATIVE),
            events=3,
            first_text=" a",
            last_text="end",
            prompt_tokens=9,
            output_tokens=3,
            cached_tokens=4,
            finish_reason="length",
        ),
        Recording(
            name="whole",
            tape=tape(NATIVE.split(b"\n\n")[3].removeprefix(b"data: ")),
            prompt_tokens=9,
            output_tokens=3,
            cached_tokens=4,
            finish_reason="length",
        ),
    )
    usage_field = b'"meta_info"'
    unobserved = {"cached_tokens": CACHED, "server_timings": "only natively"}


def test_pieces_in_place_of_the_whole_text_are_told_apart():
    reply = SGLang().decode(tape(PIECES))
    assert list(reply.texts) == [" a", " b", " b"]
    assert reply.output_tokens == 3


def test_a_text_whose_end_is_cut_away_adds_nothing():
    body = generated(" a", 1) + generated(" a b", 2) + generated(" a", 2, {"type": "stop"})
    assert list(SGLang().decode(tape(body)).texts) == [" a", " b"]


def test_its_own_timings_come_with_the_native_door():
    assert SGLang().decode(tape(NATIVE)).server_timings == {"e2e_latency": 0.25, "queue_time": 0.01}


def call(cache="cold", **options):
    target = Target(backend="sglang", url=URL, model="org/m", options=options)
    sent = SGLang().encode(request("a b", cache=cache, output_tokens=9), target)
    return sent.path, json.loads(sent.body)


def test_every_door_is_asked_for_exactly_the_output_and_salted_when_cold():
    path, body = call()
    assert path == "/v1/chat/completions"
    assert (body["ignore_eos"], body["min_tokens"], body["max_tokens"]) == (True, 9, 9)
    assert body["cache_salt"] == b"a b".hex()
    path, body = call(endpoint="native")
    assert path == "/generate"
    assert body == {
        "text": "a b",
        "sampling_params": {"max_new_tokens": 9, "min_new_tokens": 9, "ignore_eos": True, "temperature": 0},
        "stream": True,
        "cache_salt": b"a b".hex(),
    }
    for cache in ("warm", "shared"):
        assert "cache_salt" not in call(cache)[1]
        assert "cache_salt" not in call(cache, endpoint="native")[1]


def test_the_native_door_sends_no_temperature_where_none_is_wanted():
    assert "temperature" not in call(endpoint="native", temperature="none")[1]["sampling_params"]
    with pytest.raises(UsageError, match="temperature is 0 or none"):
        call(endpoint="native", temperature="1")
    with pytest.raises(UsageError, match="max_tokens_field does nothing at SGLang's native door"):
        call(endpoint="native", max_tokens_field="max_length")


def test_what_sglang_tells_of_itself():
    models, server = (tape(json.dumps(body).encode()) for body in (MODELS, SERVER))
    missing = tape(b'{"detail":"Not Found"}', status=404)
    for tapes in ((models, server, missing), (models, missing, server)):
        found = SGLang().identity(tapes)
        assert found is not None
        assert (found.version, found.models, found.context_tokens, found.slots) == (
            "0.5.23",
            ("org/m",),
            8192,
            48,
        )
        assert found.details == {
            "revision": "abc123",
            "dtype": "bfloat16",
            "quantization": "fp8",
            "kv_cache_dtype": "auto",
            "prefix_cache": "on",
            "load_format": "auto",
            "tensor_parallel": "2",
            "pipeline_parallel": "1",
            "data_parallel": "2",
            "device": "cuda",
        }
    bare = SGLang().identity((models, missing, missing))
    assert bare is not None and (bare.slots, bare.details) == (None, {})
    asked = tape(json.dumps({"max_running_requests": 16, "disable_radix_cache": True}).encode())
    told = SGLang().identity((models, asked, missing))
    assert told is not None and (told.slots, told.details) == (16, {"prefix_cache": "off"})


def test_beside_the_measured_requests():
    driver = SGLang()
    assert (
        isinstance(driver, Tokenizes) and isinstance(driver, HasMetrics) and isinstance(driver, ResetsCache)
    )
    target = Target(backend="sglang", url=URL, model="m", key=KEY, extra_body={"top_k": 1})
    asked = driver.tokenize("a b", target)
    assert (asked.path, asked.body) == ("/tokenize", b'{"model":"m","prompt":"a b"}')
    assert driver.token_count(tape(b'{"tokens":[1,2],"count":2,"max_model_len":9}')) == 2
    assert driver.token_count(tape(b'{"count":2}', status=400)) is None
    flush = driver.reset_cache(target)
    assert (flush.method, flush.path, flush.body) == ("POST", "/flush_cache?timeout=10", b"")
    assert KEY in flush.headers["Authorization"]


def test_how_it_is_started():
    target = Target(backend="sglang", url="", model="org/m", engine={"prefix-cache": "off", "max-seqs": "9"})
    found = load("sglang").launch(target)
    module = "-m sglang.launch_server --model-path {model} --served-model-name {name}"
    words = "--port {port} --enable-cache-report --enable-metrics --context-length {context}"
    asked = "--disable-radix-cache --max-running-requests 9"
    assert " ".join(found.argv) == f"{{python}} {module} --host 127.0.0.1 {words} {asked}"
    assert " ".join(found.image_argv) == f"python3 {module} --host 0.0.0.0 {words} {asked}"


@pytest.mark.parametrize(("asked", "thinks"), [("off", False), ("low", True), ("high", True)])
def test_reasoning_goes_to_the_template(asked, thinks):
    target = Target(backend="sglang", url=URL, model="m")
    wanted = msgspec.structs.replace(request(), reasoning=asked)
    body = json.loads(SGLang().encode(wanted, target).body)
    assert body["chat_template_kwargs"]["enable_thinking"] is thinks
    assert body.get("reasoning_effort") == (asked if thinks else None)
    for door in ("completions", "native"):
        with pytest.raises(UsageError, match="--endpoint chat"):
            SGLang().encode(wanted, msgspec.structs.replace(target, options={"endpoint": door}))
