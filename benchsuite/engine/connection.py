"""One connection of a worker: opening, TLS, sending, and the reads that carry the stamps."""

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from time import monotonic_ns
from typing import Literal

import httptools

from benchsuite.engine import clock
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import Exchange
from benchsuite.errors import UsageError

READ_BYTES = 65536
_ANCILLARY_BYTES = 128
_AT_ENDS = 3
"""A role, a finish reason or usage may come together with the first or the last token."""

State = Literal["connecting", "proxy", "tls", "idle", "busy", "closed"]


def tls_context(spec: WorkerSpec) -> ssl.SSLContext | None:
    """The client's TLS settings: the system's certificates unless a file is named; None without TLS."""
    if not spec.tls:
        return None
    context: ssl.SSLContext
    if spec.ca_cert or spec.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if spec.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if spec.ca_cert:
            context.load_verify_locations(spec.ca_cert)
        if spec.client_cert:
            context.load_cert_chain(spec.client_cert, spec.client_key)
    except OSError as error:
        raise UsageError(f"a certificate or its key can't be read: {error.strerror or error}") from error
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _ignore(_part: bytes) -> None:
    """Take a body part that belongs to no exchange."""


class Connection:
    """A socket, its TLS session if any, the parser of the answer under way, and that answer's tape.

    httptools calls the `on_…` members; body parts go straight into the exchange's list.
    """

    def __init__(self, spec: WorkerSpec, tls: ssl.SSLContext | None) -> None:
        self.spec = spec
        self.state: State = "connecting"
        self.exchange: Exchange | None = None
        self.served = 0
        self.failure = ""
        self.unsent = b""
        self.complete = False
        self.several = False
        self._parts = self._whole = 0
        self.keep_alive = False
        self.last_ns = self.opened_ns = monotonic_ns()
        self.ready_ns = self.connect_ns = self.tls_ns = 0
        self.on_body: Callable[[bytes], None] = _ignore
        self._parser: httptools.HttpResponseParser | None = None
        self._head = b""
        self._tls: ssl.SSLObject | None = None
        self._tls_over = False
        self._tls_error: ssl.SSLError | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=spec.server_name)
        self.sock = socket.socket(spec.family, socket.SOCK_STREAM)
        self._receive = self.sock.recvmsg
        self.fd = self.sock.fileno()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stamped = spec.kernel_stamps and clock.enable_kernel_stamps(self.sock)
        code = self.sock.connect_ex(spec.address)
        if code not in {0, errno.EINPROGRESS, errno.EWOULDBLOCK}:
            self.failure = "connect"

    # ---- opening

    def advance(self, readable: bool) -> None:
        """Take the next step of opening; sets `state` to idle when ready, or `failure`."""
        try:
            if self.state == "connecting":
                if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.failure = "connect"
                    return
                if not self._connected():
                    return
                self.connect_ns = monotonic_ns() - self.opened_ns
                if self.spec.proxy_connect:
                    self.state = "proxy"
                    self.sock.send(self.spec.proxy_connect)
                else:
                    self._begin_tls()
            elif self.state == "proxy" and readable:
                self._read_proxy()
            elif self.state == "tls" and self.unsent:
                self._flush_tls()
            elif self.state == "tls" and readable:
                data = self.sock.recv(READ_BYTES)
                if not data:
                    self.failure = "tls"
                    return
                self._incoming.write(data)
                self._handshake()
        except BlockingIOError:
            return
        except ssl.SSLError:
            self.failure = "tls"
        except OSError:
            self.failure = "connect" if self.state == "connecting" else self.state

    def _connected(self) -> bool:
        """Is it really? An event meant for a closed socket may reach the next one of the same number."""
        try:
            self.sock.getpeername()
        except OSError:
            return False
        return True

    def _read_proxy(self) -> None:
        data = self.sock.recv(READ_BYTES)
        self._head += data
        if b"\r\n\r\n" in self._head:
            words = self._head.split(b" ", 2)
            if len(words) > 1 and words[1] == b"200":
                self._begin_tls()
            else:
                self.failure = "proxy"
        elif not data:
            self.failure = "proxy"

    def _begin_tls(self) -> None:
        if self._tls is None:
            self._ready()
            return
        self.state = "tls"
        self._handshake()

    def _handshake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush_tls()
            return
        self._flush_tls()
        self.tls_ns = monotonic_ns() - self.opened_ns - self.connect_ns
        self._ready()

    def _flush_tls(self) -> None:
        self.unsent += self._outgoing.read()
        if self.unsent:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def _ready(self) -> None:
        self.state = "idle"
        self.ready_ns = self.last_ns = monotonic_ns()

    # ---- one exchange

    def send(self, exchange: Exchange, payload: bytes) -> None:
        """Start an exchange on this open, idle connection."""
        if self.served == 0:
            exchange.connect_ns, exchange.tls_ns = self.connect_ns, self.tls_ns
        self.exchange = exchange
        self.state = "busy"
        self.complete = False
        self._parts = 0
        self.on_body = exchange.parts.append
        self._parser = httptools.HttpResponseParser(self)
        if self._tls is not None:
            payload = self._encrypt(payload)
        exchange.sent_ns = self.last_ns = monotonic_ns()
        self.unsent += payload
        self.write()

    def _encrypt(self, payload: bytes) -> bytes:
        """The payload as TLS sends it; a session that takes none has ended, as the next read will tell."""
        assert self._tls is not None
        try:
            self._tls.write(payload)
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        return self._outgoing.read()

    def write(self) -> None:
        """Write what the socket takes of `unsent`; a dead one tells at the next read, last words first."""
        try:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = b""
            return
        if not self.unsent and self.exchange is not None and not self.exchange.sent_all_ns:
            self.exchange.sent_all_ns = monotonic_ns()

    def read(self, offset_ns: int, floor_ns: int) -> bool:
        """Read once; False: the peer has ended the connection. Raises OSError when it was reset.

        An arrival is the kernel's stamp where there is one, else the moment we held the bytes.
        """
        data, ancillary, _flags, _address = self._receive(READ_BYTES, _ANCILLARY_BYTES)
        held_ns = monotonic_ns()
        if not data:
            self.last_ns = held_ns
            return False
        exchange = self.exchange
        arrival_ns = held_ns
        stamp = clock.stamp_ns(ancillary) if ancillary else 0
        if stamp:
            # A wall clock that was set puts stamps anywhere, until its offset is sampled again.
            arrival_ns = max(self.last_ns, min(stamp - offset_ns, held_ns))
        elif exchange is not None:
            exchange.user_clock = True
        self.last_ns = arrival_ns
        if self._tls is not None:
            data = self._decrypt(data)
            if not data:
                return not self._tls_over
        if exchange is None or self._parser is None:
            return False
        try:
            self._parser.feed_data(data)
        finally:
            if self.complete and len(exchange.parts) > self._whole:
                del exchange.parts[self._whole :]
            parts = len(exchange.parts)
            self.several = parts - self._parts > (1 if self._parts and not self.complete else _AT_ENDS)
            self._parts = parts
            exchange.reads.extend((arrival_ns, held_ns, floor_ns, parts))
        if self._tls_error is not None and not self.complete:
            raise self._tls_error
        return not self._tls_over

    def _decrypt(self, data: bytes) -> bytes:
        """What the records hold; one that can't be read ends the session after what came before it."""
        assert self._tls is not None
        self._incoming.write(data)
        plain = []
        try:
            while piece := self._tls.read(READ_BYTES):
                plain.append(piece)
            self._tls_over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not plain:
                raise
            self._tls_over, self._tls_error = True, error
        if self._outgoing.pending:
            waiting, self.unsent = bool(self.unsent), self.unsent + self._outgoing.read()
            if not waiting:
                self.write()
        return b"".join(plain)

    def ended_by_close(self) -> bool:
        """Is an answer that the peer's close ended complete? Only without a length and without chunks."""
        exchange = self.exchange
        if exchange is None or not exchange.status:
            return False
        names = {name.lower() for name in exchange.headers[::2]}
        return not names & {b"content-length", b"transfer-encoding"}

    def overdue(self, now_ns: int) -> str:
        """Which limit the opening or the exchange under way has passed, as an `error`; empty: none."""
        limits, exchange = self.spec.timeouts, self.exchange
        if self.state in {"idle", "closed"}:
            return ""
        if exchange is None:
            return "timeout_connect" if now_ns - self.opened_ns > limits.connect_s * 1e9 else ""
        waited_ns = now_ns - exchange.sent_ns
        if waited_ns > limits.total_s * 1e9:
            return "timeout_total"
        if not exchange.parts:
            # A head may come at once, from a server that queues all the same.
            return "timeout_first_byte" if waited_ns > limits.first_byte_s * 1e9 else ""
        return "timeout_silence" if now_ns - self.last_ns > limits.silence_s * 1e9 else ""

    def finish(self) -> Exchange:
        """Take the exchange off this connection, which may then serve another."""
        exchange = self.exchange
        assert exchange is not None
        exchange.end_ns = self.last_ns
        self.exchange = None
        self._parser = None
        self.served += 1
        self.state = "idle"
        return exchange

    def close(self) -> None:
        """Close the socket and break the cycle with the parser."""
        self.state = "closed"
        self._parser = None
        self.on_body = _ignore
        self.sock.close()

    # ---- called by httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one response header as it came; names and values are read after the last byte."""
        if self.exchange is not None and not self.complete:
            self.exchange.headers += (name, value)

    def on_headers_complete(self) -> None:
        """Note the status; interim answers (1xx) leave nothing behind, and a second one only distrust."""
        if self.complete:
            self.keep_alive = False
        elif self._parser is not None and self.exchange is not None:
            status = self._parser.get_status_code()
            if status < 200:
                self.exchange.headers.clear()
            else:
                self.exchange.status = status
                self.keep_alive = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Note the end that HTTP itself announces; an interim answer's end doesn't count."""
        if self.exchange is not None and self.exchange.status and not self.complete:
            self.complete = self.exchange.complete = True
            self._whole = len(self.exchange.parts)
