"""Whom the simulator sounds like: pages, chunks, times, metrics, and the drivers that know them."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from benchsuite.cli.simulate import simulate
from benchsuite.driver import load
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.simulator.config import Engine
from benchsuite.simulator.engines import ENGINES
from benchsuite.testing import tape
from benchsuite.types import Target

FAST = {"ttft_ms": 0, "itl_ms": 0}
USER = [{"role": "user", "content": "one two three"}]
CHAT = {"model": "m", "messages": USER, "max_tokens": 3, "stream": True}
USAGE = {"stream_options": {"include_usage": True}}


def ask(url, path, body=None, headers=None, method=""):
    """Status, headers and body of one request."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        data = None if body is None else json.dumps(body).encode()
        client.request(method or ("GET" if body is None else "POST"), path, data, headers or {})
        response = client.getresponse()
        return response.status, response.headers, response.read()
    finally:
        client.close()


def page(url, path, body=None, headers=None):
    status, _headers, data = ask(url, path, body, headers)
    assert status == 200, data
    return json.loads(data)


def chunks(engine, body, **config):
    with running(SimConfig(**{**FAST, "engine": engine, **config})) as simulator:
        data = ask(simulator.url, "/v1/chat/completions", body)[2].decode()
    events = [event.removeprefix("data: ") for event in data.split("\n\n")[:-1]]
    done = events[-1] == "[DONE]"
    return [json.loads(event) for event in events[: -1 if done else None]], done


def test_every_engine_has_its_ways_and_a_place_on_the_command_line():
    choices = next(option.type.choices for option in simulate.params if option.name == "engine")
    assert ["", *choices] == list(ENGINES) == list(Engine.__args__)


# ---------------------------------------------------------------- chunks


@pytest.mark.parametrize(
    ("engine", "deltas", "ends"),
    [
        (
            "vllm",
            [{"role": "assistant", "content": ""}, {"reasoning": " amber"}, {"content": " amber"}],
            [None, None, None, "length"],
        ),
        (
            "sglang",
            [
                {"role": "assistant", "content": "", "reasoning_content": None},
                {"reasoning_content": " amber"},
                {"content": " amber"},
            ],
            [None, None, None, None, "length"],
        ),
        (
            "tensorrt",
            [
                {"role": "assistant", "content": ""},
                {"reasoning_content": " amber", "reasoning": " amber"},
                {"content": " amber"},
            ],
            [None, None, None, "length"],
        ),
        (
            "llamacpp",
            [{"role": "assistant", "content": None}, {"reasoning_content": " amber"}, {"content": " amber"}],
            [None, None, None, None, "length"],
        ),
        (
            "mlx",
            [{"role": "assistant", "reasoning": " amber"}, {"role": "assistant", "content": " amber"}],
            [None, None, None, "length"],
        ),
        (
            "transformers",
            [{"role": "assistant"}, {"reasoning_content": " amber"}, {"content": " amber"}],
            [None, None, None, None, "length"],
        ),
        (
            "ollama",
            [{"role": "assistant", "reasoning": " amber"}, {"role": "assistant", "content": " amber"}],
            [None, None, None, "length"],
        ),
        ("tgi", [{"role": "assistant", "content": " amber"}], [None, None, "length"]),
        (
            "openai",
            [{"role": "assistant", "content": "", "refusal": None}, {"content": " amber"}],
            [None, None, None, "length"],
        ),
    ],
)
def test_chunks_are_shaped_as_the_engine_shapes_them(engine, deltas, ends):
    said, done = chunks(engine, CHAT, reasoning_tokens=1)
    choices = [one["choices"][0] for one in said]
    assert [choice["delta"] for choice in choices][: len(deltas)] == deltas
    assert [choice["finish_reason"] for choice in choices] == ends
    assert done == (engine != "transformers")


def test_only_openai_pads_its_chunks_and_only_unless_told_not_to():
    assert all("obfuscation" in one for one in chunks("openai", CHAT)[0])
    off = {"stream_options": {"include_obfuscation": False}}
    assert not any("obfuscation" in one for one in chunks("openai", CHAT | off)[0])
    assert not any("obfuscation" in one for one in chunks("vllm", CHAT)[0])


def test_hidden_reasoning_takes_its_time_before_the_first_chunk(tmp_path):
    path = str(tmp_path / "truth")
    with running(
        SimConfig(engine="openai", ttft_ms=10, itl_ms=5, reasoning_tokens=2, truth_path=path)
    ) as simulator:
        data = ask(simulator.url, "/v1/chat/completions", CHAT | USAGE)[2]
    (entry,) = read_truth(path)
    assert (len(entry.events_ns), entry.output_tokens) == (1, 3)
    waited_us = (entry.events_ns[0] - entry.received_ns) // 1000 - entry.lateness_us[0]
    assert round(waited_us / 1000) == 20
    assert b'"completion_tokens":3' in data and b'"reasoning_tokens":2' in data


def test_running_counts_are_in_each_chunk_where_they_are_asked_for():
    body = CHAT | {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    said = chunks("vllm", body, reasoning_tokens=1)[0]
    assert [one["usage"]["completion_tokens"] for one in said] == [0, 1, 2, 3, 3]


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("itl_cv", [0.0, 0.5])
def test_an_engine_tells_the_times_that_were_planned(itl_cv, tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(engine="llamacpp", ttft_ms=20, itl_ms=4, itl_cv=itl_cv, truth_path=path)
    with running(config) as simulator:
        data = ask(simulator.url, "/v1/chat/completions", CHAT | {"max_tokens": 8} | USAGE)[2].decode()
    timings = json.loads(data.split("data: ")[-2])["timings"]
    (entry,) = read_truth(path)
    due_us = [at_ns / 1e3 - late for at_ns, late in zip(entry.events_ns, entry.lateness_us, strict=True)]
    assert timings["predicted_ms"] * 1e3 == pytest.approx(due_us[-1] - due_us[0], abs=3)
    assert timings["prompt_ms"] == pytest.approx(20)
    assert (timings["cache_n"], timings["prompt_n"], timings["predicted_n"]) == (0, 10, 8)


def test_who_waits_in_line_is_told_for_how_long(tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(engine="vllm", timings=True, slots=1, ttft_ms=30, itl_ms=1, truth_path=path)
    with running(config) as simulator:
        parts = urlsplit(simulator.url)
        clients = [http.client.HTTPConnection(parts.hostname, parts.port) for _ in range(2)]
        for client in clients:
            client.request("POST", "/v1/chat/completions", json.dumps(CHAT | USAGE))
        said = [client.getresponse().read().decode() for client in clients]
        for client in clients:
            client.close()
    metrics = sorted(
        (json.loads(one.split("data: ")[-2])["metrics"] for one in said), key=lambda one: one["queue_time_ms"]
    )
    _first, second = sorted(read_truth(path), key=lambda entry: entry.end_ns)
    assert metrics[0]["queue_time_ms"] < 30 < metrics[1]["queue_time_ms"]
    wait_ms = (second.events_ns[0] - second.received_ns) / 1e6 - second.lateness_us[0] / 1e3 - 30
    assert metrics[1]["queue_time_ms"] == pytest.approx(wait_ms, abs=0.01)
    assert {one["generation_time_ms"] for one in metrics} == {2.0}


@pytest.mark.parametrize(
    ("engine", "asked", "told"),
    [
        ("vllm", None, False),
        ("vllm", True, True),
        ("llamacpp", None, True),
        ("llamacpp", False, False),
        ("", None, False),
    ],
)
def test_times_are_told_as_the_engine_does_or_as_asked(engine, asked, told):
    said = chunks(engine, CHAT | USAGE, timings=asked)[0]
    assert any("timings" in one or "metrics" in one for one in said) == told


def test_openai_tells_its_time_in_a_header_of_whole_answers():
    with running(SimConfig(engine="openai", ttft_ms=20, itl_ms=5)) as simulator:
        headers = ask(simulator.url, "/v1/chat/completions", CHAT | {"stream": False})[1]
        responses = {"model": "m", "input": "x", "max_output_tokens": 3}
        more = ask(simulator.url, "/v1/responses", responses)[1]
    assert headers["openai-processing-ms"] == more["openai-processing-ms"] == "30"


# ---------------------------------------------------------------- who it is


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ("", "openai")])
def test_each_driver_knows_the_engine_that_is_imitated_by_its_own_questions(engine):
    driver = load(engine)
    target = Target(backend=engine, url="http://127.0.0.1:1", model="")
    with running(SimConfig(engine=engine, model="mine", context_tokens=4096, slots=3)) as simulator:
        heard = []
        for call in driver.identify(target):
            parts = urlsplit(simulator.url)
            client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
            client.request(call.method, call.path, call.body or None, dict(call.headers))
            response = client.getresponse()
            data = response.read()
            heard.append(tape(data, status=response.status, headers=list(response.headers.items())))
            client.close()
    found = driver.identity(tuple(heard))
    assert found is not None
    if found.version:
        assert found.version.endswith("+sim")
    if engine in ("vllm", "sglang", "llamacpp"):
        assert (found.context_tokens, found.slots, found.models) == (4096, 3, ("mine",))


def test_nobody_takes_a_server_that_imitates_nobody_for_one_with_pages_of_its_own():
    with running(SimConfig()) as simulator:
        for path in ("/props", "/slots", "/server_info", "/openapi.json", "/metrics", "/ready"):
            assert ask(simulator.url, path)[0] == 404
        assert page(simulator.url, "/version")["server"] == "benchsuite-sim"
        own = {"/api/version": "version", "/info": "version"}
        assert all(page(simulator.url, path)[field].endswith("+sim") for path, field in own.items())
        assert ask(simulator.url, "/")[2] == b"Ollama is running"
        (card,) = page(simulator.url, "/v1beta/models")["models"]
        assert (card["name"], card["version"][-4:]) == ("models/sim-model", "+sim")
        messages = page(simulator.url, "/v1/models", headers={"anthropic-version": "2026-10-21"})
        assert [model["type"] for model in messages["data"]] == ["model"]


def test_tokens_are_counted_in_the_shape_of_whoever_asks():
    with running(SimConfig()) as simulator:
        url = simulator.url
        vllm = page(url, "/tokenize", {"prompt": "one two one"})
        assert (vllm["count"], len(vllm["tokens"]), vllm["tokens"][0]) == (3, 3, vllm["tokens"][2])
        assert page(url, "/tokenize", {"messages": USER})["count"] == 10
        assert page(url, "/tokenize", {"content": "one two one"}) == {"tokens": vllm["tokens"]}
        tgi = page(url, "/tokenize", {"inputs": "one two"})
        assert [(token["text"], token["start"], token["stop"]) for token in tgi] == [
            ("one", 0, 3),
            ("two", 4, 7),
        ]


@pytest.mark.parametrize(
    ("engine", "path", "names"),
    [
        ("vllm", "/metrics", ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")),
        ("sglang", "/metrics", ("sglang:prompt_tokens_total", "sglang:generation_tokens_total")),
        ("llamacpp", "/metrics", ("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total")),
        ("tgi", "/metrics", ("tgi_request_input_length_sum", "tgi_request_generated_tokens_sum")),
        ("tensorrt", "/prometheus/metrics", ("trtllm_request_success_total",)),
    ],
)
def test_metrics_count_what_was_served(engine, path, names):
    with running(SimConfig(engine=engine, **FAST)) as simulator:
        for _ in range(2):
            ask(simulator.url, "/v1/chat/completions", CHAT)
        text = ask(simulator.url, path)[2].decode()
    values = dict(line.rpartition(" ")[::2] for line in text.splitlines() if not line.startswith("#"))
    found = [next(float(value) for key, value in values.items() if key.startswith(name)) for name in names]
    assert found == ([20.0, 6.0] if len(names) == 2 else [2.0])


@pytest.mark.parametrize(
    ("engine", "field", "exact"),
    [
        ("vllm", {"ignore_eos": True}, True),
        ("vllm", {"min_tokens": 3}, True),
        ("vllm", {"min_tokens": 2}, False),
        ("transformers", {"generation_config": '{"min_new_tokens": 3}'}, True),
        ("mlx", {"logit_bias": {"2": -1e9}}, True),
        ("ollama", {"ignore_eos": True}, False),
        ("lmstudio", {"ignore_eos": True}, False),
        ("tgi", {"ignore_eos": True}, False),
    ],
)
def test_an_answer_is_exact_where_the_engine_has_a_way_to_force_it(engine, field, exact):
    said = chunks(engine, CHAT | field, natural_stop_rate=1.0)[0]
    ends = [one["choices"][0]["finish_reason"] for one in said]
    assert ends[-1] == ("length" if exact else "stop")
