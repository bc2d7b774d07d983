"""Rules about answers in one piece: asked for, or sent by a server that was asked for a stream."""

from benchsuite.stats.facts import Facts
from benchsuite.stats.warned import warning
from benchsuite.types import Warning


def whole_answers(facts: Facts) -> Warning | None:
    """Answers in one piece have no first token: asked for it is told, else it isn't what was asked."""
    if not facts.ok or facts.point.batch or facts.workload.bodies is not None:
        return None
    if facts.point.stream:
        return _not_streamed(facts)
    streamed = facts.ok - facts.whole
    if facts.tokens_per_event is not None and streamed:
        text = f"{streamed} of {facts.ok} answers were streamed, though one piece was asked for"
        return warning("whole_answers", "suspect", text, "the server ignores it: leave --stream out")
    text = "answers came in one piece: there is something on the screen only after E2E, so no TTFT or TPOT"
    return warning("whole_answers", "told", text, "set E2E beside the TTFT of --stream on")


def _not_streamed(facts: Facts) -> Warning | None:
    if not facts.whole:
        return None
    text = f"{facts.whole} of {facts.ok} answers came in one piece, though a stream was asked for"
    advice = "a proxy or the server may hold answers back: look there"
    return warning("whole_answers", "suspect", text, advice)
