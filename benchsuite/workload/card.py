"""A workload explained to people, as `workloads show` prints it."""

import math
from collections.abc import Sequence

import msgspec

from benchsuite.types import Check, Length, Listed, Slo, Spread, Workload
from benchsuite.workload import replaying, talk
from benchsuite.workload.arrivals import spaced, warm_up_count
from benchsuite.workload.datasets.language import card_rows
from benchsuite.workload.load import workload_digest
from benchsuite.workload.mix import told
from benchsuite.workload.points import points
from benchsuite.workload.slo import limits_text
from benchsuite.workload.spreads import described
from benchsuite.workload.stages import course, length_s


def card(workload: Workload) -> tuple[tuple[str, str], ...]:
    """Rows of (label, text), in the order to print them; texts have no line breaks."""
    same = "the same text" if workload.same == "text" else "the same number of tokens"
    rows = (
        ("Workload", f"{workload.name}@{workload.version}"),
        ("What it tells", workload.description),
        ("Prompt", f"{_prompt(workload)}; {same} for every server"),
        ("Output", _output(workload)),
        *((("Conversation", talk.explained(workload)),) if workload.turns != 1 else ()),
        ("Load", talk.spaced(workload, _load(workload))),
        ("Cache", _cache(workload)),
        *((("Sweep", text),) if (text := _sweep(workload)) else ()),
        ("Warm-up", _warm_up(workload)),
        ("Stop", _stop(workload)),
        ("Trials", _trials(workload)),
        *((("Check", _check(workload.check)),) if workload.check is not None else ()),
        ("SLO", _slo(workload.slo)),
        ("Seed", str(workload.seed)),
        ("Digest", workload_digest(workload)),
    )
    own = card_rows(workload) | replaying.card_rows(workload)
    return tuple((label, own.get(label, text)) for label, text in rows)


def measured_s(workload: Workload) -> float | None:
    """Seconds of measuring in all, without warm-up; None where requests decide when a trial stops."""
    seconds = length_s(workload.stages) if workload.stages else workload.seconds
    return None if seconds is None else seconds * workload.trials * len(points(workload)) * _runs(workload)


def _runs(workload: Workload) -> int:
    """How many runs the workload's own models and settings of the engine make."""
    return max(1, len(workload.models)) * math.prod(map(len, workload.engine.values()))


def _prompt(workload: Workload) -> str:
    text = "random words" if workload.text == "random" else f"public-domain {workload.text}"
    return f"{_lengths(workload.prompt_tokens)} tokens of {text}"


def _output(workload: Workload) -> str:
    thinks = f", reasoning {workload.reasoning}" if workload.reasoning else ""
    asks = "".join(f", {one}" for one in told(workload))
    whole = "" if all(workload.stream) else ", streamed and not" if any(workload.stream) else ", not streamed"
    return f"{_lengths(workload.output_tokens)} tokens{thinks}{asks}{whole}"


def _load(workload: Workload) -> str:
    if workload.batch:
        return "all at once to the backend's batch API, which answers when it likes"
    if workload.stages:
        return _stages(workload)
    if not (workload.rate or workload.concurrency):
        spaces = f", open loops with {spaced(workload)}" if any(one.rate for one in workload.listed) else ""
        return f"as each point says{spaces}"
    in_flight = f"{_several(workload.concurrency)} in flight"
    if not workload.rate:
        return f"closed loop, {in_flight}"
    rates = [f"{rate:g} req/s" for rate in workload.rate if math.isfinite(rate)]
    if len(rates) < len(workload.rate):
        rates.append("all at once")
    kind = "offline" if rates == ["all at once"] else f"open loop with {spaced(workload)}"
    return f"{kind}, {', '.join(rates)}" + (f", at most {in_flight}" if workload.concurrency else "")


def _stages(workload: Workload) -> str:
    """The load as it changes within a trial."""
    parts = ", ".join(f"{course(stage)} for {stage.seconds:g} s" for stage in workload.stages)
    if workload.stages[0].rate is None:
        return f"closed loop in stages, in flight: {parts}"
    return f"open loop in stages with {spaced(workload)}, req/s: {parts}"


def _sweep(workload: Workload) -> str:
    """What makes several points or runs, where it isn't lists of lengths and loads."""
    parts = []
    if workload.models:
        parts.append(f"a run for each of the models {', '.join(workload.models)}")
    if workload.engine:
        axes = [f"{name} {', '.join(values)}" for name, values in workload.engine.items()]
        parts.append(f"a run for each setting of the engine: {'; '.join(axes)}")
    if workload.listed:
        parts.append(f"the points {'; '.join(map(_listed, workload.listed))}")
    elif workload.sweep == "zip":
        parts.append("lists go side by side (zip)")
    if workload.order == "listed" and len(points(workload)) > 1:
        parts.append("one point after the other")
    return "; ".join(parts)


def _listed(point: Listed) -> str:
    """What a listed point says of itself."""
    said = {name: value for name, value in msgspec.structs.asdict(point).items() if value is not None}
    streamed = said.pop("stream", None)
    parts = [
        f"{name.replace('_', ' ')} {described(value) if isinstance(value, Spread) else value}"
        for name, value in said.items()
    ]
    return ", ".join([*parts, *([] if streamed is None else ["streamed" if streamed else "not streamed"])])


def _cache(workload: Workload) -> str:
    modes = dict.fromkeys(point.cache for point in points(workload))
    if len(modes) > 1:
        return f"a point has its own: {', '.join(modes)}"
    if "warm" in workload.cache:
        return (
            "warm: all prompts of a point are the same, so the server can answer them from its prefix cache"
        )
    if "shared" in workload.cache:
        length = replaying.sharing(workload)
        who = "each prompt of a point has a" if workload.groups > 1 else "all prompts have the same"
        return f"shared: {who} beginning, {length}, which the server can reuse"
    if workload.turns != 1:
        return f"cold: {talk.CACHING}"
    return "cold: every prompt begins with words of its own, so no prefix cache can help"


def _warm_up(workload: Workload) -> str:
    if workload.batch:
        return "none"
    counts = tuple(dict.fromkeys(warm_up_count(workload, point) for point in points(workload)))
    text = f"{_several(counts)} requests before a point is measured"
    if workload.warm_up_seconds:
        text += f", for {workload.warm_up_seconds:g} s or longer, {workload.warm_up_max_requests:,} at most"
    return text


def _check(check: Check) -> str:
    right = {
        "exact": "the answer is what is expected",
        "contains": "the answer has in it what is expected",
        "regex": "the answer matches a pattern",
        "json-schema": "the answer is JSON as it should be",
        "choice": f"the answer names the right one of {', '.join(check.choices)}",
    }
    return f"{check.kind}: {right[check.kind]}"


def _stop(workload: Workload) -> str:
    if workload.requests is None and workload.seconds is None and workload.dataset is not None:
        return "a trial asks each item once"
    if workload.requests is None and workload.seconds is None and workload.trace is not None:
        return "a trial ends with the trace"
    if workload.batch:
        return f"a trial is a batch of {workload.requests:,} requests"
    if workload.stages:
        return f"a trial stops with its stages, after {length_s(workload.stages):g} s"
    if workload.requests is not None:
        return f"a trial stops after {workload.requests:,} requests"
    return f"a trial stops after {workload.seconds:g} s"


def _trials(workload: Workload) -> str:
    number = len(points(workload))
    text = f"{workload.trials} for each of {number} points" if number > 1 else f"{workload.trials}"
    if (runs := _runs(workload)) > 1:
        text += f", in each of {runs} runs"
    seconds = measured_s(workload)
    if seconds is None:
        return text
    length = f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    return f"{text}, {length} of measuring in all"


def _slo(slo: Slo) -> str:
    named = f"{slo.preset}: " if slo.preset else ""
    return f"{named}{limits_text(slo) or 'none'}"


def _lengths(values: Sequence[Length]) -> str:
    return ", ".join(map(described, values))


def _several(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
