"""TLS, proxies, and that no secret is ever shown or stored."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from benchsuite.engine.endpoint import Encoder, resolve
from benchsuite.engine.exchange import ask
from benchsuite.errors import TargetError, UsageError
from benchsuite.types import Call, Connection, Target


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_cert(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def keep(wire: Any) -> Any:
    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(*wire.chunked(), pause_s=0.001)

    return script


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_named_authority_is_trusted(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 session tickets arrive before the first request."""
    server_tls.minimum_version = server_tls.maximum_version = version
    server = serve(keep(wire), server_tls)
    endpoint = drive.endpoint(server, Connection(ca_cert=ca_cert))
    done = drive.run(drive.trial(server, endpoint=endpoint), drive.requests(3))
    assert [record.outcome for record in done.records] == ["ok"] * 3
    assert [record.tls_us is not None for record in done.records] == [True, False, False]
    assert server.connections == 1
    assert all(tape.sent_ns < min(tape.read_ns) for tape in done.tapes)


def test_an_unknown_authority_is_refused_unless_told_otherwise(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext
) -> None:
    server = serve(keep(wire), server_tls)
    (refused,) = drive.ask(server)
    (taken,) = drive.ask(server, connection=Connection(insecure=True))
    assert (refused.outcome, refused.error_kind, refused.sent_ns) == ("refused", "tls", None)
    assert taken.outcome == "ok"
    assert len(server.heard) == 1


def test_a_certificate_for_another_name_is_refused(
    serve: Any, wire: Any, drive: Any, authority: trustme.CA, ca_cert: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    (record,) = drive.ask(serve(keep(wire), context), connection=Connection(ca_cert=ca_cert))
    assert (record.outcome, record.error_kind) == ("refused", "tls")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_when_asked_for(
    serve: Any,
    wire: Any,
    drive: Any,
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    ca_cert: str,
    tmp_path: Path,
    version: ssl.TLSVersion,
) -> None:
    """TLS 1.3 tells of a missing one only after the client's handshake is done."""
    server_tls.minimum_version = server_tls.maximum_version = version
    server_tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_tls)
    server = serve(keep(wire), server_tls)
    issued = authority.issue_cert("client@example.org")
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    shown = Connection(ca_cert=ca_cert, client_cert=str(cert), client_key=str(key))
    (taken,) = drive.ask(server, connection=shown)
    (refused,) = drive.ask(server, connection=Connection(ca_cert=ca_cert))
    assert taken.outcome == "ok"
    assert (refused.outcome, refused.error_kind) == ("refused", "tls")


def test_a_kept_tls_connection_closed_unheard_is_replaced(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str
) -> None:
    """The farewell of TLS is no byte of an answer."""

    def script(peer: Any) -> None:
        peer.request()
        peer.answer(*wire.chunked())
        if peer.request() is not None:
            if peer.number:
                peer.answer(*wire.chunked())
            peer.sock.unwrap()

    records = drive.ask(serve(script, server_tls), count=2, connection=Connection(ca_cert=ca_cert))
    assert [(record.outcome, record.reconnects) for record in records] == [("ok", 0), ("ok", 1)]


def test_an_answer_without_framing_ends_with_tls_itself(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str
) -> None:
    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.send(wire.OK + b"\r\n", *wire.events(2))
            peer.sock.unwrap()  # and the TCP connection stays until the client goes

    limits = Connection(ca_cert=ca_cert, timeouts=drive.limits(silence_s=5).timeouts)
    (record,) = drive.ask(serve(script, server_tls), connection=limits)
    assert (record.outcome, record.output_tokens) == ("ok", 2)


def spoilt(peer: Any, *parts: bytes) -> None:
    """Send the parts through TLS and, in the same segment, a record that nobody can read."""
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    peer.send(*parts)
    os.write(peer.sock.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


needs_cork = pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="one segment needs TCP_CORK")


@needs_cork
def test_an_answer_before_a_bad_record_counts(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str
) -> None:
    def script(peer: Any) -> None:
        while (heard := peer.request()) is not None:
            spoils = len(server.heard) == 2 and heard.connection == 0
            spoilt(peer, *wire.chunked()) if spoils else peer.answer(*wire.chunked())

    server = serve(script, server_tls)
    records = drive.ask(server, count=3, connection=Connection(ca_cert=ca_cert))
    assert [(record.outcome, record.reconnects) for record in records] == [("ok", 0)] * 3
    assert [heard.connection for heard in server.heard] == [0, 0, 1]


@needs_cork
@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_bad_record_is_no_end_of_an_answer(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str, framing: bytes
) -> None:
    """Not even of one that only the connection's end could end; what came before it is kept."""
    event = wire.events(1)[0]
    piece = b"%x\r\n%b\r\n" % (len(event), event) if framing else event

    def script(peer: Any) -> None:
        if peer.request() is not None:
            spoilt(peer, wire.OK + framing + b"\r\n" + piece)
            peer.request()

    (record,) = drive.ask(serve(script, server_tls), connection=Connection(ca_cert=ca_cert))
    assert (record.outcome, record.error_kind) == ("cut_off", "reset")
    assert record.first_token_ns is not None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="Python's own servers never renegotiate")
@pytest.mark.parametrize("busy", [False, True])
def test_a_server_that_renegotiates_ends_no_worker(
    wire: Any, drive: Any, authority: trustme.CA, ca_cert: str, tmp_path: Path, busy: bool
) -> None:
    """It sends what is typed: an answer; but `r` begins a new handshake."""
    issued, pem = authority.issue_cert("127.0.0.1"), tmp_path / "server.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(pem)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-port", str(port), "-cert", str(pem), "-tls1_2"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert server.stdin is not None
    assert server.stdout is not None
    output, typed = server.stdout, server.stdin

    def type_in(data: bytes) -> None:
        typed.write(data)
        typed.flush()
        time.sleep(0.1)

    def answer() -> None:
        heads = (line for line in output if line == b"\r\n")
        for number, _ in enumerate(heads):
            first = number == 0
            type_in(wire.sized()[:-20] if busy and first else wire.sized())
            if first:
                type_in(b"r\n")

    next(line for line in output if line.startswith(b"ACCEPT"))
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        target = types.SimpleNamespace(url=f"https://127.0.0.1:{port}")
        endpoint = drive.endpoint(target, Connection(ca_cert=ca_cert))
        trial = drive.trial(target, endpoint=endpoint, closed=False, slots=None)
        done = drive.run(trial, drive.requests(2, [0, 800_000_000]))
    finally:
        server.terminate()
        server.wait()
        thread.join(10)
        typed.close()
        output.close()
    assert [record.outcome for record in done.records] == ["cut_off" if busy else "ok", "ok"]


def test_a_session_that_takes_nothing_is_replaced(
    serve: Any,
    wire: Any,
    drive: Any,
    server_tls: ssl.SSLContext,
    ca_cert: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, calls = ssl.SSLObject.write, iter(range(3))

    def second_fails(session: ssl.SSLObject, data: bytes) -> int:
        if next(calls) == 1:
            raise ssl.SSLWantReadError
        return write(session, data)

    monkeypatch.setattr(ssl.SSLObject, "write", second_fails)
    server = serve(keep(wire), server_tls)
    records = drive.ask(server, count=2, connection=Connection(ca_cert=ca_cert))
    assert [(record.outcome, record.reconnects) for record in records] == [("ok", 0), ("ok", 1)]
    assert len(server.heard) == 2


def test_tickets_are_not_the_first_byte(
    serve: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str
) -> None:
    """TLS 1.3 tickets that come after the request was sent don't end the wait for the first byte."""
    limits = Connection(ca_cert=ca_cert, timeouts=drive.limits(first_byte_s=0.3).timeouts)
    (record,) = drive.ask(
        serve(lambda peer: peer.request() and peer.request(), server_tls), connection=limits
    )
    assert (record.outcome, record.error_kind) == ("timeout", "timeout_first_byte")


def test_a_large_body_goes_through_tls(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str
) -> None:
    body = bytes(range(256)) * 20_000
    server = serve(keep(wire), server_tls)
    endpoint = drive.endpoint(server, Connection(ca_cert=ca_cert))
    (tape,) = ask(endpoint, drive.target(server), [Call(method="POST", path="/", body=body)])
    assert server.heard[0].body == body
    assert drive.record(tape).outcome == "ok"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_that_speaks_no_tls_is_refused(serve: Any, drive: Any, answer: bytes) -> None:
    def script(peer: Any) -> None:
        if peer.sock.recv(1):
            peer.send(answer)
            peer.reset()

    server = serve(script)
    endpoint = msgspec.structs.replace(drive.endpoint(server), tls=True)
    (tape,) = ask(endpoint, drive.target(server), [Call(method="GET", path="/")])
    assert (drive.record(tape).outcome, drive.record(tape).error_kind) == ("refused", "tls")


def test_a_missing_certificate_file_is_told(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    endpoint = drive.endpoint(server, Connection(ca_cert="/nowhere/ca.pem"))
    with pytest.raises(UsageError, match="can't be read"):
        ask(msgspec.structs.replace(endpoint, tls=True), drive.target(server), [Call(method="GET", path="/")])


# ---------------------------------------------------------------- proxies


def tunnel(port: int, answer: bytes, seen: list[str]) -> Any:
    """A CONNECT proxy that leads everybody to `port`."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def script(peer: Any) -> None:
        head = peer.head()
        if head is None:
            return
        seen.append(head)
        peer.send(answer)
        if b" 200 " not in answer:
            peer.reset() if not answer else peer.close()
            return
        with socket.create_connection(("127.0.0.1", port)) as beyond:
            thread = threading.Thread(target=pump, args=(beyond, peer.sock))
            thread.start()
            pump(peer.sock, beyond)
            thread.join()

    return script


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_is_asked_for_a_tunnel_with_its_password(
    serve: Any, wire: Any, drive: Any, server_tls: ssl.SSLContext, ca_cert: str, secure: bool
) -> None:
    server = serve(keep(wire), server_tls if secure else None)
    seen: list[str] = []
    proxy = serve(tunnel(server.port, b"HTTP/1.1 200 Connection established\r\n\r\n", seen))
    url = proxy.url.replace("//", "//me:p%40ss@")
    (record,) = drive.ask(server, connection=Connection(proxy=url, ca_cert=ca_cert if secure else None))
    assert record.outcome == "ok"
    assert len(seen) == 1
    lines = seen[0].split("\r\n")
    assert lines[0] == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in lines
    assert "proxy-authorization" not in server.heard[0].headers


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"HTTP/1.1 2", b""]
)
def test_a_proxy_that_gives_no_tunnel_refuses(serve: Any, wire: Any, drive: Any, answer: bytes) -> None:
    server = serve(keep(wire))
    proxy = serve(tunnel(server.port, answer, []))
    (record,) = drive.ask(server, connection=Connection(proxy=proxy.url))
    assert (record.outcome, record.error_kind) == ("refused", "proxy")
    assert server.heard == []


def test_the_environment_s_proxy_is_not_for_this_machine_nor_for_exceptions(
    serve: Any, wire: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    server = serve(keep(wire))
    proxy = serve(tunnel(server.port, b"HTTP/1.1 200 OK\r\n\r\n", seen))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "inside.invalid")
    assert drive.ask(server)[0].outcome == "ok"
    with pytest.raises(TargetError):
        resolve(Target(backend="sim", url="http://inside.invalid"), Connection())
    assert seen == []
    target = Target(backend="sim", url="http://outside.invalid:8000", model="m")
    (tape,) = ask(resolve(target, Connection()), target, [Call(method="GET", path="/")])
    assert tape.status == 200
    assert seen[0].startswith("CONNECT outside.invalid:8000 ")


# ---------------------------------------------------------------- what goes out, and what must not


def test_no_secret_is_shown_or_stored(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(keep(wire))
    secrets = ("sk-very-secret", "extra-secret", "proxy-secret")
    target = drive.target(server, key=secrets[0], headers={"X-Auth": secrets[1]})
    seen: list[str] = []
    proxy = serve(tunnel(server.port, b"HTTP/1.1 200 OK\r\n\r\n", seen))
    endpoint = resolve(target, Connection(proxy=proxy.url.replace("//", f"//me:{secrets[2]}@")))
    done = drive.run(drive.trial(server, target=target, endpoint=endpoint), drive.requests(2))
    assert [record.outcome for record in done.records] == ["ok"] * 2
    assert server.heard[0].headers["authorization"] == f"Bearer {secrets[0]}"
    shown = f"{target!r} {endpoint!r} {done.run!r} {done.records!r}"
    for secret in secrets:
        assert secret not in shown
        assert secret.encode() not in done.spool
    for value in (f"{secrets[0]}\r\nX: y", f"{secrets[0]}→"):
        call = Call(method="GET", path="/", headers={"Authorization": value})
        with pytest.raises(UsageError, match="Authorization") as caught:
            Encoder(endpoint, target).encode(call, "id")
        assert secrets[0] not in str(caught.value)
