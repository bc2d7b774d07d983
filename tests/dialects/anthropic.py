"""Anthropic's Messages: named events, blocks, pings (wire.md §2.2).

`output_tokens_details.thinking_tokens` is the name in the SDK 2.12.0 (`types/output_tokens_details.py`).
"""

from random import Random
from typing import Any

from tests.dialects.streams import ANY, CONTENT, REASONING, TOOL, Sse, Truth, likely, noisy, split, text

STOPS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal")
ERRORS = (
    ("overloaded_error", "Overloaded"),
    ("api_error", "Internal server error"),
    ("timeout_error", "slow"),
)
BLOCKS: dict[int, tuple[dict[str, Any], str, str]] = {
    REASONING: ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    CONTENT: ({"type": "text", "text": ""}, "text_delta", "text"),
    TOOL: ({"type": "tool_use", "id": "t", "name": "f", "input": {}}, "input_json_delta", "partial_json"),
}


def anthropic(draw: Random) -> Truth:
    """One message."""
    return _Stream(draw).made()


class _Stream:
    def __init__(self, draw: Random) -> None:
        self.draw, self.sse = draw, Sse(draw, newlines=(8, 1, 1))
        self.tokens = draw.choice((1, 3, 17))

    def made(self) -> Truth:
        draw, sse = self.draw, self.sse
        usage = self._usage()
        message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
        self._say("message_start", message=message | {"stop_reason": None, "usage": usage})
        blocks = [(REASONING, 2)] * likely(draw, 0.3) + [(CONTENT, draw.choice((0, 1, 4)))]
        blocks += [(TOOL, 2)] * likely(draw, 0.1)
        breaks_at = draw.randrange(8) if likely(draw, 0.1) else -1
        events = sum(count for _, count in blocks)
        output = sum(split(draw, events + draw.choice((0, 3)), events)) if events else 1
        sse.truth.output = ANY
        said = 0
        for index, (kind, count) in enumerate(blocks):
            start, name, field = BLOCKS[kind]
            self._say("content_block_start", index=index, content_block=start)
            for _ in range(count):
                if said == breaks_at:
                    return self._broken()
                if likely(draw, 0.08):
                    self._say("content_block_delta", index=index, delta={"type": name, field: ""})
                told = text(draw)
                self._say("content_block_delta", (kind, told), index=index, delta={"type": name, field: told})
                said += 1
            if kind == REASONING:
                signature = {"type": "signature_delta", "signature": "EqQB"}
                self._say("content_block_delta", index=index, delta=signature)
            self._say("content_block_stop", index=index)
        if breaks_at >= 0:
            return self._broken()
        return self._ended(usage, output)

    def _ended(self, usage: dict[str, Any], output: int) -> Truth:
        draw, truth = self.draw, self.sse.truth
        if likely(draw, 0.05):
            return self.sse.done()
        stop = draw.choice(STOPS)
        final: dict[str, Any] = {"output_tokens": output}
        if likely(draw, 0.4):
            final = usage | final
        if likely(draw, 0.4):
            truth.reasoning = draw.randrange(output + 1)
            final["output_tokens_details"] = {"thinking_tokens": truth.reasoning}
        self._say("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=final)
        truth.output, truth.finish, truth.complete = output, stop, True
        if likely(draw, 0.9):
            self._say("message_stop")
        return self.sse.done()

    def _usage(self) -> dict[str, Any]:
        """Anthropic's input tokens leave out what was read from the cache and what was written to it."""
        draw, truth = self.draw, self.sse.truth
        fresh = draw.randrange(1, 100_000)
        found: dict[str, Any] = {"input_tokens": fresh, "output_tokens": self.tokens}
        truth.prompt = fresh
        style = draw.choice(("none", "null", "full", "full"))
        if style == "null":
            found |= {"cache_creation_input_tokens": None, "cache_read_input_tokens": None}
        if style == "full":
            read, short, long = (draw.choice((0, draw.randrange(100_000))) for _ in range(3))
            found |= {"cache_creation_input_tokens": short + long, "cache_read_input_tokens": read}
            truth.prompt, truth.cached, truth.written = fresh + read + short + long, read, short + long
            if likely(draw, 0.7):
                found["cache_creation"] = {
                    "ephemeral_5m_input_tokens": short,
                    "ephemeral_1h_input_tokens": long,
                }
                truth.written_1h = long
            else:
                truth.written_1h = ANY
        return noisy(draw, found | {"service_tier": "standard"})

    def _say(self, kind: str, *said: tuple[int, str], **fields: Any) -> None:
        if likely(self.draw, 0.06):
            self.sse.event({"type": "ping"}, event="ping")
        self.sse.event(noisy(self.draw, {"type": kind, **fields}), *said, event=kind)

    def _broken(self) -> Truth:
        kind, message = self.draw.choice(ERRORS)
        self.sse.event({"type": "error", "error": {"type": kind, "message": message}}, event="error")
        self.sse.truth.error = True
        return self.sse.done()
