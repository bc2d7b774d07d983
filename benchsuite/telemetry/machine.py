"""This machine without its name: enough to say that two runs come from the same one."""

import contextlib
import hashlib
import os
import platform
import secrets
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchsuite.types import Machine

_PACKAGES = ("httptools", "msgspec", "numpy", "pyarrow", "xllamacpp")


def fingerprint(store_path: Path) -> Machine:
    """This machine; `id` is a hash salted with a secret of the store, so that it reveals no host name."""
    cpu = _cpu_name()
    secret = _salt(store_path)
    identity = f"{platform.node()}|{cpu}|{os.cpu_count()}".encode()
    return Machine(
        id=hashlib.sha256(secret + identity).hexdigest()[:16],
        os=f"{platform.system()} {platform.release().split('-')[0]}",
        cpu=cpu,
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        python=platform.python_version(),
    )


def package_versions() -> dict[str, str]:
    """Versions of the packages that take part in measuring."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _salt(store_path: Path) -> bytes:
    """The store's secret, made at first use; without a store that can be written, a fresh one."""
    path = store_path / ".salt"
    with contextlib.suppress(OSError):
        return path.read_bytes()
    secret = secrets.token_bytes(16)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, secret)
        os.close(descriptor)
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return secret


def _cpu_name() -> str:
    """The processor's model, as the system calls it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
