"""The contract between benchsuite and a backend driver, and how drivers are found.

A driver translates between benchsuite's nouns and one backend's bytes. It does no I/O and reads
no clock: the engine alone opens sockets and stamps time, so that every backend is measured the
same way by construction. `backends/README.md` shows how to write one; `benchsuite.testing` holds
the conformance tests that every driver has to pass.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import ClassVar, Final, Literal, Protocol, runtime_checkable

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


@runtime_checkable
class Hosted(Protocol):
    """A backend that is rented: at its own address nothing is answered without a key."""

    key_page: str
    """Where one gets a key; empty: it is one's own server and may need none."""


@runtime_checkable
class KnowsPlace(Protocol):
    """A backend whose address says where its models run."""

    def place(self, target: Target) -> str:
        """The region that the target's URL names; empty: it names none."""


@runtime_checkable
class ReportsLoading(Protocol):
    """A driver that finds in its engine's log how long loading the model took."""

    def load_seconds(self, log: str) -> float | None:
        """Seconds, as the engine says them; None: the log doesn't tell."""


@runtime_checkable
class Configurable(Protocol):
    """A driver that can't even read an answer without its options."""

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The driver for these options; a UsageError where they make no sense."""


@runtime_checkable
class HidesOptions(Protocol):
    """A driver whose options can't be stored as they are, though its answers can't be read without them."""

    def stored_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """What may be stored, with nothing that is sent in it; `configured` takes it for reading answers."""


@runtime_checkable
class ShowsExample(Protocol):
    """A driver that needs a file from its user, and has one to begin with."""

    def example(self) -> str:
        """The file, each of its keys explained; `benchsuite backends NAME` prints it."""


@runtime_checkable
class Tokenizes(Protocol):
    """A server that counts a text's tokens without generating anything."""

    def tokenize(self, text: str, target: Target) -> Call:
        """Ask for the tokens of `text`, as plain text or as one user message."""

    def token_count(self, tape: Tape) -> int | None:
        """Read the answer; None: it holds no count."""


@runtime_checkable
class HasMetrics(Protocol):
    """A server with a page of metrics for Prometheus."""

    def metrics(self, target: Target) -> Call:
        """Ask for the page."""


@runtime_checkable
class ResetsCache(Protocol):
    """A server that forgets its prefix cache when asked."""

    def reset_cache(self, target: Target) -> Call:
        """Ask it to; an answer with a status below 300 means that it did."""


@runtime_checkable
class PreparesCache(Protocol):
    """A backend where a shared prompt prefix is uploaded before it is used (Gemini's `cachedContents`).

    Its user asks for that with `--option cache=explicit`, which such a driver lists among its options and
    which is refused where no prefix is shared or none would be uploaded. What it is called there goes into
    `Target.caches`, under the prefix itself, before the first request; afterwards it is removed.
    """

    def cache_call(self, prefix: str, target: Target) -> Call | None:
        """Upload it; None: without that option nothing is uploaded."""

    def cache_name(self, tape: Tape) -> str | None:
        """What it is called there; None: it was refused."""

    def uncache_call(self, name: str, target: Target) -> Call:
        """Remove it."""


@runtime_checkable
class LoadsModels(Protocol):
    """A server that fetches and loads models when asked, which is done before the clock starts."""

    def pull_call(self, target: Target) -> Call | None:
        """Download the target's model (`--pull`), its progress streamed; None: it can't."""

    def pull_next(self, tape: Tape, target: Target) -> Call | None:
        """Where progress isn't streamed: what to ask next to learn of it; None: the download has ended."""

    def pull_command(self, model: str) -> str:
        """What a user would type to download it."""

    def load_call(self, target: Target, identity: Identity, context_tokens: int, slots: int) -> Call | None:
        """Load it with so much context for each of so many slots; None: there is nothing to load.

        An answer with the error kind `not_found` means that the server doesn't have the model.
        """

    def loading(self, tape: Tape) -> tuple[str, float | None]:
        """What a streamed answer says so far: a few words, and the share that is done where it tells."""

    def loaded(self, tape: Tape) -> float | None:
        """Seconds that loading took, by its own word; None: it doesn't say."""


class BatchState(Noun, frozen=True, kw_only=True):
    """How far a batch is, as its server says; counts are None where it doesn't.

    `over`: it will not go on, whatever became of it; `state` is the server's own word. `results`: what to ask
    for its answers, each call once. `label`: ours, as it was given at its creation; None: the server has no
    room for one. `done` and `failed` don't overlap. `created_s` (since 1970) and `took_s`, from its creation
    to its end, are by the server's clock. `message`: why it failed as a whole.
    """

    id: str
    state: str
    over: bool
    total: int | None = None
    done: int | None = None
    failed: int | None = None
    results: tuple[Call, ...] = ()
    label: str | None = None
    created_s: float | None = None
    took_s: float | None = None
    message: str = ""


@runtime_checkable
class BatchApi(Protocol):
    """A backend that takes many requests at once and answers within hours, at a lower price.

    Each request comes with its custom id: up to 64 letters, digits and '-', which begin with the batch's
    label; answers come in any order. Too many requests for one batch are a UsageError.
    """

    def batch_create(
        self, requests: Sequence[tuple[str, Request]], upload: str, label: str, target: Target
    ) -> Call:
        """Create the batch, of the uploaded file or, where `upload` is empty, of the requests themselves.

        `label` is ours and unique: it is stored with the batch where the server has room for it.
        """

    def batch_list(self, target: Target, after: str = "") -> Call:
        """Ask for recent batches, newest first, or the page `after`: a crash may have lost ours."""

    def batch_listed(self, tape: Tape, target: Target) -> tuple[tuple[BatchState, ...], str] | None:
        """The batches of a page, and what the next comes after (empty: it was the last); None: an error."""

    def batch_status(self, batch_id: str, target: Target) -> Call:
        """Ask how far it is."""

    def batch_state(self, tape: Tape, target: Target) -> BatchState | None:
        """Read an answer to `batch_create`, `batch_status` or `batch_cancel`; None: it is an error."""

    def batch_replies(self, tape: Tape) -> Iterator[tuple[str, int, Reply]]:
        """(custom id, HTTP status, reply) of each answer in one of the results; never raises.

        A request that the server didn't get to has status 0 and the error kind `expired` or `cancelled`.
        """

    def batch_cancel(self, batch_id: str, target: Target) -> Call:
        """Ask for its end."""


@runtime_checkable
class UploadsBatches(BatchApi, Protocol):
    """A batch API that takes the requests as a file first; elsewhere they go into the create call."""

    def batch_upload(self, requests: Sequence[tuple[str, Request]], target: Target) -> Call:
        """Upload the requests as a file."""

    def batch_uploaded(self, tape: Tape) -> str | None:
        """The uploaded file's name there; None: it was refused."""


def backends() -> dict[str, EntryPoint]:
    """Every installed driver by name, ours and anybody's, found but not imported."""
    found = entry_points(group="benchsuite.backends")
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def load(name: str, options: Mapping[str, str] = MappingProxyType({})) -> Driver:
    """Import and make the driver called `name`, for a target's `options`.

    An unknown name is a UsageError that lists the known ones.
    """
    known = backends()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? There are" if near else "there are"
        raise UsageError(f"no backend called {name!r}; {hint}: {', '.join(known)}")
    driver = _made(known[name])
    return driver.configured(options) if options and isinstance(driver, Configurable) else driver


def _made(entry: EntryPoint) -> Driver:
    """The driver behind an entry point; a UsageError names the one that can't be imported or made."""
    try:
        driver: Driver = entry.load()()
    except Exception as error:
        # Somebody else's module may fail in any way.
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        package = f" of {entry.dist.name}" if entry.dist else ""
        what = f"the backend {entry.name!r}{package} can't be loaded"
        raise UsageError(f"{what} ({why}); repair or uninstall it") from error
    return driver
