"""A JSON Schema of workload files, for editors that complete and check TOML."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from benchsuite.types import Arrivals, CacheMode, CheckKind, Reasoning, Text
from benchsuite.workload.schema import FIELDS, REQUIRED

_Schema = dict[str, Any]


def _choice(*words: Any) -> _Schema:
    return {"enum": list(words)}


def _whole(least: int) -> _Schema:
    return {"type": "integer", "minimum": least}


def _table(required: tuple[str, ...] = (), **members: _Schema) -> _Schema:
    found: _Schema = {"type": "object", "properties": members, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def _either(*schemas: _Schema) -> _Schema:
    return {"anyOf": list(schemas)}


def _axis(one: _Schema) -> _Schema:
    return _either(one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True})


def _several(one: _Schema) -> _Schema:
    return {"type": "array", "items": one, "minItems": 1}


_TEXT: Final[_Schema] = {"type": "string", "minLength": 1}
_TRUTH: Final[_Schema] = {"type": "boolean"}
_POSITIVE: Final[_Schema] = {"type": "number", "exclusiveMinimum": 0}
_NOT_NEGATIVE: Final[_Schema] = {"type": "number", "minimum": 0}
_SHARE: Final[_Schema] = {"type": "number", "minimum": 0, "maximum": 1}
_NAME: Final[_Schema] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}
_RATE: Final[_Schema] = _either(_POSITIVE, _choice("inf"))
_SPREAD: Final[_Schema] = _table(
    ("kind",),
    kind=_choice("uniform", "normal", "lognormal", "quantiles"),
    mean=_POSITIVE,
    sd=_NOT_NEGATIVE,
    low=_NOT_NEGATIVE,
    high=_POSITIVE,
    quantiles={"type": "array", "minItems": 2, "items": {"type": "array", "minItems": 2, "maxItems": 2}},
)
_LENGTH: Final[_Schema] = _either(_whole(1), _SPREAD)
_SOURCE: Final[_Schema] = _either(
    _TEXT, _table(("file",), file=_TEXT, format=_TEXT, split=_TEXT, column=_TEXT, sha256=_TEXT)
)
_JSON_TABLE: Final[_Schema] = _either({"type": "object"}, _TEXT)


def _ramp(one: _Schema) -> _Schema:
    return _either(one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2})


_KINDS: Final[Mapping[str, _Schema]] = {
    "name": _NAME,
    "version": _whole(1),
    "description": _TEXT,
    "seed": _whole(0),
    "prompt_tokens": _axis(_LENGTH),
    "text": _choice(*get_args(Text)),
    "same": _choice("tokens", "text"),
    "dataset": _SOURCE,
    "trace": _SOURCE,
    "time_scale": _POSITIVE,
    "turns": _LENGTH,
    "user_tokens": _LENGTH,
    "think_s": _either(_NOT_NEGATIVE, _SPREAD),
    "replies": _choice("fixed", "real"),
    "tool_turns": _TRUTH,
    "output_tokens": _axis(_LENGTH),
    "reasoning": _choice(*filter(None, get_args(Reasoning))),
    "json_schema": _JSON_TABLE,
    "tools": _either(_several({"type": "object"}), _TEXT),
    "extra": _JSON_TABLE,
    "mix": _either(
        {"type": "object", "additionalProperties": _POSITIVE, "minProperties": 1}, _several(_TEXT)
    ),
    "concurrency": _axis(_whole(1)),
    "rate": _axis(_RATE),
    "arrivals": _choice(*get_args(Arrivals)),
    "arrivals_cv": _POSITIVE,
    "burst_size": _whole(1),
    "stages": _several(
        _table(("seconds",), seconds=_POSITIVE, rate=_ramp(_NOT_NEGATIVE), concurrency=_ramp(_whole(0)))
    ),
    "batch": _TRUTH,
    "stream": _axis(_TRUTH),
    "cache": _axis(_choice(*get_args(CacheMode))),
    "shared_tokens": _whole(1),
    "groups": _whole(1),
    "zipf": _NOT_NEGATIVE,
    "hit_ratio": _axis(_SHARE),
    "models": _either(_TEXT, _several(_TEXT)),
    "engine": {"type": "object"},
    "sweep": _choice("grid", "zip"),
    "order": _choice("blocks", "listed"),
    "listed": _several(
        _table(
            prompt_tokens=_LENGTH,
            output_tokens=_LENGTH,
            concurrency=_whole(1),
            rate=_RATE,
            cache=_choice(*get_args(CacheMode)),
            hit_ratio=_SHARE,
            stream=_TRUTH,
        )
    ),
    "warm_up_seconds": _NOT_NEGATIVE,
    "warm_up_max_requests": _whole(1),
    "requests": _whole(1),
    "seconds": _POSITIVE,
    "trials": _whole(1),
    "check": _table(
        ("kind",),
        kind=_choice(*get_args(CheckKind)),
        expected=_TEXT,
        choices=_either(_TEXT, _several(_TEXT)),
        schema=_JSON_TABLE,
    ),
    "ttft_ms": _POSITIVE,
    "tpot_ms": _POSITIVE,
    "e2e_ms": _POSITIVE,
    "limits": {"type": "object", "additionalProperties": _POSITIVE},
    "preset": _NAME,
}


def json_schema() -> _Schema:
    """The schema of a whole file: every key that is known, and no other."""
    top: dict[str, _Schema] = {}
    for key, field in FIELDS.items():
        section, _, leaf = key.rpartition(".")
        place = top.setdefault(section, _table())["properties"] if section else top
        place[leaf] = _KINDS[field]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "benchsuite workload",
        **_table(REQUIRED, **top),
    }
