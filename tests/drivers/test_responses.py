"""OpenAI itself: its Responses, composed after its SDK's types (3.57), and what its host wants of chats."""

import msgspec
import pytest

from benchsuite.driver import load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite.wire import responses as dialect
from benchsuite_backends.openai import OpenAI

HOST = "https://api.openai.com/v1"
TARGET = Target(backend="openai", url=HOST, model="gpt-6.1-sol", key=KEY, options={"endpoint": "responses"})
OWN = Target(backend="openai", url="http://127.0.0.1:8000", model="m", options={"endpoint": "responses"})


def event(name, number=0, **fields):
    data = msgspec.json.encode({"type": name, "sequence_number": number, **fields})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def response(status, **fields):
    return {"id": "resp_1", "object": "response", "status": status, "error": None, "output": [], **fields}


USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 5},
    "output_tokens": 16,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 46,
}
OPENING = event("response.created", 0, response=response("in_progress", usage=None))
DELTAS = b"".join(
    (
        event("response.output_item.added", 1, output_index=0, item={"type": "reasoning", "summary": []}),
        event("response.reasoning_summary_text.delta", 2, delta="hm"),
        event("response.reasoning_text.delta", 3, delta="hmm"),
        event("response.content_part.added", 4, part={"type": "output_text", "text": ""}),
        event("response.output_text.delta", 5, delta="", obfuscation="xx"),
        event("response.output_text.delta", 6, delta="Hello", obfuscation="x"),
        event("response.function_call_arguments.delta", 7, delta='{"a":'),
        event("response.output_text.delta", 8, delta=" there"),
        event("response.output_text.done", 9, text="Hello there"),
    )
)
LAST = response("incomplete", usage=USAGE, incomplete_details={"reason": "max_output_tokens"})
STREAM = OPENING + DELTAS + event("response.incomplete", 10, response=LAST)
FACTS = {
    "prompt_tokens": 30,
    "output_tokens": 16,
    "cached_tokens": 20,
    "reasoning_tokens": 4,
    "finish_reason": "max_output_tokens",
}


class TestResponses(DriverConformance):
    driver = OpenAI()
    target = TARGET
    recordings = (
        Recording(
            name="stream",
            tape=tape(STREAM, headers=[("openai-processing-ms", "41")]),
            events=5,
            first_text="hm",
            last_text=" there",
            **FACTS,
        ),
        Recording(name="whole", tape=tape(msgspec.json.encode(LAST)), **FACTS),
    )
    identity_tapes = (tape(b'{"object":"list","data":[{"id":"gpt-6.1-sol","owned_by":"system"}]}'),)
    error_event = event("error", 11, code="server_error", message="it broke", param=None)
    models = ("gpt-4o",)
    unobserved = {
        "cached_tokens": "OpenAI reports them, not every server of this dialect",
        "server_timings": "OpenAI reports them in a header, not every server of this dialect",
        "cache_off": "only at OpenAI itself, from gpt-5.6 on",
    }


def read(*parts, **more):
    return dialect.decode(tape(b"".join(parts), **more))


def test_kinds_writes_and_times() -> None:
    reply = read(STREAM, headers=[("OpenAI-Processing-Ms", "41"), ("x-request-id", "7")])
    assert (reply.kind, reply.cache_write_tokens) == (b"rrctc", 5)
    assert reply.server_timings == {"openai-processing-ms": 41.0}


def test_ends() -> None:
    done = read(OPENING, DELTAS, event("response.completed", response=response("completed", usage=USAGE)))
    assert (done.complete, done.finish_reason, done.error_kind) == (True, "completed", "")
    failed = {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    for last in (
        event("response.failed", response=response("failed") | failed),
        event("error", code="rate_limit_exceeded", message="slow down"),
        b"event: error\ndata: " + msgspec.json.encode(failed) + b"\n\n",
    ):
        reply = read(OPENING, DELTAS, last)
        assert (reply.complete, reply.error_kind, len(reply.texts)) == (False, "rate_limited", 5)
    assert not read(OPENING, DELTAS).complete


def test_the_driver_reads_whichever_dialect_the_answer_is() -> None:
    said = msgspec.json.encode('"type":"response.output_text.delta"')
    chat = b'data: {"choices":[{"delta":{"content":%b}}]}\n\ndata: [DONE]\n\n' % said
    driver = OpenAI()
    assert driver.decode(tape(chat)).texts == ['"type":"response.output_text.delta"']
    assert len(driver.decode(tape(STREAM)).texts) == 5
    spaced = STREAM.replace(b'"type":', b'"type": ')
    assert len(driver.decode(tape(spaced)).texts) == 5


def sent(target=TARGET, asked=None, **options):
    target = msgspec.structs.replace(target, options=target.options | options)
    call = OpenAI().encode(asked or request("hi"), target)
    return call.path, msgspec.json.decode(call.body)


def test_responses_at_openai() -> None:
    assert sent() == (
        "/responses",
        {
            "model": "gpt-6.1-sol",
            "input": [{"role": "user", "content": "hi"}],
            "max_output_tokens": 16,
            "stream": True,
            "store": False,
            "stream_options": {"include_obfuscation": False},
            "prompt_cache_options": {"mode": "explicit"},
        },
    )
    assert sent(asked=request("hi", output_tokens=1))[1]["max_output_tokens"] == 16


def test_responses_at_a_server_of_ones_own_have_nothing_of_openais() -> None:
    path, body = sent(OWN)
    assert path == "/v1/responses"
    assert body.keys() == {"model", "input", "max_output_tokens", "stream", "store", "temperature"}
    assert sent(OWN, request("hi", output_tokens=1))[1]["max_output_tokens"] == 1


def test_a_chat_at_openai() -> None:
    path, body = sent(endpoint="chat")
    assert path == "/chat/completions"
    assert body["max_completion_tokens"] == 16 and "max_tokens" not in body
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert "temperature" not in body
    older = msgspec.structs.replace(TARGET, model="gpt-4o-mini")
    assert sent(older, endpoint="chat")[1]["temperature"] == 0
    assert sent(endpoint="chat", temperature="0")[1]["temperature"] == 0
    assert sent(endpoint="completions")[1]["max_tokens"] == 16


@pytest.mark.parametrize(
    ("url", "options", "hosted"),
    [
        (HOST, {}, True),
        ("https://eu.api.openai.com/v1", {}, True),
        ("https://x.openai.azure.com/openai/v1", {}, True),
        ("https://openai.com.example.org/v1", {}, False),
        ("https://notopenai.com/v1", {}, False),
        ("http://127.0.0.1:8000", {"flavor": "openai"}, True),
        (HOST, {"flavor": "compatible"}, False),
    ],
)
def test_the_host_decides_whose_quirks_count(url, options, hosted) -> None:
    target = Target(backend="openai", url=url, model="gpt-6", options=options)
    assert ("max_completion_tokens" in sent(target)[1]) == hosted


@pytest.mark.parametrize(
    ("model", "options", "off"),
    [
        ("gpt-5.6", {}, True),
        ("gpt-5.6-terra", {}, True),
        ("gpt-6", {}, True),
        ("gpt-10-x", {}, True),
        ("gpt-5.4-mini", {}, False),
        ("gpt-5-mini", {}, False),
        ("gpt-4o", {}, False),
        ("o3", {}, False),
        ("o3", {"cache_options": "on"}, True),
        ("gpt-6", {"cache_options": "off"}, False),
    ],
)
def test_caching_is_switched_off_where_the_model_can(model, options, off) -> None:
    target = msgspec.structs.replace(TARGET, model=model, options=options)
    assert ("prompt_cache_options" in sent(target)[1]) == off


def test_prompts_that_may_meet_a_cache_share_a_key() -> None:
    def key(text, cache, chars=0):
        asked = msgspec.structs.replace(request(text, cache=cache), shared_chars=chars)
        return sent(asked=asked)[1]["prompt_cache_key"]

    assert key("same a", "shared", 5) == key("same b", "shared", 5) != key("diff b", "shared", 5)
    assert key("same a", "warm") == key("same a", "warm") != key("same b", "warm")
    assert "prompt_cache_options" not in sent(asked=request("x", cache="warm"))[1]


def test_reasoning_words() -> None:
    def asked(word):
        return msgspec.structs.replace(request(), reasoning=word)

    assert sent(asked=asked("off"))[1]["reasoning"] == {"effort": "none"}
    assert sent(asked=asked("high"))[1]["reasoning"] == {"effort": "high", "summary": "auto"}
    assert sent(asked=asked("low"), endpoint="chat")[1]["reasoning_effort"] == "low"
    assert sent(OWN, asked("off"), endpoint="chat")[1]["reasoning_effort"] == "none"
    with pytest.raises(UsageError, match="completions"):
        sent(asked=asked("low"), endpoint="completions")


def test_values_that_mean_nothing_are_refused() -> None:
    for options in ({"flavor": "azure"}, {"cache_options": "maybe"}):
        with pytest.raises(UsageError, match=next(iter(options))):
            load("openai", options)


def test_openai_is_known_by_its_own_header() -> None:
    models = b'{"data":[{"id":"gpt-6","owned_by":"system"},{"id":"gpt-4o","owned_by":"openai"}]}'
    found = OpenAI().identity(
        (tape(models, headers=[("openai-version", "2020-10-01"), ("server", "cloudflare")]),)
    )
    assert found is not None and found.server == "OpenAI"


def test_a_chats_refusal_is_what_it_says() -> None:
    chat = b'data: {"choices":[{"delta":{"content":null,"refusal":"I can\'t"}}]}\n\ndata: [DONE]\n\n'
    reply = OpenAI().decode(tape(chat))
    assert (reply.kind, reply.texts) == (b"c", ["I can't"])
