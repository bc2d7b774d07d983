"""The batch APIs as bytes: what is sent, and how states and answers are read, without any server."""

import json

import pytest

from benchsuite.driver import BatchApi, UploadsBatches, load
from benchsuite.errors import UsageError
from benchsuite.types import Message, Request, Tape, Target
from benchsuite.wire.batches import anthropic, gemini, openai

URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
KEY = "canary-key-c0ffee"


def target(name, **fields):
    return Target(backend=name, url=URLS[name], model="m-1", key=KEY, **fields)


def requests(count=2):
    return [
        (
            f"label-{index}",
            Request(
                index=index,
                phase="measure",
                messages=(Message(role="user", content=f"hello {index}"),),
                max_output_tokens=5,
                min_output_tokens=5,
                cache="cold",
            ),
        )
        for index in range(count)
    ]


def heard(body, status=200):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Tape(index=0, status=status, body=data, framing_complete=True)


def lines(*found):
    return heard(b"".join(json.dumps(one).encode() + b"\n" for one in found))


@pytest.mark.parametrize("name", URLS)
def test_the_key_stands_in_headers_alone_and_extra_body_in_each_request(name):
    driver, at = load(name), target(name, extra_body={"user": "somebody"})
    assert isinstance(driver, BatchApi)
    create = driver.batch_create(requests(), "file-1", "label", at)
    upload = driver.batch_upload(requests(), at) if isinstance(driver, UploadsBatches) else None
    sent = [call for call in (create, upload) if call is not None]
    sent += [driver.batch_list(at), driver.batch_list(at, "x"), driver.batch_status("i", at)]
    sent.append(driver.batch_cancel("i", at))
    for call in sent:
        assert KEY not in call.path
        assert KEY.encode() not in call.body
        assert any(KEY in value for value in call.headers.values())
    carrier = upload or create
    assert carrier.body.count(b'"user":"somebody"') == 2
    assert create.body.count(b'"user":"somebody"') == (0 if upload else 2)
    assert b'"stream' not in carrier.body
    assert all(f'"label-{i}"'.encode() in carrier.body for i in range(2))
    assert driver.batch_create(requests(), "file-1", "label", at) == create


def test_openai_uploads_lines_and_names_the_door_with_its_version():
    driver, at = load("openai"), target("openai")
    call = driver.batch_upload(requests(), at)
    boundary = call.headers["Content-Type"].partition("boundary=")[2].encode()
    purpose, file = call.body.split(b"--" + boundary)[1:3]
    assert purpose.endswith(b'name="purpose"\r\n\r\nbatch\r\n')
    assert call.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    said = [json.loads(line) for line in file.partition(b"\r\n\r\n")[2].strip().split(b"\n")]
    assert [line["custom_id"] for line in said] == ["label-0", "label-1"]
    assert {(line["method"], line["url"]) for line in said} == {("POST", "/v1/chat/completions")}
    assert said[1]["body"]["messages"][0]["content"] == "hello 1"
    create = json.loads(driver.batch_create(requests(), "file-1", "label", at).body)
    assert create == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"benchsuite": "label"},
    }
    responses = target("openai", options={"endpoint": "responses"})
    assert (
        json.loads(driver.batch_create(requests(), "f", "l", responses).body)["endpoint"] == "/v1/responses"
    )
    assert driver.batch_status("b", responses).path == "/batches/b"


def test_openai_states_and_files():
    driver, at = load("openai"), target("openai")
    batch = {"id": "batch_1", "object": "batch", "status": "in_progress", "created_at": 1000}
    counts = {"total": 9, "completed": 4, "failed": 1}
    working = driver.batch_state(
        heard(batch | {"request_counts": counts, "metadata": {"benchsuite": "l"}}), at
    )
    assert (working.over, working.total, working.done, working.failed) == (False, 9, 4, 1)
    assert (working.label, working.results, working.took_s) == ("l", (), None)
    validating = driver.batch_state(heard(batch | {"request_counts": dict.fromkeys(counts, 0)}), at)
    assert validating.total is None
    ended = batch | {"status": "expired", "expired_at": 1060, "output_file_id": "o", "error_file_id": "e"}
    over = driver.batch_state(heard(ended), at)
    assert (over.over, over.took_s) == (True, 60.0)
    assert [call.path for call in over.results] == ["/files/o/content", "/files/e/content"]
    failed = batch | {"status": "failed", "errors": {"data": [{"code": "invalid_json", "message": "secret"}]}}
    assert driver.batch_state(heard(failed), at).message == "invalid_json"
    assert driver.batch_state(heard({"error": {"message": "no"}}, 404), at) is None


def test_openai_pages_go_on_after_the_last():
    driver, at = load("openai"), target("openai")
    one = {"id": "batch_9", "status": "completed", "created_at": 1}
    states, after = driver.batch_listed(heard({"data": [one], "has_more": True}), at)
    assert ([state.id for state in states], after) == (["batch_9"], "batch_9")
    assert driver.batch_list(at, after).path == "/batches?limit=100&after=batch_9"
    assert driver.batch_listed(heard({"data": [one], "has_more": False}), at)[1] == ""
    assert driver.batch_listed(heard(b"<html>", 500), at) is None


def test_openai_lines():
    driver = load("openai")
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    body = {"choices": [{"finish_reason": "length"}], "usage": usage}
    error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    tape = lines(
        {"custom_id": "a-0", "response": {"status_code": 200, "body": body}, "error": None},
        {"custom_id": "a-1", "response": {"status_code": 429, "body": error}, "error": None},
        {"custom_id": "a-2", "response": None, "error": {"code": "batch_expired", "message": "late"}},
        {"custom_id": "a-3", "response": None, "error": {"code": "batch_cancelled", "message": "x"}},
        {"nonsense": True},
    )
    found = {name: (status, reply) for name, status, reply in driver.batch_replies(tape)}
    assert list(found) == ["a-0", "a-1", "a-2", "a-3"]
    assert (found["a-0"][1].complete, found["a-0"][1].output_tokens) == (True, 5)
    assert (found["a-1"][0], found["a-1"][1].error_kind) == (429, "rate_limited")
    assert [(found[name][0], found[name][1].error_kind) for name in ("a-2", "a-3")] == [
        (0, "expired"),
        (0, "cancelled"),
    ]


def test_anthropic_reads_states_lists_and_results():
    driver, at = load("anthropic"), target("anthropic")
    counts = {"processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    batch = {
        "id": "msgbatch_1",
        "processing_status": "in_progress",
        "request_counts": counts,
        "created_at": "2026-11-24T10:00:00Z",
        "results_url": None,
    }
    state = driver.batch_state(heard(batch), at)
    assert (state.over, state.total, state.done, state.label) == (False, 3, 0, None)
    ended = batch | {
        "processing_status": "ended",
        "request_counts": counts | {"processing": 0, "succeeded": 1, "errored": 1, "expired": 1},
        "ended_at": "2026-11-24T10:00:30.5Z",
        "results_url": "https://elsewhere.example/steal",
    }
    over = driver.batch_state(heard(ended), at)
    assert (over.done, over.failed, over.took_s) == (1, 2, 30.5)
    # A key never follows a URL that an answer names.
    assert [call.path for call in over.results] == ["/v1/messages/batches/msgbatch_1/results"]
    page = {"data": [batch], "has_more": True, "last_id": "msgbatch_1"}
    assert driver.batch_listed(heard(page), at)[1] == "msgbatch_1"
    message = {
        "type": "message",
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 7, "output_tokens": 5},
    }
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    tape = lines(
        {"custom_id": "a-1", "result": {"type": "errored", "error": overloaded}},
        {"custom_id": "a-0", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "a-2", "result": {"type": "canceled"}},
        {"custom_id": "a-3", "result": {"type": "expired"}},
    )
    found = [
        (name, status, reply.error_kind, reply.output_tokens)
        for name, status, reply in driver.batch_replies(tape)
    ]
    assert found == [
        ("a-1", 529, "overloaded", None),
        ("a-0", 200, "", 5),
        ("a-2", 0, "cancelled", None),
        ("a-3", 0, "expired", None),
    ]


def test_gemini_reads_operations():
    driver, at = load("gemini"), target("gemini")
    metadata = {
        "state": "BATCH_STATE_RUNNING",
        "displayName": "l",
        "createTime": "2026-11-24T10:00:00.123456789Z",
        "batchStats": {"requestCount": "3", "successfulRequestCount": "1"},
    }
    state = driver.batch_state(heard({"name": "batches/x", "metadata": metadata}), at)
    assert (state.id, state.state, state.label) == ("batches/x", "running", "l")
    assert (state.over, state.total, state.done, state.failed) == (False, 3, 1, 0)
    answer = {
        "candidates": [{"finishReason": "MAX_TOKENS"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 4, "thoughtsTokenCount": 1},
    }
    answers = [
        {
            "metadata": {"key": "a-1"},
            "error": {"code": 8, "message": "quota", "status": "RESOURCE_EXHAUSTED"},
        },
        {"metadata": {"key": "a-0"}, "response": answer},
        {"response": answer},
    ]
    done = {"state": "BATCH_STATE_SUCCEEDED", "endTime": "2026-11-24T10:00:40.123456Z"}
    for place in (
        {"response": {"inlinedResponses": {"inlinedResponses": answers}}},
        {"response": {"inlinedResponses": answers}},
    ):
        tape = heard({"name": "batches/x", "done": True, "metadata": metadata | done, **place})
        over = driver.batch_state(tape, at)
        assert (over.over, over.took_s) == (True, 40.0)
        assert [call.path for call in over.results] == ["/v1beta/batches/x"]
        found = [(name, status, reply.output_tokens) for name, status, reply in driver.batch_replies(tape)]
        assert found == [("a-1", 429, None), ("a-0", 200, 5)]
    assert driver.batch_state(heard({}), at) is None


def test_vertex_is_told_that_it_has_none():
    url = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
    at = Target(backend="gemini", url=url, model="m-1", key=KEY)
    with pytest.raises(UsageError, match="Vertex"):
        load("gemini").batch_create(requests(), "", "label", at)


@pytest.mark.parametrize(
    ("module", "name", "limit"),
    [
        (openai, "openai", "MOST_REQUESTS"),
        (openai, "openai", "MOST_BYTES"),
        (anthropic, "anthropic", "MOST_REQUESTS"),
        (anthropic, "anthropic", "MOST_BYTES"),
        (gemini, "gemini", "MOST_BYTES"),
    ],
)
def test_more_than_a_batch_holds_is_refused(monkeypatch, module, name, limit):
    monkeypatch.setattr(module, limit, 2)
    driver, at = load(name), target(name)
    with pytest.raises(UsageError, match="in one batch"):
        if isinstance(driver, UploadsBatches):
            driver.batch_upload(requests(3), at)
        driver.batch_create(requests(3), "", "label", at)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"name":1}', b'{"custom_id":1}\n']
)
def test_nonsense_is_never_an_exception(name, body):
    driver, at = load(name), target(name)
    tape = heard(body)
    assert list(driver.batch_replies(tape)) == []
    assert driver.batch_state(tape, at) is None
    driver.batch_listed(tape, at)
