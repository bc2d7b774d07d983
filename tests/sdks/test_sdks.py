"""Official SDKs ask the simulator, and hear what our drivers read out of the very same bytes.

Two proofs in one: the simulator is accepted by those who know the dialects best, and our decoders agree with
them. `make sdks` makes the SDKs' environments; without them these tests are skipped.
"""

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from benchsuite.driver import load
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.process import running
from tests.sdks.recorder import Recorder, heard_tape

pytestmark = [pytest.mark.slow]

KEY = "sdk-key"
TOKENS = 9
PROMPT = "one two three four five six"

DOORS = (
    ("openai", "chat", "openai", "openai"),
    ("openai", "completions", "openai", "openai"),
    ("openai", "responses", "openai", "openai"),
    ("anthropic", "messages", "anthropic", ""),
    ("google-genai", "generate", "gemini", ""),
    ("ollama", "chat", "ollama", "ollama"),
    ("ollama", "generate", "ollama", "ollama"),
    ("huggingface_hub", "chat", "tgi", "tgi"),
    ("huggingface_hub", "generate", "tgi", "tgi"),
    ("text-generation", "generate", "tgi", "tgi"),
)
"""SDK, its door, our driver, and whom the simulator imitates."""
IMITATED = ("vllm", "sglang", "tensorrt", "llamacpp", "mlx", "transformers", "ollama", "lmstudio")
"""Engines that the OpenAI SDK asks too."""

FAST = {"ttft_ms": 0.0, "itl_ms": 0.0, "key": KEY}
SITUATIONS = {
    "plain": {"words": "unicode"},
    "odd": {"words": "unicode", "split_events": True, "comments": True, "tokens_per_event": 2},
    "thinking": {"reasoning_tokens": 4},
    "stops": {"natural_stop_rate": 1.0},
    "cached": {"prefix_cache": True, "cache_block_tokens": 2},
    "wrong key": {"key": "another"},
    "wrong model": {"strict": True, "model": "another"},
    "too long": {"context_tokens": 4},
    "limited": {"error_429_rate": 1.0},
    "overloaded": {"error_503_rate": 1.0},
    "broken": {"error_500_rate": 1.0},
    "breaks": {"error_midstream_rate": 1.0, "itl_ms": 1.0},
}


@pytest.fixture(scope="module")
def ask(scripts):
    """`ask(case)`: in the environment that has the case's SDK; one process each, for all tests."""
    with contextlib.ExitStack() as stack:
        asking = {}

        def start(name):
            python = scripts.python_of(name)
            if python is None:
                pytest.skip(f"the SDKs' environment {name!r} isn't there: make sdks")
            process = subprocess.Popen(
                [python, "-I", Path(__file__).parent / "ask.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.stdin.close)
            return process

        def asked(case):
            name = "text-generation" if case["sdk"] == "text-generation" else "hosted"
            process = asking.get(name) or asking.setdefault(name, start(name))
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield asked


@pytest.fixture(scope="module")
def simulator():
    """`simulator(engine, situation)`: its URL; each is started once."""
    with contextlib.ExitStack() as stack:
        known = {}

        def url(engine, situation):
            if (engine, situation) not in known:
                config = SimConfig(**{**FAST, "engine": engine, **SITUATIONS[situation]})
                known[engine, situation] = stack.enter_context(running(config)).url
            return known[engine, situation]

        yield url


def both(ask, url, driver, **case):
    """What the SDK said, and what our driver reads out of the bytes that it was answered with."""
    recorder = Recorder(url)
    try:
        said = ask({"url": recorder.url, "prompt": PROMPT, "max_tokens": TOKENS, **case})
    finally:
        recorder.close()
    heard = bytes(recorder.heard)
    assert heard.count(b"HTTP/1.1 ") == 1, "one request, not tried again"
    tape = heard_tape(heard)
    return said, load(driver).decode(tape), tape


KINDS = {
    "wrong key": "auth",
    "wrong model": "not_found",
    "too long": "context_length",
    "limited": "rate_limited",
    "overloaded": "overloaded",
    "broken": "server_error",
}
OTHERWISE = {
    # It cuts what doesn't fit, and answers.
    ("ollama chat", "too long"): "",
    ("ollama generate", "too long"): "",
    # Another model's name is a LoRA adapter's to TGI; its own endpoints take no name.
    ("huggingface_hub chat", "wrong model"): "bad_request",
    ("huggingface_hub generate", "wrong model"): "",
    ("text-generation generate", "wrong model"): "",
}
"""Where a server takes a situation for something else than most do; empty: for nothing wrong."""
CLASSES = {
    "bad_request": {"BadRequestError"},
    "auth": {"AuthenticationError"},
    "not_found": {"NotFoundError"},
    "context_length": {"BadRequestError", "ValidationError"},
    "rate_limited": {"RateLimitError", "OverloadedError"},
    "overloaded": {"InternalServerError", "OverloadedError", "ServiceUnavailableError"},
    "server_error": {"InternalServerError", "GenerationError", "IncompleteGenerationError"},
}
"""What SDKs with a class for each kind of error call it; others have one class, and the status."""
ONE_CLASS = {"ClientError", "ServerError", "ResponseError", "HfHubHTTPError", "APIError", "UnknownError"}


def check_answer(said, reply, situation, stream):
    """An answer: the same texts in the same order, counts and finish reason."""
    assert "error" not in said, said
    assert reply.complete
    assert not reply.error_kind
    if stream:
        texts = {kind: "" for kind in b"crt"}
        for kind, text in zip(reply.kind, reply.texts, strict=True):
            texts[kind] += text
        assert (texts[ord("c")], texts[ord("r")]) == (said["text"], said["thought"])
        assert said["text"]
    counts = {
        "prompt": reply.prompt_tokens,
        "output": reply.output_tokens,
        "cached": reply.cached_tokens,
        "written": reply.cache_write_tokens,
    }
    # Where an SDK tells nothing its type has no room for it.
    assert {name: count for name, count in counts.items() if said[name] is not None} == {
        name: said[name] for name in counts if said[name] is not None
    }
    assert reply.output_tokens is not None
    assert (reply.output_tokens < TOKENS) == (situation == "stops")
    assert reply.finish_reason == said["finish"]


def check_error(said, reply, tape, kind):
    """A refusal: the same status, and a class that means the same as our kind."""
    assert reply.error_kind == kind, reply.error_message
    assert said["status"] in {tape.status, None}, said
    assert said["error"] in CLASSES[kind] | ONE_CLASS, said
    assert tape.status >= 400


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("situation", sorted(SITUATIONS.keys() - {"breaks"}))
@pytest.mark.parametrize(
    ("sdk", "door", "driver", "engine"), DOORS, ids=[f"{sdk} {door}" for sdk, door, _, _ in DOORS]
)
def test_an_sdk_and_our_driver_say_the_same(ask, simulator, sdk, door, driver, engine, situation, stream):
    url = simulator(engine, situation)
    said, reply, tape = both(ask, url, driver, sdk=sdk, door=door, stream=stream)
    assert (tape.status == 529) == ((sdk, situation) == ("anthropic", "overloaded"))
    if kind := OTHERWISE.get((f"{sdk} {door}", situation), KINDS.get(situation)):
        check_error(said, reply, tape, kind)
    else:
        check_answer(said, reply, situation, stream)


@pytest.mark.parametrize(
    ("sdk", "door", "driver", "engine"), DOORS, ids=[f"{sdk} {door}" for sdk, door, _, _ in DOORS]
)
def test_an_error_in_the_middle_is_one_to_both(ask, simulator, sdk, door, driver, engine):
    said, reply, tape = both(ask, simulator(engine, "breaks"), driver, sdk=sdk, door=door, stream=True)
    assert tape.status == 200
    assert said.get("error"), said
    assert reply.error_kind
    assert said["text"] == "".join(reply.texts) != ""


@pytest.mark.parametrize("situation", ["plain", "odd", "thinking", "too long", "breaks"])
@pytest.mark.parametrize("engine", IMITATED)
def test_openais_sdk_hears_every_engine_as_its_driver_does(ask, simulator, engine, situation):
    said, reply, tape = both(
        ask, simulator(engine, situation), engine, sdk="openai", door="chat", stream=True
    )
    if situation == "breaks":
        assert said.get("error"), said
        assert reply.error_kind
        assert said["text"] == "".join(reply.texts) != ""
    elif situation == "too long" and engine == "ollama":
        # It cuts the prompt without a word, and there is no room for more than a token after it.
        assert "error" not in said and reply.complete and not reply.error_kind
        assert said["text"] == "".join(reply.texts) != ""
        assert reply.prompt_tokens == said["prompt"] == SITUATIONS[situation]["context_tokens"]
    elif situation == "too long":
        check_error(said, reply, tape, KINDS[situation])
    else:
        check_answer(said, reply, situation, stream=True)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_what_a_cache_takes_and_gives_is_counted_once(ask, simulator, stream):
    """Anthropic's input tokens leave both out; ours have them in."""
    asked = {"sdk": "anthropic", "door": "messages", "stream": stream, "cache": True}
    prompt = f"{'streamed' if stream else 'whole'} {PROMPT}"
    found = []
    for _ in range(2):
        said, reply, _ = both(ask, simulator("", "cached"), "anthropic", **asked, prompt=prompt)
        check_answer(said, reply, "cached", stream)
        found.append((reply.cached_tokens, reply.cache_write_tokens, reply.prompt_tokens))
    (first_read, written, prompt_tokens), (read, rewritten, again) = found
    assert prompt_tokens == again
    assert read > first_read
    assert written > rewritten
    assert first_read + written <= prompt_tokens
