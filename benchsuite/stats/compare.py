"""Are two runs different? One number a trial from each, their ratio with an interval, and a verdict.

Method: the trials' numbers are taken as logarithms, the two means of logarithms are compared with
Welch's t interval for unequal variances (B. L. Welch, Biometrika 34, 1947, with Satterthwaite's
degrees of freedom, Biometrics Bulletin 2, 1946), and the interval is turned back into a ratio of
geometric means. The same as R's `t.test(log(other), log(base))`.

Assumed: trials are independent of each other, and their logarithms roughly normal within a run.
The interval knows how much a run's trials differ, and nothing of what changed between the runs
(heat, neighbours, a drifting server): it covers "these two runs", not "these two systems for ever".
Each metric has 95 % of its own; nothing is corrected for there being several.
"""

import math
from collections.abc import Sequence
from typing import Literal

from benchsuite.stats.quantiles import student_t
from benchsuite.types import Noun

Finding = Literal["better", "worse", "same", "undecided"]
Better = Literal["lower", "higher"]

MARGIN = 0.05
"""Differences up to this share count as the same."""

FEWEST_TRIALS = 2
"""With fewer, nothing says how much a repeated trial would differ."""


class Effect(Noun, frozen=True, kw_only=True):
    """How a run compares with its base in one metric.

    `ratio`: geometric mean of the run's trials over the base's; `low`, `high`: its 95 % interval.
    `detectable`: the smallest effect that could have been seen, half the interval's width as a share
    (0.12: 12 %). All None where they can't be computed.
    """

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    verdict: Finding = "undecided"


def effect(base: Sequence[float], other: Sequence[float], *, better: Better, margin: float) -> Effect:
    """Compare one number per trial of `other` with those of `base`, all in the same unit.

    A number that isn't positive and finite has no logarithm: then there is no ratio. With fewer than
    two trials in either there is a ratio without an interval.
    """
    if not base or not other or not all(0 < value < math.inf for value in (*base, *other)):
        return Effect()
    logs = [[math.log(value) for value in values] for values in (base, other)]
    means = [math.fsum(values) / len(values) for values in logs]
    difference = means[1] - means[0]
    if min(len(base), len(other)) < FEWEST_TRIALS:
        return Effect(ratio=math.exp(difference))
    return effect_of(difference, _half_width(*logs), better=better, margin=margin)


def effect_of(difference: float, half: float, *, better: Better, margin: float) -> Effect:
    """The effect that a log-ratio and half the width of its interval are."""
    low, high = difference - half, difference + half
    return Effect(
        ratio=math.exp(difference),
        low=math.exp(low),
        high=math.exp(high),
        detectable=math.expm1(half),
        verdict=_verdict(low, high, better, margin),
    )


def _half_width(base: Sequence[float], other: Sequence[float]) -> float:
    """Half of Welch's 95 % interval for the difference of two means."""
    errors = [_squared_error(values) for values in (base, other)]
    total = math.fsum(errors)
    if not total:
        return 0.0
    # Satterthwaite: the degrees of freedom of a sum of two estimated variances.
    shares = (
        (error / total) ** 2 / (len(values) - 1) for error, values in zip(errors, (base, other), strict=True)
    )
    return student_t(1 / math.fsum(shares)) * math.sqrt(total)


def _squared_error(values: Sequence[float]) -> float:
    """The squared standard error of a mean."""
    count = len(values)
    mean = math.fsum(values) / count
    return math.fsum((value - mean) ** 2 for value in values) / (count * (count - 1))


def _verdict(low: float, high: float, better: Better, margin: float) -> Finding:
    """What an interval of log-ratios of a run to its base says.

    Inside the margin it is the same, also where a small difference is shown: equivalence by two one-sided
    tests (D. J. Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987), each at half of what the
    interval may miss. The margin is one of ratios, so that exchanging the two runs exchanges better and
    worse and leaves same as it is.
    """
    if max(-low, high) <= math.log1p(margin):
        return "same"
    if low > 0 or high < 0:
        return "better" if (high < 0) == (better == "lower") else "worse"
    return "undecided"
