"""What a prefix cache held of the prompts, beside what it was asked to hold."""

from collections.abc import Sequence

from benchsuite.report.units import NOTHING
from benchsuite.types import Summary


def hit_words(row: Summary) -> str:
    """`cache hits 48.9 % of prompt tokens, 50.0 % were asked`; empty: nothing was planned."""
    asked, reached = row.means.get("hit_ratio_asked"), row.means.get("hit_ratio")
    if asked is None:
        return ""
    found = "unknown" if reached is None else f"{_percent(reached)} of prompt tokens"
    return f"cache hits {found}, asked {_percent(asked)}"


def hit_cell(row: Summary) -> str:
    """`48.9/50.0 %`: reached and asked."""
    asked, reached = row.means.get("hit_ratio_asked"), row.means.get("hit_ratio")
    if asked is None:
        return NOTHING
    return f"{'?' if reached is None else f'{100 * reached:.1f}'}/{_percent(asked)}"


def has_hits(rows: Sequence[Summary]) -> bool:
    """Was it planned at any point how much of the prompts a cache would hold?"""
    return any(row.means.get("hit_ratio_asked") is not None for row in rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
