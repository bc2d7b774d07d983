"""Ollama, through its own API or the OpenAI-compatible one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import AFTER_TEMPLATE, Capabilities, Launch, Setting, caching, is_variable
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai
from benchsuite.wire import ollama as dialect
from benchsuite_backends.starting import launch_of, settings_of


class Ollama:
    """Its own `/api/chat` and `/api/generate` in lines, or the OpenAI dialect."""

    name: ClassVar[str] = "ollama"
    title: ClassVar[str] = "Ollama"
    default_url: ClassVar[str] = "http://localhost:11434"
    # OLLAMA_API_KEY is for ollama.com: a server of somebody's own isn't to hear it unasked.
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = MappingProxyType({**openai.OPTIONS, **dialect.OPTIONS})
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=True,
        launch=True,
        endpoints=("native", "generate", "chat", "completions"),
        caching=caching("the server's own prefix cache, one a slot", cold=AFTER_TEMPLATE),
        default_slots=1,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("ollama")

    def launch(self, target: Target) -> Launch | None:
        """`ollama serve`; what is chosen stands in the command, where no variable of the user's undoes it."""
        if odd := next((word for word in target.engine_args if not is_variable(word)), ""):
            raise UsageError(f"--engine-args: Ollama is set by variables, NAME=VALUE, not by {odd!r}")
        if target.model.startswith("shape:") or target.model.endswith(".gguf"):
            raise UsageError(
                f"Ollama serves what `ollama create` or `ollama pull` gave it, not {target.model}; "
                "--backend llamacpp takes it"
            )
        return launch_of("ollama", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """Version, loaded models, downloaded ones, and the model's own card once it is known."""
        asked = tuple(calls.get(target, path) for path in ("/api/version", "/api/ps", "/api/tags"))
        return (*asked, dialect.show_call(target)) if target.model else asked

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """The models are the loaded ones, or all where none is; it doesn't tell its slots."""
        version = calls.answer(tapes[0]).get("version")
        loaded, there = dialect.listed(tapes[1]), dialect.listed(tapes[2])
        if not isinstance(version, str) or loaded is None or there is None:
            return None
        shown = calls.answer(tapes[3]) if len(tapes) > 3 else {}
        meant = dialect.same(shown, loaded)
        return Identity(
            server="Ollama",
            version=version,
            models=tuple(model["name"] for model in loaded or there),
            context_tokens=dialect.loaded_context(shown, meant),
            details=dialect.details_of(shown, meant),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound; natively with the context that the run's longest request needs."""
        return dialect.call(request, target)

    def decode(self, tape: Tape) -> Reply:
        """Lines of JSON, or the OpenAI dialect of the compatible endpoints."""
        return dialect.decode(tape)

    def pull_call(self, target: Target) -> Call | None:
        """`/api/pull`, its progress in lines."""
        return dialect.pull_call(target)

    def pull_next(self, tape: Tape, target: Target) -> Call | None:
        """Nothing: the pull's answer ends with it."""
        return None

    def pull_command(self, model: str) -> str:
        """Its own command."""
        return f"ollama pull {model}"

    def load_call(self, target: Target, identity: Identity, context_tokens: int, slots: int) -> Call | None:
        """Always: a model that is loaded so already answers at once. Slots are the server's alone."""
        return dialect.load_call(target, context_tokens)

    def loading(self, tape: Tape) -> tuple[str, float | None]:
        """How far a pull is; loading itself tells nothing."""
        return dialect.progress(tape)

    def loaded(self, tape: Tape) -> float | None:
        """It doesn't say."""
        return None
