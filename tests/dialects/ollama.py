"""Ollama's `/api/chat` and `/api/generate`: one object a line, counts on the last (wire.md §1.3)."""

from random import Random
from typing import Any

from tests.dialects.streams import CONTENT, REASONING, Lines, Truth, likely, maybe_null, noisy, split, text


def ollama_chat(draw: Random) -> Truth:
    """Texts in `message`."""
    return _made(draw, chat=True)


def ollama_generate(draw: Random) -> Truth:
    """Texts in `response`."""
    return _made(draw, chat=False)


def _made(draw: Random, *, chat: bool) -> Truth:
    lines = Lines(draw)
    truth = lines.truth
    thoughts, words = draw.choice((0, 0, 2)), draw.choice((0, 1, 3, 6))
    count = thoughts + words
    output = sum(split(draw, count + draw.choice((0, 3)), count)) if count else 0
    breaks_at = draw.randrange(count + 1) if likely(draw, 0.1) else -1
    rides = likely(draw, 0.3) and count > 0
    for number in range(count + (not rides)):
        if number == breaks_at:
            lines.line({"error": "an error was encountered while running the model"})
            truth.error = True
            return lines.done()
        told = text(draw) if number < count else ""
        kind = REASONING if number < thoughts else CONTENT
        last = number == count - rides
        if not last and likely(draw, 0.08):
            lines.line(_said(draw, chat, CONTENT, ""))
        if last and likely(draw, 0.06):
            return lines.done()
        ending = _ending(draw, truth, output) if last else {"done": False}
        lines.line(noisy(draw, _said(draw, chat, kind, told) | ending), (kind, told))
    truth.complete = True
    return lines.done()


def _said(draw: Random, chat: bool, kind: int, told: str) -> dict[str, Any]:
    head = {"model": "m", "created_at": "2026-11-23T10:00:00.1Z"}
    if chat:
        more = {"thinking": told, "content": ""} if kind == REASONING else {"content": told}
        return head | {
            "message": {"role": "assistant", **more, **maybe_null(draw, "tool_calls")},
            "done": False,
        }
    more = {"thinking": told, "response": ""} if kind == REASONING else {"response": told}
    return head | more | {"done": False}


def _ending(draw: Random, truth: Truth, output: int) -> dict[str, Any]:
    """Fields that are 0 are left away; old servers left the reason away too."""
    found: dict[str, Any] = {"done": True}
    if likely(draw, 0.9):
        truth.finish = found["done_reason"] = draw.choice(("stop", "length"))
    if likely(draw, 0.85):
        truth.prompt = found["prompt_eval_count"] = draw.randrange(1, 100_000)
        found["prompt_eval_duration"] = 130_079_000
        if output:
            truth.output = found["eval_count"] = output
            found["eval_duration"] = 4_709_213_000
        found |= {"total_duration": 5_191_566_416, "load_duration": 2_154_458}
    return found
