"""Pages that say who a server is: versions, models, health, and what one engine alone has."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite import __version__
from benchsuite.simulator.asked import Message, Refused, decoded, texts, words
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialects import anthropic
from benchsuite.simulator.dialects.gemini import Gemini
from benchsuite.simulator.engines import ENGINES
from benchsuite.simulator.http import SERVER, Page, json
from benchsuite.simulator.site import Answering, Site
from benchsuite.simulator.tokens import token_id, tokens_of

VERSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"vllm": "0.33.0+sim", "sglang": "0.5.23+sim", "tensorrt": "1.2.0+sim", "llamacpp": "b7000-sim+sim"}
)
"""The versions that were imitated."""

_SILENT_HEALTH: Final = ("vllm", "sglang", "tensorrt", "tgi")
_SLOTS: Final = 256
"""What is told where everybody is served."""


class _Text(msgspec.Struct, gc=False):
    """The fields of every engine's question for tokens."""

    content: str | None = None
    inputs: str | None = None
    prompt: str | list[str] | None = None
    messages: list[Message] | None = None


_TEXT = msgspec.json.Decoder(_Text)


def register(site: Site, gemini: Gemini) -> None:
    """Those that each server has, and those of the engine that is imitated."""
    config, engine = site.config, site.config.engine
    health = Page() if engine in _SILENT_HEALTH else json({"status": "ok"})
    site.page("GET", "/health", lambda incoming, found: health, public=True)
    cards = _cards(site)

    def models(incoming: Incoming, found: dict[str, str]) -> Page:
        if "anthropic-version" in incoming.headers:
            return json(anthropic.models(config))
        if "x-goog-api-key" in incoming.headers:
            return gemini.list_models(incoming, found)
        return json(cards)

    site.page("GET", "/v1/models", models)
    version = {"version": VERSIONS[engine]} if engine in ("vllm", "tensorrt") else None
    if not engine:
        version = {"version": __version__, "server": SERVER}
    if version:
        site.page("GET", "/version", _always(version), public=True)
    if engine in ("", "vllm", "sglang", "llamacpp", "tgi"):
        site.page("POST", "/tokenize", lambda incoming, found: json(_tokens(site, incoming)))
    own = {"vllm": _vllm, "sglang": _sglang, "tensorrt": _tensorrt, "llamacpp": _llamacpp}.get(engine)
    if own:
        own(site)
    elif engine == "transformers":
        paths = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/load_model", "/reset")
        described = {"openapi": "3.1.0", "info": {"title": "FastAPI", "version": "0.1.0+sim"}}
        site.page("GET", "/openapi.json", _always(described | {"paths": {path: {} for path in paths}}))


def _always(value: object) -> Answering:
    page = json(value)
    return lambda incoming, found: page


def _cards(site: Site) -> dict[str, object]:
    """The list of models, with as much of each as the engine tells."""
    config = site.config
    card: dict[str, object] = {"id": config.model, "object": "model", "created": int(time.time())}
    if owner := ENGINES[config.engine].owner:
        card["owned_by"] = owner
    if config.engine in ("", "vllm", "sglang"):
        card["max_model_len"] = config.context_tokens
    if config.engine in ("vllm", "sglang"):
        card["root"] = config.model
    if config.engine == "llamacpp":
        card["meta"] = {"n_ctx": config.context_tokens, "n_ctx_train": config.context_tokens, "ftype": "Q8_0"}
    return {"object": "list", "data": [card, *({**card, "id": name} for name in config.adapters)]}


def _vllm(site: Site) -> None:
    config = site.config
    settings = {
        "model_config": {
            "dtype": "torch.bfloat16",
            "quantization": None,
            "max_model_len": config.context_tokens,
        },
        "cache_config": {
            "block_size": config.cache_block_tokens,
            "cache_dtype": "auto",
            "enable_prefix_caching": config.prefix_cache,
        },
        "parallel_config": {
            **{"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": 1},
        },
        "scheduler_config": {
            "max_num_seqs": config.slots or _SLOTS,
            "stream_interval": config.tokens_per_event,
        },
        "device_config": {"device": "cpu"},
        "load_config": {"load_format": "dummy"},
    }
    info = {"vllm_config": settings, "vllm_env": {}, "system_env": {}}
    site.page("GET", "/server_info", _always(info))
    site.page("GET", "/ping", lambda incoming, found: Page(), public=True)
    site.page("GET", "/load", lambda incoming, found: json({"server_load": site.load.running}), public=True)

    def reset(incoming: Incoming, found: dict[str, str]) -> Page:
        if site.cache:
            site.cache.clear()
        return json({"success": True})

    site.page("POST", "/reset_prefix_cache", reset)


def _sglang(site: Site) -> None:
    config = site.config
    info = {
        "version": VERSIONS["sglang"],
        "model_path": config.model,
        "served_model_name": config.model,
        "tp_size": 1,
        "dp_size": 1,
        "dtype": "bfloat16",
        "context_length": config.context_tokens,
        "max_running_requests": config.slots or _SLOTS,
        "disable_radix_cache": not config.prefix_cache,
        "stream_interval": config.tokens_per_event,
        "internal_states": [{}],
    }
    model = {"model_path": config.model, "tokenizer_path": config.model, "is_generation": True}
    for path in ("/server_info", "/get_server_info"):
        site.page("GET", path, _always(info))
    for path in ("/model_info", "/get_model_info"):
        site.page("GET", path, _always(model))
    for path in ("/ready", "/health_generate"):
        site.page("GET", path, lambda incoming, found: Page(), public=True)

    def flush(incoming: Incoming, found: dict[str, str]) -> Page:
        if site.load.running or site.load.waiting:
            return Page(
                status=400,
                body=b"Cache not flushed because there are pending requests.\n",
                media="text/plain",
            )
        if site.cache:
            site.cache.clear()
        return Page(body=b"Cache flushed.\n", media="text/plain; charset=utf-8")

    for method in ("GET", "POST"):
        site.page(method, "/flush_cache", flush)


def _tensorrt(site: Site) -> None:
    for path in ("/metrics", "/perf_metrics"):
        site.page("GET", path, _always([]), public=True)


def _llamacpp(site: Site) -> None:
    config = site.config
    slots = config.slots or _SLOTS
    settings = {"n_ctx": config.context_tokens, "params": {}}
    props = {
        "default_generation_settings": settings,
        "total_slots": slots,
        "model_alias": config.model,
        "model_path": config.model,
        "model_ftype": "Q8_0",
        "build_info": VERSIONS["llamacpp"],
    }
    site.page("GET", "/props", _always(props))

    def each(incoming: Incoming, found: dict[str, str]) -> Page:
        busy = site.load.running
        about = {"n_ctx": config.context_tokens, "speculative": False}
        return json([{"id": i, "is_processing": i < busy, **about} for i in range(slots)])

    site.page("GET", "/slots", each)


def _tokens(site: Site, incoming: Incoming) -> Any:
    """In the shape of the engine, or where there is none, in that of whoever asks so."""
    engine, said = site.config.engine, decoded(_TEXT, incoming.body)
    if said.content is not None and engine in ("", "llamacpp"):
        return {"tokens": [token_id(word) for word in said.content.split()]}
    if said.inputs is not None and engine in ("", "tgi"):
        return tokens_of(said.inputs)
    template = 0
    if said.messages is not None:
        said_words = words(text for message in said.messages for text in texts(message.content))
        template = site.config.template_tokens
    elif said.prompt is not None and engine in ("", "vllm", "sglang"):
        said_words = words([said.prompt] if isinstance(said.prompt, str) else said.prompt)
    else:
        raise Refused("invalid", "there is no text to tokenize")
    tokens = [0] * template + [token_id(word) for word in said_words]
    return {"count": len(tokens), "max_model_len": site.config.context_tokens, "tokens": tokens}
