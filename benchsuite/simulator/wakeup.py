"""Waiting for sockets and for an instant, whichever comes first, to a few microseconds."""

import contextlib
import ctypes
import os
import select
import selectors
import struct
import sys
import time
from typing import Protocol

READ, WRITE = 1, 4
"""Bits of what can be done, as epoll has them; an error or hang-up comes as something else."""

_SPIN_NS = 50_000
"""Waking from sleep takes some tens of microseconds, so the last stretch is spent looking at sockets."""
_MOST = 32
_IDLE_S = 1.0
_ITIMERSPEC = struct.Struct("@qqqq")
_EDGE = 1 << 31


class Poller(Protocol):
    """Sockets that are watched for reading, and for writing where asked."""

    def watch(self, fd: int) -> None:
        """Watch a new descriptor for reading; PermissionError where it can't be watched."""

    def writing(self, fd: int, wanted: bool) -> None:
        """Watch it for writing too, or no more."""

    def forget(self, fd: int) -> None:
        """Watch it no more; before it is closed."""

    def wait(self, until_ns: int | None) -> list[tuple[int, int]]:
        """What is ready, (descriptor, bits), at most a few; may return early, and empty-handed."""

    def close(self) -> None:
        """Release everything."""


class EpollPoller:
    """Linux: epoll, whose own timeout is whole milliseconds rounded up, with a timerfd beside it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._timer: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        # Edge-triggered: an expiry wakes once and need not be read away.
        self._epoll.register(self._timer, READ | _EDGE)

    def watch(self, fd: int) -> None:
        """For reading."""
        self._epoll.register(fd, READ)

    def writing(self, fd: int, wanted: bool) -> None:
        """For writing too, or no more."""
        self._epoll.modify(fd, READ | WRITE if wanted else READ)

    def forget(self, fd: int) -> None:
        """No more."""
        self._epoll.unregister(fd)

    def wait(self, until_ns: int | None) -> list[tuple[int, int]]:
        """Sleeps up to a second."""
        if until_ns is None:
            return self._epoll.poll(_IDLE_S, _MOST)
        at_ns = until_ns - _SPIN_NS
        if at_ns <= time.monotonic_ns():
            return self._epoll.poll(0, _MOST)
        self._settime(
            self._timer, 1, _ITIMERSPEC.pack(0, 0, at_ns // 1_000_000_000, at_ns % 1_000_000_000), None
        )
        timer = self._timer
        return [ready for ready in self._epoll.poll(_IDLE_S, _MOST) if ready[0] != timer]

    def close(self) -> None:
        """Nothing is watched any more."""
        self._epoll.close()
        os.close(self._timer)


class SelectorPoller:
    """Elsewhere: the platform's best selector; the last millisecond is spent looking at sockets."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, fd: int) -> None:
        """For reading."""
        self._selector.register(fd, selectors.EVENT_READ)

    def writing(self, fd: int, wanted: bool) -> None:
        """For writing too, or no more."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
        self._selector.modify(fd, events)

    def forget(self, fd: int) -> None:
        """No more."""
        self._selector.unregister(fd)

    def wait(self, until_ns: int | None) -> list[tuple[int, int]]:
        """Sleeps up to a second."""
        timeout_s = _IDLE_S
        if until_ns is not None:
            timeout_s = max(0.0, min(_IDLE_S, (until_ns - time.monotonic_ns()) / 1e9 - 0.001))
        return [
            (
                key.fd,
                (READ if events & selectors.EVENT_READ else 0)
                | (WRITE if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in self._selector.select(timeout_s)[:_MOST]
        ]

    def close(self) -> None:
        """Nothing is watched any more."""
        self._selector.close()


def make_poller() -> Poller:
    """The most exact one that this platform has."""
    if sys.platform == "linux" and struct.calcsize("l") == 8:
        with contextlib.suppress(AttributeError, OSError):
            return EpollPoller()
    return SelectorPoller()
