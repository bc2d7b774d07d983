"""The figures: each makes a page from a sheet of runs. Values in, a matplotlib Figure out."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchsuite.errors import UsageError
from benchsuite.report.figures import notes
from benchsuite.report.figures.axes import line_keys
from benchsuite.report.figures.completion import check_latencies, completion
from benchsuite.report.figures.ecdf import (
    Curve,
    curves,
    ecdf_keys,
    ecdf_panel,
    label_curves,
    last_curves,
    place,
)
from benchsuite.report.figures.panels import (
    COST,
    FEW_LINES,
    TOTAL,
    TTFT_QUANTILES,
    cost_panel,
    frontier_panel,
    latency_panel,
    quantile_keys,
)
from benchsuite.report.figures.paper import Layout, page, style
from benchsuite.report.figures.sheet import Sheet
from benchsuite.report.units import several
from benchsuite.stats.columns import Floats
from benchsuite.types import Estimate

_PAIR = Layout(1, 2, 9.6, 3.3)
_ONE = Layout(1, 1, 6.6, 3.9)
_FOUR = Layout(2, 2, 9.6, 2.8)
_ITL: Final = "ITL, gaps between token events"
_TTFT: Final = MappingProxyType({"ttft": "TTFT", "ttft_from_due": "TTFT from due"})
_LONG: Final = MappingProxyType(
    {
        "ttft": "TTFT, time to first token",
        "ttft_from_due": "TTFT from due, waiting to be sent included",
        "tpot": "TPOT, time for each further token",
    }
)


def latency(sheet: Sheet) -> Figure:
    """TTFT and TPOT against what is varied (by quantile, where nothing is), in ms."""
    check_latencies(sheet)
    small = [
        _joined(notes.samples(sheet), notes.intervals(_ttft_p50(sheet), _shape(sheet))),
        *_missing(sheet),
        *notes.doubts(sheet),
    ]
    title = f"Latency{_against(sheet)}"
    with style():
        figure, (left, right) = page(sheet, title, _PAIR, [*line_keys(sheet), *quantile_keys(sheet)], small)
        latency_panel(left, sheet, sheet.ttft, _LONG[sheet.ttft])
        latency_panel(right, sheet, "tpot", _LONG["tpot"])
    return figure


def distribution(sheet: Sheet) -> Figure:
    """How TTFT and the gaps between tokens (ITL, pooled over requests) are distributed."""
    check_latencies(sheet)
    drawn = curves(sheet)
    few = f"the ends of each line: {len(drawn)} of {len(sheet.dots)} points"
    small = [
        _joined(
            *([few] if len(drawn) < len(sheet.dots) else []),
            "markers at 10, 50 and 90 %",
            "n: answered requests, with their gaps between token events",
        ),
        *notes.doubts(sheet),
    ]
    with style():
        figure, (left, right) = page(
            sheet, f"Distribution of latency{_at(sheet)}", _PAIR, ecdf_keys(drawn), small
        )
        ttft = [(curve, curve.dot.samples.ttft_ms) for curve in drawn if curve.dot.samples is not None]
        ecdf_panel(left, ttft, _LONG[sheet.ttft], _TTFT[sheet.ttft], "requests")
        ecdf_panel(right, _gaps(drawn), _ITL, "ITL", "gaps")
    return figure


def throughput(sheet: Sheet) -> Figure:
    """Output tokens/s of the whole server against those of each user: what more load gives and takes."""
    check_latencies(sheet)
    totals = [dot.rate(TOTAL) for dot in sheet.dots]
    at = [] if sheet.axis.single else [f"numbers beside dots: {sheet.axis.label}"]
    small = [_joined(*at, notes.samples(sheet), notes.intervals(totals)), *notes.doubts(sheet)]
    with style():
        figure, (panel,) = page(sheet, f"Throughput{_at(sheet)}", _ONE, line_keys(sheet), small)
        frontier_panel(panel, sheet, "The server's tokens/s against each user's")
    return figure


def cost(sheet: Sheet) -> Figure:
    """Dollars for 1,000 requests against what is varied. Raises `UsageError` where no price is known."""
    if not priced(sheet):
        raise UsageError(
            "no cost is known for what is drawn; `run --gpu NAME` or `--gpu-price USD` gives a run its price"
        )
    costs = [dot.rate(COST) for dot in sheet.dots]
    shape = _shape(sheet)
    small = [
        _joined(notes.samples(sheet), notes.intervals(costs, shape)),
        *_unknown(sheet),
        *notes.doubts(sheet),
    ]
    title = f"Cost{_against(sheet)}"
    with style():
        figure, (panel,) = page(sheet, title, _ONE, line_keys(sheet), small)
        cost_panel(panel, sheet, "At this load, not at capacity")
    return figure


def overview(sheet: Sheet) -> Figure:
    """Four panels on a page: TTFT, the gaps between tokens, throughput, and cost (unpriced: TPOT).

    Of batches: how they were completed.
    """
    if sheet.batches:
        return completion(sheet)
    at = [] if sheet.axis.single else [f"numbers beside dots: {sheet.axis.label}"]
    small = [
        _joined(*at, notes.samples(sheet), notes.intervals(_ttft_p50(sheet), _shape(sheet))),
        _joined(*_missing(sheet), *(_unknown(sheet) if priced(sheet) else ["cost unknown: no price"])),
        *notes.doubts(sheet),
    ]
    title = (
        f"Latency, throughput and cost{_at(sheet)}"
        if priced(sheet)
        else f"Latency and throughput{_at(sheet)}"
    )
    with style():
        figure, panels = page(sheet, title, _FOUR, [*line_keys(sheet), *quantile_keys(sheet)], small)
        latency_panel(panels[0], sheet, sheet.ttft, _LONG[sheet.ttft])
        _gaps_panel(panels[1], sheet)
        frontier_panel(panels[2], sheet, "The server's tokens/s against each user's")
        if priced(sheet):
            cost_panel(panels[3], sheet, "Cost at this load")
        else:
            latency_panel(panels[3], sheet, "tpot", _LONG["tpot"])
    return figure


FIGURES: Final = MappingProxyType[str, Callable[[Sheet], Figure]](
    {
        "latency": latency,
        "distribution": distribution,
        "throughput": throughput,
        "cost": cost,
        "completion": completion,
    }
)
"""Each kind's function."""


def drawable(sheet: Sheet) -> tuple[str, ...]:
    """The kinds for which there is anything to draw."""
    kinds = ("completion",) if sheet.batches else ("latency", "distribution", "throughput")
    return (*kinds, *(("cost",) if priced(sheet) else ()))


def priced(sheet: Sheet) -> bool:
    """Is there any cost to draw?"""
    return any(dot.rate(COST) is not None for dot in sheet.dots)


def _against(sheet: Sheet) -> str:
    """What varies, for a title; what stays the same where nothing does."""
    return _at(sheet) or f" against {sheet.axis.what}"


def _at(sheet: Sheet) -> str:
    """The one load, for a title; empty where there are several."""
    if not sheet.axis.single:
        return ""
    point = sheet.dots[0].row.point
    return f", {point.label}" if point.load == "offline" else f" at {point.label}"


def _gaps_panel(axes: Axes, sheet: Sheet) -> None:
    """ITL of each point; of several lines only where each of them ends."""
    drawn = last_curves(sheet)
    found = _gaps(drawn)
    if len(sheet.lines) == 1:
        ecdf_panel(axes, found, _ITL, "ITL", "gaps")
        if not sheet.axis.single:
            label_curves(axes, found)
        return
    places = {place(sheet, curve.dot) for curve in drawn}
    at = f"at {places.pop()}" if len(places) == 1 else "at each line's last point"
    ecdf_panel(axes, found, f"{_ITL}, {at}", "ITL", "gaps")


def _gaps(drawn: Sequence[Curve]) -> list[tuple[Curve, Floats]]:
    return [(curve, curve.dot.samples.itl_ms) for curve in drawn if curve.dot.samples is not None]


def _ttft_p50(sheet: Sheet) -> list[Estimate | None]:
    return [dot.metric(sheet.ttft, "p50") for dot in sheet.dots]


def _missing(sheet: Sheet) -> list[str]:
    """Which quantiles aren't there, and why."""
    if len(sheet.lines) > FEW_LINES:
        return ["only medians are drawn of so many lines; p90 and p99 come with fewer runs"]
    return list(notes.missing(sheet, sheet.ttft, TTFT_QUANTILES))


def _unknown(sheet: Sheet) -> list[str]:
    names = notes.unpriced(sheet)
    return [f"cost unknown, so not drawn: {several(names)}"] if names else []


def _shape(sheet: Sheet) -> str:
    """What intervals look like where p50 has a band."""
    return "bars" if sheet.axis.single else "bands and bars"


def _joined(*parts: str) -> str:
    return " · ".join(parts)
