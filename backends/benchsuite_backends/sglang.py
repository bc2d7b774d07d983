"""SGLang's server."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from benchsuite.driver import Capabilities, Launch, Setting
from benchsuite.types import CacheMode, Call, Identity, Reply, Request, Tape, Target
from benchsuite.wire import calls, openai
from benchsuite.wire import sglang as dialect
from benchsuite.wire.salt import cache_salt
from benchsuite.wire.thinking import template_fields
from benchsuite_backends.starting import arguments, settings_of

CACHING: Final[Mapping[CacheMode, str]] = MappingProxyType(
    {
        "cold": "a cache_salt of its own for each request, the chat template salted too",
        "warm": "the server's own prefix cache",
        "shared": "the server's own prefix cache",
    }
)
SPOKEN: Final[Mapping[Any, str]] = MappingProxyType({True: "off", False: "on"})
"""Whether prefixes are kept, by `disable_radix_cache`."""


class SGLang:
    """Options: `endpoint=chat|completions|native`."""

    name: ClassVar[str] = "sglang"
    title: ClassVar[str] = "SGLang"
    default_url: ClassVar[str] = "http://localhost:30000"
    key_variables: ClassVar[tuple[str, ...]] = ("SGLANG_API_KEY",)
    options: ClassVar[Mapping[str, str]] = openai.OPTIONS
    # Cached tokens are told in the OpenAI dialect only with --enable-cache-report; timings only natively.
    capabilities: ClassVar[Capabilities] = Capabilities(
        exact_output=True,
        cache_off=False,
        cached_tokens=False,
        server_timings=False,
        launch=True,
        endpoints=("chat", "completions", "native"),
        caching=CACHING,
        token_ids=True,
        reasoning=True,
    )
    settings: ClassVar[Mapping[str, Setting]] = settings_of("sglang")

    def launch(self, target: Target) -> Launch | None:
        """Its server as a module, which tells cached tokens and has a page of metrics."""
        ours = {
            "max-seqs": ("--max-running-requests", "{slots}"),
            "max-len": ("--context-length", "{context}"),
        }
        command = ("-m", "sglang.launch_server", "--model-path", "{model}", "--served-model-name", "{name}")
        words = (
            *("--port", "{port}", "--enable-cache-report", "--enable-metrics"),
            *arguments(ours, self.settings, target),
        )
        return Launch(
            argv=("{python}", *command, "--host", "127.0.0.1", *words),
            env={"HF_HUB_OFFLINE": "1"},
            module="sglang",
            program="sglang",
            missing=(
                "SGLang isn't installed where benchsuite looks: pip install sglang (in any environment, its "
                "command on the PATH), --docker starts its image, or measure a running server: "
                "--backend sglang --url URL"
            ),
            # `/ready` is cheaper, but older builds haven't it.
            ready=Call(method="GET", path="/health"),
            ready_s=1800.0,
            model_form="bf16",
            open_slots=256,
            dummy_arguments=("--load-format", "dummy"),
            image="lmsysorg/sglang:latest",
            image_argv=("python3", *command, "--host", "0.0.0.0", *words),
            image_port=30000,
        )

    def identify(self, target: Target) -> tuple[Call, ...]:
        """The models, which wait for a key where there is one; its settings, under their new and old name."""
        paths = (openai.path(target, "models"), "/server_info", "/get_server_info")
        return tuple(calls.get(target, path) for path in paths)

    def identity(self, tapes: tuple[Tape, ...]) -> Identity | None:
        """Every model is owned by SGLang; the rest as far as it is told."""
        models = openai.listed(tapes[0])
        if not models or any(model.get("owned_by") != "sglang" for model in models):
            return None
        info = next((found for tape in tapes[1:] if (found := calls.answer(tape))), {})
        contexts = [model["max_model_len"] for model in models if isinstance(model.get("max_model_len"), int)]
        return Identity(
            server="SGLang",
            version=str(info.get("version", "")),
            models=tuple(model["id"] for model in models),
            context_tokens=min(contexts, default=None),
            slots=_slots(info),
            details=_details(info),
        )

    def encode(self, request: Request, target: Target) -> Call:
        """Always exactly the asked output; a cold request shares no cached block, the template's neither."""
        salt = cache_salt(request)
        thinking = template_fields(request, target, effort_field=True)
        if target.options.get("endpoint") == "native":
            return dialect.call(request, target, salt=salt)
        extra: dict[str, Any] = {"ignore_eos": True, "min_tokens": request.min_output_tokens, **thinking}
        return openai.call(request, target, extra=extra | ({"cache_salt": salt} if salt else {}))

    def decode(self, tape: Tape) -> Reply:
        """The OpenAI dialect, or its own."""
        return dialect.decode(tape)

    def tokenize(self, text: str, target: Target) -> Call:
        """`/tokenize`, as plain text: older builds know no messages there."""
        return calls.aside(target, "/tokenize", {"model": target.model, "prompt": text})

    def token_count(self, tape: Tape) -> int | None:
        """As it says."""
        count = calls.answer(tape).get("count")
        return count if isinstance(count, int) else None

    def metrics(self, target: Target) -> Call:
        """`/metrics`, there with `--enable-metrics`."""
        return calls.get(target, "/metrics")

    def reset_cache(self, target: Target) -> Call:
        """`/flush_cache`, which is refused while anything runs; newer builds wait a moment for that."""
        return calls.aside(target, "/flush_cache?timeout=10")


def _slots(info: Mapping[str, Any]) -> int | None:
    """Requests that run at once, of all copies together: as asked for, else as each copy found room for."""
    states = info.get("internal_states")
    first = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    each, copies = first.get("effective_max_running_requests_per_dp"), info.get("dp_size")
    most = (
        each * copies
        if isinstance(each, int) and isinstance(copies, int)
        else info.get("max_running_requests")
    )
    return most if isinstance(most, int) else None


def _details(info: Mapping[str, Any]) -> dict[str, str]:
    """Its settings as resolved at the start; empty where it doesn't tell them."""
    found = {
        "revision": info.get("revision"),
        "dtype": info.get("dtype"),
        "quantization": info.get("quantization"),
        "kv_cache_dtype": info.get("kv_cache_dtype"),
        "prefix_cache": SPOKEN.get(info.get("disable_radix_cache")),
        "load_format": info.get("load_format"),
        "tensor_parallel": info.get("tp_size"),
        "pipeline_parallel": info.get("pp_size"),
        "data_parallel": info.get("dp_size"),
        "device": info.get("device"),
    }
    return {name: str(value) for name, value in found.items() if value}
