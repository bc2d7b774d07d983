"""Whole runs through the command line: against the simulator, killed, interrupted, and told secrets."""

import getpass
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.runs import Store

FAST = SimConfig(ttft_ms=5.0, itl_ms=1.0)
KEY = "canary-key-c0ffee"
HEADER = "canary-header-beef"
SHORT = ("--prompt-tokens", "40", "--output-tokens", "8", "--trials", "2")


def command(url, *words):
    return [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--url", url, *SHORT, *words]


def environment(store, **more):
    return {**os.environ, "BENCHSUITE_STORE": str(store), **more}


def run(store, url, *words, expect=(0, 3), **more):
    done = subprocess.run(
        command(url, *words), env=environment(store, **more), capture_output=True, text=True, timeout=120
    )
    assert done.returncode in expect, done.stdout + done.stderr
    return done


def benchsuite(store, *words):
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", *words],
        env=environment(store),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def records(store, *words):
    return [
        json.loads(line)
        for line in benchsuite(store, "show", "latest", "--format", "jsonl", *words).splitlines()
    ]


def test_every_measured_request_is_recorded_once_with_the_truth_of_the_server(tmp_path):
    truth = tmp_path / "truth.jsonl"
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0, truth_path=str(truth))) as simulator:
        run(tmp_path / "store", simulator.url, "--concurrency", "1,4", "--requests", "12")
    found = records(tmp_path / "store")
    assert len(found) == 2 * 2 * 12
    by_id = {entry.request_id: entry for entry in read_truth(truth)}
    for record in found:
        true = by_id[record["request_id"]]
        assert record["outcome"] == "ok"
        assert record["output_tokens"] == true.output_tokens == 8
        assert record["prompt_tokens"] == true.prompt_tokens == 40
        assert record["cached_tokens"] == 0
        assert record["reasoning_tokens"] in {None, 0}
        assert record["cost_usd"] is None
        assert len(record["gaps_us"]) == 7
        assert sum(record["gaps_us"]) == pytest.approx(
            (record["last_token_ns"] - record["first_token_ns"]) / 1e3, abs=1
        )
        assert record["due_ns"] <= record["sent_ns"] < record["first_byte_ns"] <= record["first_token_ns"]
        assert record["sent_ns"] < true.received_ns
        assert true.events_ns[0] <= record["first_token_ns"] <= record["end_ns"]
    warm = records(tmp_path / "store", "--with-warm-up")
    assert Counter(record["phase"] for record in warm) == {"measure": 48, "warm_up": 2 + 8}


def test_a_backend_that_nobody_has_started_is_started_and_ended(tmp_path):
    words = ["run", "--backend", "sim", *SHORT, "--concurrency", "2", "--requests", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", *words],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in {0, 3}, done.stderr
    manifest = Store(tmp_path).select("latest").run().manifest
    assert not manifest.attached
    assert "benchsuite.simulator" in manifest.launch_command
    started = [
        p for p in psutil.process_iter(["cmdline"]) if "benchsuite.simulator" in (p.info["cmdline"] or [])
    ]
    assert started == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--option", "foo=bar"), "no option 'foo'; it has: endpoint"),
        (("--prompt-tokens", "3"), "ask for 8 or more"),
        (("--model", "x", "--url", "http://me:secret@127.0.0.1:1"), "--header-env"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_stored(tmp_path, words, hint):
    with running(FAST) as simulator:
        done = run(tmp_path, simulator.url, *words, expect=(2,))
    assert hint in done.stderr
    assert "secret" not in done.stderr
    assert not Store(tmp_path).runs()


def test_outcomes_equal_the_truth_under_faults(tmp_path):
    truth = tmp_path / "truth.jsonl"
    faulty = SimConfig(
        ttft_ms=2.0,
        itl_ms=0.5,
        seed=7,
        error_500_rate=0.10,
        reset_rate=0.05,
        stall_rate=0.05,
        error_midstream_rate=0.03,
        truth_path=str(truth),
    )
    with running(faulty) as simulator:
        words = ("--concurrency", "16", "--requests", "200", "--trials", "1", "--silence-timeout", "1")
        run(tmp_path / "store", simulator.url, *words, expect=(3,))
    found = {
        record["request_id"]: record["outcome"] for record in records(tmp_path / "store", "--with-warm-up")
    }
    true = {entry.request_id: entry.outcome for entry in read_truth(truth) if entry.request_id in found}
    assert found == true
    assert len(found) == 200 + 32
    assert {"ok", "http_error", "cut_off", "timeout"} == set(found.values())


def test_the_same_nonce_sends_the_same_bytes_and_another_one_does_not(tmp_path):
    digests = []
    with running(FAST) as simulator:
        for nonce in ("aa", "aa", "bb"):
            run(tmp_path, simulator.url, "--concurrency", "2", "--requests", "8", "--nonce", nonce)
            manifest = Store(tmp_path).select("latest").run().manifest
            digests.append([trial.plan_digest for trial in manifest.trials])
    assert digests[0] == digests[1] != digests[2]
    assert len(set(digests[0])) == 2


@pytest.mark.parametrize("stop", ["finish", "interrupt", "kill"])
def test_no_secret_and_no_name_is_in_any_file_or_text(tmp_path, stop):
    secrets = [KEY, HEADER, socket.gethostname(), f"/{getpass.getuser()}/", str(Path.home()) + "/"]
    store = tmp_path / "store"
    with running(FAST) as simulator:
        words = ("--concurrency", "4", "--requests", "2000", "--api-key-env", "CANARY", "--label", "team=x")
        words += ("--header-env", "X-Canary=CANARY2")
        process = subprocess.Popen(
            command(simulator.url, *words if stop != "finish" else (*words, "--requests", "20")),
            env=environment(store, CANARY=KEY, CANARY2=HEADER),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if stop != "finish":
            wait_for_spool(store)
            process.send_signal(signal.SIGINT if stop == "interrupt" else signal.SIGKILL)
        text, _ = process.communicate(timeout=60)
    if stop == "kill":
        benchsuite(store, "store", "recover")
    assert process.returncode in {"finish": {0, 3}, "interrupt": {130}, "kill": {-signal.SIGKILL}}[stop], text
    shown = text + benchsuite(store, "show", "latest", "--how") + benchsuite(store, "results")
    files = [path for path in store.rglob("*") if path.is_file()]
    assert files
    assert Store(store).select("latest").run().summaries[0].outcomes.get("ok")
    for secret in secrets:
        assert secret not in shown
        for path in files:
            assert secret.encode() not in path.read_bytes(), (secret, path)
    # The simulator answers every token with this word; prompts are made of the words of the list.
    for path in files:
        assert b'"text":"' not in path.read_bytes()
        assert b"messages" not in path.read_bytes()


def wait_for_spool(store, least_bytes=20_000):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if sum(path.stat().st_size for path in store.glob("*/spool/0-1-*.*")) > least_bytes:
            return
        time.sleep(0.02)
    raise AssertionError("no spool appeared")


def test_one_interrupt_drains_and_keeps_what_ended(tmp_path):
    with running(SimConfig(ttft_ms=300.0, itl_ms=10.0)) as simulator:
        process = subprocess.Popen(
            command(simulator.url, "--concurrency", "4", "--requests", "2000"),
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for_spool(tmp_path, 5_000)
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    done = Store(tmp_path).select("latest").run()
    assert done.status == "interrupted"
    found = records(tmp_path)
    assert found
    assert all(record["outcome"] == "ok" for record in found)


@pytest.mark.slow
def test_kill_9_loses_only_what_was_in_flight_or_ended_in_the_last_second(tmp_path):
    rng = random.Random(5)
    truth = tmp_path / "truth.jsonl"
    with running(SimConfig(ttft_ms=20.0, itl_ms=2.0, truth_path=str(truth))) as simulator:
        killed = []
        for number in range(20):
            store = tmp_path / f"store{number}"
            process = subprocess.Popen(
                command(simulator.url, "--concurrency", "8", "--requests", "400"),
                env=environment(store),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for_spool(store, 1)
            time.sleep(rng.uniform(0.0, 2.0))
            family = [
                process.pid,
                *(child.pid for child in psutil.Process(process.pid).children(recursive=True)),
            ]
            at_ns = time.monotonic_ns()
            process.kill()
            process.wait()
            killed.append((store, at_ns, family))
        time.sleep(0.5)
    for store, at_ns, family in killed:
        assert not any(psutil.pid_exists(pid) for pid in family)
        benchsuite(store, "store", "recover")
        kept = {record["request_id"] for record in records(store, "--with-warm-up")}
        prefix = Store(store).select("latest").run_id
        ended = {
            entry.request_id
            for entry in read_truth(truth)
            if entry.request_id.startswith(prefix) and entry.outcome == "ok" and entry.end_ns < at_ns - 1e9
        }
        assert ended <= kept
        assert not Store(store).select("latest").spool_dir.exists()
