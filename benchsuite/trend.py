"""A metric over time or commits: one number a run, oldest first, and where its level changed.

Only runs that measured the same are set in a row: everything but the version under test is equal. What is
found warns and decides nothing.
"""

import contextlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from benchsuite.compare import chosen_metrics, unknown
from benchsuite.differences import strict_obstacles
from benchsuite.errors import NotComparable, StoreError, UsageError
from benchsuite.pairs import series_of
from benchsuite.stats.changes import Change, changes, fresh, shown_after
from benchsuite.stats.compare import Better
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import RunDir
from benchsuite.types import Manifest, Noun, Point, Run

USUAL = ("ttft_p50", "tpot_p50", "output_tokens_per_s", "cost_per_1k_usd")
"""Metrics that are told without being named, where they are known."""

TIME, COMMIT = "time", "commit"
LEAST = 2
"""So many runs are the fewest that make a trend."""

NEEDED_FOR_STEPS = 12
"""With fewer numbers no step is improbable enough to be told (`stats.changes`)."""


class Spot(Noun, frozen=True, kw_only=True):
    """One number of a line: the median of the runs that stand at it.

    `at`: the label's value, empty over time; `when`: when the newest of its runs began (ISO, UTC); `server`:
    who answered. `change`: the value over the one before it; None for the first. `step`: here a new
    level begins.
    """

    at: str
    when: str
    server: str
    runs: tuple[str, ...]
    value: float
    change: float | None = None
    step: bool = False


class Step(Noun, frozen=True, kw_only=True):
    """A change of level: spot `at` is the first after it; `before`, `after` are medians, in the unit."""

    at: int
    before: float
    after: float
    p: float


class Line(Noun, frozen=True, kw_only=True):
    """One metric at one point, oldest first.

    `fresh`: how far the newest numbers, from `at` on, lie beyond all since the last step, where chance seldom
    does that; they are too few for a step yet.
    """

    metric: str
    unit: str
    better: Better
    point: Point
    spots: tuple[Spot, ...]
    steps: tuple[Step, ...]
    fresh: Step | None = None


class Trend(Noun, frozen=True, kw_only=True):
    """What became of some metrics in the runs that are like run `like`.

    `over`: `time`, `commit` or a label's name. `left_out`: how many of the runs looked at don't fit, `why`
    the first of them doesn't; `unlabelled`: how many fit and lack the label.
    """

    like: str
    workload: str
    over: str
    runs: int
    left_out: int
    why: str
    unlabelled: int
    lines: tuple[Line, ...]


def trend(
    like: RunDir | None,
    candidates: Iterable[RunDir],
    *,
    metrics: Sequence[str] = (),
    over: str = TIME,
    commits: Sequence[str] | None = None,
    limit: int | None = None,
) -> Trend:
    """The newest `limit` runs of `candidates` (newest first) that measured what `like` did.

    `like` None: the newest of them that can be in a trend.
    `commits`: their order, oldest first, where it is over commits; a run's commit may be shorter or longer.
    Raises `UsageError` for an unknown metric, or where no run has the label; `NotComparable` for fewer than
    two runs that fit, or where these don't have what was asked.
    """
    names = _names(metrics)
    candidates = list(candidates)
    base = _newest(candidates) if like is None else like.run().manifest
    fit, left_out, why = _fitting(base, candidates, cost=_costs(metrics, names))
    places = {run.manifest.run_id: _place(run.manifest, over, commits) for _, run in fit}
    placed = [(run_dir, run) for run_dir, run in fit if places[run.manifest.run_id] is not None]
    if len(fit) >= LEAST and len(placed) < LEAST:
        raise UsageError(_unplaced(over, len(fit), len(placed), commits))
    kept = placed[:limit]
    lines = tuple(
        line for point in base.points for line in _lines(base, point, kept, places, names, over=over)
    )
    if len(kept) < LEAST or not lines:
        raise NotComparable(
            _nothing(base, [places[run.manifest.run_id] for _, run in kept], left_out, why, metrics or names)
        )
    if lacking := unknown(metrics, [line.metric for line in lines]):
        raise NotComparable(lacking)
    return Trend(
        like=base.run_id,
        workload=f"{base.workload.name}@{base.workload.version}",
        over=over,
        runs=len(kept),
        left_out=left_out,
        why=why,
        unlabelled=len(fit) - len(placed),
        lines=lines,
    )


def _names(asked: Sequence[str]) -> tuple[str, ...]:
    return chosen_metrics(asked) if asked else USUAL


def _newest(candidates: Iterable[RunDir]) -> Manifest:
    """What the newest run was that a trend may have."""
    for run_dir in candidates:
        if not run_dir.partial:
            with contextlib.suppress(StoreError):
                run = run_dir.run()
                if not _unfit(run.manifest, run, cost=False):
                    return run.manifest
    raise NotComparable("no run here can be in a trend: invalid ones and capacity searches can't")


def _costs(asked: Sequence[str], names: Sequence[str]) -> bool:
    """Do prices have to be equal? Where dollars are named; else they are told as far as they are."""
    return bool(asked) and any("usd" in name for name in names)


def _fitting(
    base: Manifest, candidates: Iterable[RunDir], *, cost: bool
) -> tuple[list[tuple[RunDir, Run]], int, str]:
    """Those that measured the same, newest first; how many don't fit, and why the first of these doesn't."""
    fit: list[tuple[RunDir, Run]] = []
    left_out, why = 0, ""
    for run_dir in candidates:
        if run_dir.partial:
            continue
        try:
            run = run_dir.run()
        except StoreError:
            continue
        reason = _unfit(base, run, cost=cost)
        if reason:
            left_out, why = left_out + 1, why or f"run {run.manifest.run_id} {reason}"
        else:
            fit.append((run_dir, run))
    return fit, left_out, why


def _unfit(base: Manifest, run: Run, *, cost: bool) -> str:
    if run.verdict == "invalid":
        return "is invalid"
    if run.manifest.capacity:
        return "is a capacity search"
    if run.manifest.pairing is not None:
        return "is an arm of two that were measured in turn"
    reasons = strict_obstacles(base, run.manifest, cost=cost)
    return f"has {reasons[0]}" if reasons else ""


def _place(manifest: Manifest, over: str, commits: Sequence[str] | None) -> tuple[int, str] | None:
    """Where a run stands: its commit's number in their order, and what it is called; None: nowhere."""
    if over == TIME:
        return 0, manifest.run_id
    name = manifest.labels.get(over)
    if not name:
        return None
    if commits is None:
        return 0, name
    found = [at for at, commit in enumerate(commits) if commit.startswith(name) or name.startswith(commit)]
    return (found[0], commits[found[0]]) if len(found) == 1 else None


def _lines(
    base: Manifest,
    point: Point,
    kept: Sequence[tuple[RunDir, Run]],
    places: Mapping[str, tuple[int, str] | None],
    names: Sequence[str],
    *,
    over: str,
) -> Iterable[Line]:
    """Every metric at one point, the runs of one place pooled, in the order of places, or as they came."""

    def wanted(run: Run) -> tuple[str, ...]:
        """Dollars only at the same prices: others would look like a step."""
        alike = _prices(run.manifest) == _prices(base)
        return tuple(name for name in names if alike or "usd" not in name)

    grouped: dict[tuple[int, str], list[tuple[Run, Mapping[str, float]]]] = {}
    for run_dir, run in reversed(kept):
        place = places[run.manifest.run_id]
        assert place is not None
        grouped.setdefault(place, []).append((run, _numbers(run_dir, run, point, wanted(run))))
    # Places without an order of their own all have number 0, and stay as they came.
    order = sorted(grouped, key=lambda place: place[0])
    for name in names:
        spots = []
        for place in order:
            known = [(run, numbers[name]) for run, numbers in grouped[place] if name in numbers]
            if known:
                newest = known[-1][0].manifest
                spots.append(
                    Spot(
                        at="" if over == TIME else place[1],
                        when=newest.started,
                        server=f"{newest.identity.server} {newest.identity.version}".strip(),
                        runs=tuple(run.manifest.run_id for run, _ in known),
                        value=statistics.median(value for _, value in known),
                    )
                )
        if len(spots) >= LEAST:
            yield _line(name, point, spots)


def _numbers(run_dir: RunDir, run: Run, point: Point, names: Sequence[str]) -> dict[str, float]:
    """A run's metrics at a point, each the median of its trials' numbers."""
    ours = msgspec.structs.replace(point, index=0)
    same = [each for each in run.manifest.points if msgspec.structs.replace(each, index=0) == ours]
    if not same:
        return {}
    return {
        name: statistics.median(series.values)
        for name, series in series_of(run_dir, run.manifest, same[0], names).items()
        if series.values and all(0 < value < math.inf for value in series.values)
    }


def _prices(manifest: Manifest) -> tuple[float | None, ...]:
    """The numbers that dollars are made of."""
    price, token = manifest.price, manifest.token_price
    hourly = (price.count * price.usd_per_gpu_hour,) if price else (None,)
    tokens = (token.usd_per_m_input, token.usd_per_m_output, token.usd_per_m_cached) if token else ()
    return (*hourly, *tokens)


def _line(name: str, point: Point, spots: Sequence[Spot]) -> Line:
    """With what changed from spot to spot, and where the level did, which is asked of logarithms."""
    logs = [math.log(spot.value) for spot in spots]
    found = changes(logs)
    last = found[-1].at if found else 0
    young = fresh(logs[last:])
    starts = {change.at for change in found}
    told = [spots[0]]
    for at, (before, spot) in enumerate(pairwise(spots), 1):
        told.append(msgspec.structs.replace(spot, change=spot.value / before.value, step=at in starts))
    return Line(
        metric=name,
        unit=MEASURES[name].unit,
        better=MEASURES[name].better,
        point=point,
        spots=tuple(told),
        steps=tuple(_step(each, 0) for each in found),
        fresh=_step(young, last) if young else None,
    )


def _step(change: Change, first: int) -> Step:
    """A change of logarithms in the unit; `first`: the number of the spot that it is counted from."""
    before, after = math.exp(change.before), math.exp(change.after)
    return Step(at=first + change.at, before=before, after=after, p=change.p)


def unseen(line: Line) -> int:
    """In so many of the newest numbers no step can be seen yet."""
    since = len(line.spots) - (line.steps[-1].at if line.steps else 0)
    return shown_after(since) - 1 if shown_after(since) else since


def _unplaced(over: str, fit: int, placed: int, commits: Sequence[str] | None) -> str:
    """What to do where runs lack the label, or their commits aren't in the repository."""
    if over != COMMIT:
        return f"{placed} of {fit} comparable runs have the label {over!r}; give it with --label {over}=…"
    unknown = " that is in this branch" if commits else ""
    return (
        f"{placed} of {fit} comparable runs have a commit{unknown}; measure with --label commit=git, "
        "in the repository that is tested"
    )


def _nothing(
    base: Manifest, at: Sequence[tuple[int, str] | None], left_out: int, why: str, names: Sequence[str]
) -> str:
    """Why there is no line: one place alone, no numbers, or too few runs that fit."""
    kept = len(at)
    if kept >= LEAST and len(set(at)) < LEAST and at[0]:
        return f"all {kept} comparable runs are of {at[0][1]}: a trend takes two such places"
    if kept >= LEAST:
        return unknown(names, ())
    others = f"; {left_out} others don't fit, {why}" if left_out else ""
    return (
        f"a trend takes {LEAST} comparable runs, and there {'is' if kept == 1 else 'are'} {kept} like run "
        f"{base.run_id}{others}"
    )
