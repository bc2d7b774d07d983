"""Find out what passages of real text cost on one server, from nothing but its token counts.

Each passage is counted where it stands in a prompt, between two words, so that what its joints do to their
neighbours' tokens is counted with it. The sums are then held against a few whole texts, and what these cost
beyond is laid on the passages alike.
"""

from collections.abc import Generator, Sequence
from statistics import median
from typing import Final

import msgspec

from benchsuite.types import Lengths, Passages
from benchsuite.workload.corpus import CHARS_PER_TOKEN, JOINTS, Kind, cut, level_for
from benchsuite.workload.texts import Counted, Writer

_AT_ONCE: Final = 16
_TRIES: Final = 3
_CHECKS: Final = 3
_MOST_CHECKED_TOKENS: Final = 4096
"""Whole texts that are counted to check the sums are no longer than this."""


def counted(
    text: Kind, longest_tokens: int, lengths: Lengths
) -> Generator[tuple[str, ...], tuple[int | None, ...], Passages | None]:
    """A conversation that ends in `Passages`: yields batches of texts, is sent their prompt token counts.

    Each text is one user message; None stands for a probe that was refused or not counted. At most 60 probes,
    which together cost as much as two of very long prompts, and up to six of short ones. None, if nothing is
    counted.
    """
    level = level_for(text, longest_tokens)
    passages = cut(text, level).texts
    word, joint = lengths.words[0], JOINTS[text]
    alone = framed = None
    for _ in range(_TRIES):
        alone, framed = yield word, f"{word}{joint}{word}"
        if alone is not None and framed is not None:
            break
    if alone is None or framed is None:
        return None
    costs: list[int | None] = []
    for start in range(0, len(passages), _AT_ONCE):
        batch = passages[start : start + _AT_ONCE]
        counts = yield tuple(joint.join((word, passage, word)) for passage in batch)
        costs += [None if tokens is None else tokens - framed for tokens in counts]
    if not any(costs):
        return None
    found = Passages(text=text, level=level, costs=_filled(costs, passages, text), frame=framed - alone)
    return (yield from _checked(found, longest_tokens, lengths))


def _filled(costs: Sequence[int | None], passages: Sequence[str], text: Kind) -> tuple[int, ...]:
    """Those that a server didn't count by their length, at what its others cost."""
    known = [(cost, len(passage)) for cost, passage in zip(costs, passages, strict=True) if cost]
    per_char = sum(cost for cost, _ in known) / (sum(chars for _, chars in known) or CHARS_PER_TOKEN[text])
    return tuple(
        max(1, round(len(passage) * per_char)) if cost is None else cost
        for cost, passage in zip(costs, passages, strict=True)
    )


def _checked(
    found: Passages, longest_tokens: int, lengths: Lengths
) -> Generator[tuple[str, ...], tuple[int | None, ...], Passages]:
    """The same, with what whole texts cost beyond the sum of their passages."""
    tokens = min(longest_tokens, _MOST_CHECKED_TOKENS) - lengths.overhead
    writer = Writer(lengths.words, Counted(found), seed=0, nonce="")
    texts = [writer.written(f"check {number}", tokens) for number in range(_CHECKS)]
    if tokens < 1 or not all(passages for _, passages in texts):
        return found
    counts = yield tuple(text for text, _ in texts)
    beyond = [
        (count - lengths.overhead - tokens) / passages
        for count, (_, passages) in zip(counts, texts, strict=True)
        if count is not None
    ]
    return msgspec.structs.replace(found, joint=median(beyond)) if beyond else found
