"""The tool that planned agents call."""

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
    first: dict[str, Any] = next(iter(msgspec.json.decode(tools or TOOLS)), {})
    function = first.get("function", first)
    parameters = function.get("parameters") or function.get("input_schema") or {}
    names = [*(parameters.get("required") or ()), *(parameters.get("properties") or ()), _ARGUMENT]
    return function.get("name") or TOOL_NAME, names[0]
