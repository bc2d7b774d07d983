"""The options of `run` for what requests ask besides text: stream, JSON schema, tools, models by share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchsuite.types import Workload


def on_off(text: str) -> tuple[bool, ...]:
    """`on`, `off` or `on,off` → (True, False)."""
    words = {"on": True, "off": False}
    parts = [part.strip().lower() for part in text.split(",")]
    if len(set(parts)) < len(parts) or not set(parts) <= set(words):
        raise click.BadParameter(f"{text!r} should be on, off or on,off")
    return tuple(words[part] for part in parts)


def shares(text: str) -> dict[str, float]:
    """`a=3,b=1` → {a: 3.0, b: 1.0}; a bare name has a share of 1."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = part.rpartition("=") if "=" in part else (part, "", "1")
        try:
            share = float(amount)
        except ValueError:
            share = 0.0
        if not name.strip() or name.strip() in found or not 0 < share < float("inf"):
            raise click.BadParameter(f"{text!r} should be different models and their shares, such as a=3,b=1")
        found[name.strip()] = share
    return found


def passed_on(workload: "Workload", given: dict[str, Any]) -> "Workload":
    """The workload with what these options say."""
    from benchsuite.workload import schema
    from benchsuite.workload.material import json_file

    said = {
        "stream": given["stream"],
        "json_schema": given["json_schema"] and json_file(Path(given["json_schema"]), "--json-schema"),
        "tools": given["tools"] and json_file(Path(given["tools"]), "--tools"),
        "mix": given["mix"],
    }
    changes = {
        name: schema.read(name, value, f"--{name.replace('_', '-')}")
        for name, value in said.items()
        if value is not None
    }
    return schema.made({**schema.fields_of(workload), **changes}, "") if changes else workload
