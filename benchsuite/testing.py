"""The tests that every driver has to pass, for its author to inherit: no server, no network, no clock.

    class TestMine(DriverConformance):
        driver = Mine()
        target = Target(backend="mine", url="http://127.0.0.1:8000", model="m", key=KEY)
        recordings = (Recording(name="stream", tape=tape(BODY), events=32, output_tokens=32),)

pytest finds the methods; nothing here needs pytest.
"""

import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from benchsuite.driver import Driver
from benchsuite.observed import Observed, besides_text, lies, observed, optional_calls, read_out
from benchsuite.types import CacheMode, Call, Message, Noun, Record, Reply, Request, Tape, Target

KEY = "canary-key-7f3a"
"""A key that a test's target carries, to see where it ends up."""
SECRET_TEXT = "canary-prompt-91bc"
ENGINE_WORDS = frozenset(("python", "port", "model", "name", "slots", "context", "context_total", "threads"))
CHUNKINGS = 20
TRUNCATIONS = 10_000


class Recording(Noun, frozen=True, kw_only=True):
    """One answer and what it has to decode to; a fact left out has to be absent from the reply too.

    `events`: token events. `first_text`/`last_text`: those of the first and the last event.
    """

    name: str
    tape: Tape
    events: int = 0
    first_text: str = ""
    last_text: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    complete: bool = True
    error_kind: str = ""


def tape(
    body: bytes,
    *,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    ends: Sequence[int] | None = None,
    read_ns: Sequence[int] | None = None,
    start_ns: int = 1_000_000_000,
) -> Tape:
    """A tape as if `body` had been heard in reads that ended at the offsets `ends` (one read if None).

    Read i arrived at `read_ns[i]`, or i + 1 milliseconds after `start_ns`, when the request was sent.
    """
    ends = ([len(body)] if body else []) if ends is None else list(ends)
    stamps = [start_ns + (i + 1) * 1_000_000 for i in range(len(ends))] if read_ns is None else list(read_ns)
    return Tape(
        index=0,
        due_ns=start_ns,
        sent_ns=start_ns,
        sent_all_ns=start_ns,
        end_ns=stamps[-1] if stamps else start_ns,
        read_ns=stamps,
        read_user_ns=stamps,
        read_floor_ns=stamps,
        read_ends=ends,
        body=body,
        status=status,
        headers=tuple(headers),
        framing_complete=True,
    )


def load_tape(path: Path) -> Tape:
    """A tape from a file that holds an HTTP answer: status line, headers, blank line, body as sent.

    A header `x-recorded-ms` gives the milliseconds after the request at which each part of the body
    that ends with a blank line was heard; without it the body came in one read.
    """
    head, _, body = path.read_bytes().partition(b"\n\n")
    first, *lines = head.decode().splitlines()
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    status = int(first.split()[1])
    times = dict(headers).get("x-recorded-ms", "").split()
    if not times:
        return tape(body, status=status, headers=headers)
    ends = [found.end() for found in re.finditer(rb"\n\n", body)]
    read_ns = [round(float(time) * 1e6) for time in times]
    return tape(body, status=status, headers=headers, ends=ends, read_ns=read_ns, start_ns=0)


def request(text: str = SECRET_TEXT, *, cache: CacheMode = "cold", output_tokens: int = 16) -> Request:
    """A planned request with one user message."""
    return Request(
        index=0,
        phase="measure",
        messages=(Message(role="user", content=text),),
        max_output_tokens=output_tokens,
        min_output_tokens=output_tokens,
        cache=cache,
    )


def record(**changes: Any) -> Record:
    """The record of an answered request, all instants 0 and all counts those of one token; `changes` win."""
    absent: dict[str, Any] = dict.fromkeys(
        ("sent_all_ns", "cached_tokens", "reasoning_tokens", "connect_us", "tls_us", "server_timings")
    )
    known: dict[str, Any] = {
        "request_id": "r",
        "index": 0,
        "phase": "measure",
        "outcome": "ok",
        "error_kind": "",
        "http_status": 200,
        "due_ns": 0,
        "sent_ns": 0,
        "first_byte_ns": 0,
        "first_token_ns": 0,
        "first_output_ns": 0,
        "last_token_ns": 0,
        "end_ns": 0,
        "gaps_us": [],
        "prompt_tokens": 1,
        "output_tokens": 1,
        "streamed_reasoning": False,
        "finish_reason": "length",
        "reads": 1,
        "merged_events": 0,
        "reader_lag_us": 0,
        "user_stamps": False,
        "reconnects": 0,
    }
    return Record(**absent | known | changes)


class DriverConformance:
    """Inherit it, set the first three; the rest says what your dialect looks like where it isn't OpenAI's."""

    driver: ClassVar[Driver]
    target: ClassVar[Target]
    """With a model and, if the backend takes keys, `key=KEY`."""
    recordings: ClassVar[Sequence[Recording]]
    """At least one stream with token events."""
    identity_tapes: ClassVar[tuple[Tape, ...]] = ()
    """Answers to `identify` that must be recognised; none: not tested."""
    error_event: ClassVar[bytes] = (
        b'data: {"error":{"message":"it broke","type":"server_error","code":500}}\n\n'
    )
    """An error in the middle of a stream; empty: the dialect has none."""
    usage_field: ClassVar[bytes] = b'"usage"'
    """What to strike out to take the token counts away; empty: they can't be missing."""
    models: ClassVar[Sequence[str]] = ()
    """Further models, where what it sends depends on the model."""
    unobserved: ClassVar[Mapping[str, str]] = {}
    """Capability → why what it says of itself isn't what calls and recordings show; told in the reference."""

    def test_recordings_decode_to_their_facts(self) -> None:
        """Events, texts, tokens, finish reason and error of each recording."""
        names = [name for name in Recording.__struct_fields__ if name not in ("name", "tape")]
        for recording in self.recordings:
            reply = self.driver.decode(recording.tape)
            _check_shape(reply)
            found = {name: getattr(reply, name) for name in names if hasattr(reply, name)}
            found["events"] = len(reply.arrival_ns)
            found["first_text"], found["last_text"] = (*reply.texts[:1], "")[0], ("", *reply.texts[-1:])[-1]
            assert found == {name: getattr(recording, name) for name in names}, recording.name

    def test_any_chunking_gives_the_same_reply(self) -> None:
        """However the body is cut into reads, an event arrives with the read that completes it."""
        for recording in self._streams():
            body = recording.tape.body
            whole = self.driver.decode(recording.tape)
            ends = self._event_ends(recording.tape)
            for cuts in _chunkings(len(body)):
                heard = _reheard(recording.tape, body, cuts)
                reply = self.driver.decode(heard)
                expected = [heard.read_ns[bisect_left(cuts, end)] for end in ends]
                assert list(reply.arrival_ns) == expected, f"{recording.name}: reads end at {cuts}"
                assert _timeless(reply) == _timeless(whole), f"{recording.name}: reads end at {cuts}"

    def test_any_truncation_decodes_to_a_prefix(self) -> None:
        """A body that stops anywhere gives the leading events, and no exception."""
        for recording in self.recordings:
            body = recording.tape.body
            whole = self.driver.decode(recording.tape)
            for end in range(0, len(body), max(1, len(body) // TRUNCATIONS)):
                reply = self.driver.decode(_reheard(recording.tape, body[:end], [end] if end else []))
                _check_shape(reply)
                told = f"{recording.name}: cut at byte {end}"
                assert list(reply.texts) == list(whole.texts[: len(reply.texts)]), told
                assert reply.kind == whole.kind[: len(reply.kind)], told
                assert end > 0 or not reply.complete, f"{recording.name}: nothing came, yet it is complete"

    def test_framing_may_differ(self) -> None:
        """CRLF, CR, comments, no space after `data:`, ids: the same reply (event streams only)."""
        for recording in self._streams():
            body = recording.tape.body
            if not re.match(rb"data:|:|event:|id:", body):
                continue
            whole = _timeless(self.driver.decode(recording.tape))
            for changed in (
                body.replace(b"\n", b"\r\n"),
                body.replace(b"\n", b"\r"),
                re.sub(rb"(?m)^data:", b": ping\n\ndata:", body),
                re.sub(rb"(?m)^data: ", b"data:", body),
                re.sub(rb"(?m)^data:", b"id: 1\nretry: 5\ndata:", body),
            ):
                reply = _timeless(self.driver.decode(_reheard(recording.tape, changed, [len(changed)])))
                assert reply == whole, f"{recording.name}: as {changed[:40]!r}…"

    def test_text_may_be_cut_inside_a_character(self) -> None:
        """A character of several bytes that comes in several reads is whole in the event's text."""
        for recording in self._streams():
            old, new = recording.last_text, "żółć 日本語 😀"
            quoted = msgspec.json.encode(old)
            body = recording.tape.body.replace(quoted, msgspec.json.encode(new))
            if not old or body == recording.tape.body:
                continue
            reply = self.driver.decode(_reheard(recording.tape, body, range(1, len(body) + 1)))
            assert reply.texts[-1] == new, recording.name
            assert len(reply.texts) == recording.events, recording.name

    def test_missing_usage_is_none(self) -> None:
        """Counts that the server doesn't report are None, never 0; the events stay."""
        for recording in self.recordings:
            body = recording.tape.body
            struck = body.replace(self.usage_field, b'"not' + self.usage_field[1:])
            if not self.usage_field or struck == body:
                continue
            reply = self.driver.decode(_reheard(recording.tape, struck, [len(struck)]))
            counts = (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens)
            assert counts == (None,) * 4, recording.name
            assert len(reply.texts) == recording.events, recording.name

    def test_an_error_inside_a_stream_is_found(self) -> None:
        """What came before it is kept, its kind is told."""
        for recording in self._streams() if self.error_event else ():
            half = self._event_ends(recording.tape)[recording.events // 2 - 1]
            body = recording.tape.body[:half] + self.error_event
            reply = self.driver.decode(_reheard(recording.tape, body, [len(body)]))
            assert len(reply.texts) == max(1, recording.events // 2), recording.name
            assert reply.error_kind, recording.name

    def test_every_error_status_has_a_kind(self) -> None:
        """Whatever the body, even one that repeats the request: a kind, and a message without its text."""
        echo = f"'input': '{SECRET_TEXT}'"
        bodies = [
            b"",
            b"\xff\xfe",
            f"<html>{SECRET_TEXT}</html>".encode(),
            SECRET_TEXT.encode(),
            b"[]",
            b"null",
        ]
        answers = (
            {"error": {"message": f"bad {echo}"}},
            {"error": f"bad {echo}"},
            {"detail": [{"input": SECRET_TEXT}]},
        )
        bodies += [msgspec.json.encode(answer) for answer in answers]
        for status in (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 501, 502, 503, 504, 529, 599):
            for body in bodies:
                reply = self.driver.decode(tape(body, status=status))
                assert reply.error_kind, (status, body)
                assert not reply.texts, (status, body)
                assert SECRET_TEXT not in reply.error_message, (status, body)
                assert len(reply.error_message) <= 200, (status, body)

    def test_secrets_stand_only_in_headers(self) -> None:
        """Neither a path, nor a body, nor a printed target shows the key or the user's own headers."""
        target = msgspec.structs.replace(self.target, key=KEY, headers={"x-canary": "canary-header-20d1"})
        calls = [self.driver.encode(request(), target), *self.driver.identify(target)]
        for call in (*calls, *optional_calls(self.driver, target), *besides_text(self.driver, target)):
            _check_secrets(call, target)
        if self.driver.key_variables:
            assert any(KEY in value for value in calls[0].headers.values()), "the key is not sent"

    def test_encode_is_pure(self) -> None:
        """The same request gives the same bytes, however often and in whatever order."""
        first, second = request("a b c"), request("d e f", cache="warm", output_tokens=7)
        calls = [self.driver.encode(one, self.target) for one in (first, second, first)]
        assert calls[0] == calls[2] != calls[1]
        assert first == request("a b c")
        for call, text in zip(calls, (b"a b c", b"d e f"), strict=False):
            assert call.method == "POST"
            assert call.path.startswith("/")
            assert text in call.body
        assert b"7" in calls[1].body, "the asked output length is not in the body"
        assert besides_text(self.driver, self.target) == besides_text(self.driver, self.target)

    def test_others_are_not_taken_for_it(self) -> None:
        """An empty, foreign or failing answer is not this backend; its own answers are."""
        n = len(self.driver.identify(self.target))
        html = b"<!doctype html><title>Welcome</title>"
        for body, status in (
            (b"", 0),
            (b"", 200),
            (html, 200),
            (b"{}", 200),
            (b"[]", 200),
            (b"\xff", 200),
            (b"{}", 500),
        ):
            assert self.driver.identity((tape(body, status=status),) * n) is None, (status, body)
        if self.identity_tapes:
            assert self.driver.identity(self.identity_tapes) is not None

    def test_launch_is_data(self) -> None:
        """An argv of words that the engine room can fill in, and a call that says when it is ready."""
        launch = self.driver.launch(self.target)
        assert (launch is not None) == self.driver.capabilities.launch
        if launch is None:
            return
        asked = set(re.findall(r"\{(\w+)\}", " ".join(launch.argv)))
        assert asked <= ENGINE_WORDS, asked - ENGINE_WORDS
        assert launch.ready.path.startswith("/")
        assert launch.missing, "say what to do when it can't be started"

    def test_capabilities_are_what_is_observed(self) -> None:
        """What it says of itself is what it does: nothing more, nothing less."""
        told = lies(self.observed(), self.driver.capabilities, self.unobserved)
        assert not told, "; ".join(told)

    def test_optional_calls_are_calls(self) -> None:
        """Those of its optional protocols go somewhere, and answers that say nothing are read as nothing."""
        for call in optional_calls(self.driver, self.target):
            assert call.path.startswith("/"), call
        for status in (0, 200, 404, 500):
            for body in (b"", b"\xff", b"{}", b"null", b'"', b'{"error":"no"}', b"<!doctype html>"):
                found = read_out(self.driver, tape(body, status=status), self.target)
                assert not found, (status, body, found)

    def observed(self) -> Observed:
        """What the driver can do, as its calls and this class's recordings show."""
        replies = [self.driver.decode(recording.tape) for recording in self.recordings if recording.events]
        return observed(self.driver, self.target, replies, self.models)

    def _streams(self) -> list[Recording]:
        found = [recording for recording in self.recordings if recording.events]
        assert found, "give at least one recording with token events"
        return found

    def _event_ends(self, heard: Tape) -> list[int]:
        """The shortest body that shows each event, found by decoding ever shorter ones."""
        total = len(self.driver.decode(heard).texts)

        def events(end: int) -> int:
            return len(self.driver.decode(_reheard(heard, heard.body[:end], [end] if end else [])).texts)

        offsets = range(len(heard.body) + 1)
        return [bisect_left(offsets, number, key=events) for number in range(1, total + 1)]


def _check_secrets(call: Call, target: Target) -> None:
    """`target` has both canaries: the key, and a header of the user's own."""
    seen = call.path.encode() + call.body + repr(target).encode()
    assert b"canary-key" not in seen, call.path
    assert b"canary-header" not in seen, call.path
    assert "canary-header-20d1" in call.headers.values(), f"{call.path} goes out without the user's header"


def _check_shape(reply: Reply) -> None:
    assert len(reply.arrival_ns) == len(reply.kind) == len(reply.texts)
    assert all(reply.texts), "an event without text is no token event"
    assert set(reply.kind) <= set(b"crt")
    assert list(reply.arrival_ns) == sorted(reply.arrival_ns)


def _timeless(reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, arrival_ns=(), texts=list(reply.texts))


def _reheard(heard: Tape, body: bytes, ends: Sequence[int]) -> Tape:
    return tape(body, status=heard.status, headers=heard.headers, ends=ends)


def _chunkings(size: int) -> list[list[int]]:
    """End offsets of reads: one, one a byte, and random ones, the same every time."""
    draw = random.Random(size)
    found = [[size], list(range(1, size + 1))]
    for _ in range(CHUNKINGS):
        cuts = draw.sample(range(1, size), k=min(size - 1, draw.choice((1, 5, 40, 200))))
        found.append([*sorted(cuts), size])
    return found
