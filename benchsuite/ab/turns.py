"""Two targets measured in turn, A B, B A, A B…: whatever drifts meets both alike.

Within a pair both send the same requests at the same instants, and only what makes prompts new for a cache
is another; each pair has prompts and arrivals of its own. Each arm is a run of its own in the store.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from benchsuite import resume
from benchsuite.ab.ask import Ask
from benchsuite.ab.begun import begun, check_same, kept_of
from benchsuite.ab.side import Side
from benchsuite.asked import Options
from benchsuite.conclude import conclude, judged, owned
from benchsuite.differences import another, asked_differently, obstacles
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import InvalidMeasurement, NotComparable, StoreError, UsageError
from benchsuite.forecast import Remaining, told_s
from benchsuite.measure import Bench, planned, stepped, wait_as_asked
from benchsuite.pairs import Arm
from benchsuite.replay import fitting, tell_trace
from benchsuite.run import manifest_of, target_line
from benchsuite.store.runs import RunDir, Store, new_run_id
from benchsuite.target import Resolved, Tell, check_context
from benchsuite.types import Decision, Manifest, Pairing, Progress, Run, Stage
from benchsuite.workload.order import WARM_UP, Step

SPARE = 4
"""So many pairs are measured again where the client itself was late in one of them."""

OURS = frozenset({"send_lag", "coalesced", "reader_lag", "clock_step", "descriptors"})
"""Warnings that are about the client: such a trial says nothing of either server."""

_MAY_DIFFER = frozenset({"description", "reasoning", "seed", "slo"})
"""What the arms may be asked differently: it changes no load, or is looked at elsewhere."""

_WARM_UPS_A_START = 10_000
"""More than a run has warm-ups until it is interrupted: numbers of those that come after begin beyond."""

Ready = Callable[[Manifest, Manifest], str]
"""Hears who is measured, before the first request: what there is to say of it, if anything. May raise."""

Look = Callable[[Arm, Arm, int], tuple[bool, Decision | None]]
"""Is it decided after so many pairs, and what was?"""


class _Stopped(Exception):
    """The user wants no more."""


def in_turn(
    arms: tuple[Options, Options],
    ask: Ask,
    store: Store,
    *,
    ready: Ready,
    look: Look,
    tell: Tell,
    interrupt: Interrupt,
) -> tuple[Run, Run]:
    """Measure base and other in turn until `look` says that it is decided, or the pairs or a budget end.

    Where `look` says that what was asked can't be told (InvalidMeasurement), both are stored nevertheless.
    """
    if any(options.workload.batch for options in arms):
        raise UsageError("a batch API answers when it likes; two of them can't be measured in turn")
    if any(options.options.get("cache") == "explicit" for options in arms):
        raise UsageError("--option cache=explicit doesn't go with measuring in turn; leave it out")
    arms = ask.of(arms)
    store.prepare()
    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(contextlib.closing(Side(one, letter, tell)))
            for letter, one in zip("AB", arms, strict=True)
        ]
        turns = _Turns((sides[0], sides[1]), ask, tell, interrupt)
        turns.begin(store, ready, stack)
        failed: InvalidMeasurement | None = None
        try:
            whole, decision = turns.go(look)
        except InvalidMeasurement as error:
            # More pairs or another start would say the same.
            whole, decision, failed = True, None, error
        base, other = (
            conclude(
                side.run_dir,
                turns.closing(side),
                "finished" if whole else "interrupted",
                lambda run: msgspec.structs.replace(run, decision=decision),
            )
            for side in sides
        )
        if failed is not None:
            raise failed
        return base, other


class _Turns:
    """The pairs that count so far, and how they go on."""

    def __init__(self, sides: tuple[Side, Side], ask: Ask, tell: Tell, interrupt: Interrupt) -> None:
        self.sides, self._ask, self._tell, self._interrupt = sides, ask, tell, interrupt
        self._first: list[str] = []
        self._voided, self._warm_ups = 0, 0
        self._last: tuple[Side, int] | None = None
        self._begun_s, self._earlier_s = time.monotonic(), 0.0

    # ------------------------------------------------------------ beginning

    def begin(self, store: Store, ready: Ready, stack: contextlib.ExitStack) -> None:
        """Learn who both are, and make their runs or go on with those that were interrupted.

        Their locks are held until `stack` ends.
        """
        base, other = self.sides
        found = begun((base.options, other.options), self._ask, store) if self._ask.resume else None
        # The base comes last, so that its engine is still up when it is measured first.
        for side in reversed(self.sides):
            who = self._up(side)
            if self._ask.restarts and who.attached:
                raise UsageError(
                    "--restart is for engines that benchsuite starts; leave it out, or --launch them"
                )
            side.options = fitting(side.options, who)
            side.manifest = manifest_of(side.options, who, store, self._tell)
            tell_trace(side.manifest, side.options, who, self._tell)
            for point in side.manifest.points:
                check_context(point, who.identity)
                planned(side.manifest, side.options, point, "measure", 1)
        _check_alike(base.manifest, other.manifest)
        if self._ask.usd is not None and any(side.unpriced for side in self.sides):
            raise UsageError("--budget takes a price of both: --gpu NAME, --gpu-price USD, or --token-price")
        if text := ready(base.manifest, other.manifest):
            self._tell(Stage(name="measure", text=text))
        for side in self.sides:
            self._tell(Stage(name="measure", text=f"{side.letter}: {target_line(side.manifest)}"))
        if found is not None:
            for run_dir in found:
                if not stack.enter_context(owned(run_dir)):
                    raise StoreError(f"another benchsuite goes on with run {run_dir.run_id}; let it")
            if all(map(resume.finished, found)):
                raise StoreError(f"another benchsuite has just finished run {found[0].run_id}")
            self._go_on(found)
            return
        # `latest~1 latest` are base and other, whichever was up first.
        ids = sorted(side.manifest.run_id for side in self.sides)
        for side, run_id in zip(self.sides, ids, strict=True):
            side.manifest = msgspec.structs.replace(side.manifest, run_id=run_id)
        name = new_run_id()
        for side, partner in ((base, other), (other, base)):
            pairing = Pairing(
                id=name,
                arm="A" if side is base else "B",
                partner=partner.manifest.run_id,
                purpose=self._ask.purpose,
                looks=self._ask.looks,
                restarts=self._ask.restarts,
            )
            side.manifest = msgspec.structs.replace(side.manifest, pairing=pairing)
            side.run_dir = store.create(side.manifest)
            if not stack.enter_context(owned(side.run_dir)) or not side.run_dir.partial:
                name = side.run_dir.run_id
                raise StoreError(f"run {name} was recovered before it had begun; measure again")

    def _go_on(self, found: tuple[RunDir, RunDir]) -> None:
        """Take up the two runs that were interrupted: what isn't of a whole pair is measured again."""
        plans, kept = [run_dir.plan() for run_dir in found], kept_of(found)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for side, plan in zip(self.sides, plans, strict=True):
            check_same(plan, side.manifest)
        for side, run_dir, plan in zip(self.sides, found, plans, strict=True):
            assert plan.pairing is not None
            self._first = list(plan.pairing.first[: len(kept)])
            self._earlier_s = max(self._earlier_s, plan.pairing.spent_s)
            pairing = msgspec.structs.replace(plan.pairing, kept=kept, first=tuple(self._first))
            side.manifest = msgspec.structs.replace(plan, resumed=(*plan.resumed, now), pairing=pairing)
            side.run_dir = run_dir
            run_dir.reopen(side.manifest)
            side.go_on(plan.pairing.spent_usd)
            for trial in {trial for _, trial in run_dir.trial_files().values()} - {WARM_UP, *kept}:
                side.forget(trial)
        ids = " and ".join(run_dir.run_id for run_dir in found)
        self._tell(Stage(name="measure", text=f"going on with runs {ids}: {len(kept)} pairs are done"))

    # ------------------------------------------------------------ measuring

    def go(self, look: Look) -> tuple[bool, Decision | None]:
        """All pairs, or as many as it takes: was nothing interrupted, and what was decided?"""
        decision: Decision | None = None
        looked = 0
        if len(self._first) in self._ask.looks:
            # It was interrupted before it was looked, or after that: looking again says the same.
            looked = len(self._first)
            decided, decision = look(*self._arms(), looked)
            if decided:
                return True, decision
        while len(self._first) < self._ask.looks[-1]:
            if self._first and self._spent():
                pairs = len(self._first) // 2 * 2
                if pairs and pairs != looked:
                    _, decision = look(*self._arms(), pairs)
                break
            try:
                self._pair(len(self._first) + 1)
            except _Stopped:
                return False, None
            if len(self._first) in self._ask.looks:
                looked = len(self._first)
                decided, decision = look(*self._arms(), looked)
                if decided:
                    break
        return True, decision

    def closing(self, side: Side) -> Manifest:
        """The manifest as it is kept: of the trials that there are."""
        workload = msgspec.structs.replace(side.manifest.workload, trials=max(1, len(self._first)))
        return msgspec.structs.replace(side.manifest, workload=workload)

    def _keep(self) -> None:
        """Write down which pairs count and what was spent, so that another start can go on from here."""
        for side in self.sides:
            assert side.manifest.pairing is not None
            pairing = msgspec.structs.replace(
                side.manifest.pairing,
                kept=tuple(range(1, len(self._first) + 1)),
                first=tuple(self._first),
                spent_s=self._took_s(),
                spent_usd=side.usd(),
            )
            side.manifest = msgspec.structs.replace(side.manifest, pairing=pairing)
            side.run_dir.replan(side.manifest)

    def _took_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._begun_s

    def _arms(self) -> tuple[Arm, Arm]:
        base, other = (side.arm for side in self.sides)
        return base, other

    def _pair(self, number: int) -> None:
        """One pair: again if the client was late in it, for as long as there are spare ones."""
        base, other = self.sides
        order = (base, other) if number % 2 else (other, base)
        while True:
            begun_s = time.monotonic()
            try:
                for side in order:
                    self._trial(side, number)
            except BaseException:
                self._forget(number)
                self._keep()
                raise
            late = self._late(number)
            if not late or self._voided >= SPARE:
                break
            self._voided += 1
            self._forget(number)
            self._tell(Stage(name="measure", text=f"pair {number} is measured again: {late}"))
        self._first.append(order[0].letter)
        self._keep()
        took = told_s(time.monotonic() - begun_s)
        text = f"pair {number} of at most {self._ask.looks[-1]} took {took}"
        self._tell(Stage(name="measure", text=text))

    def _trial(self, side: Side, number: int) -> None:
        """One trial of every point at one arm."""
        if self._interrupt.level:
            raise _Stopped
        if self._ask.restarts:
            side.close()
        who = self._up(side)
        bench = Bench(
            run_dir=side.run_dir,
            manifest=side.manifest,
            options=side.options,
            who=who,
            tell=lambda told: self._tell(_of_arm(told, side.letter)),
            interrupt=self._interrupt,
        )
        steps = list(self._steps(side, number))
        workload, material = side.manifest.workload, side.options.material
        remaining = Remaining(workload, side.manifest.points, steps, material)
        for step in steps:
            records = stepped(bench, step, side.reuse, remaining)
            if records is None:
                raise _Stopped
            wait_as_asked(records, bench)
            self._last = (side, step.point)

    def _steps(self, side: Side, number: int) -> Iterator[Step]:
        """What is measured of one arm in a pair: the same points in the same order as of the other."""
        order = list(range(len(side.manifest.points)))
        random.Random(f"order {side.manifest.seed} {number}").shuffle(order)
        again = len(side.manifest.resumed) * (SPARE + 1) + self._voided
        last = self._last
        for point in order:
            if last != (side, point) or point not in side.warmed:
                self._warm_ups += 1
                number_of_it = len(side.manifest.resumed) * _WARM_UPS_A_START + self._warm_ups
                yield Step(point=point, trial=WARM_UP, again=number_of_it, short=point in side.warmed)
                side.warmed.add(point)
            yield Step(point=point, trial=number, again=again)
            last = (side, point)

    def _up(self, side: Side) -> Resolved:
        """Bring an arm up; two engines of ours are never loaded at once."""
        (rest,) = (one for one in self.sides if one is not side)
        if side.who is None and not side.attached and rest.attached is False:
            rest.close()
        return side.up()

    def _late(self, number: int) -> str:
        """What is wrong with a pair's trials on our own side; empty: nothing."""
        found = [
            warning.message.rstrip(".")
            for side in self.sides
            for row in judged(side.run_dir, side.manifest, number)
            for warning in row.warnings
            if warning.level == "invalid" and warning.code in OURS
        ]
        return found[0] if found else ""

    def _forget(self, number: int) -> None:
        for side in self.sides:
            side.forget(number)

    def _spent(self) -> bool:
        """Would one more pair take more time or money than there is?"""
        ask, share = self._ask, 1 + 1 / len(self._first)
        if ask.seconds is not None and self._took_s() * share > ask.seconds:
            self._tell(Stage(name="measure", text=f"the {told_s(ask.seconds)} wouldn't do for another pair"))
            return True
        if ask.usd is not None and sum(side.usd() or 0.0 for side in self.sides) * share > ask.usd:
            self._tell(Stage(name="measure", text=f"the ${ask.usd:.4g} wouldn't do for another pair"))
            return True
        return False


def _of_arm(told: Stage | Progress, letter: str) -> Stage | Progress:
    return msgspec.structs.replace(told, arm=letter) if isinstance(told, Progress) else told


def _check_alike(base: Manifest, other: Manifest) -> None:
    """NotComparable, unless both arms are sent the same, trial by trial."""
    reasons = list(obstacles(base, other))
    reasons += [another(each) for each in asked_differently(base, other) if each.name not in _MAY_DIFFER]
    if base.seed != other.seed:
        reasons.append(f"another seed ({base.seed} and {other.seed})")
    if base.points != other.points and not reasons:
        reasons.append("other points")
    if reasons:
        raise NotComparable(f"the two can't be compared: they have {'; '.join(reasons)}")
