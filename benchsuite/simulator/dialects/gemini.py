"""Google's Gemini, also as Vertex serves it."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from benchsuite.simulator.asked import (
    Answer,
    Asked,
    Part,
    Refused,
    call_texts,
    chat_words,
    decoded,
    known,
    room,
    texts,
    tool_words,
    words,
)
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import SIM_VERSION_SUFFIX, Api, Piece, Varies, Vocabulary, encode
from benchsuite.simulator.http import JSON, Page, json
from benchsuite.simulator.shaped import fitting

_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        **{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"},
        **{405: "UNIMPLEMENTED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"},
    }
)
_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
_NO_CONTENT: Final = "CachedContent not found (or permission denied)"
"""Google refuses what isn't there as if it were another's, with 403."""


class _Content(msgspec.Struct, gc=False):
    parts: list[Part] = []


class _Thinking(msgspec.Struct, rename="camel", gc=False):
    thinking_budget: int | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


class _Generation(msgspec.Struct, rename="camel", gc=False):
    max_output_tokens: int | None = None
    thinking_config: _Thinking | None = None
    response_json_schema: Any = None
    response_schema: Any = None


class _Body(msgspec.Struct, rename="camel", gc=False):
    contents: list[_Content] | _Content
    system_instruction: _Content | None = None
    generation_config: _Generation | None = None
    cached_content: str | None = None
    tools: list[Any] | None = None


class _Count(msgspec.Struct, rename="camel", gc=False):
    contents: list[_Content] | _Content = []
    generate_content_request: _Body | None = None


class _Cached(msgspec.Struct, rename="camel", gc=False):
    model: str
    contents: list[_Content] | _Content = []
    system_instruction: _Content | None = None
    ttl: str = "3600s"
    display_name: str = ""


_BODY = msgspec.json.Decoder(_Body)
_COUNT = msgspec.json.Decoder(_Count)
_CACHED = msgspec.json.Decoder(_Cached)


class Gemini(Api):
    """Kinds `generateContent`, `streamGenerateContent` and `countTokens`; form `array`: no SSE was asked for.

    Holds the contents that were uploaded to be cached.
    """

    media: ClassVar[str] = "text/event-stream"

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._words = Vocabulary(config)
        self._text = self._words.text
        self._contents: dict[str, tuple[list[str], dict[str, object]]] = {}
        self._made = 0

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """Contents, or only the question how many tokens they are."""
        config = self._config
        model = known(config, found["model"])
        template = [""] * config.template_tokens
        if kind == "countTokens":
            count = decoded(_COUNT, incoming.body)
            inner = count.generate_content_request
            prompt = template + (
                _words(config, inner.contents, inner.system_instruction)
                if inner
                else _words(config, count.contents)
            )
            details = [{"modality": "TEXT", "tokenCount": len(prompt)}]
            return json({"totalTokens": len(prompt), "promptTokensDetails": details})
        said = decoded(_BODY, incoming.body)
        held: list[str] = []
        if said.cached_content:
            if said.cached_content not in self._contents:
                raise Refused("key", _NO_CONTENT)
            held = self._contents[said.cached_content][0]
        prompt = held + template + _words(self._config, said.contents, said.system_instruction)
        generation = said.generation_config or _Generation()
        prompt += tool_words(said.tools)
        schema = generation.response_json_schema or generation.response_schema
        thinking = generation.thinking_config or _Thinking()
        stream = kind == "streamGenerateContent"
        return Asked(
            kind=kind,
            model=model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=room(config, len(prompt), generation.max_output_tokens, "maxOutputTokens"),
            stream=stream,
            forms=("array",) if stream and "alt=sse" not in incoming.query.split("&") else (),
            held=len(held),
            reasoning=0 if thinking.thinking_budget == 0 else config.reasoning_tokens,
            shown=bool(thinking.include_thoughts),
            said=fitting(schema) if schema else (),
        )

    # ------------------------------------------------------------ streams

    def varies(self, asked: Asked) -> Varies:
        """Every chunk counts."""
        return "answer"

    def media_of(self, asked: Asked) -> str:
        """SSE where it was asked for."""
        return JSON if "array" in asked.forms else self.media

    def comment(self, asked: Asked) -> bytes:
        """Google sends none, and its own SDK can't read one."""
        return b""

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One chunk."""
        assert answer is not None
        return self._chunk(answer, piece, None)

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last chunk says why it is the last."""
        last = self._chunk(answer, piece, "STOP" if answer.stopped else "MAX_TOKENS")
        return [last + (b"]" if "array" in answer.asked.forms else b"")]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error instead of a chunk."""
        error = encode(_error(503, "The service is currently unavailable."))
        return b",\r\n" + error + b"]" if "array" in answer.asked.forms else b"data: %b\r\n\r\n" % error

    # ------------------------------------------------------------ whole answers

    def whole(self, answer: Answer) -> Page:
        """All parts at once."""
        parts: list[object] = []
        if answer.reasoning and answer.asked.shown:
            parts.append({"text": self._text(0, answer.reasoning), "thought": True})
        parts.append({"text": self._words.content(answer)})
        finish = "STOP" if answer.stopped else "MAX_TOKENS"
        return json(self._response(answer, parts, finish, answer.reasoning, answer.tokens - answer.reasoning))

    def refusal(self, refused: Refused) -> Page:
        """With the time to wait, where there is one."""
        status = 403 if refused.reason == "key" else refused.status
        message = refused.message
        if refused.room:
            message = (
                f"The input token count ({refused.tokens}) exceeds the maximum number of tokens "
                f"allowed ({refused.room})."
            )
        details: list[object] = []
        if refused.reason == "rate_limit":
            delay = f"{self._config.retry_after_s:g}s"
            details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
        return json(_error(status, message, details), status)

    # ------------------------------------------------------------ pages

    def create_cached(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Keep contents for later requests."""
        said = decoded(_CACHED, incoming.body)
        tokens = _words(self._config, said.contents, said.system_instruction)
        least = self._config.cache_min_tokens
        if len(tokens) < least:
            message = (
                f"Cached content is too small. total_token_count={len(tokens)}, min_total_token_count={least}"
            )
            raise Refused("invalid", message)
        self._made += 1
        within = incoming.path.partition("/projects/")[2].rpartition("/")[0]
        name = f"{f'projects/{within}/' if within else ''}cachedContents/sim{self._made}"
        now_s = time.time()
        about: dict[str, object] = {
            "name": name,
            "model": said.model,
            "displayName": said.display_name,
            "createTime": _stamp(now_s),
            "updateTime": _stamp(now_s),
            "expireTime": _stamp(now_s + float(said.ttl.rstrip("s") or 3600)),
            "usageMetadata": {"totalTokenCount": len(tokens)},
        }
        self._contents[name] = (tokens, about)
        return json(about)

    def show_cached(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """What is known of them."""
        return json(self._contents[self._name(incoming)][1])

    def list_cached(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """All that are kept."""
        return json({"cachedContents": [about for _, about in self._contents.values()]})

    def delete_cached(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Forget them."""
        del self._contents[self._name(incoming)]
        return json({})

    def _name(self, incoming: Incoming) -> str:
        name = incoming.path.lstrip("/").partition("/")[2]
        if name not in self._contents:
            raise Refused("key", _NO_CONTENT)
        return name

    def list_models(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """The one model."""
        return json({"models": [_card(self._config, self._config.model)]})

    def show_model(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """One model."""
        return json(_card(self._config, known(self._config, found["model"])))

    # ------------------------------------------------------------ parts

    def _chunk(self, answer: Answer, piece: Piece, finish: str | None) -> bytes:
        thought = piece.kind == "reasoning"
        part: dict[str, object] = {"text": piece.text, "thought": True} if thought else {"text": piece.text}
        said = piece.start + piece.size
        thoughts, candidates = (said, 0) if thought else (answer.reasoning, said)
        data = encode(self._response(answer, [part], finish, thoughts, candidates))
        if "array" in answer.asked.forms:
            return (b",\r\n" if piece.number else b"[") + data
        return b"data: %b\r\n\r\n" % data

    def _response(
        self, answer: Answer, parts: list[object], finish: str | None, thoughts: int, candidates: int
    ) -> dict[str, object]:
        candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        prompt = answer.asked.prompt_tokens
        usage: dict[str, object] = {
            "promptTokenCount": prompt,
            "totalTokenCount": prompt + thoughts + candidates,
        }
        if candidates:
            usage["candidatesTokenCount"] = candidates
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        if answer.cached:
            usage["cachedContentTokenCount"] = answer.cached
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
        said: dict[str, object] = {
            "candidates": [candidate],
            "modelVersion": answer.asked.model,
            "responseId": "sim",
        }
        return said | {"usageMetadata": usage} if self._config.usage else said


def _words(
    config: SimConfig, contents: list[_Content] | _Content, system: _Content | None = None
) -> list[str]:
    some = contents if isinstance(contents, list) else [contents]
    first = words(texts(system.parts)) if system else []
    return first + chat_words(config, [_said(content.parts) for content in some])


def _said(parts: list[Part]) -> list[str]:
    return [*texts(parts), *call_texts(*(one.function_call or one.function_response for one in parts))]


def _error(status: int, message: str, details: list[object] | None = None) -> dict[str, object]:
    error: dict[str, object] = {
        "code": status,
        "message": message,
        "status": _STATUSES.get(status, "UNKNOWN"),
    }
    return {"error": error | {"details": details} if details else error}


def _stamp(at_s: float) -> str:
    return time.strftime(_STAMP, time.gmtime(at_s))


def _card(config: SimConfig, model: str) -> dict[str, object]:
    return {
        "name": f"models/{model}",
        "version": f"1{SIM_VERSION_SUFFIX}",
        "displayName": model,
        "inputTokenLimit": config.context_tokens,
        "outputTokenLimit": config.context_tokens,
        "supportedGenerationMethods": ["generateContent", "countTokens", "createCachedContent"],
        "thinking": config.reasoning_tokens > 0,
    }
