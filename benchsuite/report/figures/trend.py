"""A trend as a figure: a panel a metric, a dot a number, each level as a line, and its steps marked."""

from itertools import pairwise
from statistics import median
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from benchsuite.report.figures.axes import look, plain, price
from benchsuite.report.figures.paper import FAULT, INK, QUIET, Layout, blank, style, text_inches
from benchsuite.report.trend import called, moved, name_of, notes, sentence
from benchsuite.report.units import several
from benchsuite.trend import TIME, Line, Trend

_WIDTH, _HEIGHT = 8.4, 1.9
_LEAST_SPAN: Final = 0.10
"""A panel shows at least so much of the median, so that noise doesn't look like mountains."""
_ROOM: Final = 0.25
_TICK: Final = 8.5


def trend_figure(found: Trend) -> Figure:
    """Every line of a trend in a panel of its own, one below the other."""
    names = list(dict.fromkeys(name_of(found, line).partition(" at ")[0] for line in found.lines))
    over = "over time" if found.over == TIME else f"by {found.over}"
    servers = dict.fromkeys(spot.server for line in found.lines for spot in line.spots)
    under = [sentence(found), f"{found.workload} · {several(list(servers)[-3:])}"]
    small = [
        "a dot is a run, or the median of those of one place; a thick line is the median of its level; "
        "scales don't begin at 0",
        *notes(found),
    ]
    with style():
        layout = Layout(len(found.lines), 1, _WIDTH, _HEIGHT)
        figure, panels = blank(f"{several(names)} {over}", layout, [], small, under)
        for panel, line in zip(panels, found.lines, strict=True):
            _panel(panel, found, line)
    return figure


def _panel(axes: Axes, found: Trend, line: Line) -> None:
    values = [spot.value for spot in line.spots]
    its = look(0)
    axes.set_title(name_of(found, line))
    axes.set_ylabel(line.unit if len(line.unit) <= 10 else "$" if line.unit.startswith("$") else "")
    axes.set_xlim(-0.6, len(values) - 0.4)
    low, high = _span(values)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    written = price if line.unit.startswith("$") else plain
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    gid = f"trend-{line.metric}-{line.point.index}"
    axes.plot(range(len(values)), values, color=its.colour, linewidth=0.8, alpha=0.6, gid=gid, zorder=3)
    axes.plot(
        range(len(values)), values, linestyle="none", marker="o", markersize=4.5, color=its.colour, zorder=4
    )
    edges = [0, *(step.at for step in line.steps), len(values)]
    for start, end in pairwise(edges):
        level = median(values[start:end])
        axes.hlines(level, start - 0.4, end - 0.6, color=INK, linewidth=1.8, zorder=5, gid=f"{gid}-level")
    for step in line.steps:
        axes.axvline(step.at - 0.5, color=FAULT, linewidth=1.1, linestyle=(0, (4, 2)), gid=f"{gid}-step")
        right = step.at > 0.75 * len(values)
        axes.annotate(
            moved(line, step),
            (step.at - 0.5, high),
            xytext=(-4 if right else 4, -3),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            fontsize=_TICK,
            color=FAULT,
        )
    _ticks(axes, line)


def _span(values: list[float]) -> tuple[float, float]:
    """From a little below the lowest to a little above the highest, with room for what is written on top."""
    low, high, middle = min(values), max(values), median(values)
    short = max(0.0, _LEAST_SPAN * middle - (high - low)) / 2
    low, high = low - short, high + short
    return max(0.0, low - 0.12 * (high - low)), high + _ROOM * (high - low)


def _ticks(axes: Axes, line: Line) -> None:
    """When, or which commit, at as many numbers as there is room for; the last one always."""
    names = [called(spot, short=True) for spot in line.spots]
    wide = axes.bbox.width / axes.figure.dpi / len(names)
    every = max(
        1, -(-int(100 * (max(text_inches(name, _TICK) for name in names) + 0.15)) // int(100 * wide or 1))
    )
    kept = list(range(len(names) - 1, -1, -every))[::-1]
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: names[min(len(names) - 1, max(0, round(at)))]))
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", color=QUIET)
