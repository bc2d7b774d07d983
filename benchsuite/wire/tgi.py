"""TGI's own dialect: `POST /generate_stream`, and whole answers of `/generate`.

One event is one token; the last one has the whole text and, if asked for, details; nothing says `[DONE]`.
TGI's chat and completions are the OpenAI dialect; `decode` reads all of them. There a `model` other than
`tgi` names a LoRA adapter. Read from TGI's source of 2026-01.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, openai, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, Events

OPTIONS: Final = MappingProxyType(
    {
        **openai.OPTIONS,
        "temperature": "0 or none: chat and completions send a temperature of 0, or none; native never does",
    }
)
"""The options of a target that TGI's doors understand."""
OPENAI = b'"choices":'
"""What only the OpenAI dialect has; within a JSON string its quotation marks would be escaped."""
TIMINGS = (
    "x-validation-time",
    "x-queue-time",
    "x-inference-time",
    "x-time-per-token",
    "x-total-time",
)
"""Headers of whole answers, in milliseconds; a stream's headers are sent before they are known."""


class _Token(msgspec.Struct, gc=False):
    text: str = ""
    special: bool = False


class _Details(msgspec.Struct, gc=False):
    """`input_length` is told in streams only."""

    finish_reason: str | None = None
    generated_tokens: int | None = None
    input_length: int | None = None


class _Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole answer; `error` is a text with its kind in `error_type`."""

    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None
    error_type: str | None = None


EVENTS = msgspec.json.Decoder(list[_Event])
ANSWER = msgspec.json.Decoder(_Event)


def call(request: Request, target: Target) -> Call:
    """`POST /generate_stream`, or `/generate`; greedy without any sampling parameter.

    The length is an upper bound. A request's own model is a LoRA adapter here.
    """
    # Sent or not, it is greedy: only a word that means nothing is refused.
    calls.greedy(target)
    calls.meaningless(target, "max_tokens_field", "TGI's native door")
    passing.only(request, "TGI's native endpoint", "json_schema")
    parameters: dict[str, Any] = {"max_new_tokens": request.max_output_tokens, "details": True}
    if request.json_schema:
        parameters["grammar"] = grammar(request)
    if request.model:
        parameters["adapter_id"] = request.model
    body = {"inputs": messages.prompt(request.messages), "parameters": parameters}
    where = "/generate_stream" if request.stream else "/generate"
    return calls.post(passing.meant(request, target), where, body, accept=passing.accept(request))


def grammar(request: Request) -> dict[str, Any]:
    """The answer's form, as TGI wants it at each of its doors."""
    return {"type": "json", "value": passing.schema_of(request)}


def tokenize_call(text: str, target: Target) -> Call:
    """`POST /tokenize`."""
    return calls.aside(target, "/tokenize", {"inputs": text})


def token_count(tape: Tape) -> int | None:
    """The number of tokens in an answer to `/tokenize`, which is a list of them; None: it is none."""
    if tape.status != 200:
        return None
    try:
        found = msgspec.json.decode(tape.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return len(found) if isinstance(found, list) else None


def decode(tape: Tape) -> Reply:
    """Read an answer of any of TGI's doors, streamed or whole, cut off anywhere or an error."""
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if OPENAI in tape.body:
        reply = openai.decode(tape)
        return msgspec.structs.replace(reply, server_timings=reply.server_timings | _timings(tape.headers))
    if tape.body.startswith(b"[{"):
        # At `/` a whole answer is a list of one.
        tape = msgspec.structs.replace(tape, body=tape.body.removeprefix(b"[").removesuffix(b"]"))
    return _whole(tape) if whole.is_whole(tape) else _streamed(tape)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, EVENTS)
    events = Events()
    last = _Event()
    error = message = ""
    for event, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        if event.error is not None and not error:
            error, message = _error(event)
        if event.token is not None and not event.token.special:
            events.add(CONTENT, event.token.text, arrived_ns)
        if event.generated_text is not None:
            last = event
    if stream.unreadable and not error:
        error, message = "protocol", f"{stream.unreadable} events of the stream could not be read"
    details = last.details or _Details()
    return events.reply(
        finish_reason=details.finish_reason,
        complete=last.generated_text is not None,
        prompt_tokens=details.input_length,
        output_tokens=details.generated_tokens,
        error_kind=error,
        error_message=message,
    )


def _whole(tape: Tape) -> Reply:
    """An answer that was not streamed; cut short it is empty."""
    answer = whole.decode(tape, ANSWER, "TGI's dialect")
    if isinstance(answer, Reply):
        return answer
    error, message = _error(answer) if answer.error is not None else ("", "")
    details = answer.details or _Details()
    return Reply(
        finish_reason=details.finish_reason,
        complete=answer.generated_text is not None,
        prompt_tokens=_prompt_tokens(tape.headers),
        output_tokens=details.generated_tokens,
        server_timings=_timings(tape.headers),
        error_kind=error,
        error_message=message,
        whole=answer.generated_text or "",
    )


def _error(event: _Event) -> tuple[str, str]:
    return read_error(0, {"error": event.error, "error_type": event.error_type or ""})


def _timings(headers: Iterable[tuple[str, str]]) -> dict[str, float]:
    """TGI's own timings under their headers' names."""
    found = {name.lower(): value for name, value in headers}
    return {name: float(found[name]) for name in TIMINGS if found.get(name, "").isdecimal()}


def _prompt_tokens(headers: Iterable[tuple[str, str]]) -> int | None:
    value = next((value for name, value in headers if name.lower() == "x-prompt-tokens"), "")
    return int(value) if value.isdecimal() else None
