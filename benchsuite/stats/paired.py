"""Are two arms that were measured in turn different? Student's t on the pairs' log-ratios.

A pair is a trial of each arm, one right after the other, which were sent the same. What both meet alike
(the machine's heat, a neighbour, the text) falls out of their ratio; what is left is compared with
Student's t for one sample ("Student", Biometrika 6, 1908), as R's `t.test(log(other), log(base),
paired = TRUE)` does, and turned back into a ratio of geometric means.

Assumed: the pairs are independent of each other and their log-ratios roughly normal. The order within
the pairs must alternate (ABBA), or a drift counts as a difference between the arms.
"""

import math
from collections.abc import Sequence

from benchsuite.stats.compare import Better, Effect, effect_of
from benchsuite.stats.quantiles import student_t

FEWEST_PAIRS = 2
"""With fewer, nothing says how much a repeated pair would differ."""


def log_slowdowns(base: Sequence[float], other: Sequence[float], better: Better) -> tuple[float, ...]:
    """How much worse `other` is, pair by pair: the logarithm of a ratio that is above 1 where it is worse.

    Both in the same unit and in the order of the pairs; ValueError where their numbers differ. A pair
    of which a number isn't positive and finite is NaN.
    """
    sign = 1.0 if better == "lower" else -1.0
    return tuple(sign * difference for difference in _log_ratios(base, other))


def paired_effect(
    base: Sequence[float], other: Sequence[float], *, better: Better, margin: float, alpha: float = 0.05
) -> Effect:
    """Compare the arms pair by pair, with an interval at 1 − `alpha`, two-sided.

    Numbers and errors as for `log_slowdowns`. Without pairs, or with one that has no ratio, nothing is
    said; one pair has a ratio without an interval. Pairs that are all alike have an interval of no width.
    """
    ratios = _log_ratios(base, other)
    if not ratios or not all(map(math.isfinite, ratios)):
        return Effect()
    mean, sd = mean_and_sd(ratios)
    if len(ratios) < FEWEST_PAIRS:
        return Effect(ratio=math.exp(mean))
    half = student_t(len(ratios) - 1, 1 - alpha / 2) * sd / math.sqrt(len(ratios))
    return effect_of(mean, half, better=better, margin=margin)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the standard deviation (of n − 1); that of a single value is NaN."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < FEWEST_PAIRS:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))


def _log_ratios(base: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Of `other` to `base`; NaN where either has no logarithm."""
    return tuple(
        math.log(after / before) if 0 < before < math.inf and 0 < after < math.inf else math.nan
        for before, after in zip(base, other, strict=True)
    )
