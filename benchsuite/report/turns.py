"""The table of a point's conversations: one row a turn."""

from collections.abc import Callable, Sequence

from benchsuite.report.points import Column
from benchsuite.report.units import NOTHING, number
from benchsuite.stats.talks import TurnNumbers
from benchsuite.types import Point
from benchsuite.workload.places import in_full

Talked = Sequence[tuple[Point, Sequence[TurnNumbers]]]
"""Points of a run that are conversations, each with the numbers of their turns."""


def turn_title(point: Point, points: Sequence[Point]) -> str:
    """What stands over the table of a point's turns; which of the `points`, where there are several."""
    which = f" ({in_full(point, points)})"
    return f"By turn of the conversation{which if len(points) > 1 else ''}:"


def turn_columns(rows: Sequence[TurnNumbers]) -> tuple[Column, ...]:
    """The columns of that table."""

    def column(*heading: str, cell: Callable[[TurnNumbers], str], drop: int = 0) -> Column:
        return Column(heading=heading, cells=tuple(map(cell, rows)), drop=drop)

    return (
        column("turn", cell=_name),
        column("prompt", "tokens", cell=_prompt),
        column("cached", cell=_cached),
        column("TTFT p50", cell=lambda row: number(row.ttft_p50_ms, unit="ms", interval=True)),
        column("p95", cell=lambda row: number(row.ttft_p95_ms, unit="ms")),
        column("TPOT p50", cell=lambda row: number(row.tpot_p50_ms, unit="ms", interval=True), drop=1),
        column("ok/n", cell=lambda row: f"{row.ok:,}/{row.requests:,}"),
    )


def _name(row: TurnNumbers) -> str:
    return f"{row.turn + 1}" if row.turn == row.last else f"{row.turn + 1} to {row.last + 1}"


def _prompt(row: TurnNumbers) -> str:
    return NOTHING if row.prompt_tokens is None else f"{row.prompt_tokens:,.0f}"


def _cached(row: TurnNumbers) -> str:
    return "unknown" if row.cached_share is None else f"{100 * row.cached_share:.1f} %"
