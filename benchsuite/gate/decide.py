"""What is asked of a gate, its looks at two arms, the noise that it knows of, and what follows from all."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from benchsuite.ab.ask import Ask
from benchsuite.ab.known import enough_asked, names_of, too_few
from benchsuite.ab.turns import OURS, Look, Ready
from benchsuite.compare import why_invalid
from benchsuite.differences import strict_obstacles
from benchsuite.errors import InvalidMeasurement, StoreError, UsageError
from benchsuite.gate.baseline import Aged
from benchsuite.gate.limits import ERRORS, Checked, Limits, checked, unjudged
from benchsuite.pairs import Arm, Key, pairs_of
from benchsuite.stats import gate
from benchsuite.stats.paired import log_slowdowns
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import RunDir, Store
from benchsuite.types import Decided, Decision, Manifest, Noun, Run

_FAILED: Final = frozenset({"errors", "no_answers"})
"""What a run is invalid for where too many requests failed."""


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

    def names(self, manifest: Manifest) -> tuple[str, ...]:
        """The metrics that are looked at; a UsageError for one that such a run has no number of."""
        return names_of(self.metrics, manifest)

    def relative(self, keys: Iterable[Key]) -> dict[Key, float]:
        """The limits of single metrics, by key."""
        return {key: self.limits.relative[key[0]] for key in keys if key[0] in self.limits.relative}


class Noise(Noun, frozen=True, kw_only=True):
    """How much a server's pairs differ from each other: `sd` of log-ratios by key, from run `run_id`."""

    run_id: str
    pairs: int
    sd: dict[Key, float]


class TooFew(InvalidMeasurement):
    """A look that says nothing, since a trial of one of the `arms` (base, other) has too few answers."""

    def __init__(self, text: str, arms: tuple[Arm, Arm]) -> None:
        super().__init__(text)
        self.arms = arms


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
        enough_asked(base, asked.names(base))
        if ask.purpose != "gate":
            return ""
        noise = known_noise(store, other, restarts=ask.restarts)
        seen = "how small a slowdown can be seen here isn't known: `benchsuite gate noise` measures it"
        return "; ".join(filter(None, (*_idle(asked, base), _seen(asked, base, noise) if noise else seen)))

    def look(base: Arm, other: Arm, pairs: int) -> tuple[bool, Decision | None]:
        decision = decided(asked, base, other, pairs)
        return decision.verdict != "undecided" and ask.purpose == "gate", decision

    return ready, look


def decided(asked: Gate, base: Arm, other: Arm, pairs: int) -> Decision:
    """One look. TooFew where a trial has too few answers for what is looked at."""
    names = asked.names(base.manifest)
    numbers = pairs_of(base, other, names)
    if numbers.few:
        (name, _), (n, needs) = next(iter(numbers.few.items()))
        raise TooFew(too_few(name, n, needs), (base, other))
    rule = asked.rule
    slower = {
        key: log_slowdowns(ours, theirs, MEASURES[key[0]].better)[:pairs]
        for key, (ours, theirs) in numbers.pairs.items()
    }
    for name in names:
        for point in base.manifest.points:
            # What has no number isn't passed over: without it nothing passes.
            slower.setdefault((name, point.index), ())
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


def _idle(asked: Gate, manifest: Manifest) -> Iterator[str]:
    """That a limit is set on what isn't looked at; one on `ttft` is on whatever is looked at of it."""
    looked_at, limited = asked.names(manifest), [*asked.limits.relative]
    firsts = {name.partition("_")[0]: name for name in reversed(limited)}
    for family, name in firsts.items():
        if not any(each.startswith(family) for each in limited if each in looked_at):
            yield f"the limit on {name} has no effect, since it isn't looked at (--metric {name})"


def _seen(asked: Gate, manifest: Manifest, noise: Noise) -> str:
    """What can be seen here; a UsageError for limits below that, unless only what exceeds them is to fail."""
    found = seen_least(asked, noise, manifest)
    below: dict[str, tuple[float, float]] = {}
    for (name, _), least in found.items():
        limit = asked.limits.relative.get(name, asked.limits.limit)
        if limit < least:
            below[name] = (limit, max(least, below.get(name, (0.0, 0.0))[1]))
    if below and asked.limits.fail_on == "tolerance":
        raise UsageError(_raise_them(below, asked.looks[-1], noise.run_id))
    worst = max(found.values(), default=0.0)
    return f"{slowdown_seen(worst)} in any metric can be seen here (`gate noise`)" if found else ""


def _raise_them(below: Mapping[str, tuple[float, float]], pairs: int, run_id: str) -> str:
    """Which limits are too low, and one option that raises all; `below`: metric → the limit, the least."""
    (name, (limit, least)), *others = below.items()
    more = "".join(f", one of {100 * low:g} % on {other} below {seen_as(at)}" for other, (low, at) in others)
    raised = ",".join(f"{other}={_up(100 * at)}%" for other, (_, at) in below.items() if at < math.inf)
    them = f"raise {'them' if others else 'it'} (--limit {raised}), or " if raised else ""
    return (
        f"a limit of {100 * limit:g} % on {name} is below the least slowdown that {pairs} pairs can see "
        f"here, {seen_as(least)} (`gate noise`, run {run_id}){more}: {them}ask for longer trials or more "
        "--pairs"
    )


def slowdown_seen(least: float) -> str:
    """What can be seen: `a slowdown of 2.1 %`, `no slowdown`."""
    return f"a slowdown of {seen_as(least)}" if math.isfinite(least) else "no slowdown"


def seen_as(least: float) -> str:
    """The least slowdown that can be seen, in percent: rounded up, so that no limit as told is below it."""
    return f"{_up(1000 * least) / 10:g} %" if math.isfinite(least) else "nothing"


def _up(number: float) -> int:
    """Rounded up, unless only the last bits of a float are above a whole number."""
    return math.ceil(round(number, 9))


def seen_least(asked: Gate, noise: Noise, manifest: Manifest) -> dict[Key, float]:
    """The least slowdown (a share) that a gate sees of each metric and point, as far as noise is known."""
    rule, names = asked.rule, asked.names(manifest)
    keys = [(name, point.index) for name in names for point in manifest.points]
    return {
        key: gate.detectable(
            noise.sd[key], rule.looks[-1], rule, len(keys), asked.limits.relative.get(key[0])
        )
        for key in keys
        if key in noise.sd
    }


# ---------------------------------------------------------------- noise


def known_noise(store: Store, manifest: Manifest, *, restarts: bool) -> Noise | None:
    """The newest sound A/A of the same target and workload in the store; None: there is none."""
    for run_dir in store.runs():
        try:
            pairing = run_dir.plan().pairing
            if pairing is None or pairing.purpose != "noise" or pairing.arm != "A" or run_dir.partial:
                continue
            run, partner = run_dir.run(), store.select(pairing.partner)
            if pairing.restarts != restarts or strict_obstacles(run.manifest, manifest):
                continue
            if any(one.status != "finished" or one.verdict == "invalid" for one in (run, partner.run())):
                continue
            if (noise := noise_of(run_dir, partner)).sd:
                return noise
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


# ---------------------------------------------------------------- all of it


def why_not(*runs: Run | None) -> str:
    """Why one of the runs can't be trusted; empty: all can."""
    for run in runs:
        if run is not None and run.verdict == "invalid":
            return f"run {run.manifest.run_id} is invalid: {why_invalid(run)}"
    return ""


def concluded(
    asked: Gate,
    other: Run,
    base: Run | None = None,
    aged: Sequence[Aged] | None = (),
    *,
    history_fails: bool = False,
) -> Verdict:
    """What follows from all that was asked: one failure fails, and all have to pass.

    `aged` None: a history was asked for, and isn't known. InvalidMeasurement for a run that can't be trusted,
    unless limits on its failed requests say more. An alarm of the history is no failure unless
    `history_fails`: what the machine does differently counts as the build's there.
    """
    if why := why_not(base, other):
        return _of_errors(asked, other, base, why, more=base is not None or aged is None or bool(aged))
    rows = checked(asked.limits.absolute, other)
    verdicts: list[Decided] = [row.verdict for row in rows]
    if base is not None:
        # A budget may have ended it before the first look.
        verdicts.append(other.decision.verdict if other.decision else "undecided")
    verdicts += ["pass" if not row.alarm else "fail" if history_fails else "undecided" for row in aged or ()]
    verdict: Decided = "pass" if verdicts and set(verdicts) == {"pass"} else "undecided"
    return Verdict(
        verdict="fail" if "fail" in verdicts else verdict,
        base=base,
        other=other,
        decision=other.decision if base is not None else None,
        checked=rows,
        aged=tuple(aged or ()),
    )


def of_too_few(asked: Gate, few: TooFew) -> Verdict:
    """What follows where a look said nothing: a failure if too many requests failed.

    Else InvalidMeasurement: what is wrong with the runs that have ended, or that a trial has too few.
    """
    base, other = (arm.run_dir.run() for arm in few.arms)
    why = why_not(base, other) or str(few)
    found = by_errors(asked, other, base, why)
    if found is None or found.verdict != "fail":
        raise InvalidMeasurement(why)
    return found


def _of_errors(asked: Gate, other: Run, base: Run | None, why: str, *, more: bool) -> Verdict:
    """An invalid run by the limits on its failed requests.

    One that is broken fails. If all are kept it passes where failed requests alone speak against the run and
    nothing else is asked (`more`: something is beside the limits), and is invalid otherwise.
    """
    found = by_errors(asked, other, base, why)
    if found is None:
        raise InvalidMeasurement(why)
    if found.verdict == "fail":
        return found
    kept = ", ".join(limit.text for limit in asked.limits.absolute if limit.name == ERRORS)
    reasons = _invalid_for(other)
    if not reasons or reasons - _FAILED:
        raise InvalidMeasurement(f"{why}; {kept} is kept, but more is wrong than failed requests")
    if more or len(found.checked) > len(other.summaries):
        raise InvalidMeasurement(f"{why}; {kept} is kept, but of how long answers took nothing can be said")
    return found


def by_errors(asked: Gate, other: Run, base: Run | None, why: str) -> Verdict | None:
    """What limits on failed requests say of a run: these are counted whatever the rest of it is worth.

    `why` nothing else can be said. None where nothing is asked of them, nothing was sent, the base can't be
    trusted, or the client itself may have spoiled the count: other warnings are of what a failing server
    causes (short answers leave slots empty, a prompt's length can't be found), or of what it was asked.
    """
    limits = [limit for limit in asked.limits.absolute if limit.name == ERRORS]
    sent = bool(other.summaries) and all(row.requests for row in other.summaries)
    if not limits or not sent or _invalid_for(other) & OURS or why_not(base):
        return None
    rows = checked(limits, other)
    timed = [limit for limit in asked.limits.absolute if limit.name != ERRORS]
    note = f"{why}. Failed requests are counted all the same; of how long answers took nothing can be said"
    return Verdict(
        verdict="fail" if any(row.verdict == "fail" for row in rows) else "pass",
        base=base,
        other=other,
        checked=(*(msgspec.structs.replace(row, note=note) for row in rows), *unjudged(timed, other)),
    )


def _invalid_for(run: Run) -> frozenset[str]:
    """The codes of all that makes a run invalid."""
    found = (warning for row in run.summaries for warning in row.warnings)
    return frozenset(warning.code for warning in found if warning.level == "invalid")
