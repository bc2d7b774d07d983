"""A TCP proxy that keeps every byte of the answers: what an SDK saw is what our driver decodes."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

from benchsuite.testing import tape
from benchsuite.types import Tape


class Recorder:
    """Listens at `url` and passes everything on to `upstream`; `heard` is what came back, all connections."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = bytearray()
        self._socks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                self._socks += [client, server]
                for source, sink, keeps in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pass, args=(source, sink, keeps))
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, keeps: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keeps:
                    self.heard += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it; afterwards `heard` is whole."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        for sock in self._socks:
            sock.close()


def heard_tape(heard: bytes) -> Tape:
    """One HTTP answer as a tape, taken out of its chunks; one that was cut off has what came of it."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    fields = dict(headers)
    if fields.get("transfer-encoding") == "chunked":
        body = _dechunked(rest)
    else:
        body = rest[: int(fields.get("content-length", len(rest)))]
    return tape(body, status=int(first.split()[1]), headers=headers)


def _dechunked(rest: bytes) -> bytes:
    found = b""
    while b"\r\n" in rest:
        size_text, _, rest = rest.partition(b"\r\n")
        size = int(size_text.partition(b";")[0], 16)
        if not size:
            break
        found += rest[:size]
        rest = rest[size + 2 :]
    return found


def heard_tapes(heard: bytes) -> list[Tape]:
    """All answers that came whole, one after another."""
    found = []
    while heard:
        length = _length(heard)
        found.append(heard_tape(heard[:length]))
        heard = heard[length:]
    return found


def _length(heard: bytes) -> int:
    """Bytes of the first answer, which is in chunks or tells its length."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    fields = dict(line.partition(b": ")[::2] for line in head.lower().split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding") != b"chunked":
        return len(head) + 4 + int(fields.get(b"content-length", b"0"))
    end = 0
    while size := int(rest[end:].partition(b"\r\n")[0], 16):
        end = rest.index(b"\r\n", end) + 2 + size + 2
    return len(head) + 4 + rest.index(b"\r\n", end) + 4
