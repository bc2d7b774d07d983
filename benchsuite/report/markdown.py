"""A run as Markdown to paste into an issue or a README."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from benchsuite.report.points import Column, point_columns
from benchsuite.report.screen import error_line, sentence, target_line, warning_lines, workload_line
from benchsuite.report.stages import Staged, stage_columns, stage_title
from benchsuite.report.turns import Talked, turn_columns, turn_title
from benchsuite.types import Run


def markdown(run: Run, *, now: datetime | None = None, stages: Staged = (), turns: Talked = ()) -> str:
    """The sentence, a table, the warnings and how it was measured; ends with a line feed."""
    manifest = run.manifest
    lines = [f"**{escaped(sentence(run))}**", ""]
    if run.summaries:
        lines += [*_table(point_columns(run)), ""]
    for point, rows in stages:
        title = stage_title(point, [one for one, _ in stages])
        lines += [escaped(title), "", *_table(stage_columns(rows)), ""]
    talking = [point for point, _ in turns]
    for point, spoken in turns:
        lines += [escaped(turn_title(point, talking)), "", *_table(turn_columns(spoken)), ""]
    told = [f"- {escaped(line)}" for _, line in warning_lines(run)]
    lines += [*told, ""] if told else []
    lines += [
        f"{escaped(target_line(manifest))}  ",
        f"{escaped(workload_line(manifest))}  ",
        *(() if manifest.workload.batch else (f"{error_line(manifest, now or datetime.now(UTC))}  ",)),
        f"benchsuite {manifest.version}, run `{manifest.run_id}`, {manifest.started}",
    ]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[Column]) -> list[str]:
    return [
        markdown_row(column.title for column in columns),
        markdown_row(":--" if column.left else "--:" for column in columns),
        *(markdown_row(cells) for cells in zip(*(column.cells for column in columns), strict=True)),
    ]


def markdown_row(cells: Iterable[str]) -> str:
    """One row of a table, its cells escaped."""
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def escaped(text: str) -> str:
    """What Markdown would take for markup, kept as it is."""
    for mark in "\\|*_<":
        text = text.replace(mark, "\\" + mark)
    return text
