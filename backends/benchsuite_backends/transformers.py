"""Hugging Face's own server, `transformers serve`."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from benchsuite.driver import OWN_WORDS, Capabilities, Launch, Setting, caching
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import openai as dialect
from benchsuite.wire import passing
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import launch_of, settings_of

OWN_PATHS = {"/v1/chat/completions", "/load_model", "/reset"}
"""Paths that no other server has together."""


class Transformers:
    """The OpenAI dialect, held to a length by a generation config of each request."""

    name: ClassVar[str] = "transformers"
    title: ClassVar[str] = "transformers serve"
    default_url: ClassVar[str] = "http://localhost:8000"
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        # Without continuous batching, whose paged cache shares its blocks, no prompt is kept (5.23).
        caching=caching(
            "only where it was started with --engine batching=on; hits aren't told",
            cold=f"{OWN_WORDS}; it keeps nothing unless it batches",
        ),
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("transformers")

    def launch(self, target: Target) -> Launch | None:
        """Its server, pinned to one model, as it comes."""
        return launch_of("transformers", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """Its description: its list of models fails where nothing was downloaded."""
        return (dialect.get(target, "/openapi.json"),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """It tells neither its version nor its model; a request that names none gets the one it has."""
        paths = dialect.answer(tapes[0]).get("paths")
        known = isinstance(paths, dict) and paths.keys() >= OWN_PATHS
        return Identity(server="transformers") if known else None

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output, by a generation config that forbids an earlier end, where it may not end.

        It passes no form of an answer on: a UsageError.
        """
        if request.json_schema:
            raise UsageError("transformers serve takes no JSON schema; leave it out")
        extra: dict[str, Any] = template_fields(request, target)
        if passing.is_forced(request):
            extra["generation_config"] = json.dumps({"min_new_tokens": request.min_output_tokens})
        if "/" not in target.model and not request.model:
            # A shape's or a folder's name, which is ours: null is the model that it was started with.
            extra["model"] = None
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect; its end is the finish reason."""
        return dialect.decode(tape)
