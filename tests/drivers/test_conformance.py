"""The three drivers against the conformance kit, and against what real engines sent in November 2026.

The facts were counted in the recordings themselves. The engines' model had random weights: its
words mean nothing.
"""

from pathlib import Path
from typing import Any

from benchsuite.testing import KEY, DriverConformance, Recording, load_tape, request, tape
from benchsuite.types import Identity, Tape, Target
from benchsuite_backends.local import Local
from benchsuite_backends.openai import OpenAI
from benchsuite_backends.sim import Sim

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
OTHERS = (
    heard("mlx/chat_stream", "sep", "ader", **CHAT, cached_tokens=0),
    heard("mlx/completion_stream", "st", "fn", **PROMPT, cached_tokens=0),
    heard("mlx/chat_nostream", **WHOLE, cached_tokens=18),
    heard("mlx/err_toolong", "DE", "isible", **SHORT, prompt_tokens=101, cached_tokens=0),
    refused("mlx/err_badmodel", "not_found"),
    refused("mlx/err_badjson", "bad_request"),
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
    recordings = VLLM + LLAMA_CPP + OTHERS
    identity_tapes = (recorded("vllm/models"),)


class TestLocal(DriverConformance):
    driver = Local()
    target = Target(backend="local", url=URL, model="m")
    recordings = LLAMA_CPP
    identity_tapes = LLAMA_CPP_IDENTITY


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


def test_each_engine_says_who_it_is() -> None:
    openai = OpenAI()
    assert openai.identity((recorded("vllm/models"),)) == Identity(
        server="vllm", models=("bench",), context_tokens=4096
    )
    assert openai.identity((recorded("xllamacpp/models"),)) == Identity(
        server="llama.cpp", models=("bench",), context_tokens=4096
    )
    no_list = (recorded("transformers/models"), recorded("transformers/health"))
    assert openai.identity(no_list) == Identity(server="OpenAI-compatible server")
    assert openai.identity((tape(b"", status=401), recorded("transformers/health"))) is None
    assert openai.identity((tape(b"", status=404),)) is None
    assert Local().identity(LLAMA_CPP_IDENTITY) == Identity(
        server="llama.cpp",
        version="",
        models=("bench",),
        context_tokens=4096,
        slots=4,
        details={"quantization": "Q8_0"},
    )
    assert Local().identity((recorded("vllm/props"), recorded("vllm/models"))) is None
    assert Sim().identity((tape(b'{"version":"0.32.0"}'), recorded("vllm/models"))) is None
    found = Sim().identity((SIM_VERSION, recorded("vllm/models")))
    assert found == Identity(server="benchsuite-sim", version="1.0", models=("bench",))


def test_a_url_with_a_version_has_no_health_beside_it() -> None:
    paths = [call.path for call in OpenAI().identify(Target(backend="openai", url=URL))]
    assert paths == ["/v1/models", "/health"]
    paths = [call.path for call in OpenAI().identify(Target(backend="openai", url=f"{URL}/v1"))]
    assert paths == ["/models"]


def test_exact_output_and_cache_are_asked_for_where_the_backend_can() -> None:
    bare = Target(backend="x", url=URL, model="m")
    told = Target(backend="x", url=URL, model="m", options={"ignore_eos": "true"})
    assert b"ignore_eos" not in OpenAI().encode(request(), bare).body
    assert b'"ignore_eos":true,"min_tokens":16' in OpenAI().encode(request(), told).body
    for driver in (Local(), Sim()):
        assert b'"ignore_eos":true,"cache_prompt":false' in driver.encode(request(), bare).body
        assert b'"cache_prompt":true' in driver.encode(request(cache="warm"), bare).body


def test_launch_commands() -> None:
    launch = Local().launch(Target(backend="local", url="", model="m.gguf"))
    assert launch is not None
    assert " ".join(launch.argv) == (
        "{python} -P -m benchsuite.servers.llamacpp --model {model} --port {port}"
        " --slots {slots} --context {context} --threads {threads}"
    )
    assert (launch.needs, launch.default_model) == (("xllamacpp",), "shape:5m")
