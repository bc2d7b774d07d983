"""When requests are due: arrivals of an open loop, and how many there are of each load.

Arrivals are drawn at one a unit of time on the mean, then set to the rate: divided by it, or where the load
changes by the inverse of the cumulative rate. They are absolute instants that only seed, point, phase and
trial decide: no nonce, no number of workers, and no rounding that adds up.
"""

import math
import random
from collections.abc import Iterator
from itertools import count, islice, repeat, takewhile

from benchsuite.types import Point, Workload
from benchsuite.workload.draw import Draw
from benchsuite.workload.points import own_instants
from benchsuite.workload.spreads import most
from benchsuite.workload.stages import at_start, instants_s

_OFFLINE_WARM_UP = 8

WARM_UP_TURNS = 2
"""Turns of a conversation in warm-up: enough to know how a server takes one."""


def warm_up_count(workload: Workload, point: Point) -> int:
    """How many requests warm a point up, at least, before anything is measured.

    Closed loop: two for each slot. Open loop: the arrivals of two seconds (or of the workload's
    warm-up seconds if longer), four or more, but of a trace no more than its rows. Stages: for the
    load that they begin with. One conversation or more for each group of prompts that begin alike.
    Never more than the workload's cap, except that each slot gets one.
    """
    point = at_start(point)
    if point.load == "batch-api":
        return 0
    if point.load == "closed":
        wanted = 2 * (point.concurrency or 1)
    elif point.load == "open":
        wanted = max(4, math.ceil((point.rate or 0.0) * max(2.0, workload.warm_up_seconds)))
        if workload.trace is not None and workload.trace.used and own_instants(workload, point):
            wanted = min(wanted, max(4, workload.trace.used))
    else:
        wanted = min(workload.requests or _OFFLINE_WARM_UP, 2 * (point.concurrency or _OFFLINE_WARM_UP // 2))
    if point.cache == "shared":
        wanted = max(wanted, workload.groups * min(WARM_UP_TURNS, math.ceil(most(workload.turns))))
    return min(wanted, warm_up_most(workload, point))


def warm_up_most(workload: Workload, point: Point) -> int:
    """The most that a warm-up sends: the workload's cap, but one for each slot."""
    return max(workload.warm_up_max_requests, at_start(point).concurrency or 0)


def spaced(workload: Workload) -> str:
    """How an open loop's requests are spaced, in words."""
    if workload.arrivals == "constant":
        return "evenly spaced arrivals"
    cv = workload.arrivals_cv
    if workload.arrivals == "burst":
        uneven = "Poisson" if cv == 1 else f"gamma, cv {cv:g}"
        return f"arrivals in bursts of {workload.burst_size:,} ({uneven})"
    return "Poisson arrivals" if cv == 1 else f"gamma arrivals (cv {cv:g})"


def offsets_ns(draw: Draw) -> Iterator[int | None]:
    """When each request is due, in ns from the trial's start; as many as there are requests.

    None: when a slot is free.
    """
    workload, point = draw.workload, draw.point
    number, until_s = workload.requests, workload.seconds
    if draw.phase == "warm_up":
        point = at_start(point)
        goes_on = point.load == "closed" and workload.warm_up_seconds > 0
        number = warm_up_most(workload, point) if goes_on else warm_up_count(workload, point)
    if point.rate is None:
        return islice(repeat(None), number)
    if point.load == "offline":
        return islice(repeat(0), number)
    positions = _positions(workload, draw.random("arrivals"))
    if point.stages:
        return (round(at_s * 1e9) for at_s in instants_s(point.stages, positions))
    rate = point.rate
    arrivals_ns = (round(position * 1e9 / rate) for position in positions)
    if number is not None:
        return islice(arrivals_ns, number)
    end_ns = (until_s or 0.0) * 1e9
    return takewhile(lambda offset_ns: offset_ns < end_ns, arrivals_ns)


def _positions(workload: Workload, draw: random.Random) -> Iterator[float]:
    """Rising numbers, one a unit on the mean: where the arrivals are, in mean gaps from the start."""
    if workload.arrivals == "constant":
        return map(float, count())
    if workload.arrivals == "poisson":
        return _renewals(1.0, draw)
    if workload.arrivals == "gamma":
        return _renewals(workload.arrivals_cv, draw)
    size = workload.burst_size
    return (size * position for position in _renewals(workload.arrivals_cv, draw) for _ in range(size))


def _renewals(cv: float, draw: random.Random) -> Iterator[float]:
    """Arrivals whose gaps are gamma distributed with mean 1 and coefficient of variation `cv` (1: Poisson).

    The first gap is what an observer who comes at any time still has to wait (a length-biased gap, cut
    anywhere): so the expected number by any instant is exactly the rate's, however bursty it is.
    """
    if cv == 1:
        position = draw.expovariate(1.0)
        while True:
            yield position
            position += draw.expovariate(1.0)
    scale = cv * cv
    shape = 1 / scale
    position = draw.random() * draw.gammavariate(shape + 1, scale)
    while True:
        yield position
        position += draw.gammavariate(shape, scale)
