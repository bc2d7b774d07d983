"""Anthropic's dialect, composed after its SDK's types (2.13) and wire facts: nothing of it was recorded."""

import msgspec
import pytest

from benchsuite.driver import Tokenizes, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Message, Request, Target
from benchsuite.wire import anthropic as dialect
from benchsuite_backends.anthropic import Anthropic

TARGET = Target(backend="anthropic", url="https://api.anthropic.com", model="claude-sonnet-5-5", key=KEY)


def event(name, **fields):
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"type": name, **fields}))


def delta(index, **fields):
    return event("content_block_delta", index=index, delta=fields)


START = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 1000,
    "cache_read_input_tokens": 2000,
    "cache_creation": {"ephemeral_5m_input_tokens": 900, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 1,
}
OPENING = event("message_start", message={"id": "m", "type": "message", "role": "assistant", "usage": START})
STREAM = b"".join(
    (
        OPENING,
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        event("ping"),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="EqQBCg"),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        delta(1, type="text_delta", text=""),
        delta(1, type="text_delta", text="Hello"),
        delta(1, type="text_delta", text=" there"),
        delta(1, type="citations_delta", citation={"type": "char_location", "cited_text": "x"}),
        event("content_block_stop", index=1),
        event("content_block_start", index=2, content_block={"type": "tool_use", "id": "t", "name": "f"}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"a": 1}'),
        event("content_block_stop", index=2),
        event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 5}),
        event(
            "message_delta",
            delta={"stop_reason": "max_tokens", "stop_sequence": None},
            usage={"output_tokens": 16, "output_tokens_details": {"thinking_tokens": 4}},
        ),
        event("message_stop"),
    )
)
WHOLE = {
    "id": "m",
    "type": "message",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 3},
}
OVERLOADED = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
    "request_id": "r",
}
MODELS = {
    "data": [
        {"type": "model", "id": "claude-sonnet-5-5", "display_name": "Sonnet", "created_at": "2026-01-01"}
    ],
    "has_more": False,
}


class TestAnthropic(DriverConformance):
    driver = Anthropic()
    target = TARGET
    recordings = (
        Recording(
            name="stream",
            tape=tape(STREAM),
            events=4,
            first_text="hm",
            last_text='{"a": 1}',
            prompt_tokens=3010,
            output_tokens=16,
            cached_tokens=2000,
            reasoning_tokens=4,
            finish_reason="max_tokens",
        ),
        Recording(
            name="whole",
            tape=tape(msgspec.json.encode(WHOLE)),
            prompt_tokens=10,
            output_tokens=3,
            finish_reason="end_turn",
        ),
        Recording(
            name="529",
            tape=tape(msgspec.json.encode(OVERLOADED), status=529),
            complete=False,
            error_kind="overloaded",
        ),
    )
    identity_tapes = (tape(msgspec.json.encode(MODELS)),)
    error_event = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def body(asked: Request, target: Target = TARGET):
    return msgspec.json.decode(dialect.call(asked, target).body)


def test_kinds_and_cache_writes() -> None:
    reply = dialect.decode(tape(STREAM))
    assert (reply.kind, reply.texts[1:3]) == (b"rcct", ["Hello", " there"])
    assert (reply.cache_write_tokens, reply.cache_write_1h_tokens) == (1000, 100)


def test_a_refusal_is_an_end_with_its_reason() -> None:
    refused = OPENING + event("message_delta", delta={"stop_reason": "refusal"}, usage={"output_tokens": 2})
    reply = dialect.decode(tape(refused))
    assert (reply.complete, reply.finish_reason, reply.output_tokens) == (True, "refusal", 2)
    assert not dialect.decode(tape(OPENING)).complete


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "context_length",
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", "quota"),
        (400, "invalid_request_error", "temperature: not permitted", "bad_request"),
        (401, "authentication_error", "invalid x-api-key", "auth"),
        (402, "billing_error", "no", "quota"),
        (404, "not_found_error", "model: x", "not_found"),
        (429, "rate_limit_error", "slow down", "rate_limited"),
        (500, "api_error", "Internal", "server_error"),
        (504, "timeout_error", "slow", "server_error"),
        (529, "overloaded_error", "Overloaded", "overloaded"),
    ],
)
def test_errors_have_their_kinds(status, kind, message, expected) -> None:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    assert dialect.decode(tape(msgspec.json.encode(error), status=status)).error_kind == expected
    if status not in (402, 404, 500, 504):
        inside = OPENING + event("error", error={"type": kind, "message": message})
        assert dialect.decode(tape(inside)).error_kind == expected


def test_no_sampling_field_is_sent_by_default() -> None:
    call = dialect.call(request("hi"), TARGET)
    assert call.path == "/v1/messages"
    assert call.headers["anthropic-version"] == "2026-10-21"
    assert call.headers["x-api-key"] == KEY
    assert "Authorization" not in call.headers
    assert msgspec.json.decode(call.body) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }


def test_the_older_version_takes_a_temperature_and_the_newer_one_is_refused_it() -> None:
    older = {"api_version": "2023-06-01", "temperature": "0"}
    target = msgspec.structs.replace(TARGET, options=older)
    assert body(request(), target)["temperature"] == 0
    assert dialect.call(request(), target).headers["anthropic-version"] == "2023-06-01"
    with pytest.raises(UsageError, match="is a number"):
        load("anthropic", older | {"temperature": "none"})
    with pytest.raises(UsageError, match="takes no temperature"):
        load("anthropic", {"temperature": "0"})
    with pytest.raises(UsageError, match="cache_ttl is 5m or 1h"):
        load("anthropic", {"cache_ttl": "2h"})


def test_cache_words_are_marks_in_the_prompt() -> None:
    text = "shared words then own"
    shared = msgspec.structs.replace(request(text, cache="shared"), shared_chars=13)
    hour = msgspec.structs.replace(TARGET, options={"cache_ttl": "1h"})
    assert body(request(text))["messages"][0]["content"] == text
    mark = {"type": "ephemeral", "ttl": "5m"}
    assert body(request(text, cache="warm"))["messages"][0]["content"] == [
        {"type": "text", "text": text, "cache_control": mark}
    ]
    assert body(shared, hour)["messages"][0]["content"] == [
        {"type": "text", "text": "shared words ", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "then own"},
    ]


def test_reasoning_words() -> None:
    def asked(word, **options):
        target = msgspec.structs.replace(TARGET, options=options)
        sent = body(msgspec.structs.replace(request(), reasoning=word), target)
        return sent.get("thinking"), sent.get("output_config")

    assert asked("") == (None, None)
    assert asked("off") == ({"type": "disabled"}, None)
    assert asked("low") == ({"type": "adaptive"}, {"effort": "low"})
    assert asked("high", thinking_display="summarized") == (
        {"type": "adaptive", "display": "summarized"},
        {"effort": "high"},
    )


def test_system_turns_stand_apart() -> None:
    talk = (Message(role="system", content="be brief"), Message(role="user", content="hi"))
    sent = body(msgspec.structs.replace(request(), messages=talk))
    assert (sent["system"], len(sent["messages"])) == ("be brief", 1)


def test_tokens_are_counted_without_what_the_user_adds_to_requests() -> None:
    driver = Anthropic()
    assert isinstance(driver, Tokenizes)
    target = msgspec.structs.replace(TARGET, extra_body={"service_tier": "standard_only"})
    call = driver.tokenize("a b", target)
    assert (call.path, msgspec.json.decode(call.body)) == (
        "/v1/messages/count_tokens",
        {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "a b"}]},
    )
    assert driver.token_count(tape(b'{"input_tokens": 9}')) == 9


def test_models_of_the_openai_dialect_are_not_its_own() -> None:
    theirs = tape(b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm"}]}')
    assert Anthropic().identity((theirs,)) is None
