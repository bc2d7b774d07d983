"""Is a build slower than its history? A robust band around the median of the last ten runs.

For want of a second arm. The band is three times the scaled median absolute deviation on each side (F. R.
Hampel, J. Am. Statistical Association 69, 1974; 1.4826 makes it a standard deviation where the runs are
normal), and never narrower than 5 %; the median of a few new trials is held against it.

Assumed: the runs are comparable and independent, and the new trials vary as the old runs do. It is weaker
than pairs, and nothing promises its error rate: what the machine does differently today counts as the
build's. Simulated with three new trials, an unchanged build is alarmed about in 1.6 % of cases where single
numbers vary by 3 %, and in 3.7 % by 5 %, if it is judged by four independent metrics; by seven, the gate's
usual ones, in 3 % and 6 %. Metrics that go together alarm together, so less often.
"""

import math
import statistics
from collections.abc import Sequence

from benchsuite.stats.compare import Better
from benchsuite.types import Noun

HISTORY = 10
"""So many comparable runs are needed, and the newest so many are used."""

_LEAST = 0.05
_SPREADS = 3
_NORMAL = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


class Band(Noun, frozen=True, kw_only=True):
    """What the history leaves unalarmed: up to `half` (a share) worse than its `median`, over `runs` runs.

    `edge` is the number, in the metric's unit, beyond which a new median is an alarm.
    """

    median: float
    half: float
    edge: float
    runs: int


def band(values: Sequence[float], better: Better) -> Band:
    """The band of a history, one positive number per run, oldest first.

    ValueError for fewer than ten runs, or where one of the last ten isn't positive and finite.
    """
    if len(values) < HISTORY:
        raise ValueError(f"{len(values)} comparable runs; a history needs {HISTORY}")
    last = values[-HISTORY:]
    if not all(0 < value < math.inf for value in last):
        raise ValueError("a run of the history has no positive number")
    median = statistics.median(last)
    spread = statistics.median(abs(value - median) for value in last) / median
    half = max(_LEAST, _SPREADS * _NORMAL * spread)
    edge = median * (1 + half) if better == "lower" else median / (1 + half)
    return Band(median=median, half=half, edge=edge, runs=HISTORY)


def beyond(trials: Sequence[float], band: Band, better: Better) -> bool:
    """Is the median of the new trials, three of them usually, outside the band on the worse side?

    ValueError without trials, or where one isn't a number.
    """
    if not trials or any(map(math.isnan, trials)):
        raise ValueError("no trials, or one that isn't a number")
    median = statistics.median(trials)
    return median > band.edge if better == "lower" else median < band.edge
