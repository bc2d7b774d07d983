"""OpenAI's Responses, at OpenAI and at servers that speak it too: named events, and an end without `[DONE]`.

Composed after the types of its SDK (3.57, November 2026), not recorded.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from benchsuite.types import Call, Message, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL, Events
from benchsuite.wire.openai import path
from benchsuite.wire.timings import header_timings

KINDS = {
    "response.output_text.delta": CONTENT,
    "response.refusal.delta": CONTENT,
    "response.reasoning_summary_text.delta": REASONING,
    "response.reasoning_text.delta": REASONING,
    "response.function_call_arguments.delta": TOOL,
    "response.custom_tool_call_input.delta": TOOL,
}
"""Events whose `delta` is text, and of which kind it is."""

FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
OWN = re.compile(rb'"type"\s*:\s*"response\.|"object"\s*:\s*"response"')
LOOKED_AT = 1 << 16


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class _Item(msgspec.Struct, gc=False):
    """Something that was said: its parts of text; or a call, by the tool's name and its arguments."""

    type: str | None = None
    content: list[Any] | None = None
    name: str | None = None
    arguments: str | None = None


class _Response(msgspec.Struct, gc=False):
    status: str | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None
    usage: _Usage | None = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct, gc=False):
    """`code` and `message` belong to an `error` event; others nest them in `error`."""

    type: str | None = None
    delta: Any = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


EVENTS = msgspec.json.Decoder(list[_Event])
ANSWER = msgspec.json.Decoder(_Response)


def call(request: Request, target: Target, *, extra: dict[str, Any]) -> Call:
    """`POST responses`, not stored there; `extra` fields are added to the body."""
    target = passing.meant(request, target)
    body: dict[str, Any] = {
        "model": target.model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": request.max_output_tokens,
        "stream": request.stream,
        "store": False,
    }
    if request.json_schema:
        body["text"] = {"format": {"type": "json_schema", **passing.named_schema(request)}}
    if request.tools:
        body["tools"] = [
            {"type": "function", "strict": False, "parameters": None, **function}
            for function in passing.functions_of(request)
        ]
    body |= extra
    if not request.stream:
        body.pop("stream_options", None)
    return calls.post(target, path(target, "responses"), body, accept=passing.accept(request))


def _items(message: Message) -> Iterator[dict[str, Any]]:
    """A message as items: calls, and what tools answered, are items of their own."""
    if message.role == "tool":
        output = messages.text(message)
        yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": output}
        return
    if message.parts:
        word = "output_text" if message.role == "assistant" else "input_text"
        yield {
            "role": message.role,
            "content": [
                {"type": word, "text": piece}
                if isinstance(piece, str)
                else {"type": "input_image", "image_url": piece.url, "detail": "auto"}
                for piece in messages.pieces(message)
            ],
        }
    elif message.content or not message.tool_calls:
        yield {"role": message.role, "content": message.content}
    for one in messages.tool_calls(message):
        yield {"type": "function_call", "call_id": one.id, "name": one.name, "arguments": one.arguments}


def speaks(tape: Tape) -> bool:
    """Is the answer of this dialect, and not a chat's? No text can imitate it: quotes within are escaped."""
    return OWN.search(tape.body, 0, LOOKED_AT) is not None


def decode(tape: Tape) -> Reply:
    """Read an answer, streamed or whole, cut off anywhere or an error; only a stream has token events."""
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if whole.is_whole(tape):
        answer = whole.decode(tape, ANSWER, "the Responses dialect")
        return answer if isinstance(answer, Reply) else Reply(**_facts(answer, tape), whole=_said(answer))
    return _streamed(tape)


def _said(answer: _Response) -> str:
    """What a whole answer says, or else the tools that it calls."""
    items = answer.output or []
    parts = [part for item in items if item.type == "message" for part in item.content or ()]
    found = [part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict)]
    called = [f"{item.name}{item.arguments or ''}" for item in items if item.type == "function_call"]
    return "".join(one for one in found if isinstance(one, str)) or "".join(called)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, EVENTS)
    events = Events()
    last = _Response()
    error: object = None
    for event, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        kind = KINDS.get(event.type or "")
        if kind is not None:
            events.add(kind, event.delta if isinstance(event.delta, str) else None, arrived_ns)
        elif event.type in FINAL and event.response is not None:
            last = event.response
        elif event.error is not None:
            error = error or event.error
        elif event.type == "error":
            error = error or {"code": event.code, "message": event.message}
    facts = _facts(last, tape)
    if error is not None:
        facts["error_kind"], facts["error_message"] = read_error(0, error)
    elif stream.unreadable and not facts["error_kind"]:
        facts["error_kind"] = "protocol"
        facts["error_message"] = f"{stream.unreadable} events of the stream could not be read"
    return events.reply(**facts)


def _facts(answer: _Response, tape: Tape) -> dict[str, Any]:
    """All but the events. The finish reason is why it is incomplete, else its status."""
    failed = answer.error is not None or answer.status == "failed"
    kind, message = read_error(0, answer.error or {}) if failed else ("", "")
    over = answer.status in ("completed", "incomplete")
    reason = answer.incomplete_details.reason if answer.incomplete_details is not None else None
    usage = answer.usage or _Usage()
    prompt = usage.input_tokens_details or _InputDetails()
    output = usage.output_tokens_details or _OutputDetails()
    return {
        "finish_reason": reason or (answer.status if over else None),
        "complete": over,
        "prompt_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": prompt.cached_tokens,
        "cache_write_tokens": prompt.cache_write_tokens,
        "reasoning_tokens": output.reasoning_tokens,
        "server_timings": header_timings(tape),
        "error_kind": kind,
        "error_message": message,
    }
