"""The rules that make a point valid, suspect or invalid: one small function each, facts in, warning out.

Thresholds are those of the metric definitions (metrics version 1): the first makes a point
suspect, the second invalid.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from benchsuite.stats import batches, rules_checks, rules_prompts, rules_replay, rules_server, rules_whole
from benchsuite.stats.facts import Facts
from benchsuite.stats.warned import Level, level, percent, warning
from benchsuite.types import Warning

STEADY_CHANGE = 0.01
"""A drift of E2E over a trial below this share of its median is no alarm, however sure it is."""

_REFUSALS = frozenset({"rate_limited", "overloaded"})

SHORTEST_ROUND_TRIP_MS = 1.0
"""Below it a connect time tells more of two machines' kernels than of the way between them."""

_ADVICE_BY_ERROR = MappingProxyType(
    {
        "auth": "check the key",
        "driver": "the backend's driver has a fault: tell its author",
        "not_found": "check --url and --model",
        "rate_limited": "lower --concurrency or --rate to what the account may have",
        "overloaded": "lower --concurrency or --rate",
        "context_length": "ask for fewer --prompt-tokens, or start the server with more context",
        "connect": "check that the server is still running and lets so many connections in",
        "repetition": (
            "the model went in circles until the server stopped it: fewer --output-tokens, or another model"
        ),
    }
)

PROPOSED_SHARE: Final = 0.9
"""The rate to try after a refusal, as a share of what was answered: at the limit itself some are refused."""


def verdict_warnings(facts: Facts) -> tuple[Warning, ...]:
    """Every rule's warning, the worst first."""
    rules = RULES if facts.workload.bodies is None else (*_FOR_BODIES, rules_replay.sent_again)
    if facts.point.batch:
        rules = _FOR_BATCHES
    if facts.workload.dataset is not None:
        rules = tuple(rule for rule in rules if rule not in rules_checks.NOT_ASKED_OF_DATASETS)
        rules = (*rules, rules_checks.sent_again, rules_checks.salted)
    if facts.workload.check is not None:
        rules = (*rules, rules_checks.cut_short, rules_checks.unjudged)
    found = [each for rule in rules if (each := rule(facts)) is not None]
    order = ("invalid", "suspect", "told")
    return tuple(sorted(found, key=lambda each: order.index(each.level)))


def no_answers(facts: Facts) -> Warning | None:
    """A trial without any answered request measures nothing."""
    if facts.ok and not facts.trials_without_answers:
        return None
    if not facts.requests:
        return warning(
            "no_answers", "invalid", "nothing was sent", "a longer --duration or more --requests", answered=0
        )
    which = "no request was answered" if not facts.ok else "a trial had no answered request"
    return warning("no_answers", "invalid", which, _about_errors(facts), answered=facts.ok)


def few_answers(facts: Facts) -> Warning | None:
    """Below six answers not even a median can be given."""
    if not 0 < facts.ok < 6:
        return None
    text = f"only {facts.ok} answered requests, the median takes 6"
    return warning("few_answers", "told", text, "raise --requests or --duration", answered=facts.ok)


def errors(facts: Facts) -> Warning | None:
    """Any failed request; invalid above 1 % and more than one."""
    if not facts.errors or not facts.ok:
        return None
    share = facts.errors / facts.requests
    bad: Level = "invalid" if share > 0.01 and facts.errors > 1 else "suspect"
    kinds = ", ".join(f"{count} × {kind}" for kind, count in facts.error_kinds.items())
    text = f"{facts.errors} of {facts.requests} requests failed ({kinds or 'no reason given'})"
    if facts.answered_per_s and set(facts.error_kinds) == {"rate_limited"}:
        allowed = f"the server allows about {facts.answered_per_s:.2g} req/s"
        text = f"429: {facts.errors} of {facts.requests} requests; {allowed}"
    return warning("errors", bad, text, _about_errors(facts), errors=facts.errors, share=share)


def send_lag(facts: Facts) -> Warning | None:
    """Requests left late by the client's doing."""
    lag = facts.send_lag_p99_ms
    limit = max(5.0, 0.02 * (facts.ttft_p50_ms or facts.whole_p50_ms or 0.0))
    bad = level(lag, 2.0, limit)
    if lag is None or bad is None:
        return None
    text = f"requests left up to {lag:.1f} ms late (p99)"
    advice = "give the client idle cores or lower the load"
    return warning("send_lag", bad, text, advice, p99_ms=lag, invalid_above_ms=limit)


def coalesced(facts: Facts) -> Warning | None:
    """Reads in which our lateness may have merged two arrivals."""
    bad = level(facts.coalesced_share, 0.01, 0.05)
    if facts.coalesced_share is None or bad is None:
        return None
    text = f"{percent(facts.coalesced_share)} of tokens were read together with later ones"
    advice = "give the client idle cores, or lower the load"
    return warning("coalesced", bad, text, advice, share=facts.coalesced_share)


def reader_lag(facts: Facts) -> Warning | None:
    """Where stamps are made in user space, being late to read makes them late."""
    lag = facts.reader_lag_p99_ms
    limit = max(5.0, 0.05 * (facts.ttft_p50_ms or facts.whole_p50_ms or 0.0))
    bad = level(lag, 1.0, limit)
    if lag is None or bad is None:
        return None
    text = f"arrivals may look up to {lag:.1f} ms late (p99): the kernel stamps none here"
    advice = "measure from Linux, where the kernel stamps arrivals, or lower the load"
    return warning("reader_lag", bad, text, advice, p99_ms=lag, invalid_above_ms=limit)


def worker_cpu(facts: Facts) -> Warning | None:
    """A client near a full core is measuring itself."""
    if level(facts.worker_cpu, 0.9) is None or facts.worker_cpu is None:
        return None
    text = f"a client process used {percent(facts.worker_cpu)} of a core"
    return warning("worker_cpu", "suspect", text, "spread the load over more workers", share=facts.worker_cpu)


def clock_step(facts: Facts) -> Warning | None:
    """A step of the wall clock breaks the mapping of kernel stamps."""
    if not facts.clock_steps:
        return None
    text = "the clock was set, or the machine slept, during a trial"
    return warning("clock_step", "invalid", text, "measure again", steps=facts.clock_steps)


def descriptors(facts: Facts) -> Warning | None:
    """Requests that had no connection, as the client may not have so many, waited unseen."""
    if not facts.unopened:
        return None
    text = "the client had no file descriptor left for a connection, so requests waited for one"
    advice = "allow more open files (`ulimit -n`, the hard limit counts), or lower the load"
    return warning("descriptors", "invalid", text, advice, times=facts.unopened)


def delivered(facts: Facts) -> Warning | None:
    """The load that was there against the load that was asked for."""
    if facts.delivered_share is None:
        return None
    off = abs(facts.delivered_share - 1)
    bad = level(off, 0.01, 0.02)
    if bad is None:
        return None
    share, point = facts.delivered_share, facts.point
    if point.stages and point.rate is None:
        asked = float(point.concurrency or 1)
        text = f"{percent(share)} of the slots that the stages ask for were taken"
        advice = "longer answers or fewer slots; short requests leave slots empty between them"
    elif point.rate is None:
        asked = float(point.concurrency or 1)
        text = f"{share * asked:.3g} in flight on average, {asked:g} were asked for"
        advice = "longer answers or fewer --concurrency; short requests leave slots empty between them"
    else:
        asked = point.rate
        pace = point.label if point.stages else f"{asked:g} req/s"
        text = f"requests went out at {percent(share)} of the pace of {pace}"
        capped = point.concurrency is not None
        advice = "lower --rate, or raise --concurrency, its cap" if capped else "lower --rate"
    return warning("delivered", bad, text, advice, asked=asked, delivered=share * asked)


def steadiness(facts: Facts) -> Warning | None:
    """A trend within the trials, sure and large enough to matter; an alarm, nothing is trimmed."""
    p, change = facts.steady_p, facts.steady_change
    if p is None or change is None or p >= 0.01 or abs(change) <= STEADY_CHANGE:
        return None
    text = f"E2E drifts by {100 * change:+.2g} % within a trial (Mann-Kendall p = {p:.2g})"
    if facts.point.load == "closed":
        advice = "warm up longer; if it goes on, look at the server's clocks and what else runs there"
    elif change > 0:
        advice = "above the server's capacity E2E never settles: lower --rate; else warm up longer"
    else:
        advice = "warm up longer, and raise --duration"
    return warning("steadiness", "suspect", text, advice, p=p, change=change)


def short_trial(facts: Facts) -> Warning | None:
    """Throughput with ramp-up and tail in it is too low."""
    if not facts.short_trials or not facts.ok:
        return None
    if facts.point.load == "open":
        text = "E2E (p95) takes over half of the schedule: throughput includes ramp-up and tail"
        advice = "raise --duration; where E2E keeps growing, lower --rate"
    else:
        text = "trials are shorter than two rounds of requests: throughput includes their start and tail"
        advice = "raise --requests or --duration"
    return warning("short_trial", "told", text, advice, trials=facts.short_trials)


def round_trip(facts: Facts) -> Warning | None:
    """TTFT from afar is partly the network's."""
    rtt, ttft = facts.connect_least_ms, facts.ttft_p50_ms
    if rtt is None or not ttft or rtt <= max(0.05 * ttft, SHORTEST_ROUND_TRIP_MS):
        return None
    text = f"the network's round trip, {rtt:.1f} ms, is {percent(rtt / ttft)} of TTFT"
    return warning("round_trip", "told", text, "measure from nearer to the server", rtt_ms=rtt)


def own_error(facts: Facts) -> Warning | None:
    """What is smaller than the machine's own error can't be told from it."""
    tested, ttft, half = facts.tested, facts.ttft_p50_ms, facts.ttft_half_width_ms
    if tested is None:
        return None
    error = tested.level.ttft_error_p99_ms
    numbers = {"error_ms": error, "load": tested.load, "largest": tested.largest}
    if tested.load > tested.largest:
        text = (
            f"{tested.load:.4g} {tested.unit} were never tested here: `benchsuite selftest` went up to "
            f"{tested.largest:.4g}, with TTFT off by up to {error:.2g} ms (p99)"
        )
        advice = "don't take the selftest's error for this load's; spread the load over more machines"
    elif ttft is not None and ttft < error:
        text = (
            f"TTFT p50, {ttft:.2g} ms, is below this machine's own error, {error:.2g} ms "
            f"(p99, {tested.level.load})"
        )
        advice = "read it as 'at most'; repeat `benchsuite selftest` on an idle machine"
        numbers["ttft_ms"] = ttft
    elif half is not None and half < error:
        text = (
            f"TTFT p50 is ± {half:.2g} ms over trials, but this machine's own error is up to "
            f"{error:.2g} ms (p99, {tested.level.load})"
        )
        advice = (
            "differences below the own error mean nothing; repeat `benchsuite selftest` on an idle machine"
        )
        numbers["half_width_ms"] = half
    else:
        return None
    return warning("own_error", "told", text, advice, **numbers)


def interrupted(facts: Facts) -> Warning | None:
    """The run was stopped before its end."""
    if not facts.interrupted:
        return None
    text = "the run was cut short: only what had been measured by then is here"
    return warning("interrupted", "told", text, "the same command with --resume does the rest")


RULES: tuple[Callable[[Facts], Warning | None], ...] = (
    no_answers,
    few_answers,
    errors,
    clock_step,
    descriptors,
    send_lag,
    coalesced,
    reader_lag,
    worker_cpu,
    delivered,
    rules_prompts.output_tokens,
    rules_prompts.prompt_cut,
    rules_prompts.prompt_tokens,
    rules_prompts.raised,
    rules_prompts.cache_cold,
    rules_prompts.cache_warm,
    rules_prompts.cache_shared,
    rules_server.over_slots,
    steadiness,
    rules_prompts.missing_usage,
    rules_prompts.no_visible_answer,
    rules_prompts.several_tokens,
    rules_whole.whole_answers,
    rules_prompts.speculation,
    short_trial,
    round_trip,
    own_error,
    rules_server.server_account,
    rules_server.wrong_model,
    rules_server.gpu_contradicted,
    interrupted,
)


_FOR_BODIES: Final = tuple(rule for rule in RULES if rule not in rules_replay.ASKED_OF_PROMPTS)
_FOR_BATCHES: Final = (
    *(rule for rule in RULES if rule.__name__ not in batches.NOT_FOR_BATCHES),
    batches.strangers,
    batches.missing,
    batches.polled_end,
)


def _about_errors(facts: Facts) -> str:
    """What to do about the most frequent kind of error."""
    worst = max(facts.error_kinds, key=facts.error_kinds.__getitem__, default="")
    # Nobody has the log of a vendor's batch, but each request's fate is in the run.
    where = "`show RUN --format jsonl` has each of them" if facts.point.batch else "look at the server's log"
    advice = _ADVICE_BY_ERROR.get(worst, where)
    if worst == "rate_limited" and facts.answered_per_s:
        allowed = min(facts.answered_per_s, facts.point.rate or facts.answered_per_s)
        advice = f"measure at what it allows: --rate {PROPOSED_SHARE * allowed:.2g}"
    if worst in _REFUSALS and facts.retry_after_s is not None:
        advice += f"; it asked to be left alone for {facts.retry_after_s:g} s (Retry-After)"
    return advice
