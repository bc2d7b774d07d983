"""The drivers against the conformance kit, and against what real engines sent in November 2026.

The facts were counted in the recordings themselves. The engines' model had random weights: its
words mean nothing.
"""

from pathlib import Path
from typing import Any

import pytest

from benchsuite.driver import load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, load_tape, request, tape
from benchsuite.types import Tape, Target
from benchsuite_backends.llamacpp import LlamaCpp
from benchsuite_backends.local import Local
from benchsuite_backends.mlx import MLX as MLXDriver
from benchsuite_backends.openai import OpenAI
from benchsuite_backends.sim import Sim
from benchsuite_backends.transformers import Transformers
from benchsuite_backends.vllm import VLLM as VLLMDriver

FOLDER = Path(__file__).parent / "recordings"
URL = "http://127.0.0.1:8000"
CHAT: dict[str, Any] = {"events": 32, "prompt_tokens": 19, "output_tokens": 32, "finish_reason": "length"}
PROMPT: dict[str, Any] = {**CHAT, "prompt_tokens": 469}
SHORT: dict[str, Any] = {"events": 4, "output_tokens": 4, "finish_reason": "length"}
WHOLE: dict[str, Any] = {"prompt_tokens": 19, "output_tokens": 8, "finish_reason": "length"}


def recorded(name: str) -> Tape:
    return load_tape(FOLDER / f"{name}.http")


def heard(name: str, first: str = "", last: str = "", **facts: Any) -> Recording:
    return Recording(name=name, tape=recorded(name), first_text=first, last_text=last, **facts)


def refused(name: str, kind: str) -> Recording:
    return heard(name, error_kind=kind, complete=False)


VLLM = (
    heard("vllm/chat_stream", " sep", "ader", **CHAT, cached_tokens=0),
    heard("vllm/completion_stream", " st", " *", **SHORT, prompt_tokens=469, cached_tokens=0),
    heard("vllm/completion_stream_repeat", " st", "\\'\"", **PROMPT, cached_tokens=384),
    heard("vllm/chat_nostream", **WHOLE, cached_tokens=0),
    refused("vllm/err_toolong", "context_length"),
    refused("vllm/err_badmodel", "not_found"),
    refused("vllm/err_badjson", "bad_request"),
)
LLAMA_CPP = (
    heard("xllamacpp/chat_stream", " sep", "wer", **CHAT, cached_tokens=0),
    heard("xllamacpp/completion_stream", " st", "tails", **PROMPT, cached_tokens=0),
    heard("xllamacpp/chat_stream_nousage", " sep", ".", events=4, finish_reason="length"),
    heard("xllamacpp/chat_nostream", **WHOLE, cached_tokens=18),
    heard("xllamacpp/err_badmodel", " sep", " conflict", **SHORT, prompt_tokens=11, cached_tokens=3),
    refused("xllamacpp/err_toolong", "context_length"),
    refused("xllamacpp/err_badjson", "bad_request"),
)
MLX = (
    heard("mlx/chat_stream", "sep", "ader", **CHAT, cached_tokens=0),
    heard("mlx/completion_stream", "st", "fn", **PROMPT, cached_tokens=0),
    heard("mlx/chat_nostream", **WHOLE, cached_tokens=18),
    heard("mlx/err_toolong", "DE", "isible", **SHORT, prompt_tokens=101, cached_tokens=0),
    refused("mlx/err_badmodel", "not_found"),
    refused("mlx/err_badjson", "bad_request"),
)
TRANSFORMERS = (
    heard("transformers/chat_stream", " sep", "ader", **CHAT),
    heard("transformers/completion_stream", " st", "fn", **PROMPT),
    heard("transformers/chat_nostream", **WHOLE),
    heard("transformers/err_toolong", "DE", "me", **SHORT, prompt_tokens=101),
    refused("transformers/err_badmodel", "bad_request"),
    refused("transformers/err_badjson", "server_error"),
)
LLAMA_CPP_IDENTITY = (recorded("xllamacpp/props"), recorded("xllamacpp/models"))
SIM_VERSION = tape(b'{"version":"1.0","server":"benchsuite-sim"}', headers=[("server", "benchsuite-sim")])


class TestOpenAI(DriverConformance):
    driver = OpenAI()
    target = Target(backend="openai", url=URL, model="m", key=KEY)
    recordings = VLLM + LLAMA_CPP + MLX + TRANSFORMERS
    identity_tapes = (recorded("vllm/models"),)
    unobserved = {
        "cached_tokens": "OpenAI reports them, not every server of this dialect",
        "server_timings": "OpenAI reports them in a header, not every server of this dialect",
        "sampling": "only OpenAI's own reasoning models refuse a temperature",
    }


class TestLocal(DriverConformance):
    driver = Local()
    target = Target(backend="local", url=URL, model="m")
    recordings = LLAMA_CPP
    identity_tapes = LLAMA_CPP_IDENTITY


class TestLlamaCpp(DriverConformance):
    driver = LlamaCpp()
    target = Target(backend="llamacpp", url=URL, model="m", key=KEY)
    recordings = LLAMA_CPP
    identity_tapes = LLAMA_CPP_IDENTITY


class TestVLLM(DriverConformance):
    driver = VLLMDriver()
    target = Target(backend="vllm", url=URL, model="m", key=KEY)
    recordings = VLLM
    unobserved = {"cached_tokens": "only with --enable-prompt-tokens-details, as benchsuite starts it"}
    identity_tapes = (recorded("vllm/models"), recorded("vllm/version"), recorded("vllm/server_info"))


class TestMLX(DriverConformance):
    driver = MLXDriver()
    target = Target(backend="mlx", url=URL, model="m")
    recordings = MLX
    identity_tapes = (recorded("mlx/models"), recorded("mlx/health"))


class TestTransformers(DriverConformance):
    driver = Transformers()
    target = Target(backend="transformers", url=URL, model="m")
    recordings = TRANSFORMERS
    identity_tapes = (recorded("transformers/openapi"),)


class TestSim(DriverConformance):
    driver = Sim()
    target = Target(backend="sim", url=URL, model="m")
    recordings = VLLM[:1]
    identity_tapes = (SIM_VERSION, recorded("vllm/models"))


def first_token_ms(name: str) -> float:
    return OpenAI().decode(recorded(name)).arrival_ns[0] / 1e6


def test_roles_and_comments_are_no_first_token() -> None:
    assert recorded("transformers/chat_stream").read_ns[0] == 20_760_000
    assert first_token_ms("transformers/chat_stream") == 290.92
    assert recorded("mlx/chat_stream").body.startswith(b": keepalive")
    assert first_token_ms("mlx/chat_stream") == 1871.77
    assert first_token_ms("vllm/chat_stream") == 75.69
    assert first_token_ms("xllamacpp/chat_stream") == 671.65


def test_llama_cpps_own_timings_are_kept() -> None:
    timings = Local().decode(recorded("xllamacpp/chat_stream")).server_timings
    assert (timings["prompt_ms"], timings["predicted_n"], len(timings)) == (669.856, 32.0, 9)


def test_a_url_with_a_version_has_no_health_beside_it() -> None:
    paths = [call.path for call in OpenAI().identify(Target(backend="openai", url=URL))]
    assert paths == ["/v1/models", "/health"]
    paths = [call.path for call in OpenAI().identify(Target(backend="openai", url=f"{URL}/v1"))]
    assert paths == ["/models"]


def test_exact_output_and_cache_are_asked_for_where_the_backend_can() -> None:
    bare = Target(backend="x", url=URL, model="m")
    told = Target(backend="x", url=URL, model="m", options={"ignore_eos": "true"})
    assert b"ignore_eos" not in OpenAI().encode(request(), bare).body
    with pytest.raises(UsageError, match="ignore_eos is true or false, not 'yes'"):
        load("openai", {"ignore_eos": "yes"})
    assert b'"ignore_eos":true,"min_tokens":16' in OpenAI().encode(request(), told).body
    for driver in (Local(), Sim()):
        assert b'"ignore_eos":true,"cache_prompt":false' in driver.encode(request(), bare).body
        assert b'"cache_prompt":true' in driver.encode(request(cache="warm"), bare).body
