r"""Values inside decoded JSON, found by a path: `choices.0.delta.content`.

A step is a name, a place in a list (`-1`: its last), or `*` for every member; `.` alone is the whole value,
and `\.` a dot that belongs to a name. What isn't there, or is null, isn't found.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

Steps = tuple[str, ...]

_DOT = re.compile(r"(?<!\\)\.")
_PLACE = re.compile(r"-?[0-9]{1,9}")
_TOO_LARGE = 2**53


def steps(path: str) -> Steps:
    """A path's steps; empty for `.`."""
    return () if path == "." else tuple(part.replace("\\.", ".") for part in _DOT.split(path))


def found(value: Any, path: Steps) -> Iterator[Any]:
    """Everything that the path leads to, in order."""
    if value is None:
        return
    if not path:
        yield value
        return
    first, rest = path[0], path[1:]
    if first == "*":
        inner: Iterable[Any] = ()
        if isinstance(value, list):
            inner = value
        elif isinstance(value, dict):
            inner = value.values()
        for one in inner:
            yield from found(one, rest)
    elif isinstance(value, dict):
        yield from found(value.get(first), rest)
    elif isinstance(value, list) and _PLACE.fullmatch(first):
        place = int(first)
        if -len(value) <= place < len(value):
            yield from found(value[place], rest)


def text(value: Any, paths: Iterable[Steps]) -> str:
    """All texts that the paths lead to, joined; what isn't a text is skipped."""
    return "".join(one for path in paths for one in found(value, path) if isinstance(one, str))


def number(value: Any, path: Steps) -> float | None:
    """The last number that the path leads to; None: there is none, or it is too large to be meant."""
    numbers = [
        one
        for one in found(value, path)
        if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < _TOO_LARGE
    ]
    return numbers[-1] if numbers else None
