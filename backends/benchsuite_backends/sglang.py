"""SGLang's server."""

from collections.abc import Mapping
from typing import Any, ClassVar

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai, passing
from benchsuite.wire import sglang as dialect
from benchsuite.wire.salt import SALTED, cache_salt
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import launch_of, settings_of


class SGLang:
    """The OpenAI dialect or its own `/generate`, with an exact length and a salt for cold prompts."""

    name: ClassVar[str] = "sglang"
    title: ClassVar[str] = "SGLang"
    default_url: ClassVar[str] = "http://localhost:30000"
    key_variables: ClassVar[tuple[str, ...]] = ("SGLANG_API_KEY",)
    options: ClassVar[Mapping[str, str]] = openai.OPTIONS
    # Cached tokens are told in the OpenAI dialect only with --enable-cache-report; timings only natively.
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        endpoints=("chat", "completions", "native"),
        caching=SALTED,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("sglang")

    def launch(self, target: Target) -> Launch | None:
        """Its server as a module, which tells cached tokens and has a page of metrics."""
        return launch_of("sglang", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, which wait for a key where there is one; its settings, under their new and old name."""
        paths = (openai.path(target, "models"), "/server_info", "/get_server_info")
        return tuple(calls.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by SGLang; the rest as far as it is told."""
        models = openai.owned(tapes[0], "sglang")
        if models is None:
            return None
        info = next((found for tape in tapes[1:] if (found := calls.answer(tape))), {})
        return Identity(
            server="SGLang",
            version=str(info.get("version", "")),
            models=tuple(model["id"] for model in models),
            context_tokens=openai.least_context(models),
            slots=dialect.slots_of(info),
            details=dialect.details_of(info),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output where it may not end before; a cold request shares no cached block."""
        salt = cache_salt(request)
        thinking = template_fields(request, target, effort_field=True)
        if target.options.get("endpoint") == "native":
            return dialect.call(request, target, salt=salt)
        extra: dict[str, Any] = passing.forced(request) | thinking
        return openai.call(request, target, extra=extra | ({"cache_salt": salt} if salt else {}))

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, or its own."""
        return dialect.decode(tape)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`, as plain text: older builds know no messages there."""
        return calls.aside(target, "/tokenize", {"model": target.model, "prompt": text})

    def token_count(self, tape: Tape) -> int | None:
        """As it says."""
        return calls.counted(tape)

    def metrics(self, target: Target) -> Call:
        """`/metrics`, there with `--enable-metrics`."""
        return calls.get(target, "/metrics")

    def reset_cache(self, target: Target) -> Call:
        """`/flush_cache`, which is refused while anything runs; newer builds wait a moment for that."""
        return calls.aside(target, "/flush_cache?timeout=10")
