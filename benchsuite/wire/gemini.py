"""Google's Gemini, at its own address and on Vertex AI: events of many tokens, and no end but the last one.

Composed after the types of google-genai (3.6) and Google's documents in November 2026, not recorded. Thoughts
are counted beside the candidates' tokens; our output tokens are the sum. A count of 0 is left out there, so
it is None here.
"""

import re
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire import calls, gemini_messages, messages, passing, sse, whole
from benchsuite.wire.errors import error_kind, read_error
from benchsuite.wire.events import CONTENT, REASONING, TOOL, Events
from benchsuite.wire.openai import VERSIONED

OPTIONS: Final = MappingProxyType(
    {
        "temperature": "none: send no temperature [0]",
        "cache": "explicit: upload the prefix of --cache shared (cachedContents)",
        "auth": "bearer: the key as a token, as Vertex wants it",
    }
)
"""The options of a target that this dialect understands."""

CACHE_TTL_S = 7200
"""How long an uploaded prefix lives: as long as a run may take, and no longer where a crash leaves it."""

BUDGETS = {"off": 0, "low": 1024, "high": 24576}
"""Thinking tokens for models before Gemini 3, which know no levels; 2.5 Pro can't think less than 128."""
LEVELS = {"off": "MINIMAL", "low": "LOW", "high": "HIGH"}
BY_BUDGET = re.compile(r"gemini-[12]\.")

LOCATION = re.compile(r"/locations/([a-z0-9-]+)|//([a-z0-9-]+)-aiplatform\.")
PUBLISHER = "/publishers/google"
# Strings, so that braces within them don't count, and the braces that do.
JSON_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: dict[str, Any] | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    index: int | None = 0
    content: _Content | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False, rename="camel"):
    """An event of a stream, or a whole answer: they are the same."""

    candidates: list[_Candidate] | None = None
    usage_metadata: _Usage | None = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


CHUNKS = msgspec.json.Decoder(list[_Chunk])
ANSWER = msgspec.json.Decoder(_Chunk)


# ---------------------------------------------------------------- what is asked


def on_vertex(target: Target) -> bool:
    """Is it Vertex AI, whose keys are bearer tokens?"""
    host = urlsplit(target.url).hostname or ""
    return host.endswith("aiplatform.googleapis.com")


def location(target: Target) -> str:
    """The location that a Vertex URL names, in its path or before its host; empty: it names none."""
    found = LOCATION.search(target.url) if on_vertex(target) or "/locations/" in target.url else None
    return found[found.lastindex or 0] if found else ""


def model_path(target: Target) -> str:
    """The model below the target's URL: `/v1beta/models/M`, or on Vertex `/publishers/google/models/M`."""
    name = f"/models/{model_name(target.model)}"
    if not VERSIONED.search(target.url):
        return f"/v1beta{name}"
    is_project = "/locations/" in target.url and PUBLISHER not in target.url
    return f"{PUBLISHER}{name}" if is_project else name


def model_name(model: str) -> str:
    """A model's name without `models/` or a publisher before it."""
    return model.rpartition("models/")[2]


def models_call(target: Target) -> Call:
    """The list of models, as many as one page can hold; on Vertex, which has none, a count of one token."""
    if "/locations/" in target.url:
        if not target.model:
            raise UsageError("Vertex AI lists no models: say which one with --model, e.g. gemini-3.8-flash")
        return count_call("hi", target)
    where = "/models" if VERSIONED.search(target.url) else "/v1beta/models"
    headers = calls.headers(target, key_header=_key_header(target))
    return Call(method="GET", path=f"{where}?pageSize=1000", headers=headers)


def listed(tape: Tape) -> list[str] | None:
    """Names of the models that can generate; None: it is no such list."""
    models = calls.answer(tape).get("models")
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        return None
    names = [model["name"] for model in models if _generates(model)]
    ours = [model_name(name) for name in names if isinstance(name, str) and name.startswith("models/")]
    return ours if ours and len(ours) == len(names) else None


def _generates(model: dict[str, Any]) -> bool:
    methods = model.get("supportedGenerationMethods")
    return "name" in model and (not isinstance(methods, list) or "generateContent" in methods)


def call(request: Request, target: Target) -> Call:
    """`:streamGenerateContent` as events, or `:generateContent`.

    A prefix that was uploaded is named instead of sent again.
    """
    target = passing.meant(request, target)
    verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    where = f"{model_path(target)}:{verb}"
    return _post(target, where, content(request, target), passing.accept(request))


def content(request: Request, target: Target) -> dict[str, Any]:
    """The body, as batches take it too."""
    talk = [one for one in request.messages if one.role != "system"]
    system = [messages.text(one) for one in request.messages if one.role == "system"]
    body: dict[str, Any] = {}
    if request.cache == "shared" and talk:
        text = talk[0].content
        name = target.caches.get(text[: request.shared_chars])
        if name:
            body["cachedContent"] = name
            talk[0] = msgspec.structs.replace(talk[0], content=text[request.shared_chars :])
    if system:
        body["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
    body["contents"] = gemini_messages.contents(talk)
    if request.tools:
        declared = [gemini_messages.declaration(one) for one in passing.functions_of(request)]
        body["tools"] = [{"functionDeclarations": declared}]
    config: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens, **calls.greedy(target)}
    if request.reasoning:
        config["thinkingConfig"] = _thinking(request.reasoning, target.model)
    if request.json_schema:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = passing.schema_of(request)
    body["generationConfig"] = config
    return body


def _turn(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": [{"text": text}]}


def _thinking(asked: str, model: str) -> dict[str, Any]:
    """Thoughts are asked for where there are any: else the first token would come only after them."""
    by_budget = BY_BUDGET.match(model_name(model))
    amount = {"thinkingBudget": BUDGETS[asked]} if by_budget else {"thinkingLevel": LEVELS[asked]}
    return amount if asked == "off" else amount | {"includeThoughts": True}


def count_call(text: str, target: Target) -> Call:
    """`:countTokens` of one user message; free of charge."""
    bare = msgspec.structs.replace(target, extra_body={})
    return _post(bare, f"{model_path(target)}:countTokens", {"contents": [_turn(text)]})


def token_count(tape: Tape) -> int | None:
    """What `:countTokens` answered; None: something else."""
    found = calls.answer(tape).get("totalTokens")
    return found if isinstance(found, int) else None


def cache_call(prefix: str, target: Target) -> Call:
    """Upload a prefix as `cachedContents`; its storage costs by the hour until it is removed."""
    model = f"models/{model_name(target.model)}"
    if "/locations/" in target.url:
        project = urlsplit(target.url).path.partition("/projects/")[2].rstrip("/")
        model = f"projects/{project}{PUBLISHER}/{model}"
    body = {"model": model, "contents": [_turn(prefix)], "ttl": f"{CACHE_TTL_S}s"}
    return _post(msgspec.structs.replace(target, extra_body={}), _caches(target), body)


def cache_name(tape: Tape) -> str | None:
    """What the upload is called; None: it was refused."""
    found = calls.answer(tape).get("name")
    return found if isinstance(found, str) and "cachedContents/" in found else None


def uncache_call(name: str, target: Target) -> Call:
    """Remove an upload."""
    where = f"{_caches(target)}/{name.rpartition('/')[2]}"
    headers = calls.headers(target, key_header=_key_header(target))
    return Call(method="DELETE", path=where, headers=headers)


def _caches(target: Target) -> str:
    """The collection of uploads; on Vertex it belongs to the location, above the publishers."""
    if PUBLISHER in target.url:
        raise UsageError(
            f"--option cache=explicit on Vertex AI: end --url with the location, without {PUBLISHER}"
        )
    return "/cachedContents" if VERSIONED.search(target.url) else "/v1beta/cachedContents"


def _key_header(target: Target) -> str:
    bearer = on_vertex(target) or target.options.get("auth") == "bearer"
    return "Authorization" if bearer else "x-goog-api-key"


def _post(target: Target, where: str, body: dict[str, Any], accept: str = "application/json") -> Call:
    return calls.post(target, where, body, accept=accept, key_header=_key_header(target))


# ---------------------------------------------------------------- what is heard


def decode(tape: Tape) -> Reply:
    """Read an answer, streamed or whole, cut off anywhere or an error; only a stream has token events.

    A stream is events, or (asked for without `alt=sse`) one JSON array of the same objects.
    """
    if tape.status >= 400:
        kind, message = error_kind(tape.status, tape.body)
        return Reply(error_kind=kind, error_message=message)
    if whole.is_whole(tape):
        answer = whole.decode(tape, ANSWER, "Gemini's dialect")
        if isinstance(answer, Reply):
            return answer
        said = _said(answer.candidates or [])
        return msgspec.structs.replace(_read([answer], [], Events(), 0), whole=said)
    is_array = tape.body.lstrip().startswith(b"[")
    stream = _array(tape) if is_array else sse.decode(tape, CHUNKS)
    return _read(stream.chunks, stream.arrival_ns, Events(), stream.unreadable)


def _said(candidates: list[_Candidate]) -> str:
    """What the first candidate says, without its thoughts, or else the functions that it calls."""
    first = next((one for one in candidates if not one.index), _Candidate())
    parts = (first.content.parts if first.content is not None else None) or []
    texts = [part.text or "" for part in parts if not part.thought]
    called = [part.function_call for part in parts if part.function_call is not None]
    return "".join(texts) or "".join(calls.ENCODER.encode(one).decode() for one in called)


def _read(chunks: list[_Chunk], arrival_ns: Any, events: Events, unreadable: int) -> Reply:
    """The reply of all chunks; those without an arrival have no events."""
    usage, finish_reason, blocked, error = _Usage(), None, None, None
    for at, chunk in enumerate(chunks):
        usage = chunk.usage_metadata or usage
        if chunk.prompt_feedback is not None:
            blocked = chunk.prompt_feedback.block_reason or blocked
        if chunk.error is not None and error is None:
            error = read_error(0, chunk.error)
        for candidate in chunk.candidates or ():
            if candidate.index:
                continue
            finish_reason = candidate.finish_reason or finish_reason
            if candidate.content is not None and at < len(arrival_ns):
                _add(events, candidate.content.parts or [], arrival_ns[at])
    if error is None and blocked:
        error = ("content_filter", f"the prompt was blocked ({blocked})")
    if error is None:
        unread = f"{unreadable} events of the stream could not be read"
        error = ("protocol", unread) if unreadable else ("", "")
    spoken, thought = usage.candidates_token_count, usage.thoughts_token_count
    return events.reply(
        finish_reason=finish_reason,
        complete=finish_reason is not None,
        prompt_tokens=usage.prompt_token_count,
        output_tokens=None if spoken is None and thought is None else (spoken or 0) + (thought or 0),
        # A count of 0 is left out of JSON that is made from protocol buffers.
        cached_tokens=usage.cached_content_token_count
        or (0 if usage.prompt_token_count is not None else None),
        reasoning_tokens=thought,
        error_kind=error[0],
        error_message=error[1],
    )


def _add(events: Events, parts: list[_Part], arrived_ns: int) -> None:
    """A chunk's parts: neighbours of one kind are one event, since they came as one."""
    kind, text = CONTENT, ""
    for part in parts:
        if part.function_call is not None:
            new, more = TOOL, calls.ENCODER.encode(part.function_call).decode()
        else:
            new, more = (REASONING if part.thought else CONTENT), part.text or ""
        if new != kind:
            events.add(kind, text, arrived_ns)
            kind, text = new, ""
        text += more
    events.add(kind, text, arrived_ns)


def _array(tape: Tape) -> "sse.Stream[_Chunk]":
    """The objects of a JSON array as they were completed; the last one may be cut off."""
    chunks: list[_Chunk] = []
    ends: list[int] = []
    depth = start = unreadable = 0
    for mark in JSON_MARKS.finditer(tape.body):
        if mark[0] == b"{":
            start = start if depth else mark.start()
            depth += 1
        elif mark[0] == b"}" and depth:
            depth -= 1
            if depth == 0:
                try:
                    chunks.append(ANSWER.decode(tape.body[start : mark.end()]))
                    ends.append(mark.end())
                except (msgspec.DecodeError, UnicodeDecodeError):
                    # What is cut inside a string looks as if its braces counted.
                    unreadable += 1
    closed = tape.body.rstrip().endswith(b"]")
    return sse.Stream(chunks, sse.arrivals(tape, ends), False, unreadable if closed else 0)
