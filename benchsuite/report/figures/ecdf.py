"""Panels of distributions: which share of values lies below, a curve a point."""

from collections.abc import Sequence

import msgspec
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from benchsuite.report.figures.axes import log_ticks, look, plain, say
from benchsuite.report.figures.labels import Label, place_labels
from benchsuite.report.figures.paper import INK
from benchsuite.report.figures.sheet import Dot, Sheet
from benchsuite.stats.columns import Floats

MOST_CURVES = 8
"""More can't be told apart."""
_STEPS = 1_500
"""About so many steps of a distribution are drawn, and all of its last ones."""
_LAST_STEPS = 200
_MARKED = (0.1, 0.5, 0.9)
_MARKER = 4.5
_LOG_FROM = 5.0
_LEAST_MS = 0.001
"""A gap of 0, where two tokens came at once, has no place on a logarithmic scale."""
_LEFT_OUT = 0.05
"""A logarithmic scale begins so far into the lowest values: a few merged tokens would take half of it."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One point's distribution; `look` is the number of its colour and marker."""

    look: int
    dot: Dot
    name: str

    @property
    def face(self) -> str:
        """Hollow unless valid."""
        return look(self.look).colour if self.dot.row.verdict == "valid" else "white"


def curves(sheet: Sheet) -> list[Curve]:
    """The distributions to draw; of too many, each line's first and last, or only its last."""
    picked = [list(line.dots) for line in sheet.lines]
    if sum(map(len, picked)) > MOST_CURVES:
        picked = [[dots[0], dots[-1]] if len(dots) > 1 else dots for dots in picked]
    if sum(map(len, picked)) > MOST_CURVES:
        picked = [dots[-1:] for dots in picked]
    found: list[Curve] = []
    for line, dots in zip(sheet.lines, picked, strict=True):
        for dot in dots:
            what = "" if sheet.axis.single else place(sheet, dot)
            name = " · ".join(part for part in (line.name, what) if part)
            found.append(Curve(look=len(found), dot=dot, name=name))
    return found


def last_curves(sheet: Sheet) -> list[Curve]:
    """Of a single line all its points; of several lines where each of them ends, in its own look."""
    if len(sheet.lines) == 1:
        return curves(sheet)
    return [Curve(look=i, dot=line.dots[-1], name=line.name) for i, line in enumerate(sheet.lines)]


def place(sheet: Sheet, dot: Dot) -> str:
    """Where a point stands on the axis, in words."""
    if not dot.tick[0].isdigit():
        return dot.tick
    unit = {"rate": "req/s", "concurrency": "in flight", "prompt_tokens": "in", "output_tokens": "out"}
    capped = sheet.axis.dimension == "concurrency" and dot.row.point.rate is not None
    return f"{'at most ' if capped else ''}{dot.tick} {unit[sheet.axis.dimension]}"


def ecdf_keys(found: Sequence[Curve]) -> list[Artist]:
    """One entry a curve, with how many requests and gaps it is made of."""
    keys: list[Artist] = []
    for curve in found:
        its, samples, count = look(curve.look), curve.dot.samples, "no records"
        if samples is not None:
            count = f"n {len(samples.ttft_ms):,}; {len(samples.itl_ms):,} gaps"
        keys.append(
            Line2D(
                [], [], color=its.colour, marker=its.marker, markersize=_MARKER, markerfacecolor=curve.face,
                linewidth=1.4, label=f"{curve.name} ({count})" if curve.name else count,
            )
        )  # fmt: skip
    return keys


def ecdf_panel(axes: Axes, found: Sequence[tuple[Curve, Floats]], title: str, metric: str, of: str) -> None:
    """Shares of sorted values in ms up to x, with markers at 10, 50 and 90 %. `of`: of what the shares are.

    Hollow and crossed-out markers as in the other panels.
    """
    axes.set_title(title)
    axes.set_xlabel(f"{metric}, ms")
    axes.set_ylabel(f"{of} up to x, %")
    axes.set_ylim(0, 102)
    axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    there = [(curve, values) for curve, values in found if len(values)]
    if not there:
        say(axes, "no records of answers are kept")
        return
    _set_x(axes, [values for _, values in there])
    for curve, values in there:
        _curve(axes, curve, values, f"ecdf-{metric.partition(' ')[0].lower()}-{curve.look}")


def label_curves(axes: Axes, found: Sequence[tuple[Curve, Floats]]) -> None:
    """Each curve's place on the sheet's axis beside its median, instead of a key."""
    place_labels(
        axes,
        [
            Label(
                x=float(np.median(values)), y=50.0, text=curve.dot.tick, colour=look(curve.look).colour,
                line=curve.look, bars=(),
            )
            for curve, values in found
            if len(values)
        ],
        joined=False,
    )  # fmt: skip


def _set_x(axes: Axes, samples: Sequence[Floats]) -> None:
    """Linear where values lie close together."""
    lowest, high = min(float(values[0]) for values in samples), max(float(values[-1]) for values in samples)
    low = max(_LEAST_MS, min(float(np.quantile(values, _LEFT_OUT)) for values in samples))
    if high / low > _LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.4, high * 1.15)
        log_ticks(axes, "x", high / low)
    else:
        pad = (high - lowest) * 0.05 or high * 0.05
        axes.set_xlim(lowest - pad, high + pad)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def _curve(axes: Axes, curve: Curve, values: Floats, gid: str) -> None:
    kept = _kept(len(values))
    xs, heights = np.maximum(values[kept], _LEAST_MS), (kept + 1) / len(values) * 100
    marked = np.searchsorted(heights, [share * 100 for share in _MARKED])
    its = look(curve.look)
    axes.plot(
        np.concatenate((xs[:1], xs)), np.concatenate(([0.0], heights)), drawstyle="steps-post",
        color=its.colour, marker=its.marker, markersize=_MARKER, markerfacecolor=curve.face,
        markevery=(marked + 1).tolist(), linewidth=1.4, gid=gid,
    )  # fmt: skip
    if curve.dot.row.verdict == "invalid":
        axes.plot(xs[marked], heights[marked], "x", color=INK, markersize=_MARKER * 1.3, zorder=5)


def _kept(count: int) -> NDArray[np.int64]:
    """Ranks that are drawn of so many sorted values."""
    spread = np.linspace(0, count - 1, min(count, _STEPS)).round().astype(np.int64)
    return np.unique(np.concatenate((spread, np.arange(max(0, count - _LAST_STEPS), count))))
