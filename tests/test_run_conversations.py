"""Conversations through the command line: on the simulator, by turn, and after a crash."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.runs import Store

TALK = ("--turns", "4", "--user-tokens", "30", "--prompt-tokens", "80", "--output-tokens", "6")
SHORT = (*TALK, "--concurrency", "2", "--requests", "24", "--trials", "1")


def environment(store):
    return {**os.environ, "BENCHSUITE_STORE": str(store), "SIM_KEY": "k"}


def command(url, *words, backend="sim"):
    return [sys.executable, "-m", "benchsuite", "run", "--backend", backend, "--url", url, *words]


def benchsuite(store, *words, expect=(0, 3)):
    done = subprocess.run(words, env=environment(store), capture_output=True, text=True, timeout=120)
    assert done.returncode in expect, done.stdout + done.stderr
    return done.stdout


def shown(store, *words):
    return benchsuite(store, sys.executable, "-m", "benchsuite", "show", "latest", *words)


def records(store):
    found = map(json.loads, shown(store, "--format", "jsonl").splitlines())
    return sorted(found, key=lambda record: record["index"])


@pytest.mark.parametrize("tokens", ["1", "30"])
def test_turns_shorter_than_the_template_are_told(tmp_path, tokens):
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0)) as simulator:
        words = command(simulator.url, *SHORT, "--user-tokens", tokens, "--text", "random")
        done = subprocess.run(words, env=environment(tmp_path), capture_output=True, text=True, timeout=120)
    least = [line for line in done.stderr.splitlines() if "a later turn takes at least" in line]
    assert len(least) == (tokens == "1"), done.stderr
    second = records(tmp_path)[1]["prompt_tokens"]
    assert second == 80 + 6 + 30 if tokens == "30" else second > 80 + 6 + 1


def test_turns_grow_and_find_the_turns_before(tmp_path):
    truth = tmp_path / "truth.jsonl"
    config = SimConfig(ttft_ms=5.0, itl_ms=1.0, prefix_cache=True, truth_path=str(truth))
    with running(config) as simulator:
        words = (*SHORT, "--think", "0.05", "--replies", "real", "--text", "random")
        text = benchsuite(tmp_path, *command(simulator.url, *words))
    assert "4 turns, each later one with 30 tokens more after 0.05 s of thinking" in " ".join(text.split())
    assert "By turn of the conversation" in text
    by_id = {entry.request_id: entry for entry in read_truth(truth)}
    found = records(tmp_path)
    assert [(record["conversation"], record["turn"]) for record in found] == [divmod(i, 4) for i in range(24)]
    for record in found:
        # The simulator's own words come back, as many as were asked of it.
        assert record["prompt_tokens"] == 80 + record["turn"] * (6 + 30)
        assert record["cached_tokens"] == by_id[record["request_id"]].cached_tokens
        assert record["asked_prompt_tokens"] == (None if record["turn"] else 80)
    for before, record in pairwise(found):
        if record["turn"]:
            assert record["due_ns"] == before["end_ns"] + 50_000_000
            assert before["prompt_tokens"] - 16 < record["cached_tokens"] <= before["prompt_tokens"]
        else:
            assert record["cached_tokens"] == 0
    run = json.loads(shown(tmp_path, "--json"))
    (summary,) = run["summaries"]
    assert summary["rates"]["conversations_per_s"]["value"] > 0
    assert "2 conversations" in shown(tmp_path, "--how")
    codes = {warning["code"] for warning in summary["warnings"]}
    assert not codes & {"cache_cold", "prompt_tokens", "prompt_cut", "output_tokens", "delivered"}


@pytest.mark.parametrize(
    ("backend", "tool_turns"), [("ollama", False), ("anthropic", True), ("gemini", True), ("vllm", True)]
)
def test_each_dialect_counts_the_turns_that_were_planned(tmp_path, backend, tool_turns):
    file = tmp_path / "talk.toml"
    file.write_text(
        'name = "t"\nversion = 1\ndescription = "d"\n'
        "prompts = { tokens = 200 }\noutputs = { tokens = 6 }\n"
        "load = { concurrency = 2 }\nstop = { requests = 6, trials = 1 }\n"
        f"conversation = {{ turns = 3, user_tokens = 30, tool_turns = {str(tool_turns).lower()} }}\n"
    )
    engine = backend if backend in {"ollama", "vllm"} else ""
    with running(SimConfig(ttft_ms=1.0, itl_ms=0.1, engine=engine)) as simulator:
        words = ("--workload", str(file), "--api-key-env", "SIM_KEY", "--model", "sim-model")
        benchsuite(tmp_path, *command(simulator.url, *words, backend=backend))
    for record in records(tmp_path):
        assert record["outcome"] == "ok"
        assert record["prompt_tokens"] == record["asked_prompt_tokens"] == 200 + record["turn"] * 36


def test_what_was_said_before_a_crash_is_kept_with_its_turns(tmp_path):
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0)) as simulator:
        words = (*TALK, "--think", "0.05", "--replies", "real", "--concurrency", "3", "--duration", "60")
        process = subprocess.Popen(
            command(simulator.url, *words),
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 40_000 for path in tmp_path.glob("*/spool/0-1-0.0")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        benchsuite(tmp_path, sys.executable, "-m", "benchsuite", "store", "recover")
    found = records(tmp_path)
    assert Store(tmp_path).select("latest").run().status == "recovered"
    assert len(found) > 12
    assert {record["outcome"] for record in found} == {"ok"}
    for record in found:
        assert (record["conversation"], record["turn"]) == divmod(record["index"], 4)
        assert record["prompt_tokens"] == 80 + record["turn"] * 36
