"""What already answers on this machine, at the addresses where backends usually listen."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

from benchsuite.driver import Driver, backends, load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import ask
from benchsuite.errors import BenchsuiteError
from benchsuite.types import Connection, Identity, Noun, Target, Timeouts

PROBE_S = 0.3
"""Patience with each address, and with each of its answers."""


class Found(Noun, frozen=True, kw_only=True):
    """A server that said who it is."""

    backend: str
    title: str
    url: str
    identity: Identity


def importable(leave_out: frozenset[str]) -> Iterator[Driver]:
    """The installed drivers but those named; one that can't be imported is left out (`doctor` names it)."""
    for name in backends():
        # A stranger's driver may fail in any way when it is imported.
        with suppress(Exception):
            if name not in leave_out:
                yield load(name)


def discover(leave_out: frozenset[str] = frozenset({"sim"})) -> tuple[Found, ...]:
    """Ask every backend's usual address who is there; nothing is sent but the drivers' identify calls.

    Addresses where nobody listens cost nothing; drivers of one address ask one after another, and a server
    that keeps the first waiting isn't asked again.
    """
    by_address: dict[str, list[Driver]] = {}
    for driver in importable(leave_out):
        if driver.default_url and _is_local(driver.default_url):
            by_address.setdefault(driver.default_url, []).append(driver)
    if not by_address:
        return ()
    with ThreadPoolExecutor(len(by_address)) as pool:
        found = pool.map(_first, by_address.values())
        return tuple(one for one in found if one is not None)


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}


def _first(drivers: list[Driver]) -> Found | None:
    """The first driver of one address that knows who answers there."""
    limits = Timeouts(connect_s=PROBE_S, first_byte_s=PROBE_S, silence_s=PROBE_S, total_s=PROBE_S)
    for driver in drivers:
        target = Target(backend=driver.name, url=driver.default_url)
        try:
            endpoint = resolve(target, Connection(timeouts=limits))
            tapes = ask(endpoint, target, driver.identify(target))
            identity = driver.identity(tapes)
        except (BenchsuiteError, OSError):
            return None
        if all(tape.error.startswith("timeout") for tape in tapes):
            return None
        if identity is not None:
            return Found(backend=driver.name, title=driver.title, url=driver.default_url, identity=identity)
    return None
