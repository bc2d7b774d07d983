"""Answers that were not streamed: one JSON value, or what there is of it."""

from typing import TypeVar

import msgspec

from benchsuite.types import Reply, Tape

T = TypeVar("T")


def is_whole(tape: Tape) -> bool:
    """Is it one JSON object instead of a stream?"""
    return tape.body.lstrip().startswith(b"{")


def decode(tape: Tape, decoder: "msgspec.json.Decoder[T]", dialect: str) -> T | Reply:
    """The answer; a Reply instead where it can't be read: empty if it was cut short, else an error."""
    try:
        return decoder.decode(tape.body)
    except (msgspec.ValidationError, RecursionError):
        return Reply(error_kind="protocol", error_message=f"the answer is not of {dialect}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Reply()
