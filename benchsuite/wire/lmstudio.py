"""LM Studio's own dialect: `/api/v1/chat`, whose answers are named events.

`chat.start`, then perhaps `model_load.*`, `prompt_processing.*`, `reasoning.delta` and `message.delta`, and
at the end `chat.end` with the whole result and its counts, after an `error` too. It tells no finish reason
and no cached tokens. After LM Studio's documentation of 29 April 2026; nothing of it was run.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, openai, passing, sse
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL, Events

OPTIONS: Final = MappingProxyType(
    {
        "context_length": "context that a model is loaded with [what the workload needs]",
        "parallel": "requests at once that a model is loaded for [not sent]",
    }
)
"""The options of a target that are this dialect's own."""
MODELS: Final = "/api/v1/models"
_STATUS: Final = f"{MODELS}/download/status"
_FIRST: Final = re.compile(rb'^event:|"type"\s*:\s*"(?:chat|error)\b|"choices"')
"""What comes first tells LM Studio's own events from OpenAI's chunks."""
_SNIFFED_BYTES: Final = 4096
_TOO_LARGE: Final = 2**53
_KINDS: Final = {"message.delta": CONTENT, "reasoning.delta": REASONING, "tool_call.arguments": TOOL}


class _Result(msgspec.Struct, gc=False):
    """The whole result, at the end of a stream or instead of one."""

    output: list[Any] | None = None
    stats: dict[str, Any] | None = None
    error: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    content: str | None = None
    arguments: Any = None
    load_time_seconds: float | None = None
    result: _Result | None = None
    error: Any = None


EVENTS = msgspec.json.Decoder(list[_Event])
RESULT = msgspec.json.Decoder(_Result)

# ---------------------------------------------------------------- calls


def call(request: Request, target: Target) -> Call:
    """The endpoint that the option `endpoint` names: native (if none), chat or completions."""
    endpoint, target = target.options.get("endpoint", "native"), passing.meant(request, target)
    if endpoint != "native":
        if request.reasoning:
            raise UsageError(f"--reasoning doesn't reach LM Studio's {endpoint}; use --endpoint native")
        return openai.call(request, target, extra={})
    calls.meaningless(target, "max_tokens_field", "LM Studio's own API")
    passing.only(request, "LM Studio's own endpoint")
    if any(message.role == "assistant" for message in request.messages):
        raise UsageError("LM Studio's own endpoint takes no answers of the assistant; use --endpoint chat")
    system = messages.prompt(one for one in request.messages if one.role == "system")
    body: dict[str, Any] = {
        "model": target.model,
        "input": messages.prompt(one for one in request.messages if one.role == "user"),
        "max_output_tokens": request.max_output_tokens,
        **calls.greedy(target),
        "stream": request.stream,
        "store": False,
    }
    if system:
        body["system_prompt"] = system
    if request.reasoning:
        body["reasoning"] = request.reasoning
    return calls.post(target, "/api/v1/chat", body, accept=passing.accept(request))


def load_call(target: Target, identity: Identity, context_tokens: int) -> Call | None:
    """Load the model; None: it is loaded already, and once more it would stand in memory twice.

    `parallel` isn't documented here, so it is sent only where the option of that name asks for it.
    """
    keys = identity.details.get("loaded", "")
    if keys and target.model in (*keys.split(", "), *identity.models):
        return None
    body: dict[str, Any] = {"model": target.model, "echo_load_config": True}
    context = calls.whole_number(target, "context_length") or context_tokens
    if context:
        body["context_length"] = context
    if parallel := calls.whole_number(target, "parallel"):
        body["parallel"] = parallel
    return calls.aside(target, f"{MODELS}/load", body)


def pull_call(target: Target) -> Call:
    """Begin to download the model; the answer names the job."""
    return calls.aside(target, f"{MODELS}/download", {"model": target.model})


def pull_next(tape: Tape, target: Target) -> Call | None:
    """Ask how far the job is; None: it has ended, in whatever way."""
    said = calls.answer(tape)
    job = said.get("job_id")
    if said.get("status") not in ("downloading", "paused") or not isinstance(job, str):
        return None
    return calls.get(target, f"{_STATUS}/{job}") if re.fullmatch(r"[\w.-]+", job) else None


# ---------------------------------------------------------------- answers


def decode(tape: Tape) -> Reply:
    """Read an answer of any of LM Studio's endpoints, its own or OpenAI's, whole, cut off or an error.

    Only a stream has token events, and only `chat.end` makes an own one complete.
    """
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if tape.body.lstrip().startswith(b"{"):
        return _whole(tape)
    first = _FIRST.search(tape.body[:_SNIFFED_BYTES])
    return openai.decode(tape) if first is None or first[0] == b'"choices"' else _streamed(tape)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, EVENTS)
    events = Events()
    result = None
    error = message = ""
    timings: dict[str, float] = {}
    for event, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        kind = _KINDS.get(event.type)
        if kind is not None:
            events.add(kind, event.content if kind != TOOL else _json(event.arguments), arrived_ns)
        elif event.type == "error" and not error:
            error, message = read_error(0, event.error)
        elif event.type == "model_load.end" and event.load_time_seconds is not None:
            timings["model_load_time_seconds"] = event.load_time_seconds
        elif event.type == "chat.end":
            result = event.result or _Result()
    if not error and stream.unreadable:
        error, message = "protocol", f"{stream.unreadable} events of the stream could not be read"
    facts = _facts(result)
    facts["server_timings"] = timings | facts.get("server_timings", {})
    return events.reply(error_kind=error, error_message=message, **facts)


def _whole(tape: Tape) -> Reply:
    """An answer that was not streamed; one cut short is empty and not complete."""
    try:
        result = RESULT.decode(tape.body)
    except (msgspec.ValidationError, RecursionError):
        return openai.decode(tape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Reply()
    if result.output is None and result.stats is None:
        return openai.decode(tape)
    items = [one for one in result.output or () if isinstance(one, dict) and one.get("type") == "message"]
    texts = [text for one in items if isinstance(text := one.get("content"), str)]
    return Reply(**_facts(result), whole="".join(texts))


def _facts(result: _Result | None) -> dict[str, Any]:
    """What the result tells; its `stats` are counts, and timings under their own names."""
    if result is None:
        return {}
    numbers = {
        name: value
        for name, value in (result.stats or {}).items()
        if type(value) in (int, float) and abs(value) < _TOO_LARGE
    }
    counts = {
        "prompt_tokens": numbers.pop("input_tokens", None),
        "output_tokens": numbers.pop("total_output_tokens", None),
        "reasoning_tokens": numbers.pop("reasoning_output_tokens", None),
    }
    whole = {name: None if value is None else int(value) for name, value in counts.items()}
    timings = {name: float(value) for name, value in numbers.items()}
    return {**whole, "complete": True, "server_timings": timings}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() if value else ""


# ---------------------------------------------------------------- who answers


def identity_of(tape: Tape) -> Identity | None:
    """Read `GET /api/v1/models`: the loaded models, or all where none is; None: it is no such answer.

    Context, slots and quantization are those of what is loaded, as far as all that is agrees.
    """
    listed = calls.answer(tape).get("models")
    if not isinstance(listed, list):
        return None
    models = [one for one in listed if isinstance(one, dict) and isinstance(one.get("key"), str)]
    if len(models) < len(listed) or any("loaded_instances" not in one for one in models):
        return None
    models = [one for one in models if one.get("type") != "embedding"]
    loaded = [(one, copy) for one in models for copy in _instances(one)]
    configs = [copy["config"] for _, copy in loaded if isinstance(copy.get("config"), dict)]
    names = tuple(copy["id"] for _, copy in loaded)
    contexts = _numbers(configs, "context_length")
    slots = set(_numbers(configs, "parallel"))
    return Identity(
        server="LM Studio",
        models=names or tuple(one["key"] for one in models),
        context_tokens=min(contexts, default=None),
        slots=slots.pop() if len(slots) == 1 else None,
        details=_details([one for one, _ in loaded]),
    )


def _instances(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = model.get("loaded_instances")
    return [one for one in found or () if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _numbers(configs: list[dict[str, Any]], name: str) -> list[int]:
    return [value for config in configs if type(value := config.get(name)) is int]


def _details(loaded: list[dict[str, Any]]) -> dict[str, str]:
    """What is said of the loaded models, where all say the same."""
    if not loaded:
        return {}
    found: dict[str, set[str]] = {"quantization": set(), "parameters": set(), "format": set()}
    for model in loaded:
        quantization = model.get("quantization")
        name = quantization.get("name") if isinstance(quantization, dict) else None
        found["quantization"].add(str(name or ""))
        found["parameters"].add(str(model.get("params_string") or ""))
        found["format"].add(str(model.get("format") or ""))
    told = {name: values.pop() for name, values in found.items() if len(values) == 1}
    keys = ", ".join(dict.fromkeys(model["key"] for model in loaded))
    return {"loaded": keys} | {name: value for name, value in told.items() if value}


# ---------------------------------------------------------------- pulling and loading


def progress(tape: Tape) -> tuple[str, float | None]:
    """State of a download, and the share that is there."""
    said = calls.answer(tape)
    done, total = said.get("downloaded_bytes"), said.get("total_size_bytes")
    share = done / total if isinstance(done, int) and isinstance(total, int) and total > 0 else None
    return str(said.get("status") or "")[:80], share


def load_seconds(tape: Tape) -> float | None:
    """Seconds that loading took, by LM Studio's word."""
    seconds = calls.answer(tape).get("load_time_seconds")
    return float(seconds) if isinstance(seconds, int | float) else None
