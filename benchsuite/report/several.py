"""Several runs of one command in a terminal: who was measured, one table, what to know, what to type next."""

from collections.abc import Sequence

from benchsuite.report.points import Column, point_columns
from benchsuite.report.render import COLOURS, table, words
from benchsuite.report.screen import (
    sentence,
    short_id,
    short_model,
    target_line,
    warning_lines,
    workload_line,
)
from benchsuite.report.units import NOTHING
from benchsuite.types import Run


def several_screen(runs: Sequence[Run], *, store: str, width: int, styled: bool = False) -> str:
    """The whole screen after a command that made several runs."""
    first = runs[0].manifest
    names = _names(runs)
    parts = [words(target_line(run.manifest), width=width) for run in runs]
    parts += [words(workload_line(first), width=width), ""]
    parts += [words(sentence(run), width=width, styled=styled, style="bold", indent=2) for run in runs]
    parts += ["", table(merged_columns(runs), width=width, styled=styled), ""]
    told = [
        words(f" {name}: {line}", width=width, styled=styled, style=COLOURS.get(level, ""), indent=3)
        for run, name in zip(runs, names, strict=True)
        for level, line in warning_lines(run)
    ]
    parts += [*told, ""] if told else []
    kept = ", ".join(
        f"{short_id(run.manifest.run_id)} ({name})" for run, name in zip(runs, names, strict=True)
    )
    parts.append(words(f" Runs {kept} kept in {store}", width=width, indent=1))
    parts.append(
        words(f" Is the difference real? benchsuite compare {_selectors(len(runs))}", width=width, indent=1)
    )
    return "\n".join(parts)


def merged_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """One table of all runs' points: first who, then every column that any of the runs has."""
    tables = [point_columns(run) for run in runs]
    ordered: dict[str, Column] = {}
    for columns in tables:
        for column in columns:
            ordered.setdefault(column.title, column)
    # The verdict stays last, also where a later run brings a further column.
    titles = [title for title in ordered if title != "verdict"] + ["verdict"]
    merged = [_who(runs)]
    for title in titles:
        cells: list[str] = []
        for run, columns in zip(runs, tables, strict=True):
            found = next((column for column in columns if column.title == title), None)
            cells += found.cells if found is not None else [NOTHING] * len(run.summaries)
        pattern = ordered[title]
        merged.append(
            Column(
                heading=pattern.heading,
                cells=tuple(cells),
                drop=pattern.drop,
                left=pattern.left,
                whole=pattern.whole,
            )
        )
    return tuple(merged)


def _who(runs: Sequence[Run]) -> Column:
    """The runs' names, each once for each of its points."""
    cells = [name for run, name in zip(runs, _names(runs), strict=True) for _ in run.summaries]
    return Column(heading=("",), cells=tuple(cells), left=True, whole=True)


def _names(runs: Sequence[Run]) -> list[str]:
    """What tells the runs apart: the backend, the model, or both."""
    servers = [run.manifest.identity.server for run in runs]
    models = [short_model(run.manifest) for run in runs]
    if len(set(servers)) == 1:
        return models
    if len(set(models)) == 1:
        return servers
    return [f"{server} {model}" for server, model in zip(servers, models, strict=True)]


def _selectors(count: int) -> str:
    return " ".join(["latest", *(f"latest~{back}" for back in range(1, count))][::-1])
