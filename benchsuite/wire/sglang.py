"""SGLang's own dialect: `POST /generate`, whose events repeat the whole text so far.

A server started with `--incremental-streaming-output` sends only what is new; it is told apart by a text
that doesn't continue the one before. SGLang's chat and completions are the OpenAI dialect; `decode` reads
all of them. Read from SGLang 0.5.23.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, openai, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, Events

OPENAI = b'"choices":'
"""What only the OpenAI dialect has; within a JSON string its quotation marks would be escaped."""
TIMINGS = ("queue_time", "first_token_latency", "e2e_latency")
"""What `meta_info` says of times, in seconds; the first two only with `--enable-metrics`."""
SPOKEN: Final[Mapping[Any, str]] = MappingProxyType({True: "off", False: "on"})
"""Whether prefixes are kept, by `disable_radix_cache`."""


class _Meta(msgspec.Struct, gc=False):
    """What comes with each event, counts so far; the finish reason is an object with a `type`."""

    finish_reason: Any = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    queue_time: float | None = None
    first_token_latency: float | None = None
    e2e_latency: float | None = None


class _Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole answer."""

    text: str | None = None
    meta_info: _Meta | None = None
    error: Any = None


EVENTS = msgspec.json.Decoder(list[_Event])
ANSWER = msgspec.json.Decoder(_Event)


def call(request: Request, target: Target, *, salt: str) -> Call:
    """`POST /generate`; an empty `salt` lets it use what is cached. Its own model is a LoRA adapter here."""
    calls.meaningless(target, "max_tokens_field", "SGLang's native door")
    passing.only(request, "SGLang's native endpoint", "json_schema")
    sampling: dict[str, Any] = {"max_new_tokens": request.max_output_tokens, **calls.greedy(target)}
    if passing.is_forced(request):
        sampling |= {"min_new_tokens": request.min_output_tokens, "ignore_eos": True}
    if request.json_schema:
        sampling["json_schema"] = request.json_schema
    body: dict[str, Any] = {
        "text": messages.prompt(request.messages),
        "sampling_params": sampling,
        "stream": request.stream,
    }
    if salt:
        body["cache_salt"] = salt
    if request.model:
        body["lora_path"] = request.model
    return calls.post(passing.meant(request, target), "/generate", body, accept=passing.accept(request))


def decode(tape: Tape) -> Reply:
    """Read an answer of any of SGLang's doors, streamed or whole, cut off anywhere or an error."""
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if OPENAI in tape.body:
        return openai.decode(tape)
    return _whole(tape) if whole.is_whole(tape) else _streamed(tape)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, EVENTS)
    events = Events()
    texts = _pieces([event.text or "" for event in stream.chunks])
    meta = _Meta()
    error = message = ""
    for event, text, arrived_ns in zip(stream.chunks, texts, stream.arrival_ns, strict=True):
        events.add(CONTENT, text, arrived_ns)
        meta = event.meta_info or meta
        if event.error is not None and not error:
            error, message = read_error(0, event.error)
    if stream.unreadable and not error:
        error, message = "protocol", f"{stream.unreadable} events of the stream could not be read"
    facts = _facts(meta)
    facts["complete"] = stream.done or facts["finish_reason"] is not None
    return events.reply(**facts, error_kind=error, error_message=message)


def _whole(tape: Tape) -> Reply:
    """An answer that was not streamed; one cut short is empty and not complete."""
    answer = whole.decode(tape, ANSWER, "SGLang's dialect")
    if isinstance(answer, Reply):
        return answer
    error, message = read_error(0, answer.error) if answer.error is not None else ("", "")
    return Reply(
        **_facts(answer.meta_info or _Meta()),
        complete=answer.text is not None,
        error_kind=error,
        error_message=message,
        whole=answer.text or "",
    )


def _pieces(texts: list[str]) -> list[str]:
    """What is new in each text; of one that is shorter than the one before (its end cut away), nothing."""
    found: list[str] = []
    said = ""
    for text in texts:
        if text.startswith(said):
            found.append(text[len(said) :])
        elif said.startswith(text):
            found.append("")
            continue
        else:
            return texts
        said = text
    return found


def _facts(meta: _Meta) -> dict[str, Any]:
    reason = meta.finish_reason.get("type") if isinstance(meta.finish_reason, dict) else meta.finish_reason
    timings = {name: value for name in TIMINGS if (value := getattr(meta, name)) is not None}
    return {
        "finish_reason": reason if isinstance(reason, str) else None,
        "prompt_tokens": meta.prompt_tokens,
        "output_tokens": meta.completion_tokens,
        "cached_tokens": meta.cached_tokens,
        "reasoning_tokens": meta.reasoning_tokens,
        "server_timings": timings,
    }


def slots_of(info: Mapping[str, Any]) -> int | None:
    """Requests that run at once, of all copies together: as asked for, else as each copy found room for."""
    states = info.get("internal_states")
    first = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    each, copies = first.get("effective_max_running_requests_per_dp"), info.get("dp_size")
    most = (
        each * copies
        if isinstance(each, int) and isinstance(copies, int)
        else info.get("max_running_requests")
    )
    return most if isinstance(most, int) else None


def details_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Its settings as resolved at the start; empty where it doesn't tell them."""
    found = {
        "revision": info.get("revision"),
        "dtype": info.get("dtype"),
        "quantization": info.get("quantization"),
        "kv_cache_dtype": info.get("kv_cache_dtype"),
        "prefix_cache": SPOKEN.get(info.get("disable_radix_cache")),
        "load_format": info.get("load_format"),
        "tensor_parallel": info.get("tp_size"),
        "pipeline_parallel": info.get("pp_size"),
        "data_parallel": info.get("dp_size"),
        "device": info.get("device"),
    }
    return {name: str(value) for name, value in found.items() if value}
