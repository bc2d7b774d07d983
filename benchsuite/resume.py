"""Going on with a run that was interrupted or cut off: which one it is, and what of it is left to do."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from benchsuite.asked import Options
from benchsuite.conclude import info_of
from benchsuite.differences import differs_in
from benchsuite.driver import HidesOptions, load
from benchsuite.errors import StoreError, UsageError
from benchsuite.shown import masked_url, shown_body, shown_model, shown_settings
from benchsuite.store.runs import RunDir, Store
from benchsuite.target import Tell
from benchsuite.types import Manifest, Stage, Workload
from benchsuite.workload.load import workload_digest

Trials = frozenset[tuple[int, int]]
"""(point, trial) of some measured trials."""


def found(store: Store, options: Options) -> Iterator[RunDir]:
    """The runs of the store that were asked what `options` ask, newest first; nobody is contacted."""
    digest = workload_digest(options.workload)
    for run_dir in store.runs():
        # What can't be read any more is nothing to go on with.
        with contextlib.suppress(StoreError):
            manifest = run_dir.plan()
            if manifest.workload_digest == digest and _asked_alike(manifest, options):
                yield run_dir


def unfinished(store: Store, options: Options) -> RunDir | None:
    """The newest of them that isn't finished and that nobody measures now; None: there is none.

    Arms that are measured in turn go on in pairs, never alone.
    """
    return next(
        (
            one
            for one in found(store, options)
            if one.plan().pairing is None and not finished(one) and not one.live
        ),
        None,
    )


def nothing_to_resume(arms: Sequence[Options], store: Store) -> str:
    """What to say where there is none for any of the arms."""
    for options in arms:
        if text := _other_content(options, store):
            return f"nothing to resume: {text}"
    workload = arms[0].workload
    return (
        f"nothing to resume: the store has no unfinished run of {workload.name}@{workload.version} with "
        "these options; repeat the very command that was interrupted, or leave --resume out"
    )


def _other_content(options: Options, store: Store) -> str:
    """That a run was begun with a file that has changed since, if that is all; empty: there is none."""
    for run_dir in store.runs():
        with contextlib.suppress(StoreError):
            manifest = run_dir.plan()
            here = msgspec.structs.replace(options, sweep=manifest.sweep, axes=manifest.axes)
            began, now = _sources(manifest.workload), _sources(options.workload)
            changed = [name for name in now if name in began and began[name] != now[name]]
            if (
                changed
                and began.keys() == now.keys()
                and _but_for_files(manifest.workload) == _but_for_files(options.workload)
                and _asked_alike(manifest, here)
                and not finished(run_dir)
            ):
                return (
                    f"{changed[0]} has other content than when run {run_dir.run_id} began; "
                    "bring it back as it was, or leave --resume out to measure anew"
                )
    return ""


def _sources(workload: Workload) -> dict[str, str]:
    """The files that a workload sends from: name → SHA-256."""
    found = {one.file: one.sha256 for one in (workload.dataset, workload.trace) if one is not None}
    if workload.bodies is not None:
        found[workload.bodies.name] = workload.bodies.sha256
    return found


def _but_for_files(workload: Workload) -> str:
    """The digest of a workload without its files, and without the numbers that may follow from them."""
    dataset = workload.dataset
    number = None if dataset is not None and workload.requests == dataset.number else workload.requests
    bare = msgspec.structs.replace(
        workload, dataset=None, trace=None, bodies=None, requests=number, prompt_tokens=(), output_tokens=()
    )
    return workload_digest(bare)


def finished(run_dir: RunDir) -> bool:
    """Was everything measured that was planned? A run that waits for its batch is gone on with elsewhere."""
    return run_dir.waiting or (not run_dir.partial and run_dir.run().status == "finished")


def done_trials(run_dir: RunDir, manifest: Manifest) -> Trials:
    """The trials that were measured from their first request to their last."""
    return frozenset(
        (point.index, trial)
        for point in manifest.points
        for trial in range(1, manifest.workload.trials + 1)
        if (info := info_of(run_dir, point.index, trial)) is not None
        and info.workers
        and not any(worker.stopped for worker in info.workers)
    )


def left_of(run_dir: RunDir) -> tuple[int, int]:
    """How many trials of a run are left, and how many it has in all."""
    manifest = run_dir.plan()
    number = len(manifest.points) * manifest.workload.trials
    return number - len(done_trials(run_dir, manifest)), number


def same_still(begun: Manifest, now: Manifest) -> None:
    """Refuse to go on where the rest would be another measurement: a UsageError that says why."""
    which, anew = f"run {begun.run_id}", "leave --resume out to measure anew"
    if begun.machine.id != now.machine.id:
        raise UsageError(f"{which} was measured from another machine: go on there, or {anew}")
    for what, ours, theirs in (
        ("model", begun.model, now.model),
        ("server", begun.identity.server, now.identity.server),
        ("address", begun.url or "a server started here", now.url or "a server started here"),
    ):
        if ours != theirs:
            raise UsageError(f"{which} has another {what} ({ours}, not {theirs}): name that, or {anew}")
    if begun.points != now.points:
        raise UsageError(f"{which} has other points than the workload has now; {anew}")
    if begun.lengths != now.lengths:
        raise UsageError(f"the server counts tokens otherwise than when {which} began; {anew}")


def reopened(run_dir: RunDir, now: Manifest, tell: Tell) -> tuple[Manifest, Trials]:
    """The run as it goes on, to be called with its lock held: its manifest, and what of it is done.

    Half a trial is removed: it is measured again as a whole. Until it is finished the run is partial again.
    """
    begun = run_dir.plan()
    same_still(begun, now)
    others = [f"{one.name} {one.base} → {one.other}" for one in differs_in(begun, now)]
    if begun.seed != now.seed:
        others.append(f"seed {now.seed} asked, {begun.seed} kept")
    note = "; ".join([datetime.now(UTC).isoformat(timespec="seconds"), *others])
    manifest = msgspec.structs.replace(begun, resumed=(*begun.resumed, note))
    done = done_trials(run_dir, manifest)
    run_dir.reopen(manifest)
    for point, trial in {place for place in run_dir.trial_files().values() if place[1]} - set(done):
        run_dir.forget(point, trial)
    number = len(manifest.points) * manifest.workload.trials
    text = f"going on with run {run_dir.run_id}: {len(done)} of {number} trials are done"
    tell(Stage(name="measure", text=text))
    if others:
        tell(Stage(name="measure", text=f"different since it began: {'; '.join(others)}"))
    return manifest, done


def _asked_alike(manifest: Manifest, options: Options) -> bool:
    """Were the two commands the same, as far as that can be seen before a server answers?"""
    driver = load(options.backend, options.options)
    stored = options.options
    stored = driver.stored_options(stored) if isinstance(driver, HidesOptions) else shown_settings(stored)
    return (
        manifest.backend == options.backend
        # A search's loads are its own: it begins anew.
        and not manifest.capacity
        and manifest.sweep == options.sweep
        and manifest.axes == options.axes
        and (not options.url or manifest.url == masked_url(options.url))
        and (not options.model or _is(options.model, manifest.model))
        and (manifest.attached or manifest.engine == shown_settings(options.engine))
        and manifest.options == stored
        and manifest.extra_body == (shown_body(options.extra_body) if options.extra_body else "")
        and manifest.reset_cache == options.reset_cache
    )


def _is(asked: str, stored: str) -> bool:
    """Is a model the one that was asked for? Gemini's own lists say `models/gemini-…`."""
    return shown_model(asked).removeprefix("models/") == stored.removeprefix("models/")
