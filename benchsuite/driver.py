"""The contract between benchsuite and a backend driver, and how drivers are found.

A driver translates between benchsuite's nouns and one backend's bytes. It does no I/O and reads
no clock: the engine alone opens sockets and stamps time, so that every backend is measured the
same way by construction. `backends/README.md` shows how to write one; `benchsuite.testing` holds
the conformance tests that every driver has to pass.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, Protocol

from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Noun, Reply, Request, Tape, Target


class Capabilities(Noun, frozen=True, kw_only=True):
    """What a backend can do, as far as a workload's promises depend on it."""

    exact_output: bool
    """Output length can be forced (ignore_eos or the like); otherwise it is an upper bound."""
    cache_off: bool
    """A request can switch prefix caching off; otherwise only a salt in front of the prompt avoids it."""
    cached_tokens: bool
    """The server reports how many prompt tokens came from its cache."""
    server_timings: bool
    """Answers carry the server's own timings."""
    launch: bool
    """benchsuite can start this backend itself."""
    completions: bool = True
    """There is a plain completions endpoint beside the chat one."""


class Launch(Noun, frozen=True, kw_only=True):
    """How to start a backend, as data; `servers/` resolves and runs it.

    `argv` may use {python}, {port}, {model}, {slots}, {context} and {threads}; `needs` names Python
    modules or executables that must be there, `missing` says in one line what to do when they
    aren't. `ready` is asked until it answers 200. `max_context`: most tokens of a prompt and its answer
    that the model can hold; None: the engine knows.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    needs: tuple[str, ...] = ()
    missing: str = ""
    ready: Call
    default_model: str = ""
    max_context: int | None = None


class Driver(Protocol):
    """Translates between benchsuite and one backend. Does no I/O and reads no clock."""

    name: ClassVar[str]
    title: ClassVar[str]
    """The backend's name for people, e.g. `llama.cpp (embedded)`."""
    default_url: ClassVar[str]
    """Where it usually listens; empty: a URL has to be given."""
    key_variables: ClassVar[tuple[str, ...]]
    """Environment variables that may hold its key, first found first."""
    options: ClassVar[tuple[str, ...]]
    """Names of the options (`--option K=V`) that it understands."""
    capabilities: ClassVar[Capabilities]

    def launch(self, target: Target) -> Launch | None:
        """How to start it; None: attach only."""

    def identify(self, target: Target) -> tuple[Call, ...]:
        """What to ask to learn who is there: one or a few GETs, the first of them decisive."""

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Read the answers to `identify`; None: it is something else."""

    def encode(self, request: Request, target: Target) -> Call:
        """One planned request as HTTP: pure, the same call for the same request."""

    def decode(self, tape: Tape) -> Reply:
        """Read one answer; tolerates truncation at any byte, and errors of any status."""


def backends() -> dict[str, EntryPoint]:
    """Every installed driver by name, ours and anybody's, found but not imported."""
    found = entry_points(group="benchsuite.backends")
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def load(name: str) -> Driver:
    """Import and make the driver called `name`; an unknown name is a UsageError that lists the known ones."""
    known = backends()
    if name not in known:
        raise UsageError(f"no backend called {name!r}; there are: {', '.join(known)}")
    driver: Driver = known[name].load()()
    return driver
