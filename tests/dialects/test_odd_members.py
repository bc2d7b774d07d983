"""Servers that send something else than they should: an answer's record says so, and no run is lost by it."""

import json

import pytest

from benchsuite.types import Tape
from benchsuite.wire import anthropic, gemini, lmstudio, ollama, openai, responses, sglang, tgi

PART = {"type": "text", "text": "a", "thinking": [{"type": "text", "text": "b"}]}
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}
EVENTS = {
    openai: [
        {"choices": [{"delta": {"content": [PART], "reasoning": "r"}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"tool_calls": [CALL]}}], "usage": {"prompt_tokens": 3}},
        {"timings": {"a": 1, "b": {"c": 2}}, "error": {"message": "m", "code": 3}},
    ],
    anthropic: [
        {"type": "content_block_delta", "delta": {"text": "a", "partial_json": "b"}},
        {"type": "message_delta", "delta": {"stop_reason": "x"}, "usage": {"output_tokens": 3}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
    ],
    gemini: [
        {"candidates": [{"content": {"parts": [{"text": "a"}, {"functionCall": {"a": 1}}]}}]},
        {"usageMetadata": {"promptTokenCount": 3}, "error": {"code": 3, "message": "m"}},
    ],
    responses: [
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {"status": "completed", "error": {"code": "c"}}},
        {"type": "error", "code": "c", "message": "m"},
    ],
    lmstudio: [
        {"type": "tool_call.arguments", "arguments": {"a": 1}},
        {"type": "chat.end", "result": {"output": [{}], "stats": {"input_tokens": 3, "a": 1.5}}},
        {"type": "error", "error": {"type": "t", "message": "m"}},
    ],
    tgi: [{"token": {"text": "a"}, "details": {"generated_tokens": 3}, "error": "e", "error_type": "t"}],
    sglang: [
        {"text": "a", "meta_info": {"finish_reason": {"type": "stop"}, "queue_time": 0.1}},
        {"text": "ab", "error": {"message": "m"}},
    ],
    ollama: [
        {"message": {"content": "a", "tool_calls": [CALL]}, "done": False},
        {"response": "a", "done": True, "eval_count": 3, "total_duration": 5, "error": "e"},
    ],
}
ODD = (None, True, -1, 10**400, "", "x", [], {}, [1], [None], ["x"], {"message": [1]}, [[{}]])
DEEP = (b'{"error":' * 3000, b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}")


def places(value, at=()):
    """Every place in a value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*at, name))


def changed(value, at, new):
    """The value with another one at a place."""
    if not at:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


def tapes(body, media="text/event-stream"):
    for status in (200, 400):
        headers = (("content-type", media),)
        yield Tape(index=0, status=status, headers=headers, body=body, framing_complete=True)


def framed(dialect, bodies):
    """The bodies as a stream of the dialect."""
    return b"\n".join(bodies) if dialect is ollama else b"".join(b"data: %b\n\n" % one for one in bodies)


@pytest.mark.parametrize("dialect", EVENTS, ids=lambda one: one.__name__.rpartition(".")[2])
def test_no_member_of_another_type_is_more_than_an_answer_that_cannot_be_read(dialect):
    events = EVENTS[dialect]
    for number, event in enumerate(events):
        for at in places(event):
            for new in ODD:
                odd = [*events[:number], changed(event, at, new), *events[number + 1 :]]
                bodies = [json.dumps(one).encode() for one in odd]
                for tape in (*tapes(framed(dialect, bodies)), *tapes(bodies[number], "application/json")):
                    dialect.decode(tape)


@pytest.mark.parametrize("dialect", EVENTS, ids=lambda one: one.__name__.rpartition(".")[2])
def test_an_answer_too_deep_to_read_is_an_answer_that_cannot_be_read(dialect):
    for body in DEEP:
        for tape in (*tapes(framed(dialect, [body])), *tapes(body, "application/json")):
            assert not dialect.decode(tape).complete
