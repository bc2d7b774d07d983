"""Which Python has an engine's module: this one, the PATH's, or an engine environment of benchsuite's."""

import importlib.util
import shlex
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
_HEAD_BYTES = 8192
"""A path may take 4,096 of them."""


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
    if is_module(module):
        return sys.executable
    behind = _behind(program)
    return behind if behind and _has(behind, module) else _of_environment(environment)


def is_module(name: str) -> bool:
    """Has this interpreter the module? A mere folder of that name in the working directory is none."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        return spec is not None and spec.origin is not None
    return False


def module_version(python: str, module: str) -> str:
    """The version of a module's package beside this Python, as its metadata has it; empty: unknown."""
    packages = Path(python).absolute().parent.parent.glob("lib/python*/site-packages")
    found = [info for folder in packages for info in folder.glob(f"{module}-*.dist-info")]
    return found[0].name.removeprefix(f"{module}-").removesuffix(".dist-info") if len(found) == 1 else ""


def engine_environments(folder: Path | None = None) -> Mapping[str, Path]:
    """Engine environments of benchsuite's own by name, complete ones only, each with its Python."""
    place = (folder or cache_folder()) / "engines"
    found = sorted(place.iterdir()) if place.is_dir() else []
    return {each.name: each / "bin" / "python" for each in found if (each / COMPLETE).is_file()}


def _of_environment(name: str) -> str | None:
    python = engine_environments().get(name)
    return str(python) if python is not None and python.exists() else None


def _behind(program: str) -> str | None:
    """The Python that a command on the PATH runs on, from its first lines."""
    found = shutil.which(program) if program else None
    if found is None:
        return None
    try:
        with open(found, "rb") as file:
            first, second, *_ = [*file.read(_HEAD_BYTES).decode(errors="replace").splitlines(), "", ""]
    except OSError:
        return None
    command = first[2:].split() if first.startswith("#!") else []
    name = command[0].rsplit("/", 1)[-1] if command else ""
    if name == "env":
        words = [word for word in command[1:] if not word.startswith("-")]
        return shutil.which(words[0]) if words and words[0].startswith("python") else None
    if name == "sh" and second.startswith("'''exec'"):
        return _executed(second, found)
    return command[0] if name.startswith("python") else None


def _executed(line: str, script: str) -> str | None:
    """The Python of the form that pip writes where the path is too long or too odd for a first line."""
    if "$(" in line:
        # Relative to the script itself, in an environment that may be moved.
        return str(Path(script).resolve().parent / "python")
    with suppress(ValueError, IndexError):
        return shlex.split(line)[1]
    return None


def _has(python: str, module: str) -> bool:
    """Has this Python the module? Asks it, which takes as long as it takes to start."""
    code = (
        "import importlib.util, sys; "
        f"spec = importlib.util.find_spec({module!r}); sys.exit(spec is None or spec.origin is None)"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
