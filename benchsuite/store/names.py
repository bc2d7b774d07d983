"""How the files of a trial are called, while it is measured and afterwards.

A stem is `<point>-<trial>`, or `<point>-<trial>r<again>` where that trial, or that warm-up, was sent before:
a point is warmed up whenever it has its turn, and a trial that was cut off is done once more.
"""

import re
from typing import Final

_STEM: Final = re.compile(r"(?P<point>\d+)-(?P<trial>\d+)(?:r(?P<again>\d+))?")
_SEGMENTS_A_WORKER: Final = 10_000
_SEGMENTS_A_TIME: Final = 1_000_000


def stem_of(point: int, trial: int, again: int = 0) -> str:
    """What the names of a trial's spools and the ids of its requests begin with."""
    return f"{point}-{trial}" + (f"r{again}" if again else "")


def place_of(stem: str) -> tuple[int, int, int]:
    """(point, trial, again) of a stem; a ValueError for anything else."""
    match = _STEM.fullmatch(stem)
    if match is None:
        raise ValueError(f"{stem!r} names no trial")
    return int(match["point"]), int(match["trial"]), int(match["again"] or 0)


def part_of(again: int, worker: int, segment: int) -> int | None:
    """The number of a spool's record file among those of its trial; None: the first."""
    return again * _SEGMENTS_A_TIME + worker * _SEGMENTS_A_WORKER + segment or None
