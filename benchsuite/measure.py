"""Warm up, measure, decode: the trials of a run, one after another, each decoded at its end."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from benchsuite.asked import Options
from benchsuite.conclude import decode_segment, keep_trial
from benchsuite.driver import ResetsCache
from benchsuite.engine.exchange import ask
from benchsuite.engine.progress import Sampler
from benchsuite.engine.refusal import granted_s
from benchsuite.engine.trial import Interrupt, Status, Trial, TrialRun, run_trial, segments, superseded
from benchsuite.errors import TargetError
from benchsuite.forecast import Remaining, told_s
from benchsuite.store.names import stem_of
from benchsuite.store.records import read_records
from benchsuite.store.runs import RunDir
from benchsuite.target import Resolved, Tell, with_fresh_key
from benchsuite.types import Manifest, Phase, Point, Request, Stage
from benchsuite.workload.order import Step, every_step, warm_ups
from benchsuite.workload.places import place_of
from benchsuite.workload.plan import plan
from benchsuite.workload.stages import at_start, length_s, slot_times

LIVE_DECODE_CORES = 4
"""With fewer cores nothing is decoded while anything is measured."""
_TICK_S = 0.1


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What every trial of a run has in common: where it is kept, what is asked, of whom, and who is told."""

    run_dir: RunDir
    manifest: Manifest
    options: Options
    who: Resolved
    tell: Tell
    interrupt: Interrupt

    def fresh(self) -> "Bench":
        """The same, with the key said again where it was said long ago."""
        return msgspec.structs.replace(self, who=with_fresh_key(self.options, self.who))


def steps_of(manifest: Manifest, done: Collection[tuple[int, int]] = ()) -> tuple[Step, ...]:
    """What has to be measured, in its order; `done`: (point, trial) that is there already."""
    number, resumed = len(manifest.points), len(manifest.resumed)
    return tuple(every_step(manifest.workload, number, manifest.seed, done=done, resumed=resumed))


def measure(bench: Bench, steps: Sequence[Step]) -> bool:
    """Every step, in their order; False: interrupted."""
    manifest, reuse = bench.manifest, dict[int, bool]()
    options = bench.options
    remaining = Remaining(manifest.workload, manifest.points, steps, options.material, options.runs_after)
    for number, step in enumerate(steps):
        records = stepped(bench, step, reuse, remaining)
        if records is None:
            return False
        if not step.trial and not number and len(steps) > 1:
            text = f"about {told_s(remaining.total_s())} to go, as fast as the warm-up was"
            bench.tell(Stage(name="warm_up", text=text))
        wait_as_asked(records, bench)
    return True


def stepped(
    bench: Bench, step: Step, reuse: dict[int, bool], remaining: Remaining
) -> Sequence[dict[str, Any]] | None:
    """One step: what was recorded of it if it was a warm-up; None: interrupted.

    `reuse`: by point, whether the server keeps connections, as far as it was learned; what is learned now is
    added. `remaining` hears how long it took.
    """
    bench = bench.fresh()
    if bench.options.reset_cache:
        _reset_cache(bench.who)
    point = bench.manifest.points[step.point]
    done = measured(bench, point, step, reuse.get(step.point), remaining)
    if any(worker.stopped for worker in done.workers) or not done.workers:
        return None
    if done.reuse is not None:
        reuse[step.point] = done.reuse
    remaining.past(step)
    records = [] if step.trial else _warm_up_records(bench, step)
    if records:
        remaining.learn(step.point, _e2e_s(records))
    return records


def measured(
    bench: Bench, point: Point, step: Step, reuse: bool | None, remaining: Remaining | None = None
) -> TrialRun:
    """One trial, from the first request to its records on disk.

    `reuse`: whether the server keeps connections, as learned before; None: not known.
    """
    run_dir, manifest, options, driver = bench.run_dir, bench.manifest, bench.options, bench.who.driver
    workload, number, items = manifest.workload, step.trial, options.material.items
    trial, asked_s = _trial(bench, point, step, reuse)
    phase, stem = _phase(number), stem_of(point.index, number, step.again)
    total = workload.requests if number else None if trial.seconds else warm_ups(workload, point, step)
    sampler = Sampler(
        driver,
        run_dir.spool_dir,
        stem,
        point=point,
        points=len(manifest.points),
        phase=phase,
        trial=number,
        trials=workload.trials,
        total=total,
        total_s=asked_s if point.stages and number else trial.seconds,
    )

    where = place_of(point, manifest.points)

    def on_tick(status: Status) -> None:
        progress = sampler.progress(status)
        left_s = None if remaining is None else remaining.left_s(step, progress)
        bench.tell(msgspec.structs.replace(progress, left_s=left_s, place=where))
        # What the next turns quote is read from the spool.
        if (os.cpu_count() or 1) >= LIVE_DECODE_CORES and not trial.quotes:
            for segment in superseded(run_dir.spool_dir, stem):
                decode_segment(run_dir, segment, driver, manifest, options.keep_text, items)

    requests = planned(manifest, options, point, phase, number, again=step.again)
    if step.short:
        requests = first_of(requests, total or 0)
    done = run_trial(trial, requests, interrupt=bench.interrupt, on_tick=on_tick)
    for segment in segments(run_dir.spool_dir, stem):
        decode_segment(run_dir, segment, driver, manifest, options.keep_text, items)
    keep_trial(run_dir, point.index, number, done)
    return done


def _trial(bench: Bench, point: Point, step: Step, reuse: bool | None) -> tuple[Trial, float | None]:
    """What the engine is told of a trial, and for how many seconds it is to go on, where that is said."""
    manifest, workload, number = bench.manifest, bench.manifest.workload, step.trial
    stem, closed = stem_of(point.index, number, step.again), point.load == "closed"
    stages, slots = (point.stages, point.concurrency) if number else ((), at_start(point).concurrency)
    asked_s = length_s(stages) if stages else workload.seconds if number else workload.warm_up_seconds or None
    trial = Trial(
        endpoint=bench.who.endpoint,
        target=bench.who.target,
        driver=bench.who.driver,
        id_prefix=f"{manifest.run_id}-{stem}-",
        stem=str(bench.run_dir.spool_dir / stem),
        point=point.index,
        trial=number,
        closed=closed,
        slots=slots,
        slot_times=slot_times(stages) if closed else (),
        talks=point.talks,
        quotes=point.talks and workload.replies == "real",
        seconds=asked_s if closed and not step.short else None,
        least=0 if number else warm_ups(workload, point, step),
        waits=not number,
        workers=min(manifest.workers, slots or manifest.workers),
        reuse=reuse,
        kernel_stamps=bench.options.kernel_stamps,
    )
    return trial, asked_s


def first_of(requests: Iterator[Request], number: int) -> Iterator[Request]:
    """The first `number` of them, and the rest of a conversation that would be cut."""
    for request in requests:
        yield request
        if request.index + 1 >= number and request.turn + 1 == request.turns:
            return


def planned(
    manifest: Manifest, options: Options, point: Point, phase: Phase, trial: int, again: int = 0
) -> Iterator[Request]:
    """The requests of one trial of a run."""
    return plan(
        manifest.workload,
        point,
        phase=phase,
        trial=trial,
        again=again,
        seed=manifest.seed,
        nonce=manifest.nonce,
        lengths=manifest.lengths,
        material=msgspec.structs.replace(options.material, bodies=options.bodies or ()),
    )


def _phase(trial: int) -> Phase:
    return "measure" if trial else "warm_up"


def _warm_up_records(bench: Bench, step: Step) -> list[dict[str, Any]]:
    """What is looked at of a warm-up before the measuring begins."""
    first = f"{bench.manifest.run_id}-{stem_of(step.point, 0, step.again)}-"
    files = bench.run_dir.trial_files()
    paths = [path for path, place in files.items() if place == (step.point, 0)]
    columns = ["request_id", "outcome", "http_status", "sent_ns", "end_ns", "retry_after_s"]
    return [one for one in read_records(paths, columns).to_pylist() if one["request_id"].startswith(first)]


def _e2e_s(records: Sequence[dict[str, Any]]) -> float | None:
    """Mean seconds of an answer; None: there was none."""
    found = [one["end_ns"] - one["sent_ns"] for one in records if one["outcome"] == "ok"]
    return sum(found) / len(found) / 1e9 if found else None


def wait_as_asked(records: Sequence[dict[str, Any]], bench: Bench) -> None:
    """After a warm-up, wait until no refusal of it asks to be left alone any more, but not for the user."""
    asked = [(one["end_ns"], granted_s(one["http_status"], one["retry_after_s"])) for one in records]
    until_ns = max((end_ns + int(wait_s * 1e9) for end_ns, wait_s in asked if wait_s is not None), default=0)
    left_s = (until_ns - time.monotonic_ns()) / 1e9
    if left_s > 0:
        text = f"warm-up was refused: waiting {left_s:.3g} s as the server asks (Retry-After), then measuring"
        bench.tell(Stage(name="warm_up", text=text))
    while left_s > 0 and not bench.interrupt.level:
        time.sleep(min(_TICK_S, left_s))
        left_s = (until_ns - time.monotonic_ns()) / 1e9


def _reset_cache(who: Resolved) -> None:
    """Have the server forget its prefix cache; TargetError where it doesn't."""
    assert isinstance(who.driver, ResetsCache)
    (tape,) = ask(who.endpoint, who.target, (who.driver.reset_cache(who.target),))
    if not 200 <= tape.status < 300:
        heard = f"HTTP {tape.status}" if tape.status else tape.error or "no answer"
        raise TargetError(
            f"{who.driver.title} didn't empty its cache ({heard}); leave --reset-cache out, "
            "or see `benchsuite backends` for what it needs"
        )
