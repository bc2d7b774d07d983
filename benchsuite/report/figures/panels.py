"""Panels of estimates: latency and cost against the axis, and the throughput frontier."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchsuite.report.figures.axes import Mark, dash, draw_marks, look, price, say, set_scale, set_x
from benchsuite.report.figures.labels import Label, place_labels
from benchsuite.report.figures.paper import QUIET
from benchsuite.report.figures.sheet import Dot, Line, Sheet
from benchsuite.types import Estimate

TTFT_QUANTILES = ("p50", "p90", "p99")
COST = "cost_per_1k_usd"
PER_USER = "tokens_per_s_per_user"
TOTAL = "output_tokens_per_s"

FEW_LINES = 3
"""Of more lines than these only the medians are drawn."""


def shown(sheet: Sheet) -> tuple[str, ...]:
    """The quantiles of TTFT that are drawn: those that exist somewhere; of many lines p50."""
    if len(sheet.lines) > FEW_LINES:
        return ("p50",)
    return tuple(name for name in TTFT_QUANTILES if any(dot.metric(sheet.ttft, name) for dot in sheet.dots))


def quantile_keys(sheet: Sheet) -> list[Artist]:
    """What solid, dashed and dotted mean; nothing where the axis says it."""
    names = shown(sheet)
    if sheet.axis.single or len(names) < 2:
        return []
    its = look(0).colour if len(sheet.lines) == 1 else QUIET
    return [Line2D([], [], color=its, linewidth=1.6, linestyle=dash(i), label=n) for i, n in enumerate(names)]


def latency_panel(axes: Axes, sheet: Sheet, metric: str, title: str) -> None:
    """A latency in ms against the axis: TTFT's quantiles, of others the median.

    Where nothing is varied, all quantiles stand side by side.
    """
    axes.set_title(title)
    axes.set_ylabel(f"{title.partition(',')[0]}, ms")
    names = shown(sheet) if metric == sheet.ttft or sheet.axis.single else ("p50",)
    found = {
        (i, j): _marks(line, metric, name)
        for i, line in enumerate(sheet.lines)
        for j, name in enumerate(names)
    }
    if sheet.axis.single:
        found = {(i, j): _beside(marks, i, j, len(sheet.lines)) for (i, j), marks in found.items()}
        _places(axes, names, "quantile of requests")
    else:
        set_x(axes, sheet.axis)
    drawn = [mark.estimate for marks in found.values() for mark in marks]
    if not drawn:
        say(axes, "none: answers weren't streamed" if metric == "tpot" else "too few answers")
        return
    set_scale(axes, "y", drawn)
    for (i, j), marks in found.items():
        gid = f"{metric}-{names[j]}-{i}"
        if sheet.axis.single:
            draw_marks(axes, marks, look(i), gid, size=7.0)
        else:
            draw_marks(axes, marks, look(i), gid, band=not j, dashes=j, size=4.0 if j else 6.0)


def _marks(line: Line, metric: str, quantile: str) -> list[Mark]:
    found = [(dot, dot.metric(metric, quantile)) for dot in line.dots]
    return [Mark(dot.x, each, dot.row.verdict) for dot, each in found if each is not None]


def _beside(marks: Sequence[Mark], line: int, quantile: int, lines: int) -> list[Mark]:
    """At the quantile's place instead of the axis', lines side by side."""
    offset = (line - (lines - 1) / 2) * 0.5 / max(2, lines)
    return [mark._replace(x=quantile + offset) for mark in marks]


def _places(axes: Axes, names: Sequence[str], label: str) -> None:
    """An axis of names instead of numbers, at 0, 1, 2…"""
    axes.set_xlim(-0.6, max(1, len(names)) - 0.4)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(names)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names[round(value)]))
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="x")


def frontier_panel(axes: Axes, sheet: Sheet, title: str) -> None:
    """Total output tokens/s against tokens/s of each user: a marker a point, labelled with its place."""
    axes.set_title(title)
    axes.set_xlabel("tokens/s for each user (1/TPOT p50)")
    axes.set_ylabel("output tokens/s in all")
    known = [
        (i, dot, user, total)
        for i, line in enumerate(sheet.lines)
        for dot in line.dots
        if (user := dot.rate(PER_USER)) is not None and (total := dot.rate(TOTAL)) is not None
    ]
    if not known:
        say(axes, "no tokens/s for each user: answers weren't streamed")
        return
    set_scale(axes, "x", [user for _, _, user, _ in known])
    set_scale(axes, "y", [total for _, _, _, total in known])
    for i in range(len(sheet.lines)):
        mine = [(dot, user, total) for its, dot, user, total in known if its == i]
        marks = [Mark(user.value or 0.0, total, dot.row.verdict) for dot, user, total in mine]
        draw_marks(axes, marks, look(i), f"frontier-{i}", size=7.0)
        for mark, (_, user, _) in zip(marks, mine, strict=True):
            _across(axes, mark, user, i)
    if not sheet.axis.single:
        place_labels(axes, [_label(*each) for each in known])


def _across(axes: Axes, mark: Mark, user: Estimate, line: int) -> None:
    """The interval of tokens/s per user, lying."""
    if user.low is not None and user.high is not None:
        axes.hlines(
            mark.y, user.low, user.high, color=look(line).colour, linewidth=1.1, gid=f"frontier-{line}-across"
        )


def _label(line: int, dot: Dot, user: Estimate, total: Estimate) -> Label:
    x, y = user.value or 0.0, total.value or 0.0
    bars = []
    if user.low is not None and user.high is not None:
        bars.append(((user.low, y), (user.high, y)))
    if total.low is not None and total.high is not None:
        bars.append(((x, total.low), (x, total.high)))
    return Label(x=x, y=y, text=dot.tick, colour=look(line).colour, line=line, bars=tuple(bars))


def cost_panel(axes: Axes, sheet: Sheet, title: str) -> None:
    """Dollars for 1,000 requests against the axis, only where they are known."""
    axes.set_title(title)
    axes.set_ylabel("$ per 1,000 requests")
    found = [[(dot, dot.rate(COST)) for dot in line.dots] for line in sheet.lines]
    lines = [
        [Mark(dot.x, each, dot.row.verdict) for dot, each in pairs if each is not None] for pairs in found
    ]
    if sheet.axis.single:
        lines = [_beside(marks, i, 0, len(lines)) for i, marks in enumerate(lines)]
        _places(axes, [sheet.axis.ticks[0][1]], sheet.axis.label)
    else:
        set_x(axes, sheet.axis)
    set_scale(axes, "y", [mark.estimate for marks in lines for mark in marks], words=price)
    for i, marks in enumerate(lines):
        draw_marks(axes, marks, look(i), f"cost-{i}", band=True)
