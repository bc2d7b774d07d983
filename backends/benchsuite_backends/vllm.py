"""vLLM's OpenAI-compatible server."""

from collections.abc import Mapping
from typing import Any, ClassVar

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, passing, vllm
from benchsuite.wire import openai as dialect
from benchsuite.wire.salt import SALTED, cache_salt
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import launch_of, settings_of


class VLLM:
    """The OpenAI dialect, with an exact length, and a salt that keeps cold prompts apart."""

    name: ClassVar[str] = "vllm"
    title: ClassVar[str] = "vLLM"
    default_url: ClassVar[str] = "http://localhost:8000"
    key_variables: ClassVar[tuple[str, ...]] = ("VLLM_API_KEY",)
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    # Cached tokens and timings are told only by a server that was started with the flags for it.
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        caching=SALTED,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("vllm")

    def launch(self, target: Target) -> Launch | None:
        """Its API server as a module: unlike the command `vllm`, it is there in every build."""
        return launch_of("vllm", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, which wait for a key where there is one; version, and settings in development mode."""
        paths = (dialect.path(target, "models"), "/version", "/server_info?config_format=json")
        return tuple(dialect.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by vLLM; the rest as far as it is told."""
        models = dialect.owned(tapes[0], "vllm")
        if models is None:
            return None
        version, info = ([calls.answer(tape) for tape in tapes[1:]] + [{}, {}])[:2]
        return Identity(
            server="vLLM",
            version=str(version.get("version", "")),
            models=tuple(model["id"] for model in models),
            context_tokens=dialect.least_context(models),
            slots=vllm.slots_of(info),
            details=vllm.details_of(info),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output where it may not end before; a cold request shares no cached block."""
        extra: dict[str, Any] = passing.forced(request)
        extra |= template_fields(request, target, effort_field=True)
        if salt := cache_salt(request):
            extra["cache_salt"] = salt
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, with vLLM's `metrics` where they are switched on."""
        return dialect.decode(tape)

    def load_seconds(self, log: str) -> float | None:
        """The slowest worker's."""
        return vllm.load_seconds(log)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`: as one user message with its template, for completions as plain text."""
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if target.options.get("endpoint") == "completions":
            asked = {"prompt": text}
        return calls.aside(target, "/tokenize", {"model": target.model, **asked})

    def token_count(self, tape: Tape) -> int | None:
        """As it says."""
        return calls.counted(tape)

    def metrics(self, target: Target) -> Call:
        """`/metrics`."""
        return dialect.get(target, "/metrics")

    def reset_cache(self, target: Target) -> Call:
        """`/reset_prefix_cache`, there in development mode (`VLLM_SERVER_DEV_MODE=1`)."""
        return calls.aside(target, "/reset_prefix_cache")
