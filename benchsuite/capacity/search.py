"""The story of a capacity search: resolve → fit → probe → search, several times → estimate → save."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from benchsuite.asked import Options
from benchsuite.capacity.level import Level, Outcome, tried
from benchsuite.conclude import conclude, owned
from benchsuite.engine.trial import Interrupt, worker_count
from benchsuite.errors import StoreError, UsageError
from benchsuite.forecast import told_s
from benchsuite.measure import Bench, measured
from benchsuite.money.cost import capacity_costs
from benchsuite.run import manifest_of, target_line
from benchsuite.stats import edge
from benchsuite.stats.slo import Need, needs
from benchsuite.stats.verdict import worst
from benchsuite.store.records import read_records
from benchsuite.store.runs import Store
from benchsuite.target import Tell, check_context, resolved
from benchsuite.types import (
    Capacity,
    CapacityLevel,
    Manifest,
    Noun,
    Point,
    Run,
    Stage,
    Summary,
    Warning,
    Workload,
)
from benchsuite.types.capacity import By
from benchsuite.workload.order import Step
from benchsuite.workload.points import points
from benchsuite.workload.slo import presets

SHARE = 0.99
"""So many of the requests have to meet the limits on each of them."""
WITHIN = 0.05
SEARCHES = 3

_PROBES = (4, 16, 64)
_GROWS = 1.25
"""A server that answers this much more with more in flight isn't full yet."""
_START = 0.25
"""The first level, as a share of what the probe was answered."""
_STREAMS = 1024
_CLIENT = frozenset({"send_lag", "coalesced", "reader_lag", "worker_cpu", "clock_step", "descriptors"})
"""Warnings that are about us: they matter at loads that missed the limits too."""


class Ask(Noun, frozen=True, kw_only=True):
    """What is searched for, and how hard. `start` and `requests` None: by the server, by the share asked."""

    by: By = "rate"
    share: float = SHARE
    within: float = WITHIN
    searches: int = SEARCHES
    start: float | None = None
    requests: int | None = None


class _Stopped(Exception):
    """The user wants no more."""


class _Hopeless(Exception):
    """Requests miss the limits although each has the server for itself: no lower load meets them."""


def checked(options: Options, ask: Ask) -> Options:
    """The same with the load taken out of the workload; a UsageError for what can't be searched."""
    workload = options.workload
    if not needs(workload.slo, ask.share):
        raise UsageError(
            "say what the limits are: --slo chat, or --slo ttft_p95=500ms,tpot_p95=50ms; named ones are: "
            + ", ".join(presets())
        )
    if workload.batch:
        raise UsageError("a batch API decides itself how fast it answers, so it has no capacity to search")
    if workload.trace is not None:
        raise UsageError("a trace says itself when requests come; name a workload that has a load to vary")
    if options.options.get("cache") == "explicit":
        raise UsageError("--option cache=explicit doesn't go with a capacity search; leave it out")
    if ask.by == "rate" and workload.turns != 1:
        raise UsageError("conversations wait for their answers: search with --by concurrency")
    alone = msgspec.structs.replace(
        workload, rate=(1.0,), concurrency=(), stages=(), requests=_requests(ask, workload), seconds=None,
        trials=ask.searches, order="listed",
    )  # fmt: skip
    several = [point.label for point in points(alone)]
    if workload.listed or len(several) > 1:
        raise UsageError(
            "capacity is that of one mix of requests: "
            "give one prompt length, one answer length, one cache mode"
        )
    return msgspec.structs.replace(options, workload=alone)


def capacity(options: Options, ask: Ask, store: Store, *, tell: Tell, interrupt: Interrupt) -> Run:
    """Search the highest load at one target that meets the workload's limits, and store what was tried."""
    options = checked(options, ask)
    store.prepare()
    with resolved(options, tell) as who:
        manifest = manifest_of(options, who, store, tell)
        (point,) = manifest.points
        check_context(point, who.identity)
        manifest = msgspec.structs.replace(
            manifest, capacity=True, points=(), workers=worker_count(options.workers, _STREAMS)
        )
        tell(Stage(name="measure", text=target_line(manifest)))
        run_dir = store.create(manifest)
        with owned(run_dir) as ours:
            if not ours or not run_dir.partial:
                raise StoreError(f"run {run_dir.run_id} was recovered before it had begun; run it again")
            bench = Bench(
                run_dir=run_dir, manifest=manifest, options=options, who=who, tell=tell, interrupt=interrupt
            )
            hunt = _Hunt(bench, ask, point)
            try:
                hunt.go()
                status: Any = "finished"
            except _Stopped:
                status = "interrupted"
            return conclude(run_dir, hunt.manifest, status, lambda run: _with(run, hunt))


def _requests(ask: Ask, workload: Workload) -> int:
    shares = [need.share for need in needs(workload.slo, ask.share)]
    return ask.requests or max(map(edge.requests_needed, shares))


class _Hunt:
    """The levels tried so far, and where the next search begins."""

    def __init__(self, bench: Bench, ask: Ask, point: Point) -> None:
        self.ask, self.bench = ask, bench
        self.manifest: Manifest = bench.manifest
        self.needs: tuple[Need, ...] = needs(bench.manifest.workload.slo, ask.share)
        self.requests = _requests(ask, bench.manifest.workload)
        self.levels: list[CapacityLevel] = []
        self.outcomes: list[Outcome] = []
        self.middles: list[float] = []
        self.brackets: list[edge.Bracket] = []
        self.ladder: Sequence[float] = ()
        self._point, self._search = point, 1
        self._reuse: bool | None = None
        self._points: dict[float, Point] = {}

    def go(self) -> None:
        """All searches; `_Stopped` as soon as the user wants no more."""
        start = self._start()
        self.ladder = (
            edge.rates(start, self.ask.within)
            if self.ask.by == "rate"
            else edge.whole_numbers(self.ask.within)
        )
        for number in range(1, self.ask.searches + 1):
            self._search = number
            # What an earlier search found is a good place to begin, but each level is measured anew.
            again = statistics.median(self.middles) if self.middles else None
            factor = (1 + self.ask.within) ** 2 if again else 2.0
            try:
                bracket = edge.search(self._met, self.ladder, again or start, factor)
            except _Hopeless:
                bracket = edge.Bracket(missed=min(level.load for level in self.levels))
            self.brackets.append(bracket)
            if bracket.middle is None:
                return
            self.middles.append(bracket.middle)

    def _start(self) -> float:
        """A low load to begin with: a part of what the server answers when it is pressed."""
        if self.ask.start is not None and self.ask.by == "rate":
            return self.ask.start
        slots = self.manifest.identity.slots
        if self.ask.by == "concurrency":
            return self.ask.start or max(1.0, (slots or 4) / 4)
        best = 0.0
        for number, streams in enumerate([slots] if slots else _PROBES):
            answered = self._probe(number, streams)
            if answered < _GROWS * best:
                break
            best = max(best, answered)
        if not best:
            raise UsageError("the server answered none of the first requests; `benchsuite run` says why")
        start = float(f"{_START * best:.2g}")
        text = f"about {best:.3g} req/s when pressed, begins at {start:g}; "
        sent = self.requests + edge.filling(msgspec.structs.replace(self._point, rate=start), slots)
        text += _forecast(best, sent, self.ask.searches)
        self.bench.tell(Stage(name="measure", text=text))
        return start

    def _probe(self, number: int, streams: int) -> float:
        """Answered requests a second with so many in flight; kept as warm-up."""
        point = msgspec.structs.replace(self._point, rate=None, concurrency=streams)
        done = measured(self.bench, point, Step(point=point.index, trial=0, again=number), self._reuse)
        if self.bench.interrupt.level or not done.workers:
            raise _Stopped
        self._reuse = done.reuse if done.reuse is not None else self._reuse
        files = [
            path for path, place in self.bench.run_dir.trial_files().items() if place == (point.index, 0)
        ]
        rows = read_records(files, ["outcome", "sent_ns", "end_ns"]).to_pylist()
        ends = [row["end_ns"] for row in rows if row["outcome"] == "ok" and row["sent_ns"] >= done.start_ns]
        return len(ends) / ((max(ends) - done.start_ns) / 1e9) if ends else 0.0

    def _met(self, load: float, rough: bool) -> bool:
        """Try one load."""
        point = self._point_of(load)
        skipped = edge.filling(point, self.manifest.identity.slots)
        workload = msgspec.structs.replace(self.manifest.workload, requests=self.requests + skipped)
        trial = 1 + sum(level.point == point.index for level in self.levels)
        trials = max(self.manifest.workload.trials, trial)
        self.manifest = msgspec.structs.replace(
            self.manifest, workload=msgspec.structs.replace(self.manifest.workload, trials=trials)
        )
        self.bench.run_dir.replan(self.manifest)
        bench = msgspec.structs.replace(
            self.bench.fresh(), manifest=msgspec.structs.replace(self.manifest, workload=workload)
        )
        level = Level(
            point=point, trial=trial, search=self._search, load=load, requests=self.requests,
            skipped=skipped, rough=rough,
        )  # fmt: skip
        found = tried(bench, level, self.needs, self._reuse)
        self._reuse = found.reuse if found.reuse is not None else self._reuse
        if found.found is None or self.bench.interrupt.level:
            # Half a level says nothing of its load, and must not be judged.
            self.bench.run_dir.forget(point.index, trial)
            raise _Stopped
        self.levels.append(found.found)
        self.outcomes.append(found)
        self.bench.tell(Stage(name="measure", text=self._told(found.found)))
        if any(
            edge.hopeless(one.requests - one.met, one.requests, one.need.share, found.busy)
            for one in found.mets
        ):
            raise _Hopeless
        return found.found.met

    def _point_of(self, load: float) -> Point:
        """The point of a load; points stand in the manifest by their load."""
        if load not in self._points:
            index = len(self._points)
            changes: dict[str, Any] = {"rate": load, "concurrency": None}
            if self.ask.by == "concurrency":
                changes = {"rate": None, "concurrency": round(load)}
            self._points[load] = msgspec.structs.replace(self._point, index=index, **changes)
            listed = tuple(point for _, point in sorted(self._points.items()))
            self.manifest = msgspec.structs.replace(self.manifest, points=listed)
        return self._points[load]

    def _told(self, level: CapacityLevel) -> str:
        shares = ", ".join(f"{100 * share:.1f} % {name}" for name, share in level.shares.items())
        early = ", clear early" if level.early else ""
        unit = "req/s" if self.ask.by == "rate" else "in flight"
        word = "met" if level.met else "missed"
        return (
            f"search {level.search} of {self.ask.searches}, {level.load:g} {unit}: {word}, "
            f"{shares} ({level.requests:,} requests{early})"
        )

    def _ends(self) -> tuple[float | None, float | None]:
        """The highest load that every search found good, the lowest that each found too high.

        Before any search has come to its end: of the loads that were tried so far.
        """
        both = [(each.met, each.missed) for each in self.brackets if each.met and each.missed]
        if both:
            return min(met for met, _ in both), max(missed for _, missed in both)
        missed = min((level.load for level in self.levels if not level.met), default=None)
        below = [level.load for level in self.levels if level.met and (missed is None or level.load < missed)]
        return max(below, default=None), missed

    def result(self, summaries: Sequence[Summary]) -> Capacity:
        """What all levels say together."""
        value = None
        if self.middles:
            tries = [
                [
                    edge.Try(
                        load=level.load,
                        requests=out.mets[i].requests,
                        missed=out.mets[i].requests - out.mets[i].met,
                    )
                    for level, out in zip(self.levels, self.outcomes, strict=True)
                ]
                for i in range(len(self.needs))
            ]
            shares = [need.share for need in self.needs]
            value = edge.edge(tries, shares, statistics.median(self.middles), self.ladder)
        if value is not None and self.ask.by == "concurrency":
            # Half a request is never in flight.
            value = float(max(1, math.floor(value + 1e-9)))
        met, missed = self._ends()
        found = Capacity(
            by=self.ask.by,
            value=value,
            met=met,
            missed=missed,
            searches=tuple(
                each.met if self.ask.by == "concurrency" else each.middle
                for each in self.brackets
                if each.met is not None and each.middle is not None
            ),
            within=self.ask.within,
            requests=self.requests,
            needs={need.name: need.share for need in self.needs},
            levels=tuple(self.levels),
        )
        goodput = _goodput(found)
        costs = capacity_costs(goodput, _tokens(found, summaries), self.manifest.price)
        return msgspec.structs.replace(found, goodput_per_s=goodput, costs=costs)


def _goodput(found: Capacity) -> float | None:
    """Good requests a second at capacity, from the levels nearest to it."""
    if found.value is None:
        return None
    near = sorted(found.levels, key=lambda level: abs(level.load - found.value) if found.value else 0.0)[:3]
    per_load = [level.goodput_per_s / level.load for level in near]
    return found.value * sum(per_load) / len(per_load)


def _tokens(found: Capacity, summaries: Sequence[Summary]) -> tuple[float | None, float | None]:
    """Mean prompt and output tokens of the requests of the levels that met the limits."""
    good = {level.point for level in found.levels if level.met}
    rows = [row for row in summaries if row.point.index in good]

    def mean(name: str) -> float | None:
        known = [value for row in rows if (value := row.means.get(name)) is not None]
        return sum(known) / len(known) if known else None

    return mean("prompt_tokens"), mean("output_tokens")


def _with(run: Run, hunt: _Hunt) -> Run:
    """The run with what was found; loads that missed the limits are judged by what concerns us alone.

    The run is as good as the loads that its result rests on, or as all of them where there is none.
    """
    found = hunt.result(run.summaries)
    good = {level.point for level in found.levels if level.met}
    rows = []
    for row in run.summaries:
        judged = row.warnings if row.point.index in good else _ours(row)
        verdict = worst(warning.level for warning in judged)
        rows.append(msgspec.structs.replace(row, warnings=judged, verdict=verdict))
    whole = worst(row.verdict for row in _rested_on(found, rows, hunt.ladder)) if rows else "invalid"
    return msgspec.structs.replace(run, summaries=tuple(rows), verdict=whole, capacity=found)


def _rested_on(found: Capacity, rows: Sequence[Summary], ladder: Sequence[float]) -> Sequence[Summary]:
    """The loads near the edge."""
    if found.value is None:
        return rows
    low, high = edge.reach(found.value, ladder)
    near = [row for row in rows if low <= (row.point.rate or row.point.concurrency or 0.0) <= high]
    return near or rows


def _ours(row: Summary) -> tuple[Warning, ...]:
    return tuple(warning for warning in row.warnings if warning.code in _CLIENT)


def _forecast(answered_per_s: float, requests: int, searches: int) -> str:
    """How long it will take, roughly; `requests`: what a level sends, its warm-up too."""
    rough = sum(requests / 3 / (answered_per_s * _START * 2**step) for step in range(2))
    seconds = rough + (6 + 4 * (searches - 1)) * requests / answered_per_s
    return f"about {edge.levels(searches)} levels of {requests:,} requests, {told_s(seconds)} in all"
