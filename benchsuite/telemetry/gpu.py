"""The NVIDIA GPUs of this machine, as its driver names them, and whether a server runs here at all."""

import contextlib
import ipaddress
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

_DRIVER_TRACES: Final = (
    Path("/proc/driver/nvidia"),
    Path("/sys/module/nvidia"),
    Path("/dev/nvidiactl"),
    Path("/dev/nvmap"),  # Jetson
    Path("/dev/dxg"),  # WSL2
)
"""Where a driver is, even if it can't be asked, as from within a container without a GPU of its own."""

_FORWARDERS: Final = frozenset(
    {"ssh", "sshd", "sshd-session", "autossh", "plink", "kubectl", "oc", "socat", "cloudflared"}
)
"""Programs that listen here for a server that is elsewhere."""


def gpus_here(nvml: Any = None, driver_traces: Sequence[Path] = _DRIVER_TRACES) -> tuple[str, ...] | None:
    """The names of this machine's NVIDIA GPUs; empty: it has none; None: they can't be known.

    `nvml` stands in for the module `pynvml`. Never raises.
    """
    try:
        nvml = nvml or import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # Whatever is wrong with a driver is no reason not to measure.
        return None if any(trace.exists() for trace in driver_traces) else ()
    try:
        found = tuple(_name(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except Exception:
        return None
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()
    # A driver without a GPU: they may all be given to somebody else's container.
    return found or None


def _name(nvml: Any, index: int) -> str:
    name = nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(index))
    # Older ones answer in bytes.
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def serves_here(url: str, listener: Callable[[int], str] | None = None) -> bool:
    """Does the server at this URL surely run on this machine? A tunnel's near end doesn't count.

    `listener`: port → name of the program that listens there, empty where that can't be known: it may
    be a tunnel, somebody else's say, so that nothing is sure.
    """
    parts = urlsplit(url)
    if not _loopback(parts.hostname or ""):
        return False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    program = (listener or _listener)(port)
    return bool(program) and program not in _FORWARDERS


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(port: int) -> str:
    """The program that listens on a port, if it is this user's."""
    with contextlib.suppress(psutil.Error, OSError):
        for socket in psutil.net_connections("tcp"):
            if socket.status == psutil.CONN_LISTEN and socket.pid and socket.laddr[1:] == (port,):
                return psutil.Process(socket.pid).name()
    return ""
