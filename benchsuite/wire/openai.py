"""The OpenAI dialect, chat and completions, as its many servers speak it.

Where they differ: the role comes on a chunk of its own (vLLM, llama.cpp, transformers) or on each
delta (MLX, TGI); `content` is empty, null, or rarely a list of parts; reasoning is `reasoning` or
`reasoning_content`; usage rides on a chunk of its own, on the finish chunk, or on all; some never
send `[DONE]` (transformers). Azure begins with a chunk without choices. Groq's times stand in the usage,
or in `x_groq`; Cerebras' in `time_info`; Fireworks' in `perf_metrics`, where they were asked for.
"""

import re
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL
from benchsuite.wire.timings import header_timings

VERSIONED = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/|$)")


class _Part(msgspec.Struct, gc=False):
    """Shape shared by everything read: unknown fields are skipped, absent ones are None."""


class _PromptDetails(_Part, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(_Part, gc=False):
    reasoning_tokens: int | None = None


class _Usage(_Part, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    queue_time: float | None = None
    prompt_time: float | None = None
    completion_time: float | None = None
    total_time: float | None = None


class _Groq(_Part, gc=False):
    usage: _Usage | None = None


class _Delta(_Part, gc=False):
    content: str | list[Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(_Part, gc=False):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(_Part, gc=False):
    """An event of a stream, or a whole answer: their outer fields are the same."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    timings: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    time_info: dict[str, Any] | None = None
    perf_metrics: dict[str, Any] | None = None
    x_groq: _Groq | None = None


answer, get, headers = calls.answer, calls.get, calls.headers

OPTIONS: Final = MappingProxyType(
    {
        "endpoint": "as --endpoint",
        "max_tokens_field": "what the limit of an answer is called in a chat's body",
        "temperature": "0 or none: send a temperature of 0, or none at all",
    }
)
"""The options of a target that this dialect understands."""

CHUNKS = msgspec.json.Decoder(list[_Chunk])
ANSWER = msgspec.json.Decoder(_Chunk)


def path(target: Target, name: str) -> str:
    """`/v1/NAME` below the target's URL, or `/NAME` where the URL already names a version.

    `http://host:8000` → `/v1/models`; `https://host/v1`, `https://host/v1beta/openai` → `/models`.
    """
    return f"/{name}" if VERSIONED.search(target.url) else f"/v1/{name}"


def listed(tape: Tape) -> list[dict[str, Any]] | None:
    """The models that `GET models` answered with, each with its `id`; None: it is no such answer.

    Together's list is bare.
    """
    models = calls.said(tape) if tape.status == 200 else None
    if isinstance(models, dict):
        models = models.get("data")
    elif not models:
        return None
    if not isinstance(models, list):
        return None
    return [model for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]


def owned(tape: Tape, owner: str) -> list[dict[str, Any]] | None:
    """The same where each of them is owned by `owner`; None: there is none, or another's is among them."""
    models = listed(tape)
    if not models or any(model.get("owned_by") != owner for model in models):
        return None
    return models


def least_context(models: list[dict[str, Any]]) -> int | None:
    """Context in tokens that each of these models has, as far as it is told."""
    return min((found for model in models if (found := _context(model)) is not None), default=None)


def described(models: list[dict[str, Any]], server: str, unnamed: str) -> Identity:
    """Who lists these models: `server`, else their owner, else `unnamed`.

    Owner and context count only where all models have the same.
    """
    owners = {str(model.get("owned_by") or unnamed) for model in models}
    contexts = {_context(model) for model in models}
    return Identity(
        server=server or (owners.pop() if len(owners) == 1 else unnamed),
        models=tuple(model["id"] for model in models),
        context_tokens=contexts.pop() if len(contexts) == 1 else None,
    )


def _context(model: dict[str, Any]) -> int | None:
    """Context in tokens as vLLM, hosted gateways, or llama.cpp (its slot's, else the model's) name it."""
    meta = model.get("meta")
    more = meta if isinstance(meta, dict) else {}
    found = (
        model.get("max_model_len"),
        model.get("context_length"),
        more.get("n_ctx"),
        more.get("n_ctx_train"),
    )
    return next((value for value in found if isinstance(value, int)), None)


def call(request: Request, target: Target, *, extra: dict[str, Any]) -> Call:
    """The endpoint that the option `endpoint` names, `chat` if none; a UsageError for any other."""
    endpoint = target.options.get("endpoint", "chat")
    if endpoint == "chat":
        return chat_call(request, target, extra=extra)
    if endpoint == "completions":
        return completion_call(request, target, extra=extra)
    raise UsageError(f"the OpenAI dialect has chat and completions, not {endpoint!r}")


def chat_call(request: Request, target: Target, *, extra: dict[str, Any]) -> Call:
    """`POST chat/completions`, with usage; `extra` fields are added to the body and win."""
    asked: dict[str, Any] = {"messages": messages.chat(request.messages)}
    if request.json_schema:
        schema = passing.named_schema(request)
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.tools:
        asked["tools"] = msgspec.Raw(request.tools.encode())
    return _post(request, target, "chat/completions", asked, extra)


def completion_call(request: Request, target: Target, *, extra: dict[str, Any]) -> Call:
    """`POST completions`: the messages' contents as one prompt, a blank line between them."""
    passing.only(request, "completions")
    return _post(request, target, "completions", {"prompt": messages.prompt(request.messages)}, extra)


def _post(request: Request, target: Target, name: str, asked: dict[str, Any], extra: dict[str, Any]) -> Call:
    """Options of the target: `max_tokens_field`, and `temperature=none` for models that refuse a 0."""
    options, target = target.options, passing.meant(request, target)
    body = {
        "model": target.model,
        **asked,
        options.get("max_tokens_field", "max_tokens"): request.max_output_tokens,
        **calls.greedy(target),
        "stream": request.stream,
        "stream_options": {"include_usage": True},
    } | extra
    if not request.stream:
        del body["stream_options"]
    return calls.post(target, path(target, name), body, accept=passing.accept(request))


def decode(tape: Tape) -> Reply:
    """Read an answer, streamed or whole, of chat or completions, cut off anywhere or an error.

    Only a stream has token events. An event without readable JSON makes `error_kind` `protocol`.
    """
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if whole.is_whole(tape):
        return _whole(tape)
    return _streamed(tape)


def _streamed(tape: Tape) -> Reply:
    stream = sse.decode(tape, CHUNKS)
    arrival_ns: list[int] = []
    kinds = bytearray()
    texts: list[str] = []
    finish_reason = None
    notes: list[_Chunk] = []
    for chunk, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        choices = chunk.choices
        # All but texts comes with an answer's end or by itself; looking for it everywhere would be slow.
        if not choices or chunk.usage is not None:
            notes.append(chunk)
        for choice in choices or ():
            if choice.index:
                continue
            if choice.finish_reason is not None:
                finish_reason = choice.finish_reason
                notes.append(chunk)
            delta = choice.delta
            kind = CONTENT
            if delta is None:
                text = choice.text
            elif delta.content:
                said = delta.content
                kind, text = (CONTENT, said) if isinstance(said, str) else _from_parts(said)
            elif delta.reasoning or delta.reasoning_content:
                kind, text = REASONING, delta.reasoning or delta.reasoning_content
            elif delta.tool_calls:
                kind, text = TOOL, _tool_text(delta.tool_calls)
            elif delta.refusal:
                text = delta.refusal
            else:
                continue
            if text:
                arrival_ns.append(arrived_ns)
                kinds.append(kind)
                texts.append(text)
    usage = _usage_of(notes)
    error, message = _stream_error(notes, stream.unreadable)
    return Reply(
        arrival_ns=arrival_ns,
        kind=bytes(kinds),
        texts=texts,
        finish_reason=finish_reason,
        complete=stream.done or finish_reason is not None,
        server_timings=_timings(notes, usage) | header_timings(tape),
        error_kind=error,
        error_message=message,
        **_counts(usage),
    )


def _whole(tape: Tape) -> Reply:
    """An answer that was not streamed; one cut short is empty and not complete."""
    answer = whole.decode(tape, ANSWER, "the OpenAI dialect")
    if isinstance(answer, Reply):
        return answer
    kind, message = read_error(0, answer.error) if answer.error is not None else ("", "")
    choices = answer.choices or []
    return Reply(
        finish_reason=choices[0].finish_reason if choices else None,
        complete=bool(choices),
        server_timings=_timings([answer], answer.usage) | header_timings(tape),
        error_kind=kind,
        error_message=message,
        whole=_said(choices[0]) if choices else "",
        **_counts(answer.usage),
    )


def _said(choice: _Choice) -> str:
    """What a whole answer says, or else the tools that it calls."""
    message = choice.message
    if message is None:
        return choice.text or ""
    content = message.content or message.refusal or ""
    text = content if isinstance(content, str) else _joined(content, "text")
    return text or _tool_text(message.tool_calls or [])


def _from_parts(parts: list[Any]) -> tuple[int, str]:
    """Kind and text of a content that is a list: `text` parts, or only `thinking` ones (Mistral)."""
    text, thought = _joined(parts, "text"), _joined(parts, "thinking")
    return (CONTENT, text) if text else (REASONING, thought)


def _joined(parts: list[Any], name: str) -> str:
    found = [part.get(name) for part in parts if isinstance(part, dict)]
    texts = [_joined(one, "text") if isinstance(one, list) else one for one in found]
    return "".join(one for one in texts if isinstance(one, str))


def _tool_text(calls: list[Any]) -> str:
    """Names and arguments of tool call deltas; empty when they carry neither."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    return "".join(
        f"{one.get('name') or ''}{one.get('arguments') or ''}" for one in functions if isinstance(one, dict)
    )


def _counts(usage: _Usage | None) -> dict[str, Any]:
    """The reply's token counts; None where the server didn't say."""
    if usage is None:
        return {}
    prompt, output = usage.prompt_tokens_details, usage.completion_tokens_details
    reasoning = None if output is None else output.reasoning_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "cached_tokens": None if prompt is None else prompt.cached_tokens,
        "cache_write_tokens": None if prompt is None else prompt.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens if reasoning is None else reasoning,
    }


def _usage_of(notes: list[_Chunk]) -> _Usage | None:
    """The last usage told; Groq may tell it in a place of its own."""
    usage = None
    for chunk in notes:
        if chunk.usage is not None:
            usage = chunk.usage
        elif chunk.x_groq is not None and usage is None:
            usage = chunk.x_groq.usage
    return usage


def _stream_error(notes: list[_Chunk], unreadable: int) -> tuple[str, str]:
    """The first error that a stream carried; events that can't be read count as one."""
    for chunk in notes:
        if chunk.error is not None:
            return read_error(0, chunk.error)
    if unreadable:
        return "protocol", f"{unreadable} events of the stream could not be read"
    return "", ""


_ENDS: Final = ("completion_time", "total_time")
"""Groq's times of an answer's end, without which it tells none."""


def _timings(notes: list[_Chunk], usage: _Usage | None) -> dict[str, float]:
    """Each server's own timings under their own names, nested ones with a dot."""
    found: dict[str, float] = {}
    for chunk in notes:
        for said in (chunk.timings, chunk.metrics, chunk.time_info, chunk.perf_metrics):
            if said:
                found |= _flat(said)
        # Cerebras puts the time of day among its times.
        found.pop("created", None)
    if usage is not None and (usage.total_time is not None or usage.completion_time is not None):
        times = {name: getattr(usage, name) for name in ("queue_time", "prompt_time", *_ENDS)}
        found |= {name: value for name, value in times.items() if value is not None}
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            # A whole number may be too large to be anything else.
            with suppress(OverflowError):
                found[prefix + name] = float(value)
    return found
