"""Prefix groups: which requests begin alike, and with how much of their prompts."""

import random
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from benchsuite.types import Point, Workload
from benchsuite.workload.draw import Draw

STEP_TOKENS = 64
"""Where prompts share more and less, that is a whole number of pieces of so many tokens."""

_BLOCK_TOKENS = 16
"""Servers cache whole blocks, most often of 16 tokens: more than a multiple of it can't be found again."""

_CLOSE = 0.02
"""How far off a hit ratio may be that is rounded to whole blocks."""


def stepped(workload: Workload, point: Point) -> bool:
    """Do the point's prompts share more and less, as they differ in length, and so whole steps?

    As many tokens as the workload says are there in each of them, but for a trace's.
    """
    return workload.trace is not None or (point.prompt_spread is not None and not workload.shared_tokens)


def sharing(draw: Draw, overhead: int) -> Callable[[int], int]:
    """A function from the tokens of each prompt in turn to how many of them are its group's prefix.

    The chat template's `overhead` counts with them; 0: none. As many as the workload says, or the point's hit
    ratio of the prompt, or half of it. At least one word of the prompt stays its own. Where lengths differ
    warm-up shares all that it can, so that a cache knows what longer prompts share, too.
    """
    workload, point = draw.workload, draw.point
    if point.cache != "shared" or point.hit_ratio == 0:
        return lambda prompt_tokens: 0
    if workload.shared_tokens:
        return lambda prompt_tokens: _as_asked(workload, point, prompt_tokens, overhead)
    if stepped(workload, point):
        asked = 0.5 if point.hit_ratio is None else point.hit_ratio
        return _in_steps(1.0 if draw.phase == "warm_up" else asked, overhead)
    return lambda prompt_tokens: _of_one_length(point.hit_ratio, prompt_tokens, overhead)


def _as_asked(workload: Workload, point: Point, prompt_tokens: int, overhead: int) -> int:
    """As many tokens as the workload says; of a prompt that is shorter the whole steps that it holds."""
    wanted, room = max(workload.shared_tokens, overhead + 1), prompt_tokens - 1
    if wanted <= room or not stepped(workload, point):
        return min(wanted, room)
    steps = room // STEP_TOKENS * STEP_TOKENS
    return steps if steps > overhead else 0


def _in_steps(share: float, overhead: int) -> Callable[[int], int]:
    """A share of each prompt in whole steps.

    What one has too few or too many is made up for by those after it, so that all together share what was
    asked, as far as their lengths allow.
    """
    owed = 0.0

    def shared(prompt_tokens: int) -> int:
        nonlocal owed
        owed += share * prompt_tokens
        steps = min(max(0, _rounded(owed, STEP_TOKENS)), (prompt_tokens - 1) // STEP_TOKENS * STEP_TOKENS)
        steps = steps if steps > overhead else 0
        owed -= steps
        return steps

    return shared


def _of_one_length(share: float | None, prompt_tokens: int, overhead: int) -> int:
    """A share of a prompt (None: half), in whole blocks of 16 tokens where that is near enough.

    At least one word of it is shared.
    """
    if share is None:
        wanted = prompt_tokens // 2
    else:
        exact = share * prompt_tokens
        wanted = _rounded(exact, _BLOCK_TOKENS)
        if abs(wanted - exact) > _CLOSE * prompt_tokens:
            wanted = round(exact)
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
