"""Hugging Face's Text Generation Inference (TGI)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import CacheMode, Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai
from benchsuite.wire import tgi as dialect
from benchsuite_backends.starting import arguments, settings_of, variables_first

IMAGE = "ghcr.io/huggingface/text-generation-inference:3.3.7"
BASE_MODEL = "tgi"
"""TGI's own name for the model it was started with; it takes any other for a LoRA adapter's."""

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "each prompt begins with words of its own; the chat template before them stays cached",
        "warm": "the server's own prefix cache, where it has one; hits aren't told",
        "shared": "the server's own prefix cache, where it has one; hits aren't told",
    }
)


class TGI:
    """Options: `endpoint=native|chat|completions`."""

    name: ClassVar[str] = "tgi"
    title: ClassVar[str] = "TGI"
    default_url: ClassVar[str] = "http://localhost:3000"
    key_variables: ClassVar[tuple[str, ...]] = ("TGI_API_KEY",)
    options: ClassVar[Mapping[str, str]] = openai.OPTIONS
    # Only whole answers carry its timings.
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        endpoints=("native", "chat", "completions"),
        caching=CACHING,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("tgi")

    def launch(self, target: Target) -> Launch | None:
        """`text-generation-launcher`; where it isn't, the image if Docker has it already."""
        # Beyond its most concurrent requests (128 by itself) it refuses, which a queue is not.
        asked = arguments({"max-queue": ("--max-concurrent-requests", "4096")}, self.settings, target)
        variables, words = variables_first(asked)
        words = ("--model-id", "{model}", "--port", "{port}", *words)
        native = Launch(
            argv=("env", *variables, "text-generation-launcher", "--hostname", "127.0.0.1", *words),
            env={"HF_HUB_OFFLINE": "1", "USAGE_STATS": "off"},
            needs=("text-generation-launcher",),
            missing=(
                "text-generation-launcher isn't on the PATH: --docker starts TGI's image, "
                "or measure a running server: --backend tgi --url URL"
            ),
            ready=Call(method="GET", path="/health"),
            ready_s=1800.0,
            model_form="bf16",
            open_slots=64,
            image=IMAGE,
            image_argv=(*variables, "--hostname", "0.0.0.0", *words),
            image_port=80,
            image_cache="/data",
        )
        return msgspec.structs.replace(
            native, otherwise=msgspec.structs.replace(native, argv=(), needs=("docker",))
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """`/info`, which only TGI has in this shape."""
        return (calls.get(target, "/info"),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """It has no slots: what fits into memory is served at once."""
        info = calls.answer(tapes[0])
        model, context = info.get("model_id"), info.get("max_total_tokens")
        if not isinstance(model, str) or not isinstance(context, int):
            return None
        details = {"revision": info.get("model_sha"), "dtype": info.get("model_dtype")}
        return Identity(
            server="TGI",
            version=str(info.get("version", "")),
            models=(model,),
            context_tokens=context,
            details={name: str(value) for name, value in details.items() if value},
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound: no door of TGI's can be told to go on."""
        if target.options.get("endpoint", "native") == "native":
            return dialect.call(request, target)
        return openai.call(request, target, extra={"model": BASE_MODEL})

    def decode(self, tape: Tape) -> Reply:
        """Its own dialect, or the OpenAI one."""
        return dialect.decode(tape)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`, as plain text."""
        return dialect.tokenize_call(text, target)

    def token_count(self, tape: Tape) -> int | None:
        """The length of the list."""
        return dialect.token_count(tape)

    def metrics(self, target: Target) -> Call:
        """`/metrics`."""
        return calls.get(target, "/metrics")
