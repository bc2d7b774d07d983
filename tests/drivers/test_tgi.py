"""TGI's driver: its own dialect as its source writes it (3.3, January 2026), and the OpenAI one of its chat.

No TGI was at hand: the bodies are made after `router/src/server.rs` and `chat.rs`.
"""

import json

import pytest

from benchsuite.driver import HasMetrics, ResetsCache, Tokenizes, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite_backends.tgi import TGI

URL = "http://127.0.0.1:3000"
INFO = {
    "model_id": "org/m",
    "model_sha": "abc123",
    "model_pipeline_tag": "text-generation",
    "max_concurrent_requests": 128,
    "max_best_of": 2,
    "max_stop_sequences": 4,
    "max_input_tokens": 4095,
    "max_total_tokens": 4096,
    "validation_workers": 2,
    "max_client_batch_size": 4,
    "router": "text-generation-router",
    "version": "3.3.7",
    "sha": "db931fcf",
    "docker_label": "sha-db931fc",
}


def event(data):
    return b"data:" + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def token(index, text, *, special=False, whole=None, details=None):
    told = {"id": index, "text": text, "logprob": -0.5, "special": special}
    return event({"index": index, "token": told, "generated_text": whole, "details": details})


def details(reason, tokens):
    return {"finish_reason": reason, "generated_tokens": tokens, "seed": None, "input_length": 17}


LONG = b":\n\n" + b"".join(
    [
        token(1, " Deep"),
        b":\n\n",
        token(2, ' "choices": '),
        token(3, " learning", whole=" Deep learning", details=details("length", 3)),
    ]
)
ENDED = token(1, " Hi") + token(2, "</s>", special=True, whole=" Hi", details=details("eos_token", 2))
BROKEN = token(1, " Hi") + event({"error": "Request failed during generation: x", "error_type": "generation"})


def chunk(delta, reason=None, usage=None):
    choices = [] if usage else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
    told = {"object": "chat.completion.chunk", "id": "", "model": "org/m", "choices": choices, "usage": usage}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


CHAT = b"".join(
    [
        chunk({"role": "assistant", "content": " Deep"}),
        chunk({"role": "assistant", "content": " learning"}, "length"),
        chunk({}, usage={"prompt_tokens": 30, "completion_tokens": 2, "total_tokens": 32}),
        b"data: [DONE]\n\n",
    ]
)
HEADERS = (
    ("x-compute-type", "1-nvidia-l4"),
    ("x-total-time", "412"),
    ("x-queue-time", "3"),
    ("x-inference-time", "405"),
    ("x-prompt-tokens", "17"),
    ("x-generated-tokens", "3"),
)
WHOLE = {
    "generated_text": " Deep learning",
    "details": {"finish_reason": "length", "generated_tokens": 3, "seed": None, "prefill": [], "tokens": []},
}


class TestTGI(DriverConformance):
    driver = TGI()
    target = Target(backend="tgi", url=URL, model="org/m", key=KEY)
    recordings = (
        Recording(
            name="native",
            tape=tape(LONG),
            events=3,
            first_text=" Deep",
            last_text=" learning",
            prompt_tokens=17,
            output_tokens=3,
            finish_reason="length",
        ),
        Recording(
            name="native, ended by itself",
            tape=tape(ENDED),
            events=1,
            first_text=" Hi",
            last_text=" Hi",
            prompt_tokens=17,
            output_tokens=2,
            finish_reason="eos_token",
        ),
        Recording(
            name="chat",
            tape=tape(CHAT),
            events=2,
            first_text=" Deep",
            last_text=" learning",
            prompt_tokens=30,
            output_tokens=2,
            finish_reason="length",
        ),
        Recording(
            name="overloaded",
            tape=tape(b'{"error":"Model is overloaded","error_type":"overloaded"}', status=429),
            complete=False,
            error_kind="rate_limited",
        ),
        Recording(
            name="too long",
            tape=tape(
                b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. '
                b'Given: 5000 `inputs` tokens and 16 `max_new_tokens`","error_type":"validation"}',
                status=422,
            ),
            complete=False,
            error_kind="context_length",
        ),
    )
    identity_tapes = (tape(json.dumps(INFO).encode()),)
    error_event = event({"error": "Request failed during generation", "error_type": "generation"})
    usage_field = b'"details"'


def call(**options):
    target = Target(backend="tgi", url=URL, model="org/m", options=options)
    sent = TGI().encode(request("a b", output_tokens=9), target)
    return sent.path, json.loads(sent.body)


def test_the_native_door_asks_for_details_and_stays_greedy():
    path, body = call()
    assert path == "/generate_stream"
    assert body == {"inputs": "a b", "parameters": {"max_new_tokens": 9, "details": True}}


def test_the_openai_doors_name_the_base_model_and_no_adapter():
    path, body = call(endpoint="chat")
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "tgi", 0)
    assert call(endpoint="completions")[0] == "/v1/completions"
    with pytest.raises(UsageError):
        call(endpoint="responses")


def test_options_that_do_nothing_natively_say_so_or_are_refused():
    def sent(**options):
        target = Target(backend="tgi", url="http://127.0.0.1:3000", model="m", options=options)
        return load("tgi").encode(request("a b"), target).body

    assert sent(temperature="none") == sent() and b"temperature" not in sent()
    assert "native never does" in load("tgi").options["temperature"]
    with pytest.raises(UsageError, match="temperature is 0 or none"):
        sent(temperature="1")
    with pytest.raises(UsageError, match="max_tokens_field does nothing"):
        sent(max_tokens_field="max_length")


def test_an_error_inside_the_native_stream_has_its_own_kind():
    reply = TGI().decode(tape(BROKEN))
    assert (list(reply.texts), reply.complete, reply.error_kind) == ([" Hi"], False, "server_error")
    for kind, expected in (("overloaded", "overloaded"), ("validation", "bad_request")):
        reply = TGI().decode(tape(event({"error": "no", "error_type": kind})))
        assert reply.error_kind == expected


def test_only_whole_answers_carry_its_timings():
    reply = TGI().decode(tape(json.dumps(WHOLE).encode(), headers=HEADERS))
    assert (reply.complete, reply.finish_reason, len(reply.texts)) == (True, "length", 0)
    assert (reply.prompt_tokens, reply.output_tokens) == (17, 3)
    assert reply.server_timings == {"x-queue-time": 3.0, "x-inference-time": 405.0, "x-total-time": 412.0}
    assert TGI().decode(tape(LONG, headers=HEADERS[:1])).server_timings == {}


def test_what_tgi_tells_of_itself():
    found = TGI().identity((tape(json.dumps(INFO).encode()),))
    assert found is not None
    assert (found.version, found.models, found.context_tokens) == ("3.3.7", ("org/m",), 4096)
    assert found.slots is None, "most concurrent requests are what it admits, not what it works on"
    assert found.details == {"revision": "abc123"}
    embeddings = {"model_id": "org/e", "model_sha": "1", "max_input_length": 512, "version": "1.8"}
    assert TGI().identity((tape(json.dumps(embeddings).encode()),)) is None


def test_it_counts_tokens_and_has_metrics():
    driver = TGI()
    assert isinstance(driver, Tokenizes) and isinstance(driver, HasMetrics)
    assert not isinstance(driver, ResetsCache)
    target = Target(backend="tgi", url=URL, key=KEY, extra_body={"top_k": 1})
    asked = driver.tokenize("a b", target)
    assert (asked.path, asked.body) == ("/tokenize", b'{"inputs":"a b"}')
    found = [{"id": 1, "text": "a", "start": 0, "stop": 1}, {"id": 2, "text": " b", "start": 1, "stop": 3}]
    assert driver.token_count(tape(json.dumps(found).encode())) == 2
    for wrong in (tape(b"{}"), tape(b"["), tape(b"[]", status=404)):
        assert driver.token_count(wrong) is None
    assert driver.metrics(target).path == "/metrics"


def test_how_it_is_started():
    def launch(*args, **engine):
        settings = {name.replace("_", "-"): value for name, value in engine.items()}
        target = Target(backend="tgi", url="", model="org/m", engine=settings, engine_args=args)
        return load("tgi").launch(target)

    plain = "--model-id {model} --port {port} --max-concurrent-requests 4096"
    assert " ".join(launch().argv) == f"env text-generation-launcher --hostname 127.0.0.1 {plain}"
    assert " ".join(launch().image_argv) == f"--hostname 0.0.0.0 {plain}"
    asked = launch("--revision", "main", prefix_cache="off", tp="2", attention="paged")
    assert asked.argv[:4] == ("env", "PREFIX_CACHING=0", "ATTENTION=paged", "text-generation-launcher")
    assert asked.argv[-4:] == ("--num-shard", "2", "--revision", "main")
    assert asked.image_argv[:2] == ("PREFIX_CACHING=0", "ATTENTION=paged")
    assert launch(max_queue="8").argv[-2:] == ("--max-concurrent-requests", "8")
    assert (asked.image_port, asked.image_cache) == (80, "/data")
    assert asked.otherwise.argv == () and asked.otherwise.needs == ("docker",)
