"""Records as numpy arrays, trial by trial: what all metrics are computed from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchsuite.stats.timings import Timings, silent, timings
from benchsuite.types import TrialInfo

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ABSENT = -1
"""Stands for null: no instant, count or duration is negative."""

_INTS = (
    "due_ns",
    "sent_ns",
    "first_token_ns",
    "first_output_ns",
    "last_token_ns",
    "end_ns",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "reads",
    "merged_events",
    "reader_lag_us",
    "connect_us",
    "tls_us",
    "reconnects",
    "item",
    "asked_prompt_tokens",
    "asked_output_tokens",
    "asked_cached_tokens",
    "group",
    "conversation",
    "turn",
)
_BOOLS = ("streamed_reasoning", "user_stamps")
NEEDED = (
    *("phase", "outcome", "error_kind", "gaps_us", "server_timings", "cost_usd", "retry_after_s", "passed"),
    *_INTS,
    *_BOOLS,
)
"""The columns of records that statistics are made from, beside `trial`."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """One trial's records in the order of their sending; integers are `ABSENT` where null.

    `gaps_us` holds all requests' gaps one after the other, request i's at
    `gap_offsets[i]:gap_offsets[i + 1]`. `server`: its own timings. `cost_usd`: what the request was billed,
    NaN where that isn't known. `retry_after_s`: when a server that refused it wants to be asked again.
    `item`: of a dataset; `asked_…_tokens`: the plan's lengths; `passed`: the check, as 1 and 0.
    """

    ok: Bools
    due_ns: Ints
    sent_ns: Ints
    first_token_ns: Ints
    first_output_ns: Ints
    last_token_ns: Ints
    end_ns: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints
    reasoning_tokens: Ints
    reads: Ints
    merged_events: Ints
    reader_lag_us: Ints
    connect_us: Ints
    tls_us: Ints
    reconnects: Ints
    item: Ints
    asked_prompt_tokens: Ints
    asked_output_tokens: Ints
    asked_cached_tokens: Ints
    group: Ints
    conversation: Ints
    turn: Ints
    passed: Ints
    streamed_reasoning: Bools
    user_stamps: Bools
    gaps_us: NDArray[np.int32]
    gap_offsets: Ints
    server: Timings
    cost_usd: Floats
    retry_after_s: Floats

    def __len__(self) -> int:
        return len(self.ok)

    @property
    def events(self) -> Ints:
        """Token events of each request."""
        return np.where(self.first_token_ns != ABSENT, np.diff(self.gap_offsets) + 1, 0)

    def gaps_of(self, chosen: Bools) -> NDArray[np.int32]:
        """The gaps of some requests, in order."""
        return self.gaps_us if chosen.all() else self.gaps_us[np.repeat(chosen, np.diff(self.gap_offsets))]


def trials_of(
    table: "pa.Table", trials: Sequence[TrialInfo], *, every: bool = False
) -> list[tuple[TrialInfo, Columns]]:
    """A point's measured trials with their records; warm-up (trial 0) is left out.

    `table` has a `trial` column. A trial that isn't among `trials` (a recovered run's) is made out
    of its records, without workers. `every`: with what fills the server in a level of a search.
    """
    chosen: Any = table.select(["trial", *NEEDED]) if every else measured(table).select(["trial", *NEEDED])
    ordered = chosen.sort_by([("trial", "ascending"), ("sent_ns", "ascending")])
    numbers = ordered.column("trial").to_numpy()
    known = {info.trial: info for info in trials}
    result = []
    for trial in sorted({*known, *numbers.tolist()} - {0}):
        start, end = np.searchsorted(numbers, [trial, trial + 1]).tolist()
        columns = _columns(ordered.slice(start, end - start))
        result.append((known.get(trial) or _recovered(trial, columns), columns))
    return result


def measured(table: "pa.Table") -> "pa.Table":
    """The table without what fills the server in a level of a search, which counts as warm-up."""
    trials, phases = table.column("trial").to_numpy(), table.column("phase").to_numpy()
    fills = (trials > 0) & (phases != "measure")
    return table.filter(~fills) if fills.any() else table


def _recovered(trial: int, columns: Columns) -> TrialInfo:
    """What a trial's records alone tell about it."""
    sent_ns = columns.sent_ns[columns.sent_ns != ABSENT]
    return TrialInfo(
        point=0,
        trial=trial,
        start_ns=int(columns.due_ns.min()),
        last_send_ns=int(sent_ns.max()) if len(sent_ns) else 0,
        end_ns=int(columns.end_ns.max()),
        plan_digest="",
        workers=(),
    )


def _columns(table: Any) -> Columns:
    """One trial's slice of the table as arrays."""
    gaps = table.column("gaps_us")
    plain: dict[str, Any] = {name: _ints(table, name) for name in _INTS}
    plain |= {name: table.column(name).to_numpy().astype(np.bool_) for name in _BOOLS}
    lengths = gaps.combine_chunks().value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in gaps.chunks]
    return Columns(
        ok=table.column("outcome").to_numpy() == "ok",
        passed=_yes_or_no(table.column("passed")),
        gaps_us=np.concatenate(flat) if flat else np.empty(0, np.int32),
        gap_offsets=np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))),
        server=_timings(table.column("server_timings")),
        cost_usd=table.column("cost_usd").fill_null(np.nan).to_numpy(),
        retry_after_s=table.column("retry_after_s").fill_null(np.nan).to_numpy(),
        **plain,
    )


def _ints(table: Any, name: str) -> Ints:
    """A column of integers, `ABSENT` where it is null."""
    values: Ints = table.column(name).fill_null(ABSENT).to_numpy().astype(np.int64)
    return values


def _yes_or_no(column: Any) -> Ints:
    """A column of booleans as 1 and 0, `ABSENT` where it is null."""
    if column.null_count == len(column):
        return np.full(len(column), ABSENT, dtype=np.int64)
    values: Ints = column.cast("int8").fill_null(ABSENT).to_numpy().astype(np.int64)
    return values


def _timings(column: Any) -> Timings:
    """The server's own timings; most servers report none."""
    if column.null_count == len(column):
        return silent(len(column))
    return timings(column.to_pylist(), len(column))
