"""The lines of small print under a figure: samples, intervals, what isn't drawn, what is doubtful."""

from collections.abc import Iterable, Iterator

from benchsuite.report.figures.sheet import Dot, Sheet
from benchsuite.report.screen import point_name, short_id
from benchsuite.report.units import several
from benchsuite.types import Estimate, Run, Summary

_NAMED = 3
"""So many doubtful points are named."""
_HOW = {"suspect": "hollow", "invalid": "hollow and crossed out"}


def samples(sheet: Sheet) -> str:
    """`120 to 960 answered requests a point`."""
    counts = [dot.row.outcomes.get("ok", 0) for dot in sheet.dots]
    low, high = min(counts), max(counts)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{span} answered requests {'a point' if len(counts) > 1 else 'in all'}"


def intervals(estimates: Iterable[Estimate | None], shape: str = "bars") -> str:
    """What the intervals drawn are; what to do where there are none. `shape`: bands or bars."""
    there = [each for each in estimates if each is not None]
    bases = list(dict.fromkeys(each.basis for each in there if each.low is not None))
    if not bases:
        return "no intervals: they take 3 trials"
    some = "" if all(each.low is not None for each in there) else ", where they exist"
    return f"{shape}: 95 % intervals ({several(bases)}{some})"


def missing(sheet: Sheet, metric: str, quantiles: Iterable[str]) -> Iterator[str]:
    """Quantiles that aren't drawn everywhere since they take more samples, or as nothing was streamed."""
    streamed = [dot for dot in sheet.dots if dot.row.point.stream]
    if len(streamed) < len(sheet.dots):
        yield f"{len(sheet.dots) - len(streamed)} of {len(sheet.dots)} points aren't streamed: E2E alone"
    for name in quantiles:
        metrics = [dot.row.metrics[metric] for dot in streamed if metric in dot.row.metrics]
        found = [each.quantiles.get(name) for each in metrics]
        short = [each for each in found if each is not None and each.value is None and each.needs]
        if short:
            where = "" if len(short) == len(found) else f" at {len(short)} of {len(found)} points"
            yield f"{name} isn't drawn{where}: it takes {short[0].needs:,} requests"


def unpriced(sheet: Sheet) -> list[str]:
    """Lines (or `this run`) for which no cost is known at some point."""
    return [line.name or "this run" for line in sheet.lines if not all(map(_priced, line.dots))]


def doubts(sheet: Sheet) -> list[str]:
    """A line for the points that are suspect, and one for those that are invalid."""
    found = []
    for level in ("suspect", "invalid"):
        rows = [(run, row) for run in sheet.runs for row in run.summaries if row.verdict == level]
        if rows:
            found.append(f"{_HOW[level]}: {level}{_why(rows, level, len(sheet.runs) > 1)}")
    return found


def _why(rows: list[tuple[Run, Summary]], level: str, many: bool) -> str:
    """Which points, and why if all have the same reason."""
    ids = dict.fromkeys(short_id(run.manifest.run_id) for run, _ in rows)
    names = dict.fromkeys(point_name(run, row) for run, row in rows)
    reasons = {warning.message for _, row in rows for warning in row.warnings if warning.level == level}
    where = "" if many or len(names) > _NAMED else f" at {several(list(names))}"
    if len(reasons) == 1 and not many:
        return f"{where}: {reasons.pop().rstrip('.')}"
    return f"{where} (`benchsuite show {' or '.join(list(ids)[:_NAMED])}` says why)"


def _priced(dot: Dot) -> bool:
    return dot.rate("cost_per_1k_usd") is not None
