"""The tool that planned agents call."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

TOOL_NAME: Final = "look_up"
_ARGUMENT: Final = "query"

TOOLS: Final = msgspec.json.encode(
    [
        {
            "type": "function",
            "function": {
                "name": TOOL_NAME,
                "description": "Look something up.",
                "parameters": {
                    "type": "object",
                    "properties": {_ARGUMENT: {"type": "string"}},
                    "required": [_ARGUMENT],
                },
            },
        }
    ]
).decode()
"""What each request of an agent says of its tools, unless the workload has some of its own."""


def first_tool(tools: str) -> tuple[str, str]:
    """The name of the first of some tools (JSON, empty: ours) and of what it is called with.

    That is its first required parameter, or its first; `query` where it names none.
    """
    function = _function(next(iter(msgspec.json.decode(tools or TOOLS)), {}))
    parameters = function.get("parameters") or function.get("input_schema")
    schema = parameters if isinstance(parameters, dict) else {}
    names = [*(schema.get("required") or ()), *(schema.get("properties") or ()), _ARGUMENT]
    return _text(function.get("name")) or TOOL_NAME, names[0]


def named(tool: Mapping[str, Any]) -> str:
    """A tool of any form in a word: its name, else its type."""
    return _text(_function(tool).get("name")) or _text(tool.get("type")) or "without a name"


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a tool says its name: itself, or the function within it."""
    function = tool.get("function")
    return function if isinstance(function, dict) else tool


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
