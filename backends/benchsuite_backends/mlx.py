"""MLX's server, `mlx_lm.server`."""

from collections.abc import Mapping
from typing import Any, ClassVar

from benchsuite.driver import AFTER_TEMPLATE, Capabilities, Launch, Setting, caching
from benchsuite.errors import UsageError
from benchsuite.types import Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import openai as dialect
from benchsuite.wire import passing
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import launch_of, settings_of

LOADED = "default_model"
"""MLX's own name for the model that it was started with; any other name makes it load that one."""
CARD = {"id", "object", "created"}
"""All that MLX says of a model, fewer facts than any other server."""


class MLX:
    """The OpenAI dialect, greedy without a seed, from the one model that it was started with."""

    name: ClassVar[str] = "mlx"
    title: ClassVar[str] = "MLX"
    default_url: ClassVar[str] = "http://localhost:8080"
    key_variables: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = dialect.OPTIONS
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=False,
        cache_off=False,
        cached_tokens=True,
        server_timings=False,
        launch=True,
        caching=caching("the server's own cache of its last prompts", cold=AFTER_TEMPLATE),
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("mlx")

    def launch(self, target: Target) -> Launch | None:
        """Its server with everything but the number of answers as it comes."""
        return launch_of("mlx", target)

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, and health below a server's root."""
        models = dialect.path(target, "models")
        paths = (models, "/health") if models == "/v1/models" else (models,)
        return tuple(dialect.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Python's plain HTTP server, and a list of models that says little or, without a cache, nothing."""
        header = next((value for name, value in tapes[0].headers if name.lower() == "server"), "")
        listed = dialect.listed(tapes[0])
        empty = tapes[0].status == 200 and not tapes[0].body
        if not header.startswith("BaseHTTP/") or (listed is None and not empty):
            return None
        models = listed or []
        healthy = len(tapes) == 1 or dialect.answer(tapes[1]) == {"status": "ok"}
        if not healthy or any(set(model) != CARD for model in models):
            return None
        # Of a model that lies in a folder it tells the path; others in its list are only on the disk, so
        # the list doesn't say which one it serves.
        paths = [model["id"] for model in models if model["id"].startswith("/")]
        return Identity(server="MLX", details={"model": paths[-1]} if paths else {})

    def encode(self, request: Request, target: Target) -> Call:
        """Output length is an upper bound. No seed: it would make MLX answer one request at a time."""
        if target.extra_body.get("seed") is not None:
            raise UsageError(
                "--extra-body: a seed makes MLX answer one request at a time; leave it out, it is greedy"
            )
        for word in sorted(passing.wanted(request) & {"json_schema", "images"}):
            raise UsageError(f"MLX takes no {passing.SPOKEN[word].removeprefix('a ')}; leave it out")
        extra: dict[str, Any] = template_fields(request, target)
        if "/" not in target.model and not request.model:
            # A name without a slash is a shape's or a folder's: ours for the one that it has loaded.
            extra["model"] = LOADED
        return dialect.call(request, target, extra=extra)

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect."""
        return dialect.decode(tape)
