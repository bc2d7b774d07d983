"""The rules that make a point valid, suspect or invalid: one small function each, facts in, warning out.

Thresholds are those of the metric definitions (metrics version 1): the first makes a point
suspect, the second invalid.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

from benchsuite.money.evidence import contradiction
from benchsuite.stats.facts import Facts
from benchsuite.types import Warning

Level = Literal["told", "suspect", "invalid"]

STEADY_CHANGE = 0.01
"""A drift of E2E over a trial below this share of its median is no alarm, however sure it is."""

SHORTEST_ROUND_TRIP_MS = 1.0
"""Below it a connect time tells more of two machines' kernels than of the way between them."""


_SHOWN_MODELS = 3

_ADVICE_BY_ERROR = MappingProxyType(
    {
        "auth": "check the key",
        "not_found": "check --url and --model",
        "rate_limited": "lower --concurrency or --rate to what the account may have",
        "overloaded": "lower --concurrency or --rate",
        "context_length": "ask for fewer --prompt-tokens, or start the server with more context",
        "connect": "check that the server is still running and lets so many connections in",
    }
)


def verdict_warnings(facts: Facts) -> tuple[Warning, ...]:
    """Every rule's warning, the worst first."""
    found = [warning for rule in RULES if (warning := rule(facts)) is not None]
    order = ("invalid", "suspect", "told")
    return tuple(sorted(found, key=lambda warning: order.index(warning.level)))


def no_answers(facts: Facts) -> Warning | None:
    """A trial without any answered request measures nothing."""
    if facts.ok and not facts.trials_without_answers:
        return None
    if not facts.requests:
        return _warning(
            "no_answers", "invalid", "nothing was sent", "a longer --duration or more --requests", answered=0
        )
    which = "no request was answered" if not facts.ok else "a trial had no answered request"
    return _warning("no_answers", "invalid", which, _about_errors(facts), answered=facts.ok)


def few_answers(facts: Facts) -> Warning | None:
    """Below six answers not even a median can be given."""
    if not 0 < facts.ok < 6:
        return None
    text = f"only {facts.ok} answered requests, the median takes 6"
    return _warning("few_answers", "told", text, "raise --requests or --duration", answered=facts.ok)


def errors(facts: Facts) -> Warning | None:
    """Any failed request; invalid above 1 % and more than one."""
    if not facts.errors or not facts.ok:
        return None
    share = facts.errors / facts.requests
    level: Level = "invalid" if share > 0.01 and facts.errors > 1 else "suspect"
    kinds = ", ".join(f"{count} × {kind}" for kind, count in facts.error_kinds.items())
    text = f"{facts.errors} of {facts.requests} requests failed ({kinds or 'no reason given'})"
    return _warning("errors", level, text, _about_errors(facts), errors=facts.errors, share=share)


def send_lag(facts: Facts) -> Warning | None:
    """Requests left late by the client's doing."""
    lag = facts.send_lag_p99_ms
    limit = max(5.0, 0.02 * (facts.ttft_p50_ms or 0.0))
    level = _level(lag, 2.0, limit)
    if lag is None or level is None:
        return None
    text = f"requests left up to {lag:.1f} ms late (p99)"
    advice = "give the client idle cores or lower the load; where a server closes connections, opening counts"
    return _warning("send_lag", level, text, advice, p99_ms=lag, invalid_above_ms=limit)


def coalesced(facts: Facts) -> Warning | None:
    """Reads in which our lateness may have merged two arrivals."""
    level = _level(facts.coalesced_share, 0.01, 0.05)
    if facts.coalesced_share is None or level is None:
        return None
    text = f"{_percent(facts.coalesced_share)} of tokens were read together with later ones"
    advice = "give the client idle cores, or lower the load"
    return _warning("coalesced", level, text, advice, share=facts.coalesced_share)


def reader_lag(facts: Facts) -> Warning | None:
    """Where stamps are made in user space, being late to read makes them late."""
    lag = facts.reader_lag_p99_ms
    limit = max(5.0, 0.05 * (facts.ttft_p50_ms or 0.0))
    level = _level(lag, 1.0, limit)
    if lag is None or level is None:
        return None
    text = f"arrivals may look up to {lag:.1f} ms late (p99): the kernel stamps none here"
    advice = "measure from Linux, where the kernel stamps arrivals, or lower the load"
    return _warning("reader_lag", level, text, advice, p99_ms=lag, invalid_above_ms=limit)


def worker_cpu(facts: Facts) -> Warning | None:
    """A client near a full core is measuring itself."""
    if _level(facts.worker_cpu, 0.9) is None or facts.worker_cpu is None:
        return None
    text = f"a client process used {_percent(facts.worker_cpu)} of a core"
    return _warning(
        "worker_cpu", "suspect", text, "spread the load over more workers", share=facts.worker_cpu
    )


def clock_step(facts: Facts) -> Warning | None:
    """A step of the wall clock breaks the mapping of kernel stamps."""
    if not facts.clock_steps:
        return None
    text = "the clock was set, or the machine slept, during a trial"
    return _warning("clock_step", "invalid", text, "measure again", steps=facts.clock_steps)


def delivered(facts: Facts) -> Warning | None:
    """The load that was there against the load that was asked for."""
    if facts.delivered_share is None:
        return None
    off = abs(facts.delivered_share - 1)
    level = _level(off, 0.01, 0.02)
    if level is None:
        return None
    share, point = facts.delivered_share, facts.point
    if point.rate is None:
        asked = float(point.concurrency or 1)
        text = f"{share * asked:.3g} in flight on average, {asked:g} were asked for"
        advice = "longer answers or fewer --concurrency; short requests leave slots empty between them"
    else:
        asked = point.rate
        text = f"requests went out at {_percent(share)} of the pace of {asked:g} req/s"
        capped = point.concurrency is not None
        advice = "lower --rate, or raise --concurrency, its cap" if capped else "lower --rate"
    return _warning("delivered", level, text, advice, asked=asked, delivered=share * asked)


def output_tokens(facts: Facts) -> Warning | None:
    """Answers of another length than asked for; told only where the backend can't force it."""
    asked, mean = facts.point.output_tokens, facts.output_tokens
    if mean is None or facts.without_usage == facts.ok:
        return None
    off = abs(mean - asked) / asked
    level: Level | None = _level(off, 0.02, 0.10)
    if level is None:
        return None
    text = f"answers had {mean:.1f} tokens on average, {asked} were asked for"
    if facts.exact_output:
        advice = "check that the server accepts ignore_eos and has enough context"
    else:
        level, advice = "told", "this backend takes the length as a limit; compare rates, not E2E"
    return _warning("output_tokens", level, text, advice, asked=asked, mean=mean)


def prompt_tokens(facts: Facts) -> Warning | None:
    """Prompts of another length than asked for; nothing was asked where texts are to be equal."""
    asked, mean = facts.point.prompt_tokens, facts.prompt_tokens
    if mean is None or facts.workload.same == "text":
        return None
    off = abs(mean - asked)
    level = _level(off, max(0.01 * asked, 1.0), max(0.02 * asked, 2.0))
    if level is None:
        return None
    text = f"prompts had {mean:.1f} tokens on average, {asked} were asked for"
    if facts.overhead >= asked:
        advice = f"the chat template alone takes {facts.overhead}; ask for more --prompt-tokens"
    elif mean < asked:
        advice = "the server may cut prompts: give it more context per slot"
    else:
        advice = "the server may add a system prompt: ask for more --prompt-tokens, or take it out"
    return _warning("prompt_tokens", level, text, advice, asked=asked, mean=mean)


def cache_cold(facts: Facts) -> Warning | None:
    """Cold prompts that were found in the cache beyond the chat template's own prefix."""
    if facts.workload.cache != "cold" or not facts.cached_excess or not facts.prompt_tokens:
        return None
    share = facts.cached_excess / facts.prompt_tokens
    level: Level = "invalid" if share > 0.02 else "suspect"
    text = f"{facts.cached_excess:.1f} prompt tokens a request came from a cache that was to be cold"
    advice = "leave --nonce out, so that each run's prompts are new; or measure a warm cache on purpose"
    return _warning("cache_cold", level, text, advice, tokens=facts.cached_excess, share=share)


def cache_warm(facts: Facts) -> Warning | None:
    """Warm prompts that weren't found in the cache.

    What can be asked for is what the server's block size lets it reuse: the best request seen, but
    at least half the prompt.
    """
    hit, best = facts.hit_ratio, facts.best_hit_ratio
    if facts.workload.cache != "warm":
        return None
    if hit is None or best is None:
        text = "the server doesn't say how much of the prompts it had cached"
        return _warning("cache_warm", "told", text, "look at its own statistics")
    asked = max(best, 0.5)
    level = _level(asked - hit, 0.02, 0.05)
    if level is None:
        return None
    could = f"the best request found {_percent(best)}"
    if best < asked:
        could += ", and half is the least to ask for"
    text = f"{_percent(hit)} of prompt tokens came from the cache; {could}"
    advice = "give the server more cache, or switch its prefix cache on"
    return _warning("cache_warm", level, text, advice, hit_ratio=hit, asked=asked)


def over_slots(facts: Facts) -> Warning | None:
    """More in flight than the server works on at once."""
    if facts.slots is None or facts.in_flight <= facts.slots:
        return None
    waiting = facts.in_flight - facts.slots
    text = f"{waiting} of {facts.in_flight} wait in the server's queue, which has {facts.slots} slots"
    advice = "start the server with more slots, or read TTFT as mostly waiting"
    return _warning(
        "over_slots", "told", text, advice, in_flight=facts.in_flight, slots=facts.slots, waiting=waiting
    )


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
    return _warning("steadiness", "suspect", text, advice, p=p, change=change)


def missing_usage(facts: Facts) -> Warning | None:
    """Tokens are counted as events where the server doesn't count them."""
    if not facts.without_usage:
        return None
    text = f"{facts.without_usage} of {facts.ok} answers had no usage: each token event counts as one token"
    return _warning(
        "missing_usage",
        "told",
        text,
        "switch usage on in the server, if it can",
        answers=facts.without_usage,
    )


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
    return _warning("short_trial", "told", text, advice, trials=facts.short_trials)


def round_trip(facts: Facts) -> Warning | None:
    """TTFT from afar is partly the network's."""
    rtt, ttft = facts.connect_least_ms, facts.ttft_p50_ms
    if rtt is None or not ttft or rtt <= max(0.05 * ttft, SHORTEST_ROUND_TRIP_MS):
        return None
    text = f"the network's round trip, {rtt:.1f} ms, is {_percent(rtt / ttft)} of TTFT"
    return _warning("round_trip", "told", text, "measure from nearer to the server", rtt_ms=rtt)


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
    return _warning("own_error", "told", text, advice, **numbers)


def wrong_model(facts: Facts) -> Warning | None:
    """Some servers answer whatever model is asked for with the one that they have."""
    listed = facts.models
    # Ollama lists `name:latest` and takes `name`.
    if not facts.model or not listed or {facts.model, f"{facts.model}:latest"} & set(listed):
        return None
    more = ", …" if len(listed) > _SHOWN_MODELS else ""
    text = f"asked for {facts.model}, the server lists {', '.join(listed[:_SHOWN_MODELS])}{more}"
    advice = "give --model as the server lists it"
    return _warning("wrong_model", "suspect", text, advice, listed=len(listed))


def gpu_contradicted(facts: Facts) -> Warning | None:
    """Dollars are those of the GPU that was stated."""
    doubt = contradiction(facts.gpu, facts.gpus, facts.server_gpu, facts.gpus_used, facts.gpu_priced)
    if doubt is None:
        return None
    return _warning("gpu_contradicted", "suspect", doubt.message, doubt.advice)


def interrupted(facts: Facts) -> Warning | None:
    """The run was stopped before its end."""
    if not facts.interrupted:
        return None
    text = "the run was cut short: only what had been measured by then is here"
    return _warning("interrupted", "told", text, "measure again for all of it")


RULES: tuple[Callable[[Facts], Warning | None], ...] = (
    no_answers,
    few_answers,
    errors,
    clock_step,
    send_lag,
    coalesced,
    reader_lag,
    worker_cpu,
    delivered,
    output_tokens,
    prompt_tokens,
    cache_cold,
    cache_warm,
    over_slots,
    steadiness,
    missing_usage,
    short_trial,
    round_trip,
    own_error,
    wrong_model,
    gpu_contradicted,
    interrupted,
)


def _level(
    value: float | None, suspect: float, invalid: float = float("inf")
) -> Literal["suspect", "invalid"] | None:
    """How bad a value is that should be small."""
    if value is None or value <= suspect:
        return None
    return "invalid" if value > invalid else "suspect"


def _warning(code: str, level: Level, message: str, advice: str, **facts: float) -> Warning:
    return Warning(code=code, level=level, message=message, advice=advice, facts=facts)


def _about_errors(facts: Facts) -> str:
    """What to do about the most frequent kind of error."""
    worst = max(facts.error_kinds, key=facts.error_kinds.__getitem__, default="")
    return _ADVICE_BY_ERROR.get(worst, "look at the server's log")


def _percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.3g} %"
