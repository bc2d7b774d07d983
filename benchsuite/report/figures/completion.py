"""How batches were completed: the share of requests done against the time since each was created."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from benchsuite.errors import UsageError
from benchsuite.report.figures import notes
from benchsuite.report.figures.axes import dash, dots, look, plain, say
from benchsuite.report.figures.paper import INK, Layout, page, style
from benchsuite.report.figures.sheet import Sheet
from benchsuite.report.screen import short_id
from benchsuite.types import BatchInfo, Verdict

_ONE: Final = Layout(1, 1, 6.6, 3.9)
_UNITS: Final = ((3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From so many seconds on, a unit of so many, and its name."""
_ROOM: Final = 1.05
_DOT, _END = 3.5, 7.0


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One batch on its way. `shares` were done by `seconds`; empty: its server doesn't count."""

    name: str
    batch: BatchInfo
    verdict: Verdict
    seconds: tuple[float, ...]
    shares: tuple[float, ...]


def completion(sheet: Sheet) -> Figure:
    """The share of each batch's requests that were done, as its polls found. `UsageError` without batches."""
    if not sheet.batches:
        raise UsageError(
            f"run {short_id(sheet.runs[0].manifest.run_id)} is of no batches; leave --kind out to draw it"
        )
    drawn = list(_courses(sheet))
    small = [*_notes(sheet, drawn), *notes.doubts(sheet)]
    with style():
        figure, (panel,) = page(sheet, "Completion of batches", _ONE, _keys(drawn), small)
        _panel(panel, drawn)
    return figure


def check_latencies(sheet: Sheet) -> None:
    """A `UsageError` where there are none, since what is drawn are batches."""
    if sheet.batches:
        raise UsageError(
            f"run {short_id(sheet.runs[0].manifest.run_id)} is of batches, which have no latencies: "
            "nobody saw a token arrive; leave --kind out to see when how much was done"
        )


def _courses(sheet: Sheet) -> Iterator[Course]:
    """Every batch of every line, trial by trial."""
    for line in sheet.lines:
        for dot in line.dots:
            trials = [info for info in line.run.manifest.trials if info.point == dot.row.point.index]
            for info in sorted(trials, key=lambda each: each.trial):
                at = "" if sheet.axis.single else f"{dot.tick} {sheet.axis.label}"
                which = f"trial {info.trial}" if len(trials) > 1 else ""
                name = " · ".join(part for part in (line.name, at, which) if part)
                if info.batch is not None:
                    yield _course(name, info.batch, dot.row.verdict)


def _course(name: str, batch: BatchInfo, verdict: Verdict) -> Course:
    """From nothing at its creation to its end, by which the last poll's counts had come about."""
    found = [(0.0, 0.0)]
    for poll in batch.polls:
        if poll.total:
            found.append((min(poll.seconds, batch.turnaround_s), (poll.done or 0) / poll.total))
    if len(found) > 1 and found[-1][0] < batch.turnaround_s:
        found.append((batch.turnaround_s, found[-1][1]))
    seconds, shares = zip(*found, strict=True) if len(found) > 1 else ((), ())
    return Course(name=name, batch=batch, verdict=verdict, seconds=seconds, shares=shares)


def _panel(axes: Axes, drawn: Sequence[Course]) -> None:
    axes.set_title("Requests done since each batch was created")
    axes.set_ylabel("share of requests done")
    longest_s = max((course.seconds[-1] for course in drawn if course.seconds), default=0.0)
    if not longest_s:
        say(axes, "the server didn't say how many were done")
        return
    unit_s, unit = next((each, name) for least, each, name in _UNITS if longest_s >= least)
    axes.set_xlabel(f"time since creation, {unit}")
    axes.set_xlim(0, longest_s / unit_s * _ROOM)
    axes.set_ylim(0, _ROOM)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    for i, course in enumerate(drawn):
        if course.seconds:
            _draw(axes, course, i, [at / unit_s for at in course.seconds])


def _draw(axes: Axes, course: Course, i: int, xs: Sequence[float]) -> None:
    """Steps, since nothing is known between two polls; the end is the larger mark.

    Dashes let lines that lie on one another be seen.
    """
    its, gid = look(i), f"completion-{i}"
    axes.step(
        xs,
        course.shares,
        where="post",
        color=its.colour,
        linewidth=1.6,
        linestyle=dash(i),
        gid=gid,
        zorder=3,
    )
    face = its.colour if course.verdict == "valid" else "white"
    dots(axes, (xs[1:-1], course.shares[1:-1]), its, its.colour, _DOT).set_gid(f"{gid}-polls")
    end = (xs[-1:], course.shares[-1:])
    dots(axes, end, its, face, _END).set_gid(f"{gid}-{course.verdict}")
    if course.verdict == "invalid":
        axes.plot(*end, "x", color=INK, markersize=_END * 1.3, zorder=5)


def _keys(drawn: Sequence[Course]) -> list[Artist]:
    """One entry a batch; none where there is only one."""
    if len(drawn) < 2:
        return []
    return [
        Line2D(
            [], [], color=(its := look(i)).colour, marker=its.marker, markersize=6, linewidth=1.6,
            linestyle=dash(i), label=course.name,
        )
        for i, course in enumerate(drawn)
    ]  # fmt: skip


def _notes(sheet: Sheet, drawn: Sequence[Course]) -> Iterator[str]:
    counts = [sum(dot.row.outcomes.values()) for dot in sheet.dots]
    failed = sum(counts) - sum(dot.row.outcomes.get("ok", 0) for dot in sheet.dots)
    parts = [f"{sum(counts):,} requests in {len(drawn)} {'batch' if len(drawn) == 1 else 'batches'}"]
    yield " · ".join([*parts, *([f"{failed:,} of them without a good answer"] if failed else [])])
    ends = {True: "by its server's clock", False: "as we saw it"}
    clocks = [ends[by_server] for by_server in sorted({course.batch.by_server for course in drawn})]
    yield f"a dot is a poll, by which so much was done; the last one is the end, {' or '.join(clocks)}"
    if any(len(set(course.shares)) == 2 for course in drawn):
        yield "a single step: nothing was counted on the way"
    silent = sum(not course.seconds for course in drawn)
    if silent:
        yield f"not drawn: {silent:,} whose server didn't count"
