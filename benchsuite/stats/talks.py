"""Conversations: a trial's window, what keeps their growth from looking like a drift, and numbers by turn.

All of it is computed from the records; nothing of it is stored but what has a name among a point's rates.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchsuite.stats import metrics
from benchsuite.stats.columns import ABSENT, Bools, Columns, Floats, trials_of
from benchsuite.stats.quantiles import quantile, trial_estimate
from benchsuite.types import Estimate, Point, Run, TrialInfo

if TYPE_CHECKING:
    import pyarrow as pa

_ROUNDS = 2
"""A closed loop's window needs at least so many rounds of conversations."""

_RAMP_UP_QUANTILE = 0.95
_LEAST_SPAN = 0.5
_LARGEST_TABLE = 12
"""A conversation's turns are shown one by one up to here; the rest are one row."""


class TurnNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a point's conversations, or all from it on (`last` is another), over its trials.

    `requests` were due as that turn, `ok` of them answered, `skipped` never sent. Latencies in ms; open loops
    count the TTFT of first turns from due. `prompt_tokens` is the mean, `cached_share` cached over all prompt
    tokens; None: the server counts none.
    """

    turn: int
    last: int
    requests: int
    ok: int
    skipped: int
    prompt_tokens: float | None
    cached_share: float | None
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    tpot_p50_ms: Estimate


def first_turns(columns: Columns) -> Bools:
    """Requests that begin a conversation, or that stand alone."""
    found: Bools = columns.turn <= 0
    return found


def window_ns(point: Point, columns: Columns) -> tuple[int, int] | None:
    """The part of a trial in which its load is that asked for; None: too short to have one.

    Closed loop: from when each slot has a conversation to the last one's begin, after which slots run empty.
    Open loop: from when as many conversations end as begin (p95 of how long one takes) to the last arrival.
    """
    first = first_turns(columns)
    if point.load == "closed":
        slots, begun = point.concurrency or 1, np.sort(columns.sent_ns[first & (columns.sent_ns != ABSENT)])
        return (int(begun[slots - 1]), int(begun[-1])) if len(begun) >= _ROUNDS * slots else None
    due = columns.due_ns[first]
    if not len(due):
        return None
    begin, end = int(due.min()), int(due.max())
    ramp_ns = round(quantile(_lengths_ns(columns), _RAMP_UP_QUANTILE))
    return (begin + ramp_ns, end) if end - begin - ramp_ns >= _LEAST_SPAN * (end - begin) else None


def _lengths_ns(columns: Columns) -> Floats:
    """From when each conversation was due to its last end."""
    numbers, which = np.unique(columns.conversation, return_inverse=True)
    begin = np.full(len(numbers), np.iinfo(np.int64).max)
    end = np.zeros(len(numbers), dtype=np.int64)
    np.minimum.at(begin, which, columns.due_ns)
    np.maximum.at(end, which, columns.end_ns)
    found: Floats = (end - begin).astype(np.float64)
    return found


def ended_in(columns: Columns, start_ns: int, end_ns: int) -> int:
    """Conversations that ended within a window, with every turn answered."""
    if not len(columns):
        return 0
    numbers, which = np.unique(columns.conversation, return_inverse=True)
    failed = np.bincount(which, weights=~columns.ok, minlength=len(numbers)) > 0
    end = np.zeros(len(numbers), dtype=np.int64)
    np.maximum.at(end, which, columns.end_ns)
    return int(np.count_nonzero(~failed & (end > start_ns) & (end <= end_ns)))


def even(values: Floats, columns: Columns) -> Floats:
    """Values of a trial's requests, each as a share of its turn's median: later ones are longer by nature."""
    found = values.copy()
    for turn in np.unique(columns.turn):
        there = columns.turn == turn
        known = values[there & columns.ok & ~np.isnan(values)]
        found[there] /= np.median(known) if len(known) else 1.0
    return found


def all_by_turn(
    run: Run, records: Callable[[int], "pa.Table"]
) -> tuple[tuple[Point, tuple[TurnNumbers, ...]], ...]:
    """Each point of conversations, with their numbers; `records` gives a point's, by its index."""
    points = [row.point for row in run.summaries if row.point.talks]
    return tuple((point, by_turn(point, records(point.index), run.manifest.trials)) for point in points)


def by_turn(point: Point, table: "pa.Table", infos: Sequence[TrialInfo]) -> tuple[TurnNumbers, ...]:
    """A point's turns in order. `table`: its records, with a `trial` column."""
    mine = [info for info in infos if info.point == point.index]
    trials = [columns for _, columns in trials_of(table, mine) if len(columns)]
    most = max((int(columns.turn.max()) for columns in trials), default=-1)
    if most < _LARGEST_TABLE:
        spans = [(turn, turn) for turn in range(most + 1)]
    else:
        spans = [*((turn, turn) for turn in range(_LARGEST_TABLE - 1)), (_LARGEST_TABLE - 1, most)]
    return tuple(_turn(point, span, trials) for span in spans)


def _turn(point: Point, span: tuple[int, int], trials: Sequence[Columns]) -> TurnNumbers:
    there = [(each.turn >= span[0]) & (each.turn <= span[1]) for each in trials]
    answered = [each.ok & some for each, some in zip(trials, there, strict=True)]
    from_due = point.load != "closed" and not span[0]
    ttft = metrics.ttft_from_due_ms if from_due else metrics.ttft_ms

    def latency(of: Callable[[Columns], Floats], q: float) -> Estimate:
        parts = [metrics.values(of(each), some) for each, some in zip(trials, answered, strict=True)]
        return trial_estimate(parts, q)

    def tokens(name: str, also: str) -> int | None:
        found = [
            getattr(each, name)[some & (each.prompt_tokens != ABSENT) & (getattr(each, also) != ABSENT)]
            for each, some in zip(trials, answered, strict=True)
        ]
        return sum(int(part.sum()) for part in found) if any(map(len, found)) else None

    counted = sum(
        int(np.count_nonzero(some & (each.prompt_tokens != ABSENT)))
        for each, some in zip(trials, answered, strict=True)
    )
    prompt, held = tokens("prompt_tokens", "prompt_tokens"), tokens("cached_tokens", "cached_tokens")
    whole = tokens("prompt_tokens", "cached_tokens")
    return TurnNumbers(
        turn=span[0],
        last=span[1],
        requests=sum(int(np.count_nonzero(some)) for some in there),
        ok=sum(int(np.count_nonzero(some)) for some in answered),
        skipped=sum(
            int(np.count_nonzero(some & (each.sent_ns == ABSENT) & (each.connect_us == ABSENT)))
            for each, some in zip(trials, there, strict=True)
        ),
        prompt_tokens=None if prompt is None else prompt / counted,
        cached_share=None if held is None or not whole else held / whole,
        ttft_p50_ms=latency(ttft, 0.5),
        ttft_p95_ms=latency(ttft, 0.95),
        tpot_p50_ms=latency(metrics.tpot_ms, 0.5),
    )
