"""The table of a point whose load changes: one row a stage."""

from collections.abc import Callable, Sequence

from benchsuite.report.points import Column
from benchsuite.report.units import number
from benchsuite.stats.staged import StageNumbers
from benchsuite.types import Point
from benchsuite.workload.places import in_full
from benchsuite.workload.stages import course

Staged = Sequence[tuple[Point, Sequence[StageNumbers]]]
"""Points of a run that have stages, each with the numbers of them."""


def stage_title(point: Point, points: Sequence[Point]) -> str:
    """What stands over the table of a point's stages; which of the `points`, where there are several."""
    which = f" ({in_full(point, points)})"
    return f"By stage{which if len(points) > 1 else ''}, each request in the stage in which it was due:"


def stage_columns(rows: Sequence[StageNumbers]) -> tuple[Column, ...]:
    """The columns of that table."""
    by_rate = rows[0].stage.rate is not None

    def column(*heading: str, cell: Callable[[StageNumbers], str], drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(map(cell, rows)), drop=drop)

    due = "from due" if by_rate else ""
    return (
        column("time", cell=lambda row: f"{row.stage.seconds:g} s"),
        column(*(("req/s", "asked") if by_rate else ("slots",)), cell=lambda row: course(row.stage)),
        column("req/s", "done", cell=lambda row: number(row.requests_per_s)),
        column("in flight", "mean", cell=lambda row: number(row.in_flight), drop=2),
        column("TTFT p50", due, cell=lambda row: number(row.ttft_p50_ms, unit="ms", interval=True)),
        column("p95", cell=lambda row: number(row.ttft_p95_ms, unit="ms")),
        column("TPOT p50", cell=lambda row: number(row.tpot_p50_ms, unit="ms", interval=True), drop=1),
        column("ok/n", cell=lambda row: f"{row.requests - row.errors:,}/{row.requests:,}"),
    )
