"""Which requests met which limit, and what share of them has to."""

from collections.abc import Sequence

import numpy as np

from benchsuite.stats.columns import Bools, Columns, Floats
from benchsuite.stats.metrics import e2e_from_due_ms, e2e_ms, tpot_ms, ttft_from_due_ms, ttft_ms
from benchsuite.types import Noun, Point, Slo
from benchsuite.workload.slo import each_request, limit_name

ALL = "all limits"
"""The name of the need that a request meets all that is asked of each one."""


class Need(Noun, frozen=True, kw_only=True):
    """At least `share` of the requests have to meet `limits`, in milliseconds by `ttft`, `tpot`…"""

    name: str
    share: float
    limits: dict[str, float]


class Met(Noun, frozen=True, kw_only=True):
    """Of `requests` (of an ITL limit: gaps) that were looked at, `met` met a need."""

    need: Need
    requests: int
    met: int

    @property
    def share(self) -> float:
        """The part that met it; of nothing, nothing."""
        return self.met / self.requests if self.requests else 0.0

    @property
    def ok(self) -> bool:
        """Enough met it."""
        return bool(self.requests) and self.share >= self.need.share


def needs(slo: Slo, share: float) -> tuple[Need, ...]:
    """What has to hold for a load to meet the limits.

    `share` of the requests have to meet what is asked of each one; a limit on a quantile is met by that part
    of them: a p95 of 500 ms at most says the same as 95 % within 500 ms.
    """
    own = each_request(Slo(ttft_ms=slo.ttft_ms, tpot_ms=slo.tpot_ms, e2e_ms=slo.e2e_ms))
    found = [Need(name=ALL, share=share, limits=own)] if own else []
    found += [
        Need(name=limit_name(limit), share=limit.quantile, limits={limit.metric: limit.ms})
        for limit in slo.limits
    ]
    return tuple(found)


def within_limit(point: Point, metric: str, ms: float, columns: Columns) -> Bools:
    """Which answered requests met a limit; failed ones don't.

    Open loops are judged from due. A request of one token has no TPOT and meets its limit; one that isn't
    streamed has its first token on the screen when all of it is.
    """
    closed = point.load == "closed"
    e2e = (e2e_ms if closed else e2e_from_due_ms)(columns)
    with np.errstate(invalid="ignore"):
        if metric == "tpot":
            return columns.ok & ~(tpot_ms(columns) > ms)
        found: Floats = e2e
        if metric == "ttft" and point.stream:
            found = (ttft_ms if closed else ttft_from_due_ms)(columns)
        return columns.ok & (found <= ms)


def met(point: Point, need: Need, trials: Sequence[Columns]) -> Met:
    """How many met it, of all trials together."""
    total = good = 0
    for columns in trials:
        if "itl" in need.limits:
            gaps = columns.gaps_of(columns.ok)
            total += len(gaps)
            good += int(np.count_nonzero(gaps <= 1e3 * need.limits["itl"]))
            continue
        every: Bools = np.ones(len(columns), dtype=np.bool_)
        for metric, ms in need.limits.items():
            every &= within_limit(point, metric, ms, columns)
        total += len(columns)
        good += int(np.count_nonzero(every))
    return Met(need=need, requests=total, met=good)
