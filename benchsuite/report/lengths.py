"""Lengths and text of prompts in words: what was asked, and beside it what was reached."""

from collections.abc import Iterator, Sequence
from typing import Final

from benchsuite.report.units import several
from benchsuite.types import Length, Lengths, Run, Spread, Summary, Workload
from benchsuite.workload.points import points
from benchsuite.workload.spreads import described

_MADE_OF: Final = {
    "prose": "passages of public-domain prose",
    "code": "passages of public-domain code",
    "random": "random words, which is no text that anybody sends",
}


def asked_words(workload: Workload) -> str:
    """Lengths as they were asked: `prose, about 512 in, 100 to 500 (uniform) out`."""
    text = "" if workload.text == "random" else f"{workload.text}, "
    found = points(workload)
    prompts = dict.fromkeys(point.prompt_spread or point.prompt_tokens for point in found)
    outputs = dict.fromkeys(point.output_spread or point.output_tokens for point in found)
    return f"{text}{_lengths([*prompts])} in, {several([*map(described, outputs)])} out"


def _lengths(values: Sequence[Length]) -> str:
    words = several([*map(described, values)])
    return words if any(isinstance(value, Spread) for value in values) else f"about {words}"


def reached_lines(run: Run) -> Iterator[str]:
    """Lengths asked beside those reached, of each point whose lengths were drawn."""
    for row in run.summaries:
        if row.point.prompt_spread is None and row.point.output_spread is None:
            continue
        parts = [part for name in ("prompt", "output") if (part := _reached(row, name))]
        if parts:
            which = f", point {row.point.index + 1}" if len(run.summaries) > 1 else ""
            yield f"Tokens on average{which}: {'; '.join(parts)}."


def _reached(row: Summary, name: str) -> str:
    reached = row.means.get(f"{name}_tokens")
    asked = row.means.get(f"asked_{name}_tokens") or getattr(row.point, f"{name}_tokens")
    return "" if reached is None else f"{name} {reached:,.1f} of {asked:,.1f} asked"


def fitted_lines(workload: Workload, lengths: Lengths | None) -> Iterator[str]:
    """What prompts are made of, and how their lengths were come by."""
    if lengths is None:
        yield "Prompt lengths weren't fitted to the server."
        return
    yield f"Prompts are made of {_MADE_OF[workload.text]}, behind a few random words that make each new."
    if workload.same == "text":
        yield "They are the same text on every server, so their lengths in tokens are about what was asked."
    elif lengths.source == "assumed":
        guess = "one token a word" if workload.text == "random" else "what such text costs about anywhere"
        yield f"Prompt lengths are a guess of {guess}: the server reports no usage."
    else:
        counts = "own counts" if lengths.source == "usage" else "tokenizer, as its answers have no counts"
        known = f"{len(lengths.words):,} words of one token each"
        if lengths.passages is not None:
            known = f"{len(lengths.passages.costs):,} passages, {known}"
        template = f"{lengths.overhead} tokens for the chat template"
        yield f"Prompt lengths were fitted to the server's {counts}: {known}, {template}."
