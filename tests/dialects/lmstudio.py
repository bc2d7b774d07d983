"""LM Studio's `/api/v1/chat`: named events from loading to the end (wire.md §1.6)."""

from random import Random
from typing import Any

from tests.dialects.streams import CONTENT, REASONING, Sse, Truth, likely, noisy, split, text


def lmstudio(draw: Random) -> Truth:
    """One answer; after an error the end still comes."""
    sse = Sse(draw)
    truth = sse.truth

    def say(kind: str, *said: tuple[int, str], **fields: Any) -> None:
        sse.event(noisy(draw, {"type": kind, **fields}), *said, event=kind)

    thoughts, words = draw.choice((0, 0, 2)), draw.choice((0, 1, 3, 6))
    count = thoughts + words
    sizes = split(draw, count + draw.choice((0, 3)), count) if count else []
    breaks_at = draw.randrange(count + 1) if likely(draw, 0.1) else -1
    say("chat.start", model_instance_id="m")
    if likely(draw, 0.2):
        say("model_load.start", model_instance_id="m")
        say("model_load.progress", model_instance_id="m", progress=0.5)
        say("model_load.end", model_instance_id="m", load_time_seconds=1.5)
    say("prompt_processing.start")
    for share in (0, 0.5, 1.0)[: draw.randrange(4)]:
        say("prompt_processing.progress", progress=share)
    say("prompt_processing.end")
    for number in range(count):
        if number == breaks_at:
            break
        name = "reasoning" if number < thoughts else "message"
        if number in {0, thoughts}:
            say(f"{name}.start")
        if likely(draw, 0.08):
            say(f"{name}.delta", content="")
        told = text(draw)
        say(f"{name}.delta", (REASONING if number < thoughts else CONTENT, told), content=told)
        if number in {thoughts - 1, count - 1}:
            say(f"{name}.end")
    if breaks_at >= 0:
        truth.error = True
        say("error", error={"type": "internal_error", "message": "it broke", "code": "x", "param": None})
    if likely(draw, 0.06):
        return sse.done()
    stats = {} if likely(draw, 0.1) else _stats(draw, truth, sum(sizes), sum(sizes[:thoughts]))
    result = {"model_instance_id": "m", "output": [{"type": "message", "content": "x"}], "stats": stats}
    say("chat.end", result=noisy(draw, result))
    truth.complete = True
    return sse.done()


def _stats(draw: Random, truth: Truth, output: int, thought: int) -> dict[str, Any]:
    truth.prompt = draw.randrange(1, 100_000)
    truth.output, truth.reasoning = output, thought
    found = {"input_tokens": truth.prompt, "total_output_tokens": output, "reasoning_output_tokens": thought}
    return found | {"tokens_per_second": 43.7, "time_to_first_token_seconds": 0.78}
