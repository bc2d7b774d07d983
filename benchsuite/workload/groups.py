"""Prefix groups: which requests begin alike, and with how much of their prompts."""

import random
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from benchsuite.types import Point, Workload
from benchsuite.workload.draw import Draw

STEP_TOKENS = 64
"""Where prompts differ in length, what they share is a whole number of pieces of so many tokens."""

_BLOCK_TOKENS = 16
"""Servers cache whole blocks, most often of 16 tokens: more than a multiple of it can't be found again."""

_CLOSE = 0.02
"""How far off a hit ratio may be that is rounded to whole blocks."""


def shared_tokens(workload: Workload, point: Point, prompt_tokens: int, overhead: int) -> int:
    """How many of a prompt's tokens are the prefix of its group, the chat template's with it; 0: none.

    As many as the workload says, or the point's hit ratio of the prompt in whole blocks of 16 where that is
    near enough, or half of it. At least one word of the prompt stays its own, and one is shared.
    """
    if point.cache != "shared" or point.hit_ratio == 0:
        return 0
    if point.hit_ratio is None:
        wanted = workload.shared_tokens or prompt_tokens // 2
    else:
        exact = point.hit_ratio * prompt_tokens
        wanted = _rounded(exact, _BLOCK_TOKENS)
        if abs(wanted - exact) > _CLOSE * prompt_tokens:
            wanted = round(exact)
    if point.prompt_spread is not None and not workload.shared_tokens:
        wanted = max(STEP_TOKENS, _rounded(wanted, STEP_TOKENS))
    return min(max(wanted, overhead + 1), prompt_tokens - 1)


def grouping(draw: Draw) -> Callable[[int], int]:
    """A function from a request's index to its group, by the groups' popularity.

    Warm-up begins with each group once, in turn, so that a cache knows them all.
    """
    workload = draw.workload
    size = workload.groups
    if size == 1:
        return lambda index: 0
    weights = list(accumulate(rank**-workload.zipf for rank in range(1, size + 1)))
    in_turn = size if draw.phase == "warm_up" else 0
    name = f"group {draw.seed} {draw.place}"

    def group(index: int) -> int:
        if index < in_turn:
            return index
        return bisect_right(weights, random.Random(f"{name} {index}").random() * weights[-1], hi=size - 1)

    return group


def _rounded(value: float, step: int) -> int:
    return round(value / step) * step
