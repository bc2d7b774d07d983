"""The server's own account of a request's time, in a line."""

from collections.abc import Iterator

from benchsuite.report.units import rounded
from benchsuite.types import Run, Summary
from benchsuite.workload.places import place_of

_PARTS = (
    ("server_load", "load"),
    ("server_queue", "queue"),
    ("server_prefill", "prefill"),
    ("server_first", "to its first token"),
    ("server_decode", "decode"),
    ("server_rest", "network and rest"),
)
_ALL_REST = "network, queue and rest"


def split_line(row: Summary) -> str | None:
    """`Server's own split (medians): queue 3.0 ms, …; drafts kept 62 %`; None: it tells nothing.

    With too few requests for a median, means.
    """
    queue_told = "server_queue" in row.metrics or "server_first" in row.metrics
    shown = [
        (row.metrics[name], title if queue_told or name != "server_rest" else _ALL_REST)
        for name, title in _PARTS
        if name in row.metrics
    ]
    medians = all(metric.quantiles["p50"].value is not None for metric, _ in shown)
    parts = [
        f"{title} {rounded(value, digits=2, decimals=1)} ms"
        for metric, title in shown
        if (value := metric.quantiles["p50" if medians else "mean"].value) is not None
    ]
    kept = row.means.get("acceptance")
    drafts = "" if kept is None else f"drafts kept {100 * kept:.3g} %"
    if not parts:
        return drafts.capitalize() or None
    of = "medians" if medians else "means"
    text = f"Server's own split ({of}): {', '.join(parts)}"
    if not any(name in row.metrics for name, _ in _PARTS[:-1]):
        # It told a total and nothing else, so what is left of E2E is outside it.
        text = f"Outside the server's own total ({of}): {parts[0].removeprefix(_ALL_REST).strip()}"
    return f"{text}; {drafts}" if drafts else text


def split_lines(run: Run) -> Iterator[str]:
    """Every point's line, where there is one, with its load where there are several."""
    for row in run.summaries:
        if line := split_line(row):
            yield line if len(run.summaries) == 1 else f"{place_of(row.point, run.manifest.points)}: {line}"
