"""TLS between a connection and its socket, through memory: the loop alone does the I/O."""

import contextlib
import ssl

from benchsuite.errors import UsageError

_READ_BYTES = 1 << 16


def server_context(cert: str, key: str) -> ssl.SSLContext:
    """A server's context from PEM files; a UsageError where they can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise UsageError(f"the TLS certificate {cert} with key {key} can't be used: {error}") from error
    return context


class Tls:
    """One connection's session; whatever stands in `outgoing` has to be sent."""

    __slots__ = ("_incoming", "_ready", "_session", "ended", "outgoing")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self.outgoing, server_side=True)
        self._ready = False
        self.ended = False

    def opened(self, data: bytes) -> bytes:
        """The plain text that `data` completes, maybe none; ssl.SSLError if it is no TLS."""
        self._incoming.write(data)
        plain = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self._ready:
                self._session.do_handshake()
                self._ready = True
            while True:
                part = self._session.read(_READ_BYTES)
                if not part:
                    self.ended = True
                    break
                plain += part
        return plain

    def sealed(self, data: bytes) -> bytes:
        """`data` as TLS records."""
        self._session.write(data)
        return self.outgoing.read()

    def farewell(self) -> bytes:
        """The alert that ends the session in order."""
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
        return self.outgoing.read()
