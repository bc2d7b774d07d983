"""Hugging Face's Text Generation Inference (TGI)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from benchsuite.driver import AFTER_TEMPLATE, Capabilities, Launch, Setting, caching
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai
from benchsuite.wire import tgi as dialect
from benchsuite_backends.starting import launch_of, settings_of

BASE_MODEL = "tgi"
"""TGI's own name for the model it was started with; it takes any other for a LoRA adapter's."""


class TGI:
    """Its own `/generate_stream`, or the OpenAI dialect; neither can be held to a length."""

    name: ClassVar[str] = "tgi"
    title: ClassVar[str] = "TGI"
    default_url: ClassVar[str] = "http://localhost:3000"
    key_variables: ClassVar[tuple[str, ...]] = ("TGI_API_KEY",)
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    # Only whole answers carry its timings.
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        endpoints=("native", "chat", "completions"),
        caching=caching(
            "the server's own prefix cache, where it has one; hits aren't told", cold=AFTER_TEMPLATE
        ),
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("tgi")

    def launch(self, target: Target) -> Launch | None:
        """`text-generation-launcher`; where it isn't, the image if Docker has it already."""
        native = launch_of("tgi", target)
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
        extra: dict[str, Any] = {"model": request.model or BASE_MODEL}
        if request.json_schema:
            extra["response_format"] = dialect.grammar(request)
        return openai.call(request, target, extra=extra)

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
