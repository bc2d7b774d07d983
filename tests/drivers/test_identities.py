"""Each driver knows its own engine by what that engine really answers, and takes no other for it."""

from pathlib import Path

import pytest

from benchsuite.driver import backends, load
from benchsuite.testing import load_tape, tape
from benchsuite.types import Identity, Target

FOLDER = Path(__file__).parent / "recordings"
ENGINES = {"vllm": "vllm", "mlx": "mlx", "transformers": "transformers", "llamacpp": "xllamacpp"}
OPEN = {"openai", "http"} | {name for name, entry in backends().items() if ".presets:" in entry.value}
"""Backends that take any list of models, or anything: a vendor's own address says who it is."""
FILES = {
    "/v1/models": "models",
    "/props": "props",
    "/health": "health",
    "/version": "version",
    "/server_info?config_format=json": "server_info",
    "/openapi.json": "openapi",
}


def recorded(name):
    return load_tape(FOLDER / f"{name}.http")


def asked(driver, engine, url="http://127.0.0.1:8000", **instead):
    """What an engine answers to the driver's questions; its 404 where it has no such path."""
    found = []
    for call in driver.identify(Target(backend=driver.name, url=url)):
        file = FILES.get(call.path, "err_404")
        name = f"{ENGINES[engine]}/{instead.get(file, file)}"
        has = (FOLDER / f"{name}.http").exists()
        found.append(recorded(name if has else f"{ENGINES[engine]}/err_404"))
    return tuple(found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", sorted({*backends()} - OPEN))
def test_a_driver_takes_its_own_engine_and_no_other(name, engine):
    found = load(name).identity(asked(load(name), engine))
    own = ENGINES[engine] == ENGINES.get({"local": "llamacpp"}.get(name, name))
    assert (found is not None) == own


@pytest.mark.parametrize("name", sorted({*backends()} - OPEN - {"sim"}))
def test_the_simulator_is_taken_for_no_engine(name):
    models = b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"benchsuite"}]}'
    version = b'{"version":"1.0","server":"benchsuite-sim"}'
    headers = [("server", "benchsuite-sim")]
    answers = {"/v1/models": models, "/version": version, "/health": b'{"status":"ok"}'}
    driver = load(name)
    calls = driver.identify(Target(backend=name, url="http://127.0.0.1:8000"))
    heard = [
        tape(answers.get(call.path, b"{}"), status=200 if call.path in answers else 404, headers=headers)
        for call in calls
    ]
    assert driver.identity(tuple(heard)) is None


def test_what_vllm_tells():
    assert load("vllm").identity(asked(load("vllm"), "vllm")) == Identity(
        server="vLLM",
        version="0.32.0",
        models=("bench",),
        context_tokens=4096,
        slots=8,
        details={
            "dtype": "bfloat16",
            "kv_cache_dtype": "auto",
            "prefix_cache": "on",
            "load_format": "auto",
            "tensor_parallel": "1",
            "pipeline_parallel": "1",
            "data_parallel": "1",
            "device": "cpu",
        },
    )


def test_a_vllm_out_of_development_mode_tells_less():
    tapes = (recorded("vllm/models"), recorded("vllm/version"), recorded("vllm/err_404"))
    expected = Identity(server="vLLM", version="0.32.0", models=("bench",), context_tokens=4096)
    assert load("vllm").identity(tapes) == expected
    assert load("vllm").identity(tapes[:1]) == Identity(server="vLLM", models=("bench",), context_tokens=4096)


def test_vllm_names_its_gpu():
    system = b'"system_env":{"nvidia_gpu_models":"GPU 0: NVIDIA L4\\nGPU 1: NVIDIA L4"}'
    info = tape(b'{"vllm_config":{"model_config":{"quantization":"fp8"}},' + system + b"}")
    found = load("vllm").identity((recorded("vllm/models"), recorded("vllm/version"), info))
    assert found is not None
    assert found.details == {"quantization": "fp8", "gpu": "NVIDIA L4"}


def test_mlx_is_known_with_and_without_a_list_of_models():
    mlx = load("mlx")
    listed = mlx.identity(asked(mlx, "mlx"))
    expected = Identity(server="MLX", details={"model": "/models/benchsuite-5m"})
    assert listed == expected
    nothing = mlx.identity(asked(mlx, "mlx", models="models_nocache"))
    assert nothing == Identity(server="MLX")


def test_another_python_server_is_not_mlx():
    mlx = load("mlx")
    headers = [("server", "BaseHTTP/0.6 Python/3.11.7")]
    card = b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"me"}]}'
    health = recorded("mlx/health")
    assert mlx.identity((tape(card, headers=headers), health)) is None
    assert mlx.identity((recorded("mlx/models"), tape(b'{"healthy":true}', headers=headers))) is None
    for body in (b"", recorded("mlx/models").body):
        assert mlx.identity((tape(body, headers=[("server", "uvicorn")]), health)) is None


def test_transformers_tells_nothing_but_that_it_is_there():
    driver = load("transformers")
    assert driver.identity(asked(driver, "transformers")) == Identity(server="transformers")


@pytest.mark.parametrize("name", ["llamacpp", "local"])
def test_what_llama_cpp_tells(name):
    assert load(name).identity(asked(load(name), "llamacpp")) == Identity(
        server="llama.cpp",
        version="",
        models=("bench",),
        context_tokens=4096,
        slots=4,
        details={"quantization": "Q8_0", "parameters": "49.5M"},
    )


def test_the_openai_driver_takes_all_of_them():
    driver = load("openai")
    found = {engine: driver.identity(asked(driver, engine)) for engine in ENGINES}
    assert found["vllm"] == Identity(server="vllm", models=("bench",), context_tokens=4096)
    assert found["llamacpp"] == Identity(server="llama.cpp", models=("bench",), context_tokens=4096)
    assert found["transformers"] == Identity(server="OpenAI-compatible server")
    assert found["mlx"] is not None
    health = recorded("transformers/health")
    assert driver.identity((tape(b"", status=401), health)) is None
    assert driver.identity((tape(b"", status=404),)) is None


def test_the_simulator_says_its_own_name():
    version = tape(b'{"version":"1.0","server":"benchsuite-sim"}')
    found = load("sim").identity((version, recorded("vllm/models")))
    assert found == Identity(server="benchsuite-sim", version="1.0", models=("bench",))


def test_below_a_version_there_is_no_health_to_ask():
    for name in ("mlx", "openai"):
        calls = load(name).identify(Target(backend=name, url="http://127.0.0.1:8080/v1"))
        assert [call.path for call in calls] == ["/models"]
