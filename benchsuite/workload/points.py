"""The points of a workload: what its axes make together."""

import math
from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

from benchsuite.errors import UsageError
from benchsuite.types import CacheMode, Length, Listed, Point, Spread, Workload
from benchsuite.workload.faults import at
from benchsuite.workload.spreads import least, mean, most

_AXES = ("prompt tokens", "output tokens", "rate", "concurrency", "cache", "hit ratio", "stream")
_LISTED = ("prompt_tokens", "output_tokens", "rate", "concurrency", "cache", "hit_ratio")


def points(workload: Workload) -> tuple[Point, ...]:
    """Every point of a workload.

    Listed ones as they are listed; zipped axes side by side; else each combination, prompt lengths first,
    then output lengths, rates, caps (each rate meets each cap), cache modes, hit ratios and streaming.
    """
    if workload.listed:
        found = [_listed(workload, one) for one in workload.listed]
    else:
        axes = _axes_of(workload)
        found = list(_zipped(axes) if workload.sweep == "zip" else _grid(axes))
    return tuple(_point(workload, index, *values) for index, values in enumerate(found))


def _grid(axes: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Each combination once: a hit ratio goes with the cache mode that shares, and with no other."""
    every = (
        (*rest, cache, ratio if cache == "shared" else None, stream)
        for *rest, cache, ratio, stream in product(*axes)
    )
    return list(dict.fromkeys(every))


def own_instants(workload: Workload, point: Point) -> bool:
    """Does the point send a trace's rows when they came, rather than as a load of the workload's own says?"""
    listed = workload.listed[point.index].rate if workload.listed else None
    own_load = workload.rate or point.concurrency or point.stages or workload.batch or listed
    return workload.trace is not None and not own_load


def _trace_rate(workload: Workload) -> float:
    """Requests a second that a trace asks for, on the mean; 0: it isn't read yet."""
    trace = workload.trace
    assert trace is not None
    if not trace.used:
        return 0.0
    cut = workload.requests is None and trace.used + trace.dropped < trace.number
    seconds = (workload.seconds or 0.0) if cut else trace.seconds / workload.time_scale
    return float(f"{trace.used / seconds:.6g}") if seconds else float(trace.used)


def check_points(workload: Workload, where: str) -> None:
    """Refuse axes that make no points together: a UsageError that begins with `where`."""
    several = [name for name, axis in zip(_AXES, _axes_of(workload), strict=True) if len(axis) > 1]
    if workload.listed and several:
        raise UsageError(
            f"{where}[sweep] points says itself what varies: give {several[0]} one value, for those points "
            "that have none of their own"
        )
    try:
        found = points(workload)
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None
    if workload.time_scale != 1 and workload.trace and not any(own_instants(workload, one) for one in found):
        raise UsageError(
            f"{at(where, '[load]')}time_scale is for a trace's own instants: leave it out, or rate, "
            "concurrency and stages"
        )
    for point in found:
        if refused := _refused(workload, point):
            place, said = refused
            listed = f"{where}[sweep] points no. {point.index + 1}: "
            raise UsageError(f"{listed if workload.listed else at(where, f'{place}:')}{said}")


def _refused(workload: Workload, point: Point) -> tuple[str, str] | None:
    """Where in a file it stands and why, if a point's cache makes no sense; None: it does."""
    ratio, mode = "[cache] hit_ratio", "[cache] mode"
    if point.hit_ratio is not None and point.cache != "shared":
        return ratio, 'hit_ratio goes with the cache mode "shared"'
    if point.hit_ratio is not None and workload.shared_tokens:
        return ratio, "say how much is shared: either shared_tokens or a hit_ratio"
    if workload.trace and point.cache == "warm":
        return mode, 'the prompts of a trace differ in length: the cache can be "cold" or "shared"'
    if workload.batch and point.cache == "warm":
        return mode, "a batch isn't warmed up: the cache can be cold or shared"
    if point.prompt_spread and point.cache == "warm":
        alone = (
            'a warm cache is asked one prompt again and again: give one length, or the cache mode "shared"'
        )
        return mode, alone
    # 0: as each row of a file says.
    shortest: float = 0 if workload.trace else point.prompt_tokens
    if point.prompt_spread:
        shortest = max(1.0, least(point.prompt_spread))
    if point.cache == "shared" and shortest and workload.shared_tokens >= shortest:
        tokens = workload.shared_tokens
        nothing = f"{tokens} shared tokens leave nothing of a prompt of {shortest:g} that is its own"
        return "[cache] shared_tokens", nothing
    return None


def side_by_side(workload: Workload) -> tuple[str, ...]:
    """What a workload has lists of that its points zip or cross; none where points are listed."""
    if workload.listed:
        return ()
    return tuple(name for name, axis in zip(_AXES, _axes_of(workload), strict=True) if len(axis) > 1)


def check_unlisted(workload: Workload, fields: Collection[str]) -> None:
    """Refuse to change what the workload's listed points say themselves: a UsageError."""
    for name in _LISTED:
        if name in fields and any(getattr(one, name) is not None for one in workload.listed):
            raise UsageError(
                f"--{name.replace('_', '-')}: {workload.name}@{workload.version} lists its points, which say "
                "that themselves; leave it out, or change [sweep] points in a copy of the file"
            )


def _axes_of(workload: Workload) -> list[Sequence[Any]]:
    """The values of each axis, in the order of `_AXES`."""
    return [
        workload.prompt_tokens,
        workload.output_tokens,
        workload.rate or (None,),
        workload.concurrency or (None,),
        workload.cache,
        workload.hit_ratio or (None,),
        workload.stream,
    ]


def _zipped(axes: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The axes side by side; those of one value go with every point."""
    sizes = {len(axis) for axis in axes} - {1}
    if len(sizes) > 1:
        lists = [f"{len(axis)} {name}" for name, axis in zip(_AXES, axes, strict=True) if len(axis) > 1]
        raise UsageError(
            f'[sweep] combine = "zip" (--sweep zip) puts lists of one length side by side, and there are '
            f"{' and '.join(lists)}; give each as many values, or one"
        )
    size = max(sizes, default=1)
    side_by_side = zip(*(axis if len(axis) > 1 else list(axis) * size for axis in axes), strict=True)
    return [
        (*rest, cache, ratio if cache == "shared" else None, stream)
        for *rest, cache, ratio, stream in side_by_side
    ]


def _listed(workload: Workload, one: Listed) -> tuple[Any, ...]:
    """A listed point's values; what it leaves out is the workload's first."""
    own_load = one.rate is not None or one.concurrency is not None
    cache, ratio = one.cache or workload.cache[0], one.hit_ratio
    if ratio is None and cache == "shared":
        ratio = next(iter(workload.hit_ratio), None)
    return (
        one.prompt_tokens or workload.prompt_tokens[0],
        one.output_tokens or workload.output_tokens[0],
        one.rate if own_load else next(iter(workload.rate), None),
        one.concurrency if own_load else next(iter(workload.concurrency), None),
        cache,
        ratio,
        workload.stream[0] if one.stream is None else one.stream,
    )


def _point(
    workload: Workload,
    index: int,
    prompt: Length,
    output: Length,
    rate: float | None,
    cap: int | None,
    cache: CacheMode,
    hit_ratio: float | None,
    stream: bool,
) -> Point:
    if workload.stages:
        rate, cap = _of_stages(workload)
    if workload.trace is not None:
        # As long as its rows are, on the mean.
        prompt, output = round(workload.trace.prompt_tokens), round(workload.trace.output_tokens)
        if rate is None and cap is None and not workload.batch:
            rate = _trace_rate(workload)
    return Point(
        index=index,
        prompt_tokens=round(mean(prompt)),
        output_tokens=round(mean(output)),
        concurrency=cap,
        rate=rate,
        batch=workload.batch,
        prompt_spread=prompt if isinstance(prompt, Spread) else None,
        output_spread=output if isinstance(output, Spread) else None,
        cache=cache,
        hit_ratio=hit_ratio,
        stream=stream,
        stages=workload.stages,
        turns=mean(workload.turns),
        think_s=mean(workload.think_s) if workload.turns != 1 else 0.0,
        grows_tokens=growth(workload, output),
    )


def growth(workload: Workload, output: Length | float) -> int:
    """How many tokens the last prompt of the longest conversation can have beyond its first one."""
    return math.ceil((most(workload.turns) - 1) * (most(output) + most(workload.user_tokens)))


def _of_stages(workload: Workload) -> tuple[float | None, int | None]:
    """The mean rate of the stages, or their highest concurrency."""
    stages = workload.stages
    if stages[0].rate is None:
        return None, max(max(stage.concurrency or (0,)) for stage in stages)
    seconds = sum(stage.seconds for stage in stages)
    return sum(sum(stage.rate or (0.0,)) / 2 * stage.seconds for stage in stages) / seconds, None
