"""From tapes to records, after the last byte and outside the measuring process."""

from collections.abc import Callable, Iterable, Iterator
from operator import sub

import msgspec

from benchsuite.driver import Driver
from benchsuite.engine import refusal
from benchsuite.engine.spool import SKIPPED
from benchsuite.store.records import gaps_us
from benchsuite.types import Outcome, Record, Reply, Tape

_HIDDEN_NS = 1_000_000
"""Two events in one read count as coalesced when the first may have come this much earlier."""

_MOST_TOKENS = 2**31

_REFUSED = frozenset({"connect", "tls", "proxy", "timeout_connect"})


def records(
    tapes: Iterable[Tape],
    driver: Driver,
    id_prefix: str,
    keep_text: bool = False,
    passed: Callable[[int, str], bool | None] | None = None,
) -> Iterator[Record]:
    """Each tape as its record; `id_prefix` + index is the request id that was sent.

    `passed` judges an answer by its request's index; None: there is no check. What failed didn't pass.
    """
    for tape in tapes:
        reply = decoded(tape, driver)
        found = record(tape, reply, f"{id_prefix}{tape.index}", keep_text)
        if passed is not None:
            right = passed(tape.index, reply.said) if found.outcome == "ok" else False
            found = msgspec.structs.replace(found, passed=right)
        yield found


def decoded(tape: Tape, driver: Driver) -> Reply:
    """The answer as its driver reads it; a driver that fails costs one answer, not a trial's records."""
    try:
        return driver.decode(tape)
    except Exception as error:
        return Reply(error_kind="driver", error_message=f"the driver can't read it: {type(error).__name__}")


def record(tape: Tape, reply: Reply, request_id: str, keep_text: bool = False) -> Record:
    """One request's record: instants from the tape, meaning from the reply."""
    outcome, kind = _outcome(tape, reply)
    arrivals = reply.arrival_ns
    first = arrivals[0] if arrivals else None
    reads, merged = _merged(tape, reply)
    lag_ns = _reader_lag_ns(tape)
    return Record(
        request_id=request_id,
        index=tape.index,
        phase=tape.phase,
        outcome=outcome,
        error_kind=kind,
        http_status=tape.status,
        due_ns=tape.due_ns,
        sent_ns=tape.sent_ns or None,
        sent_all_ns=tape.sent_all_ns or None,
        first_byte_ns=_first_byte_ns(tape),
        first_token_ns=first,
        first_output_ns=_first_output_ns(reply),
        last_token_ns=arrivals[-1] if arrivals else None,
        end_ns=tape.end_ns,
        gaps_us=gaps_us(arrivals),
        prompt_tokens=token_count(reply.prompt_tokens),
        output_tokens=token_count(reply.output_tokens),
        cached_tokens=token_count(reply.cached_tokens),
        reasoning_tokens=token_count(reply.reasoning_tokens),
        streamed_reasoning=b"r" in reply.kind,
        finish_reason=reply.finish_reason,
        reads=reads,
        merged_events=merged,
        reader_lag_us=lag_ns // 1000,
        user_stamps=tape.clock == "user",
        reconnects=tape.reconnects,
        connect_us=tape.connect_ns // 1000 if tape.connect_ns else None,
        tls_us=tape.tls_ns // 1000 if tape.tls_ns else None,
        server_timings=msgspec.json.encode(reply.server_timings).decode() if reply.server_timings else None,
        text="".join(reply.texts) or reply.whole if keep_text else None,
        cache_write_tokens=token_count(reply.cache_write_tokens),
        cache_write_1h_tokens=token_count(reply.cache_write_1h_tokens),
        retry_after_s=retry_after_s(tape),
    )


def answered(tape: Tape, reply: Reply) -> bool:
    """Did the request end well?"""
    return _outcome(tape, reply)[0] == "ok"


def token_count(tokens: int | None) -> int | None:
    """A server's count as far as it can be one: nobody's prompt has two billion tokens."""
    return tokens if tokens is not None and 0 <= tokens < _MOST_TOKENS else None


def retry_after_s(tape: Tape) -> float | None:
    """Seconds after which a server that refused wants to be asked again; None: it doesn't say."""
    return refusal.retry_after_s(tape.status, tape.headers, tape.body, tape.end_ns)


def _outcome(tape: Tape, reply: Reply) -> tuple[Outcome, str]:
    """How the request ended, from the closed set, and the open word for why."""
    error = tape.error
    if error == SKIPPED:
        return "skipped", "earlier_turn"
    if error in _REFUSED:
        return ("timeout" if error.startswith("timeout") else "refused"), error
    if error.startswith("timeout"):
        return "timeout", error
    if error == "protocol":
        return "protocol", "not_http"
    if not tape.status:
        return "cut_off", error or "closed"
    if tape.status >= 400:
        return "http_error", reply.error_kind or "http"
    if tape.status >= 300:
        return "protocol", "redirect"
    for name, value in tape.headers:
        if name == "content-encoding" and value != "identity":
            return "protocol", "compressed"
    if reply.error_kind:
        return "http_error", reply.error_kind
    if tape.framing_complete and reply.complete:
        return "ok", ""
    return "cut_off", error or "incomplete"


def _first_byte_ns(tape: Tape) -> int | None:
    """Arrival of the first byte of the body."""
    if tape.read_ends and tape.read_ends[0]:
        return tape.read_ns[0]
    for arrival, end in zip(tape.read_ns, tape.read_ends, strict=True):
        if end:
            return arrival
    return None


def _first_output_ns(reply: Reply) -> int | None:
    """Arrival of the first event that isn't reasoning."""
    kinds = reply.kind
    if not kinds:
        return None
    if kinds[0] == ord("c"):
        return reply.arrival_ns[0]
    at = next((i for i, kind in enumerate(kinds) if kind != ord("r")), None)
    return None if at is None else reply.arrival_ns[at]


def _reader_lag_ns(tape: Tape) -> int:
    """The longest that bytes waited for us: exact with the kernel's stamps, else at most so long."""
    if tape.clock == "kernel":
        return max(map(sub, tape.read_user_ns, tape.read_ns), default=0)
    looked = map(max, tape.read_floor_ns, (0, *tape.read_user_ns))
    return max(map(sub, tape.read_user_ns, looked), default=0)


def _merged(tape: Tape, reply: Reply) -> tuple[int, int]:
    """Reads that carried token events, and events that our lateness may have merged with a later one.

    A read that holds several events is the server's doing if it arrived right after we had looked;
    it may be ours if its bytes can have been waiting for longer than a millisecond.
    """
    arrivals = reply.arrival_ns
    distinct = len(set(arrivals))
    if distinct == len(arrivals):
        return distinct, 0
    held: dict[int, int] = {}
    for arrival in arrivals:
        held[arrival] = held.get(arrival, 0) + 1
    merged = 0
    for i, arrival in enumerate(tape.read_ns):
        if (events := held.pop(arrival, 0)) > 1:
            floor = max(tape.read_floor_ns[i], tape.read_user_ns[i - 1] if i else 0)
            if arrival - floor > _HIDDEN_NS:
                merged += events - 1
    return distinct, merged
