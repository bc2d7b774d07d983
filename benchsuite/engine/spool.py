"""The spool: one append-only file a worker, a frame a finished request, readable after any crash.

What was written survives `kill -9` in the page cache. The decoder and `store recover` are the
same reader. Files have mode 0600 and are removed once decoded; they hold answers, never keys.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import msgspec

from benchsuite.types import Phase, Tape

SKIPPED = "skipped"
"""The error of a request that was never sent, as an earlier turn of its conversation had failed."""

_MAGIC = b"bs2\n"
_HEAD = struct.Struct("<4sI")
"""Magic and the length of what follows."""

_EXCHANGE = struct.Struct("<IHBBqqqqqqIIII")
"""index, status, flags, reconnects, due, sent, sent_all, end, connect, tls, and the sizes of
reads, part lengths, error and headers, and body."""

_BETWEEN = b"\0"
"""Stands between the error and the headers' names and values: HTTP allows it in none of them."""

_COMPLETE, _USER_CLOCK = 1, 2
_READ_AHEAD = 1 << 18


class Exchange:
    """One finished request inside the worker, before it is written: cheap to make, no conversions.

    `reads` is flat: arrival, user stamp, floor, number of body parts so far; four a read. So is
    `headers`: name, value.
    """

    __slots__ = (
        "complete",
        "connect_ns",
        "due_ns",
        "end_ns",
        "error",
        "headers",
        "index",
        "parts",
        "reads",
        "reconnects",
        "sent_all_ns",
        "sent_ns",
        "status",
        "tls_ns",
        "user_clock",
    )

    def __init__(self, index: int, due_ns: int) -> None:
        self.index = index
        self.due_ns = due_ns
        self.sent_ns = self.sent_all_ns = self.end_ns = 0
        self.connect_ns = self.tls_ns = 0
        self.reads = array("q")
        self.parts: list[bytes] = []
        self.headers: list[bytes] = []
        self.status = 0
        self.complete = False
        self.user_clock = False
        self.reconnects = 0
        self.error = ""


def frame(exchange: Exchange) -> bytes:
    """One exchange as the bytes of its frame."""
    body = b"".join(exchange.parts)
    lengths = array("I", map(len, exchange.parts)).tobytes()
    reads = exchange.reads.tobytes()
    rest = _BETWEEN.join((exchange.error.encode(), *exchange.headers))
    flags = (_COMPLETE if exchange.complete else 0) | (_USER_CLOCK if exchange.user_clock else 0)
    head = _EXCHANGE.pack(
        exchange.index,
        exchange.status,
        flags,
        exchange.reconnects,
        exchange.due_ns,
        exchange.sent_ns,
        exchange.sent_all_ns,
        exchange.end_ns,
        exchange.connect_ns,
        exchange.tls_ns,
        len(reads),
        len(lengths),
        len(rest),
        len(body),
    )
    size = len(head) + len(reads) + len(lengths) + len(rest) + len(body)
    return b"".join((_HEAD.pack(_MAGIC, size), head, reads, lengths, rest, body))


class SpoolWriter:
    """Appends frames to `<stem>.<segment>`, a new segment every `rotate_bytes`."""

    def __init__(self, stem: str, header: dict[str, str | int], rotate_bytes: int) -> None:
        self._stem = stem
        self._header = msgspec.json.encode(header)
        self._rotate_bytes = rotate_bytes
        self._segment = -1
        self._fd = -1
        self._size = 0
        self._next()

    def _next(self) -> None:
        self.close()
        self._segment += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(f"{self._stem}.{self._segment}", flags, 0o600)
        self._size = 0
        self._write(_HEAD.pack(_MAGIC, len(self._header)) + self._header)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def append(self, exchanges: list[Exchange]) -> None:
        """Write what has ended."""
        if self._size > self._rotate_bytes:
            self._next()
        self._write(b"".join(map(frame, exchanges)))

    def close(self) -> None:
        """Close the current segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SpoolReader:
    """Reads one segment from its start, as far as it has been written; `read` may be called again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self.header: dict[str, str | int] = {}

    def skip_to_last(self, keep_bytes: int) -> None:
        """Pass over all frames but those in about the last `keep_bytes`."""
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - keep_bytes
            while self._offset < end:
                file.seek(self._offset)
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    return
                size = _HEAD.unpack(head)[1]
                if self._offset == 0:
                    self.header = msgspec.json.decode(file.read(size))
                self._offset += _HEAD.size + size

    def read(self, limit: int = 1 << 62) -> Iterator[Tape]:
        """Yield up to `limit` further tapes; a frame that is not all there yet ends the reading."""
        with self.path.open("rb", buffering=_READ_AHEAD) as file:
            file.seek(self._offset)
            while limit > 0:
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    return
                magic, size = _HEAD.unpack(head)
                data = file.read(size)
                if magic != _MAGIC or len(data) < size:
                    return
                first, self._offset = self._offset == 0, self._offset + _HEAD.size + size
                if first:
                    self.header = msgspec.json.decode(data)
                else:
                    limit -= 1
                    yield _tape(data, "warm_up" if self.header.get("trial") == 0 else "measure")


def tape_of(exchange: Exchange) -> Tape:
    """An exchange of this process as a tape, by way of its frame."""
    return _tape(frame(exchange)[_HEAD.size :], "measure")


@lru_cache(maxsize=8)
def _said(rest: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Error and headers; successive answers mostly have the same."""
    error, *heads = rest.decode("latin-1").split("\0")
    return error, tuple(zip(map(str.lower, heads[::2]), heads[1::2], strict=True))


def _tape(data: bytes, phase: Phase) -> Tape:
    """Decode one frame's payload."""
    fields = _EXCHANGE.unpack_from(data)
    index, status, flags, reconnects, due, sent, sent_all, end, connect, tls = fields[:10]
    n_reads, n_lengths, n_rest, _n_body = fields[10:]
    at = _EXCHANGE.size
    reads = array("q", data[at : at + n_reads])
    at += n_reads
    lengths = array("I", data[at : at + n_lengths])
    at += n_lengths
    rest = data[at : at + n_rest]
    at += n_rest
    ends = list(accumulate(lengths, initial=0))
    error, headers = _said(rest)
    return Tape(
        index=index,
        phase=phase,
        due_ns=due,
        sent_ns=sent,
        sent_all_ns=sent_all,
        end_ns=end,
        read_ns=reads[0::4],
        read_user_ns=reads[1::4],
        read_floor_ns=reads[2::4],
        read_ends=[ends[parts] for parts in reads[3::4]],
        body=data[at:],
        status=status,
        headers=headers,
        framing_complete=bool(flags & _COMPLETE),
        error=error,
        clock="user" if flags & _USER_CLOCK else "kernel",
        reconnects=reconnects,
        connect_ns=connect,
        tls_ns=tls,
    )
