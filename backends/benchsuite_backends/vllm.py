"""vLLM's OpenAI-compatible server."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import CacheMode, Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls
from benchsuite.wire import openai as dialect
from benchsuite.wire.salt import cache_salt
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import arguments, settings_of

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "a cache_salt of its own for each request, the chat template salted too",
        "warm": "the server's own prefix cache",
        "shared": "the server's own prefix cache",
    }
)

LOADING: Final = (
    re.compile(r"Model loading took [\d.]+ GiB(?: memory)? and ([\d.]+) seconds"),
    re.compile(r"Loading weights took ([\d.]+) seconds"),
)
"""What workers log of loading, the fuller account first; on a CPU there is only the second."""

SPOKEN: Final[Mapping[str, str]] = MappingProxyType({"True": "on", "False": "off"})


class VLLM:
    """Options: `endpoint=chat|completions`."""

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
        caching=CACHING,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("vllm")

    def launch(self, target: Target) -> Launch | None:
        """Its API server as a module: unlike the command `vllm`, it is there in every build."""
        ours = {"max-seqs": ("--max-num-seqs", "{slots}"), "max-len": ("--max-model-len", "{context}")}
        model = ("--model", "{model}", "--served-model-name", "{name}")
        words = (
            *("--port", "{port}", "--enable-prompt-tokens-details", "--generation-config", "vllm"),
            *arguments(ours, self.settings, target),
        )
        return Launch(
            argv=(
                *("{python}", "-m", "vllm.entrypoints.openai.api_server"),
                *(*model, "--host", "127.0.0.1", *words),
            ),
            env={
                "HF_HUB_OFFLINE": "1",
                "DO_NOT_TRACK": "1",
                "VLLM_NO_USAGE_STATS": "1",
                "VLLM_SERVER_DEV_MODE": "1",
                "VLLM_CPU_KVCACHE_SPACE": "1",
            },
            module="vllm",
            program="vllm",
            missing=(
                "vLLM isn't installed where benchsuite looks: pip install vllm (in any environment, its "
                "command on the PATH), --docker starts its image, or measure a running server: "
                "--backend vllm --url URL"
            ),
            ready=Call(method="GET", path="/health"),
            ready_s=1800.0,
            model_form="bf16",
            open_slots=256,
            dummy_arguments=("--load-format", "dummy"),
            image="vllm/vllm-openai:latest",
            image_argv=(*model, "--host", "0.0.0.0", *words),
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, which wait for a key where there is one; version, and settings in development mode."""
        paths = (dialect.path(target, "models"), "/version", "/server_info?config_format=json")
        return tuple(dialect.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by vLLM; the rest as far as it is told."""
        models = dialect.listed(tapes[0])
        if not models or any(model.get("owned_by") != "vllm" for model in models):
            return None
        version, info = ([dialect.answer(tape) for tape in tapes[1:]] + [{}, {}])[:2]
        config = _part(info, "vllm_config")
        slots = _part(config, "scheduler_config").get("max_num_seqs")
        contexts = [model["max_model_len"] for model in models if isinstance(model.get("max_model_len"), int)]
        return Identity(
            server="vLLM",
            version=str(version.get("version", "")),
            models=tuple(model["id"] for model in models),
            context_tokens=min(contexts, default=None),
            slots=slots if isinstance(slots, int) else None,
            details=_details(config, _part(info, "system_env")),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Always exactly the asked output; a cold request shares no cached block, the template's neither."""
        extra: dict[str, Any] = {"ignore_eos": True, "min_tokens": request.min_output_tokens}
        extra |= template_fields(request, target, effort_field=True)
        if salt := cache_salt(request):
            extra["cache_salt"] = salt
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, with vLLM's `metrics` where they are switched on."""
        return dialect.decode(tape)

    def load_seconds(self, log: str) -> float | None:
        """The slowest worker's."""
        found = next((times for line in LOADING if (times := line.findall(log))), [])
        return max(map(float, found), default=None)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`: as one user message with its template, for completions as plain text."""
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if target.options.get("endpoint") == "completions":
            asked = {"prompt": text}
        return calls.aside(target, "/tokenize", {"model": target.model, **asked})

    def token_count(self, tape: Tape) -> int | None:
        """As it says."""
        count = dialect.answer(tape).get("count")
        return count if isinstance(count, int) else None

    def metrics(self, target: Target) -> Call:
        """`/metrics`."""
        return dialect.get(target, "/metrics")

    def reset_cache(self, target: Target) -> Call:
        """`/reset_prefix_cache`, there in development mode (`VLLM_SERVER_DEV_MODE=1`)."""
        return calls.aside(target, "/reset_prefix_cache")


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _details(config: dict[str, Any], system: dict[str, Any]) -> dict[str, str]:
    """What a server in development mode says of its settings and its device; empty where it doesn't."""
    model, cache, parallel = (_part(config, f"{name}_config") for name in ("model", "cache", "parallel"))
    gpus = str(system.get("nvidia_gpu_models") or "").splitlines()
    found = {
        "revision": model.get("revision"),
        "dtype": str(model.get("dtype") or "").removeprefix("torch."),
        "quantization": model.get("quantization"),
        "kv_cache_dtype": cache.get("cache_dtype"),
        "prefix_cache": SPOKEN.get(str(cache.get("enable_prefix_caching"))),
        "load_format": _part(config, "load_config").get("load_format"),
        "tensor_parallel": parallel.get("tensor_parallel_size"),
        "pipeline_parallel": parallel.get("pipeline_parallel_size"),
        "data_parallel": parallel.get("data_parallel_size"),
        "device": _part(config, "device_config").get("device"),
        "gpu": gpus[0].partition(": ")[2] or gpus[0] if gpus else "",
    }
    return {name: str(value) for name, value in found.items() if value}
