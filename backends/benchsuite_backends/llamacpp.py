"""llama.cpp's server: `llama-server`, started or already running, or the one that comes with benchsuite."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, llamacpp, passing
from benchsuite.wire import openai as dialect
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import launch_of, settings_of

SHAPE_CONTEXT_TOKENS = 8192
"""The context of models made on the spot."""


class LlamaCpp:
    """The OpenAI dialect, with an exact length, slots, and `cache_prompt` on or off."""

    name: ClassVar[str] = "llamacpp"
    title: ClassVar[str] = "llama.cpp"
    default_url: ClassVar[str] = "http://localhost:8080"
    key_variables: ClassVar[tuple[str, ...]] = ("LLAMA_API_KEY",)
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=True,
        cached_tokens=True,
        server_timings=True,
        launch=True,
        caching=llamacpp.CACHING,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("llamacpp")

    def launch(self, target: Target) -> Launch | None:
        """`llama-server` from the PATH; without one the embedded engine, unless settings were asked for."""
        file = not target.model or target.model.startswith("shape:") or target.model.endswith(".gguf")
        asked, built_in = target.engine or target.engine_args, embedded(target)
        found = launch_of(
            "llamacpp",
            target,
            max_context=built_in.max_context,
            otherwise=None if asked or not file else built_in,
        )
        if file:
            return found
        argv, image_argv = _from_hub(found.argv), _from_hub(found.image_argv)
        return msgspec.structs.replace(found, argv=argv, image_argv=image_argv)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """`/props`, which only llama.cpp has in this shape, then the models; below `/v1` these alone."""
        models = dialect.path(target, "models")
        paths = ("/props", models) if models == "/v1/models" else (models,)
        return tuple(dialect.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Build, slots, and the context of one slot; below `/v1` what its models tell, which are its own."""
        own = None if len(tapes) > 1 else dialect.owned(tapes[0], "llamacpp")
        return dialect.described(own, "llama.cpp", "") if own else llamacpp.described(*tapes)

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output unless it may end before; a cold request reuses nothing of its slot."""
        extra = passing.endless(request) | {"cache_prompt": request.cache != "cold"}
        return dialect.call(request, target, extra=extra | template_fields(request, target))

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, with llama.cpp's `timings`."""
        return dialect.decode(tape)

    def load_seconds(self, log: str) -> float | None:
        """The embedded server's word; `llama-server` doesn't say it."""
        return llamacpp.load_seconds(log)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`, as plain text."""
        return calls.aside(target, "/tokenize", {"content": text, "add_special": True})

    def token_count(self, tape: Tape) -> int | None:
        """The length of the list."""
        tokens = dialect.answer(tape).get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    def metrics(self, target: Target) -> Call:
        """`/metrics`, there with `--metrics`."""
        return dialect.get(target, "/metrics")


def embedded(target: Target, *, settings: bool = False) -> Launch:
    """llama.cpp's server in a process of its own, from the xllamacpp wheel, with settings or none."""
    plain = target if settings else msgspec.structs.replace(target, engine={}, engine_args=())
    made = not target.model or target.model.startswith("shape:")
    return launch_of("local", plain, max_context=SHAPE_CONTEXT_TOKENS if made else None)


def _from_hub(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same command for a model's name on the hub."""
    at = argv.index("--model")
    return (*argv[:at], "--hf-repo", *argv[at + 1 :])
