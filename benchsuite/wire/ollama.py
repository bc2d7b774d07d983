"""Ollama's own dialect: `/api/chat` and `/api/generate`, whose answers are lines of JSON.

A line carries `message.content`, `message.thinking` and tool calls (chat) or `response` and `thinking`
(generate); the last one has `done: true`, a reason, counts and durations in nanoseconds, each of which is
left out where it is 0. An error in the middle is a line too. Read in Ollama 0.33; `shift` and `truncate` of
`/api/generate` couldn't be checked there, and what isn't known is ignored.
"""

import re
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire import calls, messages, ndjson, openai, passing
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL, Events
from benchsuite.wire.sse import Stream

OPTIONS: Final = MappingProxyType(
    {
        "num_ctx": "context that a model is loaded with [what the workload needs]",
        "keep_alive": "how long it stays loaded after a request [10m]",
        "think": "sent as it is, instead of what --reasoning says",
        "slots": "requests at once that a running server was started for [1]",
    }
)
"""The options of a target that are this dialect's own."""
KEEP_ALIVE: Final = "10m"
"""Each request renews it: the model stays loaded within a run, and goes ten minutes after it."""
MOST_REPEATS: Final = 30
"""After so many repetitions of a token Ollama ends the answer without a last line."""
DURATIONS: Final = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_LEVELS: Final = re.compile(r"(^|[/-])gpt-oss\b")
"""Models that take `think` as a level; others refuse the words."""
_EFFORTS: Final = {"off": "none", "low": "low", "high": "high"}


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Any] | None = None


class _Line(msgspec.Struct, gc=False):
    """A line of a stream, or a whole answer: their fields are the same. `choices` is OpenAI's."""

    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    total_duration: float | None = None
    load_duration: float | None = None
    prompt_eval_duration: float | None = None
    eval_duration: float | None = None
    error: Any = None
    choices: Any = None


LINES = msgspec.json.Decoder(_Line)

# ---------------------------------------------------------------- calls


def call(request: Request, target: Target) -> Call:
    """The endpoint that the option `endpoint` names: native (if none), generate, chat or completions."""
    endpoint, target = target.options.get("endpoint", "native"), passing.meant(request, target)
    if endpoint in {"native", "generate"}:
        calls.meaningless(target, "max_tokens_field", "Ollama's own API")
    if endpoint == "native":
        talk: dict[str, Any] = {"messages": _talk(request), "truncate": False, "shift": False}
        if (think := _think(request, target)) is not None:
            talk["think"] = think
        if request.tools:
            talk["tools"] = msgspec.Raw(request.tools.encode())
        return _post(request, target, "/api/chat", talk)
    if "think" in target.options:
        raise UsageError(f"--option think doesn't reach Ollama's {endpoint} endpoint; use --endpoint native")
    if request.reasoning and endpoint != "chat":
        raise UsageError(f"--reasoning doesn't reach Ollama's {endpoint} endpoint; use --endpoint native")
    if endpoint == "generate":
        passing.only(request, "Ollama's generate endpoint", "json_schema")
        prompt = messages.prompt(request.messages)
        asked = {"prompt": prompt, "raw": True, "truncate": False, "shift": False}
        return _post(request, target, "/api/generate", asked)
    if "num_ctx" in target.options:
        raise UsageError(
            f"--option num_ctx doesn't reach Ollama's {endpoint} endpoint; use --endpoint native"
        )
    effort = {"reasoning_effort": _EFFORTS[request.reasoning]} if request.reasoning else {}
    return openai.call(request, target, extra=effort)


def load_call(target: Target, context_tokens: int) -> Call:
    """A prompt without text: loads the model with its context, and is answered when that is done.

    The compatible endpoints can't name a context, so that another one asked for here would be undone.
    """
    body: dict[str, Any] = {"model": target.model, "stream": False, "keep_alive": _keep_alive(target)}
    context = _num_ctx(target, context_tokens)
    if context and is_native(target):
        body["options"] = {"num_ctx": context}
    return calls.aside(target, "/api/generate", body)


def pull_call(target: Target) -> Call:
    """Download the model, or what is missing of it; progress comes as lines."""
    return calls.aside(target, "/api/pull", {"model": target.model, "stream": True})


def show_call(target: Target) -> Call:
    """Ask about the target's model, whether it is loaded or not."""
    return calls.aside(target, "/api/show", {"model": target.model})


def is_native(target: Target) -> bool:
    """Does the target's endpoint take Ollama's own options?"""
    return target.options.get("endpoint", "native") in ("native", "generate")


def _talk(request: Request) -> list[dict[str, Any]]:
    """Messages with images beside their text, and calls with their arguments as objects."""
    names = messages.names_of_calls(request.messages)
    found = []
    for message in request.messages:
        said: dict[str, Any] = {"role": message.role, "content": messages.text(message)}
        if images := messages.images((message,)):
            said["images"] = [image.inline("Ollama's own API").data for image in images]
        if called := messages.tool_calls(message):
            said["tool_calls"] = [
                {"function": {"name": one.name, "arguments": messages.arguments_of(one)}} for one in called
            ]
        if message.role == "tool":
            said["tool_name"] = names.get(message.tool_call_id, "")
        found.append(said)
    return found


def _post(request: Request, target: Target, path: str, asked: dict[str, Any]) -> Call:
    options: dict[str, Any] = {"num_predict": request.max_output_tokens, **calls.greedy(target)}
    if context := _num_ctx(target, target.context_tokens):
        options["num_ctx"] = context
    body = {
        "model": target.model,
        **asked,
        "stream": request.stream,
        "keep_alive": _keep_alive(target),
        "options": options,
    }
    if request.json_schema:
        body["format"] = passing.schema_of(request)
    return calls.post(target, path, body, accept=passing.accept(request, "application/x-ndjson"))


def _num_ctx(target: Target, needed: int) -> int:
    """Tokens of context of one slot; 0: the server's own."""
    return calls.whole_number(target, "num_ctx") or needed


def _keep_alive(target: Target) -> int | str:
    """Seconds as a number, or a duration such as `10m`; negative: for ever."""
    asked = target.options.get("keep_alive", KEEP_ALIVE)
    return int(asked) if re.fullmatch(r"-?\d+", asked) else asked


def _think(request: Request, target: Target) -> bool | str | None:
    """The option `think` word for word, else what `--reasoning` is to the model; None: the model's choice."""
    asked = target.options.get("think")
    if asked is not None:
        return {"true": True, "false": False}.get(asked, asked)
    if request.reasoning in ("", "off"):
        return False if request.reasoning else None
    return request.reasoning if _LEVELS.search(target.model) else True


# ---------------------------------------------------------------- answers


def decode(tape: Tape) -> Reply:
    """Read an answer of any of Ollama's endpoints: lines, whole, or the OpenAI dialect; cut off or an error.

    Only a stream has token events. `error_kind` is `repetition` where Ollama gave up on a model that repeats
    itself. Cached tokens aren't told.
    """
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if not tape.body.lstrip().startswith(b"{"):
        return openai.decode(tape)
    if any(name == "content-type" and value.startswith("application/json") for name, value in tape.headers):
        return _whole(tape)
    stream = ndjson.decode(tape, LINES)
    if stream.chunks and stream.chunks[0].choices is not None:
        return openai.decode(tape)
    return _streamed(tape, stream)


def _streamed(tape: Tape, stream: Stream[_Line]) -> Reply:
    events = Events()
    last = None
    error = message = ""
    for line, arrived_ns in zip(stream.chunks, stream.arrival_ns, strict=True):
        if line.error is not None and not error:
            error, message = _error(line)
        said = line.message
        events.add(REASONING, line.thinking if said is None else said.thinking, arrived_ns)
        events.add(CONTENT, line.response if said is None else said.content, arrived_ns)
        if said is not None and said.tool_calls:
            events.add(TOOL, _tool_text(said.tool_calls), arrived_ns)
        if line.done:
            last = line
    if not error and stream.unreadable:
        error, message = "protocol", f"{stream.unreadable} lines of the stream could not be read"
    if not error and last is None and tape.framing_complete and _repeats(events.texts):
        error = "repetition"
        message = f"Ollama ended the answer: the same token came more than {MOST_REPEATS} times in a row"
    return events.reply(error_kind=error, error_message=message, **_facts(last))


def _whole(tape: Tape) -> Reply:
    """An answer that was not streamed; one cut short is empty and not complete."""
    try:
        line = LINES.decode(tape.body)
    except (msgspec.ValidationError, RecursionError):
        return openai.decode(tape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Reply()
    if line.choices is not None:
        return openai.decode(tape)
    error, message = _error(line) if line.error is not None else ("", "")
    said, called = line.message, ""
    text = line.response if said is None else said.content
    if said is not None and said.tool_calls:
        called = _tool_text(said.tool_calls)
    return Reply(error_kind=error, error_message=message, whole=text or called, **_facts(line))


def _error(line: _Line) -> tuple[str, str]:
    """Kind and message of an error line; a message without any type counts by its words."""
    return read_error(0, {"error": line.error} if isinstance(line.error, str) else line.error)


def _facts(line: _Line | None) -> dict[str, Any]:
    """What the last line tells."""
    if line is None:
        return {}
    timings = {name: value for name in DURATIONS if (value := getattr(line, name)) is not None}
    return {
        "prompt_tokens": line.prompt_eval_count,
        "output_tokens": line.eval_count,
        "finish_reason": line.done_reason,
        "complete": line.done,
        "server_timings": timings,
    }


def _repeats(texts: list[str]) -> bool:
    """Do the last texts, spaces aside, say the same thing too often?"""
    tail = {text.strip() for text in texts[-MOST_REPEATS - 1 :]}
    return len(texts) > MOST_REPEATS and len(tail) == 1


def _tool_text(tool_calls: list[Any]) -> str:
    """Names and arguments of tool calls, which Ollama sends whole."""
    functions = [call.get("function") or {} for call in tool_calls if isinstance(call, dict)]
    parts = [(one.get("name") or "", one.get("arguments")) for one in functions if isinstance(one, dict)]
    return "".join(
        f"{name}{msgspec.json.encode(arguments).decode() if arguments else ''}" for name, arguments in parts
    )


# ---------------------------------------------------------------- who answers


def listed(tape: Tape) -> list[dict[str, Any]] | None:
    """The models of an answer to `/api/tags` or `/api/ps`; None: it is no such answer."""
    models = calls.answer(tape).get("models")
    if not isinstance(models, list):
        return None
    return [model for model in models if isinstance(model, dict) and isinstance(model.get("name"), str)]


def loaded_context(shown: dict[str, Any], loaded: list[dict[str, Any]]) -> int | None:
    """Tokens of context: of the model shown where it is loaded, else its most; None: it isn't said.

    `/api/show` doesn't repeat the model's name, so it is found among the loaded ones by its details.
    """
    found = [context for one in loaded if type(context := one.get("context_length")) is int]
    if found or not shown:
        return min(found, default=None)
    information = shown.get("model_info")
    facts = information if isinstance(information, dict) else {}
    own = facts.get(f"{facts.get('general.architecture')}.context_length")
    return own if isinstance(own, int) else None


def same(shown: dict[str, Any], loaded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the loaded models that are the one shown; all of them where none was asked about."""
    if not shown:
        return loaded
    return [one for one in loaded if _kind_of(one) == _kind_of(shown)]


def _kind_of(model: dict[str, Any]) -> tuple[Any, ...]:
    found = model.get("details")
    details = found if isinstance(found, dict) else {}
    return tuple(details.get(name) for name in ("family", "parameter_size", "quantization_level"))


def details_of(shown: dict[str, Any], loaded: list[dict[str, Any]]) -> dict[str, str]:
    """Quantization, size and family of the one model that is meant, and how much of it a GPU holds."""
    models = [shown] if shown else loaded
    if len(models) != 1:
        return {}
    family, size, quantization = _kind_of(models[0])
    found = {"quantization": quantization, "parameters": size, "family": family}
    if len(loaded) == 1:
        total, on_gpu = loaded[0].get("size"), loaded[0].get("size_vram")
        if isinstance(total, int) and total > 0 and isinstance(on_gpu, int):
            found["on_gpu"] = f"{100 * on_gpu / total:.0f} %"
    if models[0].get("remote_host"):
        found["remote"] = "yes"
    return {name: str(value) for name, value in found.items() if value}


# ---------------------------------------------------------------- pulling


def progress(tape: Tape) -> tuple[str, float | None]:
    """The last line of a pull so far: its words, and the share of the layers told of that is there."""
    words = ""
    layers: dict[str, tuple[int, int]] = {}
    for line in tape.body.splitlines():
        try:
            said = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if not isinstance(said, dict):
            continue
        words = str(said.get("error") or said.get("status") or words)
        total, done = said.get("total"), said.get("completed") or 0
        if isinstance(total, int) and isinstance(done, int) and total > 0:
            layers[str(said.get("digest"))] = (done, total)
    whole = sum(total for _, total in layers.values())
    return words[:80], sum(there for there, _ in layers.values()) / whole if whole else None
