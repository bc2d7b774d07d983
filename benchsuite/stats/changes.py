"""Where did a series change? Pettitt's test, and a look at the newest values. It only warns.

A. N. Pettitt, "A non-parametric approach to the change-point problem", Applied Statistics 28 (1979):
of all places at which a series may be cut, the one where the two parts differ most by the ranks of
Mann and Whitney; the probability is his approximation, 2 exp(−6 K² / (n³ + n²)), which is close where it is
below 0.5 and errs upwards in short series. Applied to both parts in turn (binary segmentation).

Where it finds a step, the place is another's, as U leans to the middle of the series and ranks don't know
how far apart two values are: J. Bai, "Least absolute deviation estimation of a shift", Econometric Theory 11
(1995), the cut that leaves the least sum of distances to the medians of both parts.

For p = 1 % Pettitt's test takes sixteen values, and on each side seven, of a hundred eleven. `fresh` looks
for a younger step in what comes after the last one: the newest values all lie beyond all others. Of n values
that are in no order the last k do so with the probability 2 k! (n − k)! / n!, whatever their distribution.

Assumed: values are independent and continuous, alike but for the changes; a slow drift looks like a
change in its middle. Each place has its own probability, nothing is corrected for there being several places
or metrics. How often a series without a step has one, old or fresh, and how often one is put where it is, is
simulated in docs/statistics.md.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchsuite.types import Noun

FRESH = 0.003
"""How often the newest values may look like a step by chance, over all numbers of them that are tried."""


class Change(Noun, frozen=True, kw_only=True):
    """A step: value number `at`, counted from 0, is the first after it.

    `before`, `after`: medians of the values up to the neighbouring changes; `p`: how probable such a step
    is in a series without any.
    """

    at: int
    before: float
    after: float
    p: float


def changes(values: Sequence[float], *, p: float = 0.01, least: int = 5) -> tuple[Change, ...]:
    """The steps that are less probable than `p` by chance, in order; each part has `least` values or more."""
    found = dict(sorted(_steps(np.asarray(values, dtype=np.float64), p, least, 0)))
    edges = [0, *found, len(values)]
    medians = [statistics.median(values[start:end]) for start, end in pairwise(edges) if end > start]
    return tuple(
        Change(at=at, before=before, after=after, p=chance)
        for (at, chance), (before, after) in zip(found.items(), pairwise(medians), strict=False)
    )


def fresh(values: Sequence[float], *, p: float = FRESH) -> Change | None:
    """A step of which there are but a few values yet: all of these lie above, or all below, those before.

    `values`: since the last change. `p` holds for every number of newest values together, from
    `shown_after` to half of them; the change's own `p` for the one that it begins with.
    """
    n = len(values)
    least = shown_after(n, p=p)
    cuts = [
        n - k
        for k in range(n // 2, least - 1, -1)
        if least and (min(values[-k:]) > max(values[:-k]) or max(values[-k:]) < min(values[:-k]))
    ]
    if not cuts:
        return None
    at = _place(np.asarray(values, dtype=np.float64), cuts)
    before, after = statistics.median(values[:at]), statistics.median(values[at:])
    return Change(at=at, before=before, after=after, p=2 / math.comb(n, at))


def shown_after(n: int, *, p: float = FRESH) -> int:
    """The fewest values after a step by which `fresh` can show it, of `n` in all; 0: `n` are too few."""
    chance, fewest = 0.0, 0
    # One value alone is an outlier.
    for k in range(n // 2, 1, -1):
        chance += 2 * math.exp(math.lgamma(k + 1) + math.lgamma(n - k + 1) - math.lgamma(n + 1))
        if chance > p:
            break
        fewest = k
    return fewest


def pettitt(values: NDArray[np.float64], least: int = 1) -> tuple[int, int, float]:
    """The most probable step: the first value after it, Pettitt's K there, and its p.

    Only places with `least` values on each side count; (0, 0, 1.0) where there is none. Among equals it is
    the first.
    """
    n = len(values)
    if n < 2 * least:
        return 0, 0, 1.0
    ranks = np.sign(values[:, None] - values[None, :]).sum(axis=1)
    # U at t sums the signs between the first t and the rest; signs within the first t cancel.
    u = np.abs(np.cumsum(ranks))[least - 1 : n - least]
    at = int(np.argmax(u))
    k = int(u[at])
    return at + least, k, min(1.0, 2 * math.exp(-6 * k**2 / (n**3 + n**2)))


def _steps(values: NDArray[np.float64], p: float, least: int, first: int) -> list[tuple[int, float]]:
    """Where the steps are, and how probable each; `first` is the number of the first value."""
    _, _, chance = pettitt(values, least)
    if chance >= p:
        return []
    at = _place(values, range(least, len(values) - least + 1))
    before, after = values[:at], values[at:]
    return [
        *_steps(before, p, least, first),
        (first + at, chance),
        *_steps(after, p, least, first + at),
    ]


def _place(values: NDArray[np.float64], cuts: Iterable[int]) -> int:
    """The cut of these by which both parts lie closest to their medians; among equals the first."""

    def distances(part: NDArray[np.float64]) -> float:
        return float(np.abs(part - np.median(part)).sum())

    return min(cuts, key=lambda at: distances(values[:at]) + distances(values[at:]))
