"""SGLang's `/generate`: each event repeats the text so far (wire.md §1.7)."""

from random import Random
from typing import Any

from tests.dialects.streams import CONTENT, Sse, Truth, likely, noisy, split, text


def sglang(draw: Random) -> Truth:
    """One answer; counts grow with it."""
    sse = Sse(draw)
    truth = sse.truth
    count = draw.choice((0, 1, 3, 6))
    sizes = split(draw, count + draw.choice((0, 3)), count) if count else []
    breaks_at = draw.randrange(count + 1) if likely(draw, 0.1) else -1
    prompt = draw.randrange(1, 100_000)
    cached = draw.randrange(prompt) if likely(draw, 0.8) else None
    rides, whole, said = likely(draw, 0.6) and count > 0, "", 0

    def say(finish: dict[str, Any] | None, *told: tuple[int, str]) -> None:
        meta = {"id": "r", "finish_reason": finish, "prompt_tokens": prompt, "completion_tokens": said}
        truth.prompt, truth.output = prompt, said
        if cached is not None:
            meta["cached_tokens"] = truth.cached = cached
        sse.event(noisy(draw, {"text": whole, "meta_info": noisy(draw, meta)}), *told)

    ending = draw.choice(({"type": "length", "length": 4}, {"type": "stop", "matched": 2}))
    for number, size in enumerate(sizes):
        if number == breaks_at:
            break
        if likely(draw, 0.08):
            say(None)
        told = text(draw)
        whole, said = whole + told, said + size
        say(ending if rides and number == count - 1 else None, (CONTENT, told))
    if breaks_at >= 0:
        sse.event({"error": {"message": "it broke", "code": 500}})
        truth.error = True
    elif not rides and likely(draw, 0.9):
        say(ending)
        rides = True
    ended = likely(draw, 0.9)
    if ended:
        sse.event(b"[DONE]")
    truth.finish, truth.complete = ending["type"] if rides else None, ended or rides
    return sse.done()
