"""Answers of a given form: JSON that fits a small schema, or the arguments of a tool that is called.

A token of such an answer is up to four characters of it. Known of a schema: type, properties, items, enum,
const, minimum, minItems, anyOf, oneOf, and references into the schema itself.
"""

import re
from typing import Any, Final

import msgspec

from benchsuite.simulator.asked import Refused

_TOKEN: Final = re.compile(r".{1,4}", re.DOTALL)
_DEEPEST: Final = 20


def fitting(schema: Any) -> tuple[str, ...]:
    """The tokens of a JSON text that fits the schema."""
    return _tokens(msgspec.json.encode(_value(schema, schema, 0)).decode())


def called(tools: list[Any] | None) -> tuple[str, tuple[str, ...]]:
    """Name of the first tool, and the tokens of arguments for it; empty where there is none.

    A tool is in the form of OpenAI's chats, of its Responses or of Anthropic.
    """
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            schema = function.get("parameters") or function.get("input_schema") or {"type": "object"}
            return function["name"], fitting(schema)
    return "", ()


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


def _value(schema: Any, root: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Refused("invalid", "the schema is too deep")
    if not isinstance(schema, dict):
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_referred(reference, root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for word in ("anyOf", "oneOf"):
        if isinstance(ways := schema.get(word), list) and ways:
            return _value(ways[0], root, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or (kind is None and "properties" in schema):
        members = schema.get("properties") or {}
        return {name: _value(inner, root, depth + 1) for name, inner in members.items()}
    if kind == "array":
        number = schema.get("minItems", 1)
        return [_value(schema.get("items"), root, depth + 1)] * (number if isinstance(number, int) else 1)
    least = schema.get("minimum", 7)
    plain = {"string": "amber", "integer": least, "number": least, "boolean": True}
    return plain.get(str(kind))


def _referred(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if step and isinstance(found, dict) else found
    return found
