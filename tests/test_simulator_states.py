"""What the simulator remembers, whom it lets in, and how each dialect says no."""

import http.client
import json
import math
from urllib.parse import urlsplit

import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.simulator.doors import site_of
from benchsuite.simulator.http import Page

FAST = {"ttft_ms": 0, "itl_ms": 0}
ANTHROPIC = {"anthropic-version": "2026-10-21"}
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
GEMINI = "/v1beta/models/m:generateContent"


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


def said(url, path, body=None, headers=None, method=""):
    status, _headers, data = ask(url, path, body, headers, method)
    assert status == 200, data
    return json.loads(data)


def user(words, **more):
    return {"model": "m", "messages": [{"role": "user", "content": "word " * words}], **more}


# ---------------------------------------------------------------- caches


def test_a_salt_or_an_explicit_cache_keeps_a_prompt_from_what_is_cached():
    bodies = [
        user(33, max_tokens=1),
        user(33, max_tokens=1),
        user(33, max_tokens=1, cache_salt="a"),
        user(33, max_tokens=1, cache_salt="a"),
        user(33, max_tokens=1, prompt_cache_options={"mode": "explicit"}),
    ]
    with running(SimConfig(prefix_cache=True, **FAST)) as simulator:
        usages = [said(simulator.url, CHAT, body)["usage"] for body in bodies]
    assert [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages] == [0, 32, 0, 32, 0]


def test_short_prompts_are_not_cached_where_there_is_a_least_length():
    with running(SimConfig(prefix_cache=True, cache_min_tokens=64, **FAST)) as simulator:
        usages = [said(simulator.url, CHAT, user(n, max_tokens=1))["usage"] for n in (40, 40, 80, 80)]
    assert [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages] == [0, 0, 0, 80]


def blocks(*, mark=None, **more):
    system = {"type": "text", "text": "rule " * 25} | ({"cache_control": mark} if mark else {})
    return {"model": "m", "max_tokens": 1, "system": [system], **user(40), **more}


def test_messages_are_cached_up_to_the_last_mark_and_only_with_one(tmp_path):
    log = str(tmp_path / "truth")
    with running(SimConfig(prefix_cache=True, truth_path=log, **FAST)) as simulator:

        def usage(body):
            told = said(simulator.url, MESSAGES, body, ANTHROPIC)["usage"]
            names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
            return [told[name] for name in names], told["cache_creation"]

        five, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
        never = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
        assert usage(blocks()) == ([72, 0, 0], never)
        assert usage(blocks(mark=hour)) == ([40, 32, 0], never | {"ephemeral_1h_input_tokens": 32})
        assert usage(blocks(mark=five)) == ([40, 0, 32], never)
        assert usage(blocks(cache_control=five)) == ([8, 32, 32], never | {"ephemeral_5m_input_tokens": 32})
        assert usage(blocks()) == ([72, 0, 0], never)
    assert [entry.cached_tokens for entry in read_truth(log)] == [0, 0, 32, 32, 0]


def test_contents_are_cached_by_name_until_they_are_deleted():
    contents = [{"role": "user", "parts": [{"text": "fact " * 50}]}]
    question = {"contents": [{"role": "user", "parts": [{"text": "one two"}]}]}
    with running(SimConfig(cache_min_tokens=10, **FAST)) as simulator:
        url = simulator.url
        made = said(url, "/v1beta/cachedContents", {"model": "models/m", "contents": contents, "ttl": "60s"})
        assert made["usageMetadata"] == {"totalTokenCount": 50}
        name = made["name"]
        told = said(url, GEMINI, question | {"cachedContent": name})["usageMetadata"]
        assert (told["promptTokenCount"], told["cachedContentTokenCount"]) == (59, 50)
        assert "cachedContentTokenCount" not in said(url, GEMINI, question)["usageMetadata"]
        assert said(url, f"/v1beta/{name}")["model"] == "models/m"
        assert said(url, f"/v1beta/{name}", method="DELETE") == {}
        assert ask(url, GEMINI, question | {"cachedContent": name})[0] == 403
        short = {"model": "models/m", "contents": question["contents"]}
        status, _headers, data = ask(url, "/v1beta/cachedContents", short)
        assert (status, json.loads(data)["error"]["status"]) == (400, "INVALID_ARGUMENT")
        vertex = "/v1/projects/p/locations/global"
        made = said(url, f"{vertex}/cachedContents", {"model": "m", "contents": contents})
        assert made["name"].startswith("projects/p/locations/global/cachedContents/")
        told = said(
            url,
            f"{vertex}/publishers/google/models/m:generateContent",
            question | {"cachedContent": made["name"]},
        )
        assert told["usageMetadata"]["cachedContentTokenCount"] == 50


@pytest.mark.parametrize(("engine", "path"), [("vllm", "/reset_prefix_cache"), ("sglang", "/flush_cache")])
def test_a_cache_is_forgotten_when_its_engine_is_asked_to(engine, path):
    with running(SimConfig(engine=engine, prefix_cache=True, **FAST)) as simulator:

        def cached():
            usage = said(simulator.url, CHAT, user(33, max_tokens=1))["usage"]
            return usage["prompt_tokens_details"]["cached_tokens"]

        assert (cached(), cached()) == (0, 32)
        assert ask(simulator.url, path, {})[0] == 200
        assert cached() == 0


# ---------------------------------------------------------------- models


def test_ollama_cuts_a_prompt_silently_and_keeps_its_end(tmp_path):
    with running(SimConfig(num_ctx=100, **FAST)) as simulator:
        options = {"num_predict": 1}
        body = {"model": "m", "prompt": "word " * 300, "stream": False, "options": options}
        assert said(simulator.url, "/api/generate", body)["prompt_eval_count"] == 100
        wider = body | {"options": options | {"num_ctx": 400}}
        assert said(simulator.url, "/api/generate", wider)["prompt_eval_count"] == 307
        (loaded,) = said(simulator.url, "/api/ps")["models"]
        assert (loaded["model"], loaded["context_length"]) == ("m:latest", 400)
        assert ask(simulator.url, "/api/generate", body | {"truncate": False})[0] == 400


def test_ollama_loads_a_model_once_and_again_for_another_context(tmp_path):
    log = str(tmp_path / "truth")
    with running(SimConfig(load_ms=30, ttft_ms=1, itl_ms=0, truth_path=log)) as simulator:
        url = simulator.url

        def load_ms(**more):
            answer = said(url, "/api/chat", user(3, stream=False, **more))
            return answer.get("load_duration", 0) / 1e6

        assert load_ms() == 30
        assert load_ms() == 0
        assert load_ms(options={"num_ctx": 64}) == 30
        empty = said(url, "/api/generate", {"model": "m", "keep_alive": 0})
        assert (empty["done_reason"], said(url, "/api/ps")["models"]) == ("unload", [])
        assert said(url, "/api/chat", {"model": "m", "messages": []})["done_reason"] == "load"
        assert load_ms() == 0
    entries = read_truth(log)
    waited_ms = [
        (entry.end_ns - entry.received_ns) / 1e6 - entry.due_lateness_us_max / 1e3 for entry in entries
    ]
    assert [math.floor(waited + 0.5) for waited in waited_ms] == [31, 1, 31, 1]


def test_a_strict_ollama_has_only_what_was_pulled():
    with running(SimConfig(strict=True, model="a:1b", **FAST)) as simulator:
        url = simulator.url
        status, _headers, data = ask(url, "/api/chat", user(1) | {"model": "b"})
        assert (status, json.loads(data)) == (404, {"error": "model 'b' not found"})
        lines = [json.loads(line) for line in ask(url, "/api/pull", {"model": "b"})[2].splitlines()]
        assert (lines[0]["status"], lines[-1]["status"]) == ("pulling manifest", "success")
        assert [line["completed"] / line["total"] for line in lines if "completed" in line] == [0.5, 1.0]
        assert [model["name"] for model in said(url, "/api/tags")["models"]] == ["a:1b", "b:latest"]
        assert ask(url, "/api/chat", user(1) | {"model": "b"})[0] == 200
        assert ask(url, "/api/delete", {"model": "b"}, method="DELETE")[0] == 200
        assert ask(url, "/api/show", {"model": "b"})[0] == 404
        assert "error" in json.loads(ask(url, "/api/pull", {"model": "missing"})[2].splitlines()[-1])


def test_lm_studio_loads_unloads_and_downloads():
    with running(SimConfig(strict=True, load_ms=5, context_tokens=8192, **FAST)) as simulator:
        url = simulator.url
        ask_for = {"model": "sim-model", "context_length": 2048, "parallel": 2, "echo_load_config": True}
        loaded = said(url, "/api/v1/models/load", ask_for)
        assert (loaded["status"], loaded["load_time_seconds"]) == ("loaded", 0.005)
        (card,) = said(url, "/api/v1/models")["models"]
        (instance,) = card["loaded_instances"]
        assert (instance["config"]["context_length"], instance["config"]["parallel"]) == (2048, 2)
        assert said(url, "/api/v1/models/unload", {"instance_id": "sim-model"}) == {
            "instance_id": "sim-model"
        }
        assert ask(url, "/api/v1/models/unload", {"instance_id": "sim-model"})[0] == 404
        chat = {"model": "sim-model", "input": "one", "max_output_tokens": 1, "stream": True}
        assert b"event: model_load.end\n" in ask(url, "/api/v1/chat", chat)[2]
        assert b"event: model_load" not in ask(url, "/api/v1/chat", chat)[2]
        assert ask(url, "/api/v1/chat", chat | {"model": "new"})[0] == 404
        job = said(url, "/api/v1/models/download", {"model": "new"})
        assert job["status"] == "downloading"
        assert said(url, f"/api/v1/models/download/status/{job['job_id']}")["status"] == "completed"
        assert said(url, "/api/v1/models/download", {"model": "new"}) == {"status": "already_downloaded"}
        assert ask(url, "/api/v1/chat", chat | {"model": "new"})[0] == 200


# ---------------------------------------------------------------- refusals

TOO_LONG = {
    CHAT: user(40),
    "/v1/responses": {"model": "m", "input": "word " * 40},
    MESSAGES: user(40, max_tokens=1),
    GEMINI: {"contents": [{"parts": [{"text": "word " * 40}]}]},
    "/generate": {"inputs": "word " * 40},
    "/api/v1/chat": {"model": "m", "input": "word " * 40},
}
SHORT = {
    CHAT: user(1),
    "/v1/responses": {"model": "m", "input": "word"},
    MESSAGES: user(1, max_tokens=1),
    GEMINI: {"contents": [{"parts": [{"text": "word"}]}]},
    "/generate": {"inputs": "word"},
    "/api/chat": user(1),
    "/api/v1/chat": {"model": "m", "input": "word"},
}


def error_of(data):
    """Kind and message of an error, wherever its dialect puts them."""
    body = json.loads(data)
    error = body.get("error", body)
    if isinstance(error, str):
        return body.get("error_type", ""), error
    return error.get("status") or error.get("code") or error.get("type"), error["message"]


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        (CHAT, 400, "context_length_exceeded"),
        ("/v1/responses", 400, "context_length_exceeded"),
        (MESSAGES, 400, "invalid_request_error"),
        (GEMINI, 400, "INVALID_ARGUMENT"),
        ("/generate", 422, "validation"),
        ("/api/v1/chat", 400, "context_length_exceeded"),
    ],
)
def test_a_prompt_that_is_too_long_is_refused_in_the_dialect(path, status, kind):
    with running(SimConfig(context_tokens=30, **FAST)) as simulator:
        got, _headers, data = ask(simulator.url, path, TOO_LONG[path], ANTHROPIC)
    assert (got, error_of(data)[0]) == (status, kind)
    assert "30" in error_of(data)[1] and "4" in error_of(data)[1]


@pytest.mark.parametrize(
    ("engine", "status", "body"),
    [
        ("vllm", 400, {"error": {"type": "BadRequestError", "param": None, "code": 400}}),
        ("sglang", 400, {"object": "error", "type": "BadRequestError", "param": None, "code": 400}),
        (
            "llamacpp",
            400,
            {"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 47, "n_ctx": 30}},
        ),
        ("tgi", 422, {"error_type": "validation"}),
        ("mlx", 400, {}),
        ("transformers", 400, {}),
    ],
)
def test_an_engine_refuses_in_its_own_shape(engine, status, body):
    with running(SimConfig(engine=engine, context_tokens=30, **FAST)) as simulator:
        got, _headers, data = ask(simulator.url, CHAT, user(40))
    found = json.loads(data)
    where = found["error"] if isinstance(found.get("error"), dict) else found
    message = [where.pop(name) for name in ("message", "detail", "error") if name in where]
    assert got == status
    assert len(message) == 1 and "30" in message[0]
    assert found == body


@pytest.mark.parametrize(
    ("path", "limited", "failed", "busy"),
    [
        (CHAT, 429, 500, 503),
        ("/v1/responses", 429, 500, 503),
        (MESSAGES, 429, 500, 529),
        (GEMINI, 429, 500, 503),
        ("/generate", 429, 500, 503),
        ("/api/chat", 429, 500, 503),
        ("/api/v1/chat", 429, 500, 503),
    ],
)
def test_faults_have_the_statuses_of_the_dialect_and_the_truth_has_them_too(
    path, limited, failed, busy, tmp_path
):
    for fault, status in (("error_429", limited), ("error_500", failed), ("error_503", busy)):
        log = str(tmp_path / fault)
        config = SimConfig(retry_after_s=1.5, truth_path=log, **{f"{fault}_rate": 1.0}, **FAST)
        with running(config) as simulator:
            got, headers, data = ask(simulator.url, path, SHORT[path], ANTHROPIC)
        assert got == status
        assert error_of(data)[1]
        (entry,) = read_truth(log)
        assert (entry.status, entry.outcome, entry.fault) == (status, "http_error", fault)
        waits = fault == "error_429" and path in (CHAT, "/v1/responses", MESSAGES)
        assert headers["retry-after"] == ("2" if waits else None)
        if fault == "error_429" and path == GEMINI:
            (detail,) = json.loads(data)["error"]["details"]
            assert detail == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
        if status == 529:
            assert error_of(data)[0] == "overloaded_error"


def test_openai_says_in_milliseconds_when_to_come_back():
    with running(SimConfig(engine="openai", error_429_rate=1.0, retry_after_s=0.25, **FAST)) as simulator:
        _status, headers, _data = ask(simulator.url, CHAT, user(1))
    assert (headers["retry-after-ms"], headers["retry-after"]) == ("250", "1")


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_sampling_is_refused_from_the_new_version_of_messages_on(field):
    with running(SimConfig(**FAST)) as simulator:
        body = user(1, max_tokens=1, **{field: 1})
        status, _headers, data = ask(simulator.url, MESSAGES, body, ANTHROPIC)
        assert (status, error_of(data)[0]) == (400, "invalid_request_error")
        assert ask(simulator.url, MESSAGES, body, {"anthropic-version": "2023-06-01"})[0] == 200
        assert ask(simulator.url, MESSAGES, user(1), ANTHROPIC)[0] == 400, "max_tokens is required"
        assert ask(simulator.url, MESSAGES, user(1, max_tokens=1))[0] == 400, "so is a version"


def test_fields_that_an_engine_does_not_know_are_refused_where_it_refuses_them():
    extra = user(1, ignore_eos=True)
    for engine, status in (("openai", 400), ("vllm", 200), ("ollama", 200)):
        with running(SimConfig(engine=engine, **FAST)) as simulator:
            assert ask(simulator.url, CHAT, extra)[0] == status
    with running(SimConfig(engine="tensorrt", **FAST)) as simulator:
        assert ask(simulator.url, CHAT, user(1, cache_prompt=False))[0] == 400
        assert ask(simulator.url, CHAT, extra)[0] == 200


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        (CHAT, {"Authorization": "Bearer {}"}, 401),
        (CHAT, {"api-key": "{}"}, 401),
        (MESSAGES, {"x-api-key": "{}"}, 401),
        (GEMINI, {"x-goog-api-key": "{}"}, 403),
        ("/api/v1/chat", {"Authorization": "Bearer {}"}, 401),
    ],
)
def test_only_the_one_key_is_let_in_if_there_is_one(path, header, status):
    with running(SimConfig(key="secret", **FAST)) as simulator:

        def got(key):
            headers = {name: value.format(key) for name, value in header.items()}
            return ask(simulator.url, path, SHORT[path], {**ANTHROPIC, **headers})

        assert got("secret")[0] == 200
        refused, _headers, data = got("other")
        assert refused == status
        assert error_of(data)[1] and b"secret" not in data
        assert ask(simulator.url, path, SHORT[path], ANTHROPIC)[0] == status
        assert ask(simulator.url, "/health")[0] == ask(simulator.url, "/version")[0] == 200
        assert ask(simulator.url, "/v1/models")[0] == 401
        assert ask(simulator.url, f"{GEMINI}?key=secret", SHORT[GEMINI])[0] == 200


# ---------------------------------------------------------------- for batches


def test_a_whole_answer_can_be_had_without_any_time_passing():
    site = site_of(SimConfig(ttft_ms=60_000, key="secret"))
    answer = site.at_once(CHAT, json.dumps(user(2, max_tokens=2)).encode())
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 2
    body = json.dumps(user(2, max_tokens=1)).encode()
    assert json.loads(site.at_once(MESSAGES, body, ANTHROPIC).body)["stop_reason"] == "max_tokens"
    assert site.at_once("/v1/models", b"{}").status == 404
    assert site.at_once(CHAT, b"{").status == 400


def test_further_pages_get_the_names_in_their_path():
    site = site_of(SimConfig())
    site.page("GET", "/things/{thing}/parts/{part}", lambda incoming, found: Page(body=repr(found).encode()))
    from benchsuite.simulator.connection import Incoming

    asked = Incoming("GET", "/things/a/parts/b-1", "", b"", 0, False, False)
    route, found = site.find(asked)
    assert route.page(asked, found).body == b"{'thing': 'a', 'part': 'b-1'}"
