"""Official SDKs lead batches and caches through their lives; our own code reads the same bytes.

What each SDK says of states, counts, times, answers and errors is what `wire/batches` makes of them.
"""

import json
import subprocess
from pathlib import Path
from random import Random

import pytest

from benchsuite.driver import load
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.process import running
from benchsuite.types import Target
from tests.sdks.recorder import Recorder, heard_tapes

pytestmark = [pytest.mark.slow]

KEY = "sdk-key"
TOKENS = 5
PROMPT = "one two three four"
IDS = [f"label-{index}" for index in range(8)]
BASES = {"openai": "/v1", "anthropic": "", "gemini": ""}
FAIL_RATE, SEED = 0.4, 3
FAILED = sum(Random(f"{SEED} batch {index}").random() < FAIL_RATE for index in range(len(IDS)))
LIVES = {
    "ends": BatchConfig(seconds=0.5, fail_rate=FAIL_RATE, seed=SEED),
    "cancel": BatchConfig(seconds=4.0, cancel_s=0.2),
    "expires": BatchConfig(seconds=2.0, expires_s=0.6),
}
STATES = {
    "openai": {
        "ends": ["in_progress", "completed"],
        "cancel": ["in_progress", "cancelling", "cancelled"],
        "expires": ["in_progress", "expired"],
    },
    "anthropic": {
        "ends": ["in_progress", "ended"],
        "cancel": ["in_progress", "canceling", "ended"],
        "expires": ["in_progress", "ended"],
    },
    "gemini": {
        "ends": ["JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"],
        "cancel": ["JOB_STATE_RUNNING", "JOB_STATE_CANCELLED"],
        "expires": ["JOB_STATE_RUNNING", "JOB_STATE_EXPIRED"],
    },
}
"""What an SDK sees of each life, one after another."""
FINISH = {"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}
GIVEN_UP = {
    "openai": {"cancel": "batch_cancelled", "expires": "batch_expired"},
    "anthropic": {"cancel": "canceled", "expires": "expired"},
}
NO_SENSE = {"openai": 400, "anthropic": "invalid_request_error", "gemini": 3}
ERRORS = {
    "openai": {
        "key": ("AuthenticationError", 401),
        "unknown": ("NotFoundError", 404),
        "cancel": ("NotFoundError", 404),
        "twice": ("BadRequestError", 400),
        "file": ("NotFoundError", 404),
    },
    "anthropic": {
        "key": ("AuthenticationError", 401),
        "unknown": ("NotFoundError", 404),
        "cancel": ("NotFoundError", 404),
        "twice": ("BadRequestError", 400),
        # It doesn't even ask while there is no URL to ask at.
        "early": ("AnthropicError", None),
    },
    "gemini": {
        "key": ("ClientError", 403),
        "unknown": ("ClientError", 404),
        "cancel": ("ClientError", 404),
        "twice": ("ClientError", 400),
    },
}
SAYS = {"openai": None, "anthropic": None, "gemini": {"unknown": "NOT_FOUND", "twice": "INVALID_ARGUMENT"}}


def led(scripts, vendor, ask, batches=LIVES["ends"], **more):
    """What the SDK told, step by step, and the answers that it heard."""
    python = scripts.python_of("hosted")
    if python is None:
        pytest.skip("the SDKs' environment 'hosted' isn't there: make sdks")
    config = SimConfig(ttft_ms=0.0, itl_ms=0.0, key=KEY, batches=batches)
    with running(config) as simulator:
        recorder = Recorder(simulator.url)
        case = {"vendor": vendor, "ask": ask, "url": recorder.url, "ids": IDS, "prompt": PROMPT, **more}
        try:
            done = subprocess.run(
                [python, "-I", Path(__file__).parent / "ask_batches.py"],
                input=json.dumps({"max_tokens": TOKENS, **case}),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            recorder.close()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), bytes(recorder.heard), recorder.url


def check_state(told, state):
    """Our reading of a batch is the SDK's."""
    assert state is not None
    assert (state.id, state.over, state.label) == (told["id"], told["over"], told["label"])
    theirs = told["state"].removeprefix("JOB_STATE_").lower()
    assert state.state.partition(",")[0] == theirs
    if "counts" in told:
        assert [state.total, state.done, state.failed] == told["counts"]
    assert state.created_s == pytest.approx(told["created_s"], abs=1e-3)
    took_s = (told["ended_s"] or 0) - told["created_s"] if told["over"] else 0
    # OpenAI counts whole seconds, so nothing may lie between them.
    assert state.took_s == (pytest.approx(took_s, abs=1e-3) if took_s > 0 else None)


def check_answers(vendor, told, replies):
    """Our reading of all answers is the SDK's, each once."""
    assert len(replies) == len({name for name, _, _ in replies})
    assert {name for name, _, _ in replies} == told.keys()
    for name, status, reply in replies:
        theirs = told[name]
        if "error" not in theirs:
            assert (status, reply.error_kind) == (200, "")
            assert [reply.prompt_tokens, reply.output_tokens] == theirs["counts"]
            assert reply.finish_reason == theirs["finish"] == FINISH[vendor]
        elif theirs["error"] in GIVEN_UP.get(vendor, {}).values():
            assert (status, reply.error_kind) == (
                0,
                "expired" if theirs["error"].endswith("expired") else "cancelled",
            )
        else:
            assert theirs["error"] == NO_SENSE[vendor]
            assert (status, reply.error_kind) == (400, "bad_request")


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("vendor", BASES)
def test_a_batchs_life_is_the_same_to_an_sdk_and_to_us(scripts, vendor, life):
    steps, heard, url = led(scripts, vendor, life, LIVES[life], pause_s=1.25)
    driver = load(vendor)
    target = Target(backend=vendor, url=url + BASES[vendor], model="sim-model", key=KEY)
    tapes = heard_tapes(heard)
    assert len(tapes) == sum(step["http"] for step in steps), "each call once"
    replies, seen = [], []
    for step in steps:
        mine, tapes = tapes[: step["http"]], tapes[step["http"] :]
        if step["call"] == "answers":
            replies = [reply for tape in mine for reply in driver.batch_replies(tape)]
            check_answers(vendor, step["answers"], replies)
        elif step["call"] == "list":
            states, after = driver.batch_listed(mine[0], target)
            assert (len(states), after) == (1, "")
            check_state(step["batches"][0], states[0])
        elif "id" in step:
            check_state(step, driver.batch_state(mine[-1], target))
            seen += [step["state"]] if step["state"] not in seen else []
    assert seen == STATES[vendor][life]
    check_end(vendor, life, steps)


def check_end(vendor, life, steps):
    """How many were done, had failed, or were given up."""
    last = [step for step in steps if step["call"] == "retrieve"][-1]
    answers = next(step["answers"] for step in steps if step["call"] == "answers")
    if vendor == "gemini" and life != "ends":
        assert answers == {}
        return
    assert answers.keys() == set(IDS)
    failed = sum("error" in answer for answer in answers.values())
    assert 0 < failed < len(IDS)
    if vendor != "gemini":
        # OpenAI counts what it didn't get to neither as completed nor as failed.
        given_up = life != "ends" and vendor == "openai"
        assert last["counts"] == [len(IDS), len(IDS) - failed, 0 if given_up else failed]
    if life == "ends":
        assert failed == FAILED
    else:
        assert {answer.get("error") for answer in answers.values()} == {None, GIVEN_UP[vendor][life]}


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_google_asks_below_both_versions(scripts, version):
    """OpenAI has pages at the same paths below /v1."""
    steps, _, _ = led(scripts, "gemini", "ends", version=version)
    assert steps[-1]["answers"].keys() == set(IDS)


@pytest.mark.parametrize("vendor", BASES)
def test_errors_have_the_classes_that_the_sdk_has_for_them(scripts, vendor):
    (found,), _, _ = led(scripts, vendor, "errors", LIVES["expires"])
    assert {name: (one["error"], one["status"]) for name, one in found.items()} == ERRORS[vendor]
    for name, words in (SAYS[vendor] or {}).items():
        assert words in found[name]["message"]


def test_what_google_keeps_is_counted_as_cached_until_it_is_forgotten(scripts):
    kept = "word " * 40
    (found,), heard, _ = led(scripts, "gemini", "caches", kept=kept)
    # The instruction is kept too.
    tokens = len(kept.split()) + len(["be", "brief"])
    name = found["name"]
    assert found["seen"] == [name, "models/sim-model", "kept"]
    assert (found["lives_s"], found["tokens"]) == (600.0, tokens)
    assert (found["listed"], found["left"]) == ([name], [])
    assert [cached for _, cached, _ in found["used"]] == [tokens, tokens]
    assert {prompt - tokens >= len(PROMPT.split()) for prompt, _, _ in found["used"]} == {True}
    for call, one in found["gone"].items():
        assert (one["error"], one["status"]) == ("ClientError", 403), call
        assert "PERMISSION_DENIED" in one["message"]
    driver = load("gemini")
    ours = [driver.decode(tape) for tape in heard_tapes(heard) if b'"candidates"' in tape.body]
    assert [[one.prompt_tokens, one.cached_tokens, one.output_tokens] for one in ours] == found["used"]
