"""What servers say of their own time in headers, under the headers' own names."""

from contextlib import suppress
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
    found: dict[str, float] = {}
    for name, value in tape.headers:
        if name.lower() in HEADERS:
            with suppress(ValueError):
                found[name.lower()] = float(value)
    return found
