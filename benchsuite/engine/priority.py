"""Being woken promptly beside an engine that keeps the cores busy.

A waking process waits for whoever runs on its core, on recent kernels until the next tick: up to
4 ms. Real-time priority ends that wait; it needs root or an rtprio limit. Without it, short time
slices help where the kernel knows them.
"""

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


def be_prompt(realtime: bool) -> bool:
    """Ask to run as soon as woken; True: with real-time priority, the lowest there is.

    `realtime` False where it would leave no core to anybody else.
    """
    if sys.platform != "linux":
        return False
    if realtime:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            return True
    _prefer_short_slices()
    return False


def may_be_realtime() -> bool:
    """Would this user's worker get real-time priority?"""
    if sys.platform != "linux":
        return False
    import resource

    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0


def _prefer_short_slices() -> None:
    """On Linux 6.12 or newer a short slice may interrupt a long one on waking; needs no privilege."""
    number = _SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, _SLICE_NS, 0, 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)
