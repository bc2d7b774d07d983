"""Answers from a table: what the simulator says where a prompt has a certain text in it."""

import re
from pathlib import Path
from typing import Final

import msgspec

from benchsuite.errors import UsageError

_TOKEN: Final = re.compile(r"\s*\S{1,6}|\s+$")

Script = tuple[tuple[bytes, tuple[str, ...]], ...]
"""Pairs of what stands in a request's body, as bytes, and the tokens of its answer."""


def script(path: str | None) -> Script:
    """The table of a file, a JSON object of text → answer; none without a file. UsageError for a bad one.

    A token is a word, or up to six characters of one, with the blanks before it.
    """
    if path is None:
        return ()
    try:
        table = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, str])
    except OSError as error:
        raise UsageError(f"answers: can't read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UsageError(f"answers: {path} must be a JSON object of text → answer") from None
    return tuple(
        (msgspec.json.encode(text)[1:-1], tuple(_TOKEN.findall(answer))) for text, answer in table.items()
    )


def scripted(table: Script, body: bytes) -> tuple[str, ...]:
    """The tokens of the first answer whose text the body has; empty: of none."""
    return next((tokens for text, tokens in table if text in body), ())
