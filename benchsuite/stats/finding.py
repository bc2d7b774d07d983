"""The facts that rules look at, found in a point's records."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchsuite.money.gpus import AS_STATED
from benchsuite.stats import metrics, rates
from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats
from benchsuite.stats.facts import Conditions, Facts, nearest_tested
from benchsuite.stats.lengths import length_facts
from benchsuite.stats.passed import check_facts
from benchsuite.stats.quantiles import quantile
from benchsuite.stats.steady import batch_means, mann_kendall, relative_change
from benchsuite.stats.talks import even, first_turns
from benchsuite.types import Estimate, Point, Summary, TrialInfo, WorkerHealth
from benchsuite.workload.points import own_instants

_Trial = tuple[TrialInfo, Columns, rates.Window | None]

_PASSED_ON = (
    "gpu",
    "gpus",
    "server_gpu",
    "gpus_used",
    "slots_assumed",
    "context_tokens",
    "caching",
    "cache_reset",
)
"""Conditions that are facts as they stand."""

_LEAST_WALL_S = 0.5
"""A worker's share of a core over less time than this is noise."""


def facts_of(
    summary: Summary,
    trials: Sequence[_Trial],
    windowed: Sequence[tuple[Columns, rates.Window]],
    conditions: Conditions,
) -> Facts:
    """What the rules look at; `windowed`: all that was in flight, with what fills the server beside it."""
    point, columns = summary.point, [each for _, each, _ in trials]
    shares = [
        share
        for each, window in windowed
        if (share := rates.delivered_share(point, each, window)) is not None
    ]
    lengths = conditions.lengths
    # The chat template's own prefix may always be found cached; it is at most the overhead.
    overhead = lengths.overhead if lengths else 0
    # A trace's load is as it was.
    replayed = own_instants(conditions.workload, point)
    steady_p, steady_change = (None, None) if replayed else _steadiness(point, trials)
    selftest, price = conditions.selftest, conditions.price
    batches = [info.batch for info, _, _ in trials if info.batch is not None]
    return Facts(
        point=point,
        workload=conditions.workload,
        exact_output=conditions.capabilities_exact_output,
        slots=conditions.identity_slots,
        overhead=overhead,
        interrupted=conditions.interrupted,
        model=conditions.model,
        models=conditions.models,
        tested=nearest_tested(selftest, point, summary.means["in_flight"]) if selftest else None,
        requests=summary.requests,
        ok=sum(_count(each.ok) for each in columns),
        trials_without_answers=sum(not each.ok.any() for each in columns),
        error_kinds=summary.error_kinds,
        ttft_p50_ms=_pooled([metrics.values(metrics.ttft_ms(each), each.ok) for each in columns], 0.5),
        ttft_half_width_ms=None if point.batch else _half_width(summary.metrics["ttft"].quantiles["p50"]),
        delivered_share=sum(shares) / len(shares) if shares else None,
        in_flight=max((rates.peak_in_flight(each) for each, _ in windowed), default=0),
        short_trials=sum(window is not None and window.whole for _, _, window in trials),
        prompt_tokens=summary.means["prompt_tokens"],
        output_tokens=summary.means["output_tokens"],
        without_usage=sum(_count(each.ok & (each.output_tokens == ABSENT)) for each in columns),
        steady_p=steady_p,
        steady_change=steady_change,
        gpu_priced=price.gpu if price is not None and price.source != AS_STATED else "",
        **{name: getattr(conditions, name) for name in _PASSED_ON},
        strangers=sum(batch.strangers for batch in batches),
        polled_ends=sum(not batch.by_server for batch in batches),
        **_client_facts(point, trials),
        **_cache_facts(summary, columns, overhead),
        **check_facts(conditions.workload, columns),
        **_server_facts(summary, columns, conditions),
        **length_facts(point, conditions.workload, columns, lengths),
    )


def _client_facts(point: Point, trials: Sequence[_Trial]) -> dict[str, Any]:
    """How the client fared."""
    columns = [each for _, each, _ in trials]
    health = [worker for info, _, _ in trials for worker in info.workers]
    return {
        "send_lag_p99_ms": _nearly_worst(
            [rates.client_lag_ms(point, info, each) for info, each, _ in trials]
        ),
        "coalesced_share": coalesced_share(columns),
        "reader_lag_p99_ms": _nearly_worst(
            [metrics.values(metrics.reader_lag_ms(each), each.user_stamps) for each in columns]
        ),
        # The least: the others may have waited for each other.
        "connect_least_ms": _pooled([metrics.values(metrics.connect_ms(each)) for each in columns], 0.0),
        "worker_cpu": _busiest(health),
        "clock_steps": sum(each.clock_steps for each in health),
        "unopened": sum(each.unopened for each in health),
    }


def _cache_facts(summary: Summary, columns: Sequence[Columns], overhead: int) -> dict[str, Any]:
    """What the server's cache knew; `overhead` tokens of the template may be there in any case."""
    shares = [held_shares(each) for each in columns]
    asked = shares
    if "first_hit_ratio" in summary.means:
        # No plan says what later turns are to find.
        asked = [
            share[first_turns(each)[_cached_known(each)]] for each, share in zip(columns, shares, strict=True)
        ]
    return {
        "cached_excess": metrics.mean(
            [
                # A later turn is to find the earlier ones.
                np.maximum(each.cached_tokens[_cached_known(each) & first_turns(each)] - overhead, 0)
                for each in columns
            ]
        ),
        "hit_ratio": metrics.mean(shares),
        "hits_reached": summary.means.get("first_hit_ratio", summary.means["hit_ratio"]),
        "hits_asked": summary.means["hit_ratio_asked"],
        "best_hit_ratio": max((float(each.max()) for each in asked if len(each)), default=None),
    }


def _server_facts(summary: Summary, columns: Sequence[Columns], conditions: Conditions) -> dict[str, Any]:
    """The facts that rest on what the server itself says of an answer."""
    rests = [metrics.values(metrics.server_rest_ms(each), each.ok) for each in columns]
    told = summary.metrics.keys()
    return {
        "unseen": sum(_count(metrics.unseen(each)) for each in columns),
        "whole": sum(_count(metrics.whole(each)) for each in columns),
        "whole_p50_ms": _pooled([metrics.values(metrics.e2e_ms(c), metrics.whole(c)) for c in columns], 0.5),
        "tokens_per_event": summary.means["tokens_per_event"],
        "acceptance": summary.means.get("acceptance"),
        # How fast a batch is answered says nothing of how fast one may ask.
        "answered_per_s": None if summary.point.batch else summary.rates["requests_per_s"].value,
        "retry_after_s": _pooled([metrics.values(each.retry_after_s) for each in columns], 1.0),
        "server_rest_ms": _pooled(rests, 0.5),
        "server_tells_first": bool(told & {"server_prefill", "server_first"}),
        "server_tells_queue": bool(told & {"server_queue", "server_first"}),
    }


def _busiest(health: Sequence[WorkerHealth]) -> float | None:
    """The largest share of a core that a worker took; None: none ran long enough to tell."""
    return max((each.cpu_s / each.wall_s for each in health if each.wall_s >= _LEAST_WALL_S), default=None)


def _steadiness(point: Point, trials: Sequence[_Trial]) -> tuple[float | None, float | None]:
    """P that E2E has no trend within the trials, and its size; None: fewer than 20 requests in each.

    Closed loops fill and drain: only requests that lie in the window count, where all C are in
    flight. Of open loops it is those due after the ramp-up, but all of one that never gets beyond it:
    above a server's capacity E2E grows as long as the trial. Of stages nothing can be told: they change the
    load.
    """
    series = []
    if point.stages:
        return None, None
    for _, columns, window in trials:
        closed = point.load == "closed"
        if window is None or point.load in {"offline", "batch-api"} or (closed and window.whole):
            continue
        inside = columns.ok
        if closed:
            inside = inside & (columns.sent_ns > window.start_ns) & (columns.end_ns <= window.end_ns)
        elif not window.whole:
            inside = inside & (columns.due_ns > window.start_ns)
        e2e = metrics.e2e_ms(columns) if closed else metrics.e2e_from_due_ms(columns)
        e2e = even(e2e, columns) if point.talks else e2e
        means = batch_means(metrics.values(e2e, inside))
        if means is not None:
            series.append(means)
    return (mann_kendall(*series), relative_change(*series)) if series else (None, None)


def coalesced_share(trials: Sequence[Columns]) -> float | None:
    """Share of token events whose own arrival may be hidden."""
    events = sum(int(each.events[each.ok].sum()) for each in trials)
    return sum(int(each.merged_events[each.ok].sum()) for each in trials) / events if events else None


def _cached_known(columns: Columns) -> Any:
    """Answered requests whose cached tokens the server reported."""
    return columns.ok & (columns.cached_tokens != ABSENT) & (columns.prompt_tokens > 0)


def held_shares(columns: Columns) -> Floats:
    """Share of each prompt that was cached, where it is known."""
    known = _cached_known(columns)
    shares: Floats = columns.cached_tokens[known] / columns.prompt_tokens[known]
    return shares


def _half_width(estimate: Estimate) -> float | None:
    """Half of the interval, where there is one."""
    if estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / 2


def _pooled(parts: Sequence[Floats], q: float) -> float | None:
    """A quantile of what there is, however little: rules can't wait for more samples."""
    pooled = np.concatenate(parts) if parts else np.empty(0)
    return quantile(pooled, q) if len(pooled) else None


def _nearly_worst(parts: Sequence[Floats]) -> float | None:
    """The p99, but with few samples the second largest: a single straggler condemns no run."""
    pooled = np.concatenate(parts) if parts else np.empty(0)
    if len(pooled) < 2:
        return 0.0 if len(pooled) else None
    return min(quantile(pooled, 0.99), float(np.partition(pooled, -2)[-2]))


def _count(chosen: Bools) -> int:
    return int(np.count_nonzero(chosen))
