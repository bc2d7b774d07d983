"""NVIDIA's TensorRT-LLM behind `trtllm-serve`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import CacheMode, Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls
from benchsuite.wire import openai as dialect
from benchsuite.wire.salt import cache_salt
from benchsuite_backends.starting import arguments, settings_of

IMAGE = "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc5"
"""The one that NVIDIA's quick start guide names; there is none that is always the newest."""

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "each prompt begins with words of its own; with --option cache_salt=true a salt too (chat)",
        "warm": "the server's own prefix cache",
        "shared": "the server's own prefix cache",
    }
)

# No reuse of prompts and no dummy weights here: both stand only in a file for `--config`.


class TensorRT:
    """Options: `endpoint=chat|completions`, `cache_salt=true` for builds that know it in chats."""

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
        caching=CACHING,
        token_ids=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("tensorrt")

    def launch(self, target: Target) -> Launch | None:
        """`trtllm-serve` with its PyTorch engine."""
        ours = {"max-seqs": ("--max_batch_size", "{slots}"), "max-len": ("--max_seq_len", "{context}")}
        command = ("trtllm-serve", "serve", "{model}", "--port", "{port}")
        words = arguments(ours, self.settings, target)
        return Launch(
            argv=(*command, "--host", "127.0.0.1", *words),
            env={"HF_HUB_OFFLINE": "1"},
            needs=("trtllm-serve",),
            missing=(
                "trtllm-serve isn't on the PATH: pip install tensorrt_llm, --docker starts its image, "
                "or measure a running server: --backend tensorrt --url URL"
            ),
            ready=Call(method="GET", path="/health"),
            ready_s=3600.0,
            model_form="bf16",
            open_slots=256,
            image=IMAGE,
            image_argv=(*command, "--host", "0.0.0.0", *words),
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, and the version."""
        return calls.get(target, dialect.path(target, "models")), calls.get(target, "/version")

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by TensorRT-LLM; of its settings it tells nothing."""
        models = dialect.listed(tapes[0])
        if not models or any(model.get("owned_by") != "tensorrt_llm" for model in models):
            return None
        version = calls.answer(tapes[1]).get("version", "") if len(tapes) > 1 else ""
        return Identity(
            server="TensorRT-LLM", version=str(version), models=tuple(model["id"] for model in models)
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Always exactly the asked output. It refuses a request with any field that it doesn't know."""
        extra: dict[str, Any] = {
            "ignore_eos": True,
            "min_tokens": request.min_output_tokens,
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
