"""The words about traces and prefix groups: what of a workload they replace, and what doesn't go together."""

from collections.abc import Mapping
from typing import Any

from benchsuite.errors import UsageError
from benchsuite.types import Source, Workload
from benchsuite.workload.arrivals import spaced
from benchsuite.workload.faults import at
from benchsuite.workload.points import own_instants, points

_SHARING = ("hit_ratio", "shared_tokens", "groups", "zipf")


def exchanged(workload: Workload, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the given changes replace besides themselves.

    A trace takes the place of the workload's lengths, load and end, and shares what its rows say. How much is
    shared needs the cache mode `shared`; a hit ratio and a number of tokens replace each other.
    """
    changes: dict[str, Any] = {}
    if "trace" in given:
        changes = {
            "prompt_tokens": (0,),
            "output_tokens": (0,),
            "dataset": None,
            "turns": 1,
            "concurrency": (),
            "rate": (),
            "stages": (),
            "requests": None,
            "seconds": None,
        }
        if workload.trace is None:
            changes["cache"] = ("shared",)
    if "hit_ratio" in given:
        changes["shared_tokens"] = 0
    elif "shared_tokens" in given:
        changes["hit_ratio"] = ()
    asked = any(name in given for name in _SHARING)
    if asked and "shared" not in workload.cache:
        changes["cache"] = ("shared",)
    return {name: value for name, value in changes.items() if given.get(name) is None}


def check(workload: Workload, where: str) -> None:
    """What a trace says itself can't be said beside it: UsageError."""
    if workload.zipf and workload.groups == 1:
        raise UsageError(f"{at(where, '[cache]')}zipf goes with groups: say how many there are")
    if workload.trace is None:
        if workload.time_scale != 1:
            raise UsageError(f"{at(where, '[load]')}time_scale goes with a trace")
        return
    listed = any(point.prompt_tokens or point.output_tokens for point in workload.listed)
    if any(workload.prompt_tokens) or any(workload.output_tokens) or listed:
        raise UsageError(
            f"{at(where, '[prompts] trace:')}a trace says itself how long prompts and answers are: "
            "leave tokens out"
        )
    if workload.dataset is not None or workload.turns != 1:
        what = "a dataset" if workload.dataset is not None else "turns"
        raise UsageError(
            f"{at(where, '[prompts] trace:')}a trace has lengths and no text of its own: leave {what} out"
        )
    if workload.batch:
        raise UsageError(
            f"{at(where, '[load] batch:')}a trace can't be handed to a batch API; "
            "use --rate inf, or leave it out"
        )


def sharing_asked(workload: Workload) -> list[str]:
    """The words by which a workload says itself what prompts share; none where a trace's rows may say it."""
    given = {
        "hit_ratio": workload.hit_ratio or any(one.hit_ratio is not None for one in workload.listed),
        "shared_tokens": workload.shared_tokens,
        "groups": workload.groups > 1,
    }
    return [name for name in given if given[name]]


def asked_of(trace: Source) -> dict[str, Any]:
    """What a trace asks, whatever its file is called and whoever serves it; unread: its name."""
    return {"sha256": trace.sha256, "format": trace.format} if trace.sha256 else {"file": trace.file}


def described(workload: Workload) -> str:
    """A trace in a few words: how many rows of which file, and how fast."""
    trace = workload.trace
    assert trace is not None
    if not trace.used:
        text = "the rows of a trace that --trace FILE names" if trace.file == "?" else f"rows of {trace.file}"
    else:
        some = "the" if trace.used == trace.number else "the first"
        of = "" if trace.used == trace.number else f" of {trace.number:,}"
        text = f"{some} {trace.used:,}{of} rows of {trace.file}"
    if not any(own_instants(workload, point) for point in points(workload)):
        return f"{text}, lengths only"
    if trace.used:
        minutes = trace.seconds / workload.time_scale
        text += f" in {minutes:.3g} s" if minutes < 120 else f" in {minutes / 60:.3g} min"
    return f"{text}, {workload.time_scale:g} times as fast" if workload.time_scale != 1 else text


def card_rows(workload: Workload) -> dict[str, str]:
    """What a card says otherwise of a workload with a trace."""
    trace = workload.trace
    if trace is None:
        return {}
    rows = {
        "Prompt": f"{described(workload)}; new text as long as each says",
        "Output": "as long as each row says",
    }
    replayed = [own_instants(workload, point) for point in points(workload)]
    if any(replayed):
        came = "when the trace's requests came"
        spaces = f", open loops with {spaced(workload)}" if any(one.rate for one in workload.listed) else ""
        rows["Load"] = f"open loop, {came}" if all(replayed) else f"as each point says{spaces}; else {came}"
        if workload.time_scale != 1:
            rows["Load"] += f", {workload.time_scale:g} times as fast"
        if not trace.used:
            own = "" if all(replayed) else "two requests for each in flight, or "
            those = "those" if own else "the requests"
            rows["Warm-up"] = f"{own}{those} of two seconds, or more, before a point is measured"
    own_sharing = workload.shared_tokens or workload.hit_ratio or workload.groups > 1
    if "shared" in workload.cache and not own_sharing:
        rows["Cache"] = "shared: prompts begin alike where the trace's block ids say so; else they are new"
    return rows


def sharing(workload: Workload) -> str:
    """How much prompts share, and with whom: `half of it`, `50 % of it`, with one of so many groups.

    Conversations share of their first prompts; later ones have all that was said before as well.
    """
    whole = "it" if workload.turns == 1 else "a conversation's first prompt"
    if workload.trace is not None and not (workload.shared_tokens or workload.hit_ratio):
        text = "as the trace's block ids say"
        return text if workload.groups == 1 else f"half of it with one of {workload.groups:,} groups"
    if workload.hit_ratio:
        ratios = ", ".join(f"{100 * ratio:g}" for ratio in workload.hit_ratio)
        text = f"{ratios} % of {whole}"
    else:
        text = f"{workload.shared_tokens:,} tokens" if workload.shared_tokens else f"half of {whole}"
    if workload.groups == 1:
        return text
    popularity = f" of Zipf's popularity ({workload.zipf:g})" if workload.zipf else ""
    return f"{text}, that of one of {workload.groups:,} groups{popularity}"
