"""What a workload file may say: its keys, their values, and the flat `Workload` they make.

One table serves files and command-line changes alike, so both refuse the same values in the same words.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Arrivals, CacheMode, Reasoning, Slo, Text, Workload
from benchsuite.workload import checks, readers, replaying, talk
from benchsuite.workload.datasets import language
from benchsuite.workload.faults import Fault, at
from benchsuite.workload.points import check_points
from benchsuite.workload.readers import Reader, axis, choice, length, whole
from benchsuite.workload.slo import slo_of
from benchsuite.workload.stages import expected

_TOKENS: Final = axis(length(1))
_READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "name": readers.name,
        "version": whole(1),
        "description": readers.text,
        "seed": whole(0),
        "prompt_tokens": _TOKENS,
        "text": choice(*get_args(Text)),
        "same": choice("tokens", "text"),
        "dataset": readers.source,
        "trace": readers.source,
        "time_scale": readers.positive,
        "turns": length(1),
        "user_tokens": length(1),
        "think_s": readers.time_s,
        "replies": choice("fixed", "real"),
        "tool_turns": readers.yes_or_no,
        "output_tokens": _TOKENS,
        "reasoning": choice(*filter(None, get_args(Reasoning))),
        "json_schema": readers.as_json(dict, "a JSON schema as a table"),
        "tools": readers.tools,
        "extra": readers.as_json(dict, "a table of members for each request's body"),
        "mix": readers.mix,
        "concurrency": axis(whole(1)),
        "rate": axis(readers.rate),
        "arrivals": choice(*get_args(Arrivals)),
        "arrivals_cv": readers.positive,
        "burst_size": whole(1),
        "stages": readers.stages,
        "batch": readers.yes_or_no,
        "stream": axis(readers.yes_or_no),
        "cache": axis(choice(*get_args(CacheMode))),
        "shared_tokens": whole(1),
        "groups": whole(1),
        "zipf": readers.not_negative,
        "hit_ratio": axis(readers.share),
        "models": readers.texts,
        "engine": readers.engine,
        "sweep": choice("grid", "zip"),
        "order": choice("blocks", "listed"),
        "listed": readers.listed,
        "warm_up_seconds": readers.seconds_or_none,
        "warm_up_max_requests": whole(1),
        "requests": whole(1),
        "seconds": readers.positive,
        "trials": whole(1),
        "check": readers.check,
        "ttft_ms": readers.positive,
        "tpot_ms": readers.positive,
        "e2e_ms": readers.positive,
        "limits": readers.limits,
        "preset": readers.name,
    }
)
"""How each field of a `Workload` (and of its `Slo`) is read."""

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "name",
        "version": "version",
        "description": "description",
        "seed": "seed",
        "prompts.tokens": "prompt_tokens",
        "prompts.text": "text",
        "prompts.same": "same",
        "prompts.dataset": "dataset",
        "prompts.trace": "trace",
        "conversation.turns": "turns",
        "conversation.user_tokens": "user_tokens",
        "conversation.think_seconds": "think_s",
        "conversation.replies": "replies",
        "conversation.tool_turns": "tool_turns",
        "outputs.tokens": "output_tokens",
        "outputs.reasoning": "reasoning",
        "outputs.json_schema": "json_schema",
        "outputs.tools": "tools",
        "outputs.stream": "stream",
        "request.extra": "extra",
        "request.mix": "mix",
        "load.concurrency": "concurrency",
        "load.rate": "rate",
        "load.arrivals": "arrivals",
        "load.cv": "arrivals_cv",
        "load.burst_size": "burst_size",
        "load.stages": "stages",
        "load.time_scale": "time_scale",
        "load.batch": "batch",
        "cache.mode": "cache",
        "cache.shared_tokens": "shared_tokens",
        "cache.groups": "groups",
        "cache.zipf": "zipf",
        "cache.hit_ratio": "hit_ratio",
        "sweep.models": "models",
        "sweep.engine": "engine",
        "sweep.combine": "sweep",
        "sweep.order": "order",
        "sweep.points": "listed",
        "warm_up.seconds": "warm_up_seconds",
        "warm_up.max_requests": "warm_up_max_requests",
        "stop.requests": "requests",
        "stop.seconds": "seconds",
        "stop.trials": "trials",
        "check": "check",
        "slo.ttft_ms": "ttft_ms",
        "slo.tpot_ms": "tpot_ms",
        "slo.e2e_ms": "e2e_ms",
        "slo.limits": "limits",
        "slo.preset": "preset",
    }
)
"""Where a field stands in a file: `section.key`, or `key` at the top."""

SECTIONS: Final = tuple(dict.fromkeys(key.split(".")[0] for key in FIELDS if "." in key))
REQUIRED: Final = ("name", "version", "description")
_MOST_SHOWN: Final = 80
_LENGTHS: Final = ("prompts.tokens", "outputs.tokens")
_LEAST_CV, _MOST_CV = 0.01, 100.0


def parsed(text: str, source: str) -> Workload:
    """The workload that `text` (TOML) describes; a UsageError of one line names `source` and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: {error}") from None
    values: dict[str, Any] = {}
    for key, value in _keys(table, source):
        if key not in FIELDS:
            raise UsageError(f"{source}: unknown key {label(key)}; did you mean {_nearest(key)}?")
        values[FIELDS[key]] = read(FIELDS[key], value, f"{source}: {label(key)}")
    for key in REQUIRED:
        if FIELDS[key] not in values:
            raise UsageError(f"{source}: {label(key)} is missing")
    if values.get("batch"):
        # Each is a batch of its own, and paid for.
        values.setdefault("trials", 1)
    for key in _LENGTHS:
        if "trace" not in values and "dataset" not in values and FIELDS[key] not in values:
            raise UsageError(f"{source}: {label(key)} is missing")
        # 0: as long as each row of the file says.
        values.setdefault(FIELDS[key], (0,))
    if "dataset" in values:
        # Word for word, unless it is said that no cache may know them.
        values["salted"] = "cache" in values
    # A `Workload` made by hand has random words, as all had before there were others.
    values.setdefault("text", "prose")
    limits = {field: values.pop(field) for field in Slo.__struct_fields__ if field in values}
    slo = slo_of(limits, f"{source}: [slo] ")
    return made({**values, "slo": slo}, f"{source}: ")


def read(field: str, value: object, where: str) -> object:
    """`value` as the workload's `field` holds it; a UsageError begins with `where`."""
    try:
        return _READERS[field](value)
    except ValueError as error:
        part = error.value if isinstance(error, Fault) else value
        raise UsageError(f"{where} {error}, not {_shown(part)}") from None


def _shown(value: object) -> str:
    """A value as it was written: options give tuples, files give what TOML has."""
    if not isinstance(value, tuple):
        text = repr(value)
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    return ",".join(f"{each:g}" if isinstance(each, float) else repr(each) for each in value)


def made(fields: Mapping[str, Any], where: str) -> Workload:
    """A `Workload` of fields that were read one by one, if they make sense together."""
    workload = Workload(**fields)
    if workload.batch:
        _check_batch(workload, where)
    elif not (workload.concurrency or workload.rate or workload.stages or _has_load(workload)):
        raise UsageError(f"{at(where, '[load]:')}say how hard to press: a concurrency, a rate, or both")
    language.refuse(workload, where)
    checks.refuse(workload, where)
    _check_end(workload, where)
    _check_arrivals(workload, where)
    replaying.check(workload, where)
    _check_cache(workload, where)
    talk.check(workload, where)
    check_points(workload, where)
    return workload


def _has_load(workload: Workload) -> bool:
    """Does a trace, or each listed point, say itself how hard to press?"""
    listed = [bool(point.concurrency or point.rate) for point in workload.listed]
    return workload.trace is not None or (bool(listed) and all(listed))


def _check_end(workload: Workload, where: str) -> None:
    """A trial has one end: so many requests, so many seconds, or that of its stages or trace."""
    ends = (workload.requests is not None) + (workload.seconds is not None)
    if ends > 1 or not (ends or workload.stages or workload.trace or workload.dataset):
        raise UsageError(f"{at(where, '[stop]:')}say when a trial stops: either requests or seconds")
    if workload.stages and (ends or workload.concurrency or workload.rate):
        raise UsageError(
            f"{at(where, '[load] stages:')}stages say themselves how hard to press and for how long: leave "
            "concurrency, rate, requests and seconds out"
        )
    rates = [*workload.rate, *(point.rate for point in workload.listed if point.rate)]
    if workload.seconds is not None and math.inf in rates:
        advice = "set [stop] requests" if where else "add --requests N"
        raise UsageError(
            f"{at(where, '[load]')}rate inf sends everything at once, so it stops by requests, "
            f"not by seconds: {advice}"
        )
    if workload.seconds is not None and any(rate * workload.seconds < 1 for rate in rates):
        needed = 1 / min(rates)
        begin = at(where, "[stop] seconds:")
        raise UsageError(f"{begin}{min(rates):g} req/s needs {needed:g} seconds or more per trial")


def _check_arrivals(workload: Workload, where: str) -> None:
    """How requests are spaced tells something only where there is a rate; each way has its own numbers."""
    rates = [*workload.rate, *(point.rate for point in workload.listed if point.rate)]
    staged = any(stage.rate is not None for stage in workload.stages)
    kind, cv, size = workload.arrivals, workload.arrivals_cv, workload.burst_size
    if kind != "poisson" and not staged and all(map(math.isinf, rates)):
        raise UsageError(
            f"{at(where, '[load]')}arrivals space the requests of a rate: say a rate, or leave arrivals out"
        )
    if cv != 1 and kind not in {"gamma", "burst"}:
        raise UsageError(
            f'{at(where, "[load] cv:")}a cv goes with arrivals "gamma" or "burst", not with "{kind}"'
        )
    if not _LEAST_CV <= cv <= _MOST_CV:
        raise UsageError(
            f"{at(where, '[load] cv:')}a cv of arrivals must be from "
            f"{_LEAST_CV:g} to {_MOST_CV:g}, not {cv:g}"
        )
    if size > 1 and kind != "burst":
        raise UsageError(
            f'{at(where, "[load] burst_size:")}a burst size goes with arrivals "burst", not with "{kind}"'
        )
    if size == 1 and kind == "burst":
        advice = "set [load] burst_size" if where else "add --burst-size N"
        raise UsageError(
            f"{at(where, '[load] burst_size:')}say how many requests come at once in a burst: {advice}"
        )
    if staged and expected(workload.stages, math.inf) < 1:
        raise UsageError(
            f"{at(where, '[load] stages:')}the stages ask for less than one request: "
            "longer ones, or more a second"
        )
    if workload.stages and any(point.concurrency or point.rate for point in workload.listed):
        raise UsageError(
            f"{at(where, '[load] stages:')}stages are the load of every point: "
            "leave it out of those of the sweep"
        )


def _check_cache(workload: Workload, where: str) -> None:
    """What is shared needs a mode that shares, a warm cache one prompt; `check_points` sees to the rest."""
    asked = {
        "shared_tokens": bool(workload.shared_tokens),
        "groups": workload.groups > 1,
        "zipf": workload.zipf > 0,
        "hit_ratio": bool(workload.hit_ratio),
    }
    if "shared" not in {*workload.cache, *(point.cache for point in workload.listed)}:
        for name in (name for name, given in asked.items() if given):
            raise UsageError(f'{at(where, "[cache]")}{name} goes with the cache mode "shared"')
    if workload.shared_tokens and workload.hit_ratio:
        raise UsageError(
            f"{at(where, '[cache]:')}say how much is shared: either shared_tokens or a hit_ratio"
        )


def _check_batch(workload: Workload, where: str) -> None:
    """A batch is pressed by nobody: the server takes its requests when it likes."""
    if workload.concurrency or workload.rate:
        begin = at(where, "[load] batch:")
        raise UsageError(f"{begin}a batch API decides itself how many are in flight: no concurrency, no rate")
    if workload.requests is None and workload.dataset is None:
        advice = "set [stop] requests" if where else "add --requests N"
        raise UsageError(
            f"{at(where, '[load] batch:')}a batch has a number of requests, not a duration: {advice}"
        )


def fields_of(workload: Workload) -> dict[str, Any]:
    """A workload's fields by name, as `made` takes them."""
    return msgspec.structs.asdict(workload)


def place(field: str) -> str:
    """Where a workload's field stands in a file: `json_schema` → `[outputs] json_schema`."""
    return label(next((key for key, name in FIELDS.items() if name == field), field))


def label(key: str) -> str:
    """A key as it is written in a file: `stop.seconds` → `[stop] seconds`."""
    section, _, leaf = key.rpartition(".")
    return f"[{section}] {leaf}" if section else leaf


def _keys(table: Mapping[str, Any], source: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict) and key not in FIELDS:
            if key not in SECTIONS:
                nearest = get_close_matches(key, SECTIONS, n=1, cutoff=0)[0]
                raise UsageError(f"{source}: unknown section [{key}]; did you mean [{nearest}]?")
            for leaf, inner in value.items():
                yield f"{key}.{leaf}", inner
        elif key in SECTIONS:
            raise UsageError(f"{source}: {key} is a section: write [{key}] and its keys below it")
        else:
            yield key, value


def _nearest(key: str) -> str:
    """The known key most like `key`: one of the same section if any is close, else of any; or a section."""
    section, _, leaf = key.rpartition(".")
    if leaf in SECTIONS:
        return f"the section [{leaf}]"
    siblings = {known.rpartition(".")[2]: known for known in FIELDS if known.rpartition(".")[0] == section}
    close = get_close_matches(leaf, siblings, n=1)
    if close:
        return label(siblings[close[0]])
    leaves = {known.rpartition(".")[2]: known for known in reversed(list(FIELDS))}
    return label(leaves[get_close_matches(leaf, leaves, n=1, cutoff=0)[0]])
