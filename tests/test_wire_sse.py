"""Framing: the fast path and the line parser read the same events, and each arrives with its read."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.testing import tape
from benchsuite.wire import sse

OBJECTS = msgspec.json.Decoder(list[dict[str, Any]])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
objects = st.lists(st.dictionaries(texts, texts | st.integers() | st.none(), max_size=3), max_size=12)


def clean(found: list[dict[str, Any]], done: bool) -> bytes:
    events = [b"data: %b\n\n" % msgspec.json.encode(one) for one in found]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


@given(objects, st.booleans(), st.data())
def test_both_ways_agree_on_clean_bodies_in_any_reads(
    found: list[dict[str, Any]], done: bool, data: st.DataObject
) -> None:
    body = clean(found, done)
    cuts = data.draw(st.sets(st.integers(1, max(1, len(body)))))
    stop = data.draw(st.integers(0, len(body)))
    fast = sse.split_clean(body[:stop])
    assert fast is None or fast == sse.split_lines(body[:stop])
    assert fast is not None or stop < 6

    ends = sorted(cuts | {len(body)}) if body else []
    stream = sse.decode(tape(body, ends=ends, start_ns=0), OBJECTS)
    slow = sse.decode(tape(b": a comment\n\n" + body, ends=[13 + end for end in ends], start_ns=0), OBJECTS)
    assert stream == slow
    assert stream.chunks == found
    assert (stream.done, stream.unreadable) == (done, 0)
    event_ends = [len(clean(found[: i + 1], False)) for i in range(len(found))]
    reads = [next(i for i, end in enumerate(ends) if end >= event_end) for event_end in event_ends]
    assert stream.arrival_ns == [(i + 1) * 1_000_000 for i in reads]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'data: {"a":1}\r\n\r\ndata:{"b":2}\r\n\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'data: {"a":1}\r\rdata: {"b":2}\r\r', [b'{"a":1}', b'{"b":2}']),
        (b'event: message\nid: 7\ndata: {"a":1}\n\n', [b'{"a":1}']),
        (b'data: {"a":\ndata:  1}\n\n', [b'{"a":\n 1}']),
        (b": OPENROUTER PROCESSING\n\n\n: x\n\ndata: {}\n\n", [b"{}"]),
        (b"\xef\xbb\xbfdata: {}\n\n", [b"{}"]),
        (b"data\n\ndata: \n\ndataset: {}\n\n", [b"", b""]),
        (b'data: {"a":1}\n\ndata: {"b":2}\n', [b'{"a":1}']),
        (b'data: {"a":1}\n\ndata: {"b":2}', [b'{"a":1}']),
        (b'data: {"a":1}\n\n\ndata: {"b":\n2}\n\n', [b'{"a":1}', b'{"b":']),
        (b"", []),
    ],
)
def test_lines_are_read_as_the_standard_says(body: bytes, data: list[bytes]) -> None:
    found, ends = sse.split_lines(body)
    assert found == data
    assert ends == sorted(set(ends))
    fast = sse.split_clean(body)
    assert fast is None or fast == (found, ends)
    for i, end in enumerate(ends):
        assert len(sse.split_lines(body[:end])[0]) == i + 1
        assert len(sse.split_lines(body[: end - 2])[0]) == i


def test_events_after_done_and_unreadable_ones_are_left_out() -> None:
    body = (
        b'data: {"a":1}\n\ndata: {"a":\n\ndata: 3\n\ndata: {"b":"\xff"}\n\ndata: [DONE]\n\ndata: {"c":1}\n\n'
    )
    ends = [len(part) for part in (body[:15], body)]
    stream = sse.decode(tape(body, ends=ends, start_ns=0), OBJECTS)
    assert stream == ([{"a": 1}, {"b": "�"}], [1_000_000, 2_000_000], True, 2)


def test_two_objects_in_one_event_are_not_two_events() -> None:
    stream = sse.decode(tape(b'data: {"a":1},{"a":2}\n\ndata: {"a":3}\n\n'), OBJECTS)
    assert (stream.chunks, stream.unreadable) == ([{"a": 3}], 1)


def test_reads_without_body_bytes_shift_nothing() -> None:
    body = clean([{"a": 1}, {"a": 2}], True)
    one = len(b'data: {"a":1}\n\n')
    heard = tape(body, ends=[0, one, 2 * one, len(body), len(body)], start_ns=0)
    assert sse.decode(heard, OBJECTS).arrival_ns == [2_000_000, 3_000_000]


def test_one_read_gives_the_same_as_many() -> None:
    whole = b'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n'
    bodies = (
        whole,
        whole.replace(b"data: [DONE]\n\n", b""),
        whole + b'data: {"a":3}\n\n',
        b'data: {"a":1},{"a":9}\n\ndata: {"a":2}\n\n',
        b'data: {"a":1}\n\n: ping\n\ndata: {"a":2}\n\n',
        b'data: {"a":1}\n\ndata: {"a":',
        b"data: [DONE]\n\n",
        b"data: ",
        b"",
    )
    for body in bodies:
        once = sse.decode(tape(body), OBJECTS)
        each = sse.decode(tape(body, ends=range(1, len(body) + 1)), OBJECTS)
        assert (once.chunks, once.done, once.unreadable) == (each.chunks, each.done, each.unreadable), body
        assert set(once.arrival_ns) <= {tape(body).end_ns} and len(once.arrival_ns) == len(once.chunks)
