"""Where the highest load lies that meets its limits: which load to try next, and what all tries say.

Loads are tried on a ladder, so that searches meet the same ones. A search doubles from a low start until a
load fails, then halves what is left between the highest that met the limits and the lowest that didn't.

A search alone errs upwards. Misses come in bursts, as queues do, and most short stretches of a load that is
slightly too high hold none. So the edge is estimated from all tries near it together: the share of misses
grows about exponentially with the load there (Poisson regression of the misses on the logarithm of the load),
and the edge is where it passes the share that is allowed.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchsuite.types import Noun, Point

LEAST_REQUESTS = 1_000
_LEAST_MISSES = 20
"""A level has requests enough that so many of them may miss."""

SLOT_FILLS = 3
"""A server is full when so many requests for each of its slots were sent."""
_LEAST_FILLING = 100

_OCTAVES_DOWN, _OCTAVES_UP = 8, 14
_NEAR_RUNGS = 2.5
"""The estimate rests on the rungs this far from the edge."""
_NEAR_LEAST = 1.12
_DOUBT = 0.05
"""How often a load that misses may be taken for one that clearly meets its limits, on the way up."""
_CLEAR = 0.2
"""A load whose misses exceed what is allowed by a fifth of all requests has clearly failed."""
_ROUNDS = 100


class Bracket(Noun, frozen=True, kw_only=True):
    """What a search found: the highest load that met the limits, the lowest one that didn't; None: none."""

    met: float | None = None
    missed: float | None = None

    @property
    def middle(self) -> float | None:
        """The edge as this search alone has it; None: it has no two ends."""
        if self.met is None or self.missed is None:
            return None
        return math.sqrt(self.met * self.missed)


class Try(Noun, frozen=True, kw_only=True):
    """One level that was tried: of `requests` that a need looks at, `missed` didn't meet it."""

    load: float
    requests: int
    missed: int


def requests_needed(share: float) -> int:
    """How many requests a level has, by default: 1,000, or so many that 20 of them may miss."""
    return max(LEAST_REQUESTS, math.ceil(round(_LEAST_MISSES / (1 - share), 6)))


def filling(point: Point, slots: int | None) -> int:
    """How many requests warm a level up, as they find a server that isn't full yet.

    By concurrency three for each in flight, so a high load has more of them than a low one; by rate three for
    each slot of the server, and at least 100 (slots None: it doesn't say how many it has).
    """
    if point.rate is None:
        return SLOT_FILLS * (point.concurrency or 1)
    return max(_LEAST_FILLING, SLOT_FILLS * (slots or 0))


def levels(searches: int) -> int:
    """About how many loads are tried: eight in the first search, four in each further one."""
    return 4 * searches + 4


def rates(base: float, within: float) -> tuple[float, ...]:
    """Rungs from far below `base` to far above it, each at most `within` above the one before."""
    per_octave = 2 ** math.ceil(math.log2(1 / math.log2(1 + within)))
    steps = range(-_OCTAVES_DOWN * per_octave, _OCTAVES_UP * per_octave + 1)
    return tuple(float(f"{base * 2 ** (step / per_octave):.4g}") for step in steps)


def whole_numbers(within: float) -> tuple[float, ...]:
    """The same for numbers in flight: all of them, as long as they lie more than `within` apart."""
    found = dict.fromkeys(max(1.0, float(round(load))) for load in rates(1.0, within))
    return tuple(found)


def search(
    met: Callable[[float, bool], bool], ladder: Sequence[float], start: float, factor: float
) -> Bracket:
    """The two neighbouring rungs between which the limits begin to be missed.

    `met(load, rough)` tries a load; `rough`: it only has to show the way, so that what is clear may be
    decided early. From `start` it goes up by `factor` (down, if that fails), by its square the next time, at
    most doubling. Ends without `missed` at the ladder's top, without `met` at its foot. A rung that was only
    met roughly is tried in full before the search rests on it.
    """
    low: int | None = None
    high: int | None = None
    rough_low, at = False, _nearest(ladder, start)
    while low is None or high is None:
        rough = factor >= 2
        if met(ladder[at], rough):
            low, rough_low, further = at, rough, ladder[at] * factor
        else:
            high, further = at, ladder[at] / factor
        factor = min(2.0, factor**2)
        if low is not None and high is not None:
            break
        # At least a rung further.
        step = 1 if high is None else -1
        nearest = _nearest(ladder, further)
        at = nearest if (nearest - at) * step > 0 else at + step
        at = min(max(at, 0), len(ladder) - 1)
        if at in {low, high}:
            return Bracket(
                met=None if low is None else ladder[low], missed=None if high is None else ladder[high]
            )
    return _halved(met, ladder, low, high, rough_low)


def _halved(
    met: Callable[[float, bool], bool], ladder: Sequence[float], low: int, high: int, rough_low: bool
) -> Bracket:
    while True:
        while high - low > 1:
            middle = (low + high) // 2
            if met(ladder[middle], False):
                low, rough_low = middle, False
            else:
                high = middle
        if not rough_low or met(ladder[low], False):
            return Bracket(met=ladder[low], missed=ladder[high])
        # What looked clear wasn't: the edge lies below.
        high, rough_low = low, False
        while True:
            low = max(0, high - 1 - (high - low))
            if met(ladder[low], False):
                break
            if not low:
                return Bracket(missed=ladder[0])
            high = low


def edge(
    tries: Sequence[Sequence[Try]], shares: Sequence[float], near: float, ladder: Sequence[float]
) -> float:
    """The load from which on one of the needs is missed, as all searches' tries near `near` say together.

    `tries[i]` are those of the need that `shares[i]` of the requests have to meet. Never outside the tries
    that it rests on.
    """
    low, high = reach(near, ladder)
    found = [
        _crossing([one for one in each if low <= one.load <= high and one.requests], share)
        for each, share in zip(tries, shares, strict=True)
    ]
    return min(found, default=near)


def reach(near: float, ladder: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest load that an estimate near `near` rests on."""
    at = _nearest(ladder, near)
    spacing = max(ladder[min(at + 1, len(ladder) - 1)] / ladder[at], 1.0)
    factor = max(_NEAR_LEAST, spacing**_NEAR_RUNGS)
    return near / factor, near * factor


def _crossing(tries: Sequence[Try], share: float) -> float:
    """Where the share of misses passes what is allowed; infinite where it doesn't up to there."""
    if not tries:
        return math.inf
    x = np.log([one.load for one in tries])
    requests = np.array([one.requests for one in tries], dtype=np.float64)
    # Half a miss is added, so that a level without any has a place on a logarithmic scale.
    missed = np.array([one.missed for one in tries]) + 0.5
    if missed.sum() - 0.5 * len(tries) < 1:
        return math.inf
    level, slope = _fitted(x - x.mean(), requests, missed)
    allowed = math.log(max(1 - share, 1e-9))
    at = x.mean() + (allowed - level) / slope
    return float(np.exp(np.clip(at, x.min(), x.max())))


def _fitted(x: np.ndarray, requests: np.ndarray, missed: np.ndarray) -> tuple[float, float]:
    """Level and slope of the logarithm of the share of misses, by maximum likelihood (Newton's method)."""
    level, slope = math.log(missed.sum() / requests.sum()), 10.0
    for _ in range(_ROUNDS):
        expected = requests * np.exp(np.clip(level + slope * x, -30, 0.7))
        rest = missed - expected
        gradient = np.array([rest.sum(), rest @ x])
        weights = expected.sum(), expected @ x, expected @ (x * x)
        determinant = weights[0] * weights[2] - weights[1] ** 2
        if determinant < 1e-12 * max(1.0, weights[0] ** 2):
            break
        step_level = (weights[2] * gradient[0] - weights[1] * gradient[1]) / determinant
        step_slope = (weights[0] * gradient[1] - weights[1] * gradient[0]) / determinant
        level += float(np.clip(step_level, -2, 2))
        slope = max(1.0, slope + float(np.clip(step_slope, -10, 10)))
        if abs(step_level) < 1e-9 and abs(step_slope) < 1e-7:
            break
    return level, slope


def failed(missed: int, requests: int, share: float) -> bool:
    """Can a level of so many requests in all not meet its limits any more, and clearly so?

    It counts what was seen, whatever the rest will be: no chance is involved, and nothing has to be
    independent. Near the edge all requests are measured.
    """
    return missed > requests * min(1.0, 1 - share + _CLEAR)


def hopeless(missed: int, requests: int, share: float, busy: float) -> bool:
    """Would any lower load miss the limits too, as requests do that have the server to themselves?

    With `busy` requests under way on the mean, at most that part of the arrivals finds somebody there, and no
    more are joined by somebody. The rest would fare no better alone; chance gets three standard deviations.
    """
    if not requests:
        return False
    alone = missed / requests - 2 * busy
    chance = 3 * math.sqrt(max(alone, 0.0) * (1 - min(1.0, max(alone, 0.0))) / requests) + 3 / requests
    return alone - chance > 1 - share


def clearly_met(missed: int, seen: int, share: float) -> bool:
    """Wald's sequential probability ratio test: at most a fifth of the misses allowed, against all of them.

    It may be asked after every request, and calls a load good that isn't with 5 % at most, where misses are
    independent. They come in bursts, so this only shows the way up: a search never rests on it.
    """
    allowed = 1 - share
    good = allowed / 5
    ratio = missed * math.log(good / allowed) + (seen - missed) * math.log((1 - good) / (1 - allowed))
    return ratio >= math.log((1 - _DOUBT) / _DOUBT)


def _nearest(ladder: Sequence[float], load: float) -> int:
    """The rung nearest to a load, in proportion."""
    return int(np.abs(np.log(np.asarray(ladder)) - math.log(load)).argmin())
