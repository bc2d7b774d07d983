"""Servers that refuse for want of room: waited for before the clock, never within a measurement."""

import json
import os
import re
import subprocess
import sys
import time
from email.utils import formatdate
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.driver import load
from benchsuite.engine.refusal import LONGEST_WAIT_S, retry_after_s, wait_s
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import TargetError
from benchsuite.lengths import fitted
from benchsuite.report.progress import progress_line
from benchsuite.run import run
from benchsuite.simulator import SimConfig, running
from benchsuite.store.records import read_records
from benchsuite.store.runs import Store
from benchsuite.target import Resolved
from benchsuite.types import Call, Identity, Point, Progress, Run, Stage, Tape, Target, Workload
from benchsuite.workload.bodies import Lines

MS = 1_000_000
REFUSAL = b'{"error": {"message": "slow down", "type": "rate_limit_exceeded", "code": null}}'
QUOTA = b'{"error": {"message": "pay first", "type": "insufficient_quota", "code": "insufficient_quota"}}'


def refusal(body: bytes = REFUSAL, **headers: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n{named}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


INFO = b'{"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "17s"}]}}'
DATE = {"date": "Wed, 21 Oct 2026 07:27:30 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "0"}, 0.0),
        (DATE | {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        (DATE | {"retry-after": "Wednesday, 21-Oct-26 07:28:00 GMT"}, 30.0),
        (DATE | {"retry-after": "Wed Oct 21 07:28:00 2026"}, 30.0),
        (DATE | {"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0.0),
        (DATE | {"retry-after": "Wed, 41 Oct 2026 07:28:00 GMT"}, None),
        (DATE | {"retry-after": "Wed, 21 Oct 999999 07:28:00 GMT"}, None),
        (DATE | {"retry-after": "in :-) a while"}, None),
        (DATE, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_what_a_refusal_says(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(400, headers.items(), b"", 0) == pytest.approx(seconds)
    assert wait_s(503, headers.items(), b"{}", 0) == pytest.approx(seconds)
    assert wait_s(500, headers.items(), b"", 0) is None
    # Google says it in the body, and a header goes before it.
    assert wait_s(429, headers.items(), INFO, 0) == pytest.approx(17.0 if seconds is None else seconds)
    assert retry_after_s(200, headers.items(), INFO, 0) is None


def test_a_date_of_a_server_without_a_clock_is_read_by_ours() -> None:
    headers = [("retry-after", formatdate(time.time() + 20, usegmt=True))]
    now_ns = time.monotonic_ns()
    assert wait_s(429, headers, b"", now_ns) == pytest.approx(20, abs=1.5)
    # The answer is read later than it was heard.
    assert wait_s(429, headers, b"", now_ns - 30_000 * MS) == pytest.approx(50, abs=1.5)


def test_no_wait_is_longer_than_a_minute() -> None:
    assert wait_s(429, [("retry-after", "3600")], b"", 0) == LONGEST_WAIT_S == 60


def refusing(wire: Any, which: set[int], **headers: Any) -> Any:
    """Refuse the requests of these numbers, counted over all connections."""

    def script(peer: Any) -> None:
        while peer.request() is not None:
            number = len(peer.server.heard) - 1
            peer.answer(refusal(**headers) if number in which else wire.sized())

    return script


FORMS = {
    "ms": {"Retry_After_Ms": "250"},
    "close": {"Retry_After_Ms": "250", "Connection": "close"},
    "body": {"body": b'{"error": {"details": [{"retryDelay": "0.25s"}]}}'},
    "date": {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry_After": "Wed, 21 Oct 2026 07:28:01 GMT"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_refused_slot_waits_as_long_as_it_was_asked_to(
    serve: Any, wire: Any, drive: Any, form: str
) -> None:
    server = serve(refusing(wire, {0}, **FORMS[form]))
    done = drive.run(drive.trial(server, waits=True), drive.requests(3))
    first, second, third = sorted(done.records, key=lambda one: one.sent_ns)
    assert [one.outcome for one in (first, second, third)] == ["http_error", "ok", "ok"]
    assert second.sent_ns >= second.due_ns >= first.end_ns + 250 * MS
    # The slot was free again with that answer: nobody waits twice.
    assert third.due_ns - second.end_ns < 250 * MS


def test_a_measurement_waits_for_nobody(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(refusing(wire, {0, 1}, Retry_After="30"))
    done = drive.run(drive.trial(server), drive.requests(3))
    records = sorted(done.records, key=lambda one: one.sent_ns)
    assert [one.due_ns for one in records[1:]] == [one.end_ns for one in records[:-1]]
    assert [one.retry_after_s for one in records] == [30.0, 30.0, None]


def test_other_slots_go_on_and_the_wait_is_told(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(refusing(wire, {0}, Retry_After_Ms="900"))
    done = drive.run(drive.trial(server, slots=2, waits=True), drive.requests(12))
    refused = next(one for one in done.records if one.outcome == "http_error")
    meanwhile = [one for one in done.records if refused.end_ns < one.sent_ns < refused.end_ns + 900 * MS]
    assert meanwhile
    assert all(tick.waits_s <= 0.9 for tick in done.ticks)


def test_a_run_waits_in_its_warm_up_alone(tmp_path: Any) -> None:
    words = ["--prompt-tokens", "40", "--output-tokens", "4", "--trials", "1", "--requests", "12"]
    environ = {**os.environ, "BENCHSUITE_STORE": str(tmp_path)}
    base = [sys.executable, "-m", "benchsuite"]
    with running(SimConfig(ttft_ms=2.0, itl_ms=0.5, seed=4, error_429_rate=0.4)) as simulator:
        run = [*base, "run", "--backend", "sim", "--url", simulator.url, *words, "--concurrency", "2"]
        done = subprocess.run(run, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "429: " in done.stdout and "Retry-After" in done.stdout and "--rate" in done.stdout
    shown = [*base, "show", "latest", "--format", "jsonl", "--with-warm-up"]
    lines = subprocess.run(shown, env=environ, capture_output=True, text=True, timeout=60).stdout.splitlines()
    explained = [*base, "show", "latest", "--how"]
    how = subprocess.run(explained, env=environ, capture_output=True, text=True, timeout=60).stdout
    assert f"Cache cold: {load('sim').capabilities.caching['cold']}." in " ".join(how.split())
    records = [json.loads(line) for line in lines]
    ends = {phase: {r["end_ns"] for r in records if r["phase"] == phase} for phase in ("warm_up", "measure")}
    refused = {r["end_ns"] for r in records if r["http_status"] == 429}
    warm = sorted(r["due_ns"] for r in records if r["phase"] == "warm_up")
    for phase in ("warm_up", "measure"):
        assert refused & ends[phase], f"nothing was refused in {phase}: choose another seed"
    # Two slots: whatever is due after the first two is due at an end, or a second after it.
    assert all(due in ends["warm_up"] - refused or due - 1000 * MS in refused for due in warm[2:])
    measured = sorted(r["due_ns"] for r in records if r["phase"] == "measure")
    assert set(measured[2:]) <= ends["measure"]


BODY = b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "stream": true}'
LOADS: dict[str, dict[str, Any]] = {
    "closed": {"concurrency": (2,)},
    "open": {"rate": (20.0,), "arrivals": "constant"},
    "offline": {"rate": (inf,)},
}


def all_refused(folder: Path, load: dict[str, Any], wait_s: float, level: int = 0) -> tuple[Run, Any, str]:
    """A run of which every request is refused, its records, and what was told before the measurement.

    `level`: how urgently its user wants to stop from that word on.
    """
    interrupt, told = Interrupt(), []

    def tell(news: Any) -> None:
        if isinstance(news, Stage) and news.name == "warm_up":
            told.append(news.text)
            interrupt.level = level

    lines = Lines("b.jsonl", BODY)
    shape = {"prompt_tokens": (0,), "output_tokens": (0,), "requests": 4, "trials": 1, "bodies": lines.facts}
    workload = Workload(name="w", version=1, description="d", **shape, **load)
    with running(SimConfig(error_429_rate=1.0, retry_after_s=wait_s)) as simulator:
        options = Options(backend="sim", url=simulator.url, workload=workload, bodies=lines, nonce="n")
        done = run(options, Store(folder), tell=tell, interrupt=interrupt)
    return done, read_records(folder.rglob("*.parquet")).to_pylist(), " ".join(told)


@pytest.mark.parametrize("load", LOADS)
def test_no_measurement_begins_while_its_warm_up_is_asked_to_wait(tmp_path: Path, load: str) -> None:
    _, records, told = all_refused(tmp_path, LOADS[load], 1.0)
    warm, first = ([one for one in records if one["phase"] == phase] for phase in ("warm_up", "measure"))
    assert {one["http_status"] for one in warm} == {429} and len(first) == 4
    assert min(one["sent_ns"] for one in first) >= max(one["end_ns"] for one in warm) + 1000 * MS
    assert re.search(r"warm-up was refused: waiting [01]\S* s as the server asks .*, then measuring$", told)


def test_that_wait_is_not_for_a_user_who_wants_to_stop(tmp_path: Path) -> None:
    began_s = time.monotonic()
    done, records, told = all_refused(tmp_path, LOADS["offline"], 30.0, level=1)
    assert time.monotonic() - began_s < 20
    assert "waiting" in told and done.status == "interrupted"
    assert {one["phase"] for one in records} == {"warm_up"}


# ---------------------------------------------------------------- fitting


def resolved(server: Any, drive: Any) -> Resolved:
    return Resolved(
        driver=load("sim"),
        target=drive.target(server),
        endpoint=drive.endpoint(server),
        identity=Identity(server="sim"),
        attached=True,
    )


def test_refused_probes_are_sent_again_when_the_server_wants_them(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(refusing(wire, {0, 2}, Retry_After_Ms="5"))
    told: list[str] = []
    fitted(resolved(server, drive), lambda stage: told.append(stage.text))
    assert told[1:] == ["HTTP 429: waiting 0.005 s as the server asks, then asking again"]
    bodies = [heard.body for heard in server.heard]
    # Each of the two was answered the second time, and nothing else was asked twice.
    assert sorted(body for body in set(bodies) if bodies.count(body) == 2) == sorted((bodies[0], bodies[2]))


class Counting(type(load("sim"))):  # type: ignore[misc]
    """A driver whose server counts tokens, one a word."""

    def tokenize(self, text: str, target: Target) -> Call:
        return Call(method="POST", path="/tokenize", body=text.encode())

    def token_count(self, tape: Tape) -> int | None:
        return int(tape.body) if tape.status == 200 else None


def test_a_refused_question_for_tokens_is_asked_again_too(serve: Any, drive: Any) -> None:
    first: list[bytes] = []

    def script(peer: Any) -> None:
        while (heard := peer.request()) is not None:
            counts = "/tokenize" in heard.line
            body = b"%d" % len(heard.body.split()) if counts else b'{"choices": []}'
            if counts and not first:
                first.append(heard.body)
                peer.answer(refusal(b'{"retryDelay": "0.02s"}'))
            else:
                peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    told: list[str] = []
    who = msgspec.structs.replace(resolved(serve(script), drive), driver=Counting())
    assert fitted(who, lambda stage: told.append(stage.text)).source == "tokenizer"
    assert told[1:] == ["HTTP 429: waiting 0.02 s as the server asks, then asking again"]


def test_a_server_that_goes_on_refusing_is_given_up(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(refusing(wire, set(range(1000)), Retry_After_Ms="1"))
    told: list[str] = []
    with pytest.raises(TargetError, match=r"refuses even short requests: HTTP 429 slow down; measure when"):
        fitted(resolved(server, drive), lambda stage: told.append(stage.text))
    assert len(told) == 1 + 3
    bodies = [heard.body for heard in server.heard]
    assert len(bodies) == 4 * len(set(bodies))


def test_a_quota_does_not_come_back_by_waiting(serve: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(refusal(QUOTA, Retry_After="50"))

    told: list[str] = []
    with pytest.raises(TargetError, match="pay first"):
        fitted(resolved(serve(script), drive), lambda stage: told.append(stage.text))
    assert len(told) == 1


# ---------------------------------------------------------------- telling


def test_a_wait_is_told_while_it_goes_on() -> None:
    progress = Progress(
        point=Point(index=0, prompt_tokens=64, output_tokens=32, concurrency=8),
        points=1,
        phase="warm_up",
        trial=0,
        trials=3,
        elapsed_s=8.4,
        total_s=None,
        done=3,
        total=16,
        errors=1,
        in_flight=0,
        rate=0.36,
        ttft_ms=None,
        tokens_per_s=None,
        lag_ms=None,
        waits_s=20.2,
    )
    assert progress_line(progress).startswith(
        "[1/1] 8 in flight, warm-up: 3 of 16, waiting 20 s as the server asks (Retry-After), "
    )
