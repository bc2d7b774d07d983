"""The simulator's own batch APIs through the command line; and what a workload file may say of batches."""

import json

import pytest

from benchsuite.errors import UsageError
from benchsuite.simulator import SimConfig, running
from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.simulator.batches import anthropic
from benchsuite.simulator.batches.ledger import Item, Ledger
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page
from benchsuite.workload.load import load as load_workload
from benchsuite.workload.load import overridden
from benchsuite.workload.points import points
from benchsuite.workload.schema import parsed

BASES = {"openai": "/v1", "anthropic": "", "gemini": ""}
FILE = """
name = "b"
version = 1
description = "a batch"
[prompts]
tokens = [64, 128]
[outputs]
tokens = 8
[load]
batch = true
[stop]
requests = 9
trials = 1
"""


@pytest.mark.parametrize("vendor", BASES)
def test_a_batch_through_the_simulator(client, tmp_path, vendor):
    log = tmp_path / "log.jsonl"
    batches = BatchConfig(seconds=0.3, fail_rate=0.25, log=str(log))
    with running(SimConfig(model="m", batches=batches)) as simulator:
        words = ["run", "--backend", vendor, "--url", simulator.url + BASES[vendor], "--model", "m"]
        words += ["--batch-api", "--requests", "20", "--batch-poll", "0.05", "--output-tokens", "8"]
        client.done(*words, "--prompt-tokens", "40", expect=(3,))
    (entry,) = map(json.loads, log.read_text().splitlines())
    records = client.records()
    assert entry["ids"] == [record["request_id"] for record in records]
    good = [record for record in records if record["outcome"] == "ok"]
    assert {(record["prompt_tokens"], record["output_tokens"]) for record in good} == {(40, 8)}
    assert 0 < len(good) < 20
    assert {record["outcome"] for record in records} == {"ok", "http_error"}


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def job_of(clock, **config):
    ledger = Ledger(BatchConfig(seconds=10.0, **config), lambda *_: Page(body=b"{}"), clock)
    items = [Item(f"i-{number}", "/v1/chat/completions", {}) for number in range(10)]
    return ledger, ledger.create("openai", "b_", "l", items, {})


def test_a_batch_goes_on_by_the_clock_and_ends_in_one_way():
    clock = Clock()
    ledger, job = job_of(clock, expires_s=7.0)
    clock.now_s += 3.5
    assert ledger.find("openai", job.id).count("done") == 3
    clock.now_s += 100
    found = ledger.find("openai", job.id)
    assert (found.reason, found.count("done"), found.count("expired")) == ("expired", 7, 3)
    assert found.ended_s == 1007.0
    ledger.cancel(job)
    assert job.reason == "expired"


def test_a_cancelled_batch_keeps_what_was_done():
    clock = Clock()
    ledger, job = job_of(clock)
    clock.now_s += 5
    ledger.cancel(job)
    assert (job.reason, job.count("done"), job.count("cancelled"), job.ended_s) == ("cancelled", 5, 5, 1005.0)
    with pytest.raises(Refused):
        ledger.find("anthropic", job.id)


@pytest.mark.parametrize(
    ("headers", "scheme", "origin"),
    [
        ({"host": "sim:8"}, "http", "http://sim:8"),
        ({"host": "sim:8"}, "https", "https://sim:8"),
        ({}, "http", ""),
    ],
)
def test_anthropics_results_are_where_the_client_found_the_server(headers, scheme, origin):
    clock = Clock()
    ledger = Ledger(BatchConfig(seconds=1.0), lambda *_: Page(body=b"{}"), clock)
    job = ledger.create("anthropic", "msgbatch_", "", [Item("i-0", "/v1/messages", {})], {})
    pages = anthropic.Pages(ledger, scheme)
    incoming = Incoming("GET", "/", "", b"", 0, False, False, "", headers)
    assert json.loads(pages.get(incoming, {"batch": job.id}).body)["results_url"] is None
    clock.now_s += 2
    told = json.loads(pages.get(incoming, {"batch": job.id}).body)
    assert told["results_url"] == f"{origin}/v1/messages/batches/{job.id}/results"


def test_a_cancelled_batch_takes_a_while_to_end_and_its_end_is_asked_for_once():
    clock = Clock()
    ledger, job = job_of(clock, cancel_s=2.0)
    clock.now_s += 5
    ledger.cancel(job)
    assert (job.reason, job.cancelled_s, job.ended_s) == ("waiting", 1005.0, None)
    clock.now_s += 1
    ledger.cancel(job)
    clock.now_s += 2
    ledger.find("openai", job.id)
    assert (job.reason, job.ended_s, job.count("done")) == ("cancelled", 1007.0, 7)


def test_a_workload_file_can_ask_for_batches():
    workload = parsed(FILE, "b.toml")
    assert [(point.load, point.label, point.prompt_tokens) for point in points(workload)] == [
        ("batch-api", "one batch", 64),
        ("batch-api", "one batch", 128),
    ]
    changed = overridden(workload, concurrency=4)
    assert (changed.batch, changed.concurrency) == (False, (4,))


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("batch = true", "batch = true\nconcurrency = 4", "no concurrency, no rate"),
        ("requests = 9", "seconds = 9", r"set \[stop\] requests"),
        ("batch = true", 'batch = "yes"', "must be true or false"),
        ("[stop]", '[cache]\nmode = "warm"\n[stop]', "isn't warmed up"),
    ],
)
def test_what_makes_no_sense_in_a_file_is_refused(old, new, hint):
    with pytest.raises(UsageError, match=hint):
        parsed(FILE.replace(old, new), "b.toml")


def test_a_batch_takes_the_place_of_any_load_and_is_one_trial_unless_more_are_asked_for():
    quick = load_workload("quick")
    assert quick.trials > 1
    changed = overridden(quick, batch=True, requests=5)
    assert (changed.concurrency, changed.rate, changed.trials, changed.requests) == ((), (), 1, 5)
    assert overridden(quick, batch=True, requests=5, trials=2).trials == 2
