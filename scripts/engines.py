"""Make an environment for each real engine that tests start: `python scripts/engines.py [NAME…]`.

Environments lie in benchsuite's cache folder, `engines/NAME`, where launching looks for them too. One
that is complete and of the same recipe is used as it is; another is made anew. Needs nothing but
Python and pip, so that it runs before anything is installed.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "tests" / "engines" / "requirements"
COMPLETE = "benchsuite-engine.txt"
"""Written last into an environment: the digest of its recipe. Without it the environment is made anew."""
LOG_LINES = 12


@dataclass(frozen=True)
class Recipe:
    """`steps`: one pip install each, a requirements file and further arguments. `tells`: cost, for people."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    proof: str
    """A module that must import in the finished environment."""
    tells: str
    folder: Path | None = None
    """Where its requirements lie; None: with the engines'."""

    @property
    def requirements(self) -> Path:
        """The folder of its files."""
        return self.folder or REQUIREMENTS

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what the environment holds: pins, steps, Python and processor."""
        found = hashlib.sha256()
        for part in (*map(repr, self.steps), f"{sys.version_info[:2]}", sys.platform, platform.machine()):
            found.update(part.encode() + b"\0")
        for file, *_ in self.steps:
            found.update((self.requirements / file).read_bytes() + b"\0")
        return found.hexdigest()


RECIPES = (
    Recipe(
        name="mlx",
        steps=(("mlx.txt",),),
        proof="mlx_lm",
        tells="a minute or so, 0.4 GB",
    ),
    Recipe(
        name="transformers",
        steps=(("transformers.txt",),),
        proof="transformers.cli.transformers",
        tells="some minutes, 1.2 GB",
    ),
    Recipe(
        name="vllm",
        steps=(("vllm.txt",), ("vllm-itself.txt", "--no-deps")),
        proof="vllm",
        tells="several minutes, 3.4 GB",
    ),
)


def engines_folder() -> Path:
    """`engines` in benchsuite's cache folder, as `benchsuite.servers` finds it."""
    if chosen := os.environ.get("BENCHSUITE_CACHE"):
        return Path(chosen).expanduser() / "engines"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "benchsuite" / "engines"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchsuite" / "engines"


def is_complete(recipe: Recipe, folder: Path) -> bool:
    """Was this environment finished, by this very recipe, with a Python that is still there?"""
    try:
        known = (folder / COMPLETE).read_text(encoding="utf-8").strip()
    except OSError:
        return False
    return known == recipe.digest and (folder / "bin" / "python").exists()


def make(recipe: Recipe, engines: Path) -> bool:
    """Is the environment there, as before or made now? Where not, its log's last lines are printed."""
    folder, log_path = engines / recipe.name, engines / f"{recipe.name}.log"
    engines.mkdir(parents=True, exist_ok=True)
    with _locked(engines / f"{recipe.name}.lock"):
        if is_complete(recipe, folder):
            _say(f"{recipe.name}: ready in {folder}")
            return True
        _say(f"{recipe.name}: making {folder} ({recipe.tells}); log in {log_path}")
        started = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        python = str(folder / "bin" / "python")
        install = (python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
        commands = [
            (sys.executable, "-m", "venv", str(folder)),
            *((*install, "-r", str(recipe.requirements / file), *more) for file, *more in recipe.steps),
            (python, "-c", f"import {recipe.proof}"),
        ]
        for number, command in enumerate(commands, start=1):
            _say(f"{recipe.name}: step {number} of {len(commands)}, {time.monotonic() - started:.0f} s")
            if not _run(command, log_path, fresh=number == 1):
                _say(f"{recipe.name}: step {number} failed; the log {log_path} ends with")
                lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
                _say("\n".join(f"    {line}" for line in lines[-LOG_LINES:]))
                return False
        (folder / COMPLETE).write_text(f"{recipe.digest}\n", encoding="utf-8")
        _say(f"{recipe.name}: ready in {folder} after {time.monotonic() - started:.0f} s")
        return True


def main() -> None:
    """Make what is asked, all if nothing is; exits with 1 if any could not be made."""
    made = [make(recipe, engines_folder()) for recipe in asked("engines.py", "engine", __doc__, RECIPES)]
    sys.exit(0 if all(made) else 1)


def asked(script: str, what: str, description: str | None, recipes: tuple[Recipe, ...]) -> list[Recipe]:
    """The recipes that the command line names, all if none; exits with 2 for an unknown name."""
    names = [recipe.name for recipe in recipes]
    parser = argparse.ArgumentParser(prog=script, description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; none: all")
    wanted = parser.parse_args().names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"no {what} {unknown[0]!r}; there are: {', '.join(names)}")
    return [recipe for recipe in recipes if not wanted or recipe.name in wanted]


def _run(command: tuple[str, ...], log_path: Path, fresh: bool) -> bool:
    # PYTHONPATH and the like would let the new environment see packages that it doesn't hold.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with log_path.open("wb" if fresh else "ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        return subprocess.run(command, stdout=log, stderr=log, env=clean, check=False).returncode == 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Whoever comes second waits, and then finds it made."""
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
