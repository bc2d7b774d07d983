"""The hot path per read: one stamped chunk from a socket into an exchange. `--benchmark-enable` times it."""

import select
import socket

import pytest

from benchsuite.engine.clock import Offset
from benchsuite.engine.connection import Connection
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import Exchange
from benchsuite.types import Timeouts

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def stream():
    """A busy connection whose answer has begun, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        spec = WorkerSpec(
            loop="closed",
            slots=1,
            seconds=None,
            family=socket.AF_INET,
            address=listener.getsockname(),
            server_name="127.0.0.1",
            tls=False,
            timeouts=Timeouts(),
        )
        connection = Connection(spec, None)
        server, _ = listener.accept()
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.advance(readable=False)
    connection.send(Exchange(0, 0), b"POST / HTTP/1.1\r\n\r\n")
    server.sendall(HEAD)
    select.select([connection.sock], [], [])
    connection.read(0, 0)
    yield connection, server
    connection.close()
    server.close()


def test_one_read(benchmark, stream):
    connection, server = stream
    offset_ns = Offset().ns

    def arrives():
        server.sendall(CHUNK)
        select.select([connection.sock], [], [])

    benchmark.pedantic(lambda: connection.read(offset_ns, 0), setup=arrives, rounds=2000)
    reads = connection.exchange.reads
    assert len(connection.exchange.parts) >= 1
    assert reads[-1] == len(connection.exchange.parts)
