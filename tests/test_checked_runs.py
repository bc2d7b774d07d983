"""Runs whose answers are checked: what passed, what it cost, and that no text of it stays anywhere."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import msgspec
import pyarrow.parquet as pq
import pytest

from benchsuite.report.checks import pass_cell, passed_cost_cell, passed_lines
from benchsuite.simulator import SimConfig, running
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.stats.columns import trials_of
from benchsuite.stats.passed import NONE_PASSED, passed_rates, wilson
from benchsuite.stats.rates import Window
from benchsuite.store.runs import Store
from benchsuite.types import Price
from tests.trials import failed, request, table

SENTINEL = "cobaltblue-heron"
ITEMS = 12
WRONG = {1, 4, 9}
"""Items that the simulator answers wrongly; 7 it answers in a fenced block."""
FAST = SimConfig(ttft_ms=3.0, itl_ms=0.2, batches=BatchConfig(seconds=0.2))


def answer(number):
    text = json.dumps({"number": number, "name": f"Möwe {number} {SENTINEL}"}, ensure_ascii=False)
    return f"```json\n{text}\n```" if number == 7 else text


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rows, said = [], {}
    for number in range(ITEMS):
        prompt = f"Notice number {number}. of the {SENTINEL} society"
        expected = {"name": f"Möwe {number} {SENTINEL}", "number": float(number)}
        rows.append({"prompt": prompt, "expected": expected, "output_tokens": 60})
        said[f"number {number}."] = answer(number) if number not in WRONG else answer(number + 100)
    (folder / "notices.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "said.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def server(files):
    config = msgspec.structs.replace(FAST, answers_path=str(files / "said.json"))
    with running(config) as simulator:
        yield simulator


def words(store, url, files, *more, backend="sim"):
    return [
        *(sys.executable, "-m", "benchsuite", "run", "--backend", backend, "--url", url),
        *("--store", str(store), "--dataset", str(files / "notices.jsonl"), "--check", "json-schema"),
        *more,
    ]


def run(store, url, files, *more, backend="sim"):
    argv = words(store, url, files, *more, backend=backend)
    keys = {"OPENAI_API_KEY": "canary-key", "ANTHROPIC_API_KEY": "canary-key"}
    env = {**os.environ, **keys}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def records(store):
    return Store(store).select("latest").records(0).to_pylist()


def texts_of(store):
    for path in sorted(store.rglob("*")):
        if path.is_file():
            is_table = path.suffix == ".parquet"
            yield path, repr(pq.read_table(path).to_pylist()).encode() if is_table else path.read_bytes()


@pytest.mark.parametrize("backend", ["sim", "openai", "anthropic", "ollama"])
def test_each_answer_is_judged_by_the_expected_one_of_its_item(tmp_path, server, files, backend):
    more = ["--trials", "2", "--concurrency", "3"]
    if backend != "sim":
        more[1] = "1"
    done = run(tmp_path, server.url, files, *more, backend=backend)
    found = records(tmp_path)
    assert {record["item"] for record in found} == set(range(ITEMS))
    assert all(record["passed"] == (record["item"] not in WRONG) for record in found)
    assert all(record["asked_output_tokens"] == 60 for record in found)
    summary = Store(tmp_path).select("latest").run().summaries[0]
    rate = summary.rates["pass_rate"]
    assert (rate.value, rate.n) == (9 / 12, len(found))
    # Wilson's interval by hand for 9 of 12: n is the number of items, however often they were asked.
    assert (rate.low, rate.high) == (pytest.approx(0.4676941, abs=1e-6), pytest.approx(0.9110583, abs=1e-6))
    assert "usd_per_1k_passed" not in summary.rates
    n = len(found)
    assert f"Passed the check (json-schema): {n * 3 // 4} of {n} requests, 75 % (47 to 91 %" in done.stdout


def test_nothing_of_prompts_and_answers_is_in_the_store_or_on_the_screen(tmp_path, server, files):
    done = run(tmp_path, server.url, files, "--trials", "1")
    assert SENTINEL not in done.stdout + done.stderr
    found = list(texts_of(tmp_path))
    assert any(path.suffix == ".parquet" for path, _ in found)
    for path, text in found:
        assert SENTINEL.encode() not in text, path
        assert str(files).encode() not in text, path
    manifest = Store(tmp_path).select("latest").run().manifest
    assert (manifest.workload.dataset.file, manifest.workload.dataset.number) == ("notices.jsonl", ITEMS)
    # The same check of the check: with --keep-text it has to be found.
    run(tmp_path / "kept", server.url, files, "--trials", "1", "--keep-text")
    assert any(SENTINEL.encode() in text for _, text in texts_of(tmp_path / "kept"))


def test_dollars_of_passed_answers_are_all_that_was_billed_over_those_that_passed(tmp_path, server, files):
    run(tmp_path, server.url, files, "--trials", "3", "--token-price", "250,1000")
    found = records(tmp_path)
    usd = math.fsum((250 * one["prompt_tokens"] + 1000 * one["output_tokens"]) / 1e6 for one in found)
    cost = Store(tmp_path).select("latest").run().summaries[0].rates["usd_per_1k_passed"]
    assert cost.value == pytest.approx(1000 * usd / 27, abs=0.005)
    assert cost.n == 27


def test_a_batch_is_judged_too(tmp_path, server, files):
    run(tmp_path, server.url, files, "--batch-api", "--token-price", "1,4", backend="openai")
    found = records(tmp_path)
    assert {one["item"]: one["passed"] for one in found} == {item: item not in WRONG for item in range(ITEMS)}
    assert "usd_per_1k_passed" in Store(tmp_path).select("latest").run().summaries[0].rates


@pytest.mark.parametrize("shipped", [False, True])
def test_a_recovered_run_judges_what_it_can(tmp_path, server, files, shipped):
    """Of a dataset of one's own the right answers aren't stored: what wasn't decoded yet stays unjudged."""
    slow = SimConfig(ttft_ms=30.0, itl_ms=1.0)
    with running(slow) as simulator:
        argv = words(tmp_path, simulator.url, files, "--requests", "5000", "--concurrency", "4")
        if shipped:
            argv = [*argv[:8], "--workload", "task", "--requests", "5000", "--concurrency", "4"]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not any(path.stat().st_size > 20_000 for path in tmp_path.glob("*/spool/0-1-*.*")):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    recover = [sys.executable, "-m", "benchsuite", "store", "recover", "--store", str(tmp_path)]
    subprocess.run(recover, check=True, capture_output=True, timeout=60)
    summary = Store(tmp_path).select("latest").run().summaries[0]
    found = {one["passed"] for one in records(tmp_path) if one["outcome"] == "ok"}
    codes = {warning.code for warning in summary.warnings}
    if shipped:
        assert found == {False} and "pass_rate" in summary.rates and "unjudged" not in codes
        assert list(passed_lines(Store(tmp_path).select("latest").run()))
    else:
        assert found == {None} and "pass_rate" not in summary.rates and "unjudged" in codes


def test_an_image_is_refused_before_the_start_where_the_door_takes_none(tmp_path, server, files):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    row = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}],
        "output_tokens": 4,
    }
    path = tmp_path / "images.jsonl"
    path.write_text(json.dumps(row))
    argv = [sys.executable, "-m", "benchsuite", "run", "--backend", "openai", "--url", server.url]
    argv += ["--store", str(tmp_path / "store"), "--dataset", str(path), "--trials", "1"]
    refused = subprocess.run([*argv, "--endpoint", "completions"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "images" in refused.stderr
    taken = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert taken.returncode == 0, taken.stderr
    # The simulator counts an image at 85 tokens: it was there.
    assert records(tmp_path / "store")[0]["prompt_tokens"] > 85


# ---------------------------------------------------------------- by hand


def columns(*trials):
    return [each for _, each in trials_of(table(*trials), ())]


def rates(*trials, price=None, seconds=10.0):
    found = columns(*trials)
    start = min(int(each.sent_ns.min()) for each in found) - 1
    window = Window(start_ns=start, end_ns=start + round(seconds * 1e9))
    return passed_rates([(each, window) for each in found], found, price)


def test_failed_requests_did_not_pass_and_unjudged_answers_do_not_count():
    one = [
        request(0, passed=True, item=0),
        request(1, passed=False, item=1),
        failed(2, 3, passed=False, item=2),
    ]
    found = rates([*one, request(3, passed=None, item=3)])
    assert (found["pass_rate"].value, found["pass_rate"].n) == (1 / 3, 3)
    assert found["pass_rate"].basis == "Wilson, 3 items"
    assert rates([request(0), request(1)]) == {}


def test_the_hours_dollars_over_the_passed_answers_of_the_window():
    trial = [request(number, passed=number % 2 == 0) for number in range(10)]
    price = Price(gpu="H100", count=2, usd_per_gpu_hour=3.6, source="stated")
    cost = rates(trial, price=price, seconds=10.0)["usd_per_1k_passed"]
    # 5 passed in 10 s at 2 × $3.60 an hour: 0.5 a second, 2,000 s for a thousand, $0.002 a second.
    assert cost.value == pytest.approx(4.0, abs=1e-9)


def test_billed_dollars_by_hand_with_failed_and_unpriced_ones():
    trial = [
        request(0, passed=True, cost_usd=0.010),
        request(1, passed=False, cost_usd=0.030),
        request(2, passed=True, cost_usd=None),
        request(3, passed=None, cost_usd=5.0),
        failed(4, 5, passed=False, cost_usd=0.002),
    ]
    assert rates(trial)["usd_per_1k_passed"].value == pytest.approx(1000 * 0.042 / 1)
    both = rates(trial, [request(0, passed=True, cost_usd=0.02), request(1, passed=True, cost_usd=0.02)])
    assert both["usd_per_1k_passed"].value == pytest.approx(1000 * 0.082 / 3)
    assert both["usd_per_1k_passed"].low is None


def test_with_none_passed_there_is_no_number_but_a_word():
    price = Price(gpu="H100", usd_per_gpu_hour=3.6, source="stated")
    for found in (
        rates([request(0, passed=False)], price=price),
        rates([request(0, passed=False, cost_usd=1.0)]),
    ):
        cost = found["usd_per_1k_passed"]
        assert (cost.value, cost.basis) == (None, NONE_PASSED)
        assert found["pass_rate"].value == 0


def test_wilson_against_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81 / 263, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0.0, 20) == (0.0, pytest.approx(0.1611, abs=5e-5))
    assert wilson(1.0, 29) == (pytest.approx(0.8830, abs=5e-5), 1.0)


def test_cells():
    class Row:
        rates = rates([request(0, passed=True), request(1, passed=False), request(2, passed=False)])

    assert pass_cell(Row) == "33.3 %"
    assert passed_cost_cell(Row) == "–"
