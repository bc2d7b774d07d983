"""Every installed driver knows its own engine, and takes no other for it.

Four engines were recorded; the others answer here as their sources and documents say (November 2026): each
has the pages that its own driver asks for, those that others' drivers ask for, and its own way of having
no page.
"""

import contextlib
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import pytest

from benchsuite.driver import backends, load
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.process import running
from benchsuite.testing import load_tape, tape
from benchsuite.types import Target

FOLDER = Path(__file__).parent / "recordings"
URL = "http://127.0.0.1:8000"
RECORDED = {"vllm": "vllm", "mlx": "mlx", "transformers": "transformers", "llamacpp": "xllamacpp"}
PAGES = {
    "/v1/models": "models",
    "/props": "props",
    "/health": "health",
    "/version": "version",
    "/server_info": "server_info",
    "/openapi.json": "openapi",
}
UVICORN = ("server", "uvicorn")


def models(owner, *names):
    return {
        "object": "list",
        "data": [{"id": n, "object": "model", "created": 1, "owned_by": owner} for n in names],
    }


SAID = {
    "ollama": {
        "/": b"Ollama is running",
        "/api/version": {"version": "0.33.0"},
        "/api/ps": {"models": []},
        "/api/tags": {
            "models": [{"name": "qwen3:8b", "model": "qwen3:8b", "size": 1, "details": {"format": "gguf"}}]
        },
        "/v1/models": models("library", "qwen3:8b"),
        "": (404, b"404 page not found"),
    },
    "lmstudio": {
        "/api/v1/models": {
            "models": [
                {
                    "type": "llm",
                    "publisher": "qwen",
                    "key": "qwen3-8b",
                    "display_name": "Qwen3 8B",
                    "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                    "size_bytes": 1,
                    "params_string": "8B",
                    "loaded_instances": [
                        {"id": "qwen3-8b", "config": {"context_length": 4096, "parallel": 4}}
                    ],
                    "max_context_length": 40960,
                }
            ]
        },
        "/api/v0/models": {"object": "list", "data": [{"id": "qwen3-8b", "object": "model", "type": "llm"}]},
        "/v1/models": models("organization_owner", "qwen3-8b"),
        # From memory, not checked: it has no 404.
        "": (200, b'{"error":"Unexpected endpoint or method. (GET /x). Returning 200 anyway"}'),
    },
    "tgi": {
        "/info": {
            "model_id": "HuggingFaceTB/SmolLM2",
            "model_sha": "a",
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": 128,
            "max_best_of": 2,
            "max_stop_sequences": 4,
            "max_input_tokens": 1024,
            "max_total_tokens": 2048,
            "validation_workers": 2,
            "max_client_batch_size": 4,
            "router": "text-generation-router",
            "version": "3.3.7",
            "sha": "b",
            "docker_label": "sha-b",
        },
        "/health": b"",
        "/ping": b"",
        "/v1/models": models("HuggingFaceTB/SmolLM2", "HuggingFaceTB/SmolLM2"),
        "": (404, b""),
    },
    "sglang": {
        "/v1/models": models("sglang", "m"),
        "/model_info": {
            "model_path": "m",
            "tokenizer_path": "m",
            "is_generation": True,
            "weight_version": "d",
        },
        "/get_model_info": {"model_path": "m", "tokenizer_path": "m", "is_generation": True},
        "/server_info": {
            "model_path": "m",
            "version": "0.5.23",
            "max_running_requests": 8,
            "context_length": 4096,
        },
        "/get_server_info": {"model_path": "m", "version": "0.5.23", "max_running_requests": 8},
        "/api/tags": {"models": [{"name": "m", "model": "m"}]},
        "/health": b"",
        "/ready": b"",
        "": (404, b'{"detail":"Not Found"}'),
    },
    "tensorrt": {
        "/v1/models": models("tensorrt_llm", "m"),
        "/version": {"version": "1.2.0"},
        "/health": b"",
        "": (404, b'{"detail":"Not Found"}'),
    },
    "anthropic": {
        "/v1/models": {
            "data": [
                {"type": "model", "id": "claude-x", "display_name": "X", "created_at": "2026-10-21T00:00:00Z"}
            ],
            "has_more": False,
            "first_id": "claude-x",
            "last_id": "claude-x",
        },
        "": (404, b'{"type":"error","error":{"type":"not_found_error","message":"Not found"}}'),
    },
    "gemini": {
        path: {
            "models": [
                {"name": "models/gemini-x", "version": "1", "inputTokenLimit": 1, "outputTokenLimit": 1}
            ]
        }
        for path in ("/v1beta/models", "/v1/models", "/models")
    },
    "openai": {
        "/v1/models": models("system", "gpt-x"),
        "": (
            404,
            b'{"error":{"message":"Invalid URL","type":"invalid_request_error","param":null,"code":null}}',
        ),
    },
    "somebody": {"/v1/models": models("me", "m"), "/health": {"status": "ok"}, "": (404, b"")},
}
SERVED = {
    "sglang": [UVICORN],
    "tensorrt": [UVICORN],
    "openai": [("server", "cloudflare"), ("openai-version", "x")],
}
ENGINES = (*RECORDED, *SAID)
OWN = {
    "local": "llamacpp",
    "sim": "sim",
    **{name: name for name in ENGINES if name not in {"openai", "somebody"}},
}
"""Drivers of one engine, or of one API."""


def answers(engine, path):
    """What an engine answers to a GET; its own kind of 404 where it has no such page."""
    plain = path.partition("?")[0]
    if engine in RECORDED:
        file = FOLDER / RECORDED[engine] / f"{PAGES.get(plain, 'nothing')}.http"
        return load_tape(file if file.exists() else file.with_name("err_404.http"))
    said = SAID[engine].get(plain)
    status, body = (200, said) if said is not None else SAID[engine].get("", (404, b"{}"))
    sent = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return tape(sent, status=status, headers=SERVED.get(engine, []))


def taken(name, engine):
    """Does the driver believe that this is its engine?"""
    driver = load(name)
    calls = driver.identify(Target(backend=name, url=URL))
    return driver.identity(tuple(answers(engine, call.path) for call in calls)) is not None


def generic():
    """Drivers of a dialect, not of one engine: whoever speaks it is welcome."""
    return {name for name, entry in backends().items() if "presets" in entry.value} | {"openai", "http"}


def test_no_driver_is_forgotten():
    ours = {name for name, entry in backends().items() if "benchsuite_backends" in entry.value}
    assert ours == {*OWN} | generic()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", OWN)
def test_a_driver_takes_its_own_engine_and_no_other(name, engine):
    assert taken(name, engine) == (OWN[name] == engine)


@pytest.mark.parametrize("owner", ["vllm", "sglang", "tensorrt_llm", "llamacpp"])
def test_a_gateway_that_lists_an_engines_models_beside_others_is_not_that_engine(owner):
    driver = load(owner.removesuffix("_llm"))
    calls = driver.identify(Target(backend=driver.name, url=f"{URL}/v1"))
    for cards, known in ((models(owner, "a", "b"), True), (models(owner, "a"), False)):
        cards["data"] += [] if known else models("me", "b")["data"]
        first, *others = (tape(msgspec.json.encode(cards)), *(tape(b"{}", status=404) for _ in calls[1:]))
        assert (driver.identity((first, *others)) is not None) == known


@pytest.mark.parametrize("engine", ENGINES)
def test_below_v1_llamacpp_knows_its_own_models_and_no_others(engine):
    driver = load("llamacpp")
    calls = driver.identify(Target(backend="llamacpp", url=f"{URL}/v1"))
    found = driver.identity(tuple(answers(engine, f"/v1{call.path}") for call in calls))
    assert (found is not None) == (engine == "llamacpp")
    if found is not None:
        assert (found.server, found.models, found.context_tokens) == ("llama.cpp", ("bench",), 4096)


@pytest.mark.parametrize("engine", sorted({*ENGINES} - {"anthropic", "gemini"}))
def test_the_openai_driver_takes_whoever_speaks_its_dialect(engine):
    assert taken("openai", engine)


IMITATED = ("", "vllm", "sglang", "tensorrt", "llamacpp", "mlx", "transformers")
"""Whom the simulator can sound like, of those that differ in their pages."""


@pytest.fixture(scope="module")
def simulator():
    """`simulator(engine)`: the URL of one that imitates it; each is started once."""
    with contextlib.ExitStack() as stack:
        known = {}

        def url(engine):
            if engine not in known:
                known[engine] = stack.enter_context(running(SimConfig(engine=engine))).url
            return known[engine]

        yield url


def asked(url, call):
    request = urllib.request.Request(url + call.path, call.body or None, call.headers, method=call.method)
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        headers = [(name.lower(), value) for name, value in answer.headers.items()]
        return tape(answer.read(), status=answer.status, headers=headers)


def found_at(name, url):
    driver = load(name)
    return driver.identity(tuple(asked(url, call) for call in driver.identify(Target(backend=name, url=url))))


@pytest.mark.parametrize("engine", IMITATED)
def test_the_simulator_is_taken_for_whom_it_imitates_and_no_other(simulator, engine):
    own = {name: OWN[name] for name in OWN if OWN[name] in IMITATED}
    taken = {name for name in own if found_at(name, simulator(engine)) is not None}
    assert taken == {name for name in own if own[name] == engine}


@pytest.mark.parametrize("name", ["anthropic", "gemini", "lmstudio", "ollama", "openai", "sim", "tgi"])
def test_the_simulator_serves_every_dialect_with_a_path_of_its_own(simulator, name):
    assert found_at(name, simulator("")) is not None
