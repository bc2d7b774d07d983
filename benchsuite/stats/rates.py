"""Throughput, goodput and concurrency, each within a trial's window; the trial is the unit."""

from collections.abc import Sequence

import msgspec
import numpy as np

from benchsuite.money.cost import Counted, token_costs
from benchsuite.stats import talks
from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats, Ints
from benchsuite.stats.metrics import e2e_ms, ttft_ms, values
from benchsuite.stats.quantiles import quantile, rate_estimate
from benchsuite.stats.slo import within_limit
from benchsuite.stats.staged import slots_taken_share, span_of
from benchsuite.types import AHEAD_NS, CacheMode, Estimate, Metric, Point, Slo, TrialInfo
from benchsuite.workload.slo import each_request

_ROUNDS = 2
"""A closed loop's window needs at least so many rounds of requests."""

RAMP_UP_QUANTILE = 0.95
"""An open loop is in its steady state when so many of the first requests have ended."""

_LEAST_SPAN = 0.5
"""An open loop's window needs at least this share of the schedule's span."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a trial that throughput is counted in: after `start_ns`, up to and with `end_ns`.

    `whole`: the trial was too short for the definition's window and is taken from its first send
    to its last end, so that ramp-up and tail are in it.
    """

    start_ns: int
    end_ns: int
    whole: bool = False

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9


def window_of(point: Point, info: TrialInfo, columns: Columns, since_ns: int = 0) -> Window | None:
    """A trial's window; None: nothing was sent, or it has no length.

    Closed loop: from the send that first puts C in flight to the last send. Open loop: from one
    E2E (p95) after the first due, when as many end as begin, to the last due. Offline: first send
    to last end. With fewer than two rounds of requests, or less than half of the schedule's span
    left, the whole trial. Stages: all of them, ramps and idle times included. Conversations: while as many
    begin as end. Never before `since_ns`: a level of a search goes straight on from what fills the server,
    which is still answered in its window, and counts there.
    """
    sent = columns.sent_ns[columns.sent_ns != ABSENT]
    if not len(sent):
        return None
    last_end = int(columns.end_ns.max())
    whole = Window(start_ns=max(int(sent[0]), since_ns), end_ns=last_end, whole=True)
    window = whole
    if point.stages:
        start_ns, end_ns = span_of(point, info, columns)
        window = Window(start_ns=start_ns, end_ns=end_ns)
    elif point.talks and point.load != "offline":
        if (span := talks.window_ns(point, columns)) is not None:
            window = Window(start_ns=span[0], end_ns=span[1])
    elif point.load == "closed":
        slots = point.concurrency or 1
        if len(sent) >= _ROUNDS * slots:
            window = Window(start_ns=int(sent[slots - 1]), end_ns=_last_send_ns(info, sent))
    elif point.load == "open":
        window = _steady_open(columns) or whole
    else:
        window = Window(start_ns=whole.start_ns, end_ns=last_end)
    window = msgspec.structs.replace(window, start_ns=max(window.start_ns, since_ns))
    if window.seconds <= 0:
        window = whole
    return window if window.seconds > 0 else None


def window_with(point: Point, info: TrialInfo, every: Columns, judged: Columns) -> Window | None:
    """The window of a trial of which not `every` request is `judged`: it begins with these.

    None: none of them was sent.
    """
    sent = judged.sent_ns[judged.sent_ns != ABSENT]
    if not len(sent):
        return None
    return window_of(point, info, every, int(sent.min()) if len(judged) < len(every) else 0)


def _steady_open(columns: Columns) -> Window | None:
    """An open loop's schedule without its ramp-up; None: too little of it would be left."""
    e2e = values(e2e_ms(columns), columns.ok)
    first, last = int(columns.due_ns.min()), int(columns.due_ns.max())
    ramp_ns = round(quantile(e2e, RAMP_UP_QUANTILE) * 1e6) if len(e2e) else 0
    if last - first - ramp_ns < _LEAST_SPAN * (last - first):
        return None
    return Window(start_ns=first + ramp_ns, end_ns=last)


def tokens_in(columns: Columns, window: Window) -> float:
    """Output tokens of answered requests that arrived in the window.

    A request's usage is spread evenly over its token events (without usage an event is a token);
    an answer without events arrives whole at its end.
    """
    events = columns.events
    tokens = np.where(columns.output_tokens == ABSENT, events, columns.output_tokens)
    streamed = columns.ok & (events > 0)
    per_event = np.divide(tokens, events, out=np.zeros(len(events)), where=streamed)
    inside = _events_inside(columns, window)
    at_once = columns.ok & (events == 0) & _within(columns.end_ns, window)
    return float(per_event @ inside) + float(tokens[at_once].sum())


def requests_in(columns: Columns, window: Window) -> int:
    """Answered requests that ended in the window."""
    return int(np.count_nonzero(columns.ok & _within(columns.end_ns, window)))


def good_in(point: Point, slo: Slo, columns: Columns, window: Window) -> int:
    """Requests ending in the window that met every limit; failed ones don't."""
    good = columns.ok & _within(columns.end_ns, window)
    for metric, ms in each_request(slo).items():
        good = good & within_limit(point, metric, ms, columns)
    return int(np.count_nonzero(good))


def mean_in_flight(columns: Columns, window: Window) -> float:
    """Requests in flight, sent to end, averaged over the window's time."""
    return _mean_of(columns, window, columns.sent_ns)


def mean_slots_taken(columns: Columns, window: Window) -> float:
    """The same, counted from when a request's own connection began to open.

    A server that keeps no connections makes every request wait for a new one: no slot is idle then.
    """
    return _mean_of(columns, window, _taken_since_ns(columns))


def _taken_since_ns(columns: Columns) -> Ints:
    """When each request took its slot: with the opening of its own connection."""
    return np.asarray(columns.sent_ns - _opening_ns(columns))


def _opening_ns(columns: Columns) -> Ints:
    """How long the opening of each request's own connection took; 0: it had none of its own."""
    opening_us = np.maximum(columns.connect_us, 0) + np.maximum(columns.tls_us, 0)
    return np.asarray(1000 * opening_us)


def _beyond_lead_ns(sent: Ints, opening: Ints) -> Ints:
    """By how much each opening outlasted the time for which it was begun ahead of its request.

    That lead follows from the openings seen before (`AHEAD_NS`). One is made before the clock starts, which
    no record may tell of: it is taken for the shortest.
    """
    longest = np.maximum.accumulate(opening[np.argsort(sent, kind="stable")])
    before = np.searchsorted(np.sort(sent), sent - opening)
    first = opening[opening > 0].min(initial=AHEAD_NS[1])
    seen = np.maximum(first, np.where(before > 0, longest[np.maximum(before, 1) - 1], 0))
    return np.asarray(np.maximum(opening - np.clip(2 * seen, *AHEAD_NS), 0))


def _mean_of(columns: Columns, window: Window, since_ns: Ints) -> float:
    """How many of the spans from `since_ns` to the request's end cover an instant of the window."""
    sent = columns.sent_ns != ABSENT
    start = np.maximum(since_ns[sent], window.start_ns)
    end = np.minimum(columns.end_ns[sent], window.end_ns)
    return float(np.maximum(end - start, 0).sum()) / (window.end_ns - window.start_ns)


def peak_in_flight(columns: Columns) -> int:
    """Most requests in flight at any send."""
    there = columns.sent_ns != ABSENT
    sent, ended = np.sort(columns.sent_ns[there]), np.sort(columns.end_ns[there])
    in_flight = np.arange(1, len(sent) + 1) - np.searchsorted(ended, sent, "right")
    return int(in_flight.max(initial=0))


def client_lag_ms(point: Point, info: TrialInfo, columns: Columns) -> Floats:
    """How late each request was sent by the client's own doing.

    Sent − due, of requests that weren't sent twice; but where an open loop has a cap in flight, a request
    due while the cap was reached was only late from the end that let it go, or as its connection could be
    opened from then on. Nor is an open loop's client to blame for what an opening took beyond its lead (a
    closed one's due instants have that in them). Offline everything is due at once and nothing late.
    """
    there = columns.sent_ns != ABSENT
    sent, due, opening = columns.sent_ns[there], columns.due_ns[there], _opening_ns(columns)[there]
    if point.load in {"offline", "batch-api"} or not len(sent):
        return np.empty(0)
    lag = (sent - due) / 1e6
    if point.load == "open":
        lag = np.maximum(lag - _beyond_lead_ns(sent, opening) / 1e6, np.minimum(lag, 0))
    if point.load == "open" and point.concurrency is not None:
        ended = np.sort(columns.end_ns[there])
        # The cap is split over the workers, so one of them may hold back while others have room.
        full = max(1, point.concurrency // max(1, len(info.workers)))
        # Those due before and not ended: in flight, or waiting with it.
        ahead = np.searchsorted(np.sort(due), due, "left") - np.searchsorted(ended, due, "right")
        held = ahead >= full
        before = np.searchsorted(ended, sent, "right") - 1
        freed = np.where(before >= 0, ended[np.maximum(before, 0)], due)
        lag = np.where(held, np.maximum(sent - np.maximum(due, freed) - opening, 0) / 1e6, lag)
    return np.asarray(lag[columns.reconnects[there] == 0], dtype=np.float64)


def delivered_share(point: Point, columns: Columns, window: Window) -> float | None:
    """Delivered over asked: sends against the schedule's own pace, or mean slots taken against C.

    Compared with the arrivals drawn, not with the rate they were drawn from. None: nothing was
    asked (offline), or the trial was too short to tell.
    """
    if window.whole or point.load in {"offline", "batch-api"}:
        return None
    if point.talks and point.load == "closed" and point.think_s:
        # Nothing of a slot is in flight while somebody thinks.
        return None
    if point.talks and point.load == "open":
        first = talks.first_turns(columns) & (columns.sent_ns != ABSENT)
        due, sent = columns.due_ns[first], columns.sent_ns[first]
        return float(np.ptp(due) / np.ptp(sent)) if len(sent) > 1 and np.ptp(sent) else None
    if point.load == "closed" and point.stages:
        schedule_ns = window.start_ns, window.end_ns
        return slots_taken_share(point, columns, schedule_ns, _taken_since_ns(columns))
    if point.load == "closed":
        return mean_slots_taken(columns, window) / (point.concurrency or 1)
    sent = columns.sent_ns[columns.sent_ns != ABSENT]
    if len(sent) < 2:
        return None
    due_over_ns, sent_over_ns = float(np.ptp(columns.due_ns)), float(np.ptp(sent))
    if not due_over_ns or not sent_over_ns:
        # A burst at one instant has no rate.
        return None
    return (len(sent) - 1) / sent_over_ns * due_over_ns / (len(columns) - 1)


def point_rates(
    point: Point,
    slo: Slo,
    cache: CacheMode,
    trials: Sequence[tuple[Columns, Window]],
    tpot: Metric,
) -> dict[str, Estimate]:
    """Throughput by name: means over trials with their intervals."""
    requests = [requests_in(columns, window) for columns, window in trials]
    seconds = [window.seconds for _, window in trials]
    n = sum(requests)

    def per_second(counts: Sequence[float]) -> Estimate:
        return rate_estimate([count / s for count, s in zip(counts, seconds, strict=True)], n)

    rates = {
        "output_tokens_per_s": per_second([tokens_in(columns, window) for columns, window in trials]),
        "requests_per_s": per_second(requests),
        "tokens_per_s_per_user": tpot.quantiles["p50"].under(1e3),
    }
    if each_request(slo):
        good = [good_in(point, slo, columns, window) for columns, window in trials]
        rates["goodput_per_s"] = per_second(good)
    if point.talks:
        ended = [talks.ended_in(columns, window.start_ns, window.end_ns) for columns, window in trials]
        rates["conversations_per_s"] = per_second(ended)
        # What later turns find in the cache has to be known.
        cache = "shared"
    prefill = [rate for columns, _ in trials if (rate := prefill_rate(columns, cache)) is not None]
    if prefill:
        found = rate_estimate(prefill, n)
        rates["prefill_tokens_per_s"] = msgspec.structs.replace(found, basis=f"estimate, {found.basis}")
    return rates


def billed(trials: Sequence[Columns]) -> dict[str, tuple[float, ...]]:
    """Dollars where tokens are billed, each as one number a trial; empty where no request has a price.

    An answer of unknown price counts neither as money nor as an answer: it wasn't free.
    """
    priced = [columns for columns in trials if len(columns) and not np.isnan(columns.cost_usd).all()]
    counts = [
        Counted(
            answered=int(np.count_nonzero(_known_price(columns))),
            prompt_tokens=_counted(columns, columns.prompt_tokens),
            output_tokens=_counted(columns, columns.output_tokens),
        )
        for columns in priced
    ]
    return token_costs([float(np.nansum(columns.cost_usd)) for columns in priced], counts)


def _known_price(columns: Columns) -> Bools:
    found: Bools = columns.ok & ~np.isnan(columns.cost_usd)
    return found


def _counted(columns: Columns, tokens: Ints) -> int:
    """Tokens of all answered requests whose price is known; 0: some aren't known."""
    known = tokens[_known_price(columns)]
    return 0 if (known == ABSENT).any() else int(known.sum())


def prefill_rate(columns: Columns, cache: CacheMode) -> float | None:
    """Uncached prompt tokens / (TTFT − the server's queue time), over a trial's answered requests.

    An estimate: TTFT holds more than prefill. Where the server doesn't report cached tokens, a
    cold workload's prompts count as uncached, and a warm or shared one has no such rate (None).
    """
    known = columns.ok & (columns.prompt_tokens != ABSENT) & (columns.first_token_ns != ABSENT)
    if cache != "cold":
        known = known & (columns.cached_tokens != ABSENT)
    seconds = (ttft_ms(columns)[known] - np.nan_to_num(columns.server.queue[known])).sum() / 1e3
    tokens = (columns.prompt_tokens[known] - np.maximum(columns.cached_tokens[known], 0)).sum()
    return float(tokens / seconds) if tokens > 0 and seconds > 0 else None


def _last_send_ns(info: TrialInfo, sent_ns: Ints) -> int:
    """The trial's last send; the records' own where the trial doesn't know."""
    return max(info.last_send_ns, int(sent_ns[-1]))


def _within(instants_ns: Ints, window: Window) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (instants_ns > window.start_ns) & (instants_ns <= window.end_ns)


def _events_inside(columns: Columns, window: Window) -> Ints:
    """How many token events of each request arrived in the window."""
    inside = _within(columns.first_token_ns, window).astype(np.int64)
    offsets = columns.gap_offsets
    since_us = np.concatenate(([0], np.cumsum(columns.gaps_us, dtype=np.int64)))
    # Instants in µs since the window's start: the running sum of all gaps, less what went before
    # the request, plus its first token.
    first_us = (columns.first_token_ns - window.start_ns) // 1000 - since_us[offsets[:-1]]
    arrival_us = since_us[1:] + np.repeat(first_us, np.diff(offsets))
    hits = (arrival_us > 0) & (arrival_us <= (window.end_ns - window.start_ns) // 1000)
    running = np.concatenate(([0], np.cumsum(hits)))
    return np.asarray(inside + running[offsets[1:]] - running[offsets[:-1]], dtype=np.int64)
