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

from benchsuite.asked import Options, check_asked
from benchsuite.conclude import recover
from benchsuite.driver import load as load_driver
from benchsuite.errors import UsageError
from benchsuite.report.checks import pass_cell, passed_cost_cell
from benchsuite.simulator import SimConfig, running
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.stats.columns import trials_of
from benchsuite.stats.passed import NONE_PASSED, passed_rates, wilson
from benchsuite.stats.rates import Window
from benchsuite.store.runs import Store
from benchsuite.types import Price, Source, Target
from benchsuite.workload.load import load, overridden
from benchsuite.workload.material import opened
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
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
    # On a busy machine so short answers may not fill a slot: an invalid run is one all the same.
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    return done


def records(store):
    return Store(store).select("latest").records(0).to_pylist()


def texts_of(store):
    for path in sorted(store.rglob("*")):
        if path.is_file():
            is_table = path.suffix == ".parquet"
            yield path, repr(pq.read_table(path).to_pylist()).encode() if is_table else path.read_bytes()


@pytest.fixture(scope="module")
def measured(tmp_path_factory, server, files):
    """A run of three trials, each of all items, and where it is kept."""
    store = tmp_path_factory.mktemp("store")
    done = run(store, server.url, files, "--trials", "3", "--concurrency", "3", "--token-price", "250,1000")
    return store, done


def test_each_answer_is_judged_by_the_expected_one_of_its_item(measured):
    store, done = measured
    found = records(store)
    assert len(found) == 3 * ITEMS
    assert {record["item"] for record in found} == set(range(ITEMS))
    assert all(record["passed"] == (record["item"] not in WRONG) for record in found)
    assert all(record["asked_output_tokens"] == 60 for record in found)
    rate = Store(store).select("latest").run().summaries[0].rates["pass_rate"]
    assert (rate.value, rate.n) == (9 / 12, 36)
    # Wilson's interval by hand for 9 of 12: n is the number of items, however often they were asked.
    assert (rate.low, rate.high) == (pytest.approx(0.4676941, abs=1e-6), pytest.approx(0.9110583, abs=1e-6))
    said = " ".join(done.stdout.split())
    assert "Passed the check (json-schema): 27 of 36 requests, 75 % (47 to 91 %; Wilson, 12 items)" in said


def test_another_dialect_is_judged_by_what_it_says(tmp_path, server, files):
    run(tmp_path, server.url, files, "--trials", "1", backend="anthropic")
    found = records(tmp_path)
    assert {one["item"]: one["passed"] for one in found} == {item: item not in WRONG for item in range(ITEMS)}
    rates = Store(tmp_path).select("latest").run().summaries[0].rates
    assert "pass_rate" in rates and "usd_per_1k_passed" not in rates


def test_nothing_of_prompts_and_answers_is_in_the_store_or_on_the_screen(measured, files):
    store, done = measured
    assert SENTINEL not in done.stdout + done.stderr
    found = list(texts_of(store))
    assert any(path.suffix == ".parquet" for path, _ in found)
    for path, text in found:
        assert SENTINEL.encode() not in text, path
        assert str(files).encode() not in text, path
    manifest = Store(store).select("latest").run().manifest
    assert (manifest.workload.dataset.file, manifest.workload.dataset.number) == ("notices.jsonl", ITEMS)


def test_dollars_of_passed_answers_are_all_that_was_billed_over_those_that_passed(measured):
    store, _ = measured
    found = records(store)
    usd = math.fsum((250 * one["prompt_tokens"] + 1000 * one["output_tokens"]) / 1e6 for one in found)
    cost = Store(store).select("latest").run().summaries[0].rates["usd_per_1k_passed"]
    assert cost.value == pytest.approx(1000 * usd / 27, abs=0.005)
    assert cost.n == 27


def test_a_batch_is_judged_too(tmp_path, server, files):
    run(tmp_path, server.url, files, "--batch-api", "--token-price", "1,4", backend="openai")
    found = records(tmp_path)
    assert {one["item"]: one["passed"] for one in found} == {item: item not in WRONG for item in range(ITEMS)}
    assert "usd_per_1k_passed" in Store(tmp_path).select("latest").run().summaries[0].rates


def test_a_recovered_run_says_what_could_not_be_judged_any_more(tmp_path, files):
    """Right answers aren't stored: what wasn't decoded when a run was killed stays unjudged."""
    with running(SimConfig(ttft_ms=30.0, itl_ms=1.0)) as simulator:
        argv = words(tmp_path, simulator.url, files, "--requests", "5000", "--concurrency", "4")
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not any(path.stat().st_size > 20_000 for path in tmp_path.glob("*/spool/0-1-*.*")):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    recover(Store(tmp_path), lambda stage: None)
    summary = Store(tmp_path).select("latest").run().summaries[0]
    assert {one["passed"] for one in records(tmp_path) if one["outcome"] == "ok"} == {None}
    assert "pass_rate" not in summary.rates
    assert "unjudged" in {warning.code for warning in summary.warnings}


def test_images_go_out_as_they_are_and_are_refused_before_the_start_where_a_door_takes_none(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    row = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}],
        "output_tokens": 4,
    }
    (tmp_path / "images.jsonl").write_text(json.dumps(row))
    asked = overridden(load("quick"), dataset=Source(file="images.jsonl"))
    workload, material = opened(asked, tmp_path)
    driver = load_driver("openai", {})
    options = Options(backend="openai", workload=workload, material=material, url="http://127.0.0.1:1")
    check_asked(driver, options)
    with pytest.raises(UsageError, match="images"):
        check_asked(driver, msgspec.structs.replace(options, options={"endpoint": "completions"}))
    (point, *_) = points(workload)
    (found,) = plan(
        workload, point, phase="measure", trial=1, seed=0, nonce="n", lengths=None, material=material
    )
    target = Target(backend="openai", url="http://127.0.0.1:1", model="m")
    body = json.loads(driver.encode(found, target).body)
    assert body["messages"] == row["messages"]


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
        failed(2, 3, item=2),
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
