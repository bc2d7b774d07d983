"""What a prefix cache held of the prompts, beside what it was asked to hold."""

from collections.abc import Sequence

from benchsuite.report.units import NOTHING
from benchsuite.types import Summary


def hit_words(row: Summary) -> str:
    """`cache hits 48.9 % of prompt tokens, asked 50.0 %`; empty: the point is of no cache.

    Where first turns alone were asked, both: `65.0 % of prompt tokens, 24.8 % of first turns', asked 25.0 %`.
    """
    asked, reached = row.means.get("hit_ratio_asked"), row.means.get("hit_ratio")
    if asked is None and row.point.cache != "warm":
        return ""
    found = "unknown" if reached is None else f"{_percent(reached)} of prompt tokens"
    if asked is None:
        return f"cache hits {found}"
    if "first_hit_ratio" in row.means:
        firsts = row.means["first_hit_ratio"]
        found += f", {'unknown' if firsts is None else _percent(firsts)} of first turns'"
    return f"cache hits {found}, asked {_percent(asked)}"


def hit_cell(row: Summary) -> str:
    """`48.9/50.0 %`: reached and asked; `97.7 %` where no share was asked; `?`: a warm one isn't known.

    Where first turns alone were asked it is of these, as the heading says.
    """
    asked, reached = row.means.get("hit_ratio_asked"), row.means.get("hit_ratio")
    reached = row.means.get("first_hit_ratio", reached)
    if asked is None:
        unknown = "?" if row.point.cache == "warm" else NOTHING
        return unknown if reached is None else _percent(reached)
    return f"{'?' if reached is None else f'{100 * reached:.1f}'}/{_percent(asked)}"


def has_hits(rows: Sequence[Summary]) -> bool:
    """Is a cache to hold any of the prompts at any point?"""
    return _asked(rows) or any(row.point.cache == "warm" for row in rows)


def hit_heading(rows: Sequence[Summary]) -> tuple[str, ...]:
    """What stands over the cells: a share is asked at some point, or at none; of first turns, or of all."""
    firsts = any("first_hit_ratio" in row.means for row in rows)
    return (*(("1st turns",) if firsts else ()), *(("cached", "/asked") if _asked(rows) else ("cached",)))


def _asked(rows: Sequence[Summary]) -> bool:
    return any(row.means.get("hit_ratio_asked") is not None for row in rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
