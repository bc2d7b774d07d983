"""Clocks of the engine: kernel receive stamps on the monotonic axis, and exact wake-ups.

Kernel stamps come in CLOCK_REALTIME; everything in benchsuite is CLOCK_MONOTONIC. The offset
between the two is constant except when somebody sets the clock, so it is sampled throughout and
a step is counted.
"""

import contextlib
import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence

_SO_TIMESTAMPING = 37
_RX_SOFTWARE = 1 << 3
_SOFTWARE = 1 << 4
_WATCH_NS = 1_000_000_000
_STEP_NS = 1_000_000
"""Offsets wander by a few µs from sampling; a millisecond is somebody setting the clock."""

_TIMESPEC = struct.Struct("@qq")
_ITIMERSPEC = struct.Struct("@qqqq")


class Offset:
    """CLOCK_REALTIME − CLOCK_MONOTONIC in ns, sampled; `steps` counts jumps of the wall clock."""

    def __init__(self) -> None:
        self.ns = _sample_offset_ns()
        self.steps = 0

    def resample(self) -> None:
        """Sample again; cheap enough for every few hundred ms."""
        ns = _sample_offset_ns()
        if abs(ns - self.ns) > _STEP_NS:
            self.steps += 1
        self.ns = ns


def _sample_offset_ns() -> int:
    """The offset between the clocks, from the tightest of five brackets."""
    best_width_ns, best_ns = 1 << 62, 0
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best_width_ns:
            best_width_ns, best_ns = after - before, wall - (before + after) // 2
    return best_ns


def enable_kernel_stamps(sock: socket.socket) -> bool:
    """Ask for receive stamps; call before connect: data that came earlier has none. False: not offered."""
    if sys.platform != "linux" or struct.calcsize("l") != 8:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)
    except OSError:
        return False
    return True


def stamp_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """CLOCK_REALTIME ns of a recvmsg's stamp, the only ancillary data asked for; 0 if it carries none."""
    seconds: int
    seconds, nanos = _TIMESPEC.unpack_from(ancillary[0][2])
    return seconds * 1_000_000_000 + int(nanos)


class WakeDelay:
    """How late this thread woke: the time it was ready to run but others kept it waiting, in ns.

    Finding out costs a few µs, so it is asked for only when it may matter (`suspect`), and then at
    each poll for a second. 0 where the system doesn't tell.
    """

    def __init__(self) -> None:
        self.ns = 0
        self.always = False
        self._until_ns = 0
        try:
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        self._total_ns = self._ask()

    def _ask(self) -> int:
        return int(os.pread(self._fd, 64, 0).split()[1]) if self._fd >= 0 else 0

    def _take(self) -> None:
        total_ns = self._ask()
        self.ns, self._total_ns = total_ns - self._total_ns, total_ns

    def polled(self) -> int:
        """A poll has returned; the delay of this wake-up if anybody wants to know."""
        if self._until_ns or self.always:
            self._take()
        return self.ns

    def suspect(self, now_ns: int) -> int:
        """The delay of the latest wake-up, at most; later ones will be known exactly."""
        if not self._until_ns:
            self._take()
        self._until_ns = now_ns + _WATCH_NS
        return self.ns

    def settle(self, now_ns: int) -> None:
        """Stop asking after a while; what was waited until now is nobody's any more."""
        if now_ns >= self._until_ns:
            self._until_ns = self.ns = 0
            self._total_ns = self._ask()

    def close(self) -> None:
        """Release the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)


class Alarm:
    """A file descriptor that becomes readable at an absolute monotonic instant, to the microsecond.

    epoll's own timeout is whole milliseconds, rounded up. Where there is no timerfd, `fd` is -1 and
    the loop spins through the last millisecond instead.
    """

    def __init__(self) -> None:
        self.fd = -1
        self.at_ns = 0
        self._settime = None
        if sys.platform != "linux":
            return
        libc = ctypes.CDLL(None, use_errno=True)
        with contextlib.suppress(AttributeError):
            self.fd = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            self._settime = libc.timerfd_settime

    def set(self, at_ns: int) -> None:
        """Fire at `at_ns`; 0 disarms."""
        if at_ns == self.at_ns or self._settime is None:
            return
        self.at_ns = at_ns
        spec = _ITIMERSPEC.pack(0, 0, at_ns // 1_000_000_000, at_ns % 1_000_000_000)
        self._settime(self.fd, 1, spec, None)

    def clear(self) -> None:
        """Swallow the expiry after the descriptor became readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)
        self.at_ns = 0

    def close(self) -> None:
        """Release the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
