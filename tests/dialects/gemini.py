"""Gemini's `:streamGenerateContent?alt=sse`: unnamed events, CRLF, usage on each chunk (wire.md §2.3)."""

from random import Random
from typing import Any

from tests.dialects.streams import ANY, CONTENT, REASONING, Sse, Truth, likely, maybe_null, noisy, split, text


def gemini(draw: Random) -> Truth:
    """One answer: thoughts, then text, many tokens a chunk."""
    return _Stream(draw).made()


class _Stream:
    def __init__(self, draw: Random) -> None:
        self.draw, self.sse = draw, Sse(draw, newlines=(3, 6, 1))
        self.prompt = draw.randrange(1, 1_000_000)
        self.cached = draw.randrange(self.prompt + 1) if likely(draw, 0.4) else None
        self.usage = draw.choice(("each", "each", "last", "none"))

    def made(self) -> Truth:
        draw, sse, truth = self.draw, self.sse, self.sse.truth
        thoughts, words = draw.choice((0, 0, 2)), draw.choice((0, 1, 3, 6))
        count = thoughts + words
        sizes = split(draw, count + draw.choice((0, 40)), count) if count else []
        hidden = draw.choice((0, 0, 12))
        breaks_at = draw.randrange(count + 1) if likely(draw, 0.1) else -1
        rides = likely(draw, 0.5) and count > 0
        stop = draw.choice(("STOP", "MAX_TOKENS", "SAFETY"))
        thought = spoken = 0
        for number, size in enumerate(sizes):
            if number == breaks_at:
                return self._broken()
            told = text(draw)
            if number < thoughts:
                thought += size
                part: dict[str, Any] = {"text": told, "thought": True}
            else:
                spoken += size
                part = {"text": told, **({"thought": False} if likely(draw, 0.1) else {})}
            last = rides and number == count - 1
            kind = REASONING if number < thoughts else CONTENT
            self._chunk([part], (kind, told), counts=(spoken, thought + hidden), stop=stop if last else "")
        if breaks_at >= 0:
            return self._broken()
        if likely(draw, 0.05) and not rides:
            truth.output = truth.output if self.usage == "each" else None
            return sse.done()
        if not rides:
            parts = draw.choice(([], [{"text": ""}], None))
            self._chunk(parts, counts=(spoken, thought + hidden), stop=stop)
        truth.finish, truth.complete = stop, True
        return sse.done()

    def _chunk(
        self, parts: list[Any] | None, *said: tuple[int, str], counts: tuple[int, int], stop: str
    ) -> None:
        draw = self.draw
        candidate: dict[str, Any] = {"index": 0} if likely(draw, 0.5) else {}
        if parts is not None:
            candidate["content"] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        if stop:
            candidate["finishReason"] = stop
        chunk = {"candidates": [noisy(draw, candidate, 0.05)], "modelVersion": "m", "responseId": "r"}
        if self.usage == "each" or (self.usage == "last" and stop):
            chunk["usageMetadata"] = self._usage(*counts)
        self.sse.event(noisy(draw, chunk | maybe_null(draw, "promptFeedback")), *said)

    def _usage(self, spoken: int, thought: int) -> dict[str, Any]:
        """Thoughts stand beside the candidates' tokens, not among them; what is 0 is left away."""
        truth = self.sse.truth
        found = {"promptTokenCount": self.prompt, "totalTokenCount": self.prompt + spoken + thought}
        truth.prompt, truth.cached = self.prompt, self.cached or 0
        if spoken:
            found["candidatesTokenCount"] = spoken
        if self.cached is not None:
            found["cachedContentTokenCount"] = self.cached
        if thought:
            found["thoughtsTokenCount"] = thought
        truth.output = spoken + thought if spoken or thought else ANY
        truth.reasoning = thought or None
        return noisy(self.draw, found)

    def _broken(self) -> Truth:
        error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE", "details": []}
        self.sse.event({"error": error})
        self.sse.truth.error = True
        return self.sse.done()
