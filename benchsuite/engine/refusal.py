"""What a server that refuses a request says of when to ask again."""

from collections.abc import Iterable
from contextlib import suppress
from math import inf
from typing import Final

from benchsuite.engine.spool import Exchange

REFUSED: Final = frozenset({429, 503, 529})
"""Too many requests, or overloaded (529 is Anthropic's word for it)."""

LONGEST_WAIT_S: Final = 60.0
"""No longer wait is granted, whatever a server asks for."""

_NAMES: Final = (("retry-after-ms", 0.001), ("retry-after", 1.0))


def retry_after_s(headers: Iterable[tuple[str, str]]) -> float | None:
    """Seconds after which the server wants to be asked again; None: it doesn't say in seconds."""
    found = {name.lower(): value for name, value in headers}
    for name, unit_s in _NAMES:
        with suppress(KeyError, ValueError):
            seconds = float(found[name]) * unit_s
            if 0 <= seconds < inf:
                return seconds
    return None


def wait_s(status: int, headers: Iterable[tuple[str, str]]) -> float | None:
    """Seconds to wait after an answer, `LONGEST_WAIT_S` at most; None: it is no refusal, or says nothing."""
    if status not in REFUSED:
        return None
    seconds = retry_after_s(headers)
    return None if seconds is None else min(seconds, LONGEST_WAIT_S)


def freed_ns(exchange: Exchange) -> int:
    """From when on an ended exchange's slot may be used again by somebody who does as the server asks."""
    words = [word.decode("latin-1") for word in exchange.headers]
    seconds = wait_s(exchange.status, zip(words[::2], words[1::2], strict=True))
    return exchange.end_ns + int((seconds or 0.0) * 1e9)
