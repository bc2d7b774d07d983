"""Numbers and rules of a batch API: nobody sees a token arrive there, so there is no latency of a request."""

from collections.abc import Sequence
from typing import Final

from benchsuite.stats.columns import Columns
from benchsuite.stats.facts import Facts
from benchsuite.stats.quantiles import rate_estimate
from benchsuite.stats.rates import Window, requests_in, tokens_in
from benchsuite.stats.warned import warning
from benchsuite.types import Estimate, TrialInfo, Warning

_HOUR_S: Final = 3600.0

NOT_FOR_BATCHES: Final = frozenset(
    {
        *("send_lag", "coalesced", "reader_lag", "worker_cpu", "clock_step", "delivered", "steadiness"),
        *("over_slots", "short_trial", "round_trip", "own_error"),
    }
)
"""Names of the rules that judge what our own clock and sockets saw: a batch's numbers aren't from there."""


def batch_rates(trials: Sequence[tuple[TrialInfo, Columns, Window]]) -> dict[str, Estimate]:
    """Throughput and turnaround by name: means over batches with their intervals, from creation to end."""
    done = [requests_in(columns, window) for _, columns, window in trials]
    seconds = [window.seconds for _, _, window in trials]
    n = sum(done)

    def per_second(counts: Sequence[float]) -> Estimate:
        return rate_estimate([count / s for count, s in zip(counts, seconds, strict=True)], n)

    requests = per_second(done)
    return {
        "output_tokens_per_s": per_second([tokens_in(columns, window) for _, columns, window in trials]),
        "requests_per_s": requests,
        "requests_per_hour": requests.times(_HOUR_S),
        "turnaround_s": rate_estimate(seconds, n),
    }


def strangers(facts: Facts) -> Warning | None:
    """Answers that belong to no request are a sign of a mix-up at the server, or of a label used twice."""
    if not facts.strangers:
        return None
    text = f"{facts.strangers} answers were for requests that weren't asked, or came twice"
    return warning(
        "strangers", "suspect", text, "look at the batch in the server's console", answers=facts.strangers
    )


def missing(facts: Facts) -> Warning | None:
    """Requests of a batch that ended without a word about them; they count as failed too."""
    count = facts.error_kinds.get("no_result", 0)
    if not count:
        return None
    text = f"{count} requests have no answer, and the batch doesn't say why"
    return warning("missing", "suspect", text, "look at the batch in the server's console", requests=count)


def polled_end(facts: Facts) -> Warning | None:
    """Without the server's own times a turnaround is as coarse as our looking."""
    if not facts.polled_ends:
        return None
    text = "the turnaround is as coarse as the polling: the server doesn't say when its batch ended"
    return warning("polled_end", "told", text, "", batches=facts.polled_ends)
