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
from benchsuite.stats.changes import FRESH
from benchsuite.trend import NEEDED_FOR_STEPS, TIME, Line, Spot, Step, Trend, unseen
from benchsuite.types import Estimate
from benchsuite.workload.places import place_of

_BARS = "▁▂▃▄▅▆▇█"
_LEAST_SPAN = 0.05
"""A sparkline's whole height is at least this share of the lowest value, so that noise doesn't fill it."""
_SMALL = 0.0005
_CSV = (
    *("metric", "unit", "better", "prompt_tokens", "output_tokens", "concurrency", "rate", "at", "started"),
    *("server", "runs", "value", "change", "step", "cache", "hit_ratio", "stream"),
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
        young = line.fresh.at if line.fresh else None
        for at, spot in enumerate(line.spots):
            writer.writerow(
                [
                    *(line.metric, line.unit, line.better, point.prompt_tokens, point.output_tokens),
                    *(point.concurrency, point.rate, spot.at, spot.when, spot.server, " ".join(spot.runs)),
                    *(spot.value, spot.change, "yes" if spot.step else "fresh" if at == young else "no"),
                    *(point.cache, point.hit_ratio, point.stream),
                ]
            )
    return text.getvalue()


def sentence(found: Trend) -> str:
    """What moved, each step with its size and its place; else what can't be known to have."""
    told = []
    for line in found.lines:
        name = name_of(found, line)
        told += [f"{name} {moved(line, step)} at {_which(line.spots[step.at])}" for step in line.steps]
        if line.fresh:
            newest = f"newest {len(line.spots) - line.fresh.at} numbers"
            place = _which(line.spots[line.fresh.at])
            told.append(
                f"{name} {moved(line, line.fresh)} in the {newest}, from {place}: a step if they stay"
            )
    if told:
        return f"{'; '.join(told)}."
    if max(len(line.spots) for line in found.lines) < NEEDED_FOR_STEPS:
        return f"Too few numbers to tell a step from chance: that takes {NEEDED_FOR_STEPS}."
    return f"No lasting step seen in any metric; {_blind(found, 'one')}."


def _blind(found: Trend, step: str) -> str:
    """Of how many of the newest numbers nothing can be said yet."""
    count = max(map(unseen, found.lines))
    newest = "with the newest number" if count == 1 else f"in the newest {count} numbers"
    return f"{step} that begins {newest} can't be seen yet"


def _which(spot: Spot) -> str:
    """What it is called; a run also by its id, as several may be of one minute."""
    return called(spot) if spot.at else f"{called(spot)} (run {short_id(spot.runs[0])})"


def name_of(found: Trend, line: Line) -> str:
    """The metric, with its point where there are several."""
    points = dict.fromkeys(each.point for each in found.lines)
    if len(points) == 1:
        return title(line.metric)
    return f"{title(line.metric)} at {place_of(line.point, points)}"


def sparkline(line: Line) -> str:
    """The values from lowest to highest as bars, one a number; low ones where they hardly differ."""
    values = [spot.value for spot in line.spots]
    low = min(values)
    span = max(max(values) - low, _LEAST_SPAN * low)
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)


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
    if any(line.fresh for line in found.lines):
        yield (
            f"◁ the newest numbers all lie beyond those before, which chance does in less than "
            f"{100 * FRESH:g} %; it warns → more runs, or `benchsuite ab`"
        )
    if max(len(line.spots) for line in found.lines) >= NEEDED_FOR_STEPS:
        if any(line.steps or line.fresh for line in found.lines):
            yield _blind(found, "a step")
        yield "a step that hardly exceeds the noise takes seven numbers or more on each side, or isn't seen"


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
    if found.over == TIME:
        columns.insert(1, ("run", [short_id(spot.runs[0]) for spot in spots], True))
    if any(len(spot.runs) > 1 for spot in spots):
        columns.append(("runs", [f"{len(spot.runs)}" for spot in spots], False))
    columns.append((title(line.metric), [shown_value(line, spot.value) for spot in spots], False))
    columns.append(("change", [_change(spot.change) for spot in spots], False))
    marks = {step.at: f"◀ {moved(line, step)}" for step in line.steps}
    if line.fresh:
        marks[line.fresh.at] = f"◁ {moved(line, line.fresh)}"
    if marks:
        columns.append(("step", [marks.get(at, "") for at in range(len(spots))], True))
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
