"""LM Studio's driver. Its answers are composed after its documentation of 2026-04-29, not recorded."""

import json
from typing import Any

import pytest

from benchsuite.driver import LoadsModels
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Message, Target
from benchsuite_backends.lmstudio import LMStudio

URL = "http://127.0.0.1:1234"
DRIVER = LMStudio()
MODEL = "qwen/qwen3-8b"
STATS = {
    "input_tokens": 29,
    "total_output_tokens": 5,
    "reasoning_output_tokens": 2,
    "tokens_per_second": 43.73,
    "time_to_first_token_seconds": 0.781,
}


def event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | fields)}\n\n".encode()


def result(**stats: Any) -> dict[str, Any]:
    output = [{"type": "message", "content": "The answer"}]
    return {"model_instance_id": MODEL, "output": output, "stats": STATS | stats}


BEFORE = (
    event("chat.start", model_instance_id=MODEL)
    + event("model_load.start", model_instance_id=MODEL)
    + event("model_load.progress", model_instance_id=MODEL, progress=0.65)
    + event("model_load.end", model_instance_id=MODEL, load_time_seconds=12.34)
    + event("prompt_processing.start")
    + event("prompt_processing.progress", progress=0.5)
    + event("prompt_processing.end")
)
SAID = (
    event("reasoning.start")
    + event("reasoning.delta", content="Need")
    + event("reasoning.delta", content=" to")
    + event("reasoning.end")
    + event("message.start")
    + event("message.delta", content="The")
    + event("message.delta", content=" answer")
    + event("message.end")
)
STREAM = BEFORE + SAID + event("chat.end", result=result())
COMPATIBLE = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"reasoning":" hm"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":29,"completion_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)
COUNTS: dict[str, Any] = {"prompt_tokens": 29, "output_tokens": 5, "reasoning_tokens": 2}
REFUSED = {"error": {"type": "invalid_request", "message": '"model" is required', "param": "model"}}


def listed(*models: dict[str, Any], status: int = 200):
    return tape(json.dumps({"models": list(models)}).encode(), status=status)


def model(key: str = MODEL, *instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    facts = {"type": "llm", "publisher": "qwen", "key": key, "display_name": key, "architecture": "qwen3"}
    facts |= {
        "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
        "size_bytes": 1,
        "params_string": "8B",
    }
    return facts | {"loaded_instances": list(instances), "max_context_length": 32768, "format": "gguf"} | more


def instance(name: str = MODEL, context_length: int = 4096, parallel: int = 4) -> dict[str, Any]:
    return {"id": name, "config": {"context_length": context_length, "parallel": parallel}}


EMBEDDING = model("text-embedding-nomic", instance("text-embedding-nomic", 2048), type="embedding")


class TestLMStudio(DriverConformance):
    driver = DRIVER
    target = Target(backend="lmstudio", url=URL, model=MODEL, key=KEY)
    recordings = (
        Recording(
            name="native", tape=tape(STREAM), events=4, first_text="Need", last_text=" answer", **COUNTS
        ),
        Recording(name="whole", tape=tape(json.dumps(result()).encode()), **COUNTS),
        Recording(
            name="compatible",
            tape=tape(COMPATIBLE),
            events=2,
            first_text="Hi",
            last_text=" hm",
            prompt_tokens=29,
            output_tokens=2,
            finish_reason="stop",
        ),
        Recording(
            name="refused",
            tape=tape(json.dumps(REFUSED).encode(), status=400),
            error_kind="bad_request",
            complete=False,
        ),
    )
    identity_tapes = (listed(model()),)
    error_event = event("error", error={"type": "internal_error", "message": "it broke"})
    usage_field = b'"stats"'


def test_reasoning_and_answer_are_told_apart_and_progress_is_no_token():
    assert DRIVER.decode(tape(STREAM)).kind == b"rrcc"
    assert DRIVER.decode(tape(BEFORE)).kind == b""


def test_timings_keep_their_own_names():
    timings = DRIVER.decode(tape(STREAM)).server_timings
    assert timings == {
        "model_load_time_seconds": 12.34,
        "tokens_per_second": 43.73,
        "time_to_first_token_seconds": 0.781,
    }


def test_an_error_counts_though_the_stream_then_ends_as_usual():
    failed = event("error", error={"type": "model_not_found", "message": "no such model"})
    reply = DRIVER.decode(tape(BEFORE + SAID + failed + event("chat.end", result=result())))
    assert (reply.error_kind, reply.error_message) == ("not_found", "no such model")
    assert len(reply.texts) == 4 and reply.output_tokens == 5


def test_a_tool_call_is_a_token_event():
    called = event("tool_call.arguments", tool="look", arguments={"q": 1})
    reply = DRIVER.decode(tape(event("chat.start") + called))
    assert (reply.kind, list(reply.texts), reply.complete) == (b"t", ['{"q":1}'], False)


def test_a_broken_event_is_a_protocol_error():
    body = BEFORE + b"event: message.delta\ndata: {oops\n\n" + SAID
    assert DRIVER.decode(tape(body)).error_kind == "protocol"


def body(*messages: Message, reasoning="", **options):
    from msgspec.structs import replace

    asked = replace(request("hello"), reasoning=reasoning)
    if messages:
        asked = replace(asked, messages=messages)
    call = DRIVER.encode(asked, Target(backend="lmstudio", url=URL, model=MODEL, options=options))
    return call.path, json.loads(call.body)


def test_a_native_request_leaves_nothing_stored():
    assert body() == (
        "/api/v1/chat",
        {
            "model": MODEL,
            "input": "hello",
            "max_output_tokens": 16,
            "temperature": 0,
            "stream": True,
            "store": False,
        },
    )
    assert body(reasoning="off")[1]["reasoning"] == "off"
    turns = (Message(role="system", content="S"), Message(role="user", content="U"))
    sent = body(*turns)[1]
    assert (sent["system_prompt"], sent["input"]) == ("S", "U")


def test_what_the_native_endpoint_can_not_carry_is_refused():
    turns = [Message(role=role, content=role) for role in ("user", "assistant", "user")]
    with pytest.raises(UsageError, match="use --endpoint chat"):
        body(*turns)
    assert len(body(*turns, endpoint="chat")[1]["messages"]) == 3
    with pytest.raises(UsageError, match="use --endpoint native"):
        body(reasoning="low", endpoint="chat")


def test_the_loaded_model_with_its_context_and_slots_is_the_one_to_measure():
    who = DRIVER.identity((listed(EMBEDDING, model(MODEL, instance()), model("other")),))
    assert (who.server, who.models, who.context_tokens, who.slots) == ("LM Studio", (MODEL,), 4096, 4)
    assert who.details == {
        "loaded": MODEL,
        "quantization": "Q4_K_M",
        "parameters": "8B",
        "format": "gguf",
    }
    who = DRIVER.identity((listed(EMBEDDING, model(), model("other")),))
    assert (who.models, who.context_tokens, who.slots, who.details) == ((MODEL, "other"), None, None, {})


def test_several_loaded_models_tell_only_what_they_agree_in():
    other = model("other", instance("mine", 2048, 1), params_string="1B")
    who = DRIVER.identity((listed(model(MODEL, instance()), other),))
    assert (who.models, who.context_tokens, who.slots) == ((MODEL, "mine"), 2048, None)
    assert who.details == {"loaded": f"{MODEL}, other", "quantization": "Q4_K_M", "format": "gguf"}


def test_a_list_of_other_models_is_not_lm_studios():
    assert DRIVER.identity((tape(b'{"models":[{"name":"m"}]}'),)) is None
    assert DRIVER.identity((tape(b'{"models":[{"key":"m"}]}'),)) is None
    assert DRIVER.identity((listed(model(), status=401),)) is None


def load(*models: dict[str, Any], name: str = MODEL, **options):
    target = Target(
        backend="lmstudio", url=URL, model=name, key=KEY, options=options, extra_body={"store": True}
    )
    call = DRIVER.load_call(target, DRIVER.identity((listed(*models),)), 2048, 8)
    return call and json.loads(call.body)


def test_a_model_is_loaded_once():
    assert isinstance(DRIVER, LoadsModels)
    assert load(model()) == {"model": MODEL, "context_length": 2048, "echo_load_config": True}
    assert load(model(MODEL, instance("mine"))) is None
    assert load(model(MODEL, instance("mine")), name="mine") is None
    assert load(model(MODEL, instance()), name="other")["model"] == "other"
    sent = load(model(), context_length="8192", parallel="8")
    assert (sent["context_length"], sent["parallel"]) == (8192, 8)
    with pytest.raises(UsageError, match="parallel is a whole number"):
        load(model(), parallel="many")


def test_loading_and_pulling_say_how_far_they_are():
    answer = {"type": "llm", "instance_id": MODEL, "load_time_seconds": 9.099, "status": "loaded"}
    assert DRIVER.loaded(tape(json.dumps(answer).encode())) == 9.099
    assert DRIVER.loaded(tape(b"{}")) is None
    assert DRIVER.decode(tape(json.dumps(answer).encode())).error_kind == ""
    job = {"job_id": "job_4", "status": "downloading", "total_size_bytes": 200, "downloaded_bytes": 50}
    heard = tape(json.dumps(job).encode())
    assert DRIVER.loading(heard) == ("downloading", 0.25)
    target = Target(backend="lmstudio", url=URL, model=MODEL, key=KEY)
    following = DRIVER.pull_next(heard, target)
    assert (following.method, following.path) == ("GET", "/api/v1/models/download/status/job_4")
    for status in ("completed", "failed", "already_downloaded"):
        assert DRIVER.pull_next(tape(json.dumps(job | {"status": status}).encode()), target) is None


def test_its_command_wakes_a_server_and_another_stops_it():
    launch = DRIVER.launch(Target(backend="lmstudio", url=""))
    assert launch.daemon and launch.end == ("lms", "server", "stop") and "{port}" in launch.argv
    with pytest.raises(UsageError, match="--backend llamacpp takes it"):
        DRIVER.launch(Target(backend="lmstudio", url="", model="shape:5m"))
