"""What a workload file may say: its keys, their values, and the flat `Workload` they make.

One table serves files and command-line changes alike, so both refuse the same values in the same words.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Arrivals, CacheMode, Reasoning, Slo, Workload

Reader = Callable[[object], object]
"""Turns a value from a file into a field's value, or raises ValueError("must be …")."""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError("must be a number")
    return float(value)


def _whole(least: int) -> Reader:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
            raise ValueError(f"must be a whole number, {least} or more")
        return value

    return read


def _positive(value: object) -> float:
    number = _number(value)
    if not 0 < number < math.inf:
        raise ValueError("must be more than 0")
    return number


def _seconds_or_none(value: object) -> float:
    number = _number(value)
    if not 0 <= number < math.inf:
        raise ValueError("must be 0 or more seconds")
    return number


def _rate(value: object) -> float:
    number = math.inf if value == "inf" else _number(value)
    if number <= 0:
        raise ValueError('must be more than 0 requests a second, or "inf"')
    return number


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be some text")
    return value.strip()


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError("must be letters, digits, '-', '_' or '.'")
    return value


def _choice(*words: str) -> Reader:
    def read(value: object) -> object:
        if value not in words:
            *most, last = map(repr, words)
            raise ValueError(f"must be {' or '.join((', '.join(most), last)) if most else last}")
        return value

    return read


def _axis(one: Reader) -> Reader:
    def read(value: object) -> tuple[object, ...]:
        values = tuple(one(each) for each in (value if isinstance(value, list | tuple) else [value]))
        if not values or len(set(values)) < len(values):
            raise ValueError("must be one value, or a list of different ones")
        return values

    return read


_READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "name": _name,
        "version": _whole(1),
        "description": _text,
        "seed": _whole(0),
        "prompt_tokens": _axis(_whole(1)),
        "same": _choice("tokens", "text"),
        "output_tokens": _axis(_whole(1)),
        "concurrency": _axis(_whole(1)),
        "rate": _axis(_rate),
        "arrivals": _choice(*get_args(Arrivals)),
        "batch": _yes_or_no,
        "cache": _choice(*get_args(CacheMode)),
        "shared_tokens": _whole(1),
        "reasoning": _choice(*filter(None, get_args(Reasoning))),
        "warm_up_seconds": _seconds_or_none,
        "warm_up_max_requests": _whole(1),
        "requests": _whole(1),
        "seconds": _positive,
        "trials": _whole(1),
        "ttft_ms": _positive,
        "tpot_ms": _positive,
        "e2e_ms": _positive,
    }
)
"""How each field of a `Workload` (and of its `Slo`) is read."""

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "name",
        "version": "version",
        "description": "description",
        "seed": "seed",
        "prompts.tokens": "prompt_tokens",
        "prompts.same": "same",
        "outputs.tokens": "output_tokens",
        "load.concurrency": "concurrency",
        "load.rate": "rate",
        "load.arrivals": "arrivals",
        "load.batch": "batch",
        "outputs.reasoning": "reasoning",
        "cache.mode": "cache",
        "cache.shared_tokens": "shared_tokens",
        "warm_up.seconds": "warm_up_seconds",
        "warm_up.max_requests": "warm_up_max_requests",
        "stop.requests": "requests",
        "stop.seconds": "seconds",
        "stop.trials": "trials",
        "slo.ttft_ms": "ttft_ms",
        "slo.tpot_ms": "tpot_ms",
        "slo.e2e_ms": "e2e_ms",
    }
)
"""Where a field stands in a file: `section.key`, or `key` at the top."""

_SECTIONS: Final = tuple(dict.fromkeys(key.split(".")[0] for key in _FIELDS if "." in key))
_REQUIRED: Final = ("name", "version", "description", "prompts.tokens", "outputs.tokens")


def parsed(text: str, source: str) -> Workload:
    """The workload that `text` (TOML) describes; a UsageError of one line names `source` and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: {error}") from None
    values: dict[str, Any] = {}
    for key, value in _keys(table, source):
        if key not in _FIELDS:
            raise UsageError(f"{source}: unknown key {label(key)}; did you mean {label(_nearest(key))}?")
        values[_FIELDS[key]] = read(_FIELDS[key], value, f"{source}: {label(key)}")
    for key in _REQUIRED:
        if _FIELDS[key] not in values:
            raise UsageError(f"{source}: {label(key)} is missing")
    if values.get("batch"):
        # Each is a batch of its own, and paid for.
        values.setdefault("trials", 1)
    slo = Slo(**{field: values.pop(field) for field in Slo.__struct_fields__ if field in values})
    return made({**values, "slo": slo}, f"{source}: ")


def read(field: str, value: object, where: str) -> object:
    """`value` as the workload's `field` holds it; a UsageError begins with `where`."""
    try:
        return _READERS[field](value)
    except ValueError as error:
        raise UsageError(f"{where} {error}, not {_shown(value)}") from None


def _shown(value: object) -> str:
    """A value as it was written: options give tuples, files give what TOML has."""
    if not isinstance(value, tuple):
        return repr(value)
    return ",".join(f"{each:g}" if isinstance(each, float) else repr(each) for each in value)


def made(fields: Mapping[str, Any], where: str) -> Workload:
    """A `Workload` of fields that were read one by one, if they make sense together."""
    workload = Workload(**fields)
    if workload.batch:
        _check_batch(workload, where)
    elif not workload.concurrency and not workload.rate:
        raise UsageError(f"{where}say how hard to press: a concurrency, a rate, or both")
    if (workload.requests is None) == (workload.seconds is None):
        raise UsageError(f"{where}say when a trial stops: either requests or seconds")
    if workload.shared_tokens and workload.cache != "shared":
        raise UsageError(f'{where}shared_tokens goes with the cache mode "shared"')
    if workload.shared_tokens >= min(workload.prompt_tokens):
        raise UsageError(
            f"{where}{workload.shared_tokens} shared tokens leave nothing of a prompt of "
            f"{min(workload.prompt_tokens)} that is its own"
        )
    if workload.seconds is not None and math.inf in workload.rate:
        advice = "set [stop] requests" if where else "add --requests N"
        raise UsageError(
            f"{where}rate inf sends everything at once, so it stops by requests, not by seconds: {advice}"
        )
    if workload.seconds is not None and any(rate * workload.seconds < 1 for rate in workload.rate):
        needed = 1 / min(workload.rate)
        raise UsageError(f"{where}{min(workload.rate):g} req/s needs {needed:g} seconds or more per trial")
    return workload


def _check_batch(workload: Workload, where: str) -> None:
    """A batch is pressed by nobody: the server takes its requests when it likes."""
    if workload.concurrency or workload.rate:
        raise UsageError(f"{where}a batch API decides itself how many are in flight: no concurrency, no rate")
    if workload.requests is None:
        advice = "set [stop] requests" if where else "add --requests N"
        raise UsageError(f"{where}a batch has a number of requests, not a duration: {advice}")
    if workload.cache == "warm":
        raise UsageError(f"{where}a batch isn't warmed up: the cache can be cold or shared")


def fields_of(workload: Workload) -> dict[str, Any]:
    """A workload's fields by name, as `made` takes them."""
    return msgspec.structs.asdict(workload)


def label(key: str) -> str:
    """A key as it is written in a file: `stop.seconds` → `[stop] seconds`."""
    section, _, leaf = key.rpartition(".")
    return f"[{section}] {leaf}" if section else leaf


def _keys(table: Mapping[str, Any], source: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict) and key not in _FIELDS:
            if key not in _SECTIONS:
                nearest = get_close_matches(key, _SECTIONS, n=1, cutoff=0)[0]
                raise UsageError(f"{source}: unknown section [{key}]; did you mean [{nearest}]?")
            for leaf, inner in value.items():
                yield f"{key}.{leaf}", inner
        elif key in _SECTIONS:
            raise UsageError(f"{source}: {key} is a section: write [{key}] and its keys below it")
        else:
            yield key, value


def _nearest(key: str) -> str:
    """The known key most like `key`: one of the same section if any is close, else of any section."""
    section, _, leaf = key.rpartition(".")
    siblings = {known.rpartition(".")[2]: known for known in _FIELDS if known.rpartition(".")[0] == section}
    close = get_close_matches(leaf, siblings, n=1)
    if close:
        return siblings[close[0]]
    leaves = {known.rpartition(".")[2]: known for known in reversed(list(_FIELDS))}
    return leaves[get_close_matches(leaf, leaves, n=1, cutoff=0)[0]]
