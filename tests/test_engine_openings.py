"""Openings that take long, fail, or find no descriptor: what is due then, and when it is sent."""

import errno
import itertools
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from benchsuite.engine import loop as engine
from benchsuite.engine.clock import Alarm
from benchsuite.engine.endpoint import Encoder
from benchsuite.engine.spool import Exchange, tape_of
from benchsuite.types import Connection

MS = 1_000_000
SLOW_S = 0.2


class Slow:
    """TLS of a server far away: each handshake takes at least a fifth of a second."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls

    def wrap_socket(self, sock: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
        time.sleep(SLOW_S)
        return self.tls.wrap_socket(sock, server_side=server_side)


@pytest.fixture
def far(serve: Any, wire: Any, drive: Any, tmp_path: Path) -> Any:
    """`far(…)`: a trial against a server that keeps connections but is slow to open them."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(wire.sized())

    def trial(**fields: Any) -> Any:
        server = serve(script, Slow(tls))
        endpoint = drive.endpoint(server, Connection(ca_cert=str(tmp_path / "ca.pem")))
        return drive.trial(server, endpoint=endpoint, **fields)

    return trial


def late(records: list[Any]) -> int:
    """How many left later than they were due by a quarter of a handshake."""
    return sum(record.sent_ns - record.due_ns > SLOW_S * 1e9 / 4 for record in records)


def test_an_open_loop_s_connections_are_open_when_they_are_due(far: Any, drive: Any) -> None:
    """Nothing is due at first: how long opening takes is known, and what that calls for is open."""
    offsets_ns = [(100 + 20 * index) * MS for index in range(10)]
    done = drive.run(far(closed=False, slots=None, reuse=False), drive.requests(10, offsets_ns))
    assert [record.outcome for record in done.records] == ["ok"] * 10
    assert [record.due_ns - done.run.start_ns for record in done.records] == offsets_ns
    assert all(record.tls_us >= SLOW_S * 1e6 for record in done.records)
    assert late(done.records) <= 1


@pytest.mark.parametrize("closed", [False, True])
def test_later_turns_find_their_connections_open(far: Any, drive: Any, closed: bool) -> None:
    turns = [
        msgspec.structs.replace(
            request,
            due_offset_ns=None if closed or request.index % 2 else 0,
            conversation=request.index // 2,
            turn=request.index % 2,
            turns=2,
            after_ns=request.index % 2 * 600 * MS,
        )
        for request in drive.requests(8)
    ]
    trial = far(closed=closed, slots=4 if closed else None, reuse=False, talks=True)
    done = drive.run(trial, iter(turns))
    assert [record.outcome for record in done.records] == ["ok"] * 8
    firsts, laters = done.records[::2], done.records[1::2]
    assert all(record.tls_us >= SLOW_S * 1e6 for record in laters)
    assert late(laters) <= 1
    off_ns = [later.due_ns - first.end_ns - 600 * MS for first, later in zip(firsts, laters, strict=True)]
    assert sum(off > SLOW_S * 1e9 / 4 for off in off_ns) <= 1


def test_a_connection_that_will_have_been_idle_for_too_long_is_replaced_in_time(far: Any, drive: Any) -> None:
    offsets_ns = [0, 0, 0, 1150 * MS, 1150 * MS, 1150 * MS]
    done = drive.run(far(closed=False, slots=None), drive.requests(6, offsets_ns))
    assert [record.outcome for record in done.records] == ["ok"] * 6
    assert any(record.tls_us for record in done.records[3:])
    assert late(done.records) <= 1


def test_a_turn_s_wait_for_a_connection_that_was_begun_in_time_is_not_the_client_s(
    far: Any, drive: Any
) -> None:
    """Who thinks for less than a handshake takes waits for it, and is due when it is done."""
    turns = [
        msgspec.structs.replace(
            request, conversation=request.index // 2, turn=request.index % 2, turns=2, after_ns=after_ns
        )
        for request in drive.requests(8)
        for after_ns in [request.index % 2 * 50 * MS]
    ]
    done = drive.run(far(slots=4, reuse=False, talks=True), iter(turns))
    assert [record.outcome for record in done.records] == ["ok"] * 8
    assert late(done.records[1::2]) <= 1


class Elsewhere(Alarm):
    """An alarm as platforms without timerfd have it."""

    def __init__(self) -> None:
        self.fd, self.at_ns, self._settime = -1, 0, None


@pytest.fixture
def here(drive: Any) -> Any:
    """`here(server, endpoint, count, …)`: a loop in this process that has run, and what it heard."""

    def run(server: Any, endpoint: Any, count: int, due_ns: int = -1, **spec: Any) -> Any:
        heard: list[Exchange] = []
        loop = engine.Loop(endpoint.spec(seconds=None, **spec), heard.extend)
        encoder = Encoder(endpoint, drive.target(server))
        for index, call in enumerate(drive.calls(server, count)):
            loop.schedule.calls.append((index, due_ns, encoder.encode(call, f"req-{index}")))
        loop.schedule.calls_ended = True
        loop.prepare()
        while loop.opening:
            loop.step(0.05)
        loop.go(time.monotonic_ns())
        loop.run()
        loop.close()
        return loop, [drive.record(tape_of(one)) for one in heard]

    return run


@pytest.mark.parametrize("alarm", [Alarm, Elsewhere])
def test_a_slot_whose_connection_was_refused_goes_on_as_soon_as_it_may(
    drive: Any, serve: Any, here: Any, monkeypatch: pytest.MonkeyPatch, alarm: type[Alarm]
) -> None:
    """Its pause ends between two looks at everything, and it doesn't wait for the next one."""
    monkeypatch.setattr(engine, "Alarm", alarm)
    monkeypatch.setattr(engine, "REFUSED_PAUSE_NS", engine.HOUSEKEEPING_NS // 3)
    server = serve(lambda peer: None)
    endpoint = drive.endpoint(server)
    server.close_door()
    _loop, records = here(server, endpoint, 12, loop="closed", slots=1)
    assert [record.outcome for record in records] == ["refused"] * 12
    waited = sorted(record.end_ns - record.due_ns for record in records)
    assert waited[8] < engine.HOUSEKEEPING_NS / 8


def test_openings_without_a_descriptor_are_counted(
    serve: Any, wire: Any, drive: Any, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda peer: [peer.answer(wire.sized()) for _ in iter(peer.request, None)])
    tries = itertools.count()

    class Scarce(engine.Connection):
        def __init__(self, *of: Any) -> None:
            if next(tries) >= 2:
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(*of)

    monkeypatch.setattr(engine, "Connection", Scarce)
    loop, records = here(server, drive.endpoint(server), 5, 0, loop="open", slots=None)
    assert [record.outcome for record in records] == ["ok"] * 5
    assert loop.health(realtime=False).unopened == next(tries) - 2 >= 3
