"""What a figure draws, as values: lines of points along one axis, and the samples behind them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from benchsuite.errors import UsageError
from benchsuite.report.figures.names import legend_names, shared_lines
from benchsuite.report.screen import short_id
from benchsuite.stats.columns import Columns, Floats, trials_of
from benchsuite.stats.metrics import ttft_from_due_ms, ttft_ms, values
from benchsuite.types import Estimate, Noun, Point, Run, Summary
from benchsuite.workload.places import cache_apart, spreads_apart

if TYPE_CHECKING:
    import pyarrow as pa

Dimension = Literal["rate", "concurrency", "prompt_tokens", "output_tokens"]

_LOG_FROM = 4.0
"""An axis whose ends are so many times apart is logarithmic."""


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """All answered requests of a point, its trials pooled: TTFT (open loop: from due) and gaps, in ms."""

    ttft_ms: Floats
    itl_ms: Floats


class Dot(msgspec.Struct, frozen=True, kw_only=True):
    """One point: where it stands on the axis, what the axis says there, and its numbers."""

    x: float
    tick: str
    row: Summary
    samples: Samples | None = None

    def metric(self, name: str, quantile: str) -> Estimate | None:
        """One quantile of one metric, where there are samples enough; in ms."""
        found = self.row.metrics.get(name)
        return _known(None if found is None else found.quantiles.get(quantile))

    def rate(self, name: str) -> Estimate | None:
        """Throughput or cost, where it is known."""
        return _known(self.row.rates.get(name))


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Points that differ in nothing but the axis, from left to right. `name`: empty if it is the only one."""

    name: str
    run: Run
    dots: tuple[Dot, ...]


class Axis(Noun, frozen=True, kw_only=True):
    """What is varied. `what` is its name in a title, `ticks` are (position, text)."""

    dimension: Dimension
    what: str
    label: str
    ticks: tuple[tuple[float, str], ...]
    log: bool

    @property
    def single(self) -> bool:
        """Nothing is varied: all points stand at one place."""
        return len(self.ticks) == 1


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, ready to be drawn. `shared` are lines for under the title, `ttft` the metric that leads."""

    runs: tuple[Run, ...]
    lines: tuple[Line, ...]
    axis: Axis
    shared: tuple[str, ...]
    ttft: Literal["ttft", "ttft_from_due"]

    @property
    def dots(self) -> tuple[Dot, ...]:
        """All points of all lines."""
        return tuple(dot for line in self.lines for dot in line.dots)

    @property
    def batches(self) -> bool:
        """All were batches: requests whose latencies nobody saw."""
        return self.lines[0].dots[0].row.point.batch

    @property
    def invalid(self) -> tuple[str, ...]:
        """Names of the runs whose numbers can't be trusted."""
        return tuple(short_id(run.manifest.run_id) for run in self.runs if run.verdict == "invalid")


def samples_of(run: Run, row: Summary, table: "pa.Table") -> Samples:
    """What a distribution is drawn from; `table`: the point's records, with the columns `NEEDED`."""
    infos = [info for info in run.manifest.trials if info.point == row.point.index]
    trials = [columns for _, columns in trials_of(table, infos) if len(columns)]
    function = ttft_ms if row.point.load == "closed" else ttft_from_due_ms
    return Samples(
        ttft_ms=_pooled(values(function(columns), columns.ok) for columns in trials),
        itl_ms=_pooled(_gaps_ms(columns) for columns in trials),
    )


def sheet(runs: Sequence[Run], samples: Sequence[Mapping[int, Samples]] = ()) -> Sheet:
    """Runs as lines along what varies; `samples`: for each run, point index → its samples.

    Raises `UsageError` for runs that have no common axis or no numbers.
    """
    empty = [run for run in runs if not run.summaries]
    if empty:
        raise UsageError(f"run {short_id(empty[0].manifest.run_id)} has no points: there is nothing to draw")
    points = [row.point for run in runs for row in run.summaries]
    _same_load(runs)
    axis = _axis(_dimension(runs), points)
    varying = [each for each in _order(points) if each != axis.dimension and len(_values(points, each)) > 1]
    names = legend_names([run.manifest for run in runs]) if len(runs) > 1 else ("",)
    lines: list[Line] = []
    for i, (run, name) in enumerate(zip(runs, names, strict=True)):
        lines += _lines(run, name, axis, varying, partial(_apart, points), samples[i] if samples else {})
    return Sheet(
        runs=tuple(runs),
        lines=tuple(lines),
        axis=axis,
        shared=shared_lines([run.manifest for run in runs]),
        ttft="ttft" if points[0].load == "closed" else "ttft_from_due",
    )


def _lines(
    run: Run,
    name: str,
    axis: Axis,
    varying: Sequence[Dimension],
    apart: Callable[[Point], str],
    samples: Mapping[int, Samples],
) -> list[Line]:
    """A run's lines: one for each combination of what varies beside the axis, `apart` what no number says."""
    kinds = list(dict.fromkeys(apart(row.point) for row in run.summaries))

    def others(row: Summary) -> tuple[float, ...]:
        numbers = tuple(_value(row.point, each) for each in varying)
        return (*numbers, kinds.index(apart(row.point)))

    def along(row: Summary) -> tuple[tuple[float, ...], float]:
        return others(row), _value(row.point, axis.dimension)

    found = []
    for _, rows in groupby(sorted(run.summaries, key=along), key=others):
        mine = list(rows)
        parts = [name, *(_words(mine[0].point, each) for each in varying), apart(mine[0].point)]
        dots = tuple(_dot(row, axis, samples.get(row.point.index)) for row in mine)
        found.append(Line(name=" · ".join(part for part in parts if part), run=run, dots=dots))
    return found


def _apart(points: Sequence[Point], point: Point) -> str:
    """What tells points apart besides the dimensions' numbers: `not streamed · cold cache`; often empty."""
    streams = {each.stream for each in points}
    shown = ["streamed" if point.stream else "not streamed"] if len(streams) > 1 else []
    return " · ".join([*spreads_apart(point, points), *shown, *cache_apart(point, points)])


def _dot(row: Summary, axis: Axis, samples: Samples | None) -> Dot:
    text = _text(_value(row.point, axis.dimension), axis.dimension)
    x = next(position for position, tick in axis.ticks if tick == text)
    return Dot(x=x, tick=text, row=row, samples=samples)


def _same_load(runs: Sequence[Run]) -> None:
    """A rate and a number in flight are no common axis, and their TTFT starts at other instants."""
    batches = {run.manifest.run_id: run.summaries[0].point.batch for run in runs}
    if len(set(batches.values())) > 1:
        one = next(short_id(run_id) for run_id, batch in batches.items() if batch)
        other = next(short_id(run_id) for run_id, batch in batches.items() if not batch)
        raise UsageError(f"run {one} is of batches, run {other} isn't: plot them one after another")
    closed = {run.manifest.run_id: run.summaries[0].point.load == "closed" for run in runs}
    if len(set(closed.values())) > 1:
        one = next(short_id(run_id) for run_id, kind in closed.items() if kind)
        other = next(short_id(run_id) for run_id, kind in closed.items() if not kind)
        raise UsageError(
            f"run {one} sets the requests in flight, run {other} their rate: plot them one after another"
        )


def _order(points: Iterable[Point]) -> tuple[Dimension, ...]:
    """What may vary, the load first."""
    if any(point.rate is not None for point in points):
        return "rate", "concurrency", "prompt_tokens", "output_tokens"
    return "concurrency", "prompt_tokens", "output_tokens"


def _dimension(runs: Sequence[Run]) -> Dimension:
    """What a run sweeps; where none sweeps anything, what differs from run to run; else the load."""
    per_run = [[row.point for row in run.summaries] for run in runs]
    together = [point for points in per_run for point in points]
    order = _order(together)
    for groups in (per_run, [together]):
        for each in order:
            if any(len(_values(points, each)) > 1 for points in groups):
                return each
    return order[0]


def _axis(dimension: Dimension, points: Sequence[Point]) -> Axis:
    found = sorted(_values(points, dimension))
    finite = [value for value in found if math.isfinite(value)]
    log = len(finite) > 1 and finite[0] > 0 and finite[-1] >= _LOG_FROM * finite[0]
    # What is sent all at once has no place on the axis, so it gets one beyond its end.
    last = finite[-1] if finite else 0.0
    beyond = last * 2 if log else last + max(last / max(1, len(finite)), 1.0)
    capped = any(point.rate is not None for point in points)
    what, label = {
        "rate": ("load", "requests/s asked for"),
        "concurrency": ("load", f"requests in flight{', at most' if capped else ''}"),
        "prompt_tokens": ("prompt length", "prompt tokens"),
        "output_tokens": ("answer length", "output tokens asked for"),
    }[dimension]
    ticks = tuple((value if math.isfinite(value) else beyond, _text(value, dimension)) for value in found)
    return Axis(dimension=dimension, what=what, label=label, ticks=ticks, log=log)


def _value(point: Point, dimension: Dimension) -> float:
    """No cap is the highest of all."""
    value: float | None = getattr(point, dimension)
    return math.inf if value is None else float(value)


def _values(points: Iterable[Point], dimension: Dimension) -> set[float]:
    return {_value(point, dimension) for point in points}


def _text(value: float, dimension: Dimension) -> str:
    if math.isinf(value):
        return "all at once" if dimension == "rate" else "no cap"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _words(point: Point, dimension: Dimension) -> str:
    """A value that isn't on the axis, for the legend."""
    value = _value(point, dimension)
    text = _text(value, dimension)
    if math.isinf(value):
        return text
    if dimension == "concurrency":
        return f"{'at most ' if point.rate is not None else ''}{text} in flight"
    return f"{text} { {'rate': 'req/s', 'prompt_tokens': 'in', 'output_tokens': 'out'}[dimension] }"


def _known(estimate: Estimate | None) -> Estimate | None:
    return None if estimate is None or estimate.value is None else estimate


def _pooled(parts: Iterable[Floats]) -> Floats:
    """Sorted."""
    return np.sort(np.concatenate([np.empty(0), *parts]))


def _gaps_ms(columns: Columns) -> Floats:
    gaps: Floats = columns.gaps_of(columns.ok) / 1e3
    return gaps
