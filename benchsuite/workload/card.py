"""A workload explained to people, as `workloads show` prints it."""

import math
from collections.abc import Sequence

from benchsuite.types import Length, Slo, Workload
from benchsuite.workload.arrivals import warm_up_count
from benchsuite.workload.load import workload_digest
from benchsuite.workload.points import points
from benchsuite.workload.spreads import described


def card(workload: Workload) -> tuple[tuple[str, str], ...]:
    """Rows of (label, text), in the order to print them; texts have no line breaks."""
    same = "the same text" if workload.same == "text" else "the same number of tokens"
    return (
        ("Workload", f"{workload.name}@{workload.version}"),
        ("What it tells", workload.description),
        ("Prompt", f"{_lengths(workload.prompt_tokens)} tokens; {same} for every server"),
        ("Output", _output(workload)),
        ("Load", _load(workload)),
        ("Cache", _cache(workload)),
        ("Warm-up", _warm_up(workload)),
        ("Stop", _stop(workload)),
        ("Trials", _trials(workload)),
        ("SLO", _slo(workload.slo)),
        ("Seed", str(workload.seed)),
        ("Digest", workload_digest(workload)),
    )


def measured_s(workload: Workload) -> float | None:
    """Seconds of measuring in all, without warm-up; None where requests decide when a trial stops."""
    if workload.seconds is None:
        return None
    return workload.seconds * workload.trials * len(points(workload))


def _output(workload: Workload) -> str:
    thinks = f", reasoning {workload.reasoning}" if workload.reasoning else ""
    return f"{_lengths(workload.output_tokens)} tokens{thinks}"


def _load(workload: Workload) -> str:
    if workload.batch:
        return "all at once to the backend's batch API, which answers when it likes"
    in_flight = f"{_several(workload.concurrency)} in flight"
    if not workload.rate:
        return f"closed loop, {in_flight}"
    rates = [f"{rate:g} req/s" for rate in workload.rate if math.isfinite(rate)]
    if len(rates) < len(workload.rate):
        rates.append("all at once")
    arrivals = "Poisson" if workload.arrivals == "poisson" else "evenly spaced"
    kind = "offline" if rates == ["all at once"] else f"open loop with {arrivals} arrivals"
    return f"{kind}, {', '.join(rates)}" + (f", at most {in_flight}" if workload.concurrency else "")


def _cache(workload: Workload) -> str:
    if "warm" in workload.cache:
        return (
            "warm: all prompts of a point are the same, so the server can answer them from its prefix cache"
        )
    if "shared" in workload.cache:
        length = f"{workload.shared_tokens:,} tokens" if workload.shared_tokens else "half of it"
        return f"shared: all prompts of a point have the same beginning, {length}, which the server can reuse"
    return "cold: every prompt begins with words of its own, so no prefix cache can help"


def _warm_up(workload: Workload) -> str:
    if workload.batch:
        return "none"
    counts = tuple(dict.fromkeys(warm_up_count(workload, point) for point in points(workload)))
    text = f"{_several(counts)} requests before a point is measured"
    if workload.warm_up_seconds:
        text += f", for {workload.warm_up_seconds:g} s or longer, {workload.warm_up_max_requests:,} at most"
    return text


def _stop(workload: Workload) -> str:
    if workload.batch:
        return f"a trial is a batch of {workload.requests:,} requests"
    if workload.requests is not None:
        return f"a trial stops after {workload.requests:,} requests"
    return f"a trial stops after {workload.seconds:g} s"


def _trials(workload: Workload) -> str:
    number = len(points(workload))
    text = f"{workload.trials} for each of {number} points" if number > 1 else f"{workload.trials}"
    seconds = measured_s(workload)
    if seconds is None:
        return text
    length = f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    return f"{text}, {length} of measuring in all"


def _slo(slo: Slo) -> str:
    limits = (("TTFT", slo.ttft_ms), ("TPOT", slo.tpot_ms), ("E2E", slo.e2e_ms))
    return ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in limits if limit is not None) or "none"


def _lengths(values: Sequence[Length]) -> str:
    return ", ".join(map(described, values))


def _several(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
