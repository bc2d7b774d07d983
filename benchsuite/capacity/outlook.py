"""What a capacity search will take, as far as that is known before any server has answered."""

import msgspec

from benchsuite.asked import Options
from benchsuite.capacity.search import Ask
from benchsuite.forecast import Forecast, forecast, tokens_in_words, told_s
from benchsuite.stats.edge import SLOT_FILLS, filling, levels
from benchsuite.types import Noun, Point

AT_ONCE = 64
"""A server that answers so many at once, and one that answers one, are the ends of what is foretold."""


class Outlook(Noun, frozen=True, kw_only=True):
    """About how many levels a search has, what each sends at least, and what all of them will take.

    `judged` requests of a level come after `warm_up` that fill the server. `fast` and `slow`: what all
    levels would take on a server that answers many at once, which is sent no fewer, and on one that answers
    one at a time; with a start in requests a second both are the same, and the seconds a bound, unless that
    start misses the limits.
    """

    levels: int
    judged: int
    warm_up: int
    requests: tuple[int, int]
    fast: Forecast
    slow: Forecast


def outlook(options: Options, ask: Ask) -> Outlook:
    """What a search of `options`, as `checked` gave them, will take: nobody is contacted."""
    judged, number = options.workload.requests or 0, levels(ask.searches)
    least = ask.start or 1.0
    loads = (least, least) if ask.by == "rate" else (max(least, float(AT_ONCE)), least)
    warm_ups = [filling(_point(ask, load), None) for load in loads]
    requests = [number * (judged + warm_up) for warm_up in warm_ups]
    found = [
        _forecast(options, ask, load, sent, at_once)
        for load, sent, at_once in zip(loads, requests, (AT_ONCE, 1), strict=True)
    ]
    return Outlook(
        levels=number,
        judged=judged,
        warm_up=min(warm_ups),
        requests=(min(requests), max(requests)),
        fast=found[0],
        slow=found[1],
    )


def _point(ask: Ask, load: float) -> Point:
    """Some point of that load."""
    rate, slots = (load, None) if ask.by == "rate" else (None, max(1, round(load)))
    return Point(index=0, prompt_tokens=0, output_tokens=0, rate=rate, concurrency=slots)


def _forecast(options: Options, ask: Ask, load: float, requests: int, at_once: int) -> Forecast:
    """What so many requests take at a load, or with `at_once` in flight where no load was given."""
    given = {"rate": (load,), "concurrency": ()}
    if ask.by == "concurrency" or ask.start is None:
        slots = _point(ask, load).concurrency or at_once
        given = {"rate": (), "concurrency": (slots,)}
        # One warm-up for each slot is always reckoned with.
        requests = max(1, requests - slots)
    workload = msgspec.structs.replace(
        options.workload, requests=requests, trials=1, warm_up_max_requests=0, warm_up_seconds=0.0, **given
    )
    return forecast(msgspec.structs.replace(options, workload=workload))


def in_words(found: Outlook, ask: Ask) -> tuple[str, str]:
    """Two lines: what a level sends, and what all of them take."""
    early = "fewer where it is clear early"
    if ask.by == "rate":
        level = (
            f"a level sends {found.judged:,} requests after a warm-up of {found.warm_up:,} "
            f"({SLOT_FILLS} for each of the server's slots, if that is more); {early}"
        )
    else:
        few, many = (requests // found.levels for requests in found.requests)
        grows = (
            f": {few:,} or more"
            if few == many
            else f": {few:,} at the lowest load, {many:,} at {AT_ONCE} in flight"
        )
        level = (
            f"a level sends {found.judged:,} requests after a warm-up of {SLOT_FILLS} for each in flight, "
            f"so more at a high load{grows}; {early}"
        )
    return level, ", ".join(_amounts(found, ask))


def _amounts(found: Outlook, ask: Ask) -> list[str]:
    fast, slow = found.fast, found.slow
    parts = [f"about {found.levels} levels", f"{_from_to(*(f'{n:,}' for n in found.requests))} requests"]
    for few, many, what in (
        (slow.prompt_tokens, fast.prompt_tokens, "tokens in"),
        (slow.output_tokens, fast.output_tokens, "out"),
    ):
        if few is not None and many is not None:
            parts.append(f"{_from_to(tokens_in_words(few), tokens_in_words(many))} {what}")
    if fast.usd is not None and slow.usd is not None:
        low, high = sorted((fast.usd, slow.usd))
        parts.append(f"about {_from_to(f'${low:,.2f}', f'${high:,.2f}')}")
    if ask.by == "rate" and ask.start is not None:
        parts.append(f"at most about {told_s(slow.seconds)} if {ask.start:g} req/s is met")
    else:
        span = _from_to(told_s(fast.seconds), told_s(slow.seconds))
        parts.append(f"roughly {span}, by how many the server answers at once")
    if ask.by == "concurrency":
        parts.append(f"more above {max(AT_ONCE, round(ask.start or 1))} in flight")
    return parts


def _from_to(low: str, high: str) -> str:
    """`4 to 7`, or `4` where both are."""
    return low if low == high else f"{low} to {high}"
