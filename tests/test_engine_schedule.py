"""What is sent when: closed loops, open loops, caps, offline, and over how many workers."""

import collections
import contextlib
import hashlib
import select
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from benchsuite.engine.clock import Alarm
from benchsuite.engine.endpoint import Encoder
from benchsuite.engine.loop import Loop
from benchsuite.engine.spool import Exchange, tape_of

MS = 1_000_000


def paced(wire: Any, pause_s: float = 0.0) -> Callable[[Any], None]:
    """Answer every request, after a while."""

    def script(peer: Any) -> None:
        while peer.request() is not None:
            time.sleep(pause_s)
            peer.answer(wire.sized())

    return script


def by_sent(sent: Any) -> list[int]:
    return [one.index for one in sorted(sent, key=lambda one: one.sent_ns)]


def punctual(sent: Any) -> int:
    """How many were sent before the next one was due."""
    return sum(one.sent_ns < following.due_ns for one, following in pairwise(sent))


def ids(server: Any) -> list[str]:
    return [heard.request_id for heard in server.heard]


def test_a_closed_loop_keeps_exactly_its_slots_in_flight(serve: Any, wire: Any, drive: Any) -> None:
    """The server answers only once all slots are in flight: fewer would hang, more are counted."""
    gate = threading.Barrier(4, timeout=20)

    def script(peer: Any) -> None:
        while peer.request() is not None:
            gate.wait()
            peer.answer(wire.sized())

    server = serve(script)
    done = drive.run(drive.trial(server, slots=4), drive.requests(16))
    assert [record.outcome for record in done.records] == ["ok"] * 16
    assert server.most_in_flight == 4


def test_a_closed_loop_s_call_is_due_when_its_slot_got_free(serve: Any, wire: Any, drive: Any) -> None:
    done = drive.run(drive.trial(serve(paced(wire)), slots=2), drive.requests(10))
    records = done.records
    assert [record.due_ns for record in records[:2]] == [done.run.start_ns] * 2
    ends = sorted(record.end_ns for record in records)
    dues = sorted(record.due_ns for record in records[2:])
    assert dues == ends[:8]
    assert all(record.due_ns <= record.sent_ns for record in records)


def test_slots_are_split_over_workers(serve: Any, wire: Any, drive: Any) -> None:
    """8 slots over 3 workers are 3, 3 and 2: the server waits until all 8 are in flight at once."""
    gate = threading.Barrier(8, timeout=20)

    def script(peer: Any) -> None:
        while peer.request() is not None:
            gate.wait()
            peer.answer(wire.sized())

    server = serve(script)
    done = drive.run(drive.trial(server, slots=8, workers=3), drive.requests(24))
    assert sorted(ids(server)) == sorted(f"req-{index}" for index in range(24))
    assert [record.index for record in done.records] == list(range(24))
    assert sorted(worker.sent for worker in done.run.workers) == [6, 9, 9]
    assert server.most_in_flight == 8
    bodies = [heard.body for heard in sorted(server.heard, key=lambda one: int(one.request_id[4:]))]
    assert done.run.plan_digest(range(24)) == digest(bodies)
    assert done.run.plan_digest(range(23)) == digest(bodies[:23])


def digest(bodies: list[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(body).digest()[:16] for body in bodies)).hexdigest()


def test_there_are_never_more_workers_than_slots(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(paced(wire, 0.005))
    offsets_ns = [0] * 12
    trial = drive.trial(server, closed=False, slots=2, workers=3)
    done = drive.run(trial, drive.requests(12, offsets_ns))
    assert len(done.run.workers) == 2
    assert [record.outcome for record in done.records] == ["ok"] * 12
    assert server.most_in_flight == 2


def test_a_closed_loop_stops_sending_in_time_and_drains(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(paced(wire, 0.03))
    done = drive.run(drive.trial(server, slots=3, seconds=0.4), drive.requests(10_000))
    assert 3 < len(done.records) < 10_000
    assert [record.outcome for record in done.records] == ["ok"] * len(done.records)
    assert len(server.heard) == len(done.records)
    assert all(record.due_ns < done.run.start_ns + 400 * MS for record in done.records)
    assert max(record.end_ns for record in done.records) > done.run.start_ns + 400 * MS


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_open_loop_sends_when_due_whatever_comes_back(
    serve: Any, wire: Any, drive: Any, workers: int
) -> None:
    """The server answers nobody before the last request is there."""
    offsets_ns = [index * 20 * MS for index in range(12)]
    all_there = threading.Event()

    def script(peer: Any) -> None:
        while peer.request() is not None:
            if len(server.heard) == 12:
                all_there.set()
            all_there.wait(20)
            peer.answer(wire.sized())

    server = serve(script)
    trial = drive.trial(server, closed=False, slots=None, workers=workers)
    done = drive.run(trial, drive.requests(12, offsets_ns))
    assert [record.outcome for record in done.records] == ["ok"] * 12
    assert sorted(ids(server)) == sorted(f"req-{index}" for index in range(12))
    assert [record.due_ns - done.run.start_ns for record in done.records] == offsets_ns
    assert all(record.sent_ns >= record.due_ns for record in done.records)
    assert all(record.connect_us is not None for record in done.records)
    assert punctual(done.records) > 6
    if workers == 1:
        assert by_sent(done.records) == list(range(12))


def test_a_cap_holds_an_open_loop_back_without_moving_what_is_due(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(paced(wire, 0.02))
    offsets_ns = [index * MS for index in range(20)]
    trial = drive.trial(server, closed=False, slots=3)
    done = drive.run(trial, drive.requests(20, offsets_ns))
    assert [record.outcome for record in done.records] == ["ok"] * 20
    assert server.most_in_flight == 3
    assert server.connections == 3
    assert [record.due_ns - done.run.start_ns for record in done.records] == offsets_ns
    assert by_sent(done.records) == list(range(20))


def test_offline_everything_is_due_and_sent_at_once(serve: Any, wire: Any, drive: Any) -> None:
    gate = threading.Barrier(20, timeout=20)

    def script(peer: Any) -> None:
        while peer.request() is not None:
            gate.wait()
            peer.answer(wire.sized())

    server = serve(script)
    done = drive.run(drive.trial(server, closed=False, slots=None), drive.requests(20, [0] * 20))
    assert {record.due_ns for record in done.records} == {done.run.start_ns}
    assert [record.outcome for record in done.records] == ["ok"] * 20


def test_a_slot_whose_connection_was_refused_holds_up_no_other(serve: Any, wire: Any, drive: Any) -> None:
    """One connection is kept, the door is closed: refused slots pause, the kept one goes on at once."""

    inside = threading.Event()

    def script(peer: Any) -> None:
        with contextlib.suppress(OSError):
            while (heard := peer.request()) is not None:
                if heard.request_id == "req-1":
                    # One that still waits to be let in would be turned away with the door's closing.
                    assert inside.wait(10)
                    server.close_door()
                    return  # breaks off: its slot will want a new connection, in vain
                inside.set()
                time.sleep(0.002)
                peer.answer(wire.sized())

    server = serve(script)
    done = drive.run(drive.trial(server, slots=2), drive.requests(200))
    outcomes = collections.Counter(record.outcome for record in done.records)
    assert outcomes["cut_off"] == 1
    assert outcomes["refused"] + outcomes["ok"] == 199
    assert outcomes["ok"] > 3 * outcomes["refused"]


# ---------------------------------------------------------------- without epoll and timerfd, as on macOS


class Elsewhere(Alarm):
    """An alarm as platforms without timerfd have it."""

    def __init__(self) -> None:
        self.fd = -1
        self.at_ns = 0
        self._settime = None


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr("benchsuite.engine.loop.Alarm", Elsewhere)


@pytest.mark.usefixtures("elsewhere")
def test_asking_works_without_epoll(serve: Any, wire: Any, drive: Any) -> None:
    records = drive.ask(serve(paced(wire)), count=5, at_once=2)
    assert [record.outcome for record in records] == ["ok"] * 5


@pytest.mark.usefixtures("elsewhere")
def test_an_open_loop_works_without_epoll_and_timerfd(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(paced(wire, 0.01))
    endpoint, target = drive.endpoint(server), drive.target(server)
    heard: list[Exchange] = []
    loop = Loop(endpoint.spec(loop="open", slots=None, seconds=None, kernel_stamps=False), heard.extend)
    encoder = Encoder(endpoint, target)
    offsets_ns = [index * 20 * MS for index in range(12)]
    for index, call in enumerate(drive.calls(server, 12)):
        loop.schedule.calls.append((index, offsets_ns[index], encoder.encode(call, f"req-{index}")))
    loop.schedule.calls_ended = True
    loop.prepare()
    while loop.opening:
        loop.step(0.05)
    start_ns = time.monotonic_ns()
    loop.go(start_ns)
    loop.run()
    loop.close()
    tapes = sorted(map(tape_of, heard), key=lambda tape: tape.index)
    assert [drive.record(tape).outcome for tape in tapes] == ["ok"] * 12
    assert [tape.due_ns - start_ns for tape in tapes] == offsets_ns
    assert all(tape.sent_ns >= tape.due_ns for tape in tapes)
    assert by_sent(tapes) == list(range(12))
    assert {tape.clock for tape in tapes} == {"user"}
    assert punctual(tapes) > 6
