"""What all panels do with their axes and marks: scales, ticks, dots with intervals, how lines look."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchsuite.report.figures.paper import COLOURS, INK, MARKERS, QUIET, text_inches
from benchsuite.report.figures.sheet import Axis, Sheet
from benchsuite.types import Estimate, Verdict

_LOG_FROM = 20.0
_ROOM = 1.12
"""How far over the highest value a panel goes on."""
_INTERVAL_ROOM = 1.6
"""An interval may take so many times the highest value; a wider one leaves the panel."""
_TICK_SIZE = 8.5
_DASHES: tuple[tuple[float, ...], ...] = ((), (5.0, 1.6), (1.4, 1.4))


class Mark(NamedTuple):
    """One dot: where it stands, its interval, and what is thought of it."""

    x: float
    estimate: Estimate
    verdict: Verdict

    @property
    def y(self) -> float:
        """The estimate's value."""
        return self.estimate.value or 0.0


class Look(NamedTuple):
    """How a line is drawn; the marker alone tells it apart in black and white."""

    colour: str
    marker: str


def look(index: int) -> Look:
    """The look of the line with this number."""
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


def dash(index: int) -> Literal["-"] | tuple[float, tuple[float, ...]]:
    """Solid, dashed, dotted."""
    found = _DASHES[index % len(_DASHES)]
    return (0, found) if found else "-"


def draw_marks(
    axes: Axes,
    marks: Sequence[Mark],
    its: Look,
    gid: str,
    *,
    band: bool = False,
    dashes: int = 0,
    size: float = 6.0,
) -> None:
    """A line through dots; its intervals as a band, or as bars where the dots stand alone.

    Dots that are suspect are hollow, invalid ones crossed out too. The y scale must be final.
    """
    if not marks:
        return
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    axes.plot(xs, ys, color=its.colour, linewidth=1.6, linestyle=dash(dashes), gid=gid, zorder=3)
    if band and len(marks) > 1:
        _band(axes, marks, its, gid)
    else:
        for mark in marks:
            bar(axes, mark.x, mark.estimate, its.colour, gid)
    for verdict in ("valid", "suspect", "invalid"):
        those = [mark for mark in marks if mark.verdict == verdict]
        if those:
            face = its.colour if verdict == "valid" else "white"
            where = ([mark.x for mark in those], [mark.y for mark in those])
            dots(axes, where, its, face, size).set_gid(f"{gid}-{verdict}")
            if verdict == "invalid":
                axes.plot(*where, "x", color=INK, markersize=size * 1.3, zorder=5)


def dots(
    axes: Axes, where: tuple[Sequence[float], Sequence[float]], its: Look, face: str, size: float
) -> Line2D:
    """Markers without a line."""
    (line,) = axes.plot(
        *where, linestyle="none", marker=its.marker, markersize=size, markerfacecolor=face,
        markeredgecolor=its.colour, markeredgewidth=1.3, zorder=4,
    )  # fmt: skip
    return line


def bar(axes: Axes, x: float, estimate: Estimate, colour: str, gid: str) -> None:
    """One interval, upright; nothing where there is none."""
    if estimate.low is not None and estimate.high is not None:
        axes.vlines(x, estimate.low, estimate.high, color=colour, linewidth=1.1, gid=f"{gid}-interval")


def _band(axes: Axes, marks: Sequence[Mark], its: Look, gid: str) -> None:
    """Between the dots that have an interval; a gap where one has none."""
    bounds = [(mark.estimate.low, mark.estimate.high) for mark in marks]
    low, high = (
        np.array([math.nan if bound is None else bound for bound in each])
        for each in zip(*bounds, strict=True)
    )
    if axes.get_yscale() == "log":
        # Where an interval reaches below 0, the band goes to the panel's edge and not down a cliff.
        low = np.maximum(low, axes.get_ylim()[0])
    axes.fill_between(
        [mark.x for mark in marks], low, high, color=its.colour, alpha=0.16, linewidth=0, gid=f"{gid}-band"
    )


def set_x(axes: Axes, axis: Axis) -> None:
    """The axis of a sheet, with a tick at each value as far as there is room."""
    positions = [position for position, _ in axis.ticks]
    if axis.log:
        axes.set_xscale("log")
        pad = (positions[-1] / positions[0]) ** 0.06
        axes.set_xlim(positions[0] / pad, positions[-1] * pad)
    else:
        pad = (positions[-1] - positions[0]) * 0.07 or max(1.0, positions[0] * 0.5)
        axes.set_xlim(positions[0] - pad, positions[-1] + pad)
    kept = _with_room(axes, axis)
    axes.xaxis.set_major_locator(FixedLocator([position for position, _ in kept]))
    axes.xaxis.set_minor_locator(NullLocator())
    names = dict(kept)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _nearest(names, value)))
    axes.set_xlabel(axis.label)


def _nearest(names: dict[float, str], value: float) -> str:
    return names[min(names, key=lambda position: abs(position - value))]


def _with_room(axes: Axes, axis: Axis) -> list[tuple[float, str]]:
    """The ticks whose texts don't touch; the last one always."""
    low, high = axes.get_xlim()
    scale = math.log if axis.log else float
    wide = axes.bbox.width / axes.figure.dpi

    def inches(position: float) -> float:
        return (scale(position) - scale(low)) / (scale(high) - scale(low)) * wide

    kept: list[tuple[float, str]] = []
    for position, text in reversed(axis.ticks):
        half = text_inches(text, _TICK_SIZE) / 2 + 0.06
        if (
            not kept
            or inches(kept[-1][0]) - inches(position) >= half + text_inches(kept[-1][1], _TICK_SIZE) / 2
        ):
            kept.append((position, text))
    return kept[::-1]


def set_scale(
    axes: Axes,
    which: Literal["x", "y"],
    estimates: Iterable[Estimate],
    *,
    words: Callable[[float], str] | None = None,
) -> None:
    """From 0, or logarithmic where values lie far apart; wide intervals may leave the panel.

    `words`: how ticks are written; None: as plain numbers.
    """
    found = [each for each in estimates if each.value is not None]
    tops = [each.value or 0.0 for each in found]
    highs = [each.high for each in found if each.high is not None]
    lowest, highest = min(tops, default=0.0), max(tops, default=1.0)
    top = max(highest, min(max(highs, default=0.0), _INTERVAL_ROOM * highest)) or 1.0
    log = lowest > 0 and top / lowest > _LOG_FROM
    axis, set_limits = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    if log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        set_limits(lowest / 1.4, top * 1.4)
        log_ticks(axes, which, top / lowest)
    else:
        set_limits(0, top * _ROOM)
    axis.set_major_formatter(FuncFormatter(lambda value, _: (words or plain)(value)))


def log_ticks(axes: Axes, which: Literal["x", "y"], ratio: float) -> None:
    """Ticks at 1, 2, 5 where the scale is short, else at powers of ten, in plain numbers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 500 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def plain(value: float) -> str:
    """`0.05`, `12`, `1,500`: no exponents and no zeros for nothing."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(value: float) -> str:
    """`$0.50`, `$12`: cents whole, and further digits only where they count."""
    text = plain(value)
    missing = 2 - len(text.partition(".")[2])
    return f"${text}{'0' * missing}" if "." in text and missing > 0 else f"${text}"


def line_keys(sheet: Sheet) -> list[Artist]:
    """One entry a line; none where there is only one."""
    if len(sheet.lines) == 1:
        return []
    return [
        Line2D(
            [], [], color=(its := look(i)).colour, marker=its.marker, markersize=6, linewidth=1.6,
            label=line.name,
        )
        for i, line in enumerate(sheet.lines)
    ]  # fmt: skip


def say(axes: Axes, text: str) -> None:
    """A sentence in place of a drawing."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=QUIET, fontsize=9)
    axes.grid(visible=False)
    axes.tick_params(labelleft=False, labelbottom=False, length=0)
