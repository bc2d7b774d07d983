"""One client's connection: HTTP requests in, bytes out, TLS in between."""

import contextlib
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import httptools
import msgspec

from benchsuite.simulator.tls import Tls
from benchsuite.simulator.wakeup import WRITE

_READ_BYTES = 1 << 16
_MOST_PIPELINED = 16
_HEADERS = {
    **{name: name.decode() for name in (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")},
    **{name: name.decode() for name in (b"anthropic-version", b"content-type", b"host")},
}
"""Headers, in small letters, that somebody looks at."""
_LINGER_NOT = struct.pack("ii", 1, 0)


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A request received in full. `plain`: its sender can't read chunks; `close`: it wants no more.

    `query`: what follows the `?`, not decoded. `headers`: those of `_HEADERS` that came, in small letters.
    """

    method: str
    path: str
    request_id: str
    body: bytes
    received_ns: int
    plain: bool
    close: bool
    query: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class Host(Protocol):
    """What a connection needs of the server."""

    def asked(self, connection: "Connection", incoming: Incoming) -> None:
        """A request is there; answer it and call `Connection.answered` at the end."""

    def writing(self, connection: "Connection", wanted: bool) -> None:
        """Bytes are left over until the socket takes more, or no more."""

    def lost(self, connection: "Connection") -> None:
        """The connection is over, by whichever side; its socket is still open."""


class Connection:
    """Answers go out in the order of the requests, one at a time. Nothing here raises for a lost client."""

    __slots__ = (
        *("fd", "over", "_sock", "_host", "_tls", "_parser", "_inbox", "_busy", "_backlog", "_closing"),
        *("_path", "_request_id", "_body", "_headers"),
    )

    def __init__(self, sock: socket.socket, host: Host, context: ssl.SSLContext | None) -> None:
        self.fd = sock.fileno()
        self.over = False
        self._sock = sock
        self._host = host
        self._tls = Tls(context) if context else None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._inbox: deque[Incoming] = deque()
        self._busy = False
        self._backlog = bytearray()
        self._closing = False
        self.on_message_begin()

    # ------------------------------------------------------------ in

    def ready(self, bits: int) -> None:
        """Something can be done with the socket."""
        if bits & WRITE:
            self._flush()
        if bits & ~WRITE and not self.over:
            self._read()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ_BYTES)
            if data and self._tls:
                data = self._tls.opened(data)
                self._push(self._tls.outgoing.read())
                if not data and not self._tls.ended:
                    return
        except BlockingIOError:
            return
        except OSError:  # ssl.SSLError is one
            data = b""
        if not data:
            self.end()
            return
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.end()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._path = b""
        self._request_id = b""
        self._body = b""
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        """httptools: the request's target, maybe in pieces."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        if len(name) == 12 and name.lower() == b"x-request-id":
            self._request_id = value
        elif len(name) == 6 and name.lower() == b"expect":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif known := _HEADERS.get(name.lower()):
            self._headers[known] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """httptools: the body, maybe in pieces."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """httptools: the request is there."""
        parser = self._parser
        if parser is None:
            return
        path, _, query = self._path.partition(b"?")
        self._inbox.append(
            Incoming(
                method=parser.get_method().decode("ascii", "replace"),
                path=path.decode("latin-1"),
                request_id=self._request_id.decode("latin-1"),
                body=self._body,
                received_ns=time.monotonic_ns(),
                plain=parser.get_http_version() == "1.0",
                close=not parser.should_keep_alive(),
                query=query.decode("latin-1"),
                headers=self._headers,
            )
        )
        if len(self._inbox) > _MOST_PIPELINED:
            self._closing = True
        elif not self._busy:
            self._next()

    def _next(self) -> None:
        if self._inbox and not self.over and not self._closing:
            self._busy = True
            self._host.asked(self, self._inbox.popleft())

    # ------------------------------------------------------------ out

    def send(self, data: bytes) -> None:
        """Send now, or as soon as the socket takes it."""
        self._push(self._tls.sealed(data) if self._tls else data)

    def _push(self, data: bytes) -> None:
        if self._backlog or not data:
            self._backlog += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.end()
            return
        if sent < len(data):
            self._backlog += data[sent:]
            self._host.writing(self, True)

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._backlog)
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        del self._backlog[:sent]
        if not self._backlog:
            self._host.writing(self, False)
            if self._closing and not self._busy:
                self.end()

    def answered(self, close: bool) -> None:
        """The answer is complete; `close` ends the connection as soon as it is sent."""
        self._busy = False
        self._closing = self._closing or close
        if not self._closing:
            self._next()
        elif not self._backlog:
            self.end()

    # ------------------------------------------------------------ the end

    def end(self) -> None:
        """Close in the usual way."""
        if self.over:
            return
        self.over = True
        if self._tls and not self._backlog:
            with contextlib.suppress(OSError):
                self._sock.send(self._tls.farewell())
        self._host.lost(self)
        self._release()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self.over:
            return
        self.over = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._host.lost(self)
        self._release()

    def _release(self) -> None:
        self._sock.close()
        # The parser holds our own methods, and no collector runs that would break the circle.
        self._parser = None
        self._inbox.clear()
