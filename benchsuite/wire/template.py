"""Texts with placeholders, as `{prompt}`, filled in inside decoded JSON, so that quoting is always right.

A text that is one placeholder and nothing else takes the value as it is, a number as a number; within a
longer text the value is written out. `{{prompt}}` stands for the word in braces itself.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from benchsuite.errors import UsageError

_WHOLE = MappingProxyType({"messages": "a list", "tools": "a list", "json_schema": "an object"})
"""Placeholders whose values can't stand within a longer text."""

_PLACEHOLDER = re.compile(r"\{\{([a-z_]+)\}\}|\{([a-z_]+)\}")


def placeholders(value: Any) -> Iterator[str]:
    """Names of all placeholders in a value, as often as they are there."""
    if isinstance(value, str):
        yield from (match[2] for match in _PLACEHOLDER.finditer(value) if match[2])
    elif isinstance(value, list):
        for inner in value:
            yield from placeholders(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from placeholders(inner)


def check(value: Any, known: tuple[str, ...], where: str, path: str = "") -> None:
    """A UsageError that begins with `where` and the place in it, for a placeholder that isn't known."""
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in members:
            check(inner, known, where, f"{path}.{name}".lstrip("."))
        return
    for name in placeholders(value):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            there = ", ".join(f"{{{one}}}" for one in known)
            hint = f"did you mean {{{near[0]}}}?" if near else f"there are: {there}"
            place = f"{where} {path}".rstrip()
            raise UsageError(
                f"{place}: unknown placeholder {{{name}}}; {hint} ({{{{{name}}}}} is the word itself)"
            )
        if name in _WHOLE and value != f"{{{name}}}":
            raise UsageError(
                f'{where} {path}: {{{name}}} is {_WHOLE[name]}: it has to stand alone, as "{{{name}}}"'
            )


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with its placeholders filled in; a member whose only placeholder is None is left out."""
    if isinstance(value, str):
        return _text(value, values)
    if isinstance(value, list):
        return [filled(inner, values) for inner in value]
    if isinstance(value, dict):
        members = ((name, inner, filled(inner, values)) for name, inner in value.items())
        return {name: made for name, inner, made in members if made is not None or inner is None}
    return value


def _text(text: str, values: Mapping[str, Any]) -> Any:
    match = _PLACEHOLDER.fullmatch(text)
    if match and match[2]:
        return values[match[2]]
    return _PLACEHOLDER.sub(lambda one: f"{{{one[1]}}}" if one[1] else _word(values[one[2]]), text)


def _word(value: Any) -> str:
    """A value within a longer text, as JSON writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
