"""What servers say of their own time in headers, under the headers' own names."""

from contextlib import suppress
from functools import lru_cache
from typing import Final

from benchsuite.types import Tape

HEADERS: Final = frozenset(
    {
        # OpenAI; Azure passes it on.
        "openai-processing-ms",
        # Fireworks: of a stream, what is known before it begins (docs.fireworks.ai, read 2026-11-24).
        "fireworks-server-time-to-first-token",
        "fireworks-server-processing-time",
        # LiteLLM (docs.litellm.ai, 2026-10-15).
        "x-litellm-response-duration-ms",
        "x-litellm-overhead-duration-ms",
    }
)


def header_timings(tape: Tape) -> dict[str, float]:
    """Those of the known headers that hold a number; units are the server's."""
    return dict(_timings(tape.headers))


@lru_cache(maxsize=16)
def _timings(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, float], ...]:
    """Most answers of a server have the very same headers."""
    found = []
    for name, value in headers:
        if name.lower() in HEADERS:
            with suppress(ValueError):
                found.append((name.lower(), float(value)))
    return tuple(found)
