"""TensorRT-LLM's driver: only fields that `trtllm-serve` knows, since it refuses a request with any other.

No TensorRT-LLM was at hand: the bodies are made after `tensorrt_llm/serve/openai_protocol.py` (2026).
"""

import json

import pytest

from benchsuite.driver import HasMetrics, ResetsCache, Tokenizes, load
from benchsuite.errors import UsageError
from benchsuite.testing import DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite_backends.tensorrt import TensorRT

URL = "http://127.0.0.1:8000"
MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "tensorrt_llm"}]}
KNOWN = {
    *("model", "messages", "prompt", "max_tokens", "temperature", "stream", "stream_options"),
    *("ignore_eos", "min_tokens"),
}


def chunk(delta, reason=None, usage=None):
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, "stop_reason": None}
    told = {"object": "chat.completion.chunk", "choices": [] if delta is None else [choice], "usage": usage}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def usage(tokens):
    details = {"cached_tokens": 32}
    return {"prompt_tokens": 40, "completion_tokens": tokens, "prompt_tokens_details": details}


CHAT = b"".join(
    [
        chunk({"role": "assistant", "content": None}, usage=usage(0)),
        chunk({"content": None, "reasoning": "hm", "reasoning_content": "hm"}, usage=usage(1)),
        chunk({"content": " a"}, "length", usage(2)),
        chunk(None, usage=usage(2)),
        b"data: [DONE]\n\n",
    ]
)


class TestTensorRT(DriverConformance):
    driver = TensorRT()
    target = Target(backend="tensorrt", url=URL, model="m")
    recordings = (
        Recording(
            name="chat, usage with every event",
            tape=tape(CHAT),
            events=2,
            first_text="hm",
            last_text=" a",
            prompt_tokens=40,
            output_tokens=2,
            cached_tokens=32,
            finish_reason="length",
        ),
        Recording(
            name="refused",
            tape=tape(
                b'{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}',
                status=400,
            ),
            complete=False,
            error_kind="bad_request",
        ),
    )
    identity_tapes = (tape(json.dumps(MODELS).encode()), tape(b'{"version":"1.3.0"}'))


def body(cache="cold", **options):
    target = Target(backend="tensorrt", url=URL, model="m", options=options)
    return json.loads(TensorRT().encode(request("a b", cache=cache, output_tokens=9), target).body)


def test_no_field_is_sent_that_it_refuses():
    for cache in ("cold", "warm", "shared"):
        for door in ("chat", "completions"):
            assert body(cache, endpoint=door).keys() <= KNOWN
    asked = body()
    assert (asked["ignore_eos"], asked["min_tokens"], asked["max_tokens"]) == (True, 9, 9)
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": False}


def test_a_salt_is_sent_where_the_user_says_that_the_build_knows_it():
    assert body(cache_salt="true")["cache_salt"] == b"a b".hex()
    assert "cache_salt" not in body("warm", cache_salt="true")
    assert "cache_salt" not in body(cache_salt="true", endpoint="completions")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache_salt": "true", "endpoint": "completions"}, "for chats alone"),
        ({"cache_salt": "yes"}, "cache_salt is true, not 'yes'"),
        ({"cache_salt": "false"}, "cache_salt is true, not 'false'"),
    ],
)
def test_a_salt_that_would_not_be_sent_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        load("tensorrt", options)
    assert load("tensorrt", {"cache_salt": "true", "endpoint": "chat"})


def test_what_it_tells_of_itself():
    found = TensorRT().identity((tape(json.dumps(MODELS).encode()), tape(b'{"version":"1.3.0"}')))
    assert found is not None
    assert (found.server, found.version, found.models) == ("TensorRT-LLM", "1.3.0", ("m",))


def test_what_it_can_beside_measured_requests():
    driver = TensorRT()
    assert isinstance(driver, HasMetrics)
    assert not isinstance(driver, Tokenizes | ResetsCache)
    assert driver.metrics(Target(backend="tensorrt", url=URL)).path == "/prometheus/metrics"
    assert not driver.capabilities.reasoning


def test_how_it_is_started():
    target = Target(backend="tensorrt", url="", model="org/m", engine={"tp": "2"})
    found = load("tensorrt").launch(target)
    words = "--max_batch_size {slots} --max_seq_len {context} --tp_size 2"
    assert " ".join(found.argv) == f"trtllm-serve serve {{model}} --port {{port}} --host 127.0.0.1 {words}"
    assert (
        " ".join(found.image_argv) == f"trtllm-serve serve {{model}} --port {{port}} --host 0.0.0.0 {words}"
    )
    assert found.dummy_arguments == ()
