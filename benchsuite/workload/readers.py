"""How values of a workload file are read: each reader returns a field's value or raises ValueError."""

import json
import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

import msgspec

from benchsuite.types import Check, Limit, Listed, LoadStage, Share, Source, Spread
from benchsuite.workload.faults import Fault, within

Reader = Callable[[object], object]
"""Turns a value from a file into a field's value, or raises ValueError("must be …")."""


def number(value: object) -> float:
    """A number, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError("must be a number")
    return float(value)


def whole(least: int) -> Callable[[object], int]:
    """A whole number from `least` on."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
            raise ValueError(f"must be a whole number, {least} or more")
        return value

    return read


def positive(value: object) -> float:
    """A finite number above 0."""
    found = number(value)
    if not 0 < found < math.inf:
        raise ValueError("must be more than 0")
    return found


def not_negative(value: object) -> float:
    """A finite number, 0 or more."""
    found = number(value)
    if not 0 <= found < math.inf:
        raise ValueError("must be 0 or more")
    return found


def seconds_or_none(value: object) -> float:
    """Seconds, 0 or more."""
    found = number(value)
    if not 0 <= found < math.inf:
        raise ValueError("must be 0 or more seconds")
    return found


def share(value: object) -> float:
    """A part of a whole: 0 to 1."""
    found = number(value)
    if not 0 <= found <= 1:
        raise ValueError("must be a share from 0 to 1")
    return found


def rate(value: object) -> float:
    """Requests a second; `inf`: all at once."""
    found = math.inf if value == "inf" else number(value)
    if found <= 0:
        raise ValueError('must be more than 0 requests a second, or "inf"')
    return found


def yes_or_no(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def text(value: object) -> str:
    """Some text, blanks around it removed."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be some text")
    return value.strip()


def name(value: object) -> str:
    """A word as names are made of."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError("must be letters, digits, '-', '_' or '.'")
    return value


def choice(*words: str) -> Reader:
    """One of some words."""

    def read(value: object) -> object:
        if value not in words:
            *most, last = map(repr, words)
            raise ValueError(f"must be {' or '.join((', '.join(most), last)) if most else last}")
        return value

    return read


def axis(one: Reader) -> Reader:
    """One value, or a list of different ones."""

    def read(value: object) -> tuple[object, ...]:
        values = tuple(one(each) for each in (value if isinstance(value, list | tuple) else [value]))
        if not values or len(set(values)) < len(values):
            raise ValueError("must be one value, or a list of different ones")
        return values

    return read


def as_json(kind: type, what: str) -> Reader:
    """A table or list as the JSON text that is sent; such text itself is taken, too, and a .json file's name.

    The file is read later, by who knows the workload's folder.
    """

    def read(value: object) -> str:
        if isinstance(value, str) and value.endswith(".json"):
            return value
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise ValueError(f"must be {what}") from None
        if not isinstance(value, kind) or not value:
            raise ValueError(f"must be {what}")
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except TypeError:
            raise ValueError(f"must be {what} of what JSON has") from None

    return read


def tools(value: object) -> str:
    """Tools as the JSON text that is sent, or a .json file's name; their form is the backend's affair."""
    what = 'a list of tools as tables, such as { type = "function", function = { name = "look_up" } }'
    found = as_json(list, what)(value)
    assert isinstance(found, str)
    for tool in [] if found.endswith(".json") else json.loads(found):
        if not isinstance(tool, dict):
            raise Fault(f"must be {what}", tool)
    return found


def fields(value: object, readers: Mapping[str, Reader], what: str) -> dict[str, Any]:
    """The members of an inline table, each by its reader; unknown ones are refused with the nearest."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table: {what}")
    found = {}
    for key, inner in value.items():
        if key not in readers:
            nearest = get_close_matches(key, readers, n=1, cutoff=0)[0]
            raise ValueError(f"has an unknown key {key!r} (did you mean {nearest!r}?): it must be {what}")
        try:
            found[key.replace("-", "_")] = readers[key](inner)
        except ValueError as error:
            raise within(f"has a {key} that", inner, error) from None
    return found


def each(values: list[Any] | tuple[Any, ...], one: Callable[[Any], Any]) -> list[Any]:
    """Each of several read by `one`; a fault says which it is of, from 1."""
    found = []
    for index, value in enumerate(values, 1):
        try:
            found.append(one(value))
        except ValueError as error:
            raise within(f"no. {index}", value, error) from None
    return found


# ---------------------------------------------------------------- lengths

_SPREADS: Final[Mapping[str, tuple[str, ...]]] = {
    "uniform": ("low", "high"),
    "normal": ("mean", "sd"),
    "lognormal": ("mean", "sd"),
    "quantiles": ("quantiles",),
}
_SPREAD_TABLE: Final = '{ kind = "lognormal", mean = 512, sd = 300, high = 4096 }'


def _quantiles(value: object) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError("must be a list of pairs such as [[0, 10], [0.5, 200], [1, 4000]]")
    pairs = []
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("must be a list of pairs such as [[0, 10], [0.5, 200], [1, 4000]]")
        pairs.append((share(pair[0]), not_negative(pair[1])))
    rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(pairs))
    if not rising or pairs[0][0] != 0 or pairs[-1][0] != 1:
        raise ValueError("must go from share 0 to share 1, rising")
    return tuple(pairs)


def spread(value: object, least: float = 1.0) -> Spread:
    """A distribution written as a table; one that was read before is taken as it is."""
    if isinstance(value, Spread):
        return value
    known: dict[str, Reader] = {
        "kind": choice(*_SPREADS),
        "mean": positive,
        "sd": not_negative,
        "low": not_negative,
        "high": positive,
        "quantiles": _quantiles,
    }
    found = Spread(**{"kind": "", **fields(value, known, _SPREAD_TABLE)})
    if found.kind not in _SPREADS:
        raise ValueError(f"must say its kind: {_SPREAD_TABLE}")
    given = {key for key in ("mean", "sd", "low", "high", "quantiles") if getattr(found, key)}
    needed = _SPREADS[found.kind]
    missing = [key for key in needed if key not in given and key not in {"low", "sd"}]
    if missing:
        raise ValueError(f"must have {' and '.join(needed)} for a {found.kind} distribution")
    allowed = {*needed, *(("low", "high") if found.kind in {"normal", "lognormal"} else ())}
    if extra := sorted(given - allowed):
        raise ValueError(f"must not have {extra[0]} for a {found.kind} distribution")
    if found.high and not found.low <= found.high:
        raise ValueError("must have a low that isn't above its high")
    if found.kind in {"normal", "lognormal"} and not found.low <= found.mean <= (found.high or math.inf):
        raise ValueError("must have a mean between its low and its high")
    if found.kind == "quantiles" and found.quantiles[-1][1] < least:
        raise ValueError(f"must reach {least:g}")
    return found


def length(least: int) -> Reader:
    """A number of tokens, or a distribution of them."""

    def read(value: object) -> object:
        return spread(value, least) if isinstance(value, dict | Spread) else whole(least)(value)

    return read


def time_s(value: object) -> float | Spread:
    """Seconds, or a distribution of them."""
    return spread(value, 0.0) if isinstance(value, dict) else seconds_or_none(value)


# ---------------------------------------------------------------- tables


def source(value: object) -> Source:
    """A file: its name, or a table with its format."""
    if isinstance(value, str):
        return Source(file=text(value))
    if isinstance(value, Source):
        return value
    known = dict.fromkeys(("file", "format", "column", "split", "sha256"), text)
    found = fields(value, known, '{ file = "prompts.jsonl" }')
    if "file" not in found:
        raise ValueError('must name a file: { file = "prompts.jsonl" }')
    return Source(**found)


def _ramp(one: Reader) -> Reader:
    def read(value: object) -> object:
        values = tuple(one(each) for each in (value if isinstance(value, list | tuple) else [value, value]))
        if len(values) != 2:
            raise ValueError("must be one value, or two: from and to")
        return values

    return read


def stages(value: object) -> tuple[LoadStage, ...]:
    """The parts of a load that changes, all by rate or all by concurrency."""
    what = "{ seconds = 30, rate = [1, 10] }"
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"must be a list of tables such as {what}")
    known = {"seconds": positive, "rate": _ramp(not_negative), "concurrency": _ramp(whole(0))}

    def stage_of(one: object) -> LoadStage:
        if isinstance(one, LoadStage):
            return one
        stage = fields(one, known, what)
        if "seconds" not in stage or ("rate" in stage) == ("concurrency" in stage):
            raise ValueError(f"must have seconds and either a rate or a concurrency: {what}")
        return LoadStage(**stage)

    found = each(value, stage_of)
    if len({stage.rate is None for stage in found}) > 1:
        raise ValueError("must be all by rate or all by concurrency")
    if not any(max(stage.rate or stage.concurrency or (0, 0)) for stage in found):
        raise ValueError("must press at some time: not every stage can be 0")
    return tuple(found)


def mix(value: object) -> tuple[Share, ...]:
    """Models (adapters) and their shares: a table of name = share, or a list of names."""
    if isinstance(value, dict) and value:
        return tuple(Share(model=text(model), share=positive(part)) for model, part in value.items())
    if isinstance(value, list | tuple) and value:
        return tuple(one if isinstance(one, Share) else Share(model=text(one)) for one in value)
    raise ValueError('must be a table such as { "adapter-a" = 3, "adapter-b" = 1 }, or a list of names')


def engine(value: object) -> dict[str, tuple[str, ...]]:
    """Settings of an engine that we start; lists are axes."""
    if not isinstance(value, dict):
        raise ValueError("must be a table of settings such as { max-seqs = [4, 16] }")
    found = {}
    for key, inner in value.items():
        values = inner if isinstance(inner, list | tuple) else [inner]
        if not values or any(isinstance(one, dict | list) for one in values):
            raise ValueError(f"has a {key} that must be one value, or a list of them")
        found[str(key)] = tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)
    return found


def texts(value: object) -> tuple[str, ...]:
    """One or more texts."""
    return tuple(text(one) for one in (value if isinstance(value, list | tuple) else [value]))


def check(value: object) -> Check:
    """How answers are judged."""
    if isinstance(value, Check):
        return value
    schema = as_json(dict, "a JSON schema as a table")
    known: dict[str, Reader] = {
        "kind": choice("exact", "contains", "regex", "json-schema", "choice"),
        "expected": text,
        "choices": texts,
        "schema": schema,
    }
    found = fields(value, known, '{ kind = "contains", expected = "Paris" }')
    if "kind" not in found:
        raise ValueError("must say its kind: exact, contains, regex, json-schema or choice")
    if "schema" in found:
        found["json_schema"] = found.pop("schema")
    if found["kind"] == "regex":
        try:
            re.compile(found.get("expected", ""))
        except re.error as error:
            raise ValueError(f"has a pattern that isn't a regular expression: {error}") from None
    return Check(**found)


def limits(value: object) -> tuple[Limit, ...]:
    """Limits on quantiles: a table such as { ttft_p95 = 500 } in milliseconds."""
    if not isinstance(value, dict):
        raise ValueError("must be a table such as { ttft_p95 = 500 }")
    found = []
    for key, inner in value.items():
        named = limit(key, 1.0)
        try:
            found.append(msgspec.structs.replace(named, ms=positive(inner)))
        except ValueError as error:
            raise within(f"has a {key} that", inner, error) from None
    return tuple(found)


def limit(key: str, ms: float) -> Limit:
    """One limit by its name, e.g. `ttft_p95`."""
    found = re.fullmatch(r"(ttft|tpot|itl|e2e)_p(\d{1,2}(?:\.\d+)?)", key)
    if not found:
        raise ValueError(f"has a limit {key!r}: it must be ttft, tpot, itl or e2e with _p50 to _p99.9")
    return Limit(metric=found[1], quantile=round(float(found[2]) / 100, 6), ms=ms)  # type: ignore[arg-type]


def listed(value: object) -> tuple[Listed, ...]:
    """The points of a listed sweep; one that comes again tells how far the server drifts."""
    known: dict[str, Reader] = {
        "prompt_tokens": length(1),
        "output_tokens": length(1),
        "concurrency": whole(1),
        "rate": rate,
        "cache": choice("cold", "warm", "shared"),
        "hit_ratio": share,
        "stream": yes_or_no,
    }
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be a list of tables such as { prompt_tokens = 512, concurrency = 8 }")
    what = "{ prompt_tokens = 512, concurrency = 8 }"
    return tuple(
        each(value, lambda one: one if isinstance(one, Listed) else Listed(**fields(one, known, what)))
    )
