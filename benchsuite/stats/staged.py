"""A trial whose load changes on purpose: its window, what was there of its slots, and its numbers by stage.

All of it is computed from the records, by when a request was due; nothing of it is stored.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchsuite.stats import metrics
from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats, Ints, trials_of
from benchsuite.stats.quantiles import rate_estimate, trial_estimate
from benchsuite.types import Estimate, LoadStage, Point, Run, TrialInfo
from benchsuite.workload.stages import length_s, slot_times, spans_ns

if TYPE_CHECKING:
    import pyarrow as pa


class StageNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a point, over its trials: latencies in ms, of the requests that were due in it.

    `requests` were due in it, `errors` of them failed; `requests_per_s` were answered within its time,
    whenever they were due. `in_flight`: the mean. Open loops count TTFT from due. What an interrupted trial
    didn't come to has no numbers.
    """

    stage: LoadStage
    requests: int
    errors: int
    requests_per_s: Estimate
    in_flight: Estimate
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    tpot_p50_ms: Estimate


def all_by_stage(
    run: Run, records: Callable[[int], "pa.Table"]
) -> tuple[tuple[Point, tuple[StageNumbers, ...]], ...]:
    """Each point that has stages, with their numbers; `records` gives a point's, by its index."""
    points = [row.point for row in run.summaries if row.point.stages]
    return tuple((point, by_stage(point, records(point.index), run.manifest.trials)) for point in points)


def by_stage(point: Point, table: "pa.Table", infos: Sequence[TrialInfo]) -> tuple[StageNumbers, ...]:
    """A point's stages in turn; empty for a point without. `table`: its records, with a `trial` column."""
    mine = [info for info in infos if info.point == point.index]
    trials = [
        (*span_of(point, info, columns), columns) for info, columns in trials_of(table, mine) if len(columns)
    ]
    return tuple(
        _stage(point, stage, span, trials)
        for stage, span in zip(point.stages, spans_ns(point.stages), strict=True)
    )


def _stage(
    point: Point, stage: LoadStage, span: tuple[int, int], trials: Sequence[tuple[int, int, Columns]]
) -> StageNumbers:
    ttft = metrics.ttft_ms if point.load == "closed" else metrics.ttft_from_due_ms
    due: list[Bools] = []
    answered: list[int] = []
    per_s: list[float] = []
    in_flight: list[float] = []
    for start_ns, until_ns, columns in trials:
        begin, end = start_ns + span[0], start_ns + span[1]
        last = end == start_ns + spans_ns(point.stages)[-1][1]
        # A slot that got free right at the end of all sending belongs to no stage after it.
        due.append((columns.due_ns >= begin) & ((columns.due_ns < end) | last))
        end = min(end, until_ns)
        if end > begin:
            answered.append(_count(columns.ok & (columns.end_ns > begin) & (columns.end_ns <= end)))
            per_s.append(answered[-1] / ((end - begin) / 1e9))
            in_flight.append(_area(columns.sent_ns, columns, begin, end) / (end - begin))
    every = [columns for *_, columns in trials]

    def latency(of: Callable[[Columns], Floats], q: float) -> Estimate:
        parts = [metrics.values(of(each), each.ok & there) for each, there in zip(every, due, strict=True)]
        return trial_estimate(parts, q)

    failed = [there & ~each.ok for each, there in zip(every, due, strict=True)]
    return StageNumbers(
        stage=stage,
        requests=sum(map(_count, due)),
        errors=sum(map(_count, failed)),
        requests_per_s=rate_estimate(per_s, sum(answered)),
        in_flight=rate_estimate(in_flight, sum(map(_count, due))),
        ttft_p50_ms=latency(ttft, 0.5),
        ttft_p95_ms=latency(ttft, 0.95),
        tpot_p50_ms=latency(metrics.tpot_ms, 0.5),
    )


def span_of(point: Point, info: TrialInfo, columns: Columns) -> tuple[int, int]:
    """A staged trial's schedule, or as much of it as one that was cut short came to, in ns of the clock."""
    end = info.start_ns + round(length_s(point.stages) * 1e9)
    # A recovered trial knows nothing of its workers.
    whole = bool(info.workers) and not any(worker.stopped for worker in info.workers)
    return info.start_ns, end if whole else min(end, int(columns.end_ns.max()))


def slots_taken_share(
    point: Point, columns: Columns, span_ns: tuple[int, int], since_ns: Ints
) -> float | None:
    """The share of a changing number of slots that was taken, 0 to 1; None: there were none.

    At each instant at most all slots count: a slot that goes away finishes its request, which is no excess.
    `span_ns`: the trial's schedule on the clock. `since_ns`: when each request took its slot.
    """
    there, (start_ns, until_ns) = columns.sent_ns != ABSENT, span_ns
    offsets, counts = zip(*slot_times(point.stages), strict=True)
    changes = start_ns + np.asarray(offsets, dtype=np.int64)
    begin, end = np.sort(since_ns[there]), np.sort(columns.end_ns[there])
    instants = np.unique(np.concatenate((changes, begin, end)))
    instants = np.append(instants[(instants >= start_ns) & (instants < until_ns)], until_ns)
    at, lengths = instants[:-1], np.diff(instants)
    slots = np.asarray(counts)[np.searchsorted(changes, at, "right") - 1]
    taken = np.searchsorted(begin, at, "right") - np.searchsorted(end, at, "right")
    asked = float(slots @ lengths)
    return float(np.minimum(taken, slots) @ lengths) / asked if asked else None


def _area(since_ns: Ints, columns: Columns, begin: int, end: int) -> float:
    """How long requests were in flight within a span, summed, in ns."""
    sent = columns.sent_ns != ABSENT
    spans: Floats = np.minimum(columns.end_ns[sent], end) - np.maximum(since_ns[sent], begin)
    return float(np.maximum(spans, 0).sum())


def _count(chosen: Bools) -> int:
    return int(np.count_nonzero(chosen))
