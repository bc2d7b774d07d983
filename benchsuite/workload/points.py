"""The points of a workload: what its axes make together."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from benchsuite.errors import UsageError
from benchsuite.types import CacheMode, Length, Listed, Point, Spread, Workload
from benchsuite.workload.spreads import mean


def points(workload: Workload) -> tuple[Point, ...]:
    """Every point of a workload.

    Listed ones as they are listed; zipped axes side by side; else each combination, prompt lengths first,
    then output lengths, rates, caps (each rate meets each cap), cache modes, hit ratios and streaming.
    """
    if workload.listed:
        found = [_listed(workload, one) for one in workload.listed]
    else:
        axes: list[Sequence[Any]] = [
            workload.prompt_tokens,
            workload.output_tokens,
            workload.rate or (None,),
            workload.concurrency or (None,),
            *_cache_axes(workload),
            workload.stream,
        ]
        found = list(_zipped(axes) if workload.sweep == "zip" else product(*axes))
    return tuple(_point(workload, index, *values) for index, values in enumerate(found))


def _cache_axes(workload: Workload) -> tuple[Sequence[Any], Sequence[Any]]:
    return workload.cache, workload.hit_ratio or (None,)


def _zipped(axes: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The axes side by side; those of one value go with every point."""
    sizes = {len(axis) for axis in axes} - {1}
    if len(sizes) > 1:
        least, *_, most = sorted(sizes)
        raise UsageError(f"zip needs lists of one length, and there are some of {least} and of {most} values")
    size = max(sizes, default=1)
    return list(zip(*(axis if len(axis) > 1 else list(axis) * size for axis in axes), strict=True))


def _listed(workload: Workload, one: Listed) -> tuple[Any, ...]:
    """A listed point's values; what it leaves out is the workload's first."""
    own_load = one.rate is not None or one.concurrency is not None
    return (
        one.prompt_tokens or workload.prompt_tokens[0],
        one.output_tokens or workload.output_tokens[0],
        one.rate if own_load else next(iter(workload.rate), None),
        one.concurrency if own_load else next(iter(workload.concurrency), None),
        one.cache or workload.cache[0],
        one.hit_ratio if one.hit_ratio is not None else next(iter(workload.hit_ratio), None),
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
    )


def _of_stages(workload: Workload) -> tuple[float | None, int | None]:
    """The mean rate of the stages, or their highest concurrency."""
    stages = workload.stages
    if stages[0].rate is None:
        return None, max(max(stage.concurrency or (0,)) for stage in stages)
    seconds = sum(stage.seconds for stage in stages)
    return sum(sum(stage.rate or (0.0,)) / 2 * stage.seconds for stage in stages) / seconds, None
