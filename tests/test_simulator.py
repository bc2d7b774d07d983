"""What the simulator answers: dialect, timing, queue, prefix cache, faults."""

import http.client
import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.types import Tape
from benchsuite.wire import openai

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
FAST = {"ttft_ms": 0, "itl_ms": 0}
NEVER = {"ttft_ms": 600_000}


def connect(url):
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


def chat(words=3, **more):
    return {"messages": [{"role": "user", "content": "word " * words}], "stream": True, **more}


def ask(client, body, path=CHAT, request_id=""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    client.request("POST", path, data, {"X-Request-Id": request_id})
    return client.getresponse()


def once(url, body, path=CHAT, request_id=""):
    """One request on a connection of its own: status, headers, body."""
    client = connect(url)
    try:
        response = ask(client, body, path, request_id)
        return response.status, response.headers, response.read()
    finally:
        client.close()


def chunks(data):
    events = [event.removeprefix("data: ") for event in data.decode().split("\n\n")[:-1]]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def decoded(data, status=200):
    """What the dialect's own reader makes of it."""
    return openai.decode(Tape(index=0, status=status, body=data, read_ns=(1,), read_ends=(len(data),)))


def usage_wanted():
    return {"stream_options": {"include_usage": True}}


# ---------------------------------------------------------------- dialect


def test_a_chat_stream_has_the_layout_of_real_servers():
    with running(SimConfig(**FAST)) as simulator:
        _status, headers, data = once(simulator.url, chat(max_tokens=5, model="m", **usage_wanted()))
    said = chunks(data)
    assert headers["Server"] == "benchsuite-sim"
    assert headers["Content-Type"].startswith("text/event-stream")
    assert {(one["object"], one["model"]) for one in said} == {("chat.completion.chunk", "m")}
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(one["choices"][0]["delta"]["content"].strip() for one in said[1:6])
    assert said[6]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert said[7]["choices"] == []
    assert said[7]["usage"] == {
        "prompt_tokens": 3 + 7,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    reply = decoded(data)
    assert (len(reply.arrival_ns), reply.output_tokens, reply.complete) == (5, 5, True)


def test_a_completion_stream_counts_token_ids_one_by_one():
    with running(SimConfig(**FAST)) as simulator:
        ids = {"prompt": [5, 6, 7, 8], "max_tokens": 2, "stream": True, **usage_wanted()}
        said = chunks(once(simulator.url, ids, COMPLETIONS)[2])
        text = {"prompt": "one  two\nthree", "max_tokens": 2, "stream": True, **usage_wanted()}
        reply = decoded(once(simulator.url, text, COMPLETIONS)[2])
    assert [one["choices"][0]["finish_reason"] for one in said[:-1]] == [None, None, "length"]
    assert all(one["choices"][0]["text"].strip() for one in said[:2])
    assert said[-1]["usage"]["prompt_tokens"] == 4
    assert reply.prompt_tokens == 3 + 7


@pytest.mark.parametrize(("path", "kind"), [(CHAT, "chat.completion"), (COMPLETIONS, "text_completion")])
def test_an_answer_that_is_not_streamed_says_the_same_words(path, kind):
    with running(SimConfig(**FAST)) as simulator:
        body = {"max_tokens": 20, **(chat() if path == CHAT else {"prompt": "a b c", "stream": True})}
        streamed = "".join(decoded(once(simulator.url, body, path)[2]).texts)
        answer = json.loads(once(simulator.url, body | {"stream": False}, path)[2])
    choice = answer["choices"][0]
    assert answer["object"] == kind
    assert (choice["message"]["content"] if path == CHAT else choice["text"]) == streamed
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == len(streamed.split()) == 20


def test_usage_comes_only_where_it_is_asked_for_and_known():
    with running(SimConfig(**FAST)) as simulator:
        assert b"usage" not in once(simulator.url, chat(max_tokens=2))[2]
    with running(SimConfig(usage=False, **FAST)) as simulator:
        assert b"usage" not in once(simulator.url, chat(max_tokens=2, **usage_wanted()))[2]
        assert b"usage" not in once(simulator.url, chat(max_tokens=2) | {"stream": False})[2]


def test_several_tokens_an_event_and_reasoning_first():
    config = SimConfig(tokens_per_event=3, reasoning_tokens=4, role_chunk="none", **FAST)
    with running(config) as simulator:
        data = once(simulator.url, chat(max_completion_tokens=11, **usage_wanted()))[2]
    reply = decoded(data)
    assert reply.kind == b"rrccc"
    assert [len(text.split()) for text in reply.texts] == [3, 1, 3, 3, 1]
    assert (reply.output_tokens, reply.reasoning_tokens) == (11, 4)
    assert b'"role"' not in data


def test_an_early_role_chunk_comes_before_the_first_token_is_due(tmp_path):
    path = str(tmp_path / "truth")
    with running(SimConfig(role_chunk="early", truth_path=path, **NEVER)) as simulator:
        client = connect(simulator.url)
        response = ask(client, chat())
        assert b'"role":"assistant"' in response.fp.readline() + response.fp.readline()
        response.close()
        client.close()
    with running(SimConfig(role_chunk="early", **FAST)) as simulator:
        said = chunks(once(simulator.url, chat(max_tokens=1))[2])
    (entry,) = read_truth(path)
    assert (entry.outcome, entry.events_ns, entry.output_tokens) == ("client_closed", [], 0)
    assert ["role" in one["choices"][0]["delta"] for one in said] == [True, False, False]


def test_what_makes_no_sense_is_told_in_the_dialects_words(tmp_path):
    path = str(tmp_path / "truth")
    with running(SimConfig(context_tokens=20, strict=True, truth_path=path, **FAST)) as simulator:
        url = simulator.url
        heard = [
            once(url, b"{nonsense"),
            once(url, {"messages": "none", "model": "sim-model"}),
            once(url, chat(14, model="sim-model")),
            once(url, chat(1, model="other")),
            once(url, chat(1, model="sim-model", max_tokens=0)),
            once(url, {}, "/v1/nowhere"),
        ]
        fits = decoded(once(url, chat(13, model="sim-model", **usage_wanted()))[2])
    assert [status for status, _, _ in heard] == [400, 400, 400, 404, 400, 404]
    kinds = [decoded(data, status).error_kind for status, _, data in heard]
    assert kinds[2] == "context_length"
    assert all(json.loads(data)["error"]["message"] for _, _, data in heard)
    assert (fits.prompt_tokens, fits.output_tokens) == (20, 1)
    assert Counter(entry.outcome for entry in read_truth(path)) == {"http_error": 5, "ok": 1}


def test_it_says_who_it_is():
    with running(SimConfig(model="mine")) as simulator:
        client = connect(simulator.url)
        said = {}
        for path in ("/version", "/v1/models", "/health"):
            client.request("GET", path)
            said[path] = json.loads(client.getresponse().read())
        client.request("GET", CHAT)
        assert client.getresponse().status == 405
        client.close()
    assert said["/version"]["server"] == "benchsuite-sim"
    assert [model["id"] for model in said["/v1/models"]["data"]] == ["mine"]


# ---------------------------------------------------------------- timing


def test_each_event_is_sent_when_due_and_its_lateness_is_told(tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(ttft_ms=20, itl_ms=3, prefill_us_per_token=500, truth_path=path)
    with running(config) as simulator:
        assert len(decoded(once(simulator.url, chat(5, max_tokens=4), request_id="abc")[2]).texts) == 4
        once(simulator.url, chat(5, max_tokens=4) | {"stream": False})
    streamed, whole = read_truth(path)
    due_ns = [streamed.received_ns + 26_000_000 + i * 3_000_000 for i in range(4)]
    late_us = [(sent - due) // 1000 for sent, due in zip(streamed.events_ns, due_ns, strict=True)]
    assert streamed.request_id == "abc"
    assert streamed.lateness_us == late_us
    assert min(late_us) >= 0
    assert streamed.due_lateness_us_max == max(late_us)
    assert streamed.end_ns == streamed.events_ns[-1]
    assert (streamed.prompt_tokens, streamed.output_tokens) == (12, 4)
    assert whole.events_ns == []
    assert (whole.end_ns - whole.received_ns - 35_000_000) // 1000 == whole.due_lateness_us_max


def test_more_requests_than_slots_wait_in_line(tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(slots=2, ttft_ms=5, itl_ms=2, truth_path=path)
    with running(config) as simulator, ThreadPoolExecutor(7) as pool:
        list(pool.map(lambda _: once(simulator.url, chat(max_tokens=3)), range(7)))
    entries = sorted(read_truth(path), key=lambda entry: entry.received_ns)
    firsts = [entry.events_ns[0] for entry in entries]
    assert firsts == sorted(firsts), "first come, first served"
    # A slot is free when its last event was due; lateness is told in whole microseconds.
    ends = sorted(entry.events_ns[-1] - 1000 * (entry.lateness_us[-1] + 1) for entry in entries)
    for i, entry in enumerate(sorted(entries, key=lambda entry: entry.events_ns[0])):
        freed_ns = 0 if i < 2 else ends[i - 2]
        assert entry.events_ns[0] >= max(freed_ns, entry.received_ns) + 5_000_000


def test_being_late_once_does_not_delay_all_who_wait(tmp_path):
    """One slot, 20 ms each: the n-th answer is due after n times 20 ms, however late the one before left."""
    truth = tmp_path / "truth.jsonl"
    config = SimConfig(ttft_ms=20.0, itl_ms=0.0, slots=1, truth_path=str(truth))
    with running(config) as simulator, ThreadPoolExecutor(30) as pool:
        list(
            pool.map(
                lambda number: once(simulator.url, chat(max_tokens=1), request_id=f"{number}"), range(30)
            )
        )
    sent = sorted(
        (entry.received_ns, entry.events_ns[0] - entry.lateness_us[0] * 1000) for entry in read_truth(truth)
    )
    due = [one for _, one in sent]
    assert [round((b - a) / 1e6) for a, b in pairwise(due)] == [20] * 29


def test_a_client_that_leaves_frees_its_slot(tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(slots=1, stall_rate=1, truth_path=path, **FAST)
    with running(config) as simulator:
        for _ in range(3):
            client = connect(simulator.url)
            response = ask(client, chat(max_tokens=2))
            assert b"amber" in b"".join(response.fp.readline() for _ in range(8))
            response.close()
            client.close()
    assert [entry.outcome for entry in read_truth(path)] == ["timeout"] * 3


def test_cached_tokens_are_reported_and_cost_no_prefill(tmp_path):
    path = str(tmp_path / "truth")
    config = SimConfig(
        prefix_cache=True, ttft_ms=0, itl_ms=0, prefill_us_per_token=1000, truth_path=path, template_tokens=8
    )
    bodies = [chat(30, max_tokens=1, **usage_wanted())] * 2
    bodies += [bodies[0] | {"cache_prompt": False}, chat(10, max_tokens=1, **usage_wanted())]
    with running(config) as simulator:
        told = [decoded(once(simulator.url, body)[2]).cached_tokens for body in bodies]
    entries = read_truth(path)
    assert told == [entry.cached_tokens for entry in entries] == [0, 32, 0, 16]
    waited_ms = [(entry.events_ns[0] - entry.received_ns) // 1000 - entry.lateness_us[0] for entry in entries]
    assert [round(waited / 1000) for waited in waited_ms] == [38, 6, 38, 2]


# ---------------------------------------------------------------- faults


def see(url):
    """One request, and what its client makes of it."""
    try:
        status, headers, data = once(url, chat(max_tokens=8, **usage_wanted()))
    except http.client.IncompleteRead:
        return "stall"
    except ConnectionResetError:
        return "reset"
    if status != 200:
        assert headers["Retry-After"] == ("1" if status == 429 else None)
        return f"error_{status}"
    reply = decoded(data)
    if reply.error_kind:
        assert len(reply.texts) == 4
        return "error_midstream"
    if reply.finish_reason == "stop":
        assert reply.output_tokens == len(reply.texts) == 4
        return "short"
    assert reply.output_tokens == len(reply.texts) == 8
    return ""


def test_every_fault_is_what_the_client_saw_and_repeats_with_the_seed(tmp_path):
    path = str(tmp_path / "truth")
    rates = {f"{fault}_rate": 0.1 for fault in ("error_500", "error_429", "error_503", "reset", "short")}
    rates |= {"stall_rate": 0.1, "stall_s": 0.01, "error_midstream_rate": 0.1}
    config = SimConfig(seed=3, truth_path=path, **rates, **FAST)
    with running(config) as simulator:
        seen = [see(simulator.url) for _ in range(100)]
    entries = read_truth(path)
    assert [entry.fault for entry in entries] == seen
    assert len(set(seen)) == 8
    outcomes = {
        **{"": "ok", "short": "ok", "reset": "cut_off", "stall": "cut_off"},
        **dict.fromkeys(("error_500", "error_429", "error_503", "error_midstream"), "http_error"),
    }
    assert all(entry.outcome == outcomes[entry.fault] for entry in entries)
    sent = {entry.fault: (len(entry.events_ns), entry.output_tokens) for entry in entries}
    assert sent[""] == (8, 8)
    assert {sent[fault] for fault in ("short", "reset", "stall", "error_midstream")} == {(4, 4)}
    with running(config) as simulator:
        again = [see(simulator.url) for _ in range(100)]
    assert again == seen


def test_a_reset_comes_after_half_of_the_tokens_have_arrived():
    with running(SimConfig(reset_rate=1, ttft_ms=0, itl_ms=1)) as simulator:
        parts = urlsplit(simulator.url)
        body = json.dumps(chat(max_tokens=6)).encode()
        with socket.create_connection((parts.hostname, parts.port)) as sock:
            sock.sendall(
                b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
            )
            heard = b""
            with pytest.raises(ConnectionResetError):
                while True:
                    data = sock.recv(1 << 16)
                    assert data, "closed in order"
                    heard += data
    assert heard.count(b'"content":" ') == 3


def test_a_stall_can_end_and_whole_answers_have_faults_too(tmp_path):
    path = str(tmp_path / "truth")
    with running(SimConfig(stall_rate=1, stall_s=0.05, truth_path=path, **FAST)) as simulator:
        with pytest.raises(http.client.IncompleteRead):
            once(simulator.url, chat(max_tokens=4))
        with pytest.raises(http.client.RemoteDisconnected):
            once(simulator.url, chat(max_tokens=4) | {"stream": False})
    assert [entry.outcome for entry in read_truth(path)] == ["cut_off"] * 2
    with running(SimConfig(error_midstream_rate=1, **FAST)) as simulator:
        assert once(simulator.url, chat() | {"stream": False})[0] == 500
