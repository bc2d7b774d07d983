"""Does a build pass? Two arms in turn, a run against the store's history, limits that need neither."""

import math
import os
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from benchsuite.ab.turns import Ask, Look, Ready
from benchsuite.compare import chosen_metrics, why_invalid
from benchsuite.differences import strict_obstacles
from benchsuite.errors import InvalidMeasurement, NotComparable, StoreError, UsageError
from benchsuite.limits import Checked, Limits, checked
from benchsuite.pairs import Arm, Key, default_metrics, pairs_of, series_of
from benchsuite.stats import gate, history
from benchsuite.stats.paired import log_slowdowns
from benchsuite.stats.quantiles import samples_needed
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import RunDir, Store, read_json
from benchsuite.types import Decided, Decision, Manifest, Noun, Point, Run, Summary
from benchsuite.workload.points import own_instants

_LABEL = re.compile(r"(?P<name>[\w.-]+)[:=](?P<value>[^~]+)(~(?P<back>\d+))?")


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a gate: its limits, what it looks at (empty: the usual), and its looks."""

    limits: Limits = Limits()
    metrics: tuple[str, ...] = ()
    looks: tuple[int, ...] = (4, 8, 12)

    @property
    def rule(self) -> gate.Rule:
        """By what it decides."""
        limits = self.limits
        return gate.Rule(
            tolerance=limits.tolerance, limit=limits.limit, fail_on=limits.fail_on, looks=self.looks
        )

    def names(self, points: Sequence[Point]) -> tuple[str, ...]:
        """The metrics that are looked at."""
        return chosen_metrics(self.metrics) if self.metrics else default_metrics(points)

    def relative(self, keys: Iterable[Key]) -> dict[Key, float]:
        """The limits of single metrics, by key."""
        return {key: self.limits.relative[key[0]] for key in keys if key[0] in self.limits.relative}


class Noise(Noun, frozen=True, kw_only=True):
    """How much a server's pairs differ from each other: `sd` of log-ratios by key, from run `run_id`."""

    run_id: str
    pairs: int
    sd: dict[Key, float]


class Aged(Noun, frozen=True, kw_only=True):
    """One metric at one point against the history: the median of its trials, and the band."""

    metric: str
    point: int
    value: float
    median: float
    half: float
    runs: int
    ratio: float
    alarm: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate says: the verdict, and what it rests on, as far as it was asked.

    `base` and `other` are runs; `base` None: there was no second arm.
    """

    verdict: Decided
    base: Run | None
    other: Run
    decision: Decision | None = None
    checked: tuple[Checked, ...] = ()
    aged: tuple[Aged, ...] = ()


# ---------------------------------------------------------------- live


def watching(asked: Gate, store: Store, ask: Ask) -> tuple[Ready, Look]:
    """The two questions of measuring in turn: may it begin, and is it decided?"""

    def ready(base: Manifest, other: Manifest) -> str:
        _enough_asked(base, asked.names(base.points))
        if ask.purpose != "gate":
            return ""
        noise = known_noise(store, other, restarts=ask.restarts)
        if noise is None:
            return "how small a slowdown can be seen here isn't known: `benchsuite gate noise` measures it"
        return _seen(asked, base.points, noise)

    def look(base: Arm, other: Arm, pairs: int) -> tuple[bool, Decision | None]:
        decision = decided(asked, base, other, pairs)
        return decision.verdict != "undecided" and ask.purpose == "gate", decision

    return ready, look


def decided(asked: Gate, base: Arm, other: Arm, pairs: int) -> Decision:
    """One look. InvalidMeasurement where a trial has too few answers for what is looked at."""
    names = asked.names(base.manifest.points)
    numbers = pairs_of(base, other, names)
    if numbers.few:
        (name, _), (n, needs) = next(iter(numbers.few.items()))
        raise InvalidMeasurement(_too_few(name, n, needs))
    rule = asked.rule
    slower = {
        key: log_slowdowns(ours, theirs, MEASURES[key[0]].better)[:pairs]
        for key, (ours, theirs) in numbers.pairs.items()
    }
    verdict, judged = gate.look(slower, rule, asked.relative(slower))
    return Decision(
        verdict=verdict,
        pairs=pairs,
        tolerance=rule.tolerance,
        limit=rule.limit,
        fail_on=rule.fail_on,
        looks=rule.looks,
        judged=judged,
    )


def _enough_asked(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse at once what the workload's number of requests can't show."""
    workload = manifest.workload
    if workload.requests is None or any(own_instants(workload, point) for point in manifest.points):
        return
    for name in names:
        q = MEASURES[name].q
        if q is not None and workload.requests < samples_needed(q):
            raise InvalidMeasurement(_too_few(name, workload.requests, samples_needed(q)))


def _too_few(name: str, n: int, needs: int) -> str:
    return (
        f"{name} takes {needs} answered requests a trial, and there are {n}: "
        f"--requests {needs}, or look at less with --metric"
    )


def _seen(asked: Gate, points: Sequence[Point], noise: Noise) -> str:
    """What can be seen here; a UsageError for limits below that."""
    found = seen_least(asked, noise, points)
    for (name, _), least in found.items():
        limit = asked.limits.relative.get(name, asked.limits.limit)
        if limit < least:
            raise UsageError(
                f"a limit of {100 * limit:.2g} % on {name} is below the {100 * least:.2g} % that "
                f"{asked.looks[-1]} pairs can see here (`gate noise`, run {noise.run_id}): raise it "
                f"(--limit {name}={math.ceil(100 * least)}%), or ask for longer trials or more --pairs"
            )
    worst = max(found.values(), default=0.0)
    return f"a slowdown of {100 * worst:.2g} % in any metric can be seen here (`gate noise`)" if found else ""


def seen_least(asked: Gate, noise: Noise, points: Sequence[Point]) -> dict[Key, float]:
    """The least slowdown (a share) that a gate sees of each metric and point, as far as noise is known."""
    rule, names = asked.rule, asked.names(points)
    keys = [(name, point.index) for name in names for point in points]
    return {
        key: gate.detectable(
            noise.sd[key], rule.looks[-1], rule, len(keys), asked.limits.relative.get(key[0])
        )
        for key in keys
        if key in noise.sd
    }


# ---------------------------------------------------------------- noise


def known_noise(store: Store, manifest: Manifest, *, restarts: bool) -> Noise | None:
    """The newest A/A of the same target and workload in the store; None: there is none."""
    for run_dir in store.runs():
        try:
            pairing = run_dir.plan().pairing
            if pairing is None or pairing.purpose != "noise" or pairing.arm != "A" or run_dir.partial:
                continue
            run = run_dir.run()
            if pairing.restarts != restarts or strict_obstacles(run.manifest, manifest):
                continue
            return noise_of(run_dir, store.select(pairing.partner))
        except StoreError:
            continue
    return None


def noise_of(base: RunDir, other: RunDir) -> Noise:
    """How much the pairs of two finished arms of the same target differ."""
    arms = [Arm(run_dir=run_dir, manifest=run_dir.run().manifest) for run_dir in (base, other)]
    numbers = pairs_of(arms[0], arms[1], tuple(MEASURES))
    sds, pairs = {}, 0
    for key, (ours, theirs) in numbers.pairs.items():
        slower = log_slowdowns(ours, theirs, MEASURES[key[0]].better)
        if len(slower) > 1 and all(map(math.isfinite, slower)):
            sds[key], pairs = statistics.stdev(slower), max(pairs, len(slower))
    return Noise(run_id=base.run_id, pairs=pairs, sd=sds)


# ---------------------------------------------------------------- history


def against_history(asked: Gate, run_dir: RunDir, earlier: Sequence[RunDir | Run]) -> tuple[Aged, ...]:
    """A run's metrics against those of the comparable runs among `earlier` (newest first).

    NotComparable with fewer of them than a band takes.
    """
    run = run_dir.run()
    names = asked.names(run.manifest.points)
    fit, why = comparable(run, earlier, cost=any("usd" in name for name in names))
    if len(fit) < history.HISTORY:
        reason = f"; the first that isn't: {why}" if why else ""
        raise NotComparable(
            f"the history holds {len(fit)} comparable run{'s' * (len(fit) != 1)} and it takes "
            f"{history.HISTORY}{reason}. Measure the base beside it with --against TARGET, or store more runs"
        )
    fit = fit[: history.HISTORY]
    _enough_asked(run.manifest, names)
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
            )
        )
    if not found:
        raise NotComparable("no metric is known of this run and of ten earlier ones")
    return tuple(found)


def comparable(
    run: Run, earlier: Iterable[RunDir | Run], *, cost: bool = False
) -> tuple[list[RunDir | Run], str]:
    """Those of `earlier` that measured the same (`cost`: at the same price); why the first other didn't."""
    fit: list[RunDir | Run] = []
    why = ""
    for each in earlier:
        try:
            one = each if isinstance(each, Run) else each.run()
        except StoreError:
            continue
        if one.manifest.run_id == run.manifest.run_id or one.manifest.capacity:
            continue
        reasons = strict_obstacles(one.manifest, run.manifest, cost=cost)
        if one.verdict == "invalid":
            reasons = ("it is invalid",)
        elif one.manifest.points != run.manifest.points:
            reasons = (*reasons, "other points")
        if not reasons:
            fit.append(each)
        why = why or (f"run {one.manifest.run_id} has {reasons[0]}" if reasons else "")
    return fit, why


def numbers_of(run: RunDir | Run, names: Sequence[str]) -> Mapping[Key, Sequence[float]]:
    """A run's numbers, one a trial; of a run without its records, the one of all trials together."""
    if isinstance(run, Run):
        return {
            (name, row.point.index): (value,)
            for row in run.summaries
            for name in names
            if (value := _of_summary(row, name)) is not None
        }
    manifest = run.run().manifest
    return {
        (name, point.index): series.values
        for point in manifest.points
        for name, series in series_of(run, manifest, point, names).items()
        if series.values and all(0 < value < math.inf for value in series.values)
    }


def _of_summary(row: Summary, name: str) -> float | None:
    """A metric's number of a whole run, from its summary."""
    metric, _, q = name.rpartition("_")
    if name in row.rates:
        return row.rates[name].value
    return row.metrics[metric].quantiles[q].value if metric in row.metrics else None


def earlier_runs(store: Store, selector: str) -> list[RunDir | Run]:
    """The runs that a baseline names, newest first.

    `latest`, or a run's id: that run and all before it. `NAME:VALUE`: those with this label, without the
    newest N with `~N` behind it. A path: a store, a run's folder, or a file that `show --format json` wrote.
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
    newest = store.select(selector)
    return [run_dir for run_dir in _finished(store) if run_dir.run_id <= newest.run_id]


def _of_path(path: Path) -> list[RunDir | Run]:
    if path.is_dir():
        return [RunDir(path)] if (path / "run.json").exists() else list(_finished(Store(path)))
    return [read_json(path, Run)]


def _finished(store: Store) -> list[RunDir]:
    return [run_dir for run_dir in store.runs() if not run_dir.partial]


# ---------------------------------------------------------------- all of it


def why_not(*runs: Run | None) -> str:
    """Why one of the runs can't be trusted; empty: all can."""
    for run in runs:
        if run is not None and run.verdict == "invalid":
            return f"run {run.manifest.run_id} is invalid: {why_invalid(run)}"
    return ""


def took_s(base: Run, other: Run) -> float:
    """Seconds from the first measured request of either run to the last answer."""
    infos = [*base.manifest.trials, *other.manifest.trials]
    return (max(info.end_ns for info in infos) - min(info.start_ns for info in infos)) / 1e9 if infos else 0.0


def took_usd(base: Run, other: Run) -> float | None:
    """What both runs' requests cost, by the time they took or as billed; None: no price is known."""
    seconds, found = took_s(base, other), []
    for run in (base, other):
        if price := run.manifest.price:
            found.append(price.count * price.usd_per_gpu_hour * seconds / 3600)
        elif run.manifest.token_price:
            costs = [(row.rates.get("cost_per_1k_usd"), row.requests) for row in run.summaries]
            found += [
                cost.value * requests / 1000 for cost, requests in costs if cost and cost.value is not None
            ]
    return math.fsum(found) if found else None


def concluded(
    asked: Gate,
    other: Run,
    base: Run | None = None,
    aged: Sequence[Aged] = (),
    *,
    history_fails: bool = False,
) -> Verdict:
    """What follows from all that was asked: one failure fails, and all have to pass.

    InvalidMeasurement for a run that can't be trusted. An alarm of the history is no failure unless
    `history_fails`: what the machine does differently counts as the build's there.
    """
    if why := why_not(base, other):
        raise InvalidMeasurement(why)
    rows = checked(asked.limits.absolute, other)
    verdicts: list[Decided] = [row.verdict for row in rows]
    if base is not None and other.decision is not None:
        verdicts.append(other.decision.verdict)
    verdicts += ["pass" if not row.alarm else "fail" if history_fails else "undecided" for row in aged]
    verdict: Decided = "pass" if verdicts and set(verdicts) == {"pass"} else "undecided"
    return Verdict(
        verdict="fail" if "fail" in verdicts else verdict,
        base=base,
        other=other,
        decision=other.decision if base is not None else None,
        checked=rows,
        aged=tuple(aged),
    )
