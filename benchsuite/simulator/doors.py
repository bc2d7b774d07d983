"""Which dialect is behind which path."""

from benchsuite.simulator import metrics, pages
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.dialect import SIM_VERSION_SUFFIX, Dialect
from benchsuite.simulator.dialects.anthropic import Anthropic
from benchsuite.simulator.dialects.gemini import Gemini
from benchsuite.simulator.dialects.lmstudio import LMStudio
from benchsuite.simulator.dialects.ollama import Ollama
from benchsuite.simulator.dialects.openai import OpenAI
from benchsuite.simulator.dialects.responses import Responses
from benchsuite.simulator.dialects.sglang import SGLang
from benchsuite.simulator.dialects.tgi import TGI
from benchsuite.simulator.further import FURTHER
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.site import Site

_GEMINI_VERSIONS = ("v1", "v1beta", "v1alpha")
_VERTEX = "/projects/{project}/locations/{location}"


def site_of(config: SimConfig) -> Site:
    """Everything that a server of this configuration answers."""
    openai = Dialect(OpenAI(config), config)
    site = Site(config, openai)
    _openai(site, openai)
    anthropic = Dialect(Anthropic(config), config)
    site.door("/v1/messages", anthropic, "message")
    site.door("/v1/messages/count_tokens", anthropic, "count")
    site.below("/v1/messages", anthropic)
    gemini = _gemini(site)
    _ollama(site)
    _lmstudio(site)
    _tgi(site)
    pages.register(site, gemini)
    metrics.register(site)
    for register in FURTHER:
        register(site)
    return site


def _openai(site: Site, openai: Dialect) -> None:
    """With and without `/v1`, since some servers have both."""
    responses = Dialect(Responses(site.config), site.config)
    for prefix in ("", "/v1"):
        site.door(f"{prefix}/chat/completions", openai, "chat")
        site.door(f"{prefix}/completions", openai, "text")
        site.door(f"{prefix}/responses", responses, "response")
    site.below("/v1/responses", responses)


def _gemini(site: Site) -> Gemini:
    """Google's paths and Vertex's."""
    api = Gemini(site.config)
    dialect = Dialect(api, site.config)
    site.below("/v1beta", dialect)
    for version in _GEMINI_VERSIONS:
        for within in (f"/{version}/models", f"/{version}{_VERTEX}/publishers/google/models"):
            for verb in ("generateContent", "streamGenerateContent", "countTokens"):
                site.door(f"{within}/{{model}}:{verb}", dialect, verb)
        for base in (f"/{version}", f"/{version}{_VERTEX}"):
            contents = f"{base}/cachedContents"
            site.page("POST", contents, api.create_cached, dialect=dialect)
            site.page("GET", contents, api.list_cached, dialect=dialect)
            site.page("GET", f"{contents}/{{name}}", api.show_cached, dialect=dialect)
            site.page("DELETE", f"{contents}/{{name}}", api.delete_cached, dialect=dialect)
        site.page("GET", f"/{version}/models/{{model}}", api.show_model, dialect=dialect)
        if version != "v1":
            site.page("GET", f"/{version}/models", api.list_models, dialect=dialect)
    return api


def _ollama(site: Site) -> None:
    api = Ollama(site.config)
    dialect = Dialect(api, site.config)
    site.below("/api/", dialect)
    site.door("/api/chat", dialect, "chat")
    site.door("/api/generate", dialect, "generate")
    version = json({"version": f"0.33.0{SIM_VERSION_SUFFIX}"})
    site.page("GET", "/api/version", lambda incoming, found: version, dialect=dialect, public=True)
    site.page("GET", "/api/tags", api.tags, dialect=dialect)
    site.page("GET", "/api/ps", api.ps, dialect=dialect)
    site.page("POST", "/api/show", api.show, dialect=dialect)
    site.page("POST", "/api/pull", api.pull, dialect=dialect)
    site.page("DELETE", "/api/delete", api.delete, dialect=dialect)
    if site.config.engine in ("", "ollama"):
        running = Page(body=b"Ollama is running", media="text/plain; charset=utf-8")
        site.page("GET", "/", lambda incoming, found: running, dialect=dialect, public=True)


def _lmstudio(site: Site) -> None:
    api = LMStudio(site.config)
    dialect = Dialect(api, site.config)
    site.below("/api/v1", dialect)
    site.door("/api/v1/chat", dialect, "chat")
    site.page("GET", "/api/v1/models", api.models, dialect=dialect)
    site.page("POST", "/api/v1/models/load", api.load, dialect=dialect)
    site.page("POST", "/api/v1/models/unload", api.unload, dialect=dialect)
    site.page("POST", "/api/v1/models/download", api.download, dialect=dialect)
    site.page("GET", "/api/v1/models/download/status", api.jobs, dialect=dialect)
    site.page("GET", "/api/v1/models/download/status/{job}", api.job, dialect=dialect)


def _tgi(site: Site) -> None:
    """And SGLang's door, which has the same path as one of TGI's."""
    api = TGI(site.config)
    dialect = Dialect(api, site.config)
    site.door("/generate_stream", dialect, "stream")
    site.door("/", dialect, "either")
    site.page("GET", "/info", api.info, dialect=dialect)
    if site.config.engine == "sglang":
        site.door("/generate", Dialect(SGLang(site.config), site.config), "generate")
    else:
        site.door("/generate", dialect, "whole")
