"""Whole runs through the command line: against the simulator, killed, interrupted, and told secrets."""

import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import msgspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.simulator.dialect import WORDS as ANSWERED
from benchsuite.store.runs import Store
from benchsuite.workload.fit import words as prompt_words
from benchsuite.workload.plan import plan

FAST = SimConfig(ttft_ms=5.0, itl_ms=1.0)
TOLD = {word.encode() for word in set(ANSWERED) - set(prompt_words())}
RUN_OF = 4
"""So many words of a prompt in a row are its text."""
KEY = "canary-key-c0ffee"
HEADER = "canary-header-beef"
SHORT = ("--prompt-tokens", "40", "--output-tokens", "8", "--trials", "2")


def command(url, *words):
    return [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--url", url, *SHORT, *words]


def environment(store, **more):
    return {**os.environ, "BENCHSUITE_STORE": str(store), **more}


def ran(words, env, expect):
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode in expect, done.stdout + done.stderr
    return done


def run(store, url, *words, expect=(0, 3), **more):
    return ran(command(url, *words), environment(store, **more), expect)


def benchsuite(store, *words):
    return ran([sys.executable, "-m", "benchsuite", *words], environment(store), (0,)).stdout


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
    # The second block begins with one in flight, so only the four have to be warmed up again, briefly.
    assert Counter(record["phase"] for record in warm) == {"measure": 48, "warm_up": 2 + 8 + 4}


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
    ours = [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("BENCHSUITE_STORE") == str(tmp_path)
    ]
    assert ours == []


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


def test_warm_up_seconds_never_shorten_the_warm_up(tmp_path):
    with running(SimConfig(ttft_ms=200.0, itl_ms=1.0)) as simulator:
        words = ("--concurrency", "4", "--requests", "4", "--warm-up", "0.05", "--trials", "1")
        run(tmp_path, simulator.url, *words)
    phases = Counter(record["phase"] for record in records(tmp_path, "--with-warm-up"))
    assert phases == {"measure": 4, "warm_up": 8}


def test_nothing_is_imported_from_the_folder_that_it_runs_in(tmp_path):
    (tmp_path / "re.py").write_text("raise SystemExit('hostile')")
    (tmp_path / "struct.py").write_text("raise SystemExit('hostile')")
    words = ["run", "--backend", "sim", *SHORT, "--concurrency", "2", "--requests", "4"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "benchsuite", *words],
        env=environment(tmp_path / "store"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in {0, 3}, done.stderr


def contents(path, raw=True):
    """A file's bytes (`raw` False: not those of Parquet, which is compressed) and, of Parquet, its texts."""
    parquet = path.suffix == ".parquet"
    data = path.read_bytes() if raw or not parquet else b""
    if parquet:
        table = pq.read_table(path)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                data += " | ".join(text for text in column.to_pylist() if text).encode()
    return data


def runs_of_words(text):
    found = set()
    for stretch in re.findall(rb"[a-z]+(?: [a-z]+)+", text):
        words = stretch.split(b" ")
        found |= {tuple(words[i : i + RUN_OF]) for i in range(len(words) - RUN_OF + 1)}
    return found


def leaks(store, shown):
    """What can be read of prompts and answers in a store's files and in what was shown."""
    texts = {str(path): contents(path) for path in store.rglob("*") if path.is_file()}
    assert texts
    manifest = Store(store).select("latest").run().manifest
    prompts = set()
    for point in manifest.points:
        for trial in range(manifest.workload.trials + 1):
            requests = plan(
                manifest.workload,
                point,
                phase="measure" if trial else "warm_up",
                trial=trial,
                seed=manifest.seed,
                nonce=manifest.nonce,
                lengths=manifest.lengths,
            )
            for request in islice(requests, 2000):
                prompts |= runs_of_words(request.messages[0].content.encode())
    assert prompts
    found = []
    for name, text in (texts | {"screen": shown.encode()}).items():
        found += [(name, word) for word in TOLD if re.search(rb"\b%b\b" % word, text)]
        found += [(name, words) for words in runs_of_words(text) & prompts]
    return found


def shown_of(store):
    shows = (("show", "latest", "--how"), ("show", "latest", "--format", "jsonl"), ("results",))
    return "".join(benchsuite(store, *words) for words in shows)


def test_kept_text_is_what_the_search_for_leaks_would_find(tmp_path):
    with running(FAST) as simulator:
        done = run(tmp_path, simulator.url, "--concurrency", "2", "--requests", "4", "--keep-text")
    found = leaks(tmp_path, done.stdout + done.stderr)
    assert {Path(name).suffix for name, _ in found} == {".parquet"}
    assert {word for _, word in found} == TOLD & {word.encode() for word in ANSWERED[:8]}


class Echoing(BaseHTTPRequestHandler):
    """Refuses every prompt and quotes it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200, {"data": [{"id": "m"}]} if self.path.endswith("models") else {"status": "ok"})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = asked["messages"][0]["content"]
        self.server.heard.append(said)
        self.reply(400, {"error": {"message": f"can't answer {said}", "type": "invalid_request_error"}})

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


def test_a_server_that_quotes_prompts_in_its_errors_makes_none_readable(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Echoing) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        words = ("--backend", "openai", "--concurrency", "2", "--requests", "8", "--trials", "1")
        done = run(tmp_path, url, *words, expect=(3,))
        server.shutdown()
        thread.join()
    assert {record["outcome"] for record in records(tmp_path)} == {"http_error"}
    shown = done.stdout + done.stderr + shown_of(tmp_path)
    assert leaks(tmp_path, shown) == []
    assert leaks(tmp_path, server.heard[-1])


@pytest.mark.parametrize("stop", ["finish", "interrupt", "kill"])
def test_no_secret_and_no_name_is_in_any_file_or_text(tmp_path, stop):
    secrets = [KEY, HEADER, f"/{getpass.getuser()}/", str(Path.home()) + "/"]
    # A host name can be two letters, which stand in ids and in compressed bytes by chance.
    host = re.compile(rb"(?<![A-Za-z0-9])%s(?![A-Za-z0-9])" % re.escape(socket.gethostname().encode()))
    store = tmp_path / "store"
    model = str(Path.home() / "models" / "customer")
    # Strict: the server itself has to be asked for the real name.
    with running(msgspec.structs.replace(FAST, model=model, strict=True)) as simulator:
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
    shown = text + shown_of(store)
    files = [path for path in store.rglob("*") if path.is_file()]
    assert files
    done = Store(store).select("latest").run()
    assert done.summaries[0].outcomes.get("ok")
    assert done.manifest.model == "~/models/customer"
    assert done.manifest.identity.models == ("~/models/customer",)
    for secret in secrets:
        assert secret not in shown
        for path in files:
            assert secret.encode() not in contents(path), (secret, path)
    assert not [path for path in files if host.search(contents(path, raw=False))]
    assert not host.search(shown.encode())
    assert leaks(store, shown) == []


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
