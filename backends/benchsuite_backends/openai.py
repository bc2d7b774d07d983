"""OpenAI itself, and any server that speaks its dialect, hosted or your own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from benchsuite.driver import Capabilities, Driver, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import hosted, passing, responses
from benchsuite.wire import openai as dialect
from benchsuite.wire.batches.openai import OpenAIBatches

UNNAMED = "OpenAI-compatible server"
FRONTS = ("uvicorn", "hypercorn", "granian", "gunicorn", "basehttp", "nginx", "cloudflare", "envoy", "caddy")
"""Values of the `server` header that name an HTTP library or a proxy, not an engine."""
OWN_HEADER = "openai-version"
"""A header that only OpenAI's own answers have."""


class OpenAI(OpenAIBatches):
    """Chat, completions or Responses, with what OpenAI and Azure want at their URLs, and batches."""

    name: ClassVar[str] = "openai"
    title: ClassVar[str] = UNNAMED
    default_url: ClassVar[str] = "https://api.openai.com/v1"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    key_page: ClassVar[str] = "https://platform.openai.com/api-keys"
    options: ClassVar[Mapping[str, str]] = MappingProxyType(
        {**hosted.OPTIONS, "ignore_eos": "true: the server can be held to an exact output length"}
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=False,
        endpoints=("chat", "completions", "responses"),
        caching=MappingProxyType(
            {
                "cold": "words of its own; at OpenAI from gpt-5.6 on caching is off (prompt_cache_options)",
                "warm": "the server's own prefix cache; at OpenAI with a prompt_cache_key of its own",
                "shared": "the server's own prefix cache; at OpenAI with a prompt_cache_key of its own",
            }
        ),
        sampling="by model",
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

    def configured(self, options: Mapping[str, str]) -> Driver:
        """The same driver; values that mean nothing are refused before anything is sent."""
        hosted.checked(dict(options))
        return self

    def launch(self, target: Target) -> Launch | None:
        """Attach only."""
        return None

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The list of models; and where the URL is a server's root, its health, as not all can list."""
        models = dialect.path(target, "models")
        paths = (models, "/health") if models == "/v1/models" else (models,)
        return tuple(dialect.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """A list of models, or health from a server that fails to list them (MLX, transformers)."""
        models = dialect.listed(tapes[0])
        headers = {name.lower(): value for name, value in tapes[0].headers}
        header = "OpenAI" if OWN_HEADER in headers else headers.get("server", "")
        server = "" if header.lower().startswith(FRONTS) else header
        if models is not None:
            return dialect.described(models, server, UNNAMED)
        healthy = len(tapes) > 1 and dialect.answer(tapes[1]).get("status") == "ok"
        refused = tapes[0].status in (401, 403)
        return Identity(server=server or UNNAMED) if healthy and not refused else None

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound, unless `ignore_eos=true` says that the server can force it."""
        held = target.options.get("ignore_eos") == "true"
        return hosted.call(request, target, extra=passing.forced(request) if held else {})

    def decode(self, tape: Tape) -> Reply:
        """Chat, completions or Responses, whichever the answer is."""
        return responses.decode(tape) if responses.speaks(tape) else dialect.decode(tape)
