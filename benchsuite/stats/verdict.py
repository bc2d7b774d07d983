"""A point's records, judged: numbers, warnings and verdict in one summary."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from benchsuite.money.cost import load_costs
from benchsuite.money.evidence import Use
from benchsuite.money.gpus import AS_STATED
from benchsuite.money.tokens import pricer
from benchsuite.stats import hits, metrics, rates
from benchsuite.stats.batches import batch_rates
from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats, trials_of
from benchsuite.stats.facts import Facts, nearest_tested
from benchsuite.stats.lengths import asked_means, length_facts
from benchsuite.stats.passed import check_facts, passed_rates
from benchsuite.stats.quantiles import quantile, rate_estimate
from benchsuite.stats.rules import verdict_warnings
from benchsuite.stats.steady import batch_means, holm, mann_kendall, relative_change
from benchsuite.stats.talks import even, first_turns
from benchsuite.types import (
    OUTCOMES,
    Estimate,
    Lengths,
    Point,
    Price,
    Selftest,
    Summary,
    TokenPrice,
    TrialInfo,
    Verdict,
    WorkerHealth,
    Workload,
)
from benchsuite.workload.points import own_instants

if TYPE_CHECKING:
    import pyarrow as pa

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


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run knows about itself and its server, the same for all its points.

    `model` is what was asked for, `models` what the server lists; empty where that proves nothing, as
    with a server of our own. `selftest`: this machine's own error, where it is known. `gpu` is as stated,
    `gpus` what NVML names on the serving machine, `server_gpu` the server's own word, `gpus_used` how
    many it uses. `slots_assumed`: the server didn't tell its slots, such servers have so many. `caching`: how
    the workload's cache word comes true.
    """

    workload: Workload
    capabilities_exact_output: bool
    identity_slots: int | None
    lengths: Lengths | None
    model: str = ""
    models: tuple[str, ...] = ()
    selftest: Selftest | None = None
    interrupted: bool = False
    price: Price | None = None
    token_price: TokenPrice | None = None
    gpu: str = ""
    gpus: tuple[str, ...] | None = None
    server_gpu: str = ""
    gpus_used: Use | None = None
    slots_assumed: bool = False
    context_tokens: int | None = None
    caching: str = ""
    cache_reset: bool = False


def summarise_all(
    points: Iterable[tuple[Point, "pa.Table", Sequence[TrialInfo]]], conditions: Conditions
) -> tuple[Summary, ...]:
    """All points of a run: each with its table and trials, taken one at a time."""
    found = [_measure(point, table, trials, conditions) for point, table, trials in points]
    tested = [facts.steady_p for _, facts in found if facts.steady_p is not None]
    adjusted = iter(holm(tested))
    summaries = []
    for summary, unadjusted in found:
        facts = unadjusted
        if facts.steady_p is not None:
            facts = msgspec.structs.replace(facts, steady_p=next(adjusted))
        warnings = verdict_warnings(facts)
        verdict = worst(warning.level for warning in warnings)
        summaries.append(msgspec.structs.replace(summary, warnings=warnings, verdict=verdict))
    return tuple(summaries)


def worst(levels: Iterable[str]) -> Verdict:
    """The verdict that follows from warnings' levels, or from points' verdicts."""
    found = set(levels)
    return "invalid" if "invalid" in found else "suspect" if "suspect" in found else "valid"


def _measure(
    point: Point, table: "pa.Table", infos: Sequence[TrialInfo], conditions: Conditions
) -> tuple[Summary, Facts]:
    """A point's numbers, not yet judged, and the facts to judge them by."""
    mine = [info for info in infos if info.point == point.index]
    trials = [
        (info, columns, rates.window_of(point, info, columns) if len(columns) else None)
        for info, columns in trials_of(table, mine)
    ]
    columns = [each for _, each, _ in trials]
    found = {} if point.batch else metrics.point_metrics(point, columns)
    windowed = [(each, window) for _, each, window in trials if window is not None]
    workload, means = conditions.workload, _means(point, columns)
    speeds = (
        batch_rates([(info, each, window) for info, each, window in trials if window is not None])
        if point.batch
        else rates.point_rates(point, workload.slo, point.cache, windowed, found["tpot"])
    )
    summary = Summary(
        point=point,
        requests=sum(map(len, columns)),
        outcomes=_counts(table, "outcome", OUTCOMES),
        error_kinds=_counts(table, "error_kind"),
        metrics=found,
        rates=speeds
        | _costs(point, speeds, means["prompt_tokens"], columns, conditions)
        | passed_rates(windowed, columns, conditions.price),
        means=means
        | {"in_flight": _mean_in_flight(windowed)}
        | asked_means(point, columns)
        | hits.shares(table, columns, reset=conditions.cache_reset),
        verdict="valid",
        warnings=(),
    )
    return summary, _facts(summary, trials, conditions)


def _costs(
    point: Point,
    speeds: dict[str, Estimate],
    prompt_tokens: float | None,
    columns: Sequence[Columns],
    conditions: Conditions,
) -> dict[str, Estimate]:
    """Dollars: of the hardware at this load, or else as billed by the token."""
    if conditions.price is not None:
        return load_costs(speeds, prompt_tokens, conditions.price)
    answered = sum(_count(each.ok) for each in columns)
    found = {name: rate_estimate(usd, answered) for name, usd in rates.billed(columns).items()}
    if found and conditions.token_price is not None and point.prompt_tokens:
        held = metrics.mean([_hits(each) for each in columns]) or 0.0
        prompt, output = point.prompt_tokens, point.output_tokens
        usd = pricer(conditions.token_price)(prompt, output, round(held * prompt), 0, 0)
        found["cost_per_1k_as_asked_usd"] = Estimate(value=None if usd is None else 1e3 * usd, n=answered)
    return found


def _facts(summary: Summary, trials: Sequence[_Trial], conditions: Conditions) -> Facts:
    """What the rules look at."""
    point, columns = summary.point, [each for _, each, _ in trials]
    health = [worker for info, _, _ in trials for worker in info.workers]
    shares = [
        share
        for _, each, window in trials
        if window and (share := rates.delivered_share(point, each, window)) is not None
    ]
    lengths = conditions.lengths
    # The chat template's own prefix may always be found cached; it is at most the overhead.
    overhead = lengths.overhead if lengths else 0
    hit_shares = [_hits(each) for each in columns]
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
        send_lag_p99_ms=_nearly_worst([rates.client_lag_ms(point, info, each) for info, each, _ in trials]),
        coalesced_share=_coalesced_share(columns),
        reader_lag_p99_ms=_nearly_worst(
            [metrics.values(metrics.reader_lag_ms(each), each.user_stamps) for each in columns]
        ),
        # The least: the others may have waited for each other.
        connect_least_ms=_pooled([metrics.values(metrics.connect_ms(each)) for each in columns], 0.0),
        worker_cpu=_busiest(health),
        clock_steps=sum(each.clock_steps for each in health),
        delivered_share=sum(shares) / len(shares) if shares else None,
        in_flight=max(map(rates.peak_in_flight, columns), default=0),
        short_trials=sum(window is not None and window.whole for _, _, window in trials),
        prompt_tokens=summary.means["prompt_tokens"],
        output_tokens=summary.means["output_tokens"],
        without_usage=sum(_count(each.ok & (each.output_tokens == ABSENT)) for each in columns),
        cached_excess=metrics.mean(
            [
                # A later turn is to find the earlier ones.
                np.maximum(each.cached_tokens[_cached_known(each) & first_turns(each)] - overhead, 0)
                for each in columns
            ]
        ),
        hit_ratio=metrics.mean(hit_shares),
        hits_reached=summary.means["hit_ratio"],
        hits_asked=summary.means["hit_ratio_asked"],
        best_hit_ratio=max((float(each.max()) for each in hit_shares if len(each)), default=None),
        steady_p=steady_p,
        steady_change=steady_change,
        gpu_priced=price.gpu if price is not None and price.source != AS_STATED else "",
        **{name: getattr(conditions, name) for name in _PASSED_ON},
        strangers=sum(batch.strangers for batch in batches),
        polled_ends=sum(not batch.by_server for batch in batches),
        **check_facts(conditions.workload, columns),
        **_server_facts(summary, columns, conditions),
        **length_facts(point, conditions.workload, columns, lengths),
    )


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


def _means(point: Point, trials: Sequence[Columns]) -> dict[str, float | None]:
    """Means over answered requests (shares over all), None where nothing is known."""

    def of(name: str) -> float | None:
        parts: list[Any] = [getattr(each, name)[each.ok] for each in trials]
        return metrics.mean([part[part != ABSENT] for part in parts])

    def over(function: Any) -> float | None:
        return metrics.mean([metrics.values(function(each), each.ok) for each in trials])

    events = sum(int(each.events[each.ok].sum()) for each in trials)
    tokens = sum(int(metrics.streamed_tokens(each)[each.ok & (each.events > 0)].sum()) for each in trials)
    means = {
        "ttft_ms": over(metrics.ttft_ms),
        "tpot_ms": over(metrics.tpot_ms),
        "itl_ms": _scaled(metrics.mean([each.gaps_of(each.ok).astype(np.int64) for each in trials]), 1e-3),
        "e2e_ms": over(metrics.e2e_ms),
        "prompt_tokens": of("prompt_tokens"),
        "output_tokens": of("output_tokens"),
        "cached_tokens": of("cached_tokens"),
        "reasoning_tokens": of("reasoning_tokens"),
        "tokens_per_event": tokens / events if events else None,
        "stall_share": metrics.stall_share(trials),
        "coalesced_share": _coalesced_share(trials),
    }
    drafted, accepted = (
        sum(float(np.nansum(getattr(each.server, name)[each.ok])) for each in trials)
        for name in ("drafted", "accepted")
    )
    if drafted:
        means["acceptance"] = accepted / drafted
    if point.load != "closed":
        means["ttft_from_due_ms"] = over(metrics.ttft_from_due_ms)
        means["e2e_from_due_ms"] = over(metrics.e2e_from_due_ms)
    return means


def _mean_in_flight(windowed: Sequence[tuple[Columns, rates.Window]]) -> float | None:
    """Mean over trials of the requests in flight within the window."""
    found = [rates.mean_in_flight(columns, window) for columns, window in windowed]
    return sum(found) / len(found) if found else None


def _coalesced_share(trials: Sequence[Columns]) -> float | None:
    """Share of token events whose own arrival may be hidden."""
    events = sum(int(each.events[each.ok].sum()) for each in trials)
    return sum(int(each.merged_events[each.ok].sum()) for each in trials) / events if events else None


def _cached_known(columns: Columns) -> Any:
    """Answered requests whose cached tokens the server reported."""
    return columns.ok & (columns.cached_tokens != ABSENT) & (columns.prompt_tokens > 0)


def _hits(columns: Columns) -> Floats:
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


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _counts(table: "pa.Table", name: str, order: Sequence[str] = ()) -> dict[str, int]:
    """How often each word stands in a column of the measured trials; the empty one isn't counted."""
    trials, column = table.column("trial").to_numpy(), table.column(name).to_numpy()
    found = Counter(word for word in column[trials > 0].tolist() if word)
    known = {word: found.pop(word) for word in order if word in found}
    return known | dict(found.most_common())
