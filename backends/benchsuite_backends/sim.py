"""benchsuite's own simulator: a pretend server with known timing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import openai as dialect
from benchsuite.wire import passing


class Sim:
    """The OpenAI dialect, from a server whose timing is known."""

    name: ClassVar[str] = "sim"
    title: ClassVar[str] = "simulator"
    default_url: ClassVar[str] = "http://127.0.0.1:8089"
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True, cache_off=True, cached_tokens=True, server_timings=False, launch=True
    )

    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def launch(self, target: Target) -> Launch | None:
        """The simulator with its own defaults, in a process of its own."""
        return Launch(
            argv=("{python}", "-P", "-m", "benchsuite.simulator", "--config", '{"port": {port}}'),
            missing="the simulator comes with benchsuite: install it again",
            ready=Call(method="GET", path="/version"),
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """`/version`, which names the simulator, then its models."""
        return dialect.get(target, "/version"), dialect.get(target, "/v1/models")

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """The simulator says its own name."""
        said = dialect.answer(tapes[0])
        if said.get("server") != "benchsuite-sim":
            return None
        models = (dialect.listed(tapes[1]) if len(tapes) > 1 else None) or []
        return Identity(
            server="benchsuite-sim",
            version=str(said.get("version", "")),
            models=tuple(model["id"] for model in models),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Exactly the asked output where it may not end before; a cold request finds nothing cached."""
        extra = passing.endless(request) | {"cache_prompt": request.cache != "cold"}
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect."""
        return dialect.decode(tape)
