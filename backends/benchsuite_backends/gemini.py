"""Google's Gemini: its developer API, and Vertex AI by its URL."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Capabilities, Driver, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls
from benchsuite.wire import gemini as dialect
from benchsuite.wire.batches.gemini import GeminiBatches


class Gemini(GeminiBatches):
    """`streamGenerateContent`, with a cache that comes by itself or is uploaded, and batches."""

    name: ClassVar[str] = "gemini"
    title: ClassVar[str] = "Gemini"
    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    # Where both are set, Google's own SDK takes the first.
    key_variables: ClassVar[tuple[str, ...]] = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    key_page: ClassVar[str] = "https://aistudio.google.com/apikey"
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=True,
        server_timings=False,
        launch=False,
        endpoints=("generateContent",),
        caching=MappingProxyType(
            {
                "cold": "each prompt begins with words of its own",
                "warm": "its implicit cache, which promises nothing",
                "shared": "its implicit cache; --option cache=explicit uploads the prefix (cachedContents)",
            }
        ),
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The same driver; values that mean nothing are refused before anything is sent."""
        calls.checked(options, {"auth": ("bearer",), "cache": ("explicit",)})
        return self

    def launch(self, target: Target) -> Launch | None:
        """Attach only."""
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models; on Vertex a count of tokens, which costs nothing."""
        return (dialect.models_call(target),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """A list whose names begin with `models/`, or Vertex's count."""
        if dialect.token_count(tapes[0]) is not None:
            return Identity(server="Vertex AI")
        models = dialect.listed(tapes[0])
        return None if models is None else Identity(server="Gemini", models=tuple(models))

    def place(self, target: Target) -> str:
        """The location of a Vertex URL."""
        return dialect.location(target)

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound, and thoughts count too."""
        return dialect.call(request, target)

    def decode(self, tape: Tape) -> Reply:
        """Gemini's dialect."""
        return dialect.decode(tape)

    def tokenize(self, text: str, target: Target) -> Call:
        """`:countTokens`, as one user message."""
        return dialect.count_call(text, target)

    def token_count(self, tape: Tape) -> int | None:
        """Its `totalTokens`."""
        return dialect.token_count(tape)

    def cache_call(self, prefix: str, target: Target) -> Call | None:
        """Only where it was asked for: storage costs money."""
        return dialect.cache_call(prefix, target) if target.options.get("cache") == "explicit" else None

    def cache_name(self, tape: Tape) -> str | None:
        """`cachedContents/…`."""
        return dialect.cache_name(tape)

    def uncache_call(self, name: str, target: Target) -> Call:
        """Remove it."""
        return dialect.uncache_call(name, target)
