"""Find words that cost exactly one token each on one server, from nothing but its token counts.

Words separated by spaces are tokenized one by one, so their costs add up, and none costs less
than one. The first word of a text isn't judged: without a space before it, it may cost otherwise.
"""

from collections.abc import Generator, Sequence
from importlib.resources import files
from itertools import chain, repeat

from benchsuite.types import Lengths

FEWEST_WORDS = 16
"""Below this, prompts would be too alike to count as different; the lengths are then only assumed."""

_CANDIDATES = 128
_TOGETHER = 4
_BASE = 4
_VERIFIED_TOGETHER = 16
_FIRST_WORDS = 5


def words() -> tuple[str, ...]:
    """The 512 words that prompts are made of: short, common, and one token each in most vocabularies."""
    text = files("benchsuite.data").joinpath("words.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def fit(words: Sequence[str]) -> Generator[tuple[str, ...], tuple[int | None, ...], Lengths]:
    """A conversation that ends in `Lengths`: yields batches of texts, is sent their prompt token counts.

    Each text is one user message; None stands for a probe that was refused or not counted. At
    most four batches of 47 probes in all, usually one of 6. `words` has no repeats. A server that
    counts nothing, or that knows fewer than `FEWEST_WORDS` as single tokens, gets `source="assumed"`.
    """
    # Short words are the likeliest single tokens, so the probes are spent on them.
    candidates = sorted(words, key=len)[:_CANDIDATES]
    anchor = candidates[0]
    firsts = candidates[:: -(-len(candidates) // _FIRST_WORDS)]
    *alone, together = yield (*firsts, _text(anchor, words))
    anchor_tokens = alone[0]
    if anchor_tokens is None:
        return Lengths(words=tuple(words), overhead=0, source="assumed")
    if together is not None and together - anchor_tokens == len(words):
        singles = list(words)
    else:
        singles = yield from _singles(candidates, anchor, anchor_tokens)
    if len(singles) < min(FEWEST_WORDS, len(words)):
        return Lengths(words=tuple(words), overhead=max(0, anchor_tokens - 1), source="assumed")
    known = set(singles)
    costs = sorted(
        tokens for word, tokens in zip(firsts, alone, strict=True) if tokens is not None and word in known
    )
    overhead = (costs[len(costs) // 2] if costs else anchor_tokens) - 1
    return Lengths(words=tuple(singles), overhead=overhead, source="usage")


def _singles(
    candidates: Sequence[str], anchor: str, anchor_tokens: int
) -> Generator[tuple[str, ...], tuple[int | None, ...], list[str]]:
    """The single-token words among `candidates`, four to a probe.

    The words of a probe are repeated 1, 4, 16 and 64 times, so that what each costs beyond one
    token is a digit of the probe's excess in base 4. Digits overflow where a word costs five
    tokens or more, so what they say is checked by counting.
    """
    groups = [candidates[start : start + _TOGETHER] for start in range(0, len(candidates), _TOGETHER)]
    weights = [_BASE**place for place in range(_TOGETHER)]
    weighted = [list(chain.from_iterable(map(repeat, group, weights[: len(group)]))) for group in groups]
    counts = yield tuple(_text(anchor, probe) for probe in weighted)
    singles = []
    for group, probe, tokens in zip(groups, weighted, counts, strict=True):
        excess = -1 if tokens is None else tokens - anchor_tokens - len(probe)
        if excess >= 0:
            singles += [
                word for word, weight in zip(group, weights, strict=False) if excess // weight % _BASE == 0
            ]
    return (yield from _verified(singles, anchor, anchor_tokens))


def _verified(
    singles: list[str], anchor: str, anchor_tokens: int
) -> Generator[tuple[str, ...], tuple[int | None, ...], list[str]]:
    """`singles` if they cost a token each when counted together, else those groups of 16 that do."""
    if not singles:
        return []
    (tokens,) = yield (_text(anchor, singles),)
    if tokens is None or tokens - anchor_tokens == len(singles):
        return singles
    size = _VERIFIED_TOGETHER
    groups = [singles[start : start + size] for start in range(0, len(singles), size)]
    counts = yield tuple(_text(anchor, group) for group in groups)
    return [
        word
        for group, count in zip(groups, counts, strict=True)
        if count is not None and count - anchor_tokens == len(group)
        for word in group
    ]


def _text(first: str, rest: Sequence[str]) -> str:
    return " ".join((first, *rest))
