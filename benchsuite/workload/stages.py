"""Loads that change within a trial: how they are typed, what is due by when, how many slots there are."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import LoadStage, Point, Workload

_UNITS_S = {"ms": 0.001, "min": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_TYPED = re.compile(
    r"(?P<time>[\d.]+)(?P<unit>ms|min|s|m|h|)@(?P<c>c?)(?P<first>[\d.]+)(-(?P<also>c?)(?P<last>[\d.]+))?"
)
_ADVICE = (
    "write TIME@LOAD for each, such as 30s@1-10,60s@10 (requests/s, from 1 to 10, then 10) "
    "or 30s@c1-c64,1m@c64 (in flight)"
)


def parse_stages(text: str) -> tuple[LoadStage, ...]:
    """Stages as people type them: `30s@1-10,60s@10` by requests/s, `30s@c1-c64` by requests in flight.

    One value is held, two are a ramp from the first to the last. What can't be read is a UsageError.
    """
    found = []
    for part in text.replace(" ", "").lower().split(","):
        match = _TYPED.fullmatch(part)
        if match is None or (match["also"] and not match["c"]):
            raise UsageError(f"--stages: {part!r} isn't a stage; {_ADVICE}")
        first, last = match["first"], match["last"] or match["first"]
        try:
            seconds = float(match["time"]) * _UNITS_S[match["unit"]]
            if match["c"]:
                found.append(LoadStage(seconds=seconds, concurrency=(int(first), int(last))))
            else:
                found.append(LoadStage(seconds=seconds, rate=(float(first), float(last))))
        except ValueError:
            raise UsageError(f"--stages: {part!r} isn't a stage; {_ADVICE}") from None
    if any(stage.seconds <= 0 for stage in found):
        raise UsageError(f"--stages: a stage lasts longer than 0; {_ADVICE}")
    if not any(max(_ends(stage)) for stage in found):
        raise UsageError(f"--stages: not every stage can be 0; {_ADVICE}")
    if len({stage.rate is None for stage in found}) > 1:
        raise UsageError("--stages: either all by requests/s (10) or all by requests in flight (c10)")
    return tuple(found)


def course(stage: LoadStage) -> str:
    """A stage's load in a few words: `10` or `1 → 10`."""
    first, last = _ends(stage)
    return f"{first:g}" if first == last else f"{first:g} → {last:g}"


def length_s(stages: Sequence[LoadStage]) -> float:
    """How long a trial of these stages sends, in seconds."""
    return math.fsum(stage.seconds for stage in stages)


def spans_ns(stages: Sequence[LoadStage]) -> tuple[tuple[int, int], ...]:
    """Start and end of each stage, in ns from the trial's start."""
    ends = accumulate((stage.seconds for stage in stages), initial=0.0)
    return tuple(pairwise(round(end * 1e9) for end in ends))


def peak(point: Point) -> float:
    """The most that a point ever asks: requests/s of an open loop, requests in flight of a closed one."""
    if point.stages:
        return max(max(_ends(stage)) for stage in point.stages)
    return point.rate if point.rate is not None else point.concurrency or 1


def lowest(point: Point) -> float:
    """The least that the stages of a point ask."""
    return min(min(_ends(stage)) for stage in point.stages)


def at_start(point: Point) -> Point:
    """The point with the load that its stages begin with, held: what warms it up.

    Where they begin with nothing: one in flight, or the mean rate of the first stage that has any.
    """
    if not point.stages:
        return point
    first = next(stage for stage in point.stages if max(_ends(stage)))
    if first.concurrency is not None:
        return msgspec.structs.replace(point, stages=(), concurrency=max(1, first.concurrency[0]))
    return msgspec.structs.replace(point, stages=(), rate=_ends(first)[0] or sum(_ends(first)) / 2)


# ---------------------------------------------------------------- by rate


def expected(stages: Sequence[LoadStage], until_s: float) -> float:
    """Λ: how many arrivals the stages ask for up to an instant."""
    total = 0.0
    for stage in stages:
        first, last = _ends(stage)
        part_s = min(max(until_s, 0.0), stage.seconds)
        total += part_s * (first + (last - first) * part_s / stage.seconds / 2)
        until_s -= stage.seconds
    return total


def instants_s(stages: Sequence[LoadStage], positions: Iterable[float]) -> Iterator[float]:
    """When so many arrivals are to be expected: rising positions, each through Λ⁻¹; it ends with the stages.

    Positions that come one a unit on the mean become arrivals whose rate is the stages' own at each instant.
    """
    left = iter(stages)
    stage, begins_s, before = next(left), 0.0, 0.0
    area = _area(stage)
    for position in positions:
        while position - before >= area:
            begins_s, before = begins_s + stage.seconds, before + area
            following = next(left, None)
            if following is None:
                return
            stage, area = following, _area(following)
        yield begins_s + _reached_s(stage, position - before)


def _reached_s(stage: LoadStage, number: float) -> float:
    """How far into a stage so many arrivals of it are to be expected; the form that loses no digits."""
    first, last = _ends(stage)
    root = math.sqrt(max(0.0, first * first + 2 * (last - first) / stage.seconds * number))
    return min(stage.seconds, 2 * number / (first + root)) if number else 0.0


def _area(stage: LoadStage) -> float:
    return sum(_ends(stage)) / 2 * stage.seconds


def _ends(stage: LoadStage) -> tuple[float, float]:
    return stage.rate or stage.concurrency or (0.0, 0.0)


# ---------------------------------------------------------------- by concurrency


def slot_times(stages: Sequence[LoadStage]) -> tuple[tuple[int, int], ...]:
    """From when on there are how many slots: (ns from the trial's start, slots), beginning at 0.

    A ramp is a straight line, rounded: slot k (from 0) is there while the line is at k + ½ or above, so that
    the mean number of slots is the line's own.
    """
    found: list[tuple[int, int]] = []
    begins_s = 0.0
    for stage in stages:
        first, last = map(round, _ends(stage))
        step = 1 if last > first else -1
        changes = [(begins_s, first)]
        for number in range(first, last, step):
            share = (abs(number - first) + 0.5) / abs(last - first)
            changes.append((begins_s + share * stage.seconds, number + step))
        for at_s, slots in changes:
            if not found or found[-1][1] != slots:
                found.append((round(at_s * 1e9), slots))
        begins_s += stage.seconds
    return tuple(found)


# ---------------------------------------------------------------- in place of a workload's own load

_UNSTAGED = {"concurrency": (), "rate": (), "requests": None, "seconds": None, "batch": False}
_EVEN = {"arrivals": "poisson", "arrivals_cv": 1.0, "burst_size": 1}


def exchanged(workload: Workload, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a workload's fields, with those that follow for its load.

    Stages take the place of any other load and of the trial's end; another load takes theirs, for as long as
    they were. A cv makes arrivals gamma, a burst size bursts. Without a rate nothing is left of arrivals.
    """
    found = dict(changes)
    if found.get("stages"):
        found = _UNSTAGED | found
    elif workload.stages and (found.get("concurrency") or found.get("rate") or found.get("batch")):
        found.setdefault("stages", ())
        if not found.get("batch") and found.get("requests") is None and found.get("seconds") is None:
            found["seconds"] = length_s(workload.stages)
    if "arrivals" not in found and "burst_size" in found:
        found["arrivals"] = "burst"
    elif "arrivals" not in found and "arrivals_cv" in found and workload.arrivals != "burst":
        found["arrivals"] = "gamma"
    stages = found.get("stages", workload.stages)
    if found.get("arrivals", workload.arrivals) != workload.arrivals or not (
        found.get("rate", workload.rate) or workload.listed or (stages and stages[0].rate is not None)
    ):
        found = _EVEN | found
    return found
