"""A target's key: from the environment, or said by a command; never stored, never in a message."""

import os
import shlex
import subprocess
import time
from urllib.parse import urlsplit

from benchsuite.driver import Driver, Hosted
from benchsuite.errors import UsageError

TOKEN_AGE_S = 600.0
"""A key that a command said is asked for again before a trial when it is older than this."""

_COMMAND_S = 60.0
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})
_OWN = frozenset({"localhost", "127.0.0.1", "::1", ""})


def is_hosted(driver: Driver, url: str) -> bool:
    """Is this the address of the driver's vendor, where nothing is answered without a key?"""
    if not isinstance(driver, Hosted) or not driver.key_page:
        return False
    host = urlsplit(url).hostname or ""
    usual = urlsplit(driver.default_url).hostname or ""
    return host == usual if usual else host not in _OWN


def check_key(driver: Driver, url: str, *, variable: str, command: str, headers: dict[str, str]) -> None:
    """Before anything is contacted: a UsageError where a vendor is to be asked and no key is there."""
    if variable or command or not is_hosted(driver, url):
        return
    if any(os.environ.get(name) for name in driver.key_variables):
        return
    if any(name.lower() in _KEY_HEADERS for name in headers):
        return
    names, page = " or ".join(driver.key_variables), getattr(driver, "key_page", "")
    raise UsageError(f"--backend {driver.name} needs a key: set {names} ({page})")


def key(driver: Driver, *, variable: str, command: str) -> str | None:
    """The key that `command` says, else the environment's: of `variable`, or of the driver's own ones."""
    if command:
        return said(command)
    if variable:
        if variable not in os.environ:
            raise UsageError(f"the environment variable {variable} isn't set")
        return os.environ[variable]
    return next((os.environ[name] for name in driver.key_variables if os.environ.get(name)), None)


def said(command: str) -> str:
    """What a command prints, run without a shell; a UsageError without its words and its output."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise UsageError("--token-command: a quotation mark isn't closed") from None
    if not words:
        raise UsageError("--token-command names no command, such as 'gcloud auth print-access-token'")
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_S, check=False
        )
    except OSError as error:
        raise UsageError(f"--token-command can't be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"--token-command didn't end within {_COMMAND_S:g} s; try it by itself") from None
    if done.returncode:
        raise UsageError(f"--token-command failed with exit code {done.returncode}; try it by itself")
    text = done.stdout.decode("utf-8", "replace").strip()
    if not text or not text.isprintable() or not text.isascii():
        raise UsageError("--token-command has to print the key, one line of plain text, and nothing else")
    return text


def is_old(since_ns: int) -> bool:
    """Is a key that was said at that instant (CLOCK_MONOTONIC) to be asked for again?"""
    return time.monotonic_ns() - since_ns > TOKEN_AGE_S * 1e9
