"""Whether the points of a run met the limits on their quantiles, in words."""

from collections.abc import Iterator, Sequence
from typing import Literal

from benchsuite.report.units import number
from benchsuite.types import Estimate, Limit, Point, Run, Summary
from benchsuite.workload.places import place_of
from benchsuite.workload.slo import quantile_name

Kept = Literal["met", "missed", "unclear", "unknown"]


def reached(row: Summary, limit: Limit) -> Estimate | None:
    """What the point reached, in ms; open loops count from due. None: there is no such metric."""
    name = limit.metric
    if name in {"ttft", "e2e"} and row.point.load != "closed":
        name += "_from_due"  # type: ignore[assignment]
    metric = row.metrics.get(name)
    return None if metric is None else metric.quantiles.get(quantile_name(limit))


def kept(row: Summary, limit: Limit) -> Kept:
    """Did the point meet the limit? Unclear where its interval has the limit inside."""
    found = reached(row, limit)
    if found is None or found.value is None:
        return "unknown"
    if found.low is not None and found.high is not None and found.low <= limit.ms < found.high:
        return "unclear"
    return "met" if found.value <= limit.ms else "missed"


def slo_lines(run: Run) -> Iterator[str]:
    """One line a limit on a quantile: what was asked, what each point reached, met or not."""
    slo = run.manifest.workload.slo
    named = f" ({slo.preset})" if slo.preset else ""
    for limit in slo.limits:
        asked = f"{limit.metric.upper()} {quantile_name(limit)} ≤ {limit.ms:g} ms{named}"
        rows = [row for row in run.summaries if not row.point.batch]
        points = [row.point for row in rows]
        cells = [_cell(row, limit, points) for row in rows]
        if cells:
            yield f"SLO {asked}: {'; '.join(cells)}"


def _cell(row: Summary, limit: Limit, points: Sequence[Point]) -> str:
    """`430 ms ±20 at 8 in flight, met`."""
    found = reached(row, limit)
    at = f" at {place_of(row.point, points)}" if len(points) > 1 else ""
    word = kept(row, limit)
    if found is None or (word == "unknown" and not found.n):
        return f"not known{at}"
    if word == "unknown":
        return f"too few requests{at} ({found.n} of {found.needs})"
    if found.low is not None and found.high is not None and word == "unclear":
        word_text = f"unclear ({found.low:,.0f} to {found.high:,.0f} ms): more trials tell"
        return f"{number(found, unit='ms')}{at}, {word_text}"
    return f"{number(found, unit='ms', interval=True)}{at}, {word}"
