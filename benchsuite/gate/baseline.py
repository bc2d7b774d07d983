"""A run against the stored runs before it: which of them are like it, and is it within their band?"""

import math
import os
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from benchsuite.ab.known import enough_asked
from benchsuite.differences import strict_obstacles
from benchsuite.errors import NotComparable, StoreError
from benchsuite.pairs import Key, series_of
from benchsuite.stats import history
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import RunDir, Store, read_json
from benchsuite.telemetry.machine import fingerprint
from benchsuite.types import Manifest, Noun, Run

TRIALS = 3
"""The median of so many new trials is what the history's error rates are known of."""

_LABEL = re.compile(r"(?P<name>[\w.-]+)[:=](?P<value>[^~]+)(~(?P<back>\d+))?")


class Aged(Noun, frozen=True, kw_only=True):
    """One metric at one point against the history: the median of its `trials`, and the band."""

    metric: str
    point: int
    value: float
    median: float
    half: float
    runs: int
    ratio: float
    alarm: bool
    trials: int = TRIALS


def check_length(number: int, why: str = "") -> None:
    """NotComparable for fewer comparable runs than a band takes; `why` the first of the others isn't."""
    if number < history.HISTORY:
        reason = f"; the first that isn't: {why}" if why else ""
        raise NotComparable(
            f"the history holds {number} comparable run{'s' * (number != 1)} and it takes "
            f"{history.HISTORY}{reason}. Measure the base beside it with --against TARGET, or store more runs"
        )


def check_trials(numbers: Iterable[int]) -> None:
    """NotComparable where one of these numbers of trials is less than an alarm takes that fails a build."""
    if (number := min(numbers, default=0)) < TRIALS:
        raise NotComparable(
            f"--history-fails takes three trials, whose median is held against the band, and this run has "
            f"{number}: --trials {TRIALS}, or leave --history-fails out"
        )


def against_history(
    run_dir: RunDir, earlier: Sequence[RunDir | Run], names: Sequence[str], *, named: bool
) -> tuple[Aged, ...]:
    """A run's metrics against those of the comparable runs among `earlier` (newest first) that are older.

    NotComparable with fewer of them than a band takes, or where they lack a metric and it was `named`.
    """
    run = run_dir.run()
    fit, why = comparable(run_dir, earlier, cost=any("usd" in name for name in names))
    check_length(len(fit), why)
    fit = fit[: history.HISTORY]
    enough_asked(run.manifest, names)
    ours = numbers_of(run_dir, names)
    found = []
    theirs = [numbers_of(each, names) for each in fit]
    for key, values in ours.items():
        known = [statistics.median(each[key]) for each in theirs if key in each]
        if len(known) < history.HISTORY or not values:
            continue
        better = MEASURES[key[0]].better
        band = history.band(known[::-1], better)
        value = statistics.median(values)
        slower = value / band.median if better == "lower" else band.median / value
        found.append(
            Aged(
                metric=key[0],
                point=key[1],
                value=value,
                median=band.median,
                half=band.half,
                runs=len(known),
                ratio=slower,
                alarm=history.beyond(values, band, better),
                trials=len(values),
            )
        )
    told, known_here = {row.metric for row in found}, {name for name, _ in ours}
    # What this run has and its history lacks isn't passed over: it would pass unseen.
    if lacking := [name for name in names if name not in told and (named or not told or name in known_here)]:
        raise NotComparable(f"{lacking[0]} isn't known of this run and of all ten earlier ones")
    return tuple(found)


def comparable(
    run_dir: RunDir, earlier: Iterable[RunDir | Run], *, cost: bool = False
) -> tuple[list[RunDir | Run], str]:
    """Those of `earlier` that were before it and measured the same (`cost`: at the same price).

    Beside them: why the first other didn't.
    """
    run, fit = run_dir.run(), list[RunDir | Run]()
    why = ""
    for each in earlier:
        try:
            one = each if isinstance(each, Run) else each.run()
        except StoreError:
            continue
        if one.manifest.run_id >= run.manifest.run_id or one.manifest.capacity:
            continue
        if one.manifest.pairing is not None:
            # Either arm may be a build that was never kept, and both are of one hour.
            continue
        reasons = strict_obstacles(
            _at_home(one.manifest, each, run_dir, run.manifest), run.manifest, cost=cost
        )
        if one.verdict == "invalid":
            reasons = ("an invalid measurement",)
        elif one.manifest.points != run.manifest.points:
            reasons = (*reasons, "other points")
        if not reasons:
            fit.append(each)
        why = why or (f"run {one.manifest.run_id} has {reasons[0]}" if reasons else "")
    return fit, why


def _at_home(manifest: Manifest, each: RunDir | Run, run_dir: RunDir, ours: Manifest) -> Manifest:
    """A manifest of another store, with this machine called as in ours: each store has names of its own."""
    home = run_dir.path.parent
    there = each.path.parent if isinstance(each, RunDir) else home
    if there == home or manifest.machine.id != _here(there) or ours.machine.id != _here(home):
        return manifest
    return msgspec.structs.replace(
        manifest, machine=msgspec.structs.replace(manifest.machine, id=ours.machine.id)
    )


def _here(store: Path) -> str:
    """What a store calls this machine; empty: it has no name for any."""
    return fingerprint(store).id if (store / ".salt").exists() else ""


def numbers_of(run: RunDir | Run, names: Sequence[str]) -> Mapping[Key, Sequence[float]]:
    """A run's numbers, one a trial; of a run without its records, the one of all trials together."""
    if isinstance(run, Run):
        return {
            (name, row.point.index): (value,)
            for row in run.summaries
            for name in names
            if (found := row.estimate(name)) and (value := found.value) is not None and 0 < value < math.inf
        }
    manifest = run.run().manifest
    return {
        (name, point.index): series.values
        for point in manifest.points
        for name, series in series_of(run, manifest, point, names).items()
        if series.values and all(0 < value < math.inf for value in series.values)
    }


def earlier_runs(store: Store, selector: str) -> list[RunDir | Run]:
    """The runs that a baseline names, newest first.

    `latest`, or a run's id: that run and all before it. `NAME:VALUE`: those with this label, without the
    newest N with `~N` behind it. A path: a store, or a folder of files that `show --format json` wrote;
    without a slash in it, only if it names no run.
    Raises `StoreError` for what names nothing.
    """
    path = Path(selector).expanduser()
    if path.exists() and (os.sep in selector or path.suffix == ".json"):
        return _of_path(path)
    if match := _LABEL.fullmatch(selector):
        name, value, back = match["name"], match["value"], int(match["back"] or 0)
        found = [run_dir for run_dir in _finished(store) if run_dir.plan().labels.get(name) == value]
        if not found:
            raise StoreError(f"no finished run has the label {name}={value}; `benchsuite results` lists them")
        return list(found[back:])
    try:
        newest = store.select(selector)
    except StoreError:
        if not path.exists():
            raise
        return _of_path(path)
    return [run_dir for run_dir in _finished(store) if run_dir.run_id <= newest.run_id]


def _of_path(path: Path) -> list[RunDir | Run]:
    """The runs of a store or of one run's folder; else of the JSON files there, or of the one named."""
    if path.is_file():
        return [read_json(path, Run)]
    if (path / "run.json").exists():
        return [RunDir(path)]
    stored: list[RunDir | Run] = [*_finished(Store(path))]
    if stored:
        return stored
    written = [read_json(each, Run) for each in path.glob("*.json")]
    written.sort(key=lambda run: run.manifest.run_id, reverse=True)
    return list(written)


def _finished(store: Store) -> list[RunDir]:
    return [run_dir for run_dir in store.runs() if not run_dir.partial]
