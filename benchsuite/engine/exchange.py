"""Untimed calls (who are you, how many tokens is this) through the same loop, inside this process."""

import secrets
import time
from collections.abc import Sequence

from benchsuite.engine.endpoint import Encoder, Endpoint
from benchsuite.engine.loop import Loop
from benchsuite.engine.spool import Exchange, tape_of
from benchsuite.types import Call, Tape, Target


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
