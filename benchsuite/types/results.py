"""What came out: estimates, metrics, warnings, summaries and runs."""

from typing import Literal

import msgspec

from benchsuite.types.asked import SCHEMA, Noun, Verdict
from benchsuite.types.capacity import Capacity
from benchsuite.types.decided import Decision
from benchsuite.types.measured import Manifest
from benchsuite.types.workload import Point


class Estimate(Noun, frozen=True, kw_only=True):
    """A number with its 95 % interval; `n` requests (or gaps) stand behind it.

    `value` None: too few samples, `needs` says how many it takes. `low`/`high` None: no interval
    can be given. `basis` says how the interval was made, e.g. `3 trials`, `this trial only`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    needs: int = 0
    basis: str = ""

    def times(self, factor: float) -> "Estimate":
        """The same in another unit; `factor` is above 0."""
        ends = (None if end is None else end * factor for end in (self.value, self.low, self.high))
        return msgspec.structs.replace(self, **dict(zip(("value", "low", "high"), ends, strict=True)))

    def under(self, numerator: float) -> "Estimate":
        """`numerator` over it: the interval's ends change places; None where it is not above 0."""
        ends = (
            None if end is None or end <= 0 else numerator / end for end in (self.value, self.high, self.low)
        )
        return msgspec.structs.replace(self, **dict(zip(("value", "low", "high"), ends, strict=True)))


class Metric(Noun, frozen=True, kw_only=True):
    """The distribution of one metric at one point; quantile keys are p50, p90, p95, p99, p99.9 and mean."""

    name: str
    unit: str
    n: int
    quantiles: dict[str, Estimate]


class Warning(Noun, frozen=True, kw_only=True):
    """Something the reader must know: what was found, how bad it is, and what to do about it."""

    code: str
    level: Literal["told", "suspect", "invalid"]
    message: str
    advice: str
    facts: dict[str, float] = {}


class Summary(Noun, frozen=True, kw_only=True):
    """One point's numbers. `rates` holds throughput, goodput and cost: name → estimate."""

    point: Point
    requests: int
    outcomes: dict[str, int]
    error_kinds: dict[str, int]
    metrics: dict[str, Metric]
    rates: dict[str, Estimate]
    means: dict[str, float | None]
    verdict: Verdict
    warnings: tuple[Warning, ...]

    def estimate(self, name: str) -> Estimate | None:
        """What is called `ttft_p50` or `output_tokens_per_s`; None: the point has no such number."""
        if name in self.rates:
            return self.rates[name]
        metric, _, q = name.rpartition("_")
        return self.metrics[metric].quantiles.get(q) if metric in self.metrics else None


class Run(Noun, frozen=True, kw_only=True):
    """A stored run: its manifest and one summary a point.

    `capacity`: what was found, where the points are the loads that a capacity search tried.
    `decision`: what a gate said, where the run is an arm of one.
    """

    schema: int = SCHEMA
    status: Literal["finished", "interrupted", "recovered"]
    manifest: Manifest
    summaries: tuple[Summary, ...]
    verdict: Verdict
    capacity: Capacity | None = None
    decision: Decision | None = None
