"""Anthropic's Messages: named events, usage in two places, and caching only where a request asks for it.

Read from the types of its SDK (2.13) in November 2026 and composed after them, not recorded. Its input
tokens leave out those that were read from a cache or written to one; ours are the sum.
"""

import re
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire import anthropic_messages, calls, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL, Events
from benchsuite.wire.openai import path

VERSION = "2026-10-21"
"""The API version of the SDK since 2.0: it refuses every sampling parameter, a temperature of 0 too."""
SAMPLING_VERSION = "2023-06-01"
"""The last one that takes a temperature, for models that do."""
CACHE_TTLS = ("5m", "1h")
NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)

OPTIONS: Final = MappingProxyType(
    {
        "api_version": f"the header anthropic-version [{VERSION}]",
        "temperature": "a temperature, which api_version=2023-06-01 takes for older models [none]",
        "cache_ttl": "how long cached prompts are kept: 5m or 1h [5m]",
        "thinking_display": "summarized: newer models stream their thinking",
    }
)
"""The options of a target that this dialect understands."""


class _Creation(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    """Cumulative: what a later one leaves out stays as it was."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _Creation | None = None
    output_tokens_details: _OutputDetails | None = None


class _Delta(msgspec.Struct, gc=False):
    """Of a block (text, thinking, JSON of a tool's input; a signature is none of them) or of the message."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Message(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole message: the latter's fields stand beside the former's."""

    type: str | None = None
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    stop_reason: str | None = None
    content: list[Any] | None = None
    error: Any = None


EVENTS = msgspec.json.Decoder(list[_Event])
ANSWER = msgspec.json.Decoder(_Event)


# ---------------------------------------------------------------- what is asked


def checked(options: dict[str, str]) -> None:
    """Refuse values that make no sense together: a UsageError."""
    ttl = options.get("cache_ttl", CACHE_TTLS[0])
    if ttl not in CACHE_TTLS:
        raise UsageError(f"--option cache_ttl is {' or '.join(CACHE_TTLS)}, not {ttl!r}")
    if "temperature" in options and options.get("api_version") != SAMPLING_VERSION:
        version = options.get("api_version", VERSION)
        raise UsageError(
            f"Anthropic's API version {version} takes no temperature: leave it out, "
            f"or add --option api_version={SAMPLING_VERSION}"
        )
    if not NUMBER.fullmatch(said := options.get("temperature", "0")):
        raise UsageError(f"--option temperature is a number such as 0 or 0.7, not {said!r}")


def get(target: Target, where: str) -> Call:
    """A GET with the key and the API version; `where` is below `/v1`."""
    headers = calls.headers(target, key_header="x-api-key")
    return Call(method="GET", path=path(target, where), headers=_version(target) | headers)


def call(request: Request, target: Target) -> Call:
    """`POST messages`."""
    body = message(request, target) | {"stream": request.stream}
    return _post(passing.meant(request, target), "messages", body, passing.accept(request))


def count_call(text: str, target: Target) -> Call:
    """`POST messages/count_tokens` of one user message; free of charge, with rate limits of its own."""
    body = {"model": target.model, "messages": [{"role": "user", "content": text}]}
    return _post(msgspec.structs.replace(target, extra_body={}), "messages/count_tokens", body)


def token_count(tape: Tape) -> int | None:
    """What `count_tokens` answered; None: something else."""
    found = calls.answer(tape).get("input_tokens")
    return found if isinstance(found, int) else None


def message(request: Request, target: Target) -> dict[str, Any]:
    """The body without `stream`."""
    system, talk = anthropic_messages.of(request, target.options.get("cache_ttl", CACHE_TTLS[0]))
    body: dict[str, Any] = {
        "model": request.model or target.model,
        "max_tokens": request.max_output_tokens,
        "messages": talk,
    }
    if system:
        body["system"] = system
    if "temperature" in target.options:
        body["temperature"] = float(target.options["temperature"])
    if request.tools:
        body["tools"] = [anthropic_messages.tool(one) for one in passing.functions_of(request)]
    body |= _thinking(request, target)
    if request.json_schema:
        form = {"type": "json_schema", "schema": passing.schema_of(request)}
        body["output_config"] = body.get("output_config", {}) | {"format": form}
    return body


def _thinking(request: Request, target: Target) -> dict[str, Any]:
    """How much a model may think; models before 4.6 take no `adaptive` and need `--extra-body`."""
    if not request.reasoning:
        return {}
    if request.reasoning == "off":
        return {"thinking": {"type": "disabled"}}
    thinking = {"type": "adaptive"}
    if display := target.options.get("thinking_display"):
        thinking["display"] = display
    return {"thinking": thinking, "output_config": {"effort": request.reasoning}}


def _version(target: Target) -> dict[str, str]:
    if any(name.lower() == "anthropic-version" for name in target.headers):
        return {}
    return {"anthropic-version": target.options.get("api_version", VERSION)}


def _post(target: Target, where: str, body: dict[str, Any], accept: str = "application/json") -> Call:
    more = _version(target)
    return calls.post(target, path(target, where), body, accept=accept, more=more, key_header="x-api-key")


# ---------------------------------------------------------------- what is heard


def decode(tape: Tape) -> Reply:
    """Read an answer, streamed or whole, cut off anywhere or an error; only a stream has token events."""
    if tape.status >= 400:
        kind, said = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=said)
    if whole.is_whole(tape):
        answer = whole.decode(tape, ANSWER, "Anthropic's dialect")
        return answer if isinstance(answer, Reply) else _whole(answer)
    return _streamed(tape)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, EVENTS)
    events, usage = Events(), _Usage()
    stop_reason = error = None
    stopped = False
    for event, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        delta = event.delta
        if event.type == "content_block_delta":
            if delta is not None:
                events.add(CONTENT, delta.text, arrived_ns)
                events.add(REASONING, delta.thinking, arrived_ns)
                events.add(TOOL, delta.partial_json, arrived_ns)
        elif event.type == "message_start" and event.message is not None:
            usage = _later(usage, event.message.usage)
        elif event.type == "message_delta":
            usage = _later(usage, event.usage)
            stop_reason = (delta.stop_reason if delta is not None else None) or stop_reason
        elif event.type == "message_stop":
            stopped = True
        if event.error is not None and error is None:
            error = read_error(0, event.error)
    if error is None:
        unread = f"{stream.unreadable} events of the stream could not be read"
        error = ("protocol", unread) if stream.unreadable else ("", "")
    return events.reply(
        finish_reason=stop_reason,
        complete=stopped or stop_reason is not None,
        error_kind=error[0],
        error_message=error[1],
        **_counts(usage),
    )


def _whole(answer: _Event) -> Reply:
    kind, said = read_error(0, answer.error) if answer.error is not None else ("", "")
    return Reply(
        finish_reason=answer.stop_reason,
        complete=answer.stop_reason is not None,
        error_kind=kind,
        error_message=said,
        whole=anthropic_messages.said(answer.content or []),
        **_counts(answer.usage or _Usage()),
    )


def _later(usage: _Usage, new: _Usage | None) -> _Usage:
    """What is known after another report of usage."""
    if new is None:
        return usage
    fields = {name: getattr(new, name) for name in _Usage.__struct_fields__}
    return msgspec.structs.replace(
        usage, **{name: value for name, value in fields.items() if value is not None}
    )


def _counts(usage: _Usage) -> dict[str, Any]:
    """The reply's token counts; None where the server didn't say."""
    prompt = usage.input_tokens
    if prompt is not None:
        prompt += (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    creation, output = usage.cache_creation, usage.output_tokens_details
    return {
        "prompt_tokens": prompt,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_input_tokens,
        "reasoning_tokens": None if output is None else output.thinking_tokens,
        "cache_write_tokens": usage.cache_creation_input_tokens,
        "cache_write_1h_tokens": None if creation is None else creation.ephemeral_1h_input_tokens,
    }
