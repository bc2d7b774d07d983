"""Does a build fail, pass, or need more pairs? Student's t on the pairs' log slowdowns, at a few looks.

At each look, first: **fail** if for some metric "the slowdown is at most the tolerance" is rejected, by a
one-sided t test ("Student", Biometrika 6, 1908) with Holm's correction over the metrics (S. Holm,
Scand. J. Statistics 6, 1979). Else **pass** if every metric's upper bound lies below its limit: all must
hold, so nothing is split between them (R. L. Berger, Technometrics 24, 1982). Else **undecided**. Both
errors are split evenly over the looks (Bonferroni), so whatever the looks have in common, a build whose
true slowdowns are all within the tolerance fails in at most `fails` of cases, and one that is as slow as
a limit passes in at most `passes`.

Assumed: the pairs are independent and their log slowdowns roughly normal; their order alternates (ABBA),
since a drift counts as a slowdown otherwise. Metrics may depend on each other in any way.

The last look may come at another number of pairs than planned, where a budget of time or money ended it:
a test is as good with any number of pairs, and there are no more looks than the errors are split over.
The number mustn't be chosen by what the pairs said: a clock or a price ends it, never a result. How long
pairs take isn't quite unlike what they say, since a slow arm uses up the time; simulated at the tolerance,
with pairs as long as their trials are slow (cv 3 to 30 %), still less than 1 % failed.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from scipy.special import chdtri, nctdtrinc, stdtr

from benchsuite.stats.paired import FEWEST_PAIRS, mean_and_sd
from benchsuite.stats.quantiles import student_t
from benchsuite.types import Noun
from benchsuite.types.decided import Decided, Judged

POWER = 0.9
"""How often a slowdown that counts as detectable is caught."""

_LEVELS = 256
"""So many pairs of a level and a number of pairs are kept; a gate meets a dozen."""

_LARGEST = 700
"""Beyond it, the exponential leaves the range of a float."""

Key = tuple[str, int]
"""A metric's name and the index of its point."""


class Rule(Noun, frozen=True, kw_only=True):
    """By what a gate decides.

    `tolerance`: the slowdown, as a share, that never fails; `limit`: the one that must be caught;
    `fail_on`: which of them must be shown exceeded to fail. `looks`: after how many pairs it is decided,
    each even, so that ABBA is balanced. `fails`, `passes`: how often it may fail or pass wrongly.
    """

    tolerance: float = 0.02
    limit: float = 0.10
    fail_on: Literal["tolerance", "limit"] = "tolerance"
    looks: tuple[int, ...] = (4, 8, 12)
    fails: float = 0.01
    passes: float = 0.025

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= self.limit:
            raise ValueError(f"the limit {self.limit:g} must be at least the tolerance {self.tolerance:g}")
        rising = all(one < other for one, other in pairwise(self.looks))
        if not self.looks or not rising or any(look < FEWEST_PAIRS or look % 2 for look in self.looks):
            raise ValueError(f"looks are rising even numbers of pairs, not {self.looks}")


class _Seen(Noun, frozen=True, kw_only=True):
    """What the pairs say of one key, in logarithms; `error` is the mean's, `p` of its null."""

    pairs: int
    null: float
    limit: float
    mean: float = math.nan
    sd: float = math.nan
    error: float = math.nan
    p: float = 1.0


def look(
    slower: Mapping[Key, Sequence[float]], rule: Rule, limits: Mapping[Key, float] = {}
) -> tuple[Decided, tuple[Judged, ...]]:
    """What is decided now, and how each metric at each point is judged, in the order given.

    `slower`: log slowdowns, one per pair. `limits`: of single keys, in place of the rule's, as shares.
    A key with fewer than two pairs, or with a number that isn't finite, is undecided, and still counts in
    Holm's correction; without keys all is undecided. `low` is the bound at the very level at which Holm's
    procedure tested the key (or stopped before it), so that a key fails exactly where `low` is above the
    tolerance (or the limit, if that is the null); `high` is the bound that passes below the limit, None
    where it is beyond all numbers.
    """
    keys = {key: _seen(values, rule, limits.get(key, rule.limit)) for key, values in slower.items()}
    lows = _lower_bounds(keys, rule.fails / len(rule.looks))
    judged = tuple(_judged(key, seen, lows[key], rule, len(keys)) for key, seen in keys.items())
    verdicts = {one.verdict for one in judged}
    if "fail" in verdicts:
        return "fail", judged
    return "pass" if verdicts == {"pass"} else "undecided", judged


def detectable(sd: float, pairs: int, rule: Rule, metrics: int, limit: float | None = None) -> float:
    """The least slowdown, as a share, that a look at so many pairs fails nine times in ten.

    `sd`: the standard deviation of the pairs' log slowdowns; `metrics`: how many are judged together;
    `limit`: the key's own. By the noncentral t, as R's `power.t.test(type = "one.sample", alternative =
    "one.sided")`, at Holm's smallest level: with others failing as well it takes less. It is the power of
    one look: those before it add a little. Infinite for fewer than two pairs.
    """
    if pairs < FEWEST_PAIRS:
        return math.inf
    shift = _noncentrality(pairs - 1, rule.fails / len(rule.looks) / metrics)
    return _exp(_null(rule, rule.limit if limit is None else limit) + shift * sd / math.sqrt(pairs)) - 1


def uncertainty(pairs: int) -> tuple[float, float]:
    """So many times as large as found in so many pairs a standard deviation may be, at least and at most.

    With 95 %, by the chi-squared distribution of normal log slowdowns; takes two pairs.
    """
    degrees = pairs - 1
    return math.sqrt(degrees / chdtri(degrees, 0.025)), math.sqrt(degrees / chdtri(degrees, 0.975))


def _seen(values: Sequence[float], rule: Rule, limit: float) -> _Seen:
    pairs, null = len(values), _null(rule, limit)
    if not pairs or not all(map(math.isfinite, values)):
        return _Seen(pairs=pairs, null=null, limit=limit)
    mean, sd = mean_and_sd(values)
    if pairs < FEWEST_PAIRS:
        return _Seen(pairs=pairs, null=null, limit=limit, mean=mean)
    error = sd / math.sqrt(pairs)
    p = float(stdtr(pairs - 1, (null - mean) / error)) if error else float(mean <= null)
    return _Seen(pairs=pairs, null=null, limit=limit, mean=mean, sd=sd, error=error, p=p)


def _null(rule: Rule, limit: float) -> float:
    """The logarithm of the slowdown that must be shown exceeded to fail."""
    return math.log1p(rule.tolerance if rule.fail_on == "tolerance" else limit)


def _lower_bounds(keys: Mapping[Key, _Seen], alpha: float) -> dict[Key, float]:
    """Lower bounds of the log slowdowns, by Holm's steps from the smallest p on; NaN: there is none.

    The first key that isn't rejected ends the steps: those after it are bounded at its level.
    """
    bounds: dict[Key, float] = {}
    left = len(keys)
    # One that isn't rejected leaves `left` as it is, so that none after it, whose p is larger, can be.
    for key in sorted(keys, key=lambda key: keys[key].p):
        bounds[key] = keys[key].mean - _bound(keys[key], alpha / left)
        if bounds[key] > keys[key].null:
            left -= 1
    return bounds


def _bound(seen: _Seen, alpha: float) -> float:
    """How far a one-sided bound at that level lies from the mean."""
    return math.nan if math.isnan(seen.error) else _student_t(seen.pairs - 1, alpha) * seen.error


def _judged(key: Key, seen: _Seen, low: float, rule: Rule, metrics: int) -> Judged:
    metric, point = key
    ratio = _told(_exp(seen.mean))
    if math.isnan(low):
        return Judged(
            metric=metric, point=point, pairs=seen.pairs, ratio=ratio, limit=seen.limit, verdict="undecided"
        )
    high = seen.mean + _bound(seen, rule.passes / len(rule.looks))
    verdict: Decided = "undecided"
    if low > seen.null:
        verdict = "fail"
    elif high < math.log1p(seen.limit):
        verdict = "pass"
    return Judged(
        metric=metric,
        point=point,
        pairs=seen.pairs,
        ratio=ratio,
        low=_exp(low),
        high=_told(_exp(high)),
        sd=seen.sd,
        detectable=_told(detectable(seen.sd, seen.pairs, rule, metrics, seen.limit)),
        limit=seen.limit,
        verdict=verdict,
    )


def _exp(logarithm: float) -> float:
    """Two wild pairs are bounded by more than a float holds."""
    return math.inf if logarithm > _LARGEST else math.exp(logarithm)


def _told(value: float) -> float | None:
    """What isn't a number, or has no end, isn't told."""
    return value if math.isfinite(value) else None


@lru_cache(maxsize=_LEVELS)
def _student_t(degrees: int, alpha: float) -> float:
    """Student's t that is exceeded with probability alpha."""
    return -student_t(degrees, alpha)


@lru_cache(maxsize=_LEVELS)
def _noncentrality(degrees: int, alpha: float) -> float:
    """With which shift, in standard errors, a one-sided test at that level rejects nine times in ten."""
    return float(nctdtrinc(degrees, 1 - POWER, _student_t(degrees, alpha)))
