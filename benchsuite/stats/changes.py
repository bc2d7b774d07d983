"""Where did a series change? Pettitt's test, again on both sides of what it finds. It only warns.

A. N. Pettitt, "A non-parametric approach to the change-point problem", Applied Statistics 28 (1979):
of all places at which a series may be cut, the one where the two parts differ most by the ranks of
Mann and Whitney; the probability is his approximation, 2 exp(−6 K² / (n³ + n²)), which is close where it is
below 0.5 and errs upwards in short series. Applied to both parts in turn (binary segmentation).

Assumed: values are independent and continuous, alike but for the changes; a slow drift looks like a
change in its middle. Each place has its own probability, nothing is corrected for there being several.
For p = 1 % a step takes sixteen values: eight on each side.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchsuite.types import Noun


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
    at, _, chance = pettitt(values, least)
    if chance >= p:
        return []
    before, after = values[:at], values[at:]
    return [
        *_steps(before, p, least, first),
        (first + at, chance),
        *_steps(after, p, least, first + at),
    ]
