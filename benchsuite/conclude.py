"""From spools to a finished run: decoding, judging and saving, after a run's end or after a crash."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchsuite.driver import Driver, load
from benchsuite.engine.asked import Asked
from benchsuite.engine.decode import records
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import TrialRun
from benchsuite.errors import BenchsuiteError, StoreError
from benchsuite.money.evidence import gpus_used
from benchsuite.stats.edge import filling
from benchsuite.store.names import part_of, place_of
from benchsuite.store.runs import RunDir, Store, write_json
from benchsuite.types import Manifest, Point, Record, Run, Stage, Summary, TokenPrice, TrialInfo
from benchsuite.workload.checks import judging
from benchsuite.workload.draw import Item
from benchsuite.workload.material import found_again

# ---------------------------------------------------------------- decoding


def decode_segment(
    run_dir: RunDir,
    segment: Path,
    driver: Driver,
    manifest: Manifest,
    keep_text: bool,
    items: Sequence[Item] = (),
) -> None:
    """Turn one spool file into the record file that belongs to it, then remove it.

    `items`: the dataset, whose right answers the workload's check may need; without them it can't judge.

    Each segment has a record file of its own, so that doing this again after a crash between the
    two steps overwrites instead of doubling.
    """
    stem, worker = segment.stem.rsplit("-", 1)
    point, trial, again = place_of(stem)
    part = part_of(again, int(worker), int(segment.suffix[1:]))
    reader = SpoolReader(segment)
    tapes = reader.read()
    prefix = f"{run_dir.run_id}-{stem}-"
    asked = Asked(segment.with_name(stem))
    passed = judging(manifest.workload, items, asked.item)
    found = map(asked.joined, records(tapes, driver, prefix, keep_text, passed))
    fillers = _fillers(manifest, point) if trial else 0
    with run_dir.writer(point, trial, part) as writer:
        for record in priced(found, manifest.token_price):
            fills = record.index < fillers
            writer.write(msgspec.structs.replace(record, phase="warm_up") if fills else record)
    segment.unlink()


def _fillers(manifest: Manifest, point: int) -> int:
    """How many requests of a search's level come before those that are judged; 0: of no search."""
    mine = [each for each in manifest.points if each.index == point] if manifest.capacity else []
    return max((filling(each, manifest.identity.slots) for each in mine), default=0)


def priced(found: Iterable[Record], price: TokenPrice | None) -> Iterator[Record]:
    """The records, each with what it cost where tokens are billed."""
    if price is None:
        yield from found
        return
    from benchsuite.money.tokens import meter

    usd = meter(price)
    for record in found:
        yield msgspec.structs.replace(record, cost_usd=usd(record))


def keep_trial(run_dir: RunDir, point: int, trial: int, done: TrialRun) -> None:
    """Write down what the records don't say of a trial: its start, its digest, its workers' health."""
    if not trial:
        return
    columns = _columns(run_dir, point, trial)
    info = _info_from(columns, point, trial)
    if info is None:
        return
    indexes = columns["index"].tolist()
    info = msgspec.structs.replace(
        info, start_ns=done.start_ns, plan_digest=done.plan_digest(indexes), workers=done.workers
    )
    keep_info(run_dir, info)


def keep_info(run_dir: RunDir, info: TrialInfo) -> None:
    """Write down what is known of a trial beside its records."""
    write_json(_info_path(run_dir, info.point, info.trial), info)


def info_of(run_dir: RunDir, point: int, trial: int) -> TrialInfo | None:
    """What was written down of a trial at its end; None: it had none, or was cut off."""
    path = _info_path(run_dir, point, trial)
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrialInfo)
    except (OSError, msgspec.DecodeError):
        return None


def _info_path(run_dir: RunDir, point: int, trial: int) -> Path:
    return run_dir.path / "trials" / f"{point}-{trial}.json"


def _trial_info(run_dir: RunDir, point: int, trial: int) -> TrialInfo | None:
    """What was written down of a trial, or as much as its records tell; None: it left none."""
    written = info_of(run_dir, point, trial)
    return written or _info_from(_columns(run_dir, point, trial), point, trial)


def _info_from(columns: dict[str, NDArray[np.int64]], point: int, trial: int) -> TrialInfo | None:
    """What a trial's records tell of it; None: there are none."""
    due, sent, end = columns["due_ns"], columns["sent_ns"], columns["end_ns"]
    if not len(due):
        return None
    return TrialInfo(
        point=point,
        trial=trial,
        start_ns=int(due.min()),
        last_send_ns=int(sent.max() if len(sent) else due.max()),
        end_ns=int(end.max()),
        plan_digest="",
        workers=(),
    )


def _columns(run_dir: RunDir, point: int, trial: int) -> dict[str, NDArray[np.int64]]:
    """Some columns of one trial's records, each without its nulls."""
    from benchsuite.store.records import read_records

    paths = [path for path, place in run_dir.trial_files().items() if place == (point, trial)]
    table = read_records(paths, ["index", "due_ns", "sent_ns", "end_ns"])
    return {name: table[name].drop_null().to_numpy() for name in table.column_names}


# ---------------------------------------------------------------- judging and saving


def conclude(
    run_dir: RunDir,
    manifest: Manifest,
    status: Literal["finished", "interrupted", "recovered"],
    completed: Callable[[Run], Run] = lambda run: run,
) -> Run:
    """Summarise what was recorded, judge it, and write run.json; `completed` adds what else it is to say."""
    from benchsuite.stats.verdict import worst

    infos = tuple(
        info
        for point in manifest.points
        for trial in range(1, manifest.workload.trials + 1)
        if (info := _trial_info(run_dir, point.index, trial)) is not None
    )
    manifest = msgspec.structs.replace(manifest, trials=infos)
    measured = {info.point for info in infos}
    points = manifest.points
    if status != "finished":
        points = tuple(point for point in points if point.index in measured)
    summaries = _summaries(run_dir, manifest, points, interrupted=status != "finished")
    verdict = worst(summary.verdict for summary in summaries) if summaries else "invalid"
    run = completed(Run(status=status, manifest=manifest, summaries=summaries, verdict=verdict))
    run_dir.finish(run)
    return run


def judged(run_dir: RunDir, manifest: Manifest, trial: int) -> tuple[Summary, ...]:
    """What one trial of every point would be worth, were it all that there is."""
    infos = tuple(
        info for point in manifest.points if (info := _trial_info(run_dir, point.index, trial)) is not None
    )
    alone = msgspec.structs.replace(manifest, trials=infos)
    return _summaries(run_dir, alone, manifest.points, interrupted=False, trial=trial)


def _summaries(
    run_dir: RunDir,
    manifest: Manifest,
    points: Sequence[Point],
    *,
    interrupted: bool,
    trial: int | None = None,
) -> tuple[Summary, ...]:
    """The points' numbers, judged, from their records; `trial`: from those of one trial alone."""
    from benchsuite.stats.columns import NEEDED
    from benchsuite.stats.facts import Conditions
    from benchsuite.stats.verdict import summarise_all

    capabilities = load(manifest.backend, manifest.options).capabilities
    return summarise_all(
        (
            (point, run_dir.records(point.index, trial is None, NEEDED, trial), manifest.trials)
            for point in points
        ),
        Conditions(
            workload=manifest.workload,
            capabilities_exact_output=capabilities.exact_output,
            identity_slots=manifest.identity.slots,
            lengths=manifest.lengths,
            model=manifest.model,
            # A server of our own may list a model under its file's name.
            models=manifest.identity.models if manifest.attached else (),
            selftest=manifest.selftest,
            # Of a search it is the first thing that is said.
            interrupted=interrupted and not manifest.capacity,
            price=manifest.price,
            token_price=manifest.token_price,
            gpu=manifest.gpu,
            gpus=manifest.gpus,
            server_gpu=manifest.identity.details.get("gpu", ""),
            gpus_used=gpus_used(manifest.engine, manifest.identity.details),
            slots_assumed=manifest.attached and manifest.identity.slots == capabilities.default_slots,
            context_tokens=manifest.identity.context_tokens,
            caching=manifest.caching,
            cache_reset=manifest.reset_cache,
        ),
    )


# ---------------------------------------------------------------- owning and recovering


_ASKED_S = 0.25
"""Who only asks whether a run is live holds its lock as well, but never for so long."""
_AGAIN_S = 0.005


@contextlib.contextmanager
def owned(run_dir: RunDir) -> Generator[bool]:
    """Hold a run's lock, so that nobody recovers what is still being measured; False: somebody holds it."""
    path, ours, until_s = run_dir.path / "lock", False, time.monotonic() + _ASKED_S
    with contextlib.ExitStack() as stack:
        while not ours:
            file = stack.enter_context(path.open("w", encoding="utf-8"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    yield False
                    return
                time.sleep(_AGAIN_S)
                continue
            # Who held it until now may have removed the file that we opened, and a third made a new one.
            with contextlib.suppress(FileNotFoundError):
                ours = os.path.samestat(path.stat(), os.fstat(file.fileno()))
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def recover(store: Store, tell: Callable[[Stage], None]) -> list[Run]:
    """Finish every run that was cut off, from its record files and what is left in its spool.

    A run that can't be recovered is told and passed over. Raises `StoreError` if that is all there was.
    """
    found, failed = [], []
    for run_dir in store.partial_runs():
        if run_dir.waiting:
            text = f"{run_dir.run_id} waits for its batch: `benchsuite batch resume {run_dir.run_id}`"
            tell(Stage(name="save", text=text))
            continue
        try:
            with owned(run_dir) as free:
                if not free:
                    tell(Stage(name="save", text=f"{run_dir.run_id} is still being measured"))
                # One may have been finished between being listed and being ours.
                elif run_dir.partial:
                    found.append(_recovered(run_dir))
                    tell(Stage(name="save", text=f"{run_dir.run_id} recovered"))
        except (BenchsuiteError, OSError, ValueError) as error:
            failed.append(f"{run_dir.run_id} can't be recovered: {error}")
            tell(Stage(name="save", text=failed[-1]))
    if failed and not found:
        raise StoreError("; ".join(failed))
    return found


def _recovered(run_dir: RunDir) -> Run:
    """Finish one run that nobody else holds."""
    manifest = run_dir.plan()
    driver = load(manifest.backend, manifest.options)
    items = found_again(manifest.workload).items
    spools = sorted(run_dir.spool_dir.glob("*-*-*.*")) if run_dir.spool_dir.is_dir() else []
    for segment in spools:
        decode_segment(run_dir, segment, driver, manifest, keep_text=False, items=items)
    for point, trial in set(run_dir.trial_files().values()):
        # Half a pair says nothing, and half a level of a search says nothing of its load.
        half_pair = manifest.pairing is not None and trial not in manifest.pairing.kept
        half_level = manifest.capacity and info_of(run_dir, point, trial) is None
        if trial and (half_pair or half_level):
            run_dir.forget(point, trial)
    return conclude(run_dir, manifest, "recovered")
