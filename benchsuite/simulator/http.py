"""HTTP answers as bytes: heads, chunks, whole pages."""

from functools import lru_cache
from http import HTTPStatus

import msgspec

from benchsuite.simulator.connection import Incoming

SERVER = "benchsuite-sim"
"""What the `Server` header says, unless an engine is imitated that says something else."""

JSON = "application/json"
_PHRASES = {529: "Overloaded"}


class Page(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer that isn't a completion. `headers`: whole lines, each with its end of line.

    It is there `delay_ns` after the request.
    """

    status: int = 200
    body: bytes = b""
    media: str = JSON
    headers: str = ""
    delay_ns: int = 0


def json(value: object, status: int = 200, delay_ns: int = 0) -> Page:
    """A page of JSON."""
    return Page(status=status, body=msgspec.json.encode(value), delay_ns=delay_ns)


class Manners(msgspec.Struct, frozen=True, gc=False):
    """How one answer is framed. `plain`: HTTP/1.0, no chunks; `close`: it announces that it closes."""

    plain: bool
    close: bool
    server: str = SERVER

    def head(self, status: int, media: str, more: str) -> bytes:
        """Status line and headers; `more`: whole header lines."""
        return _head(self.plain, self.close, self.server, status, media, more)

    def stream_head(self, media: str, more: str = "") -> bytes:
        """The head of an answer of unknown length."""
        framing = "" if self.plain else "Transfer-Encoding: chunked\r\n"
        return self.head(200, media, f"{framing}Cache-Control: no-cache\r\n{more}")

    def page(self, page: Page) -> bytes:
        """A whole answer."""
        length = f"Content-Length: {len(page.body)}\r\n"
        return self.head(page.status, page.media, length + page.headers) + page.body


@lru_cache(maxsize=1024)
def _head(plain: bool, close: bool, server: str, status: int, media: str, more: str) -> bytes:
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return (
        f"HTTP/1.{0 if plain else 1} {status} {phrase}\r\nServer: {server}\r\n"
        f"Content-Type: {media}\r\n{more}Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
    ).encode()


def manners(incoming: Incoming, http10: bool, server: str) -> Manners:
    """How the answer to a request is framed."""
    return Manners(http10 or incoming.plain, http10 or incoming.close, server)


def framed(data: bytes, plain: bool) -> bytes:
    """One chunk; a `plain` answer has none."""
    return data if plain or not data else b"%x\r\n%b\r\n" % (len(data), data)


def last(plain: bool) -> bytes:
    """The end of a chunked answer."""
    return b"" if plain else b"0\r\n\r\n"
