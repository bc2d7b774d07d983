"""`POST /responses` of OpenAI: named events, a sequence number in each, no `[DONE]` (wire.md §2.1)."""

from random import Random
from typing import Any

from tests.dialects.streams import CONTENT, REASONING, Sse, Truth, likely, noisy, split, text


def responses(draw: Random) -> Truth:
    """One answer: reasoning if any, then the message, then completed, incomplete or failed."""
    return _Stream(draw).made()


class _Stream:
    def __init__(self, draw: Random) -> None:
        self.draw, self.sse, self.number = draw, Sse(draw), 0
        self.prompt = draw.randrange(1, 500_000)
        self.cached = draw.randrange(self.prompt + 1)
        self.detailed = likely(draw, 0.7)

    def made(self) -> Truth:
        draw, sse = self.draw, self.sse
        thoughts, words = draw.choice((0, 0, 2)), draw.choice((0, 1, 3, 6))
        sizes = (
            split(draw, thoughts + words + draw.choice((0, 3)), thoughts + words) if thoughts + words else []
        )
        output, thought = sum(sizes), sum(sizes[:thoughts])
        breaks_at = draw.randrange(thoughts + words + 1) if likely(draw, 0.1) else -1
        self._say("response.created", response=self._response("in_progress"))
        if likely(draw, 0.8):
            self._say("response.in_progress", response=self._response("in_progress"))
        name = draw.choice(("response.reasoning_summary_text.delta", "response.reasoning_text.delta"))
        self._item("reasoning")
        for number in range(thoughts + words):
            if number == breaks_at:
                return self._broken()
            if number == thoughts:
                self._item("message")
            if likely(draw, 0.08):
                self._delta(name if number < thoughts else "response.output_text.delta", CONTENT, "")
            if number < thoughts:
                self._delta(name, REASONING, text(draw))
            else:
                self._delta("response.output_text.delta", CONTENT, text(draw))
        if breaks_at >= 0:
            return self._broken()
        if words:
            self._say(
                "response.output_text.done", output_index=0, content_index=0, text="".join(sse.truth.texts)
            )
        if likely(draw, 0.05):
            return sse.done()
        short = likely(draw, 0.4)
        status = "incomplete" if short else "completed"
        usage = self._usage(output, thought) if likely(draw, 0.9) else None
        self._say(f"response.{status}", response=self._response(status, usage))
        sse.truth.complete, sse.truth.finish = True, "max_output_tokens" if short else "completed"
        return sse.done()

    def _say(self, kind: str, *said: tuple[int, str], **fields: Any) -> None:
        payload = {"type": kind, "sequence_number": self.number, **fields}
        self.number += 1
        self.sse.event(noisy(self.draw, payload), *said, event=kind if likely(self.draw, 0.95) else "")

    def _item(self, kind: str) -> None:
        self._say("response.output_item.added", output_index=0, item={"id": "i", "type": kind, "content": []})
        if kind == "message":
            part = {"type": "output_text", "text": "", "annotations": []}
            self._say("response.content_part.added", output_index=0, content_index=0, part=part)

    def _delta(self, name: str, kind: int, told: str) -> None:
        more = {"obfuscation": "a8Kx"} if likely(self.draw, 0.3) else {}
        self._say(name, (kind, told), item_id="i", output_index=0, content_index=0, delta=told, **more)

    def _response(self, status: str, usage: dict[str, Any] | None = None) -> dict[str, Any]:
        short = {"reason": "max_output_tokens"} if status == "incomplete" else None
        found = {
            "id": "r",
            "object": "response",
            "status": status,
            "error": None,
            "incomplete_details": short,
        }
        return found | {"model": "m", "output": [], "usage": usage}

    def _usage(self, output: int, thought: int) -> dict[str, Any]:
        truth = self.sse.truth
        found: dict[str, Any] = {"input_tokens": self.prompt, "output_tokens": output, "total_tokens": 1}
        truth.prompt, truth.output = self.prompt, output
        if self.detailed:
            found["input_tokens_details"] = {"cached_tokens": self.cached}
            found["output_tokens_details"] = {"reasoning_tokens": thought}
            truth.cached, truth.reasoning = self.cached, thought
            if likely(self.draw, 0.5):
                written = self.draw.randrange(self.prompt - self.cached + 1)
                found["input_tokens_details"]["cache_write_tokens"] = written
                truth.written = written
        return noisy(self.draw, found)

    def _broken(self) -> Truth:
        error = {"code": "server_error", "message": "it broke"}
        if likely(self.draw, 0.5):
            self._say("error", **error, param=None)
        else:
            self._say("response.failed", response=self._response("failed") | {"error": error})
        self.sse.truth.error = True
        return self.sse.done()
