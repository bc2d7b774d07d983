"""In what order the trials of a workload's points are measured."""

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from benchsuite.types import Noun, Point, Workload
from benchsuite.workload.arrivals import warm_up_count

WARM_UP = 0
"""The number of a point's warm-up among its trials."""


class Step(Noun, frozen=True, kw_only=True):
    """What is measured next: a trial of a point, or its warm-up (trial 0).

    `again`: how often this trial, or this warm-up, may have been sent before; its prompts begin otherwise
    each time. `short`: the point was warmed up in this process before, and others were measured since.
    """

    point: int
    trial: int
    again: int = 0
    short: bool = False


def blocks(
    indexes: Sequence[int], trials: int, *, order: Literal["blocks", "listed"], seed: int
) -> Iterator[tuple[int, int]]:
    """(point, trial) in the order of measuring.

    `blocks`: the first trial of every point, then the second of every point…, each time in another order,
    which the seed decides: whatever drifts meets all points alike. `listed`: all trials of one point, then
    those of the next.
    """
    if order == "listed":
        yield from ((index, trial) for index in indexes for trial in range(1, trials + 1))
        return
    for trial in range(1, trials + 1):
        shuffled = list(indexes)
        random.Random(f"order {seed} {trial}").shuffle(shuffled)
        yield from ((index, trial) for index in shuffled)


def steps(
    wanted: Iterable[tuple[int, int]],
    *,
    trials: int,
    done: Collection[tuple[int, int]] = (),
    resumed: int = 0,
) -> Iterator[Step]:
    """The trials that aren't done, with a warm-up where a point comes first and a short one where it returns.

    `resumed`: how often the run was gone on with.
    """
    warmed: set[int] = set()
    last = None
    for point, trial in wanted:
        if (point, trial) in done:
            continue
        if point != last:
            short = point in warmed
            # Each warm-up of a run has a number of its own: one for each block, once more after each resume.
            again = resumed * (trials + 1) + (trial if short else 0)
            yield Step(point=point, trial=WARM_UP, again=again, short=short)
            warmed.add(point)
        yield Step(point=point, trial=trial, again=resumed)
        last = point


def every_step(
    workload: Workload, points: int, seed: int, *, done: Collection[tuple[int, int]] = (), resumed: int = 0
) -> Iterator[Step]:
    """The steps of a run of so many points, in the order of measuring."""
    wanted = blocks(range(points), workload.trials, order=workload.order, seed=seed)
    return steps(wanted, trials=workload.trials, done=done, resumed=resumed)


def warm_ups(workload: Workload, point: Point, step: Step) -> int:
    """Requests of a warm-up, at least; a short one has half of them, where no conversation is cut by that."""
    whole = warm_up_count(workload, point)
    return -(-whole // 2) if step.short and workload.turns == 1 else whole
