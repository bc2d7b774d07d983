"""Several runs of one command in a terminal: who was measured, one table, what to know, what to type next."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from benchsuite.report.points import Column, point_columns
from benchsuite.report.render import COLOURS, table, words
from benchsuite.report.screen import (
    error_line,
    sentence,
    short_model,
    target_line,
    warning_lines,
    workload_line,
)
from benchsuite.report.units import NOTHING
from benchsuite.types import Run

_TYPED = 10
"""Characters of an id to type: the time in milliseconds, which no other run of this machine has."""

_P99_DROP = 2
_TOLD_OTHERWISE = frozenset({"backend", "address", "model"})
"""Axes that aren't settings of an engine."""


def several_screen(
    runs: Sequence[Run], *, store: str, width: int, styled: bool = False, now: datetime | None = None
) -> str:
    """The whole screen after a command that made several runs; `store` is the path as it may be shown."""
    first = runs[0].manifest
    _, names = names_of(runs)
    parts = [words(target_line(run.manifest), width=width, indent=2) for run in runs]
    parts += [words(workload_line(first), width=width, indent=2), ""]
    parts += [words(sentence(run), width=width, styled=styled, style="bold", indent=2) for run in runs]
    parts += ["", table(merged_columns(runs), width=width, styled=styled), ""]
    told = [
        words(f" {line}", width=width, styled=styled, style=COLOURS.get(level, ""), indent=3)
        for level, line in _told(runs, names)
    ]
    parts += [*told, ""] if told else []
    kept = ", ".join(f"{_typed(run)} ({name})" for run, name in zip(runs, names, strict=True))
    own = () if first.workload.batch else (error_line(first, now or datetime.now(UTC)),)
    lines = (*own, f"Runs {kept} kept in {store}", _next(runs))
    parts += [words(f" {line}", width=width, indent=1) for line in lines]
    return "\n".join(parts)


def merged_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """One table of all runs' points: first who, then the columns of one run that has them all."""
    rows = tuple(row for run in runs for row in run.summaries)
    heading, names = _who(runs)
    columns = point_columns(msgspec.structs.replace(_priced(runs), summaries=rows))
    # The names take room that a table of one run has for its p99.
    return (
        *([_of_runs(runs, (heading,), names, left=True)] if heading else []),
        *(
            _of_runs(runs, ("engine", name), [run.manifest.axes.get(name, NOTHING) for run in runs])
            for name in _settings(runs)
        ),
        *_parameters(runs),
        *(msgspec.structs.replace(c, drop=c.drop or _P99_DROP * (c.title == "p99")) for c in columns),
    )


def _priced(runs: Sequence[Run]) -> Run:
    """The run whose columns are those of all: one that costs something, if any does."""
    costs = [run for run in runs if run.manifest.price or run.manifest.token_price or run.manifest.gpu]
    return next(
        iter([run for run in costs if run.manifest.price or run.manifest.token_price] or costs), runs[0]
    )


def names_of(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """What tells the runs apart, in as few words as do: a heading for it, and each run's name."""
    heading, names = _who(runs)
    found = []
    for run, name in zip(runs, names, strict=True):
        axes = run.manifest.axes
        own = [f"{setting} {axes[setting]}" for setting in _settings(runs) if setting in axes]
        found.append(" ".join([name] * bool(heading) + own))
    return heading or "engine", found


def _who(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """What tells servers and models apart, whatever settings their engines have; no heading: there is one."""
    servers = [run.manifest.identity.server for run in runs]
    models = [short_model(run.manifest) for run in runs]
    both = [f"{server} {model}" for server, model in zip(servers, models, strict=True)]
    urls = [run.manifest.url.partition("://")[2] for run in runs]
    settings = _settings(runs)
    arms = [
        tuple((name, value) for name, value in run.manifest.axes.items() if name not in settings)
        if settings
        else number
        for number, run in enumerate(runs)
    ]
    if len(set(arms)) == 1:
        return "", both
    for heading, names in (("model", models), ("server", servers), ("target", both), ("address", urls)):
        others_alike = heading != "model" or len(set(servers)) == 1
        told = len(set(names)) == len(set(zip(arms, names, strict=True))) == len(set(arms))
        if others_alike and all(names) and told:
            return heading, names
    return "target", [f"{number} {name}" for number, name in enumerate(both, 1)]


def _settings(runs: Sequence[Run]) -> list[str]:
    """Settings of the engine that the runs' sweep varies."""
    found = dict.fromkeys(name for run in runs for name in run.manifest.axes)
    return [name for name in found if name not in _TOLD_OTHERWISE]


def _parameters(runs: Sequence[Run]) -> list[Column]:
    """How large the models are, where there are several and a server tells."""
    sizes = [run.manifest.identity.details.get("parameters", "") for run in runs]
    if len({run.manifest.model for run in runs}) == 1 or not any(sizes):
        return []
    return [_of_runs(runs, ("parameters",), [size or "unknown" for size in sizes])]


def _of_runs(
    runs: Sequence[Run], heading: tuple[str, ...], values: Sequence[str], *, left: bool = False
) -> Column:
    """A column with a value for each run, at each of its points."""
    cells = tuple(value for run, value in zip(runs, values, strict=True) for _ in run.summaries)
    return Column(heading=heading, cells=cells, left=left, whole=True)


def _told(runs: Sequence[Run], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(level, line) of each run's warnings, worst first; what holds for all is said once, without names."""
    found: dict[tuple[str, str], list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        for told in warning_lines(run):
            found.setdefault(told, []).append(name)
    levels = ("invalid", "suspect", "told")
    for (level, line), who in sorted(found.items(), key=lambda item: levels.index(item[0][0])):
        yield level, line if len(who) == len(runs) else f"{', '.join(who)}: {line}"


def _next(runs: Sequence[Run]) -> str:
    """What to type next: a comparison of those that can be compared, else why they can't."""
    fit = [run for run in runs if run.status == "finished" and run.verdict != "invalid"]
    if len(fit) < 2:
        return f"How it was measured: benchsuite show {_typed(runs[-1])} --how"
    return f"Is the difference real? benchsuite compare {' '.join(map(_typed, fit))}"


def _typed(run: Run) -> str:
    """As much of a run's id as finds it, to copy."""
    return run.manifest.run_id[:_TYPED]
