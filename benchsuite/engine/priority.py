"""Being woken promptly beside an engine that keeps the cores busy."""

import contextlib
import ctypes
import os
import struct
import sys

_SLICE_NS = 100_000
"""The shortest slice that the kernel grants."""
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
"""struct sched_attr, version 0: size, policy, flags, nice, priority, runtime, deadline, period."""
_SYSCALL_NUMBERS = {"x86_64": 314, "aarch64": 274}


def prefer_short_slices() -> None:
    """Ask Linux (6.12 or newer) for short time slices: a short one may interrupt a long one on waking.

    Takes no privilege and no share of the processor from anybody; older kernels ignore it.
    """
    number = _SYSCALL_NUMBERS.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, _SLICE_NS, 0, 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)
