"""Calls of any dialect with JSON bodies: headers, keys, bodies, and whole answers as objects."""

from collections.abc import Mapping
from typing import Any

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Call, Tape, Target

ENCODER = msgspec.json.Encoder()


def headers(
    target: Target, accept: str = "application/json", *, key_header: str = "Authorization"
) -> dict[str, str]:
    """The key as a bearer token, or bare in `key_header`; the target's own headers come last and win."""
    found = {"Accept": accept}
    if target.key:
        found[key_header] = f"Bearer {target.key}" if key_header == "Authorization" else target.key
    if target.headers:
        own = {name.lower() for name in target.headers}
        found = {name: value for name, value in found.items() if name.lower() not in own} | target.headers
    return found


def get(target: Target, where: str) -> Call:
    """A GET with the target's key; `where` is a path below the target's URL."""
    return Call(method="GET", path=where, headers=headers(target))


def post(
    target: Target,
    where: str,
    body: Mapping[str, Any],
    *,
    accept: str,
    more: Mapping[str, str] = {},
    key_header: str = "Authorization",
) -> Call:
    """A POST of JSON, the target's `extra_body` merged in; `more` headers stand before the target's own."""
    own = {name.lower() for name in target.headers} if more else ()
    kept = {name: value for name, value in more.items() if name.lower() not in own}
    return Call(
        method="POST",
        path=where,
        headers={
            "Content-Type": "application/json",
            **kept,
            **headers(target, accept, key_header=key_header),
        },
        body=ENCODER.encode(merged(body, target.extra_body) if target.extra_body else body),
    )


def aside(target: Target, where: str, body: Mapping[str, Any] | None = None) -> Call:
    """A POST of JSON, or of nothing, beside the measured ones: without `extra_body`, which is the model's."""
    bare = msgspec.structs.replace(target, extra_body={})
    if body is None:
        return Call(method="POST", path=where, headers=headers(bare))
    return post(bare, where, body, accept="application/json")


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with the fields of `extra`, which win; objects in both are merged, null takes a field away."""
    found = dict(body)
    for name, value in extra.items():
        old = found.get(name)
        if value is None:
            found.pop(name, None)
        else:
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            found[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found


def answer(tape: Tape) -> dict[str, Any]:
    """The JSON object of an answer with status 200; empty where it is anything else."""
    found = said(tape) if tape.status == 200 else None
    return found if isinstance(found, dict) else {}


def said(tape: Tape) -> Any:
    """The JSON value of an answer of any status; None where it is none."""
    try:
        return msgspec.json.decode(tape.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def counted(tape: Tape) -> int | None:
    """The `count` of an answer to `/tokenize`; None: it holds none."""
    count = answer(tape).get("count")
    return count if isinstance(count, int) else None


def checked(options: Mapping[str, str], known: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse values that mean nothing, by each option's known ones: a UsageError."""
    for name, values in known.items():
        if name in options and options[name] not in values:
            raise UsageError(f"--option {name} is {' or '.join(values)}, not {options[name]!r}")


def meaningless(target: Target, name: str, where: str) -> None:
    """Refuse an option that does nothing at this door: a UsageError."""
    if name in target.options:
        raise UsageError(f"--option {name} does nothing at {where}; leave it out")


def greedy(target: Target) -> dict[str, int]:
    """A temperature of 0, or nothing with the option `temperature=none`; a UsageError for another value."""
    said = target.options.get("temperature", "0")
    if said not in ("0", "none"):
        raise UsageError(f"--option temperature is 0 or none, not {said!r}; --extra-body sends any other")
    return {} if said == "none" else {"temperature": 0}


def whole_number(target: Target, name: str) -> int | None:
    """The target's option `name` as a number above 0; None: it wasn't given. A UsageError for other words."""
    value = target.options.get(name)
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or int(value) == 0:
        raise UsageError(f"--option {name} is a whole number above 0, not {value!r}")
    return int(value)
