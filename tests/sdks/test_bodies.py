"""What we send with schemas, tools, images and without a stream is of the types that official SDKs have.

`make sdks` makes the SDKs' environment; without it this test is skipped.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.test_passing import LOOKING, SCHEMA, TALK, TOOLS, body

pytestmark = [pytest.mark.slow]

ASKED = (
    {},
    {"json_schema": json.dumps(SCHEMA)},
    {"tools": TOOLS, "messages": TALK},
    {"tools": TOOLS, "messages": TALK, "cache": "warm"},
    {"messages": LOOKING},
    {"stream": False},
)
DOORS = {
    "chat": ("openai", "chat"),
    "responses": ("openai", "responses"),
    "anthropic": ("anthropic", ""),
    "gemini": ("gemini", ""),
}


def test_the_sdks_types_take_our_bodies(scripts):
    python = scripts.python_of("hosted")
    if python is None:
        pytest.skip("the SDKs' environment 'hosted' isn't there: make sdks")
    bodies = {name: [body(*door, **asks) for asks in ASKED] for name, door in DOORS.items()}

    def faults():
        done = subprocess.run(
            [python, "-I", Path(__file__).parent / "check_bodies.py"],
            input=json.dumps(bodies),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert faults() == []
    # They are looked at: what no SDK knows is found.
    bodies["chat"][0]["messages"] = 3
    bodies["responses"][0]["no_such_field"] = 1
    found = faults()
    assert [fault.partition(":")[0] for fault in found] == ["chat 0", "responses 0"]
