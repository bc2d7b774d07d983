"""An API that nobody has a driver for, measured from a file that describes it: `tests/fastapi_app`."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from benchsuite.conclude import recover
from benchsuite.store.runs import Store

APP = Path(__file__).parent / "fastapi_app"
KEY = "canary-story-key-51d0"
LOAD = (
    "--prompt-tokens",
    "24",
    "--output-tokens",
    "12",
    "--concurrency",
    "2",
    "--requests",
    "8",
    "--trials",
    "2",
)


@contextlib.contextmanager
def listening(folder):
    """The app on a free port, until the block ends: its URL and its log."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    log = folder / "app.jsonl"
    words = ["-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "critical", "--no-access-log"]
    env = {**os.environ, "APP_LOG": str(log), "APP_KEY": KEY, "PYTHONPATH": str(APP)}
    process = subprocess.Popen([sys.executable, *words], env=env, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/about") as answer:
                answer.read()
                break
            assert process.poll() is None
            time.sleep(0.05)
        yield url, log
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with listening(tmp_path_factory.mktemp("app")) as found:
        yield found


def benchsuite(store, *words, expect=(0,), key=KEY):
    env = {**os.environ, "BENCHSUITE_STORE": str(store), "STORY_KEY": key}
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=APP,
    )
    assert done.returncode in expect, done.stdout + done.stderr
    return done


def measured(store, url, spec, *words):
    # A busy machine may make a run invalid, for reasons that aren't looked at here.
    asked = ("run", "--spec", str(APP / spec), "--url", url, "--api-key-env", "STORY_KEY", *LOAD, *words)
    done = benchsuite(store, *asked, expect=(0, 3))
    records = benchsuite(store, "show", "latest", "--format", "jsonl").stdout.splitlines()
    return Store(store).select("latest").run(), [json.loads(line) for line in records], done


def truth(log):
    return {entry["id"]: entry for entry in map(json.loads, log.read_text().splitlines())}


@pytest.mark.parametrize("spec", ["api.toml", "growing.toml"])
def test_a_home_made_stream_is_measured_as_the_service_itself_saw_it(service, tmp_path, spec):
    url, log = service
    run, records, _ = measured(tmp_path, url, spec)
    codes = {
        warning.code
        for summary in run.summaries
        for warning in summary.warnings
        if warning.level == "invalid"
    }
    assert run.verdict != "invalid" or codes <= {"send_lag", "delivered", "coalesced"}
    assert run.manifest.backend == "http" and run.manifest.identity.server == "storyteller"
    true = truth(log)
    counted = spec == "api.toml"
    assert len(records) == 16
    for record in records:
        entry = true[record["request_id"]]
        assert record["outcome"] == "ok"
        assert len(record["gaps_us"]) + 1 == len(entry["sent_ns"]) == 12
        assert record["output_tokens"] == (12 if counted else None)
        assert record["prompt_tokens"] == (entry["prompt"] if counted else None)
        assert record["finish_reason"] == ("limit" if counted else None)
        # The same clock on the same machine: what was heard lies behind what was sent.
        assert record["sent_ns"] < entry["received_ns"] < entry["sent_ns"][0] < record["first_token_ns"]
        assert entry["sent_ns"][-1] < record["last_token_ns"]
    if counted:
        assert {record["prompt_tokens"] for record in records} == {24}
    own = statistics.median(entry["sent_ns"][0] - entry["received_ns"] for entry in true.values())
    seen = statistics.median(record["first_token_ns"] - record["sent_ns"] for record in records)
    assert 0.9 * own < seen < 3 * own
    spans = [
        (record["last_token_ns"] - record["first_token_ns"])
        / (true[record["request_id"]]["sent_ns"][-1] - true[record["request_id"]]["sent_ns"][0])
        for record in records
    ]
    assert 0.8 < statistics.median(spans) < 1.25


def test_nothing_that_is_sent_is_stored_and_a_crashed_run_is_recovered(service, tmp_path):
    url, _ = service
    run, _, done = measured(tmp_path / "store", url, "api.toml")
    assert "--spec api.toml" in run.manifest.command and str(APP) not in run.manifest.command
    assert "/stories" not in run.manifest.options["spec"]
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert KEY.encode() not in data and str(APP).encode() not in data, path
    assert KEY not in done.stdout + done.stderr
    folder = tmp_path / "store" / run.manifest.run_id
    assert (folder / "plan.json").exists()
    (folder / "run.json").unlink()
    (again,) = recover(Store(tmp_path / "store"), lambda stage: None)
    assert again.status == "recovered"
    assert [row.outcomes for row in again.summaries] == [row.outcomes for row in run.summaries]
    kinds = [{each.code for each in row.warnings} - {"interrupted"} for row in again.summaries]
    assert kinds == [{each.code for each in row.warnings} for row in run.summaries]


def test_a_wrong_key_is_told(service, tmp_path):
    url, _ = service
    words = ("run", "--spec", "api.toml", "--url", url, "--api-key-env", "STORY_KEY", *LOAD)
    done = benchsuite(tmp_path, *words, expect=(2,), key="another")
    assert "HTTP 401" in done.stderr and "another" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--backend", "http"), "--backend http needs --spec FILE"),
        (("--spec", "nothing.toml"), "can't read nothing.toml"),
        (("--spec", "app.py"), "--spec: "),
        (("--backend", "http", "--option", "spec=name"), "--spec FILE"),
        (("--spec", "api.toml"), "wants a key"),
        (("--spec", "api.toml", "--backend", "openai"), "no option 'spec'"),
        (("--spec", "api.toml", "--endpoint", "chat"), "no endpoint 'chat'"),
    ],
)
def test_what_cannot_work_is_told_in_a_line_before_anything_is_sent(service, tmp_path, words, told):
    url, _ = service
    done = benchsuite(tmp_path, "run", "--url", url, *words, *LOAD, expect=(2,))
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("benchsuite: "))
    assert told in line and "Traceback" not in done.stderr
    assert not Store(tmp_path).runs()


def test_the_guide_shows_the_specification_that_is_tested():
    guide = (APP.parents[1] / "docs" / "guide" / "your-api.md").read_text(encoding="utf-8")
    shown = guide.partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(shown) == tomllib.loads((APP / "api.toml").read_text(encoding="utf-8"))


def test_a_dry_run_says_what_would_be_sent(service, tmp_path):
    url, _ = service
    words = ("--spec", "api.toml", "--url", url, "--api-key-env", "STORY_KEY", "--dry-run")
    done = benchsuite(tmp_path, "run", *words, *LOAD)
    assert "storyteller 1.4" in done.stdout and "POST /stories" in done.stdout
