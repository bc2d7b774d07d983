"""What two runs differ in besides their numbers, and why they mustn't be set side by side."""

import re
import shlex
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import msgspec

from benchsuite.types import Check, Machine, Manifest, Noun, Price, Source, Spread, TokenPrice, Workload
from benchsuite.workload.arrivals import spaced
from benchsuite.workload.spreads import described

_ASKED_ALIKE = ("name", "version", "same", "cache", "arrivals", "bodies")
"""Fields of a workload that have to be equal; lengths and loads are, point by point."""

_SENT_ALIKE = (
    *("text", "dataset", "trace", "time_scale", "turns", "user_tokens", "think_s", "replies", "tool_turns"),
    *("groups", "zipf", "json_schema", "tools", "extra", "mix", "check", "salted"),
)
"""What decides what is sent or judged besides, and doesn't stand in a point."""

_LAUNCH_ELSEWHERE = frozenset({"model", "port", "host", "slots", "context"})
"""Arguments of a launch that are told otherwise, or mean nothing."""

_PORT = re.compile(r'"port": *\d+')
"""A free port, where options are given as JSON."""

_NEGATIVE = re.compile(r"-\d+(\.\d+)?")
"""A value, not an option."""

_FITTED = MappingProxyType(
    {
        "usage": "fitted to the server",
        "tokenizer": "fitted to the server's tokenizer",
        "assumed": "assumed",
    }
)
_NONE = "–"
_ID_SHOWN = 6
_SHORT = 24


class Difference(Noun, frozen=True, kw_only=True):
    """One thing in which a run differs from its base, in words; `–` where it isn't known or isn't set."""

    name: str
    base: str
    other: str


def obstacles(base: Manifest, other: Manifest) -> tuple[str, ...]:
    """Why two runs can't be compared, one reason each; empty: they can, at the points they share."""
    found = []
    if base.metrics_version != other.metrics_version:
        found.append(f"metric definitions {base.metrics_version} and {other.metrics_version}")
    asked, asked_other = base.workload, other.workload
    names = [f"{each.name}@{each.version}" for each in (asked, asked_other)]
    if names[0] != names[1]:
        found.append(f"workloads {names[0]} and {names[1]}")
    if asked.same != asked_other.same:
        found.append(f"prompts of the same {asked.same} and of the same {asked_other.same}")
    digests = [each.bodies.sha256[:_ID_SHOWN] if each.bodies else "none" for each in (asked, asked_other)]
    if digests[0] != digests[1]:
        found.append(f"the bodies of two files ({digests[0]} and {digests[1]})")
    if not set(asked.cache) & set(asked_other.cache):
        found.append(f"a {' and '.join(asked.cache)} and a {' and '.join(asked_other.cache)} cache")
    found += [
        f"{field.replace('_', ' ')}: {_briefly(ours)} and {_briefly(theirs)}"
        for field in _SENT_ALIKE
        if (ours := getattr(asked, field)) != (theirs := getattr(asked_other, field))
    ]
    ours, theirs = spaced(asked), spaced(asked_other)
    if ours != theirs and _scheduled(asked) and _scheduled(asked_other):
        found.append(f"{ours} and {theirs}")
    return tuple(found)


def _scheduled(asked: Workload) -> bool:
    """Does a rate say when requests are due?"""
    return bool(asked.rate) or any(stage.rate is not None for stage in asked.stages)


def _briefly(value: object) -> str:
    """A workload's value in a word or two: files by name and digest, tables as one."""
    if isinstance(value, Source):
        return f"{value.file} ({value.sha256[:_ID_SHOWN]})"
    if isinstance(value, Spread):
        return described(value)
    if isinstance(value, Check):
        return value.kind
    if isinstance(value, str | int | float):
        return _words(value) if len(str(value)) <= _SHORT else f"{str(value)[:_SHORT]}…"
    return "one" if value else "none"


def differs_in(base: Manifest, other: Manifest) -> tuple[Difference, ...]:
    """What is different of server, client and labels; seed and nonce aren't told."""
    pairs = zip(_facts(base), _facts(other), strict=True)
    found = [
        Difference(name=name, base=ours or _NONE, other=theirs or _NONE)
        for (name, ours), (_, theirs) in pairs
        if ours != theirs
    ]
    for kind, ours, theirs in (
        ("", base.identity.details, other.identity.details),
        ("engine ", base.engine, other.engine),
        ("launch ", _launch_arguments(base), _launch_arguments(other)),
        ("connection ", base.connection, other.connection),
        ("package ", base.packages, other.packages),
        ("label ", base.labels, other.labels),
    ):
        found += _of_mappings(kind, ours, theirs)
    return tuple(found)


def asked_differently(base: Manifest, other: Manifest) -> tuple[Difference, ...]:
    """What the two asked differently of the same workload: points, trials, durations, limits."""
    return tuple(
        Difference(name=field.replace("_", " "), base=_words(ours), other=_words(theirs))
        for field in base.workload.__struct_fields__
        if field not in _ASKED_ALIKE
        and field not in _SENT_ALIKE
        and (ours := getattr(base.workload, field)) != (theirs := getattr(other.workload, field))
    )


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What has one value a run: its name, and the value in words, empty where it isn't known."""
    identity = manifest.identity
    yield "backend", manifest.backend
    yield "server", f"{identity.server} {identity.version}".strip()
    yield "model", manifest.model
    yield "slots", _words(identity.slots)
    yield "context tokens", _words(identity.context_tokens)
    yield "GPU", manifest.gpu
    yield "price", _price(manifest.price) or _token_price(manifest.token_price)
    yield "started by", "somebody else" if manifest.attached else "benchsuite"
    yield "address", manifest.url
    yield "endpoint", manifest.endpoint or "chat"
    yield "cache", manifest.caching
    yield "cache emptied", "before each trial" if manifest.reset_cache else ""
    yield "prompt lengths", "" if manifest.lengths is None else _FITTED[manifest.lengths.source]
    yield "client machine", _machine(manifest.machine)
    yield "client system", manifest.machine.os
    yield "Python", manifest.machine.python
    yield "client processes", str(manifest.workers)
    yield "arrival stamps", _stamps(manifest)
    yield "benchsuite", manifest.version


def _token_price(price: TokenPrice | None) -> str:
    if price is None:
        return ""
    dated = f"{price.source} {price.date}".rstrip()
    whose = f" for {price.provider}/{price.model}" if price.provider else ""
    batch = " in batches" if price.batch else ""
    return (
        f"${price.usd_per_m_input:g} in, ${price.usd_per_m_output:g} out per M tokens{whose}{batch}, {dated}"
    )


def _price(price: Price | None) -> str:
    if price is None:
        return ""
    dated = f", {price.source} {price.date}".rstrip()
    return f"{price.count} × {price.gpu} at ${price.usd_per_gpu_hour:g} an hour{dated}"


def _machine(machine: Machine) -> str:
    cpu = machine.cpu or "unknown CPU"
    return f"{cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB ({machine.id[:_ID_SHOWN]})"


def _stamps(manifest: Manifest) -> str:
    workers = [worker for trial in manifest.trials for worker in trial.workers]
    if not workers:
        return ""
    return "by the kernel" if all(worker.kernel_stamps for worker in workers) else "by the client"


def _launch_arguments(manifest: Manifest) -> dict[str, str]:
    """The long options of the command that started the engine, without those told elsewhere.

    Short ones are Python's own, and no value of the option before them. Several values stand side by
    side.
    """
    arguments: dict[str, str] = {}
    name = ""
    for word in shlex.split(_PORT.sub('"port": …', manifest.launch_command)):
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            arguments[name] = value if given else ""
            name = "" if given else name
        elif word.startswith("-") and not _NEGATIVE.fullmatch(word):
            name = ""
        elif name:
            arguments[name] = f"{arguments[name]} {word}".lstrip()
    return {name: value or "yes" for name, value in arguments.items() if name not in _LAUNCH_ELSEWHERE}


def _of_mappings(kind: str, base: dict[str, str], other: dict[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys((*base, *other)):
        ours, theirs = base.get(name, _NONE), other.get(name, _NONE)
        if ours != theirs:
            yield Difference(name=f"{kind}{name}", base=ours, other=theirs)


def _words(value: Any) -> str:
    """A field's value as people read it."""
    if value is None or value == ():
        return _NONE
    if isinstance(value, msgspec.Struct):
        limits = msgspec.structs.asdict(value).items()
        set_ones = [f"{name} {_words(limit)}" for name, limit in limits if limit is not None]
        return ", ".join(set_ones) or _NONE
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    return (
        f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )
