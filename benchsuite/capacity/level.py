"""One level of a capacity search: a trial that is watched, and ended early where its fate is clear."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from benchsuite.conclude import info_of, keep_info
from benchsuite.engine.decode import decoded, record
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import Interrupt, segments
from benchsuite.measure import Bench, measured
from benchsuite.stats import edge
from benchsuite.stats.columns import NEEDED, Columns, trials_of
from benchsuite.stats.slo import Met, Need, met
from benchsuite.store.names import part_of, stem_of
from benchsuite.store.records import read_records, table_of, write_records
from benchsuite.store.runs import RunDir
from benchsuite.target import Tell
from benchsuite.types import CapacityLevel, Point, Progress, Record, Stage
from benchsuite.workload.order import Step

MOST_IN_FLIGHT = 4096
"""An open loop that has more in flight than this is beyond any server's capacity."""

_AFTER_PROBES = 100
"""Warm-ups of levels are numbered from here on; a point is never probed so often."""
_LOOK_S = 0.5
_TAPES_A_LOOK = 256
_DRAIN_S = 30.0
"""A level that failed may answer what it has in flight for so long."""
_TOLD_AFTER_S = 10.0


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A load to try: `requests` are judged, after `skipped` that fill the server.

    `rough`: it may be called good early, as it only shows the way.
    """

    point: Point
    trial: int
    search: int
    load: float
    requests: int
    skipped: int
    rough: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a level showed; `found` None: the user stopped it before it was clear.

    `busy`: how many requests were under way on the mean, by the rate and what they took.
    """

    found: CapacityLevel | None
    busy: float = 0.0
    mets: tuple[Met, ...] = ()
    reuse: bool | None = None


def tried(bench: Bench, level: Level, needs: Sequence[Need], reuse: bool | None) -> Outcome:
    """Measure one level, and say what share of its requests met what."""
    watch = _Watch(bench, level, needs)
    watched = msgspec.structs.replace(bench, tell=watch, interrupt=watch.interrupt)
    step = Step(point=level.point.index, trial=level.trial)
    done = measured(watched, level.point, step, reuse)
    stopped = any(worker.stopped for worker in done.workers) or not done.workers
    if stopped and not watch.decided:
        return Outcome(found=None, reuse=done.reuse)
    table: Any = bench.run_dir.records(level.point.index, columns=NEEDED)
    trials = [columns for info, columns in trials_of(table, ()) if info.trial == level.trial]
    mets = tuple(met(level.point, need, trials, level.skipped) for need in needs)
    good = all(one.ok for one in mets) if not watch.decided else watch.decided == "met"
    set_apart(bench.run_dir, level.point.index, level.trial, level.skipped)
    return Outcome(
        found=CapacityLevel(
            point=level.point.index,
            trial=level.trial,
            search=level.search,
            load=level.load,
            requests=max((one.requests for one in mets if "itl" not in one.need.limits), default=0)
            or level.requests,
            shares={one.need.name: one.share for one in mets},
            met=good,
            early=bool(watch.decided),
            goodput_per_s=_goodput(level, needs, trials),
        ),
        busy=_busy(level, trials),
        mets=mets,
        reuse=done.reuse,
    )


def set_apart(run_dir: RunDir, point: int, trial: int, skipped: int) -> None:
    """File a level's first `skipped` requests to be due as what they are: warm-up, the point's trial 0.

    Whatever reads the store then leaves them out, as it does any warm-up.
    """
    files = [path for path, place in run_dir.trial_files().items() if place == (point, trial)]
    tables: list[Any] = [read_records([path]) for path in files]
    if not tables:
        return
    due, end, sent = (
        np.concatenate([table[name].fill_null(0).to_numpy() for table in tables])
        for name in ("due_ns", "end_ns", "sent_ns")
    )
    first = np.zeros(len(due), dtype=np.bool_)
    first[np.lexsort((sent, np.where(due, due, end)))[:skipped]] = True
    ends = np.cumsum([len(table) for table in tables])[:-1]
    masks = np.split(first, ends)
    warm: Any = pa.concat_tables(
        [table.filter(pa.array(mask)) for table, mask in zip(tables, masks, strict=True)]
    )
    phases = pa.array(["warm_up"] * len(warm), pa.string())
    warm = warm.set_column(warm.schema.get_field_index("phase"), warm.schema.field("phase"), phases)
    # First the copy, then the original: a crash between the two loses nothing.
    write_records(run_dir.trial_path(point, 0, part_of(_AFTER_PROBES + trial, 0, 0)), warm)
    for path, table, mask in zip(files, tables, masks, strict=True):
        write_records(path, table.filter(pa.array(~mask)))
    info = info_of(run_dir, point, trial)
    if info is not None and len(warm):
        keep_info(run_dir, msgspec.structs.replace(info, alone_ns=int(end[first].max())))


def _busy(level: Level, trials: Sequence[Columns]) -> float:
    """Little's law, from the median so that a queue that grows doesn't count; the slots of a closed loop."""
    took_ns = np.concatenate([(each.end_ns - each.sent_ns)[each.ok] for each in trials])
    if level.point.rate is None:
        return level.load
    return float(np.median(took_ns)) / 1e9 * level.point.rate if len(took_ns) else math.inf


def _goodput(level: Level, needs: Sequence[Need], trials: Sequence[Columns]) -> float:
    """Requests a second that met all limits of one request, while the judged ones were under way."""
    limits = {metric: ms for need in needs for metric, ms in need.limits.items() if metric != "itl"}
    every = Need(name="", share=1.0, limits=limits)
    found = met(level.point, every, trials, level.skipped)
    if level.point.rate is not None:
        return level.point.rate * found.share
    span_ns = sum(
        int(each.end_ns.max()) - int(sorted(each.due_ns)[min(level.skipped, len(each) - 1)])
        for each in trials
    )
    return found.met / (span_ns / 1e9) if span_ns > 0 else 0.0


class _Watch:
    """Takes a trial's progress, reads its answers as they come, and ends it once its fate is clear."""

    def __init__(self, bench: Bench, level: Level, needs: Sequence[Need]) -> None:
        self.interrupt = Interrupt()
        self.decided: Literal["", "met", "failed"] = ""
        self._tell: Tell = bench.tell
        self._user, self._bench, self._level, self._needs = bench.interrupt, bench, level, needs
        self._readers: dict[str, SpoolReader] = {}
        self._seen, self._missed = 0, [0] * len(needs)
        self._looked_s = self._decided_s = 0.0

    def __call__(self, told: Stage | Progress) -> None:
        """What the trial tells goes on to the user; short levels are told at their end alone."""
        if isinstance(told, Stage):
            self._tell(told)
            return
        if told.elapsed_s >= _TOLD_AFTER_S:
            self._tell(told)
        if told.elapsed_s >= self._looked_s + _LOOK_S:
            self._looked_s = told.elapsed_s
            if not self.decided:
                self._look()
                self._decide(told)
        wanted = 0 if not self.decided else 2 if told.elapsed_s > self._decided_s + _DRAIN_S else 1
        self.interrupt.level = max(self.interrupt.level, self._user.level, wanted)

    def _decide(self, told: Progress) -> None:
        level = self._level
        countable = [
            (need, n) for need, n in zip(self._needs, self._missed, strict=True) if "itl" not in need.limits
        ]
        full = level.point.rate is not None and told.in_flight > MOST_IN_FLIGHT
        if full or any(edge.failed(missed, level.requests, need.share) for need, missed in countable):
            self.decided = "failed"
        elif (
            level.rough
            and len(countable) == len(self._needs)
            and all(edge.clearly_met(missed, self._seen, need.share) for need, missed in countable)
        ):
            self.decided = "met"
        self._decided_s = told.elapsed_s

    def _look(self) -> None:
        """Count what new answers met."""
        found = list(self._new())
        if not found:
            return
        table: Any = table_of(found)
        table = table.append_column("trial", [[1] * len(found)])
        trials = [columns for _, columns in trials_of(table, ())]
        self._seen += len(found)
        for i, need in enumerate(self._needs):
            if "itl" not in need.limits:
                one = met(self._level.point, need, trials)
                self._missed[i] += one.requests - one.met

    def _new(self) -> Iterator[Record]:
        """Records of the answers that came since the last look, without those that fill the server."""
        bench, level = self._bench, self._level
        stem = stem_of(level.point.index, level.trial)
        left = _TAPES_A_LOOK
        for path in segments(bench.run_dir.spool_dir, stem):
            reader = self._readers.setdefault(path.name, SpoolReader(path))
            for tape in reader.read(limit=left):
                left -= 1
                if tape.index >= level.skipped:
                    yield record(tape, decoded(tape, bench.who.driver), "")
