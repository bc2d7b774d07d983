"""What two runs differ in besides their numbers, and why they mustn't be set side by side."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from benchsuite.driver import load
from benchsuite.errors import UsageError
from benchsuite.shown import public_host
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

_UNDER_TEST = frozenset({"server", "address", "benchsuite", "Python", "client system", "price"})
"""Facts that may be others in a regression test: the version under test, our own, and what is only told."""

_VERSIONED = frozenset({"revision", "image", "build", "commit"})
"""What a server says of itself that follows from its version."""

_OWN = frozenset({"benchsuite", "Python", "client system", "arrival stamps"})
"""What changes by itself from one month to the next, whatever is compared."""

_NAMED = frozenset({"backend", "model", "GPU", "endpoint", "extra body", "cache emptied"})
_SET = ("engine ", "launch ", "option ")
"""What a user names to choose what is measured: facts, and the beginnings of settings."""

_FOLLOWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "backend": (*_SET, "server", "endpoint", "price", "started by", "cache", "prompt lengths", "GPU"),
        "model": ("price", "launch ", "prompt lengths"),
        "GPU": ("price", "client machine", "gpu", "device", "on_gpu"),
    }
)
"""What follows from the difference that is looked for, by the beginnings of names."""

_NOT_ASKED = frozenset({"trials", "order", "slo", "description", "seed", "sweep", "models"})
"""Fields of a workload that change nothing of what a trial is sent."""

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
        and not (field == "trace" and _same_rows(ours, theirs))
    ]
    ours, theirs = spaced(asked), spaced(asked_other)
    if ours != theirs and _scheduled(asked) and _scheduled(asked_other):
        found.append(f"{ours} and {theirs}")
    return tuple(found)


def _same_rows(ours: Source | None, theirs: Source | None) -> bool:
    """Are they the same rows of the same trace, whatever its file is called?"""
    return (
        ours is not None and theirs is not None and theirs == msgspec.structs.replace(ours, file=theirs.file)
    )


def strict_obstacles(
    base: Manifest, other: Manifest, under_test: Collection[str] = (), *, cost: bool = False
) -> tuple[str, ...]:
    """Why two runs can't be held against each other as a regression test, one reason each.

    Everything but the version under test has to be equal, and the differences called `under_test`; `cost`:
    the price as well. Labels and packages may differ, and addresses on this machine or in a private network.
    """
    found = list(obstacles(base, other))
    servers = (base.identity.server, other.identity.server)
    if servers[0] != servers[1] and "server" not in under_test:
        found.append(f"another server ({servers[0] or _NONE} and {servers[1] or _NONE})")
    allowed = (_UNDER_TEST - {"price"} if cost else _UNDER_TEST) | set(under_test)
    if any(public_host(each.url) for each in (base, other)) and "address" not in under_test:
        allowed -= {"address"}
    differing = [
        *(each for each in asked_differently(base, other) if each.name.replace(" ", "_") not in _NOT_ASKED),
        *(
            each
            for each in differs_in(base, other)
            if each.name not in allowed | _VERSIONED
            and not each.name.startswith(("package ", "label "))
            # Before the first answer nobody knows who stamps.
            and not (each.name == "arrival stamps" and _NONE in {each.base, each.other})
        ),
    ]
    return (*found, *(another(each) for each in differing))


def another(each: Difference) -> str:
    """A difference as a reason: `another model (a and b)`, `other requests (40 and 30)`."""
    plural = each.name.endswith("s") and not each.name.endswith("ss")
    return f"{'other' if plural else 'another'} {each.name} ({each.base} and {each.other})"


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
        ("", *_details_beside(base, other, {each.name.lower() for each in found})),
        ("engine ", base.engine, other.engine),
        ("launch ", *_launched_beside(base, other)),
        ("option ", _options(base), _options(other)),
        ("connection ", base.connection, other.connection),
        ("package ", base.packages, other.packages),
        ("label ", base.labels, other.labels),
    ):
        found += _of_mappings(kind, ours, theirs)
    return tuple(found)


def told_apart(
    base: Manifest, other: Manifest, meant: str = ""
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """What two runs differ in: first what somebody chose, then what changed besides, without being asked for.

    `meant`: the difference that is looked for, such as `model`; what follows from it goes with it. Empty:
    what a user names (backend, model, GPU, settings), and where none of that differs, the server's version.
    """
    found = differs_in(base, other)
    names = {each.name for each in found}
    details = {*base.identity.details, *other.identity.details, "slots", "context tokens"}
    own: set[str] = {name for name in names if name in _OWN or name.startswith("package ")}
    if meant in _FOLLOWS:
        follows = _FOLLOWS[meant]
        own |= {
            name
            for name in names - {meant, "address"}
            if not name.startswith(("label ", *follows)) and not (meant != "GPU" and name in details - _NAMED)
        }
    else:
        named = {name for name in names if name in _NAMED or name.startswith(_SET)}
        if named and base.identity.server == other.identity.server:
            own |= names & {"server"}
        if not named & {"backend", "model"} and not any(name.startswith(_SET) for name in named):
            # Where nothing was chosen the version is the point, and what a server says follows from it.
            own |= names & details if named or "server" not in names else set()
        if "price" in names and _priced(base) == _priced(other):
            own.add("price")
    return (
        tuple(each for each in found if each.name not in own),
        tuple(each for each in found if each.name in own),
    )


def _priced(manifest: Manifest) -> tuple[object, ...]:
    """What a price is for: the same thing has another one only if prices changed."""
    hardware, tokens = manifest.price, manifest.token_price
    return (
        (hardware.gpu, hardware.count, hardware.source) if hardware else None,
        (tokens.provider, tokens.model, tokens.batch, tokens.source) if tokens else None,
        manifest.model if tokens else "",
    )


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
    yield "extra body", manifest.extra_body
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
    gpus = f"{price.count} × {price.gpu}" if price.gpu else f"{price.count} GPU{'s' * (price.count != 1)}"
    return f"{gpus} at ${price.usd_per_gpu_hour:g} an hour{dated}"


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


def _launched_beside(base: Manifest, other: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    """Both launches' arguments without those that the engine's settings became, which are told by name."""
    told: set[str] = set()
    for manifest in (base, other):
        if not manifest.engine:
            continue
        try:
            settings = load(manifest.backend, manifest.options).settings
        except UsageError:
            # A backend that isn't installed here.
            continue
        for name in manifest.engine:
            words = settings[name].arguments.values() if name in settings else ()
            told |= {word.removeprefix("--").partition("=")[0] for each in words for word in each}
    ours, theirs = (
        {name: value for name, value in _launch_arguments(each).items() if name not in told}
        for each in (base, other)
    )
    return ours, theirs


def _details_beside(
    base: Manifest, other: Manifest, told: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What both servers say of themselves, without what is told already."""
    ours, theirs = (
        {name: value for name, value in each.identity.details.items() if name not in told}
        for each in (base, other)
    )
    return ours, theirs


def _options(manifest: Manifest) -> dict[str, str]:
    """The driver's options; the endpoint is told by itself."""
    return {name: value for name, value in manifest.options.items() if name != "endpoint"}


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
