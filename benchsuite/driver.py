"""The contract between benchsuite and a backend driver, and how drivers are found.

A driver translates between benchsuite's nouns and one backend's bytes. It does no I/O and reads
no clock: the engine alone opens sockets and stamps time, so that every backend is measured the
same way by construction. `backends/README.md` shows how to write one; `benchsuite.testing` holds
the conformance tests that every driver has to pass.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, Literal, Protocol, runtime_checkable

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


class Setting(Noun, frozen=True, kw_only=True):
    """One setting of an engine that we start (`--engine NAME=VALUE`): what it means, and its arguments.

    `arguments`: value → the arguments it becomes; `*` stands for any other value, which takes the
    place of `{value}` in them.
    """

    help: str
    arguments: dict[str, tuple[str, ...]]


def engine_arguments(settings: Mapping[str, Setting], asked: Mapping[str, str]) -> tuple[str, ...]:
    """The arguments that the asked settings become; a UsageError for an unknown name or value."""
    found: list[str] = []
    for name, value in asked.items():
        setting = settings.get(name)
        if setting is None:
            near = get_close_matches(name, settings, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(settings) or 'none'}"
            raise UsageError(f"this engine has no setting {name!r}; {hint}")
        arguments = setting.arguments.get(value, setting.arguments.get("*"))
        if arguments is None:
            raise UsageError(f"--engine {name} is {' or '.join(setting.arguments)}, not {value!r}")
        found += [part.replace("{value}", value) for part in arguments]
    return tuple(found)


ModelForm = Literal["gguf", "bf16", "f32"]


class Launch(Noun, frozen=True, kw_only=True):
    """How to start a backend, as data; `servers/` resolves and runs it.

    `argv` and `env` may use {python}, {port}, {model}, {name}, {slots}, {context}, {context_total} (of all
    slots) and {threads}; `needs` names Python modules or executables that must be there, `missing` says in
    one line what to do when they aren't. `module` is a Python module that {python} has to have: it is looked
    for in this environment, behind the command `program` on the PATH, and in benchsuite's engine environment
    of the driver's name. `ready` is asked
    until it answers 200, for at most `ready_s` seconds. `max_context`: most tokens of a prompt and its
    answer that the model can hold; None: the engine knows. `model_form` is how a model made on the spot
    is handed over: a GGUF file, or a Hugging Face directory in that type; `dummy_arguments` are added
    where the engine is to make the weights itself. `open_slots` stand for {slots} where the load has no cap
    on what is in flight: what the engine takes by itself, or what memory allows. `otherwise`: another way,
    where this one's needs aren't there.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    needs: tuple[str, ...] = ()
    module: str = ""
    program: str = ""
    missing: str = ""
    ready: Call
    ready_s: float = 120.0
    default_model: str = ""
    max_context: int | None = None
    model_form: ModelForm = "gguf"
    dummy_arguments: tuple[str, ...] = ()
    open_slots: int = 8
    otherwise: "Launch | None" = None


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
    settings: ClassVar[Mapping[str, Setting]]
    """What `--engine` understands where benchsuite starts it; empty: nothing."""

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


@runtime_checkable
class ReportsLoading(Protocol):
    """A driver that finds in its engine's log how long loading the model took."""

    def load_seconds(self, log: str) -> float | None:
        """Seconds, as the engine says them; None: the log doesn't tell."""


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
