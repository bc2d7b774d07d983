"""Untimed calls (who are you, how many tokens is this) through the same loop, inside this process."""

import secrets
import time
from collections.abc import Callable, Sequence

from benchsuite.engine.endpoint import Encoder, Endpoint
from benchsuite.engine.loop import Loop
from benchsuite.engine.spool import Exchange, tape_of
from benchsuite.types import Call, Tape, Target

_TELL_EVERY_NS = 1_000_000_000


def ask(endpoint: Endpoint, target: Target, calls: Sequence[Call], at_once: int = 4) -> tuple[Tape, ...]:
    """Send the calls, at most `at_once` in flight, and return their tapes in the same order."""
    if not calls:
        return ()
    encoder = Encoder(endpoint, target)
    heard: list[Exchange] = []
    loop = Loop(endpoint.spec(loop="closed", slots=min(at_once, len(calls)), seconds=None), heard.extend)
    prefix = secrets.token_hex(6)
    try:
        for index, call in enumerate(calls):
            loop.schedule.calls.append((index, -1, encoder.encode(call, f"ask-{prefix}-{index}")))
        loop.schedule.calls_ended = True
        loop.prepare()
        while loop.opening:
            loop.step(0.05)
        loop.go(time.monotonic_ns())
        loop.run()
    finally:
        loop.close()
    return tuple(tape_of(exchange) for exchange in sorted(heard, key=lambda exchange: exchange.index))


def follow(endpoint: Endpoint, target: Target, call: Call, on_heard: Callable[[Tape], None]) -> Tape:
    """Send one call and tell `on_heard`, about every second, what has been heard of its answer so far."""
    heard: list[Exchange] = []
    loop = Loop(endpoint.spec(loop="closed", slots=1, seconds=None), heard.extend)
    try:
        payload = Encoder(endpoint, target).encode(call, f"ask-{secrets.token_hex(6)}-0")
        loop.schedule.calls.append((0, -1, payload))
        loop.schedule.calls_ended = True
        loop.go(time.monotonic_ns())
        told_ns = time.monotonic_ns()
        while not loop.finished():
            loop.step(0.05)
            if time.monotonic_ns() - told_ns >= _TELL_EVERY_NS:
                told_ns = time.monotonic_ns()
                under_way = [one.exchange for one in loop.connections.values() if one.exchange is not None]
                on_heard(tape_of(under_way[0]) if under_way else Tape(index=0))
        loop.run()
    finally:
        loop.close()
    return tape_of(heard[0])
