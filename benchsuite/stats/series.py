"""One number per trial and metric: what runs are compared by, since the trial is the unit."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from benchsuite.stats import metrics, rates
from benchsuite.stats.columns import Columns, Floats
from benchsuite.stats.compare import Better
from benchsuite.stats.passed import per_trial
from benchsuite.stats.quantiles import QUANTILES, quantile, samples_needed
from benchsuite.types import Point, Price, TrialInfo

Trials = Sequence[tuple[TrialInfo, Columns]]


_USUAL = 0.9
_HIGHEST = 0.99
"""Of quantiles: up to here they are told without being named, and up to there where they are."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that runs are compared by: its unit, and which direction is better.

    `of` and `q`: the quantile of which of a request's values; None for rates and cost.
    `due`: only where a schedule says when a request is due. `rare`: only where it is named.
    """

    unit: str
    better: Better
    of: Callable[[Columns], Floats] | None = None
    q: float | None = None
    due: bool = False
    rare: bool = False


def _latencies(name: str, of: Callable[[Columns], Floats], *, due: bool = False) -> dict[str, Measure]:
    return {
        f"{name}_{short}": Measure(unit="ms", better="lower", of=of, q=q, due=due, rare=q > _USUAL)
        for short, q in QUANTILES.items()
        if q <= _HIGHEST
    }


MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        **_latencies("ttft_from_due", metrics.ttft_from_due_ms, due=True),
        **_latencies("ttft", metrics.ttft_ms),
        **_latencies("tpot", metrics.tpot_ms),
        **_latencies("e2e_from_due", metrics.e2e_from_due_ms, due=True),
        **_latencies("e2e", metrics.e2e_ms),
        "output_tokens_per_s": Measure(unit="tokens/s", better="higher"),
        "requests_per_s": Measure(unit="requests/s", better="higher"),
        "cost_per_1k_usd": Measure(unit="$ per 1,000 requests", better="lower"),
        "pass_rate": Measure(unit="share that passed", better="higher"),
        "usd_per_1k_passed": Measure(unit="$ per 1,000 passed", better="lower"),
    }
)
"""By name, in the order in which they are told."""

USUAL: Final = tuple(name for name, measure in MEASURES.items() if not measure.rare)
"""Those that are told without being named."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One number a trial; empty where `n` requests are fewer than the `needs` of its quantile."""

    values: tuple[float, ...]
    n: int
    needs: int = 1


def all_series(
    point: Point, trials: Trials, price: Price | None, names: Sequence[str] = USUAL
) -> dict[str, Series]:
    """The metrics that a point has, each as one number per trial; a trial without any is left out.

    Quantiles are of the answered requests of one trial; whether there are enough of them is asked of
    all trials together, as for a pooled quantile. Without a price above 0 there is no cost.
    """
    closed = point.load == "closed"
    latencies = {
        name: _quantiles(MEASURES[name], trials)
        for name in names
        if MEASURES[name].of is not None and not (closed and MEASURES[name].due)
    }
    if point.batch:
        # Of a batch only the turnaround is known, which is each request's E2E.
        latencies = {name: latencies[name] for name in latencies if MEASURES[name].of is metrics.e2e_ms}
    found = latencies | {
        name: series for name, series in _rates(point, trials, price).items() if name in names
    }
    return {name: found[name] for name in MEASURES if name in found}


def _quantiles(measure: Measure, trials: Trials) -> Series:
    assert measure.of is not None and measure.q is not None
    parts = [metrics.values(measure.of(columns), columns.ok) for _, columns in trials]
    n, needs = sum(map(len, parts)), samples_needed(measure.q)
    if n < needs:
        return Series(values=(), n=n, needs=needs)
    return Series(values=tuple(quantile(part, measure.q) for part in parts if len(part)), n=n, needs=needs)


def _rates(point: Point, trials: Trials, price: Price | None) -> dict[str, Series]:
    """Throughput in each trial's window, and what a thousand requests cost at that pace, or were billed.

    On hardware $ per 1,000 requests = GPUs × $/GPU-hour × 1000 / (3600 × requests per second).
    """
    windowed = [
        (columns, window)
        for info, columns in trials
        if len(columns) and (window := rates.window_of(point, info, columns)) is not None
    ]
    requests = [rates.requests_in(columns, window) for columns, window in windowed]
    n = sum(requests)
    per_s = tuple(count / window.seconds for count, (_, window) in zip(requests, windowed, strict=True))
    tokens_per_s = tuple(rates.tokens_in(columns, window) / window.seconds for columns, window in windowed)
    found = {
        "output_tokens_per_s": Series(values=tokens_per_s, n=n),
        "requests_per_s": Series(values=per_s, n=n),
    }
    if price is not None and price.usd_per_gpu_hour > 0:
        hourly = price.count * price.usd_per_gpu_hour
        costs = tuple(hourly * 1000 / (3600 * rate) if rate else math.inf for rate in per_s)
        found["cost_per_1k_usd"] = Series(values=costs, n=n)
    elif billed := rates.billed([columns for _, columns in trials]):
        found["cost_per_1k_usd"] = Series(values=billed["cost_per_1k_usd"], n=n)
    judged = per_trial(windowed, [columns for _, columns in trials], price)
    return found | {name: Series(values=values, n=n) for name, values in judged.items()}
