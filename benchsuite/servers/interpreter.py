"""Which Python has an engine's module: this one, an engine environment of benchsuite's, or the PATH's."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchsuite.errors import UsageError
from benchsuite.servers.model import cache_folder

COMPLETE = "benchsuite-engine.txt"
"""A file in an engine environment, written last: without it the environment is half made."""
_PROBE_S = 60.0
_SHEBANG_BYTES = 512


def interpreter(module: str, program: str, environment: str, chosen: str = "") -> str | None:
    """Path of a Python that has `module`; None: there is none.

    `chosen` (the user's word, `--engine-python`) or nothing; else this interpreter; else that of the command
    `program` on the PATH; else benchsuite's engine environment called `environment`. A UsageError if
    `chosen` isn't one or hasn't the module.
    """
    if chosen:
        path = str(Path(chosen).expanduser())
        if not _has(path, module):
            raise UsageError(f"--engine-python: {chosen} is no Python that has the module {module}")
        return path
    with suppress(ModuleNotFoundError, ValueError):
        if importlib.util.find_spec(module) is not None:
            return sys.executable
    return _behind(program) or _of_environment(environment)


def engine_environments(folder: Path | None = None) -> Mapping[str, Path]:
    """Engine environments of benchsuite's own by name, complete ones only, each with its Python."""
    place = (folder or cache_folder()) / "engines"
    found = sorted(place.iterdir()) if place.is_dir() else []
    return {each.name: each / "bin" / "python" for each in found if (each / COMPLETE).is_file()}


def _of_environment(name: str) -> str | None:
    python = engine_environments().get(name)
    return str(python) if python is not None and python.exists() else None


def _behind(program: str) -> str | None:
    """The Python that a command on the PATH runs on, from its first line."""
    found = shutil.which(program) if program else None
    if found is None:
        return None
    with open(found, "rb") as file:
        line = file.read(_SHEBANG_BYTES).partition(b"\n")[0].decode(errors="replace")
    if not line.startswith("#!"):
        return None
    path = line[2:].split()[0] if line[2:].split() else ""
    return path if Path(path).name.startswith("python") and Path(path).exists() else None


def _has(python: str, module: str) -> bool:
    """Has this Python the module? Asks it, which takes as long as it takes to start."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
