"""Chat and completions as OpenAI and the many servers that copy it stream them (wire.md §1.1–1.9, §2.1)."""

from random import Random
from typing import Any

from tests.dialects.streams import (
    CONTENT,
    REASONING,
    TOOL,
    Sse,
    Truth,
    likely,
    maybe_null,
    noisy,
    split,
    text,
)

ERRORS = (
    {"message": "it broke", "type": "server_error", "param": None, "code": 500},
    {
        "message": "EngineCore had an issue.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    },
    {"message": "Overloaded", "type": "overloaded_error"},
    {"message": "a", "http_status_code": 422},
)


def chat(draw: Random) -> Truth:
    """`/v1/chat/completions`."""
    return _Stream(draw, "chat").made()


def completions(draw: Random) -> Truth:
    """`/v1/completions`."""
    return _Stream(draw, "completions").made()


class _Stream:
    def __init__(self, draw: Random, door: str) -> None:
        self.draw, self.door, self.sse = draw, door, Sse(draw)
        self.usage_style = draw.choice(("none", "last", "last", "finish", "each", "null"))
        self.details = draw.choice(("none", "null", "full", "full", "top"))
        self.role = draw.choice(("none", "own", "null", "each"))
        self.field = draw.choice((("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")))
        self.prompt = draw.randrange(1, 500_000)
        self.cached = draw.randrange(self.prompt + 1)
        self.head = (
            {"id": "cmpl-1", "object": "chunk", "created": 1, "model": "m"} if likely(draw, 0.8) else {}
        )
        kinds = [REASONING] * draw.choice((0, 0, 2)) + [CONTENT] * draw.choice((0, 1, 3, 6))
        kinds += [TOOL] * draw.choice((0, 0, 0, 2))
        self.kinds = kinds if door == "chat" else [CONTENT] * len(kinds)
        self.sizes = split(draw, len(kinds) + draw.choice((0, 0, 3)), len(kinds)) if kinds else []
        self.thought = sum(
            size for kind, size in zip(self.kinds, self.sizes, strict=True) if kind == REASONING
        )

    def made(self) -> Truth:
        draw, sse, truth = self.draw, self.sse, self.sse.truth
        breaks_at = draw.randrange(len(self.kinds) + 1) if likely(draw, 0.1) else -1
        self._opening()
        said, rides = 0, likely(draw, 0.3) and bool(self.kinds)
        finish = draw.choice(("stop", "length", "tool_calls", "content_filter"))
        for number, (kind, size) in enumerate(zip(self.kinds, self.sizes, strict=True)):
            if number == breaks_at:
                return self._broken()
            if likely(draw, 0.1):
                self._chunk(draw.choice(({}, {"content": ""}, {"content": None})), said)
            said += size
            last = rides and number == len(self.kinds) - 1
            self._chunk(*self._delta(kind), said, finish if last else None)
        if breaks_at >= 0:
            return self._broken()
        if not rides and likely(draw, 0.9):
            self._chunk({}, said, finish)
        elif not rides:
            finish = ""
        if self.usage_style in {"last", "null"}:
            fields = (
                {"choices": [], "usage": self._usage(said)} if self.usage_style == "last" else {"choices": []}
            )
            sse.event(noisy(draw, self.head | fields))
        ended = likely(draw, 0.85)
        if ended:
            sse.event(b"[DONE]")
        elif likely(draw, 0.2):
            sse.cut()
        truth.finish, truth.complete = finish or None, ended or bool(finish)
        return sse.done()

    def _opening(self) -> None:
        """What some servers say before anything: filters (Azure), progress (llama.cpp), the role."""
        draw = self.draw
        if likely(draw, 0.1):
            self.sse.event(self.head | {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
        if self.door == "completions":
            return
        if likely(draw, 0.1):
            self.sse.event(self.head | {"choices": [], "prompt_progress": {"total": 9, "processed": 3}})
        if self.role in {"own", "null"}:
            said = {"role": "assistant", "content": "" if self.role == "own" else None}
            self._chunk(said | maybe_null(draw, "reasoning_content", "tool_calls", "refusal"), 0)

    def _delta(self, kind: int) -> tuple[dict[str, Any], tuple[int, str]]:
        draw = self.draw
        told = text(draw)
        if kind == CONTENT:
            fields = {"content": told, **maybe_null(draw, "reasoning", "reasoning_content", "tool_calls")}
        elif kind == REASONING:
            fields = {**maybe_null(draw, "content"), **dict.fromkeys(self.field, told)}
        else:
            fields = {
                "tool_calls": [{"index": 0, "function": {"arguments": told}}],
                **maybe_null(draw, "content"),
            }
        if self.role == "each":
            fields = {"role": "assistant", **fields}
        return noisy(draw, fields, 0.05), (kind, told)

    def _chunk(self, fields: dict[str, Any], *more: Any) -> None:
        """`more`: perhaps (kind, text), then tokens so far, then perhaps the finish reason."""
        said = [one for one in more if isinstance(one, tuple)]
        tokens, *finish = [one for one in more if not isinstance(one, tuple)]
        word = finish[0] if finish else None
        draw = self.draw
        choice: dict[str, Any] = {"index": 0}
        if self.door == "chat":
            choice["delta"] = fields
        else:
            choice["text"] = said[0][1] if said else draw.choice(("", ""))
        if word or likely(draw, 0.7):
            choice["finish_reason"] = word
        choice |= maybe_null(draw, "logprobs", "stop_reason", "matched_stop")
        chunk = self.head | {"choices": [choice]}
        if self.usage_style == "each" or (self.usage_style == "finish" and word):
            chunk["usage"] = self._usage(tokens)
        elif self.usage_style in {"last", "null"} and likely(draw, 0.7):
            chunk["usage"] = None
        self.sse.event(noisy(draw, chunk), *said)

    def _usage(self, tokens: int) -> dict[str, Any]:
        truth, thought = self.sse.truth, min(self.thought, tokens)
        found: dict[str, Any] = {"prompt_tokens": self.prompt, "completion_tokens": tokens}
        found["total_tokens"] = self.prompt + tokens
        truth.prompt, truth.output = self.prompt, tokens
        if self.details == "null":
            found |= {"prompt_tokens_details": None, "completion_tokens_details": None}
        elif self.details == "top":
            found["reasoning_tokens"] = thought
            truth.reasoning = thought
        elif self.details == "full":
            found["prompt_tokens_details"] = noisy(
                self.draw, {"cached_tokens": self.cached, "audio_tokens": 0}
            )
            found["completion_tokens_details"] = {"reasoning_tokens": thought}
            truth.cached, truth.reasoning = self.cached, thought
        return noisy(self.draw, found)

    def _broken(self) -> Truth:
        self.sse.event({"error": self.draw.choice(ERRORS)})
        if likely(self.draw, 0.5):
            self.sse.event(b"[DONE]")
        self.sse.truth.error = True
        return self.sse.done()
