"""Numbers as people read them: never more digits than their interval allows."""

import math

from benchsuite.types import Estimate

NOTHING = "–"
"""Stands where there is no number."""

_MS_PER_LONG = 10_000.0
"""From here on a duration is told in seconds."""


def rounded(value: float, half: float | None = None, *, digits: int = 3, decimals: int = 2) -> str:
    """`value` with thousands separators, at most `digits` significant ones and `decimals` after the point.

    `half` is half its interval: digits below the interval's first are left out, but two stay.
    """
    place = _place(value, half, digits, decimals)
    return f"{round(value, -place):,.{max(0, -place)}f}"


def spread(value: float, half: float, *, digits: int = 3, decimals: int = 2) -> str:
    """Half an interval in the digits of `rounded(value, half)`, at least one unit of the last: `±0.1`."""
    place = _place(value, half, digits, decimals)
    shown = max(round(half, -place), 10.0**place)
    return f"±{shown:,.{max(0, -place)}f}"


def _place(value: float, half: float | None, digits: int, decimals: int) -> int:
    """The power of ten of the last digit to show."""
    place = -decimals
    # As it will be shown: 9.9996 is 10.0 and not 10.00, whatever stands in the row below.
    order = int(f"{value:.{digits - 1}e}".partition("e")[2]) if value else 0
    if value:
        place = max(place, order - digits + 1)
    if half and value:
        # Two digits stay, or a rate of 1,640 ± 1,000 would read 2,000; of pure noise one stays.
        place = max(place, min(math.floor(math.log10(half)), order - (half < abs(value))))
    return place


def half_width(estimate: Estimate) -> float | None:
    """Half of an estimate's interval; None: it has none."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / 2


def number(estimate: Estimate | None, *, unit: str = "", interval: bool = False, more: int = 0) -> str:
    """An estimate in one cell: `88 ms ±5`, `n<368` with too few samples, `–` where there is none.

    `more`: so many digits more than usual.
    """
    if estimate is None:
        return NOTHING
    if estimate.value is None:
        return f"n<{estimate.needs}" if 0 < estimate.n < estimate.needs else NOTHING
    value, half = estimate.value, half_width(estimate)
    if unit == "ms" and value >= _MS_PER_LONG:
        unit, value, half = "s", value / 1000, None if half is None else half / 1000
    text = rounded(value, half, digits=3 + more, decimals=2 + more) + (f" {unit}" if unit else "")
    return f"{text} {spread(value, half)}" if interval and half is not None else text


def duration(ms: float) -> str:
    """A duration in running text: `21 ms`, `0.38 s`, `2 min`."""
    if ms < 300:
        return f"{rounded(ms, digits=2)} ms"
    seconds = ms / 1000
    return f"{rounded(seconds, digits=2)} s" if seconds < 120 else f"{rounded(seconds / 60, digits=2)} min"


def error_ms(ms: float) -> str:
    """This machine's own error, where a few µs matter: two digits."""
    return rounded(ms, digits=2, decimals=3)


def dollars(estimate: Estimate | None, *, interval: bool = False, more: int = 0) -> str:
    """A price: `$0.021`, `$2.10`, `$13`; with `interval` `$2.10 ±0.04`; `more`: so many digits more."""
    if estimate is None or estimate.value is None:
        return NOTHING
    value, half = estimate.value, half_width(estimate)
    # Cents below ten dollars, two digits below a cent.
    decimals = more + (0 if round(value, 2) >= 10 else max(2, 1 - _order(value)))
    text = f"${rounded(value, half, digits=3 + more, decimals=decimals)}"
    return f"{text} {spread(value, half, decimals=decimals)}" if interval and half is not None else text


def _order(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def several(words: list[str]) -> str:
    """`1`, `1 and 8`, `1, 8 and 64`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
