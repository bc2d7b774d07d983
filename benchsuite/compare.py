"""Runs side by side: a different backend, model, GPU or version is the point, and is listed.

What was asked has to be the same: runs of another workload, with other metric definitions, or invalid
ones are refused. Points are matched by their lengths and their load.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from benchsuite.differences import Difference, asked_differently, differs_in, obstacles
from benchsuite.errors import InvalidMeasurement, NotComparable, UsageError
from benchsuite.stats.columns import NEEDED, trials_of
from benchsuite.stats.compare import FEWEST_TRIALS, MARGIN, Better, Effect, effect
from benchsuite.stats.series import MEASURES, Series, all_series
from benchsuite.store.runs import RunDir
from benchsuite.types import Manifest, Noun, Point, Run, Verdict

_Axes = Point
"""What is held fixed in a point, whatever its place among the others."""

_Measured = Mapping[_Axes, Mapping[str, Series]]

_TOLD_TOO = frozenset(
    {"short_trial", "output_tokens", "missing_usage", "over_slots", "several_tokens", "speculation"}
)
"""Warnings that condemn no run, but whose numbers are less comparable."""


class Side(Noun, frozen=True, kw_only=True):
    """One of the runs. `reasons`: what its verdict rests on, and at which load.

    `assumed_lengths`: the server counts no tokens, so the lengths of its prompts are a guess.
    """

    run_id: str
    started: str
    status: str
    verdict: Verdict
    backend: str
    server: str
    model: str
    gpu: str
    reasons: tuple[str, ...]
    assumed_lengths: bool = False


class Row(Noun, frozen=True, kw_only=True):
    """One metric at one point. `base`, `other`: geometric means of the trials' numbers, in `unit`.

    `trials`: how many of the base and of the other had a number. `note`: why there is no interval;
    empty: there is one.
    """

    metric: str
    unit: str
    better: Better
    base: float | None
    other: float | None
    trials: tuple[int, int]
    effect: Effect
    note: str = ""


class Pair(Noun, frozen=True, kw_only=True):
    """A point that both runs have, with its metrics."""

    point: Point
    rows: tuple[Row, ...]


class Comparison(Noun, frozen=True, kw_only=True):
    """A run against its base: ratio, interval and verdict per metric, and what they differ in.

    `workload_digest` is the base's; `digest_equal`: the other has the same. Otherwise
    `asked_differently` says in what. `same`: whether prompts had the same number of tokens or the
    same text. `margin`: differences up to this share count as the same. The points of one alone
    aren't compared.
    """

    base: Side
    other: Side
    workload: str
    workload_digest: str
    digest_equal: bool
    same: str
    cache: str
    metrics_version: int
    margin: float
    differs_in: tuple[Difference, ...]
    asked_differently: tuple[Difference, ...]
    points: tuple[Pair, ...]
    only_base: tuple[Point, ...]
    only_other: tuple[Point, ...]


def compare(
    run_dirs: Sequence[RunDir],
    *,
    margin: float = MARGIN,
    metrics: Iterable[str] = (),
    allow_invalid: bool = False,
) -> tuple[Comparison, ...]:
    """Each further run against the first; `metrics` (names or their beginnings) empty: all there are.

    Raises `UsageError` for fewer than two different runs or an unknown metric, `InvalidMeasurement`
    for a run whose numbers can't be trusted, `NotComparable` where nothing can be set side by side.
    """
    names = chosen_metrics(metrics)
    if len(run_dirs) < 2:
        raise UsageError("name two runs or more, such as `benchsuite compare latest~1 latest`")
    ids = [run_dir.run_id for run_dir in run_dirs]
    twice = next((run_id for i, run_id in enumerate(ids) if run_id in ids[:i]), None)
    if twice is not None:
        raise UsageError(f"run {twice} is named twice; name another one, `benchsuite results` lists them")
    runs = [run_dir.run() for run_dir in run_dirs]
    for run in runs:
        if run.verdict == "invalid" and not allow_invalid:
            raise InvalidMeasurement(
                f"run {run.manifest.run_id} is invalid: {_why(run)}; "
                "measure it again, or compare all the same with --allow-invalid"
            )
    base, *others = runs
    shared = [_shared(base, other) for other in others]
    wanted = {axes for each in shared for axes in each}
    measured = [_measured(run_dir, run, wanted, names) for run_dir, run in zip(run_dirs, runs, strict=True)]
    found = tuple(
        _comparison(base, other, axes, (measured[0], measured[i]), margin)
        for i, (other, axes) in enumerate(zip(others, shared, strict=True), 1)
    )
    if not any(pair.rows for each in found for pair in each.points):
        raise NotComparable(
            f"no two runs here both have {', '.join(names)}; $ needs a price, such as --gpu H100"
        )
    return found


def chosen_metrics(asked: Iterable[str]) -> tuple[str, ...]:
    """The metrics whose names begin with what was asked; all, if nothing was."""
    chosen: dict[str, None] = {}
    for word in asked:
        found = [word] if word in MEASURES else [name for name in MEASURES if word and name.startswith(word)]
        if not found:
            raise UsageError(f"no metric called {word!r}; there are: {', '.join(MEASURES)}")
        chosen |= dict.fromkeys(found)
    return tuple(name for name in MEASURES if name in chosen) or tuple(MEASURES)


def _shared(base: Run, other: Run) -> tuple[_Axes, ...]:
    """The points that both have, in the base's order."""
    who = f"runs {base.manifest.run_id} and {other.manifest.run_id} can't be compared"
    if found := obstacles(base.manifest, other.manifest):
        raise NotComparable(f"{who}: they have {'; '.join(found)}")
    theirs = _points(other)
    shared = tuple(axes for axes in _points(base) if axes in theirs)
    if not shared:
        ours = "; ".join(_described(point) for point in _points(base).values())
        found_there = "; ".join(_described(point) for point in theirs.values())
        raise NotComparable(
            f"{who}: they share no load and lengths ({ours or 'nothing'} against {found_there or 'nothing'})"
        )
    return shared


def _points(run: Run) -> dict[_Axes, Point]:
    """Points by what is held fixed in them, as far as they were measured."""
    points = [row.point for row in run.summaries]
    return {msgspec.structs.replace(each, index=0): each for each in points}


def _described(point: Point) -> str:
    return f"{point.label}, {point.prompt_tokens:,} in, {point.output_tokens:,} out"


def _measured(run_dir: RunDir, run: Run, wanted: Iterable[_Axes], names: Sequence[str]) -> _Measured:
    """Each wanted point's metrics as one number per trial, from its records."""
    manifest, found = run.manifest, {}
    points = _points(run)
    for axes in wanted:
        if axes in points:
            point = points[axes]
            infos = [info for info in manifest.trials if info.point == point.index]
            trials = trials_of(run_dir.records(point.index, columns=NEEDED), infos)
            kept = [(info, columns) for info, columns in trials if len(columns)]
            found[axes] = all_series(point, kept, manifest.price, names)
    return found


def _comparison(
    base: Run, other: Run, shared: Sequence[_Axes], measured: tuple[_Measured, _Measured], margin: float
) -> Comparison:
    ours, theirs = _points(base), _points(other)
    manifest = base.manifest
    return Comparison(
        base=_side(base, shared),
        other=_side(other, shared),
        workload=f"{manifest.workload.name}@{manifest.workload.version}",
        workload_digest=manifest.workload_digest,
        digest_equal=manifest.workload_digest == other.manifest.workload_digest,
        same=manifest.workload.same,
        cache=" and ".join(manifest.workload.cache),
        metrics_version=manifest.metrics_version,
        margin=margin,
        differs_in=differs_in(manifest, other.manifest),
        asked_differently=asked_differently(manifest, other.manifest),
        points=tuple(
            Pair(point=ours[axes], rows=_rows(measured[0][axes], measured[1][axes], margin))
            for axes in shared
        ),
        only_base=tuple(point for axes, point in ours.items() if axes not in theirs),
        only_other=tuple(point for axes, point in theirs.items() if axes not in ours),
    )


def _rows(base: Mapping[str, Series], other: Mapping[str, Series], margin: float) -> tuple[Row, ...]:
    """The metrics that both have at a point."""
    return tuple(_row(name, series, other[name], margin) for name, series in base.items() if name in other)


def _row(name: str, base: Series, other: Series, margin: float) -> Row:
    measure = MEASURES[name]
    found = effect(base.values, other.values, better=measure.better, margin=margin)
    return Row(
        metric=name,
        unit=measure.unit,
        better=measure.better,
        base=_geometric_mean(base.values),
        other=_geometric_mean(other.values),
        trials=(len(base.values), len(other.values)),
        effect=found,
        note="" if found.low is not None else _no_interval(base, other),
    )


def _no_interval(base: Series, other: Series) -> str:
    """What would have to be different for an interval."""
    for series in (base, other):
        if series.n < series.needs:
            return f"n<{series.needs}"
    if min(len(base.values), len(other.values)) < FEWEST_TRIALS:
        return "--trials 3"
    return "a trial without answers"


def _geometric_mean(values: Sequence[float]) -> float | None:
    if not values or not all(0 < value < math.inf for value in values):
        return None
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _side(run: Run, shared: Sequence[_Axes]) -> Side:
    manifest = run.manifest
    return Side(
        run_id=manifest.run_id,
        started=manifest.started,
        status=run.status,
        verdict=run.verdict,
        backend=manifest.backend,
        server=_server(manifest),
        model=manifest.model,
        gpu=manifest.gpu,
        reasons=tuple(_reasons(run, shared)),
        assumed_lengths=manifest.lengths is not None and manifest.lengths.source == "assumed",
    )


def _server(manifest: Manifest) -> str:
    return f"{manifest.identity.server} {manifest.identity.version}".strip()


def _reasons(run: Run, shared: Sequence[_Axes]) -> Iterable[str]:
    """What the points that are compared are suspect of, each reason once with its loads."""
    found: dict[tuple[str, str], list[str]] = {}
    points = _points(run)
    compared = [points[axes] for axes in shared]
    for row in run.summaries:
        for warning in row.warnings:
            if row.point in compared and (warning.level != "told" or warning.code in _TOLD_TOO):
                level: str = "note" if warning.level == "told" else warning.level
                found.setdefault((level, warning.message.rstrip(".")), []).append(row.point.label)
    for (level, message), labels in found.items():
        yield f"{level} ({'; '.join(labels)}): {message}"


def _why(run: Run) -> str:
    """The first reason against a run."""
    reasons = [warning for row in run.summaries for warning in row.warnings if warning.level == "invalid"]
    return reasons[0].message.rstrip(".") if reasons else "nothing was answered"
