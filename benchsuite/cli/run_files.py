"""Files that the options of `run` name and that are read before anything else: `--spec` and `--bodies`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchsuite.types import Workload
    from benchsuite.workload.bodies import Lines

SAID_BY_BODIES: Final = (
    "prompt_tokens",
    "output_tokens",
    "text",
    "cache",
    "hit_ratio",
    "shared_tokens",
    "groups",
    "zipf",
    "turns",
    "user_tokens",
    "think",
    "replies",
    "reasoning",
    "extra_body",
    "batch_api",
    "stream",
    "json_schema",
    "tools",
    "mix",
)
"""Options that have nothing to say where bodies are given."""


def spec_text(path: str) -> str:
    """The text of a specification; a UsageError where it can't be read."""
    from benchsuite.errors import UsageError

    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        advice = "`benchsuite backends http` prints one to start from"
        raise UsageError(f"--spec: can't read {path}: {error.strerror}; {advice}") from None
    except ValueError:
        raise UsageError(f"--spec: {path} isn't UTF-8 text") from None


def check_bodies(given: dict[str, Any]) -> None:
    """Refuse what `--bodies` would leave out without a word: a UsageError."""
    from benchsuite.errors import UsageError

    if not given["bodies"]:
        return
    for option in SAID_BY_BODIES:
        value = given.get(option)
        # 0 is an answer, too.
        if value is not None and value is not False:
            name = f"--{option.replace('_', '-')}"
            raise UsageError(f"--bodies sends each line of its file word for word: leave {name} out")


def replayed(workload: "Workload", given: dict[str, Any]) -> "tuple[Workload, Lines | None]":
    """The workload with the bodies of `--bodies`, and these themselves; as it is where none are given."""
    if not given["bodies"]:
        return workload, None
    from benchsuite.workload.bodies import read, replay

    bodies = read(given["bodies"])
    return replay(workload, bodies.facts), bodies
