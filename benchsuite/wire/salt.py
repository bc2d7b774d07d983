"""A cold request's own salt, for servers that keep apart what they cache for different salts."""

from typing import Final

from benchsuite.driver import caching
from benchsuite.types import Request

SALT_BYTES: Final = 60
"""How much of a cold prompt's beginning makes its salt; vLLM takes 128 characters, hex has two a byte."""
SALTED: Final = caching(
    "the server's own prefix cache",
    cold="a cache_salt of its own for each request, the chat template salted too",
)
"""How the workload's cache words come true at such a server."""


def cache_salt(request: Request) -> str:
    """The salt that a cold prompt begins with, once more: what comes before it is salted too; else empty."""
    if request.cache != "cold":
        return ""
    return request.messages[-1].content.encode()[:SALT_BYTES].hex() or "0"
