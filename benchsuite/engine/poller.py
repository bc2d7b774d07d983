"""Waiting for readiness, and knowing since when what is ready may have been waiting unseen."""

import select
import time

from benchsuite.engine.clock import WakeDelay

IN, OUT = select.POLLIN, select.POLLOUT

MANY = 16
"""From so many streams on, a poll begins with a nap, unless the last one found as many events."""
NAP_S = 600e-6
SLEPT_NS = 50_000
"""A poll that took longer had nothing waiting for it."""


class Poller:
    """epoll, or poll where there is none.

    `polled_ns`: when it last returned. `floor_ns`: what is ready now can't have come before that
    instant without being seen.
    """

    def __init__(self) -> None:
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._scale = 1.0 if hasattr(select, "epoll") else 1000.0
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister
        self.wake_delay = WakeDelay()
        self.stamped = False
        self._harvest = 0
        self.floor_ns = self.polled_ns = time.monotonic_ns()

    def stamps(self, stamped: bool) -> None:
        """Say whether arrivals carry the kernel's stamps; without them each late wake-up matters."""
        self.stamped = stamped
        self.wake_delay.always = not stamped

    def poll(self, timeout_s: float, streams: int) -> list[tuple[int, int]]:
        """(descriptor, events) of all that is ready within the time.

        With many streams, a wake-up for every event would cost more than the reading. The stamps are
        the kernel's, so a short nap lets what comes within it be read together.
        """
        before_ns = time.monotonic_ns()
        events: list[tuple[int, int]] = []
        if streams >= MANY and self.stamped and self._harvest < MANY:
            time.sleep(NAP_S)
            self.floor_ns = before_ns
            events = self._poll.poll(0.0)
        if not events:
            events = self._poll.poll(timeout_s * self._scale)
            slept = time.monotonic_ns() - before_ns > SLEPT_NS
            self.floor_ns = time.monotonic_ns() if slept else self.polled_ns
        self._harvest = len(events)
        delay_ns = self.wake_delay.polled()
        if not self.stamped:
            self.floor_ns -= delay_ns
        self.polled_ns = time.monotonic_ns()
        return events

    def close(self) -> None:
        """Release the descriptors."""
        self.wake_delay.close()
        if hasattr(self._poll, "close"):
            self._poll.close()
