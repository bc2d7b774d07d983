"""The git repository that somebody works in: which commit it is at, on which branch, and what came before."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchsuite.errors import UsageError

_TIMEOUT_S = 10
_MOST = 20_000
"""So many of the newest commits are asked for."""

_COMMITS = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "GIT_COMMIT",
    "BUILD_SOURCEVERSION",
)
_BRANCHES = (
    *("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILDKITE_BRANCH", "CIRCLE_BRANCH"),
    *("GIT_BRANCH", "BUILD_SOURCEBRANCHNAME"),
)
"""Variables in which CI services say it, where the repository doesn't."""

_SHOWN = 12
_DETACHED = "HEAD"


def commit(folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The commit that is checked out, twelve characters of it. UsageError where nothing says."""
    found = _git(folder, "rev-parse", "HEAD") or _first(environ, _COMMITS)
    if not found:
        raise UsageError(
            "--label commit=git: no git repository is here, nor a CI that says the commit; name it yourself"
        )
    return found[:_SHOWN]


def branch(folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The branch; where a commit is checked out alone, as CI does, the one that the CI says."""
    found = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if found in {"", _DETACHED}:
        found = _first(environ, _BRANCHES)
    if not found:
        raise UsageError(
            "--label branch=git: no branch is checked out here, nor does a CI say it; name it yourself"
        )
    return found


def history(folder: Path) -> tuple[str, ...]:
    """The commits up to the one that is checked out, oldest first. UsageError without a repository or git."""
    found = _git(folder, "log", "--topo-order", "--reverse", "--format=%H", f"--max-count={_MOST}")
    if not found:
        raise UsageError(
            "the order of commits is asked of git, and there is no repository here: go where the commits "
            "are, or use --over time"
        )
    return tuple(found.split())


def _git(folder: Path, *words: str) -> str:
    """What git answers; empty where it isn't there, doesn't know, or takes too long."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")
