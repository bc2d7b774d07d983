"""The tool that planned agents call."""

from typing import Final

import msgspec

TOOL_NAME: Final = "look_up"

TOOLS: Final = msgspec.json.encode(
    [
        {
            "type": "function",
            "function": {
                "name": TOOL_NAME,
                "description": "Look something up.",
                "parameters": {
                    "type": "object",
                    "properties": {"query": {"type": "string"}},
                    "required": ["query"],
                },
            },
        }
    ]
).decode()
"""What each request of an agent says of its tools, unless the workload has some of its own."""
