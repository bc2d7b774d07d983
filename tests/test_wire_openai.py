"""The OpenAI dialect beyond what recordings show: every place where its servers differ."""

from typing import Any

import msgspec
import pytest

from benchsuite.errors import UsageError
from benchsuite.testing import request, tape
from benchsuite.types import Message, Reply, Request, Target
from benchsuite.wire import openai

TARGET = Target(backend="openai", url="http://127.0.0.1:8000", model="m")


def body(*events: Any, done: bool = True) -> bytes:
    lines = [b"data: %b\n\n" % msgspec.json.encode(event) for event in events]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def finish(reason: str, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def read(*events: Any, done: bool = True) -> Reply:
    return openai.decode(tape(body(*events, done=done)))


def test_only_non_empty_deltas_of_the_first_choice_are_events() -> None:
    azure = {"choices": [], "prompt_filter_results": []}
    tools = [{"index": 0, "function": {"name": "f", "arguments": ""}}]
    reply = read(
        azure,
        delta(role="assistant", content=""),
        delta(role="assistant", content=None, reasoning_content=None, tool_calls=None),
        delta(reasoning="hm"),
        delta(content="", reasoning_content="hmm"),
        {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        {"choices": None},
        {"choices": [{"index": 0, "delta": None}]},
        delta(content="a", reasoning=None),
        delta(content="", tool_calls=tools),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ""}}]),
        delta(tool_calls=[]),
        finish("stop", content="b"),
    )
    assert reply.kind == b"rrctc"
    assert reply.texts == ["hm", "hmm", "a", "f", "b"]
    assert (reply.finish_reason, reply.complete, reply.error_kind) == ("stop", True, "")


def test_a_content_of_parts_is_read() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    reply = read(delta(content=thinking), delta(content=[{"type": "text", "text": "a"}]), delta(content=[{}]))
    assert (reply.kind, reply.texts, reply.error_kind) == (b"rc", ["hm", "a"], "")


def test_the_last_usage_wins_wherever_it_rides() -> None:
    first = {**delta(content="a"), "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    details = {
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    last = {**finish("length"), "usage": {"prompt_tokens": 9, "completion_tokens": 3, **details}}
    reply = read(first, last, {"choices": [], "usage": None})
    assert (reply.prompt_tokens, reply.output_tokens) == (9, 3)
    assert (reply.cached_tokens, reply.reasoning_tokens) == (5, 2)

    sglang = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "reasoning_tokens": 1,
        "prompt_tokens_details": None,
    }
    reply = read({"choices": [], "usage": sglang})
    assert (reply.cached_tokens, reply.reasoning_tokens) == (None, 1)
    assert read(delta(content="a")).output_tokens is None


def test_an_end_is_done_or_a_finish_reason() -> None:
    assert not read(delta(content="a"), done=False).complete
    assert read(delta(content="a")).complete
    assert read(delta(content="a"), finish("stop"), done=False).complete


def test_server_timings_are_flat_numbers() -> None:
    metrics = {
        "queue_time_ms": 1,
        "speculative_decoding": {"drafts": 2},
        "note": "x",
        "ok": True,
        "none": None,
    }
    reply = read(delta(content="a"), {"choices": [], "metrics": metrics, "timings": {"prompt_ms": 0.5}})
    assert reply.server_timings == {
        "queue_time_ms": 1.0,
        "speculative_decoding.drafts": 2.0,
        "prompt_ms": 0.5,
    }


def test_errors_in_a_stream_and_unreadable_events_are_told() -> None:
    broken = {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}
    reply = read(delta(content="a"), broken)
    assert (reply.texts, reply.error_kind, reply.error_message) == (["a"], "server_error", "engine died")
    reply = openai.decode(tape(body(delta(content="a"), {"choices": 3}, delta(content="b"))))
    assert (reply.texts, reply.error_kind) == (["a", "b"], "protocol")


def test_a_whole_answer_has_usage_and_no_events() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    whole = msgspec.json.encode({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 1}})
    reply = openai.decode(tape(whole))
    assert (reply.kind, reply.complete, reply.finish_reason, reply.output_tokens) == (b"", True, "stop", 1)
    assert openai.decode(tape(whole[:-1])) == Reply()
    assert openai.decode(tape(b'{"error":"model is loading"}')).error_kind == "server_error"
    assert openai.decode(tape(b'{"choices":7}')).error_kind == "protocol"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:8000", "/v1/models"),
        ("http://127.0.0.1:8000/", "/v1/models"),
        ("https://api.openai.com/v1", "/models"),
        ("https://api.groq.com/openai/v1/", "/models"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "/models"),
        ("https://v1.example.com/llm", "/v1/models"),
        ("https://example.com/v1team", "/v1/models"),
    ],
)
def test_a_version_in_the_url_is_not_doubled(url: str, path: str) -> None:
    assert openai.path(msgspec.structs.replace(TARGET, url=url), "models") == path


def test_calls_carry_what_a_measurement_needs() -> None:
    call = openai.call(request("hi", output_tokens=7), TARGET, extra={"ignore_eos": True})
    assert (call.method, call.path) == ("POST", "/v1/chat/completions")
    assert call.headers == {"Content-Type": "application/json", "Accept": "text/event-stream"}
    assert msgspec.json.decode(call.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    options = {"endpoint": "completions", "max_tokens_field": "max_completion_tokens", "temperature": "none"}
    messages = (Message(role="system", content="a"), Message(role="user", content="b"))
    asked: Request = msgspec.structs.replace(request(output_tokens=7), messages=messages)
    call = openai.call(asked, msgspec.structs.replace(TARGET, options=options), extra={})
    sent = msgspec.json.decode(call.body)
    assert call.path == "/v1/completions"
    assert sent["prompt"] == "a\n\nb"
    assert sent["max_completion_tokens"] == 7
    assert not {"max_tokens", "temperature", "messages"} & set(sent)
    with pytest.raises(UsageError, match="chat and completions"):
        openai.call(asked, msgspec.structs.replace(TARGET, options={"endpoint": "embeddings"}), extra={})


def test_a_users_own_header_wins_over_the_key() -> None:
    target = msgspec.structs.replace(TARGET, key="k", headers={"authorization": "Basic x"})
    assert openai.headers(target) == {"Accept": "application/json", "authorization": "Basic x"}
    assert openai.headers(msgspec.structs.replace(TARGET, key="k"))["Authorization"] == "Bearer k"
