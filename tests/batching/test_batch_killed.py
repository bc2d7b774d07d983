"""A batch run killed (kill -9) at every step of its life, and resumed: each request is asked exactly once."""

import re
import sys

import msgspec
import pytest

from benchsuite.batch.session import Pace, Session
from benchsuite.driver import load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.trial import Interrupt
from benchsuite.simulator.batches.ledger import Item
from benchsuite.types import Connection, Target

REQUESTS = 6
STEPS = {
    ("openai", "before it is uploaded"): ("POST", r"/files$", "before", 0),
    ("openai", "after it is uploaded"): ("POST", r"/files$", "after", 0),
    ("openai", "before it is made"): ("POST", r"/batches$", "before", 0),
    ("openai", "after it is made"): ("POST", r"/batches$", "after", 0),
    ("openai", "while it works"): ("GET", r"/batches/[^/]+$", "before", 1),
    ("openai", "while its answers are fetched"): ("GET", r"/content$", "before", 0),
    ("anthropic", "before it is made"): ("POST", r"/batches$", "before", 0),
    ("anthropic", "after it is made"): ("POST", r"/batches$", "after", 0),
    ("anthropic", "while it works"): ("GET", r"/batches/[^/]+$", "before", 1),
    ("anthropic", "while its answers are fetched"): ("GET", r"/results$", "before", 0),
    ("gemini", "before it is made"): ("POST", r":batchGenerateContent$", "before", 0),
    ("gemini", "after it is made"): ("POST", r":batchGenerateContent$", "after", 0),
    ("gemini", "while it works"): ("GET", r"/batches/[^/]+$", "before", 1),
}


def is_whole(client, server, run_id):
    """One batch was handed in, and each of its requests has one good record in a finished run."""
    ids = [f"{run_id}-0-1-{index}" for index in range(REQUESTS)]
    assert server.submissions() == [ids]
    records = client.records()
    assert sorted(record["request_id"] for record in records) == sorted(ids)
    assert {record["outcome"] for record in records} == {"ok"}
    assert {record["output_tokens"] for record in records} == {8}
    assert {record["prompt_tokens"] for record in records} == {40}
    assert client.run_dir().run().status == "finished"


@pytest.mark.parametrize(("vendor", "when"), STEPS)
def test_each_request_is_asked_once_wherever_the_run_is_killed(serving, client, stopping, vendor, when):
    server = serving(vendor)
    step = stopping(*STEPS[vendor, when])
    run_id = client.killed_at(server, step, *client.asked(server))
    step.released.set()
    client.done("batch", "resume", run_id, "--batch-poll", "0.05", expect=(0, 3))
    is_whole(client, server, run_id)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_a_batch_that_is_made_only_after_we_are_back_is_not_made_twice(serving, client, stopping, vendor):
    server = serving(vendor)
    made = {"openai": r"/batches$", "anthropic": r"/batches$", "gemini": r":batchGenerateContent$"}[vendor]
    step = stopping("POST", made, "before")
    step.late = True
    run_id = client.killed_at(server, step, *client.asked(server))

    def listed_once(method, path):
        # The server makes the batch right after it has said that there is none.
        if method == "GET" and path.endswith("/batches") and not step.released.is_set():
            answer = server.answer(method, path, "", {}, b"")
            step.released.set()
            return answer
        return None

    server.before = listed_once
    # A batch may show up within 12 times the first poll after it was sent.
    client.done("batch", "resume", run_id, "--batch-poll", "2", expect=(0, 3))
    is_whole(client, server, run_id)


def test_a_server_that_drops_labels_has_its_batch_found_by_the_answers(serving, client, stopping):
    server = serving("openai")

    def without_metadata(_method, _path, answer):
        body = re.sub(rb'"metadata": ?\{[^{}]*\}', b'"metadata": null', answer.body)
        return msgspec.structs.replace(answer, body=body)

    server.changed = without_metadata
    run_id = client.killed_at(server, stopping("POST", r"/batches$", "after"), *client.asked(server))
    server.step.released.set()
    client.done("batch", "resume", run_id, "--batch-poll", "0.05", expect=(0, 3))
    is_whole(client, server, run_id)


def test_a_batch_of_somebody_else_is_not_taken_for_ours(serving, client, stopping):
    server = serving("anthropic")
    run_id = client.killed_at(server, stopping("POST", r"/batches$", "before"), *client.asked(server))
    server.step.released.set()
    body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "theirs"}]}
    theirs = {"requests": [{"custom_id": f"theirs-{i}", "params": body} for i in range(REQUESTS)]}
    server.answer("POST", "/v1/messages/batches", "", {}, msgspec.json.encode(theirs))
    client.done("batch", "resume", run_id, "--batch-poll", "0.05", expect=(0, 3))
    first, ours = server.submissions()
    assert first[0] == "theirs-0"
    assert ours == [f"{run_id}-0-1-{index}" for index in range(REQUESTS)]
    assert {record["outcome"] for record in client.records()} == {"ok"}


def test_ours_is_found_behind_a_page_of_others(serving, client, stopping):
    server = serving("openai")
    run_id = client.killed_at(server, stopping("POST", r"/batches$", "after"), *client.asked(server))
    server.step.released.set()
    ours = server.ledger._jobs.popitem()
    server.ledger._jobs[ours[0]] = ours[1]
    for number in range(230):
        job = msgspec.structs.replace(ours[1], id=f"batch_{number}", label="", items=[], fates=[])
        job.more = {**ours[1].more, "metadata": {}}
        server.ledger._jobs[job.id] = job
    client.done("batch", "resume", run_id, "--batch-poll", "0.05", expect=(0, 3))
    assert sum(method == "GET" and "/batches?" in path for method, path in server.heard) == 3
    assert len([ids for ids in server.submissions() if ids]) == 1
    assert {record["outcome"] for record in client.records()} == {"ok"}


def test_a_key_that_a_command_says_is_asked_for_again_on_resuming(serving, client, stopping, tmp_path):
    server = serving("openai")
    said = tmp_path / "said"
    command = f"{sys.executable} -c \"open({str(said)!r}, 'a').write('x'); print('spoken')\""
    step = stopping("GET", r"/batches/[^/]+$", "before")
    run_id = client.killed_at(server, step, *client.asked(server, "--token-command", command))
    step.released.set()
    _, err = client.done("batch", "resume", run_id, expect=(2,))
    assert "--token-command: give it again" in err
    before = len(said.read_text())
    words = ("--token-command", command, "--batch-poll", "0.05")
    client.done("batch", "resume", run_id, *words, expect=(0, 3))
    assert len(said.read_text()) == before + 1
    written = b"".join(path.read_bytes() for path in client.run_dir().path.rglob("*") if path.is_file())
    assert b"spoken" not in written
    is_whole(client, server, run_id)


def test_a_key_is_said_again_when_it_is_old(serving, monkeypatch):
    server = serving("openai", seconds=600.0)
    items = [Item("a-0", "/v1/chat/completions", {})]
    job = server.ledger.create("openai", "batch_", "a", items, {}, endpoint="", input="", metadata={})
    target = Target(backend="openai", url=server.url, model="m", key="first")
    endpoint = resolve(target, Connection())
    keys = iter(["second"])
    session = Session(load("openai"), target, endpoint, Pace(), Interrupt(), lambda: next(keys))
    assert session.state(job.id).total == 1
    assert session.target.key == "first"
    monkeypatch.setattr("benchsuite.batch.session.is_old", lambda _since_ns: True)
    assert session.state(job.id).total == 1
    assert session.target.key == "second"
