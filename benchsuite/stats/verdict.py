"""A point's records, judged: numbers, warnings and verdict in one summary."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from benchsuite.money.cost import load_costs
from benchsuite.money.tokens import pricer
from benchsuite.stats import hits, metrics, rates
from benchsuite.stats.batches import batch_rates
from benchsuite.stats.columns import ABSENT, Columns, measured, trials_of
from benchsuite.stats.facts import Conditions, Facts
from benchsuite.stats.finding import coalesced_share, facts_of, held_shares
from benchsuite.stats.lengths import asked_means
from benchsuite.stats.passed import passed_rates
from benchsuite.stats.quantiles import rate_estimate
from benchsuite.stats.rules import verdict_warnings
from benchsuite.stats.steady import holm
from benchsuite.types import (
    OUTCOMES,
    Estimate,
    Point,
    Summary,
    TrialInfo,
    Verdict,
)

if TYPE_CHECKING:
    import pyarrow as pa


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
    judged = trials_of(table, mine)
    columns = [each for _, each in judged]
    # What fills the server in a level of a search is in flight with what is judged there.
    every = _every(table, mine, judged)
    windows = [
        rates.window_with(point, info, all_there, each)
        for (info, each), all_there in zip(judged, every, strict=True)
    ]
    trials = [(info, each, window) for (info, each), window in zip(judged, windows, strict=True)]
    windowed = [(each, window) for each, window in zip(every, windows, strict=True) if window is not None]
    table = measured(table)
    found = {} if point.batch else metrics.point_metrics(point, columns)
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
    facts = facts_of(summary, trials, windowed, conditions)
    if point.talks:
        firsts = hits.shares(table, columns, reset=conditions.cache_reset, first_only=True)
        known = {
            "first_hits_reached": firsts["hit_ratio"],
            "first_hits_asked": firsts["hit_ratio_asked"],
        }
        facts = msgspec.structs.replace(facts, **known)
    return summary, facts


def _every(
    table: "pa.Table", infos: Sequence[TrialInfo], judged: Sequence[tuple[TrialInfo, Columns]]
) -> list[Columns]:
    """The same trials, each with what fills the server in it."""
    if sum(len(each) for _, each in judged) == np.count_nonzero(table.column("trial").to_numpy()):
        return [each for _, each in judged]
    every = {info.trial: each for info, each in trials_of(table, infos, every=True)}
    return [every[info.trial] for info, _ in judged]


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
    answered = sum(int(np.count_nonzero(each.ok)) for each in columns)
    found = {name: rate_estimate(usd, answered) for name, usd in rates.billed(columns).items()}
    if found and conditions.token_price is not None and point.prompt_tokens:
        held = metrics.mean([held_shares(each) for each in columns]) or 0.0
        prompt, output = point.prompt_tokens, point.output_tokens
        usd = pricer(conditions.token_price)(prompt, output, round(held * prompt), 0, 0)
        found["cost_per_1k_as_asked_usd"] = Estimate(value=None if usd is None else 1e3 * usd, n=answered)
    return found


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
        "coalesced_share": coalesced_share(trials),
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


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _counts(table: "pa.Table", name: str, order: Sequence[str] = ()) -> dict[str, int]:
    """How often each word stands in a column of the measured trials; the empty one isn't counted."""
    trials, column = table.column("trial").to_numpy(), table.column(name).to_numpy()
    found = Counter(word for word in column[trials > 0].tolist() if word)
    known = {word: found.pop(word) for word in order if word in found}
    return known | dict(found.most_common())
