"""The table of a run: one row a point, as text cells that a terminal or Markdown can lay out."""

from collections.abc import Callable, Sequence
from typing import Final

from benchsuite.report.capacity import met_cell
from benchsuite.report.checks import PASS_RATE, PASSED_COST, pass_cell, passed_cost_cell
from benchsuite.report.hits import has_hits, hit_cell, hit_heading
from benchsuite.report.money import cost_cell
from benchsuite.report.units import NOTHING, duration, number, rounded
from benchsuite.types import Estimate, Noun, Point, Run, Summary
from benchsuite.workload.places import cache_words, output_words, prompt_words
from benchsuite.workload.stages import lowest, peak


class Column(Noun, frozen=True, kw_only=True):
    """One column: its heading (lines), its cells top to bottom, and when a narrow screen may drop it.

    `drop`: 0 never, otherwise the highest goes first. `whole`: cells are never broken
    into lines.
    """

    heading: tuple[str, ...]
    cells: tuple[str, ...]
    drop: int = 0
    left: bool = False
    whole: bool = False

    @property
    def title(self) -> str:
        """The heading in one line."""
        return " ".join(part for part in self.heading if part)


_E2E: Final = ("e2e", "e2e_from_due")
"""Which E2E leads: open loops are judged from due."""


def point_columns(run: Run) -> tuple[Column, ...]:
    """The columns of a run's table; those that say what varies come first."""
    rows = run.summaries
    talks = any(row.point.talks for row in rows)
    if rows and all(row.point.batch for row in rows):
        return _batch_columns(run)
    scheduled = any(row.point.load != "closed" for row in rows)
    # What a cache held is what to look at where caches are compared.
    pace, held = (2, 1) if len({cache_words(row.point) for row in rows}) > 1 else (1, 2)

    def column(*heading: str, cell: Callable[[Summary], str], drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(cell(row) for row in rows), drop=drop)

    columns = _axes(rows)
    if scheduled:
        columns += [
            column("TTFT p50", "from due", cell=_latency("ttft_from_due", "p50", interval=True)),
            column("p99", cell=_latency("ttft_from_due", "p99"), drop=6),
            column("TTFT p50", "from sent", cell=_latency("ttft", "p50"), drop=7),
        ]
    else:
        columns += [
            column("TTFT p50", cell=_latency("ttft", "p50", interval=True)),
            column("p99", cell=_latency("ttft", "p99")),
        ]
    if any("ttfo" in row.metrics for row in rows):
        columns.append(column("TTFO p50", cell=_ttfo, drop=5))
    if not all(row.point.stream for row in rows):
        columns.append(column("E2E p50", cell=_latency(_E2E[scheduled], "p50", interval=True)))
    columns += [
        column("TPOT p50", cell=_latency("tpot", "p50", interval=True), drop=pace),
        column("tok/s", "per user", cell=_rate("tokens_per_s_per_user"), drop=3),
        column("tok/s", "total", cell=_rate("output_tokens_per_s")),
    ]
    if talks:
        columns.append(column("conv/s", "done", cell=_rate("conversations_per_s"), drop=4))
    if has_hits(rows):
        columns.append(column(*hit_heading(rows), cell=hit_cell, drop=held))
    if scheduled:
        columns.append(column("req/s", "done", cell=_rate("requests_per_s"), drop=4))
    if any("goodput_per_s" in row.rates for row in rows):
        columns.append(column("goodput", "req/s", cell=_rate("goodput_per_s")))
    manifest = run.manifest
    if manifest.gpu or manifest.price is not None or manifest.token_price is not None:
        unit = "billed" if manifest.token_price is not None else "at load"
        columns.append(column("$/1k req", unit, cell=lambda row: cost_cell(run.manifest, row)))
    columns += _check_columns(rows)
    columns.append(column("ok/n", cell=lambda row: f"{row.outcomes.get('ok', 0):,}/{row.requests:,}"))
    if run.capacity is not None:
        columns.append(column("SLO met", "tries", cell=lambda row: met_cell(run, row)))
    return *columns, Column(heading=("verdict",), cells=tuple(row.verdict for row in rows), left=True)


def _check_columns(rows: Sequence[Summary]) -> list[Column]:
    """What passed, and what that cost, where answers were checked."""
    cells = (("passed", "", PASS_RATE, pass_cell), ("$/1k", "passed", PASSED_COST, passed_cost_cell))
    return [
        Column(heading=(first, second) if second else (first,), cells=tuple(map(cell, rows)))
        for first, second, name, cell in cells
        if any(name in row.rates for row in rows)
    ]


def _batch_columns(run: Run) -> tuple[Column, ...]:
    """The same for a batch API, of which there is no latency of a request."""
    rows = run.summaries

    def column(*heading: str, cell: Callable[[Summary], str], drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(cell(row) for row in rows), drop=drop)

    varying = [each for each in _axes(rows) if len(set(each.cells)) > 1]
    columns = [
        *varying,
        column("turnaround", cell=_turnaround),
        column("req/h", cell=_rate("requests_per_hour")),
        column("tok/s", "total", cell=_rate("output_tokens_per_s"), drop=1),
        column("tokens in", "a request", cell=_mean("prompt_tokens"), drop=3),
        column("out", cell=_mean("output_tokens"), drop=2),
    ]
    if run.manifest.token_price is not None:
        columns.append(column("$/1k req", "billed", cell=lambda row: cost_cell(run.manifest, row)))
    columns += _check_columns(rows)
    columns.append(column("ok/n", cell=lambda row: f"{row.outcomes.get('ok', 0):,}/{row.requests:,}"))
    return *columns, Column(heading=("verdict",), cells=tuple(row.verdict for row in rows), left=True)


def _turnaround(row: Summary) -> str:
    found = row.rates.get("turnaround_s")
    return NOTHING if found is None or found.value is None else duration(1000 * found.value)


def _mean(name: str) -> Callable[[Summary], str]:
    """A cell with one mean."""

    def cell(row: Summary) -> str:
        value = row.means.get(name)
        return NOTHING if value is None else rounded(value)

    return cell


def quantile(summary: Summary, metric: str, name: str) -> Estimate | None:
    """One quantile of one metric; None: the point has no such metric."""
    found = summary.metrics.get(metric)
    return None if found is None else found.quantiles.get(name)


def _latency(metric: str, name: str, *, interval: bool = False) -> Callable[[Summary], str]:
    """A cell with one quantile in ms."""
    return lambda row: number(quantile(row, metric, name), unit="ms", interval=interval)


def _ttfo(row: Summary) -> str:
    """The cell of the first visible token; where nobody saw one, what that takes."""
    found = row.metrics.get("ttfo")
    if found is not None and not found.n and row.outcomes.get("ok", 0) and row.point.output_tokens:
        return f"takes >{row.point.output_tokens:,} out"
    return _latency("ttfo", "p50")(row)


def _rate(name: str) -> Callable[[Summary], str]:
    """A cell with one rate."""
    return lambda row: number(row.rates.get(name))


def _axes(rows: Sequence[Summary]) -> list[Column]:
    """What varies from point to point; the load always."""
    points = [row.point for row in rows]
    talks = any(point.talks for point in points)
    one_mode = len({point.cache for point in points}) < 2
    axes: tuple[tuple[tuple[str, ...], Callable[[Point], str]], ...] = (
        (("prompt", "tokens"), lambda point: prompt_words(point, points)),
        (("output", "tokens"), lambda point: output_words(point, points)),
        (("shared", "asked"), _shared) if one_mode else (("cache",), cache_words),
        (("answers",), lambda point: "streamed" if point.stream else "whole"),
        (("conv/s" if talks else "req/s", "asked"), _asked_rate),
        (("conv", "at once") if talks else ("in flight",), _slots),
    )
    columns = [
        Column(heading=heading, cells=tuple(cell(row.point) for row in rows)) for heading, cell in axes
    ]
    varying = [column for column in columns if len(set(column.cells)) > 1]
    load = columns[-2] if any(row.point.rate is not None for row in rows) else columns[-1]
    return varying if load in varying or not rows else [*varying, load]


def _shared(point: Point) -> str:
    return NOTHING if point.hit_ratio is None else f"{100 * point.hit_ratio:g} %"


def _slots(point: Point) -> str:
    if point.concurrency is None:
        return NOTHING
    return f"{lowest(point):g} to {point.concurrency:,}" if point.stages else f"{point.concurrency:,}"


def _asked_rate(point: Point) -> str:
    if point.rate is None:
        return NOTHING
    if point.stages:
        return f"{lowest(point):g} to {peak(point):g}"
    return "all at once" if point.load == "offline" else f"{point.rate:g}"
