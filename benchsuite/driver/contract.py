"""What a driver is: capabilities, how its engine starts, and the methods that each has."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import ClassVar, Final, Literal, Protocol

from benchsuite.errors import UsageError
from benchsuite.types import CacheMode, Call, Identity, Noun, Reply, Request, Tape, Target

OWN_WORDS: Final = "each prompt begins with words of its own"
AFTER_TEMPLATE: Final = f"{OWN_WORDS}; the chat template before them stays cached"


def caching(kept: str, *, cold: str = OWN_WORDS) -> Mapping[CacheMode, str]:
    """How the workload's cache words come true where `kept` holds for warm and for shared prompts."""
    return MappingProxyType({"cold": cold, "warm": kept, "shared": kept})


CACHED_BY_ITSELF: Final = caching("the server's own prefix cache")
"""The same where a request can't say anything about caching."""

MODELS_CACHE: Final = "/models-cache"
"""Where an image looks for models, unless it has a place of its own: no user's home, which may be missing."""


class Capabilities(Noun, frozen=True, kw_only=True):
    """What a backend can do, as far as a workload's promises depend on it.

    What takes a method of its own (tokenize, metrics, resetting or preparing a cache, batches) isn't here: a
    driver that has the method can do it.
    """

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
    endpoints: tuple[str, ...] = ("chat", "completions")
    """Its doors, which `--endpoint` names; the first is used if none is named."""
    caching: Mapping[CacheMode, str] = CACHED_BY_ITSELF
    """How each of the workload's cache words comes true here; a word that is missing can't."""
    sampling: Literal["yes", "by model", "no"] = "yes"
    """Whether it takes sampling parameters, a temperature of 0 among them."""
    token_ids: bool = False
    """A prompt can be sent as token ids through its completions endpoint."""
    default_slots: int | None = None
    """Requests that such a server works on at once unless it was started for more, where it doesn't say."""
    reasoning: bool = False
    """`--reasoning off|low|high` reaches the model."""


class Setting(Noun, frozen=True, kw_only=True):
    """One setting of an engine that we start (`--engine NAME=VALUE`): what it means, and its arguments.

    `arguments`: value → the arguments it becomes; `*` stands for any other value, which takes the
    place of `{value}` in them. A word like `NAME=value` is a variable of the engine's environment.
    """

    help: str
    arguments: dict[str, tuple[str, ...]]


_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*=")


def is_variable(word: str) -> bool:
    """Is this argument (`NAME=value`) a variable of the engine's environment?"""
    return _VARIABLE.match(word) is not None


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
    where this one's needs aren't there. `end` is a command that stops what was started, run before whatever
    is left of it is ended; `daemon`: `argv` only wakes a server, which goes on after it.

    `image`: a Docker image of it, which gets `image_argv` and listens on `image_port`, its {port}; {model} is
    where the container sees the model. It finds models that were downloaded here under
    `image_cache`; with `image_volume` that is a volume of its own instead, which stays. An empty `argv`:
    it comes as an image only.
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
    image: str = ""
    image_argv: tuple[str, ...] = ()
    image_port: int = 8000
    image_cache: str = MODELS_CACHE
    image_volume: bool = False
    daemon: bool = False
    end: tuple[str, ...] = ()


class Driver(Protocol):
    """Translates between benchsuite and one backend. Does no I/O and reads no clock."""

    name: ClassVar[str]
    title: ClassVar[str]
    """The backend's name for people, e.g. `llama.cpp (embedded)`."""
    default_url: ClassVar[str]
    """Where it usually listens; empty: a URL has to be given."""
    key_variables: ClassVar[tuple[str, ...]]
    """Environment variables that may hold its key, first found first."""
    options: ClassVar[Mapping[str, str]]
    """The options (`--option NAME=VALUE`) that it understands, each with what it does, in a few words."""
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
