"""One level of a capacity search: a trial that is watched, and ended early where its fate is clear."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from benchsuite.engine.decode import decoded, record
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import Interrupt, segments
from benchsuite.measure import Bench, measured
from benchsuite.stats import edge
from benchsuite.stats.columns import NEEDED, Columns, trials_of
from benchsuite.stats.rates import requests_in, window_with
from benchsuite.stats.slo import Met, Need, met
from benchsuite.store.names import stem_of
from benchsuite.store.records import table_of
from benchsuite.target import Tell
from benchsuite.types import CapacityLevel, Point, Progress, Record, Stage, TrialInfo
from benchsuite.workload.order import Step

MOST_IN_FLIGHT = 4096
"""An open loop that has more in flight than this is beyond any server's capacity."""

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
    table: Any = bench.run_dir.records(level.point.index, True, NEEDED, level.trial)
    ((info, every),) = trials_of(table, (), every=True)
    judged = [columns for _, columns in trials_of(table, ())]
    mets = tuple(met(level.point, need, judged) for need in needs)
    good = all(one.ok for one in mets) if not watch.decided else watch.decided == "met"
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
            goodput_per_s=sum(_goodput(level, needs, each, info, every) for each in judged),
        ),
        busy=_busy(level, every),
        mets=mets,
        reuse=done.reuse,
    )


def _busy(level: Level, every: Columns) -> float:
    """Little's law, from the median so that a queue that grows doesn't count; the slots of a closed loop."""
    took_ns = (every.end_ns - every.sent_ns)[every.ok]
    if level.point.rate is None:
        return level.load
    return float(np.median(took_ns)) / 1e9 * level.point.rate if len(took_ns) else math.inf


def _goodput(level: Level, needs: Sequence[Need], judged: Columns, info: TrialInfo, every: Columns) -> float:
    """Requests a second that met all limits of one request.

    In a closed loop the server sets the pace, of all that it answers while judged ones are sent.
    """
    limits = {metric: ms for need in needs for metric, ms in need.limits.items() if metric != "itl"}
    share = met(level.point, Need(name="", share=1.0, limits=limits), [judged]).share
    if level.point.rate is not None:
        return level.point.rate * share
    window = window_with(level.point, info, every, judged)
    return share * requests_in(every, window) / window.seconds if window is not None else 0.0


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
