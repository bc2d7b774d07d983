"""Connections: kept, lost, opened anew, refused, and requests too large for one write."""

import socket
from typing import Any

import pytest

from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import ask
from benchsuite.errors import TargetError
from benchsuite.types import Call, Connection, Target


def keep(wire: Any) -> Any:
    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(wire.sized())

    return script


def test_a_kept_connection_is_used_again_and_recorded(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    done = drive.run(drive.trial(server), drive.requests(4))
    assert [record.outcome for record in done.records] == ["ok"] * 4
    assert done.run.reuse is True
    assert server.connections == 1
    assert [record.connect_us is not None for record in done.records] == [True, False, False, False]


def test_connecting_is_recorded_apart_and_done_before_sending(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.answer(wire.sized())

    done = drive.run(drive.trial(serve(script), reuse=False), drive.requests(3))
    for tape in done.tapes:
        assert tape.connect_ns > 0
        assert tape.due_ns <= tape.sent_ns < tape.read_ns[0]
    for earlier, tape in zip(done.tapes, done.tapes[1:], strict=False):
        assert earlier.end_ns < tape.due_ns
        assert tape.sent_ns - earlier.end_ns >= tape.connect_ns


def test_a_server_that_closes_against_its_word_loses_no_request(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.answer(wire.sized())
            peer.sock.shutdown(socket.SHUT_WR)
            peer.sock.recv(1 << 16)  # so that a request sent in vain is lost, not refused
            peer.reset()

    server = serve(script)
    done = drive.run(drive.trial(server, slots=4), drive.requests(24))
    assert [record.outcome for record in done.records] == ["ok"] * 24
    assert len(server.heard) == 24
    assert done.run.reuse is False
    lost = [record.index for record in done.records if record.reconnects]
    assert all(record.reconnects <= 1 for record in done.records)
    assert set(lost) <= {4, 5, 6, 7}  # the second of each slot; then every request gets a fresh connection
    ends = {record.end_ns for record in done.records}
    for tape in done.tapes:
        if tape.reconnects:
            assert tape.due_ns in ends  # unchanged by the second send
            assert tape.sent_ns - tape.due_ns > tape.connect_ns > 0
    assert done.run.workers[0].sent == 24


def test_a_kept_connection_lost_unheard_is_replaced_once(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        while (heard := peer.request()) is not None:
            index = int(heard.request_id.rpartition("-")[2])
            if index == 1:
                tries = sum(one.request_id == heard.request_id for one in server.heard)
                if tries <= 1:
                    return
            peer.answer(wire.sized())

    server = serve(script)
    records = drive.ask(server, count=3)
    assert [record.outcome for record in records] == ["ok", "ok", "ok"]
    assert [record.reconnects for record in records] == [0, 1, 0]
    assert records[1].due_ns == records[0].end_ns
    assert [heard.connection for heard in server.heard] == [0, 0, 1, 2]  # afterwards a fresh one each


def test_a_second_loss_is_cut_off(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        heard = peer.request()
        if heard is not None and heard.request_id.endswith("-0"):
            peer.answer(wire.sized())
            peer.request()

    server = serve(script)
    records = drive.ask(server, count=2)
    assert [(record.outcome, record.reconnects) for record in records] == [("ok", 0), ("cut_off", 1)]
    assert len(server.heard) == 3


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nContent-Le", b"junk\r\n"])
def test_a_kept_connection_lost_in_mid_answer_is_not_repeated(
    serve: Any, wire: Any, drive: Any, first: bytes
) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.answer(wire.sized())
        if peer.request() is not None:
            peer.send(first)
            peer.reset()

    server = serve(script)
    records = drive.ask(server, count=2)
    assert records[1].outcome == ("protocol" if first == b"junk\r\n" else "cut_off")
    assert records[1].reconnects == 0
    assert len(server.heard) == 2


def test_a_kept_connection_that_stays_silent_is_not_repeated(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.answer(wire.sized())
            while peer.request() is not None:
                pass

    server = serve(script)
    records = drive.ask(server, count=2, connection=drive.limits(first_byte_s=0.2))
    assert [record.error_kind for record in records] == ["", "timeout_first_byte"]
    assert len(server.heard) == 2


def test_a_fresh_connection_closed_unheard_is_not_repeated(serve: Any, drive: Any) -> None:
    server = serve(lambda peer: peer.request())
    (record,) = drive.ask(server)
    assert (record.outcome, record.error_kind, record.reconnects) == ("cut_off", "closed", 0)
    assert len(server.heard) == 1


@pytest.mark.parametrize("how", ["close", "http10"])
def test_a_server_that_says_it_closes_is_believed(serve: Any, wire: Any, drive: Any, how: str) -> None:
    answer = wire.sized()
    if how == "close":
        answer = answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    else:
        answer = answer.replace(b"HTTP/1.1", b"HTTP/1.0", 1)

    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(answer)

    server = serve(script)
    done = drive.run(drive.trial(server), drive.requests(3))
    assert [(record.outcome, record.reconnects) for record in done.records] == [("ok", 0)] * 3
    assert server.connections == 3
    assert done.run.reuse is False


def test_an_idle_connection_is_not_used_after_a_second(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    offsets_ns = [0, 200_000_000, 1_600_000_000]
    done = drive.run(drive.trial(server, closed=False, slots=None), drive.requests(3, offsets_ns))
    assert [record.outcome for record in done.records] == ["ok"] * 3
    assert [heard.connection for heard in server.heard] == [0, 0, 1]
    assert done.records[2].connect_us is not None


def test_a_large_body_is_written_as_the_socket_takes_it(serve: Any, wire: Any, drive: Any) -> None:
    body = bytes(range(256)) * 20_000
    server = serve(keep(wire))
    calls = [Call(method="POST", path="/v1/chat/completions", body=body)] * 2
    tapes = ask(drive.endpoint(server), drive.target(server), calls, at_once=1)
    assert [heard.body == body for heard in server.heard] == [True, True]
    assert all(tape.sent_ns < tape.sent_all_ns for tape in tapes)
    assert [drive.record(tape).outcome for tape in tapes] == ["ok", "ok"]


def test_an_answer_before_the_whole_body_was_sent_is_heard(serve: Any, wire: Any, drive: Any) -> None:
    """The connection still owes the rest of a body, so that the next request can't go out on it."""

    def script(peer: Any) -> None:
        head = peer.head()
        if head is not None and "-0\r\n" in head:
            peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
            server.stop.wait(0.3)
            peer.close()
        elif head is not None:
            peer.send(wire.sized())

    server = serve(script)
    calls = [Call(method="POST", path="/v1/chat/completions", body=b"x" * size) for size in (20_000_000, 9)]
    tapes = ask(drive.endpoint(server), drive.target(server), calls, at_once=1)
    assert [tape.status for tape in tapes] == [413, 200]
    assert tapes[0].sent_all_ns == 0
    assert tapes[1].reconnects == 0


def test_a_port_that_closed_refuses_every_request(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    endpoint = drive.endpoint(server)
    server.close()
    done = drive.run(drive.trial(server, endpoint=endpoint, slots=2), drive.requests(3))
    assert [(record.outcome, record.error_kind) for record in done.records] == [("refused", "connect")] * 3
    assert all(record.sent_ns is None for record in done.records)
    with pytest.raises(TargetError, match="refused"):
        drive.endpoint(server)


def test_a_reconnect_that_is_refused_says_so(serve: Any, wire: Any, drive: Any) -> None:
    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.answer(wire.sized())
            peer.request()
            server.close_door()

    server = serve(script)
    records = drive.ask(server, count=2)
    assert [(record.outcome, record.reconnects) for record in records] == [("ok", 0), ("refused", 1)]


def test_connecting_has_a_limit(drive: Any) -> None:
    """A listener whose backlog is full leaves further connections waiting."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        target = Target(backend="sim", url=f"http://127.0.0.1:{listener.getsockname()[1]}", model="m")
        endpoint = resolve(target, drive.limits(connect_s=0.3))
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        (tape,) = ask(endpoint, target, [Call(method="GET", path="/")])
        for filler in fillers:
            filler.close()
    if tape.error != "timeout_connect":
        pytest.skip("this platform's backlog takes everybody")
    assert (drive.record(tape).outcome, drive.record(tape).error_kind) == ("timeout", "timeout_connect")


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "127.0.0.1:1", "http://127.0.0.1:port", "http://", "http://[1"]
)
def test_what_is_no_url_is_told_without_its_password(url: str) -> None:
    secret = url.replace("//", "//user:hunter2@")
    with pytest.raises(Exception, match="URL") as caught:
        resolve(Target(backend="sim", url=secret), Connection())
    assert type(caught.value).__name__ == "UsageError"
    assert "hunter2" not in str(caught.value)


def test_requests_carry_what_was_asked_and_nothing_twice(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    target = Target(
        backend="sim",
        url=server.url + "/base/",
        model="m",
        key="k",
        headers={"x-extra": "1", "USER-agent": "me"},
    )
    request = next(drive.requests(1))
    ask(resolve(target, Connection()), target, [drive.driver.encode(request, target)])
    (heard,) = server.heard
    assert heard.line == "POST /base/v1/chat/completions HTTP/1.1"
    assert heard.headers["host"] == f"127.0.0.1:{server.port}"
    assert heard.headers["authorization"] == "Bearer k"
    assert (heard.headers["x-extra"], heard.headers["user-agent"]) == ("1", "me")
    assert heard.headers["accept-encoding"] == "identity"
