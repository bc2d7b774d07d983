"""The table of a run: one row a point, as text cells that a terminal or Markdown can lay out."""

from collections.abc import Callable

from benchsuite.report.units import NOTHING, dollars, number
from benchsuite.types import Estimate, Noun, Point, Run, Summary


class Column(Noun, frozen=True, kw_only=True):
    """One column: its heading (lines), its cells top to bottom, and when a narrow screen may drop it.

    `drop`: 0 never, otherwise the highest goes first.
    """

    heading: tuple[str, ...]
    cells: tuple[str, ...]
    drop: int = 0
    left: bool = False

    @property
    def title(self) -> str:
        """The heading in one line."""
        return " ".join(part for part in self.heading if part)


def point_columns(run: Run) -> tuple[Column, ...]:
    """The columns of a run's table; those that say what varies come first."""
    rows = run.summaries
    open_loop = any(row.point.load != "closed" for row in rows)
    lead = "ttft_from_due" if open_loop else "ttft"
    columns = [*_axes(rows), *_latencies(rows, lead)]
    columns += [
        _column(rows, ("tok/s", "per user"), lambda row: number(row.rates.get("tokens_per_s_per_user")), 3),
        _column(rows, ("tok/s", "total"), lambda row: number(row.rates.get("output_tokens_per_s"))),
    ]
    if open_loop:
        columns.append(
            _column(rows, ("req/s", "done"), lambda row: number(row.rates.get("requests_per_s")), 4)
        )
    if any("goodput_per_s" in row.rates for row in rows):
        columns.append(
            _column(rows, ("goodput", "req/s"), lambda row: number(row.rates.get("goodput_per_s")))
        )
    if any("cost_per_1k_usd" in row.rates for row in rows):
        columns.append(
            _column(rows, ("$/1k req", "at load"), lambda row: dollars(row.rates.get("cost_per_1k_usd")))
        )
    columns += [
        _column(rows, ("ok/n",), lambda row: f"{row.outcomes.get('ok', 0):,}/{row.requests:,}"),
        Column(heading=("verdict",), cells=tuple(row.verdict for row in rows), left=True),
    ]
    return tuple(columns)


def quantile(summary: Summary, metric: str, name: str) -> Estimate | None:
    """One quantile of one metric; None: the point has no such metric."""
    found = summary.metrics.get(metric)
    return None if found is None else found.quantiles.get(name)


def _column(
    rows: tuple[Summary, ...], heading: tuple[str, ...], cell: Callable[[Summary], str], drop: int = 0
) -> Column:
    return Column(heading=heading, cells=tuple(cell(row) for row in rows), drop=drop)


def _axes(rows: tuple[Summary, ...]) -> list[Column]:
    """What varies from point to point; the load always."""
    axes: tuple[tuple[tuple[str, ...], Callable[[Point], str]], ...] = (
        (("prompt", "tokens"), lambda point: f"{point.prompt_tokens:,}"),
        (("output", "tokens"), lambda point: f"{point.output_tokens:,}"),
        (("req/s", "asked"), _rate),
        (("in flight",), lambda point: NOTHING if point.concurrency is None else f"{point.concurrency:,}"),
    )
    columns = [
        Column(heading=heading, cells=tuple(cell(row.point) for row in rows)) for heading, cell in axes
    ]
    varying = [column for column in columns if len(set(column.cells)) > 1]
    load = columns[2] if any(row.point.rate is not None for row in rows) else columns[3]
    return varying if load in varying or not rows else [*varying, load]


def _rate(point: Point) -> str:
    if point.rate is None:
        return NOTHING
    return "all at once" if point.load == "offline" else f"{point.rate:g}"


def _latencies(rows: tuple[Summary, ...], lead: str) -> list[Column]:
    """TTFT (from due where there is a schedule, from sent beside it), TTFO if any, TPOT."""
    title = ("TTFT p50", "from due") if lead == "ttft_from_due" else ("TTFT p50",)
    columns = [
        _column(rows, title, lambda row: number(quantile(row, lead, "p50"), unit="ms", interval=True)),
        _column(rows, ("p99",), lambda row: number(quantile(row, lead, "p99"), unit="ms")),
    ]
    if lead == "ttft_from_due":
        columns.append(
            _column(
                rows,
                ("TTFT p50", "from sent"),
                lambda row: number(quantile(row, "ttft", "p50"), unit="ms"),
                2,
            )
        )
    if any("ttfo" in row.metrics for row in rows):
        columns.append(
            _column(rows, ("TTFO p50",), lambda row: number(quantile(row, "ttfo", "p50"), unit="ms"), 5)
        )
    columns.append(
        _column(
            rows,
            ("TPOT p50",),
            lambda row: number(quantile(row, "tpot", "p50"), unit="ms", interval=True),
            1,
        )
    )
    return columns
