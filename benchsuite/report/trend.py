"""Trends as text: what moved, and a table with each number and the change to the one before."""

import csv
import io
from collections.abc import Iterator

from benchsuite.report.compare import title
from benchsuite.report.markdown import escaped, markdown_row
from benchsuite.report.points import Column
from benchsuite.report.render import table, words
from benchsuite.report.screen import short_id
from benchsuite.report.units import dollars, number, rounded
from benchsuite.trend import NEEDED_FOR_STEPS, TIME, Line, Spot, Step, Trend
from benchsuite.types import Estimate

_BARS = "▁▂▃▄▅▆▇█"
_LEAST_CHANGE = 0.001
_SMALL = 0.0005
_CSV = (
    *("metric", "unit", "better", "prompt_tokens", "output_tokens", "concurrency", "rate", "at", "started"),
    *("server", "runs", "value", "change", "step"),
)


def trend_screen(found: Trend, *, width: int, styled: bool = False) -> str:
    """For a terminal; ends without a line feed."""
    parts = [words(sentence(found), width=width, styled=styled, style="bold")]
    for line in found.lines:
        heading = f" {name_of(found, line)}  {sparkline(line)}"
        parts.append("\n".join(["", words(heading, width=width, styled=styled, style="bold")]))
        parts.append(table(_columns(found, line), width=width, styled=styled))
    parts.append("")
    parts += [words(f" {note}", width=width, indent=3) for note in notes(found)]
    return "\n".join(parts)


def trend_markdown(found: Trend) -> str:
    """The same to paste; ends with a line feed."""
    lines = [f"**{escaped(sentence(found))}**"]
    for line in found.lines:
        columns = _columns(found, line)
        lines += [
            "",
            f"{escaped(name_of(found, line))} {sparkline(line)}",
            "",
            markdown_row(column.title for column in columns),
            markdown_row(":--" if column.left else "--:" for column in columns),
            *(markdown_row(cells) for cells in zip(*(column.cells for column in columns), strict=True)),
        ]
    lines += ["", *(f"- {escaped(note)}" for note in notes(found))]
    return "\n".join(lines) + "\n"


def trend_csv(found: Trend) -> str:
    """One row a number; what there isn't is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for line in found.lines:
        point = line.point
        for spot in line.spots:
            writer.writerow(
                [
                    *(line.metric, line.unit, line.better, point.prompt_tokens, point.output_tokens),
                    *(point.concurrency, point.rate, spot.at, spot.when, spot.server, " ".join(spot.runs)),
                    *(spot.value, spot.change, "yes" if spot.step else "no"),
                ]
            )
    return text.getvalue()


def sentence(found: Trend) -> str:
    """What moved, each step with its size and its place; else that nothing is known to have."""
    told = [
        f"{name_of(found, line)} {moved(line, step)} at {called(line.spots[step.at])}"
        for line in found.lines
        for step in line.steps
    ]
    if told:
        return f"{'; '.join(told)}."
    if max(len(line.spots) for line in found.lines) < NEEDED_FOR_STEPS:
        return f"Too few numbers to tell a step from chance: that takes {NEEDED_FOR_STEPS}."
    return "No step in any metric: nothing moved more than chance does."


def name_of(found: Trend, line: Line) -> str:
    """The metric, with its point where there are several."""
    points = dict.fromkeys(each.point for each in found.lines)
    if len(points) == 1:
        return title(line.metric)
    parts = [line.point.label]
    for field, word in (("prompt_tokens", "in"), ("output_tokens", "out")):
        if len({getattr(point, field) for point in points}) > 1:
            parts.append(f"{getattr(line.point, field):,} {word}")
    return f"{title(line.metric)} at {', '.join(parts)}"


def sparkline(line: Line) -> str:
    """The values from lowest to highest as bars, one a number; all the same where they hardly differ."""
    values = [spot.value for spot in line.spots]
    low, high = min(values), max(values)
    if high / low - 1 < _LEAST_CHANGE:
        return _BARS[0] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def notes(found: Trend) -> Iterator[str]:
    """What to know of these numbers."""
    runs = f"{found.runs} runs of {found.workload} like {short_id(found.like)}, each the median of its trials"
    pooled = any(len(spot.runs) > 1 for line in found.lines for spot in line.spots)
    yield f"{runs}; runs of one {found.over} are one number, their median" if pooled else runs
    if found.left_out:
        fit = "one other doesn't fit" if found.left_out == 1 else f"{found.left_out} others don't fit"
        yield f"{fit}: {found.why}"
    if found.unlabelled:
        yield f"{found.unlabelled} more without a known {found.over}"
    if any(line.steps for line in found.lines):
        yield "a step is improbable by chance (p < 1 %, Pettitt); it warns → `benchsuite ab` measures it"


def shown_value(line: Line, value: float) -> str:
    """A number in its unit."""
    if line.unit.startswith("$"):
        return dollars(Estimate(value=value))
    return number(Estimate(value=value), unit="ms" if line.unit == "ms" else "")


def _columns(found: Trend, line: Line) -> list[Column]:
    spots = line.spots
    columns = [("when (UTC)", [spot.when[:16].replace("T", " ") for spot in spots], True)]
    if found.over != TIME:
        columns.insert(0, (found.over, [called(spot) for spot in spots], True))
    if len({spot.server for spot in spots}) > 1 or found.over == TIME:
        columns.append(("server", [spot.server for spot in spots], True))
    if any(len(spot.runs) > 1 for spot in spots):
        columns.append(("runs", [f"{len(spot.runs)}" for spot in spots], False))
    columns.append((title(line.metric), [shown_value(line, spot.value) for spot in spots], False))
    columns.append(("change", [_change(spot.change) for spot in spots], False))
    steps = {step.at: step for step in line.steps}
    if steps:
        marks = [f"◀ {moved(line, steps[at])}" if at in steps else "" for at in range(len(spots))]
        columns.append(("step", marks, True))
    return [
        Column(heading=(name,), cells=tuple(cells), left=left, whole=name != "server")
        for name, cells, left in columns
    ]


def called(spot: Spot, *, short: bool = False) -> str:
    """A commit by twelve or seven characters, a time to the minute or the day, else the label's value."""
    if not spot.at:
        return spot.when[5:10] if short else spot.when[:16].replace("T", " ")
    is_hash = len(spot.at) == 40 and set(spot.at) <= set("0123456789abcdef")
    return spot.at[: 7 if short else 12] if is_hash else spot.at


def _change(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return "0 %" if abs(ratio - 1) < _SMALL else f"{percent(ratio)} %"


def percent(ratio: float) -> str:
    """1.07 → `+7.0`."""
    return f"{'+' if ratio > 1 else '−'}{rounded(abs(100 * (ratio - 1)), digits=2, decimals=1)}"


def moved(line: Line, step: Step) -> str:
    """`worse by 12 %`."""
    ratio = step.after / step.before
    worse = (ratio > 1) == (line.better == "lower")
    return f"{'worse' if worse else 'better'} by {rounded(abs(100 * (ratio - 1)), digits=2, decimals=1)} %"
