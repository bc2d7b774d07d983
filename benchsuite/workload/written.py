"""A workload as the file that says it: `parsed(written(workload))` is the workload again."""

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from benchsuite.types import Check, Limit, Noun, Share, Slo, Workload
from benchsuite.workload.schema import FIELDS, SECTIONS

_FILE_DEFAULTS = {"text": "prose"}
"""Defaults of a file that aren't those of the type."""

_JSON = frozenset({"json_schema", "tools", "extra"})
"""Fields whose text is JSON."""


def written(workload: Workload) -> str:
    """TOML, keys in the order of the reference, those left out that are at their default."""
    values = dict(_values(workload))
    lines = [
        f"{key} = {_toml(value)}" for key, value in values.items() if key not in SECTIONS and "." not in key
    ]
    for section in SECTIONS:
        inside = {
            key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{section}.")
        }
        if inside:
            lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in inside.items())]
    return "\n".join(lines) + "\n"


def _values(workload: Workload) -> Iterator[tuple[str, Any]]:
    """Keys as they stand in a file, with what isn't at its default."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Workload)} | _FILE_DEFAULTS
    defaults["engine"] = {}
    for key, field in FIELDS.items():
        if field in Slo.__struct_fields__:
            value, default = getattr(workload.slo, field), getattr(Slo(), field)
        else:
            value, default = getattr(workload, field), defaults[field]
        # A dataset's cache and a batch's trials have other defaults.
        said = (field == "cache" and workload.salted) or (field == "trials" and workload.batch)
        if said or default is msgspec.NODEFAULT or value != default:
            if field in {"prompt_tokens", "output_tokens"} and value == (0,):
                continue
            yield key, _plain(field, value)


def _plain(field: str, value: Any) -> Any:
    """A field's value as lists, tables, texts and numbers."""
    if isinstance(value, tuple) and value and isinstance(value[0], Limit):
        return {f"{one.metric}_p{one.quantile * 100:.10g}": one.ms for one in value}
    if isinstance(value, tuple) and value and isinstance(value[0], Share):
        return {one.model: one.share for one in value}
    if isinstance(value, Check):
        table = _table(value)
        if "json_schema" in table:
            table["schema"] = table.pop("json_schema")
        return table
    if field in _JSON:
        inline = json.loads(value) if value.startswith(("{", "[")) else None
        # TOML has no null: what holds one stays a text.
        return value if inline is None or _holds_null(inline) else inline
    if isinstance(value, tuple):
        several = [_plain(field, one) for one in value]
        axis = field in {"listed", "stages"} or len(several) != 1
        return several if axis else several[0]
    return _table(value) if isinstance(value, Noun) else value


def _holds_null(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_holds_null, inside))


def _table(noun: Noun) -> dict[str, Any]:
    """The members of a noun that aren't at their default."""
    fields = msgspec.structs.fields(noun)
    return {
        field.name: msgspec.to_builtins(value) if isinstance(value, tuple) else _plain(field.name, value)
        for field in fields
        if (value := getattr(noun, field.name)) != field.default
    }


def _toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return '"inf"' if math.isinf(value) else f"{value!r}"
    return str(value) if isinstance(value, int) else _string(value)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _string(key)


def _string(text: str) -> str:
    """A basic string; JSON's escapes are TOML's, but for the one that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
