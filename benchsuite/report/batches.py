"""What is told of batch APIs: a list of batches, how far one is, and when its answers were there."""

from collections.abc import Iterator, Sequence
from typing import Final

from benchsuite.driver import BatchState
from benchsuite.report.points import Column
from benchsuite.report.render import table
from benchsuite.report.units import NOTHING, duration, number
from benchsuite.store.batches import Batch
from benchsuite.types import BatchInfo, BatchPoll, Manifest, Run, Summary

_SHARES: Final = (0.5, 0.9, 1.0)
_POLLS: Final = 12
"""So many of the last changes of a batch's counts are shown."""
_STEPS: Final = {
    "planned": "not submitted",
    "uploaded": "not submitted",
    "creating": "perhaps submitted",
    "over": "to be fetched",
    "kept": "fetched",
}


def batch_table(rows: Sequence[tuple[Manifest, Batch, bool]], *, width: int, styled: bool = False) -> str:
    """Batches as they were last heard of, with their run, and whether that is finished."""
    columns = [
        Column(heading=("run",), cells=tuple(one.run_id for one, _, _ in rows), left=True, whole=True),
        Column(
            heading=("started (UTC)",), cells=tuple(one.started[:16].replace("T", " ") for one, _, _ in rows)
        ),
        Column(heading=("backend",), cells=tuple(one.backend for one, _, _ in rows), left=True, drop=2),
        Column(heading=("model",), cells=tuple(one.model for one, _, _ in rows), left=True, drop=1),
        Column(heading=("requests",), cells=tuple(f"{batch.requests:,}" for _, batch, _ in rows)),
        Column(heading=("done",), cells=tuple(_done(batch) for _, batch, _ in rows)),
        Column(
            heading=("state",), cells=tuple(_state(batch, finished) for _, batch, finished in rows), left=True
        ),
    ]
    return table(columns, width=width, styled=styled)


def _done(batch: Batch) -> str:
    poll = batch.polls[-1] if batch.polls else None
    return NOTHING if poll is None or poll.done is None else f"{poll.done:,}"


def _state(batch: Batch, finished: bool) -> str:
    step = _STEPS.get(batch.step, "")
    if finished:
        return f"{batch.state}, {step}" if batch.state else step
    known = ", ".join(word for word in (batch.state, step) if word)
    return f"{known} → batch resume"


def status_line(batch: Batch, now: BatchState | None) -> str:
    """How far a batch is, by its server's word where it could be asked."""
    name = batch.id or batch.label
    if now is None:
        return f"{name}: {batch.state or _STEPS.get(batch.step, batch.step)}, {_STEPS.get(batch.step, '')}"
    counts = "" if now.total is None else f", {now.done or 0:,} of {now.total:,} done"
    failed = f", {now.failed:,} failed" if now.failed else ""
    why = f" ({now.message})" if now.message else ""
    return f"{name}: {now.state}{why}{counts}{failed}"


def in_words(row: Summary) -> str:
    """A point's batches in running text: how long they took, and how much that is an hour."""
    turnaround = row.rates.get("turnaround_s")
    if turnaround is None or turnaround.value is None:
        return "nothing is known of its batch"
    per_hour = number(row.rates.get("requests_per_hour"))
    return f"a batch took {duration(1000 * turnaround.value)}, {per_hour} requests an hour"


def completion_lines(run: Run) -> Iterator[str]:
    """When how much of each batch was done, as far as its server counted on the way."""
    several = len(run.manifest.trials) > 1
    for trial in run.manifest.trials:
        if trial.batch is not None:
            who = f"Batch {trial.point}-{trial.trial}" if several else "The batch"
            yield f"{who}: {completion(trial.batch)}."


def batch_lines(run: Run) -> Iterator[str]:
    """How a batch's times came about, for `show --how`."""
    yield "Nobody saw a token arrive: a batch API tells only how many requests are done, and in the end how."
    for trial in run.manifest.trials:
        if (batch := trial.batch) is None:
            continue
        if not batch.id:
            yield f"A batch was never made: {batch.state or 'called off'}."
            continue
        whose = "by the server's own clock" if batch.by_server else "until we saw that it was over"
        yield f"Batch {batch.id}: {completion(batch)}, {whose}."
        counts = [_count(poll) for poll in batch.polls if poll.total]
        if counts:
            yield f"Done by our polls: {'; '.join(counts[-_POLLS:])}."


def _count(poll: BatchPoll) -> str:
    failed = f" (+{poll.failed:,} failed)" if poll.failed else ""
    return f"{poll.seconds:,.0f} s {poll.done or 0:,}{failed}"


def completion(batch: BatchInfo) -> str:
    """`half was done after 3 min, 90 % after 9 min, all after 12 min`."""
    words = []
    for share in _SHARES[:-1]:
        after_s = after(batch, share)
        if after_s is not None:
            named = "half was done" if share == 0.5 else f"{100 * share:.0f} %"
            words.append(f"{named} after {duration(1000 * after_s)} at most")
    took = f" after {duration(1000 * batch.turnaround_s)}" if batch.turnaround_s else ""
    ended = f"{batch.state or 'over'}{took}"
    return ", ".join([*words, ended])


def after(batch: BatchInfo, share: float) -> float | None:
    """Seconds until the first poll at which so much was done or had failed; None: it was never counted."""
    for poll in batch.polls:
        if poll.total and (poll.done or 0) + (poll.failed or 0) >= share * poll.total:
            # The last poll comes later than the end itself, which some servers tell.
            return min(poll.seconds, batch.turnaround_s)
    return None
