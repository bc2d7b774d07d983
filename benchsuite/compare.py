"""Runs side by side: a different backend, model, GPU or version is the point, and is listed.

What was asked has to be the same: runs of another workload, with other metric definitions, or invalid
ones are refused. Points are matched by their lengths and their load. Two arms that were measured in turn are
compared pair by pair.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from benchsuite.differences import Difference, asked_differently, obstacles, told_apart
from benchsuite.errors import InvalidMeasurement, NotComparable, UsageError
from benchsuite.pairs import Arm, Key, Numbers, pairs_of, series_of, takes
from benchsuite.stats.compare import FEWEST_TRIALS, MARGIN, Better, Effect, effect
from benchsuite.stats.paired import FEWEST_PAIRS, paired_effect
from benchsuite.stats.series import MEASURES, USUAL, Series
from benchsuite.store.runs import RunDir
from benchsuite.types import Manifest, Noun, Point, Run, Verdict
from benchsuite.workload.places import in_full, place_of

_Axes = Point
"""What is held fixed in a point, whatever its place among the others."""

_Measured = Mapping[_Axes, Mapping[str, Series]]

_TOLD_TOO = frozenset(
    {"short_trial", "output_tokens", "missing_usage", "over_slots", "several_tokens", "speculation"}
)
"""Warnings that condemn no run, but whose numbers are less comparable."""

MORE_TRIALS = "--trials 3"
ONE_PAIR = "one pair"
WITHOUT = "a trial without answers"
"""Why a row has no interval, beside a quantile's `n<36`."""


class Side(Noun, frozen=True, kw_only=True):
    """One of the runs. `reasons`: what its verdict rests on, and at which load.

    `assumed_lengths`: the server counts no tokens, so its prompts' lengths are a guess. `group`: what it
    stands for, where runs are compared by something.
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
    group: str = ""


class Row(Noun, frozen=True, kw_only=True):
    """One metric at one point. `base`, `other`: geometric means of the trials' numbers, in `unit`.

    `trials`: how many of the base and of the other had a number. `note`: why there is no interval;
    empty: there is one. `paired`: so many pairs of trials the effect is that of; 0: it isn't one of pairs.
    """

    metric: str
    unit: str
    better: Better
    base: float | None
    other: float | None
    trials: tuple[int, int]
    effect: Effect
    note: str = ""
    paired: int = 0


class Pair(Noun, frozen=True, kw_only=True):
    """A point that both runs have, with its metrics."""

    point: Point
    rows: tuple[Row, ...]


class Comparison(Noun, frozen=True, kw_only=True):
    """A run against its base: ratio, interval and verdict per metric, and what they differ in.

    `workload_digest` is the base's; `digest_equal`: the other has the same. Otherwise
    `asked_differently` says in what. `same`: whether prompts had the same number of tokens or the
    same text. `plans`: in how many trials both sent the very same bytes, of how many that both have and
    whose digests are known. `margin`: differences up to this share count as the same. The points of one
    alone aren't compared. `differs_in` was chosen, or isn't known not to be; `also_changed` nobody asked for.
    `by`: what the runs are compared by. `paired`: so many pairs of trials were measured in turn; 0: the runs
    aren't arms.
    """

    base: Side
    other: Side
    workload: str
    workload_digest: str
    digest_equal: bool
    other_digest: str = ""
    plans: tuple[int, int] = (0, 0)
    same: str
    cache: str
    metrics_version: int
    margin: float
    by: str = ""
    paired: int = 0
    differs_in: tuple[Difference, ...]
    also_changed: tuple[Difference, ...] = ()
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
    by: str = "",
    groups: Sequence[str] = (),
) -> tuple[Comparison, ...]:
    """Each further run against the first; `metrics` (names or their beginnings) empty: the usual ones.

    `by`: the difference that is looked for, and `groups` what each run stands for in it; empty: anything.

    Raises `UsageError` for fewer than two different runs or an unknown metric, `InvalidMeasurement`
    for a run whose numbers can't be trusted, `NotComparable` where nothing can be set side by side, or where
    no two runs have a metric that was named.
    """
    metrics = tuple(metrics)
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
                f"run {run.manifest.run_id} is invalid: {why_invalid(run)}; "
                "measure it again, or compare all the same with --allow-invalid"
            )
    arms = [Arm(run_dir=each, manifest=run.manifest) for each, run in zip(run_dirs, runs, strict=True)]
    base, *others = runs
    shared = [_shared(base, other) for other in others]
    wanted = {axes for each in shared for axes in each}
    measured = [_measured(arm, _points(run), wanted, names) for arm, run in zip(arms, runs, strict=True)]
    marks = tuple(groups) or ("",) * len(runs)
    found = tuple(
        _comparison(
            (base, other),
            axes,
            (measured[0], measured[i]),
            _in_pairs(arms[0], arms[i], names),
            margin,
            by,
            (marks[0], marks[i]),
        )
        for i, (other, axes) in enumerate(zip(others, shared, strict=True), 1)
    )
    known = {row.metric for each in found for pair in each.points for row in pair.rows}
    if lacking := unknown(metrics, known):
        raise NotComparable(lacking)
    return found


def unknown(asked: Iterable[str], known: Collection[str]) -> str:
    """What was asked for and has no metric among the `known`, and what the last takes; empty: nothing."""
    each = map(chosen_metrics, ([word] for word in asked))
    lacking = [name for names in each if not set(names) & set(known) for name in names]
    return f"no two runs here both have {', '.join(lacking)}; {takes(lacking[-1])}" if lacking else ""


def chosen_metrics(asked: Iterable[str]) -> tuple[str, ...]:
    """The metrics whose names begin with what was asked; the usual ones, if nothing was."""
    chosen: dict[str, None] = {}
    for word in asked:
        found = [word] if word in MEASURES else [name for name in USUAL if word and name.startswith(word)]
        if not found:
            raise UsageError(f"no metric called {word!r}; there are: {', '.join(MEASURES)}")
        chosen |= dict.fromkeys(found)
    return tuple(name for name in MEASURES if name in chosen) or USUAL


def _shared(base: Run, other: Run) -> tuple[_Axes, ...]:
    """The points that both have, in the base's order."""
    who = f"runs {base.manifest.run_id} and {other.manifest.run_id} can't be compared"
    if found := obstacles(base.manifest, other.manifest):
        raise NotComparable(f"{who}: they have {'; '.join(found)}")
    theirs = _points(other)
    shared = tuple(axes for axes in _points(base) if axes in theirs)
    if not shared:
        ours = "; ".join(in_full(point) for point in _points(base).values())
        found_there = "; ".join(in_full(point) for point in theirs.values())
        raise NotComparable(
            f"{who}: they share no load and lengths ({ours or 'nothing'} against {found_there or 'nothing'})"
        )
    return shared


def _points(run: Run) -> dict[_Axes, Point]:
    """Points by what is held fixed in them, as far as they were measured."""
    points = [row.point for row in run.summaries]
    return {msgspec.structs.replace(each, index=0): each for each in points}


def _measured(
    arm: Arm, points: Mapping[_Axes, Point], wanted: Iterable[_Axes], names: Sequence[str]
) -> _Measured:
    """Each wanted point's metrics as one number per trial, from its records."""
    return {
        axes: series_of(arm.run_dir, arm.manifest, points[axes], names) for axes in wanted if axes in points
    }


def _in_pairs(base: Arm, other: Arm, names: Sequence[str]) -> Numbers | None:
    """The numbers of two arms that were measured in turn; None: they weren't, or not even one pair."""
    pairing, kept = base.manifest.pairing, _pairs(base.manifest, other.manifest)
    if pairing is None or not kept:
        return None
    both = msgspec.structs.replace(base.manifest, pairing=msgspec.structs.replace(pairing, kept=kept))
    return pairs_of(msgspec.structs.replace(base, manifest=both), other, names)


def _pairs(base: Manifest, other: Manifest) -> tuple[int, ...]:
    """The trials that two runs have in pairs, as arms of one A/B."""
    ours, theirs = base.pairing, other.pairing
    if ours is None or theirs is None or ours.id != theirs.id or ours.arm == theirs.arm:
        return ()
    return tuple(trial for trial in ours.kept if trial in theirs.kept)


def _comparison(
    runs: tuple[Run, Run],
    shared: Sequence[_Axes],
    measured: tuple[_Measured, _Measured],
    pairs: Numbers | None,
    margin: float,
    by: str,
    groups: tuple[str, str],
) -> Comparison:
    base, other = runs
    ours, theirs = _points(base), _points(other)
    manifest = base.manifest
    chosen, also = told_apart(manifest, other.manifest, by)
    return Comparison(
        base=_side(base, shared, groups[0]),
        other=_side(other, shared, groups[1]),
        workload=f"{manifest.workload.name}@{manifest.workload.version}",
        workload_digest=manifest.workload_digest,
        digest_equal=manifest.workload_digest == other.manifest.workload_digest,
        other_digest=other.manifest.workload_digest,
        plans=_plans(base, other, shared),
        same=manifest.workload.same,
        cache=" and ".join(dict.fromkeys(axes.cache for axes in shared)),
        metrics_version=manifest.metrics_version,
        margin=margin,
        by=by,
        paired=len(_pairs(manifest, other.manifest)),
        differs_in=chosen,
        also_changed=also,
        asked_differently=asked_differently(manifest, other.manifest),
        points=tuple(
            Pair(
                point=ours[axes],
                rows=_rows(measured[0][axes], measured[1][axes], pairs, ours[axes].index, margin),
            )
            for axes in shared
        ),
        only_base=tuple(point for axes, point in ours.items() if axes not in theirs),
        only_other=tuple(point for axes, point in theirs.items() if axes not in ours),
    )


def _plans(base: Run, other: Run, shared: Sequence[_Axes]) -> tuple[int, int]:
    """In how many trials both sent the same, and how many there are to be compared."""
    ours, theirs = (
        {
            (axes, info.trial): info.plan_digest
            for axes, point in _points(run).items()
            for info in run.manifest.trials
            if axes in shared and info.point == point.index and info.plan_digest
        }
        for run in (base, other)
    )
    both = ours.keys() & theirs.keys()
    return sum(ours[place] == theirs[place] for place in both), len(both)


def _rows(
    base: Mapping[str, Series], other: Mapping[str, Series], pairs: Numbers | None, point: int, margin: float
) -> tuple[Row, ...]:
    """The metrics that both have at a point."""
    names = [name for name in base if name in other]
    if pairs is None:
        return tuple(_row(name, base[name], other[name], margin) for name in names)
    return tuple(_paired_row((name, point), pairs, margin) for name in names)


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


def _paired_row(key: Key, numbers: Numbers, margin: float) -> Row:
    """The same from pairs of trials: those of which both have a number."""
    measure = MEASURES[key[0]]
    base, other = numbers.pairs.get(key, ((), ()))
    found = paired_effect(base, other, better=measure.better, margin=margin, alpha=numbers.alpha)
    note = ""
    if found.low is None:
        few = numbers.few.get(key)
        note = f"n<{few[1]}" if few else ONE_PAIR if len(base) < FEWEST_PAIRS else WITHOUT
    return Row(
        metric=key[0],
        unit=measure.unit,
        better=measure.better,
        base=_geometric_mean(base),
        other=_geometric_mean(other),
        trials=(len(base), len(other)),
        effect=found,
        note=note,
        paired=len(base),
    )


def _no_interval(base: Series, other: Series) -> str:
    """What would have to be different for an interval."""
    for series in (base, other):
        if series.n < series.needs:
            return f"n<{series.needs}"
    return MORE_TRIALS if min(len(base.values), len(other.values)) < FEWEST_TRIALS else WITHOUT


def _geometric_mean(values: Sequence[float]) -> float | None:
    if not values or not all(0 < value < math.inf for value in values):
        return None
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _side(run: Run, shared: Sequence[_Axes], group: str) -> Side:
    manifest = run.manifest
    return Side(
        run_id=manifest.run_id,
        started=manifest.started,
        status=run.status,
        verdict=run.verdict,
        backend=manifest.backend,
        server=f"{manifest.identity.server} {manifest.identity.version}".strip(),
        model=manifest.model,
        gpu=manifest.gpu,
        reasons=tuple(_reasons(run, shared)),
        assumed_lengths=manifest.lengths is not None and manifest.lengths.source == "assumed",
        group=group,
    )


def _reasons(run: Run, shared: Sequence[_Axes]) -> Iterable[str]:
    """What the points that are compared are suspect of, each reason once with its loads."""
    found: dict[tuple[str, str], list[str]] = {}
    points = _points(run)
    compared = [points[axes] for axes in shared]
    for row in run.summaries:
        for warning in row.warnings:
            if row.point in compared and (warning.level != "told" or warning.code in _TOLD_TOO):
                level: str = "note" if warning.level == "told" else warning.level
                found.setdefault((level, warning.message.rstrip(".")), []).append(
                    place_of(row.point, compared)
                )
    for (level, message), labels in found.items():
        yield f"{level} ({'; '.join(labels)}): {message}"


def why_invalid(run: Run) -> str:
    """The first reason against a run."""
    reasons = [warning for row in run.summaries for warning in row.warnings if warning.level == "invalid"]
    return reasons[0].message.rstrip(".") if reasons else "nothing was answered"
