"""TGI's `/generate_stream`: one event a token, `data:` without a space, no `[DONE]` (wire.md §1.2)."""

from random import Random
from typing import Any

from tests.dialects.streams import CONTENT, Sse, Truth, likely, noisy, text


def tgi(draw: Random) -> Truth:
    """One answer; a token of half a character has no text."""
    sse = Sse(draw, spaced=0.1)
    truth = sse.truth
    count = draw.choice((1, 2, 4, 9))
    breaks_at = draw.randrange(count) if likely(draw, 0.1) else -1
    detailed = likely(draw, 0.8)
    for number in range(count):
        if number == breaks_at:
            sse.event({"error": "Request failed during generation: it broke", "error_type": "generation"})
            truth.error = True
            return sse.done()
        last = number == count - 1
        told = "" if likely(draw, 0.08) else text(draw)
        token = {"id": draw.randrange(150_000), "text": told, "logprob": -0.5, "special": False}
        event: dict[str, Any] = {"index": number + 1, "token": token, "generated_text": None, "details": None}
        if last and likely(draw, 0.05):
            return sse.done()
        if last:
            event["generated_text"] = "".join(truth.texts) + told
            truth.complete = True
        if last and detailed:
            event["details"] = _details(draw, truth, count)
        sse.event(noisy(draw, event), (CONTENT, told))
    return sse.done()


def _details(draw: Random, truth: Truth, count: int) -> dict[str, Any]:
    truth.finish = draw.choice(("length", "eos_token", "stop_sequence"))
    truth.output = count
    found: dict[str, Any] = {"finish_reason": truth.finish, "generated_tokens": count, "seed": None}
    if likely(draw, 0.8):
        truth.prompt = found["input_length"] = draw.randrange(1, 100_000)
    return found
