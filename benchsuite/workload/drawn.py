"""Lengths of requests: fixed ones, or drawn for each as the seed decides."""

from collections.abc import Iterator
from itertools import repeat

from benchsuite.types import Spread
from benchsuite.workload.draw import Draw
from benchsuite.workload.spreads import whole


def prompt_lengths(draw: Draw, least: int) -> Iterator[int]:
    """The prompt tokens of each request in turn; drawn ones that are shorter than `least` are that long."""
    return _lengths(draw, "prompt lengths", draw.point.prompt_spread, draw.point.prompt_tokens, least)


def output_lengths(draw: Draw) -> Iterator[int]:
    """The output tokens of each request in turn, at least 1."""
    return _lengths(draw, "output lengths", draw.point.output_spread, draw.point.output_tokens, 1)


def _lengths(draw: Draw, what: str, spread: Spread | None, fixed: int, least: int) -> Iterator[int]:
    if spread is None:
        return repeat(fixed)
    one = whole(spread, draw.random(what))
    return (max(least, one()) for _ in repeat(None))
