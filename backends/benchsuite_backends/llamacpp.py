"""llama.cpp's server: `llama-server`, started or already running, or the one that comes with benchsuite."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import CacheMode, Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls
from benchsuite.wire import openai as dialect
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import arguments, settings_of

DEFAULT_MODEL = "shape:5m"
LOADED: Final = re.compile(r"^model loaded in ([\d.]+) s", re.MULTILINE)
SHAPE_CONTEXT_TOKENS = 8192
"""The context of models made on the spot."""
HTTP_THREADS = "448"
"""Each open connection holds one, also while it waits; the embedded server has as many for its most slots."""

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "cache_prompt is false: a request uses nothing of what its slot has kept",
        "warm": "cache_prompt is true: each slot keeps its last prompt and reads it once",
        "shared": "cache_prompt is true: each slot keeps its last prompt and reads the beginning once",
    }
)


class LlamaCpp:
    """Options: `endpoint=chat|completions`."""

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
        caching=CACHING,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("llamacpp")

    def launch(self, target: Target) -> Launch | None:
        """`llama-server` from the PATH; without one the embedded engine, unless settings were asked for."""
        ours = {
            "max-seqs": ("--parallel", "{slots}"),
            "ctx": ("--ctx-size", "{context_total}"),
            "threads": ("--threads", "{threads}"),
        }
        file = not target.model or target.model.startswith("shape:") or target.model.endswith(".gguf")
        asked = target.engine or target.engine_args
        built_in = embedded(target)
        model = ("--model" if file else "--hf-repo", "{model}", "--alias", "{name}")
        words = (
            *("--port", "{port}", "--threads-http", HTTP_THREADS, "--metrics"),
            *arguments(ours, self.settings, target),
        )
        return Launch(
            argv=("llama-server", *model, "--host", "127.0.0.1", *words),
            # By environment, since older versions refuse a flag that they don't know.
            env={"LLAMA_ARG_OFFLINE": "1", "LLAMA_ARG_CACHE_RAM": "0"},
            needs=("llama-server",),
            missing=(
                "llama-server isn't on the PATH: install llama.cpp, use --docker or --backend local, "
                "or measure a running server: --backend llamacpp --url URL"
            ),
            ready=built_in.ready,
            ready_s=1800.0,
            default_model=built_in.default_model,
            max_context=built_in.max_context,
            otherwise=None if asked or not file else built_in,
            image="ghcr.io/ggml-org/llama.cpp:server-cuda",
            image_argv=(*model, "--host", "0.0.0.0", *words),
            image_port=8080,
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """`/props`, which only llama.cpp has in this shape, then the models."""
        return dialect.get(target, "/props"), dialect.get(target, "/v1/models")

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Build, slots, and the context of one slot."""
        props = dialect.answer(tapes[0])
        settings = props.get("default_generation_settings")
        if "build_info" not in props or not isinstance(settings, dict):
            return None
        context, slots = settings.get("n_ctx"), props.get("total_slots")
        models = (dialect.listed(tapes[1]) if len(tapes) > 1 else None) or []
        return Identity(
            server="llama.cpp",
            version="" if "unknown" in str(props["build_info"]) else str(props["build_info"]),
            models=tuple(model["id"] for model in models),
            context_tokens=context if isinstance(context, int) else None,
            slots=slots if isinstance(slots, int) else None,
            details={"quantization": str(props["model_ftype"])} if props.get("model_ftype") else {},
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Always exactly the asked output; a cold request reuses nothing that its slot has cached."""
        extra = {"ignore_eos": True, "cache_prompt": request.cache != "cold"}
        return dialect.call(request, target, extra=extra | template_fields(request, target))

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, with llama.cpp's `timings`."""
        return dialect.decode(tape)

    def load_seconds(self, log: str) -> float | None:
        """The embedded server's word; `llama-server` doesn't say it."""
        found = LOADED.search(log)
        return float(found[1]) if found else None

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


def embedded(target: Target) -> Launch:
    """llama.cpp's server in a process of its own, from the xllamacpp wheel."""
    flags = ("model", "port", "slots", "context", "threads")
    made = (target.model or DEFAULT_MODEL).startswith("shape:")
    return Launch(
        argv=(
            *("{python}", "-P", "-m", "benchsuite.servers.llamacpp"),
            *(word for flag in flags for word in (f"--{flag}", f"{{{flag}}}")),
        ),
        needs=("xllamacpp",),
        missing=(
            "pip install xllamacpp (wheels exist for Linux and macOS), "
            "or measure a running server: benchsuite run --backend openai --url URL"
        ),
        ready=Call(method="GET", path="/health"),
        default_model=DEFAULT_MODEL,
        max_context=SHAPE_CONTEXT_TOKENS if made else None,
    )
