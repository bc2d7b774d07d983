"""Where an answer ends, and how each kind of end is named."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from benchsuite.engine import clock
from benchsuite.engine.exchange import ask

Script = Callable[[Any], None]


def once(*parts: bytes, end: str = "wait", pause_s: float = 0.002) -> Script:
    """A script: hear one request, send the parts as segments, then wait, close or reset."""

    def script(peer: Any) -> None:
        if peer.request() is None:
            return
        peer.send(*parts, pause_s=pause_s)
        if end == "close":
            peer.close()
        elif end == "reset":
            peer.reset()
        else:
            peer.request()

    return script


def test_content_length_ends_the_answer_while_the_connection_stays(serve: Any, wire: Any, drive: Any) -> None:
    (record,) = drive.ask(serve(once(wire.sized(3))))
    assert (record.outcome, record.error_kind, record.http_status) == ("ok", "", 200)
    assert (record.output_tokens, len(record.gaps_us), record.finish_reason) == (3, 2, "length")
    assert record.due_ns <= record.sent_ns <= record.sent_all_ns
    assert (
        record.sent_ns
        < record.first_byte_ns
        <= record.first_token_ns
        <= record.last_token_ns
        <= record.end_ns
    )


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_chunks_may_be_split_anywhere(serve: Any, wire: Any, drive: Any, size: int) -> None:
    whole = b"".join(wire.chunked(3))
    parts = [whole[i : i + size] for i in range(0, len(whole), size)]

    def script(peer: Any) -> None:
        if peer.request() is not None:
            peer.send(*parts)
            peer.request()

    (record,) = drive.ask(serve(script))
    assert (record.outcome, record.output_tokens) == ("ok", 3)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_close_completes_an_answer_without_framing(
    serve: Any, wire: Any, drive: Any, version: bytes
) -> None:
    head = wire.OK.replace(b"1.1", version) + b"\r\n"
    (record,) = drive.ask(serve(once(head, *wire.events(2), end="close")))
    assert (record.outcome, record.output_tokens) == ("ok", 2)
    assert record.end_ns >= record.last_token_ns


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("framing", ["sized", "chunked", "none"])
def test_an_answer_that_breaks_off_is_cut_off(
    serve: Any, wire: Any, drive: Any, end: str, framing: str
) -> None:
    parts = {
        "sized": [wire.sized(3)[:-1]],
        "chunked": wire.chunked(3)[:-1],
        "none": [wire.OK + b"\r\n", *wire.events(3)[:-2]],
    }[framing]
    (record,) = drive.ask(serve(once(*parts, end=end)))
    if framing == "none" and end == "close":
        assert record.outcome == "ok"  # a finish reason is an end, and so is a close without framing
    else:
        assert (record.outcome, record.error_kind) == ("cut_off", {"close": "closed", "reset": "reset"}[end])
    assert len(record.gaps_us) == 2


def test_a_close_without_framing_before_the_dialect_s_end_is_cut_off(
    serve: Any, wire: Any, drive: Any
) -> None:
    (record,) = drive.ask(serve(once(wire.OK + b"\r\n", wire.token("a"), end="close")))
    assert (record.outcome, record.error_kind) == ("cut_off", "incomplete")


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"]
)
def test_interim_answers_are_passed_over(serve: Any, wire: Any, drive: Any, interim: bytes) -> None:
    server = serve(once(interim + interim, interim + wire.sized(2)))
    (record,) = drive.ask(server)
    assert (record.outcome, record.http_status, record.output_tokens) == ("ok", 200, 2)


def test_a_close_after_only_an_interim_answer_is_cut_off(serve: Any, drive: Any) -> None:
    (record,) = drive.ask(serve(once(b"HTTP/1.1 100 Continue\r\n\r\n", end="close")))
    assert (record.outcome, record.http_status) == ("cut_off", 0)


@pytest.mark.parametrize("close", [False, True])
def test_a_whole_answer_counts_with_whatever_comes_after(
    serve: Any, wire: Any, drive: Any, close: bool
) -> None:
    after = b"" if close else b"surplus"
    (record,) = drive.ask(serve(once(wire.sized(2) + after, end="close" if close else "wait")))
    assert (record.outcome, record.output_tokens) == ("ok", 2)


def test_a_second_answer_behind_the_first_changes_nothing_of_it(serve: Any, wire: Any, drive: Any) -> None:
    second = b"HTTP/1.1 408 Request Timeout\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\n{}"
    server = serve(once(wire.sized(2) + second, end="wait"))
    (tape,) = ask(drive.endpoint(server), drive.target(server), drive.calls(server, 1))
    record = drive.record(tape)
    assert (record.outcome, record.http_status, record.output_tokens) == ("ok", 200, 2)
    assert "retry-after" not in {name.lower() for name in dict(tape.headers)}


@pytest.mark.parametrize(
    "head", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"\r\n"]
)
def test_an_empty_body_is_no_answer(serve: Any, wire: Any, drive: Any, head: bytes) -> None:
    (record,) = drive.ask(serve(once(wire.OK + head, end="close")))
    assert (record.outcome, record.error_kind, record.first_byte_ns) == ("cut_off", "incomplete", None)


def plain(status: str, body: bytes, *fields: str) -> bytes:
    lines = "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""])
    return lines.encode() + body


PACKED = "Content-Encoding: gzip"
ERROR = b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'


@pytest.mark.parametrize(
    ("answer", "outcome", "kind"),
    [
        (plain("429 Too Many Requests", ERROR), "http_error", "rate_limited"),
        (plain("401 Unauthorized", b"{}"), "http_error", "auth"),
        (plain("429 No", gzip.compress(ERROR, mtime=0), PACKED), "http_error", "rate_limited"),
        (plain("302 Found", b"", "Location: https://elsewhere/"), "protocol", "redirect"),
        (plain("200 OK", gzip.compress(b"data: x\n\n", mtime=0), PACKED), "protocol", "compressed"),
        (b"HTTP/1.1 101 Other\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "protocol", "not_http"),
        (b"SSH-2.0-OpenSSH_9.7\r\n", "protocol", "not_http"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "protocol", "not_http"),
    ],
)  # fmt: skip
def test_answers_that_are_no_stream(serve: Any, drive: Any, answer: bytes, outcome: str, kind: str) -> None:
    (record,) = drive.ask(serve(once(answer)))
    assert (record.outcome, record.error_kind) == (outcome, kind)


def test_broken_framing_in_mid_answer_keeps_what_came(serve: Any, wire: Any, drive: Any) -> None:
    head, first, *_ = wire.chunked(3)
    server = serve(once(head, first + b"no chunk size\r\n"))
    (tape,) = ask(drive.endpoint(server), drive.target(server), drive.calls(server, 1))
    assert wire.token("t0 ") == tape.body
    assert tape.read_ends[-1] == len(tape.body)
    record = drive.record(tape)
    assert (record.outcome, record.http_status, record.first_token_ns) == ("protocol", 200, tape.read_ns[-1])


def test_an_error_inside_a_stream_is_an_http_error(serve: Any, wire: Any, drive: Any) -> None:
    body = wire.token("a") + b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
    (record,) = drive.ask(serve(once(wire.OK + b"\r\n" + body, end="close")))
    assert (record.outcome, record.http_status) == ("http_error", 200)
    assert record.first_token_ns is not None


@pytest.mark.parametrize(
    ("parts", "limits", "kind"),
    [
        ((), {"first_byte_s": 0.2}, "timeout_first_byte"),
        ((b"begin",), {"silence_s": 0.2}, "timeout_silence"),
        ((b"begin",), {"total_s": 0.2}, "timeout_total"),
    ],
)
def test_limits_end_what_takes_too_long(
    serve: Any, wire: Any, drive: Any, parts: tuple[bytes, ...], limits: dict[str, float], kind: str
) -> None:
    server = serve(once(*(wire.OK + b"\r\n" + wire.token("a") for _ in parts)))
    (record,) = drive.ask(server, connection=drive.limits(**limits))
    assert (record.outcome, record.error_kind) == ("timeout", kind)
    assert record.end_ns - record.sent_ns >= 200_000_000
    assert (record.first_token_ns is not None) == bool(parts)


def test_a_head_alone_is_no_stream_that_has_fallen_silent(serve: Any, wire: Any, drive: Any) -> None:
    """Servers behind a framework send it at once, and queue all the same."""
    head, *chunks = wire.chunked(2)
    script = once(head, b"".join(chunks), pause_s=0.6)
    (record,) = drive.ask(serve(script), connection=drive.limits(silence_s=0.2, first_byte_s=5.0))
    assert record.outcome == "ok"
    (record,) = drive.ask(serve(script), connection=drive.limits(silence_s=5.0, first_byte_s=0.2))
    assert (record.outcome, record.error_kind) == ("timeout", "timeout_first_byte")


def test_a_wall_clock_that_was_set_back_moves_no_arrival_before_the_request(
    serve: Any, wire: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.stamp_ns
    monkeypatch.setattr(clock, "stamp_ns", lambda said: real(said) - 3_600_000_000_000)
    (record,) = drive.ask(serve(once(wire.sized(3))))
    assert record.outcome == "ok"
    assert record.sent_ns <= record.first_token_ns <= record.end_ns


def test_user_stamps_are_marked_and_kernel_stamps_lie_between_sent_and_held(
    serve: Any, wire: Any, drive: Any
) -> None:
    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(*wire.chunked(3), pause_s=0.002)

    server = serve(script)
    tapes = [
        drive.run(drive.trial(server, kernel_stamps=kernel), drive.requests(3)).tapes
        for kernel in (True, False)
    ]
    assert {tape.clock for tape in tapes[1]} == {"user"}
    for tape in tapes[1]:
        assert tape.read_ns == tape.read_user_ns
    if tapes[0][0].clock == "user":
        pytest.skip("this platform stamps nothing in the kernel")
    stamps = [pair for tape in tapes[0] for pair in zip(tape.read_ns, tape.read_user_ns, strict=True)]
    assert {tape.clock for tape in tapes[0]} == {"kernel"}
    assert all(min(tape.read_ns) > tape.sent_ns for tape in tapes[0])
    assert all(kernel <= user for kernel, user in stamps)
    assert any(kernel < user for kernel, user in stamps)
