"""What some drivers can do besides: small protocols, each found out by `isinstance`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from benchsuite.driver.contract import Driver
from benchsuite.types import Call, Identity, Noun, Reply, Request, Tape, Target


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
