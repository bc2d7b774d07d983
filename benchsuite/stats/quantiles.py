"""Quantiles of pooled records, with intervals whose unit is the trial.

The quantile is type 7 of R. J. Hyndman and Y. Fan, The American Statistician 50, 1996 (linear between order
statistics; the default of R and of numpy), of all trials' values pooled; quantiles are never averaged. Its
standard error is the delete-one-trial jackknife's (J. W. Tukey, Annals of Mathematical Statistics 29, 1958;
in groups: M. H. Quenouille, Biometrika 43, 1956), its interval Student's t with one degree less than there
are trials. A single trial is cut into sections in order (P. W. Glynn and W. Whitt, Operations Research 39,
1991: batches of one long run), and the interval is labelled as that trial's alone.

Assumed: trials are independent and alike; requests within a trial may depend on each other. What the
intervals cover on queues was simulated: docs/statistics.md.
"""

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benchsuite.types import Estimate, Metric

Values = NDArray[Any]
"""Floats or integers, one per sample."""

QUANTILES = MappingProxyType({"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999})
"""The quantiles of every metric, by the name that reports use."""

_TAIL = 0.99
"""From here up intervals cover less than they say, so they are labelled or withheld."""
_TAIL_TRIALS = 5
_TAIL_REQUESTS = 1000
_TAIL_BASIS = "{trials} trials; covers 75 to 88 %, not 95 %"
_FEWEST_TRIALS = 3
_SECTIONS = (5, 10)
"""Fewest and most batches that a single trial is cut into."""
_SECTION_REQUESTS = 6


def samples_needed(q: float) -> int:
    """Fewest samples with which any distribution-free two-sided 95 % interval exists for quantile `q`.

    The sample's largest value must exceed the quantile with 97.5 %: q**n <= 0.025 (intervals between order
    statistics: W. R. Thompson, Annals of Mathematical Statistics 7, 1936).
    """
    return math.ceil(math.log(0.025) / math.log(max(q, 1 - q)))


def quantile(values: Values, q: float) -> float:
    """Hyndman and Fan's type 7; `values` mustn't be empty."""
    return float(np.quantile(values, q, method="linear"))


def trial_estimate(
    values_per_trial: Sequence[Values], q: float, requests_per_trial: Sequence[int] | None = None
) -> Estimate:
    """Quantile `q` of all trials' values, each trial's in the order in which it was measured.

    `requests_per_trial`: what counts as samples where a request gives many values (ITL); None:
    each value is a sample. The interval's `basis` says what it rests on.
    """
    return _estimates(values_per_trial, (q,), requests_per_trial)[0]


def mean_estimate(values_per_trial: Sequence[Values]) -> Estimate:
    """The mean of all trials' values pooled, with its interval."""
    return _estimates(values_per_trial, (), None)[0]


def rate_estimate(rates: Sequence[float], n: int) -> Estimate:
    """The mean of one number per trial, e.g. requests/s; `n` requests stand behind all of them."""
    count = len(rates)
    if not count:
        return Estimate(value=None, n=n, needs=1)
    value = math.fsum(rates) / count
    basis, usable = _basis(count, None, 0)
    if count == 1 or not usable:
        return Estimate(value=value, n=n, needs=1, basis=basis)
    error = math.sqrt(math.fsum((rate - value) ** 2 for rate in rates) / (count * (count - 1)))
    half = student_t(count - 1) * error
    return Estimate(value=value, low=value - half, high=value + half, n=n, needs=1, basis=basis)


def distribution(
    name: str,
    unit: str,
    values_per_trial: Sequence[Values],
    requests_per_trial: Sequence[int] | None = None,
    scale: float = 1.0,
) -> Metric:
    """All quantiles and the mean of one metric; `scale` turns the values' unit into `unit`."""
    estimates = _estimates(values_per_trial, tuple(QUANTILES.values()), requests_per_trial, scale)
    return Metric(
        name=name,
        unit=unit,
        n=sum(len(values) for values in values_per_trial),
        quantiles=dict(zip((*QUANTILES, "mean"), estimates, strict=True)),
    )


def student_t(degrees: float, share: float = 0.975) -> float:
    """A quantile of Student's t: two-sided 95 % lie within that of 97.5 %."""
    return float(stdtrit(degrees, share))


def _estimates(
    values_per_trial: Sequence[Values],
    qs: tuple[float, ...],
    requests_per_trial: Sequence[int] | None,
    scale: float = 1.0,
) -> list[Estimate]:
    """One estimate per quantile, then the mean's; all at once, since the pooling costs most."""
    counts = requests_per_trial or [len(values) for values in values_per_trial]
    used = [(values, count) for values, count in zip(values_per_trial, counts, strict=True) if len(values)]
    trials = [values for values, _ in used]
    n = sum(count for _, count in used)
    kinds: tuple[float | None, ...] = (*qs, None)
    needs = [1 if q is None else samples_needed(q) for q in kinds]
    if not trials:
        return [Estimate(value=None, needs=need) for need in needs]
    fewest = min(count for _, count in used)
    centres = _statistics(np.concatenate(trials), qs) * scale
    errors = _jackknife_errors(trials, qs) * scale if len(trials) >= _FEWEST_TRIALS else None
    estimates = []
    for i, (q, need) in enumerate(zip(kinds, needs, strict=True)):
        if n < need:
            estimates.append(Estimate(value=None, n=n, needs=need))
            continue
        basis, usable = _basis(len(trials), q, fewest)
        half = None
        if usable and errors is not None:
            half = student_t(len(trials) - 1) * float(errors[i])
        elif usable and len(trials) == 1:
            half = _sectioning_half_width(trials[0], q, float(centres[i]) / scale, n, need)
            half = None if half is None else half * scale
        value = float(centres[i])
        low, high = (None, None) if half is None else (value - half, value + half)
        estimates.append(Estimate(value=value, low=low, high=high, n=n, needs=need, basis=basis))
    return estimates


def _basis(trials: int, q: float | None, fewest_requests: int) -> tuple[str, bool]:
    """What an interval from so many trials may call itself, and whether there can be one."""
    tail = q is not None and q >= _TAIL
    if trials == 1:
        return "this trial only", not tail
    if trials < _FEWEST_TRIALS:
        return f"{trials} trials, no interval", False
    if not tail:
        return f"{trials} trials", True
    # Coverage was simulated for p99 and from these sizes; elsewhere nothing is known of it.
    if q == _TAIL and trials >= _TAIL_TRIALS and fewest_requests >= _TAIL_REQUESTS:
        return _TAIL_BASIS.format(trials=trials), True
    return f"{trials} trials, no interval", False


def _statistics(values: Values, qs: tuple[float, ...]) -> NDArray[np.float64]:
    """The quantiles and the mean."""
    quantiles = np.quantile(values, qs, method="linear") if qs else np.empty(0)
    return np.append(quantiles, values.mean(dtype=np.float64))


def _jackknife_errors(trials: Sequence[Values], qs: tuple[float, ...]) -> NDArray[np.float64]:
    """Standard errors of the pooled statistics, leaving out one trial at a time."""
    count = len(trials)
    without = np.array(
        [
            _statistics(np.concatenate([other for j, other in enumerate(trials) if j != i]), qs)
            for i in range(count)
        ]
    )
    squares = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * squares), dtype=np.float64)


def _sectioning_half_width(
    values: Values, q: float | None, centre: float, requests: int, need: int
) -> float | None:
    """Half an interval from a single trial cut into batches in order; None: too few for five batches."""
    fewest, most = _SECTIONS
    batches = min(most, requests // max(need, _SECTION_REQUESTS))
    if batches < fewest:
        return None
    qs = () if q is None else (q,)
    parts = [float(_statistics(part, qs)[0]) for part in np.array_split(values, batches)]
    error = math.sqrt(math.fsum((part - centre) ** 2 for part in parts) / (batches * (batches - 1)))
    return student_t(batches - 1) * error
