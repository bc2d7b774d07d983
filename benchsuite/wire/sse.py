"""Server-sent events over a tape: which events came, and when each one was complete.

An event is complete with the blank line that ends it, and arrives with the read that brought that
line's last byte. As the standard asks, an event whose blank line never came is dropped, so a body
cut at any byte gives the leading events of the whole. Lines end with LF, CRLF or CR; comments,
`id`, `retry` and `event` fields are skipped (every dialect repeats an event's name in its data).
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, count
from operator import add
from typing import Generic, NamedTuple, TypeVar

import msgspec

from benchsuite.types import Tape

T = TypeVar("T")
Split = tuple[list[bytes], list[int]]

DONE = b"[DONE]"
LAST = b"\n\ndata: [DONE]"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Stream(NamedTuple, Generic[T]):
    """The events of one answer: `chunks[i]` was complete at `arrival_ns[i]`.

    `done`: a `[DONE]` was seen; what follows it is ignored. `unreadable`: events that were not
    what the decoder expects; they are left out.
    """

    chunks: list[T]
    arrival_ns: Sequence[int]
    done: bool
    unreadable: int


def decode(tape: Tape, decoder: "msgspec.json.Decoder[list[T]]") -> Stream[T]:
    """Read every event as JSON. `decoder` reads a *list* of chunks: a clean body is read in one call."""
    if len(tape.read_ends) == 1 and (stream := _in_one_read(tape, decoder)) is not None:
        return stream
    clean = split_clean(tape.body)
    if clean is not None:
        data, ends, done = _until_done(*clean)
        chunks = _decode_all(data, decoder)
        if chunks is not None:
            return Stream(chunks, arrivals(tape, ends), done, 0)
    data, ends, done = _until_done(*split_lines(tape.body))
    chunks = _decode_all(data, decoder)
    if chunks is not None:
        return Stream(chunks, arrivals(tape, ends), done, 0)
    return _decode_each(tape, data, ends, done, decoder)


def _in_one_read(tape: Tape, decoder: "msgspec.json.Decoder[list[T]]") -> Stream[T] | None:
    """A clean body that came all at once: where in it an event ends doesn't matter; None: it isn't one."""
    body = tape.body
    end = body.rfind(b"\n\n")
    if end < 0 or tape.read_ends[0] != len(body) or not body.startswith(b"data: ") or b"\r" in body:
        return None
    data = body[6:end]
    done = data.endswith(LAST)
    if done:
        data = data[: -len(LAST)]
    try:
        chunks = decoder.decode(b"[%b]" % data.replace(b"\n\ndata: ", b","))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if data.count(b"\n") != 2 * len(chunks) - 2:
        return None
    return Stream(chunks, [tape.read_ns[0]] * len(chunks), done, 0)


def split_clean(body: bytes) -> Split | None:
    r"""Data and end offset of each event of a body that is `data: …\n\n` and nothing else; None: it isn't.

    That the data are JSON objects is for the caller to find out: a comment or a named event
    between them leaves data that no JSON decoder takes.
    """
    if not body.startswith(b"data: ") or b"\r" in body:
        return None
    end = body.rfind(b"\n\n")
    if end < 0:
        return [], []
    data = body[6:end].split(b"\n\ndata: ")
    if body.count(b"\n", 0, end) != 2 * len(data) - 2:
        return None
    return data, list(map(add, accumulate(map(len, data)), count(8, 8)))


def split_lines(body: bytes) -> Split:
    """Data and end offset of each event of any event stream, line by line."""
    found: list[bytes] = []
    ends: list[int] = []
    parts: list[bytes] = []
    start = len(BYTE_ORDER_MARK) if body.startswith(BYTE_ORDER_MARK) else 0
    at = start
    for line in body[start:].splitlines(keepends=True):
        at += len(line)
        text = line.rstrip(b"\r\n")
        if not text:
            if parts:
                found.append(b"\n".join(parts))
                ends.append(at)
                parts = []
            continue
        name, _, value = text.partition(b":")
        if name == b"data":
            parts.append(value.removeprefix(b" "))
    return found, ends


def arrivals(tape: Tape, ends: Sequence[int]) -> list[int]:
    """Arrival (ns) of the read that brought byte `end` of the body, for each of the ascending `ends`."""
    found: list[int] = []
    done, total = 0, len(ends)
    for read_end, arrival_ns in zip(tape.read_ends, tape.read_ns, strict=False):
        if done == total:
            break
        # Most reads bring one event.
        if ends[done] == read_end:
            found.append(arrival_ns)
            done += 1
        elif ends[done] < read_end:
            upto = bisect_right(ends, read_end, done)
            found += [arrival_ns] * (upto - done)
            done = upto
    return found + [tape.end_ns] * (total - done)


def _until_done(data: list[bytes], ends: list[int]) -> tuple[list[bytes], list[int], bool]:
    if DONE not in data:
        return data, ends, False
    at = data.index(DONE)
    return data[:at], ends[:at], True


def _decode_all(data: list[bytes], decoder: "msgspec.json.Decoder[list[T]]") -> list[T] | None:
    try:
        chunks = decoder.decode(b"[%b]" % b",".join(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return chunks if len(chunks) == len(data) else None


def _decode_each(
    tape: Tape, data: list[bytes], ends: list[int], done: bool, decoder: "msgspec.json.Decoder[list[T]]"
) -> Stream[T]:
    """The slow way, for a body with events that aren't what the decoder expects."""
    chunks: list[T] = []
    kept: list[int] = []
    for one, end in zip(data, ends, strict=True):
        chunk = _decode_all([one], decoder) or _decode_all([one.decode("utf-8", "replace").encode()], decoder)
        if chunk:
            chunks.append(chunk[0])
            kept.append(end)
    return Stream(chunks, arrivals(tape, kept), done, len(data) - len(chunks))
