"""What every rule is made with: levels, and warnings as values."""

from typing import Literal

from benchsuite.types import Warning

Level = Literal["told", "suspect", "invalid"]


def level(
    value: float | None, suspect: float, invalid: float = float("inf")
) -> Literal["suspect", "invalid"] | None:
    """How bad a value is that should be small."""
    if value is None or value <= suspect:
        return None
    return "invalid" if value > invalid else "suspect"


def warning(code: str, level: Level, message: str, advice: str, **facts: float) -> Warning:
    """A warning; `facts` are the numbers that it rests on."""
    return Warning(code=code, level=level, message=message, advice=advice, facts=facts)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.3g} %"
