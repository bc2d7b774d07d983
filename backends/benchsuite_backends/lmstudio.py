"""LM Studio, through its own API or the OpenAI-compatible one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import AFTER_TEMPLATE, Capabilities, Launch, Setting, caching
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai
from benchsuite.wire import lmstudio as dialect
from benchsuite_backends.starting import launch_of, settings_of


class LMStudio:
    """Its own `/api/v1/chat` with named events, or the OpenAI dialect."""

    name: ClassVar[str] = "lmstudio"
    title: ClassVar[str] = "LM Studio"
    default_url: ClassVar[str] = "http://localhost:1234"
    key_variables: ClassVar[tuple[str, ...]] = ("LM_API_TOKEN",)
    options: ClassVar[Mapping[str, str]] = MappingProxyType({**openai.OPTIONS, **dialect.OPTIONS})
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=True,
        launch=True,
        endpoints=("native", "chat", "completions"),
        caching=caching("the server's own prefix cache", cold=AFTER_TEMPLATE),
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("lmstudio")

    def launch(self, target: Target) -> Launch | None:
        """Its command wakes a server that stays; there is only one, so a running one would be moved."""
        if target.model.startswith("shape:") or target.model.endswith(".gguf"):
            raise UsageError(
                f"LM Studio serves models of its own folder, not {target.model}; --backend llamacpp takes it"
            )
        return launch_of("lmstudio", target, ready=calls.get(target, dialect.MODELS))

    def identify(self, target: Target) -> tuple[Call, ...]:
        """Its models, which only LM Studio lists so."""
        return (calls.get(target, dialect.MODELS),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """The loaded models with context and slots; it doesn't tell its version."""
        return dialect.identity_of(tapes[0])

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound; nothing is stored there."""
        return dialect.call(request, target)

    def decode(self, tape: Tape) -> Reply:
        """Named events, or the OpenAI dialect of the compatible endpoints."""
        return dialect.decode(tape)

    def pull_call(self, target: Target) -> Call | None:
        """A job, which is then asked how far it is."""
        return dialect.pull_call(target)

    def pull_next(self, tape: Tape, target: Target) -> Call | None:
        """How far the job is."""
        return dialect.pull_next(tape, target)

    def pull_command(self, model: str) -> str:
        """Its own command."""
        return f"lms get {model}"

    def load_call(self, target: Target, identity: Identity, context_tokens: int, slots: int) -> Call | None:
        """None where it is loaded. Slots are set in LM Studio or with `lms load --parallel`."""
        return dialect.load_call(target, identity, context_tokens)

    def loading(self, tape: Tape) -> tuple[str, float | None]:
        """How far a download is."""
        return dialect.progress(tape)

    def loaded(self, tape: Tape) -> float | None:
        """By its own word."""
        return dialect.load_seconds(tape)
