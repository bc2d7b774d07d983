"""What becomes of a batch: failures, expiry, cancelling, answers astray, servers that refuse or stutter."""

import json
import re
import signal
from collections import Counter

import msgspec
import pytest

from benchsuite.simulator.http import Page
from benchsuite.simulator.http import json as page

VENDORS = ("openai", "anthropic", "gemini")
INVALID = (3,)
CREATES = re.compile(r"/batches$|:batchGenerateContent$")


def outcomes(client):
    return Counter((record["outcome"], record["error_kind"]) for record in client.records())


@pytest.mark.parametrize("vendor", VENDORS)
def test_failures_are_records_and_so_is_the_rest(serving, client, vendor):
    server = serving(vendor, fail_rate=0.3)
    out, _ = client.done(*client.asked(server, requests=40), expect=INVALID)
    failed = sum(server.ledger._fails(index) for index in range(40))
    assert 0 < failed < 40
    assert outcomes(client) == {("ok", ""): 40 - failed, ("http_error", "bad_request"): failed}
    bad = [record for record in client.records() if record["outcome"] != "ok"]
    assert {record["index"] for record in bad} == {i for i in range(40) if server.ledger._fails(i)}
    assert f"{40 - failed}/40" in out
    assert "TTFT" not in out


def test_answers_and_errors_come_in_a_file_each(serving, client):
    server = serving("openai", fail_rate=0.3)
    client.done(*client.asked(server, requests=40), expect=INVALID)
    fetched = [path for _, path in server.heard if path.endswith("/content")]
    assert len(set(fetched)) == len(fetched) == 2


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_had_expired_is_skipped(serving, client, vendor):
    server = serving(vendor, seconds=1.0, expires_s=0.5)
    client.done(*client.asked(server), expect=INVALID)
    # Gemini hands out nothing of a batch that didn't come to its end.
    done = 0 if vendor == "gemini" else 3
    assert outcomes(client)[("skipped", "expired")] == 6 - done
    assert outcomes(client)[("ok", "")] == done


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_run_can_be_left_looked_at_cancelled_and_fetched(serving, client, vendor):
    server = serving(vendor, seconds=600.0)
    with client.start(*client.asked(server)) as process:
        while not server.submissions():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    run_dir = client.run_dir()
    assert process.returncode == 130
    assert f"benchsuite batch resume {run_dir.run_id}" in err
    assert run_dir.waiting
    listed, _ = client.done("batch", "list")
    assert run_dir.run_id in listed
    assert "batch resume" in listed
    status, _ = client.done("batch", "status", "latest")
    assert "0 of 6 done" in status
    results, _ = client.done("results")
    assert f"1 run waits for its batch ({run_dir.run_id}): `benchsuite batch resume`" in results
    recovered, told = client.done("store", "recover")
    assert run_dir.waiting, recovered + told
    assert "batch resume" in told
    client.done("batch", "cancel", run_dir.run_id)
    client.done("batch", "resume", run_dir.run_id, "--batch-poll", "0.05", expect=INVALID)
    assert outcomes(client) == {("skipped", "cancelled"): 6}
    assert len(server.submissions()) == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_run_cancelled_before_its_batch_is_made_never_makes_one(serving, client, stopping, vendor):
    server = serving(vendor)
    run_id = client.killed_at(server, stopping("POST", CREATES.pattern, "before"), *client.asked(server))
    server.step.released.set()
    client.done("batch", "cancel", run_id, "--batch-poll", "0.05")
    client.done("batch", "resume", run_id, expect=INVALID)
    assert not server.submissions()
    assert outcomes(client) == {("skipped", "cancelled"): 6}


def lines_changed(vendor, change):
    """A server whose list of answers is `change`d; lines are dictionaries."""

    def changed(method, path, answer):
        if re.search(r"/content$|/results$", path):
            lines = [json.loads(line) for line in answer.body.splitlines()]
            body = b"".join(msgspec.json.encode(line) + b"\n" for line in change(lines))
            return msgspec.structs.replace(answer, body=body)
        found = json.loads(answer.body)
        inlined = (found.get("response") or {}).get("inlinedResponses") if vendor == "gemini" else None
        if inlined is not None:
            inlined["inlinedResponses"] = change(inlined["inlinedResponses"])
            return page(found)
        return answer

    return changed


def renamed(line, name):
    return line | ({"custom_id": name} if "custom_id" in line else {"metadata": {"key": name}})


@pytest.mark.parametrize("vendor", VENDORS)
def test_answers_for_nobody_are_told_and_missing_ones_are_failures(serving, client, vendor):
    server = serving(vendor)
    server.changed = lines_changed(vendor, lambda lines: [*lines[2:], lines[2], renamed(lines[2], "else-1")])
    out, err = client.done(*client.asked(server), expect=INVALID)
    assert outcomes(client) == {("ok", ""): 4, ("cut_off", "no_result"): 2}
    assert len(client.records()) == 6
    (trial,) = client.run_dir().run().manifest.trials
    assert (trial.batch.strangers, trial.batch.missing) == (2, 2)
    assert "2 answers were for requests that weren't" in " ".join(err.split())
    assert "2 answers were for requests that weren't" in " ".join(out.split())


@pytest.mark.parametrize("vendor", VENDORS)
def test_answers_are_matched_by_name_in_any_order(serving, client, vendor):
    server = serving(vendor)
    # The answer to request i says that it has i + 1 tokens.
    live = server.live

    def counted(path, body, headers=None):
        said, answer = json.loads(body), json.loads(live(path, body, headers).body)
        text = json.dumps(said.get("messages") or said.get("contents"))
        usage = answer.get("usage") or answer["usageMetadata"]
        field = next(name for name in usage if name in {*OUTPUTS})
        usage[field] = len(text)
        return page(answer)

    server.ledger._answering = counted
    server.changed = lines_changed(vendor, lambda lines: sorted(lines, key=json.dumps, reverse=True))
    client.done(*client.asked(server), expect=(0, 3))
    (job,) = server.ledger._jobs.values()
    expected = {
        item.custom_id: len(json.dumps(item.body.get("messages") or item.body.get("contents")))
        for item in job.items
    }
    assert len(set(expected.values())) > 1
    assert {record["request_id"]: record["output_tokens"] for record in client.records()} == expected


OUTPUTS = ("completion_tokens", "output_tokens", "candidatesTokenCount")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_create_call_that_failed_after_all_is_looked_for_not_repeated(serving, client, vendor):
    # Without a label it takes as long as the batch to know it, longer than a lost one is waited for.
    server = serving(vendor, seconds=2.0)
    answered = []

    def changed(method, path, answer):
        if method == "POST" and CREATES.search(path) and not answered:
            answered.append(path)
            return page(server.error("down"), 502)
        return answer

    server.changed = changed
    client.done(*client.asked(server), expect=(0, 3))
    assert answered
    assert len(server.submissions()) == 1
    assert outcomes(client) == {("ok", ""): 6}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Retry-After: 1\r\n", b"{}"),
        ("Retry-After: Wed, 21 Oct 2026 07:28:01 GMT\r\nDate: Wed, 21 Oct 2026 07:28:00 GMT\r\n", b"{}"),
        ("", b'{"error": {"details": [{"retryDelay": "1s"}]}}'),
    ],
)
def test_a_server_that_wants_to_be_left_alone_is(serving, client, headers, body):
    server = serving("openai")
    times, refused = [], []

    def before(method, path):
        if method == "GET" and re.search(r"/batches/[^/]+$", path):
            times.append(server.ledger.now_s())
            if not refused:
                refused.append(path)
                return Page(status=429, body=body, headers=headers)
        if method == "POST" and path.endswith("/batches") and len(refused) == 1:
            return None
        return None

    server.before = before
    client.done(*client.asked(server), expect=(0, 3))
    assert times[1] - times[0] >= 1.0


def test_a_refused_create_call_is_repeated_as_asked(serving, client):
    server = serving("anthropic")
    refused = []

    def before(method, path):
        if method == "POST" and path.endswith("/batches") and not refused:
            refused.append(path)
            return page(server.error("slow down"), 429)
        return None

    server.before = before
    client.done(*client.asked(server), expect=(0, 3))
    assert len(server.submissions()) == 1
    assert outcomes(client) == {("ok", ""): 6}


def test_a_few_refusals_for_each_batch_are_not_too_many_for_all(serving, client):
    server = serving("anthropic")
    refused = []

    def before(method, path):
        if method == "POST" and path.endswith("/batches"):
            refused.append(path)
            if len(refused) % 5:
                return Page(status=429, body=b"{}", headers="Retry-After: 0\r\n")
        return None

    server.before = before
    client.done(*client.asked(server, "--trials", "3"), expect=(0, 3))
    assert len(refused) == 15
    assert len(server.submissions()) == 3


def test_a_batch_that_was_called_off_before_it_was_made_took_no_time(serving, client, stopping):
    server = serving("openai")
    run_id = client.killed_at(server, stopping("POST", r"/files$", "before"), *client.asked(server))
    server.step.released.set()
    client.done("batch", "cancel", run_id)
    client.done("batch", "resume", run_id, expect=INVALID)
    (trial,) = client.run_dir().run().manifest.trials
    assert (trial.batch.id, trial.batch.turnaround_s) == ("", 0.0)
    shown, _ = client.done("show", run_id, "--how")
    assert "never made: cancelled" in shown
    assert "cancelled after" not in shown


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_server_without_batches_leaves_no_run_behind(serving, client, vendor):
    server = serving(vendor)
    server.before = lambda method, path: (
        page(server.error("nothing here"), 404)
        if method == "POST"
        and "atch" in path + "files" * ("file" in path)
        and (CREATES.search(path) or path.endswith("/files"))
        else None
    )
    _, err = client.done(*client.asked(server), expect=(2,))
    assert "HTTP 404" in err
    assert not client.store.runs()


@pytest.mark.parametrize("vendor", VENDORS)
def test_neither_the_key_nor_a_prompt_is_ever_on_disk(serving, client, stopping, vendor):
    server = serving(vendor)
    step = stopping("GET", r"/batches/[^/]+$", "before")
    words = client.asked(server, "--header", "X-Secret: canary-header")
    run_id = client.killed_at(server, step, *words)
    step.released.set()
    item = next(iter(server.ledger._jobs.values())).items[0]
    text = json.dumps(item.body)
    prompt = re.search(r"(\w+ ){5}", text)[0].encode()

    def written():
        return b"".join(path.read_bytes() for path in client.run_dir().path.rglob("*") if path.is_file())

    for secret in (b"canary", prompt):
        assert secret not in written()
    _, err = client.done("batch", "resume", run_id, expect=(2,))
    assert "--header: give it again" in err
    client.done(
        *("batch", "resume", run_id, "--header", "X-Secret: canary-header", "--batch-poll", "0.05"),
        expect=(0, 3),
    )
    assert not client.run_dir().spool_dir.exists()
    for secret in (b"canary", prompt, b"127.0.0.1:%d/v1/batches" % 0):
        assert secret not in written()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--concurrency", "4"), "decides itself how many are in flight"),
        (("--duration", "30s"), "add --requests N"),
        (("--keep-text",), "--keep-text doesn't go with --batch-api"),
        (("--gpu", "H100"), "--gpu doesn't go with --batch-api"),
        (("--backend", "sim"), "simulator has no batch API"),
    ],
)
def test_what_makes_no_sense_is_refused(serving, client, words, hint):
    server = serving("openai")
    asked = client.asked(server, *words)
    if "--duration" in words:
        place = asked.index("--requests")
        del asked[place : place + 2]
    _, err = client.done(*asked, expect=(2,))
    assert hint in " ".join(err.split())
    assert not server.heard
    assert not client.store.runs()


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_trial_is_a_batch_and_its_completion_is_kept(serving, client, vendor):
    server = serving(vendor, seconds=0.5)
    client.done(*client.asked(server, "--trials", "2"), expect=(0, 3))
    run = client.run_dir().run()
    assert len(server.submissions()) == 2
    assert len({name for ids in server.submissions() for name in ids}) == 12
    for trial in run.manifest.trials:
        seconds = [poll.seconds for poll in trial.batch.polls]
        assert seconds == sorted(seconds)
        assert trial.batch.polls[-1].done == trial.batch.polls[-1].total == 6
        assert trial.batch.turnaround_s >= 0.5
    (row,) = run.summaries
    assert row.metrics == {}
    turnaround = row.rates["turnaround_s"].value
    per_trial = [trial.batch.turnaround_s for trial in run.manifest.trials]
    assert turnaround == pytest.approx(sum(per_trial) / 2)
    hours = [6 * 3600 / seconds for seconds in per_trial]
    assert row.rates["requests_per_hour"].value == pytest.approx(sum(hours) / 2)
    out, _ = client.done("show", "latest", "--how")
    assert "TTFT" not in out
    client.done("store", "check")


def test_two_runs_over_batch_apis_can_be_compared_by_what_they_have(serving, client):
    server = serving("gemini", seconds=0.5)
    for _ in range(2):
        client.done(*client.asked(server, "--trials", "2", requests=8), expect=(0, 3))
    out, _ = client.done("compare", "latest~1", "latest", expect=(0, 4, 5))
    assert "E2E p50" in out
    assert "req/s" in out
    assert not re.search(r"TTFT|TPOT", out)
