"""Does a measurement drift? The Mann-Kendall test on batch means, Holm's correction over points.

H. B. Mann, Econometrica 13 (1945); M. G. Kendall, Rank Correlation Methods (1975); several series:
Hirsch, Slack and Smith, Water Resources Research 18 (1982); slope: P. K. Sen, J. Am. Statistical
Association 63 (1968); S. Holm, Scand. J. Statistics 6 (1979).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

BATCHES = 10
"""A series is cut into so many batches: long ones, so that a queue's memory doesn't look like a trend."""


def batch_means(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Means of ten batches in order; None: fewer than two values a batch."""
    if len(values) < 2 * BATCHES:
        return None
    return np.array([part.mean() for part in np.array_split(values, BATCHES)])


def mann_kendall(*series: NDArray[np.float64]) -> float:
    """Two-sided p that no series has a trend, from ten values each on.

    Several series (trials) are tested together: each is compared within itself alone. Normal
    approximation with corrections for ties and continuity.
    """
    score, variance = 0, 0.0
    for values in series:
        n = len(values)
        signs = np.sign(values[None, :] - values[:, None])
        score += int(np.triu(signs, 1).sum())
        ties = np.unique(values, return_counts=True)[1].astype(np.float64)
        tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
        variance += (n * (n - 1) * (2 * n + 5) - tied) / 18
    if score == 0 or variance <= 0:
        return 1.0
    z = (abs(score) - 1) / math.sqrt(variance)
    return float(2 * ndtr(-z))


def relative_change(*series: NDArray[np.float64]) -> float:
    """How far all series drift from end to end, as a share of each one's median.

    Sen's slope, the median of the slopes between all pairs within a series, over a series' length.
    """
    slopes = []
    for values in series:
        later, earlier = np.tril_indices(len(values), -1)
        rise = (values[later] - values[earlier]) / (later - earlier)
        slopes.append(rise * len(values) / np.median(values))
    return float(np.median(np.concatenate(slopes)))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusts p values for there being several; in the order given."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = largest
    return adjusted
