"""How many answers passed the workload's check, and what a thousand of them cost."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchsuite.money.cost import usd_per_s
from benchsuite.stats.columns import ABSENT, Bools, Columns
from benchsuite.stats.quantiles import rate_estimate, student_t
from benchsuite.stats.rates import Window
from benchsuite.types import Estimate, Price, Workload

NONE_PASSED = "none passed"
"""The basis of a cost that is beyond all numbers."""
_Z = 1.959963984540054


def judged(columns: Columns) -> Bools:
    """Requests of which is known whether they passed; a failed one didn't."""
    found: Bools = (columns.passed != ABSENT) | ~columns.ok
    return found


def passed(columns: Columns) -> Bools:
    """Answers that passed."""
    found: Bools = columns.ok & (columns.passed == 1)
    return found


def check_facts(workload: Workload, trials: Sequence[Columns]) -> dict[str, Any]:
    """Answers that a check couldn't judge, and those that failed it at the most tokens they might have."""
    if workload.check is None:
        return {}
    at_limit = [
        each.ok & (each.passed == 0) & (each.asked_output_tokens > 0)
        & (each.output_tokens >= each.asked_output_tokens)
        for each in trials
    ]  # fmt: skip
    return {
        "unjudged": sum(int((each.ok & (each.passed == ABSENT)).sum()) for each in trials),
        "failed_at_limit": sum(int(chosen.sum()) for chosen in at_limit),
    }


def passed_rates(
    windowed: Sequence[tuple[Columns, Window]], trials: Sequence[Columns], price: Price | None
) -> dict[str, Estimate]:
    """`pass_rate` and, where anything has a price, `usd_per_1k_passed`; empty where nothing was judged.

    Dollars of hardware are those of a thousand passed answers at the pace in the trials' windows; billed ones
    are all that was billed, for answers that didn't pass too, over the passed ones. With none passed there is
    no such number, and the estimate's basis says so.
    """
    if not any((each.passed != ABSENT).any() for each in trials):
        return {}
    found = {"pass_rate": pass_rate(trials)}
    cost = _at_load(windowed, price) if price is not None else _billed(trials)
    return found if cost is None else found | {"usd_per_1k_passed": cost}


def pass_rate(trials: Sequence[Columns]) -> Estimate:
    """The share of judged requests that passed, with Wilson's 95 % interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc.
    22, 1927. Its sample size is the number of different items: to ask one again tells little more of how the
    next one will be answered. Without a dataset it is the number of requests.
    """
    n = sum(int(judged(each).sum()) for each in trials)
    right = sum(int(passed(each).sum()) for each in trials)
    items = np.unique(np.concatenate([each.item[judged(each) & (each.item != ABSENT)] for each in trials]))
    size = len(items) or n
    low, high = wilson(right / n, size)
    basis = f"Wilson, {size:,} {'items' if len(items) else 'requests'}"
    return Estimate(value=right / n, low=low, high=high, n=n, needs=1, basis=basis)


def wilson(share: float, size: int) -> tuple[float, float]:
    """The ends of Wilson's 95 % interval for a share seen in a sample."""
    spread = _Z * math.sqrt(share * (1 - share) / size + _Z * _Z / (4 * size * size))
    centre, scale = share + _Z * _Z / (2 * size), 1 + _Z * _Z / size
    # At the ends only rounding would keep it from 0 and 1.
    low = 0.0 if share == 0 else (centre - spread) / scale
    return low, 1.0 if share == 1 else (centre + spread) / scale


def _at_load(windowed: Sequence[tuple[Columns, Window]], price: Price) -> Estimate | None:
    """The hour's dollars over the answers that passed in it."""
    counts = [int((passed(each) & _ended(each, window)).sum()) for each, window in windowed]
    if not any(passed(each).any() for each, _ in windowed):
        return Estimate(value=None, n=sum(len(each) for each, _ in windowed), basis=NONE_PASSED)
    paces = [count / window.seconds for count, (_, window) in zip(counts, windowed, strict=True)]
    return rate_estimate(paces, sum(counts)).under(1e3 * usd_per_s(price))


def _ended(columns: Columns, window: Window) -> Bools:
    return (columns.end_ns > window.start_ns) & (columns.end_ns <= window.end_ns)


def _billed(trials: Sequence[Columns]) -> Estimate | None:
    """All that was billed for judged requests over those that passed, bounded by a jackknife over trials."""
    known = [judged(each) & ~np.isnan(each.cost_usd) for each in trials]
    if not any(chosen.any() for chosen in known):
        return None
    usd = [float(each.cost_usd[chosen].sum()) for each, chosen in zip(trials, known, strict=True)]
    right = [int((passed(each) & chosen).sum()) for each, chosen in zip(trials, known, strict=True)]
    total, count, trial_count = math.fsum(usd), sum(right), len(trials)
    if not count:
        return Estimate(value=None, n=sum(int(chosen.sum()) for chosen in known), basis=NONE_PASSED)
    value, basis = 1e3 * total / count, f"{trial_count} trials"
    without = [(total - one, count - some) for one, some in zip(usd, right, strict=True)]
    if trial_count < 3 or not all(some for _, some in without):
        return Estimate(value=value, n=count, needs=1, basis=f"{basis}, no interval")
    leaving = [1e3 * rest / some for rest, some in without]
    mean = math.fsum(leaving) / trial_count
    squares = math.fsum((one - mean) ** 2 for one in leaving)
    half = student_t(trial_count - 1) * math.sqrt((trial_count - 1) / trial_count * squares)
    return Estimate(value=value, low=value - half, high=value + half, n=count, needs=1, basis=basis)


def per_trial(
    windowed: Sequence[tuple[Columns, Window]], trials: Sequence[Columns], price: Price | None
) -> dict[str, tuple[float, ...]]:
    """The same as one number a trial, for comparing runs; `inf` where none passed."""
    there = [each for each in trials if judged(each).any()]
    if not any((each.passed != ABSENT).any() for each in there):
        return {}
    shares = tuple(float(passed(each).sum() / judged(each).sum()) for each in there)
    found = {"pass_rate": shares}
    if price is not None and price.usd_per_gpu_hour > 0:
        counts = [int((passed(each) & _ended(each, window)).sum()) for each, window in windowed]
        found["usd_per_1k_passed"] = tuple(
            1e3 * usd_per_s(price) * window.seconds / count if count else math.inf
            for count, (_, window) in zip(counts, windowed, strict=True)
        )
    elif price is None and not all(np.isnan(each.cost_usd).all() for each in there):
        usd = [float(np.nansum(each.cost_usd[judged(each)])) for each in there]
        right = [int((passed(each) & ~np.isnan(each.cost_usd)).sum()) for each in there]
        found["usd_per_1k_passed"] = tuple(
            1e3 * one / count if count else math.inf for one, count in zip(usd, right, strict=True)
        )
    return found
