"""Any server that speaks the OpenAI dialect, hosted or your own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import openai as dialect

UNNAMED = "OpenAI-compatible server"
FRONTS = ("uvicorn", "hypercorn", "granian", "gunicorn", "basehttp", "nginx", "cloudflare", "envoy", "caddy")
"""Values of the `server` header that name an HTTP library or a proxy, not an engine."""


class OpenAI:
    """Options: `endpoint=chat|completions`, `ignore_eos=true`, `max_tokens_field=…`, `temperature=none`."""

    name: ClassVar[str] = "openai"
    title: ClassVar[str] = UNNAMED
    default_url: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    options: ClassVar[tuple[str, ...]] = (*dialect.OPTIONS, "ignore_eos")
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False, cache_off=False, cached_tokens=False, server_timings=False, launch=False
    )

    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({})

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
        header = next((value for name, value in tapes[0].headers if name.lower() == "server"), "")
        server = "" if header.lower().startswith(FRONTS) else header
        if models is not None:
            return _identity(models, server)
        healthy = len(tapes) > 1 and dialect.answer(tapes[1]).get("status") == "ok"
        refused = tapes[0].status in (401, 403)
        return Identity(server=server or UNNAMED) if healthy and not refused else None

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound, unless `ignore_eos=true` says that the server can force it."""
        if target.options.get("ignore_eos") != "true":
            return dialect.call(request, target, extra={})
        return dialect.call(
            request, target, extra={"ignore_eos": True, "min_tokens": request.min_output_tokens}
        )

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect."""
        return dialect.decode(tape)


def _identity(models: list[dict[str, Any]], server: str) -> Identity:
    """Owner and context count only where all models have the same."""
    owners = {str(model.get("owned_by") or UNNAMED) for model in models}
    contexts = {_context(model) for model in models}
    return Identity(
        server=server or (owners.pop() if len(owners) == 1 else UNNAMED),
        models=tuple(model["id"] for model in models),
        context_tokens=contexts.pop() if len(contexts) == 1 else None,
    )


def _context(model: dict[str, Any]) -> int | None:
    """Context in tokens as vLLM, hosted gateways, or llama.cpp (its slot's, else the model's) name it."""
    meta = model.get("meta")
    more = meta if isinstance(meta, dict) else {}
    found = (
        model.get("max_model_len"),
        model.get("context_length"),
        more.get("n_ctx"),
        more.get("n_ctx_train"),
    )
    return next((value for value in found if isinstance(value, int)), None)
