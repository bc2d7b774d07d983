"""From a tape and its reply to a record: outcomes, instants, gaps, coalesced reads."""

from typing import Any

import pytest

from benchsuite.engine.decode import record, records
from benchsuite.types import Reply, Tape

MS = 1_000_000
OK = Reply(complete=True)


def tape(**fields: Any) -> Tape:
    defaults: dict[str, Any] = {
        "index": 7,
        "sent_ns": 1,
        "end_ns": 9,
        "status": 200,
        "framing_complete": True,
    }
    return Tape(**defaults | fields)


@pytest.mark.parametrize(
    ("fields", "reply", "outcome", "kind"),
    [
        ({}, OK, "ok", ""),
        ({}, Reply(), "cut_off", "incomplete"),
        ({"framing_complete": False}, OK, "cut_off", "incomplete"),
        ({"framing_complete": False, "error": "reset"}, OK, "cut_off", "reset"),
        ({"framing_complete": False, "error": "stopped"}, OK, "cut_off", "stopped"),
        ({"status": 0, "framing_complete": False, "error": "closed"}, Reply(), "cut_off", "closed"),
        ({"status": 0, "framing_complete": False}, Reply(), "cut_off", "closed"),
        ({}, Reply(complete=True, error_kind="server_error"), "http_error", "server_error"),
        ({"status": 503}, Reply(error_kind="overloaded"), "http_error", "overloaded"),
        ({"status": 418}, Reply(), "http_error", "http"),
        ({"status": 503, "headers": (("content-encoding", "br"),)}, Reply(), "http_error", "http"),
        ({"status": 304}, Reply(), "protocol", "redirect"),
        ({"headers": (("content-encoding", "gzip"),)}, Reply(), "protocol", "compressed"),
        ({"headers": (("content-encoding", "identity"),)}, OK, "ok", ""),
        ({"status": 0, "error": "protocol"}, Reply(), "protocol", "not_http"),
        *(({"status": 0, "error": kind}, Reply(), "refused", kind) for kind in ("connect", "tls", "proxy")),
        *(
            ({"error": f"timeout_{kind}"}, OK, "timeout", f"timeout_{kind}")
            for kind in ("connect", "first_byte", "silence", "total")
        ),
    ],
)
def test_outcomes(fields: dict[str, Any], reply: Reply, outcome: str, kind: str) -> None:
    made = record(tape(**fields), reply, "id")
    assert (made.outcome, made.error_kind) == (outcome, kind)


def test_instants_and_gaps() -> None:
    heard = tape(
        due_ns=50,
        sent_ns=100,
        sent_all_ns=200,
        end_ns=9 * MS,
        connect_ns=3_999,
        read_ns=[1 * MS, 2 * MS, 4 * MS],
        read_user_ns=[1 * MS + 700, 2 * MS + 5_900, 4 * MS],
        read_floor_ns=[0, 0, 0],
        read_ends=[0, 5, 9],
    )
    reply = Reply(
        arrival_ns=[2 * MS, 2 * MS + 1_400, 4 * MS],
        kind=b"rcc",
        texts=["a", "b", "c"],
        complete=True,
        prompt_tokens=5,
        output_tokens=4,
        reasoning_tokens=1,
        finish_reason="stop",
        server_timings={"queue_ms": 1.5},
    )
    made = record(heard, reply, "r-7")
    assert (made.request_id, made.index, made.due_ns, made.sent_ns, made.sent_all_ns) == (
        "r-7",
        7,
        50,
        100,
        200,
    )
    assert made.first_byte_ns == 2 * MS  # the first read brought only headers
    assert (made.first_token_ns, made.first_output_ns, made.last_token_ns) == (2 * MS, 2 * MS + 1_400, 4 * MS)
    assert made.end_ns == 9 * MS
    assert made.gaps_us == [1, 1_999]
    assert (made.reader_lag_us, made.connect_us, made.tls_us) == (5, 3, None)
    assert (made.prompt_tokens, made.output_tokens, made.reasoning_tokens, made.cached_tokens) == (
        5,
        4,
        1,
        None,
    )
    assert made.streamed_reasoning
    assert made.server_timings == '{"queue_ms":1.5}'
    assert made.text is None
    assert record(heard, reply, "r-7", keep_text=True).text == "abc"


@pytest.mark.parametrize(
    ("kinds", "first_output"), [(b"cr", 10), (b"rc", 20), (b"rt", 20), (b"rr", None), (b"", None)]
)
def test_first_output_is_the_first_that_is_no_reasoning(kinds: bytes, first_output: int | None) -> None:
    reply = Reply(arrival_ns=[10, 20][: len(kinds)], kind=kinds, complete=True)
    made = record(tape(), reply, "id")
    assert made.first_output_ns == first_output
    assert made.streamed_reasoning == (b"r" in kinds)


def test_what_never_happened_is_none() -> None:
    made = record(tape(sent_ns=0, status=0, error="connect"), Reply(), "id")
    instants = (made.sent_ns, made.sent_all_ns, made.first_byte_ns, made.first_token_ns, made.last_token_ns)
    assert instants == (None,) * 5
    assert (made.gaps_us, made.reads, made.reader_lag_us, made.connect_us) == ([], 0, 0, None)


@pytest.mark.parametrize(
    ("floors", "held", "coalesced"),
    [
        ([0, 9 * MS], [5 * MS, 10 * MS], 0),  # looked right before: the server sent both at once
        ([0, 8 * MS], [5 * MS, 10 * MS], 1),  # the first may have waited for 2 ms
        ([0, 0], [5 * MS, 10 * MS], 1),  # long not looked, but this connection was read at 5 ms
        ([0, 0], [9 * MS, 10 * MS], 0),  # this connection was read a millisecond before
    ],
)
def test_reads_count_as_coalesced_if_we_may_have_merged_them(
    floors: list[int], held: list[int], coalesced: int
) -> None:
    heard = tape(read_ns=[5 * MS, 10 * MS], read_user_ns=held, read_floor_ns=floors, read_ends=[3, 9])
    made = record(heard, Reply(arrival_ns=[5 * MS, 10 * MS, 10 * MS], kind=b"ccc", complete=True), "id")
    assert (made.reads, made.merged_events) == (2, coalesced)


def test_single_events_are_never_coalesced() -> None:
    heard = tape(read_ns=[5 * MS], read_user_ns=[6 * MS], read_floor_ns=[0], read_ends=[3])
    made = record(heard, Reply(arrival_ns=[5 * MS], kind=b"c", complete=True), "id")
    assert (made.reads, made.merged_events) == (1, 0)


class Broken:
    """A third party's driver with a fault."""

    def decode(self, heard: Tape) -> Reply:
        if heard.index == 1:
            raise KeyError("choices")
        return OK


def test_a_driver_that_fails_costs_one_answer_and_not_the_others() -> None:
    made = list(records((tape(index=index) for index in range(3)), Broken(), "run-"))  # type: ignore[arg-type]
    assert [each.outcome for each in made] == ["ok", "http_error", "ok"]
    assert made[1].error_kind == "driver"


def test_counts_that_can_not_be_are_none() -> None:
    odd = Reply(complete=True, prompt_tokens=10**30, output_tokens=-1, cached_tokens=2**31 - 1)
    made = record(tape(), odd, "id")
    assert (made.prompt_tokens, made.output_tokens, made.cached_tokens) == (None, None, 2**31 - 1)
