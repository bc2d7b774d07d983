"""When requests are due: arrivals of an open loop, and how many there are of each load."""

import math
import random
from collections.abc import Iterator
from itertools import count, islice, repeat, takewhile

from benchsuite.types import Point, Workload
from benchsuite.workload.draw import Draw

_OFFLINE_WARM_UP = 8


def warm_up_count(workload: Workload, point: Point) -> int:
    """How many requests warm a point up, at least, before anything is measured.

    Closed loop: two for each slot. Open loop: the arrivals of two seconds (or of the workload's
    warm-up seconds if longer), four or more. Never more than the workload's cap, except that each
    slot gets one.
    """
    if point.load == "batch-api":
        return 0
    if point.load == "closed":
        wanted = 2 * (point.concurrency or 1)
    elif point.load == "open":
        wanted = max(4, math.ceil((point.rate or 0.0) * max(2.0, workload.warm_up_seconds)))
    else:
        wanted = min(workload.requests or _OFFLINE_WARM_UP, 2 * (point.concurrency or _OFFLINE_WARM_UP // 2))
    return min(wanted, warm_up_most(workload, point))


def warm_up_most(workload: Workload, point: Point) -> int:
    """The most that a warm-up sends: the workload's cap, but one for each slot."""
    return max(workload.warm_up_max_requests, point.concurrency or 0)


def offsets_ns(draw: Draw) -> Iterator[int | None]:
    """When each request is due, in ns from the trial's start; as many as there are requests.

    None: when a slot is free.
    """
    workload, point = draw.workload, draw.point
    number, until_s = workload.requests, workload.seconds
    if draw.phase == "warm_up":
        goes_on = point.load == "closed" and workload.warm_up_seconds > 0
        number = warm_up_most(workload, point) if goes_on else warm_up_count(workload, point)
    if point.rate is None:
        return islice(repeat(None), number)
    if point.load == "offline":
        return islice(repeat(0), number)
    if workload.arrivals == "poisson":
        arrivals_ns = _poisson_ns(point.rate, f"arrivals {draw.seed} {draw.place}")
    else:
        arrivals_ns = _constant_ns(point.rate)
    if number is not None:
        return islice(arrivals_ns, number)
    end_ns = (until_s or 0.0) * 1e9
    return takewhile(lambda offset_ns: offset_ns < end_ns, arrivals_ns)


def _constant_ns(rate: float) -> Iterator[int]:
    return (round(index * 1e9 / rate) for index in count())


def _poisson_ns(rate: float, name: str) -> Iterator[int]:
    draw = random.Random(name)
    offset_s = 0.0
    while True:
        offset_s += draw.expovariate(rate)
        yield round(offset_s * 1e9)
