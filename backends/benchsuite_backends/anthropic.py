"""Anthropic's Messages API, or a server that speaks it and lists its models the same way."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Capabilities, Driver, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import anthropic as dialect
from benchsuite.wire.batches.anthropic import AnthropicBatches
from benchsuite.wire.openai import listed


class Anthropic(AnthropicBatches):
    """Messages, with caching where a request asks for it, and batches."""

    name: ClassVar[str] = "anthropic"
    title: ClassVar[str] = "Anthropic"
    default_url: ClassVar[str] = "https://api.anthropic.com"
    key_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)
    key_page: ClassVar[str] = "https://platform.claude.com/settings/keys"
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=True,
        cached_tokens=True,
        server_timings=False,
        launch=False,
        endpoints=("messages",),
        caching=MappingProxyType(
            {
                "cold": "no cache_control: nothing is read from a cache or written to one",
                "warm": "cache_control on the whole prompt, kept for --option cache_ttl=5m|1h",
                "shared": "cache_control where the shared prefix ends, kept for --option cache_ttl=5m|1h",
            }
        ),
        # An older API version takes a temperature, for some models: --option api_version and temperature.
        sampling="no",
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The same driver; values that make no sense are refused before anything is sent."""
        dialect.checked(dict(options))
        return self

    def launch(self, target: Target) -> Launch | None:
        """Attach only."""
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, as many as one page can hold."""
        return (dialect.get(target, "models?limit=1000"),)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Its cards say `"type": "model"`, where those of the OpenAI dialect have an `object`."""
        models = listed(tapes[0])
        if not models or any(model.get("type") != "model" for model in models):
            return None
        return Identity(server="Anthropic", models=tuple(model["id"] for model in models))

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound, and thinking counts too."""
        return dialect.call(request, target)

    def decode(self, tape: Tape) -> Reply:
        """Anthropic's dialect."""
        return dialect.decode(tape)

    def tokenize(self, text: str, target: Target) -> Call:
        """`count_tokens`, as one user message."""
        return dialect.count_call(text, target)

    def token_count(self, tape: Tape) -> int | None:
        """Its `input_tokens`."""
        return dialect.token_count(tape)
