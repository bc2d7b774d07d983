"""NVIDIA's TensorRT-LLM behind `trtllm-serve`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from benchsuite.driver import OWN_WORDS, Capabilities, Driver, Launch, Setting, caching
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, passing
from benchsuite.wire import openai as dialect
from benchsuite.wire.salt import cache_salt
from benchsuite_backends.starting import launch_of, settings_of


class TensorRT:
    """The OpenAI dialect, and no field that it doesn't know."""

    name: ClassVar[str] = "tensorrt"
    title: ClassVar[str] = "TensorRT-LLM"
    default_url: ClassVar[str] = "http://localhost:8000"
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = MappingProxyType(
        {**dialect.OPTIONS, "cache_salt": "true: cold chats carry a salt, which only newer builds take"}
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=True,
        server_timings=False,
        launch=True,
        caching=caching(
            "the server's own prefix cache",
            cold=f"{OWN_WORDS}; with --option cache_salt=true a salt too (chat)",
        ),
        token_ids=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("tensorrt")

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The same driver; a salt that wouldn't be sent is refused."""
        calls.checked(options, {"cache_salt": ("true",)})
        if "cache_salt" in options and options.get("endpoint", "chat") != "chat":
            raise UsageError("--option cache_salt=true is for chats alone; leave it out with completions")
        return self

    def launch(self, target: Target) -> Launch | None:
        """`trtllm-serve` with its PyTorch engine."""
        return launch_of("tensorrt", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, and the version."""
        return calls.get(target, dialect.path(target, "models")), calls.get(target, "/version")

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by TensorRT-LLM; of its settings it tells nothing."""
        models = dialect.owned(tapes[0], "tensorrt_llm")
        if models is None:
            return None
        version = calls.answer(tapes[1]).get("version", "") if len(tapes) > 1 else ""
        return Identity(
            server="TensorRT-LLM", version=str(version), models=tuple(model["id"] for model in models)
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output where it may not end before. It refuses any field that it doesn't know."""
        extra: dict[str, Any] = {
            **passing.forced(request),
            # Some builds send usage with every event unless they are told not to.
            "stream_options": {"include_usage": True, "continuous_usage_stats": False},
        }
        salt = cache_salt(request) if target.options.get("cache_salt") == "true" else ""
        if salt and target.options.get("endpoint", "chat") == "chat":
            extra["cache_salt"] = salt
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect."""
        return dialect.decode(tape)

    def metrics(self, target: Target) -> Call:
        """Prometheus' page, there where `return_perf_metrics` is on; `/metrics` is JSON of another kind."""
        return calls.get(target, "/prometheus/metrics")
