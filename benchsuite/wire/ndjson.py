"""Newline-delimited JSON over a tape: which objects came, and when each one was complete.

An object is complete with its closing brace, so a last line needs no line feed. A last line that can't be
read was cut off and is dropped; any other such line counts as unreadable. Empty lines are skipped.
"""

from typing import TypeVar

import msgspec

from benchsuite.types import Tape
from benchsuite.wire.sse import Stream, arrivals

T = TypeVar("T")


def decode(tape: Tape, decoder: "msgspec.json.Decoder[T]") -> Stream[T]:
    """Read every line as one JSON object; `done` is always False, since the dialect itself says its end."""
    chunks: list[T] = []
    ends: list[int] = []
    unreadable = start = 0
    *whole, last = tape.body.split(b"\n")
    for line in (*whole, last):
        text = line.rstrip()
        if text:
            chunk = _read(text, decoder)
            if chunk is not None:
                chunks.append(chunk)
                ends.append(start + len(text))
            elif line is not last:
                unreadable += 1
        start += len(line) + 1
    return Stream(chunks, arrivals(tape, ends), False, unreadable)


def _read(line: bytes, decoder: "msgspec.json.Decoder[T]") -> T | None:
    """The object, with broken characters replaced if need be; None: it isn't one."""
    for text in (line, line.decode("utf-8", "replace").encode()):
        try:
            return decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None
