"""Each request's TTFT, TPOT and so on, and their distributions at a point (metrics version 1).

Latencies are of requests that were answered (outcome ok); what the client did (send lag, reader
lag, connecting) is of all. Arrays have one entry a request, NaN where the metric doesn't exist.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats, Ints
from benchsuite.stats.quantiles import distribution
from benchsuite.types import Metric, Point

STALL_MEDIANS = 3
STALL_US = 100_000
"""A gap is a stall above three times its request's median gap, and above 100 ms."""


def ttft_ms(columns: Columns) -> Floats:
    """First token − sent."""
    return _ms(columns.first_token_ns, columns.sent_ns)


def ttft_from_due_ms(columns: Columns) -> Floats:
    """First token − due: what the open loop leads with, since it omits no waiting."""
    return _ms(columns.first_token_ns, columns.due_ns)


def ttfo_ms(columns: Columns) -> Floats:
    """First token that isn't reasoning − sent."""
    return _ms(columns.first_output_ns, columns.sent_ns)


def e2e_ms(columns: Columns) -> Floats:
    """End − sent."""
    return _ms(columns.end_ns, columns.sent_ns)


def e2e_from_due_ms(columns: Columns) -> Floats:
    """End − due."""
    return _ms(columns.end_ns, columns.due_ns)


def send_lag_ms(columns: Columns) -> Floats:
    """Sent − due."""
    return _ms(columns.sent_ns, columns.due_ns)


def reader_lag_ms(columns: Columns) -> Floats:
    """Worst delay between a read's stamp and our holding it."""
    return _where(columns.reads > 0, columns.reader_lag_us / 1e3)


def connect_ms(columns: Columns) -> Floats:
    """TCP connect time, the nearest thing to the round trip."""
    return _where(columns.connect_us != ABSENT, columns.connect_us / 1e3)


def tpot_ms(columns: Columns) -> Floats:
    """(last token − first token) / (streamed tokens − tokens of the first event).

    Streamed are the output tokens without reasoning that wasn't streamed, spread evenly over the
    token events; without usage, an event is a token. NaN unless above 0.
    """
    events = columns.events
    tokens = streamed_tokens(columns)
    after_first = np.divide(tokens * (events - 1), events, out=np.zeros(len(events)), where=events > 0)
    span_ms = _ms(columns.last_token_ns, columns.first_token_ns)
    with np.errstate(invalid="ignore"):
        exists = (after_first > 0) & (span_ms > 0)
    found: Floats = np.divide(span_ms, after_first, out=np.full(len(events), np.nan), where=exists)
    return found


def streamed_tokens(columns: Columns) -> Ints:
    """Output tokens that came as events; the number of events where the server reports no usage."""
    hidden = np.where(columns.streamed_reasoning, 0, np.maximum(columns.reasoning_tokens, 0))
    tokens: Ints = np.where(columns.output_tokens == ABSENT, columns.events, columns.output_tokens - hidden)
    return tokens


def server_rest_ms(columns: Columns) -> Floats:
    """What of TTFT the server's own account leaves out: network, front end, and a queue that it doesn't tell.

    Where the server tells only how long the whole answer took, what that leaves out of E2E. Expected to be
    0 or more, and never cut there: a negative one is a contradiction between the two clocks' accounts.
    """
    server = columns.server
    rest = ttft_ms(columns) - server.to_first_token
    whole = np.where((columns.events == 0) & np.isnan(server.total), server.whole, server.total)
    return np.where(np.isnan(rest), e2e_ms(columns) - whole, rest)


def unseen(columns: Columns) -> Bools:
    """Answers of which nothing could be seen: every token that there was went into reasoning."""
    hidden = (columns.reasoning_tokens > 0) & (columns.reasoning_tokens >= columns.output_tokens)
    reasoned = np.where(columns.events > 0, columns.streamed_reasoning, hidden)
    found: Bools = columns.ok & (columns.first_output_ns == ABSENT) & reasoned
    return found


def whole(columns: Columns) -> Bools:
    """Answers of several tokens that came in one piece, and not because all of them were hidden reasoning."""
    there = columns.ok & (columns.events == 0) & (columns.output_tokens > 1)
    found: Bools = there & ~unseen(columns)
    return found


def stall_share(trials: Sequence[Columns]) -> float | None:
    """Share of gaps that are stalls, over all answered requests; None: there are no gaps."""
    gaps = stalls = 0
    for columns in trials:
        flat, offsets = columns.gaps_us, columns.gap_offsets
        of = np.repeat(np.arange(len(columns)), np.diff(offsets))
        gaps += int(np.count_nonzero(columns.ok[of]))
        # Most requests have no gap that could be a stall: only the others' medians are needed.
        candidates = np.zeros(len(columns), dtype=np.bool_)
        candidates[of[flat > STALL_US]] = True
        chosen = (candidates & columns.ok)[of]
        stalls += _stalls(flat[chosen].astype(np.int64), of[chosen])
    return stalls / gaps if gaps else None


def point_metrics(point: Point, trials: Sequence[Columns]) -> dict[str, Metric]:
    """The distributions of a point's metrics, in ms, by name.

    Always there: ttft, tpot, itl, e2e, send_lag. Where it applies: ttft_from_due and
    e2e_from_due (open loop), ttfo (reasoning was seen), reader_lag, connect; and of the server's own
    timings as many as it tells: server_load, server_queue, server_prefill, server_first, server_decode
    and server_rest.
    """
    answered: dict[str, Callable[[Columns], Floats]] = {"ttft": ttft_ms}
    if point.load != "closed":
        answered["ttft_from_due"] = ttft_from_due_ms
    if any((c.streamed_reasoning | (c.reasoning_tokens > 0)).any() for c in trials):
        answered["ttfo"] = ttfo_ms
    answered |= {"tpot": tpot_ms, "e2e": e2e_ms}
    if point.load != "closed":
        answered["e2e_from_due"] = e2e_from_due_ms
    metrics = {
        name: distribution(name, "ms", [values(function(c), c.ok) for c in trials])
        for name, function in answered.items()
    }
    metrics["itl"] = itl(trials)
    metrics["send_lag"] = distribution("send_lag", "ms", [values(send_lag_ms(c)) for c in trials])
    for name, function in (("reader_lag", reader_lag_ms), ("connect", connect_ms)):
        found = distribution(name, "ms", [values(function(c)) for c in trials])
        if found.n:
            metrics[name] = found
    return metrics | _server_metrics(trials)


def _server_metrics(trials: Sequence[Columns]) -> dict[str, Metric]:
    """The server's own timings of answered requests, those that there are."""
    functions: dict[str, Callable[[Columns], Floats]] = {
        "server_load": lambda c: c.server.load,
        "server_queue": lambda c: c.server.queue,
        "server_prefill": lambda c: c.server.prefill,
        "server_first": lambda c: c.server.first,
        "server_decode": lambda c: c.server.decode,
        "server_rest": server_rest_ms,
    }
    if all(np.isnan(part).all() for c in trials for part in c.server.times):
        return {}
    found = {}
    for name, function in functions.items():
        parts = [values(function(c), c.ok) for c in trials]
        if any(map(len, parts)):
            found[name] = distribution(name, "ms", parts)
    return found


def itl(trials: Sequence[Columns]) -> Metric:
    """All gaps between token events pooled; an estimate's `n` counts requests, the metric's `n` gaps."""
    gaps = [c.gaps_of(c.ok) for c in trials]
    requests = [int(np.count_nonzero(c.ok & (c.events > 1))) for c in trials]
    # Integers halve the memory, and gaps are most of it.
    return distribution("itl", "ms", gaps, requests, scale=1e-3)


def values(metric: Floats, chosen: Bools | None = None) -> Floats:
    """The entries that exist, of the requests chosen."""
    there = ~np.isnan(metric)
    return metric[there if chosen is None else there & chosen]


def mean(parts: Sequence[NDArray[np.int64] | Floats]) -> float | None:
    """The mean of several arrays pooled; None: they are empty."""
    count = sum(len(part) for part in parts)
    return float(sum(float(part.sum()) for part in parts)) / count if count else None


def _ms(later_ns: Ints, earlier_ns: Ints) -> Floats:
    """Differences of instants that both exist, in ms."""
    return _where((later_ns != ABSENT) & (earlier_ns != ABSENT), (later_ns - earlier_ns) / 1e6)


def _where(there: Bools, found: Floats) -> Floats:
    """NaN where there is nothing."""
    return np.where(there, found, np.nan)


def _stalls(gaps_us: Ints, of: Ints) -> int:
    """How many of these gaps, `of` being their requests in order, are stalls."""
    if not len(gaps_us):
        return 0
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    sizes = np.diff(starts, append=len(of))
    # One sort of (request, gap) packed into a word sorts the gaps inside each request.
    ordered = np.sort(of << 32 | gaps_us) & 0xFFFFFFFF
    medians = (ordered[starts + (sizes - 1) // 2] + ordered[starts + sizes // 2]) / 2
    limits = np.maximum(STALL_MEDIANS * medians, STALL_US)
    return int(np.count_nonzero(gaps_us > np.repeat(limits, sizes)))
