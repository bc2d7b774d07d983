"""What the drivers of self-hosted engines can do besides answering: thinking, caching, counting, images."""

import json

import msgspec
import pytest

from benchsuite.driver import HasMetrics, ResetsCache, Tokenizes, is_variable, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, request, tape
from benchsuite.types import Target

URL = "http://127.0.0.1:8000"


def body(backend, *, reasoning="", cache="cold", **options):
    asked = msgspec.structs.replace(request("a b", cache=cache), reasoning=reasoning)
    target = Target(backend=backend, url=URL, model="org/m", options=options)
    return json.loads(load(backend).encode(asked, target).body)


@pytest.mark.parametrize("backend", ["vllm", "llamacpp", "local", "mlx", "transformers"])
def test_thinking_is_a_word_to_the_chat_template(backend):
    plain = body(backend)
    off = body(backend, reasoning="off")
    assert off == plain | {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}
    high = body(backend, reasoning="high")
    words = {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}
    beside = {"reasoning_effort": "high"} if backend == "vllm" else {}
    assert high == plain | {"chat_template_kwargs": words} | beside
    with pytest.raises(UsageError, match="--endpoint chat"):
        body(backend, reasoning="low", endpoint="completions")
    assert load(backend).capabilities.reasoning


def test_only_cold_prompts_of_llama_cpp_leave_its_cache_alone():
    found = {cache: body("llamacpp", cache=cache)["cache_prompt"] for cache in ("cold", "warm", "shared")}
    assert found == {"cold": False, "warm": True, "shared": True}


def test_only_cold_prompts_to_vllm_are_salted():
    assert "cache_salt" in body("vllm")
    assert not any("cache_salt" in body("vllm", cache=cache) for cache in ("warm", "shared"))


def test_a_seed_for_mlx_is_refused_since_it_ends_batching():
    target = Target(backend="mlx", url=URL, model="org/m", extra_body={"seed": 1})
    with pytest.raises(UsageError, match="one request at a time"):
        load("mlx").encode(request(), target)
    none = msgspec.structs.replace(target, extra_body={"seed": None, "top_k": 1})
    assert json.loads(load("mlx").encode(request(), none).body)["top_k"] == 1


def test_vllm_counts_a_message_or_a_plain_text():
    driver = load("vllm")
    assert isinstance(driver, Tokenizes)
    target = Target(backend="vllm", url=URL, model="m", key=KEY, extra_body={"top_k": 1})
    chat = driver.tokenize("a b", target)
    assert chat.path == "/tokenize" and KEY in chat.headers["Authorization"]
    assert json.loads(chat.body) == {"model": "m", "messages": [{"role": "user", "content": "a b"}]}
    plain = driver.tokenize("a b", msgspec.structs.replace(target, options={"endpoint": "completions"}))
    assert json.loads(plain.body) == {"model": "m", "prompt": "a b"}
    assert driver.token_count(tape(b'{"count":3,"max_model_len":9,"tokens":[1,2,3]}')) == 3
    assert driver.token_count(tape(b'{"count":3}', status=404)) is None


def test_vllms_cache_is_reset_by_a_post_without_a_body():
    driver = load("vllm")
    assert isinstance(driver, ResetsCache) and isinstance(driver, HasMetrics)
    call = driver.reset_cache(Target(backend="vllm", url=URL, extra_body={"top_k": 1}))
    assert (call.method, call.path, call.body) == ("POST", "/reset_prefix_cache", b"")


@pytest.mark.parametrize("backend", ["llamacpp", "local"])
def test_llama_cpp_counts_a_plain_text(backend):
    driver = load(backend)
    assert isinstance(driver, Tokenizes) and isinstance(driver, HasMetrics)
    assert not isinstance(driver, ResetsCache)
    call = driver.tokenize("a b", Target(backend=backend, url=URL, extra_body={"top_k": 1}))
    assert (call.path, json.loads(call.body)) == ("/tokenize", {"content": "a b", "add_special": True})
    assert driver.token_count(tape(b'{"tokens":[1,5,6]}')) == 3
    assert driver.token_count(tape(b'{"tokens":3}')) is None


def test_vllm_tells_its_models_revision():
    models = b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm","max_model_len":9}]}'
    info = b'{"vllm_config":{"model_config":{"revision":"abc123"}}}'
    found = load("vllm").identity((tape(models), tape(b'{"version":"0.33.0"}'), tape(info)))
    assert found is not None and found.details == {"revision": "abc123"}


def test_every_cache_word_of_every_engine_is_explained():
    for name in ("vllm", "llamacpp", "local", "mlx", "transformers", "sglang", "tgi", "tensorrt"):
        caching = load(name).capabilities.caching
        assert set(caching) == {"cold", "warm", "shared"}
        assert all(10 < len(words) < 100 for words in caching.values()), name


@pytest.mark.parametrize(
    ("backend", "model", "image", "argv"),
    [
        (
            "vllm",
            "org/m",
            "vllm/vllm-openai:latest",
            "--model {model} --served-model-name {name} --host 0.0.0.0 --port {port}"
            " --enable-prompt-tokens-details --generation-config vllm --max-model-len {context}"
            " --max-num-seqs 9",
        ),
        (
            "llamacpp",
            "m.gguf",
            "ghcr.io/ggml-org/llama.cpp:server-cuda",
            "--model {model} --alias {name} --host 0.0.0.0 --port {port} --threads-http 448 --metrics"
            " --ctx-size {context_total} --threads {threads} --parallel 9",
        ),
    ],
)
def test_images_get_the_words_of_the_command(backend, model, image, argv):
    target = Target(backend=backend, url="", model=model, engine={"max-seqs": "9"})
    found = load(backend).launch(target)
    assert found is not None
    assert (found.image, " ".join(found.image_argv)) == (image, argv)


def test_variables_are_told_from_arguments():
    assert all(map(is_variable, ("A=1", "OLLAMA_NUM_PARALLEL={slots}", "X_2=")))
    assert not any(map(is_variable, ("--A=1", "a=1", "A", "=1", '{"A": "B=1"}', "org/M=1")))


@pytest.mark.parametrize("backend", ["openai", "groq", "vllm", "ollama", "lmstudio", "gemini"])
def test_a_temperature_that_would_not_be_sent_is_refused(backend):
    assert '"temperature":0' in json.dumps(body(backend, temperature="0"), separators=(",", ":"))
    assert "temperature" not in json.dumps(body(backend, temperature="none"))
    with pytest.raises(UsageError, match="is 0 or none, not"):
        body(backend, temperature="0.7")
