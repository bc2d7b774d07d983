"""The embedded engine, for real: lengths, cache and tokens are what benchsuite's numbers rest on."""

import http.client
import json
import random
from importlib.resources import files
from urllib.parse import urlsplit

import pytest

from benchsuite.driver import load
from benchsuite.errors import TargetError
from benchsuite.servers.launch import launched, prepared, resolve_model
from benchsuite.types import Target

pytest.importorskip("xllamacpp", reason="the embedded engine needs xllamacpp")
pytestmark = pytest.mark.engine

WORDS = (files("benchsuite.data") / "words.txt").read_text(encoding="utf-8").split()


def engine(model="shape:5m"):
    launch, python = prepared(load("local").launch(Target(backend="local", url="")))
    return launched(launch, model=resolve_model(model), slots=2, context=1024, threads=1, python=python)


@pytest.fixture(scope="module")
def server():
    with engine() as running:
        yield running


def post(server, path, body):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    assert answer.status == 200, data
    return data.decode()


def stream(server, path, prompt, output_tokens, **more):
    """Texts of the token events, and the final usage."""
    asked = {"messages": [{"role": "user", "content": prompt}]} if "chat" in path else {"prompt": prompt}
    more = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": output_tokens, **more}
    lines = post(server, path, asked | more).splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    texts = [choice.get("text") or choice.get("delta", {}).get("content") for choice in choices]
    usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    return [text for text in texts if text], usage[-1]


def prompt_of(words, seed):
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "forced", [{"ignore_eos": True}, {"temperature": 4.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}]
)
def test_answers_are_as_long_as_asked_and_each_token_is_one_event(server, path, forced):
    texts, usage = stream(server, path, prompt_of(20, 1), 300, **forced)
    assert len(texts) == usage["completion_tokens"] == 300
    assert len(set(texts)) > 100, "the model repeats itself"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_word_is_a_token_and_the_template_costs_a_constant(server, path):
    counts = [
        stream(server, path, prompt_of(words, 2), 1)[1]["prompt_tokens"] - words for words in (1, 50, 400)
    ]
    assert len(set(counts)) == 1


def test_llamacpp_reads_every_word_as_one_token(server):
    for text in (" ".join(WORDS), " " + " ".join(WORDS), "\n".join(WORDS)):
        tokens = json.loads(post(server, "/tokenize", {"content": text}))["tokens"]
        assert len(tokens) - text.count("\n") == len(WORDS)


def test_the_prefix_cache_is_off_or_on_as_the_request_says(server):
    prompt = prompt_of(300, 3)

    def cached(cache_prompt):
        usage = stream(server, "/v1/chat/completions", prompt, 4, cache_prompt=cache_prompt)[1]
        return usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]

    assert [cached(False)[0] for _ in range(3)] == [0, 0, 0]
    cached(True)
    hit, prompt_tokens = cached(True)
    assert prompt_tokens - 4 <= hit < prompt_tokens


def test_it_tells_its_slots_context_and_metrics_but_not_where_the_model_lies(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    answers = {}
    for path in ("/props", "/metrics", "/v1/models"):
        connection.request("GET", path, headers={"Connection": "close"})
        answers[path] = connection.getresponse().read().decode()
        connection.close()
    props = json.loads(answers["/props"])
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (2, 1024)
    assert "llamacpp:prompt_tokens_total" in answers["/metrics"]
    assert [model["id"] for model in json.loads(answers["/v1/models"])["data"]] == ["benchsuite-5m-q8_0-v1"]


def test_sigterm_ends_it_cleanly():
    with engine() as running:
        pass
    assert running.exit_code() == 0


def test_a_damaged_model_is_told_with_llamacpps_reason(tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF but no more")
    with pytest.raises(TargetError, match="failed to load model"), engine(str(damaged)):
        pass
