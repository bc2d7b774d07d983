"""llama.cpp's server: the embedded engine, or one that already runs."""

from typing import ClassVar

from benchsuite.driver import Capabilities, Launch
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import openai as dialect

DEFAULT_MODEL = "shape:5m"
SHAPE_CONTEXT_TOKENS = 8192
"""The context of models made on the spot."""


class Local:
    """Options: `endpoint=chat|completions`."""

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "llama.cpp (embedded)"
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True, cache_off=True, cached_tokens=True, server_timings=True, launch=True
    )

    def launch(self, target: Target) -> Launch | None:
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
        extra = {"ignore_eos": True, "cache_prompt": request.cache == "warm"}
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, with llama.cpp's `timings`."""
        return dialect.decode(tape)
