"""What two arms measured in turn say of each other: how they were paired, and what was decided."""

from typing import Literal

from benchsuite.types.asked import Noun

Decided = Literal["fail", "pass", "undecided"]


class Pairing(Noun, frozen=True, kw_only=True):
    """A run is one arm of two that were measured in turn, trial by trial.

    `id` is common to both; `arm` A is the base, B what is compared with it; `partner` is the other's run.
    `purpose`: `ab`, `gate`, or `noise` where both arms are the same target. `kept`: the numbers of the
    trials that count, in the order of the pairs; a pair's trials have the same number in both runs, the
    same arrivals and the same text, and begin with other words. `first`: for each of them, the arm that
    was measured first. `looks`: after how many pairs it was looked whether it is decided. `restarts`: the
    engine was started anew before each trial. `spent_s`: seconds that both together have taken so far, over
    all starts, engines' starting and what was measured again included; `spent_usd`: what this arm has cost
    by then, None: no price is known.
    """

    id: str
    arm: Literal["A", "B"]
    partner: str
    purpose: Literal["ab", "gate", "noise"]
    kept: tuple[int, ...] = ()
    first: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    restarts: bool = False
    spent_s: float = 0.0
    spent_usd: float | None = None


class Judged(Noun, frozen=True, kw_only=True):
    """One metric at one point, as a gate decides on it.

    `ratio` is how much slower (or dearer, or less throughput) B is than A, above 1 is worse, whatever the
    metric's direction; `low` and `high` are the bounds that the decision rests on, None where there are too
    few pairs. `sd`: the standard deviation of the pairs' log-ratios. `detectable`: the least slowdown that so
    many pairs would have failed nine times in ten, as a share. `limit`: the share that must be caught.
    """

    metric: str
    point: int
    pairs: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    detectable: float | None = None
    limit: float
    verdict: Decided


class Decision(Noun, frozen=True, kw_only=True):
    """What a gate said at its last look, after so many pairs, by which rule."""

    verdict: Decided
    pairs: int
    tolerance: float
    limit: float
    fail_on: Literal["tolerance", "limit"]
    looks: tuple[int, ...]
    judged: tuple[Judged, ...]
