"""What a server that refuses a request says of when to ask again."""

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC
from math import inf
from typing import Final

from benchsuite.engine.spool import Exchange

REFUSED: Final = frozenset({429, 503, 529})
"""Too many requests, or overloaded (529 is Anthropic's word for it)."""

LONGEST_WAIT_S: Final = 60.0
"""No longer wait is granted, whatever a server asks for."""

_NAMES: Final = (("retry-after-ms", 0.001), ("retry-after", 1.0))
_RETRY_INFO: Final = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')
"""Google's RetryInfo, which stands in the body where others have a header."""


def retry_after_s(status: int, headers: Iterable[tuple[str, str]], body: bytes, end_ns: int) -> float | None:
    """Seconds after the end of an answer at which its server wants to be asked again; None: it doesn't say.

    Said in a header, as milliseconds, seconds or a date, or in the body. `end_ns`: when the answer ended,
    for a date of a server that doesn't say what time it has.
    """
    if status < 400:
        return None
    found = {name.lower(): value for name, value in headers}
    for name, unit_s in _NAMES:
        with suppress(KeyError, ValueError):
            seconds = float(found[name]) * unit_s
            if 0 <= seconds < inf:
                return seconds
    at_s = _date_s(found.get("retry-after", ""))
    if at_s is not None:
        now_s = _date_s(found.get("date", ""))
        if now_s is None:
            now_s = time.time() - (time.monotonic_ns() - end_ns) / 1e9
        return max(0.0, at_s - now_s)
    info = _RETRY_INFO.search(body)
    return float(info[1]) if info else None


def _date_s(text: str) -> float | None:
    """An HTTP date as seconds since 1970; None: it is none."""
    if ":" not in text:
        return None
    # A worker imports this when a date comes, which is seldom.
    from email.utils import parsedate_to_datetime

    with suppress(ValueError, OverflowError, IndexError, TypeError):
        date = parsedate_to_datetime(text)
        # Of the three forms of HTTP one names no zone, and means the same.
        return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    return None


def wait_s(status: int, headers: Iterable[tuple[str, str]], body: bytes, end_ns: int) -> float | None:
    """Seconds to wait after an answer, `LONGEST_WAIT_S` at most; None: it is no refusal, or says nothing."""
    return granted_s(status, retry_after_s(status, headers, body, end_ns))


def granted_s(status: int, asked_s: float | None) -> float | None:
    """Seconds that we wait where an answer of this status asked for `asked_s`; None: not at all."""
    return None if asked_s is None or status not in REFUSED else min(asked_s, LONGEST_WAIT_S)


def freed_ns(exchange: Exchange) -> int:
    """From when on an ended exchange's slot may be used again by somebody who does as the server asks."""
    end_ns = exchange.end_ns
    if exchange.status not in REFUSED:
        return end_ns
    words = [word.decode("latin-1") for word in exchange.headers]
    headers = zip(words[::2], words[1::2], strict=True)
    seconds = wait_s(exchange.status, headers, b"".join(exchange.parts), end_ns)
    return end_ns + int((seconds or 0.0) * 1e9)
