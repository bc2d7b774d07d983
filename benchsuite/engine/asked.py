"""What the plan asked of each request, kept beside the spools so that its record can say it.

One file a trial, `<stem>.asked`: a row of fixed size for each index, written before the call goes out,
so that it survives a crash as the spools do.
"""

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchsuite.errors import BenchsuiteError
from benchsuite.types import Record, Request

NONE: Final = -1
_FIELDS: Final = (
    "asked_prompt_tokens",
    "asked_output_tokens",
    "asked_cached_tokens",
    "conversation",
    "turn",
    "group",
    "item",
)
_ITEM: Final = _FIELDS.index("item")
_ROW: Final = struct.Struct(f"<{len(_FIELDS)}q")


class AskedWriter:
    """Writes the rows of one trial; a context manager."""

    def __init__(self, stem: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._fd = os.open(f"{stem}.asked", flags, 0o600)
        except OSError as error:
            raise BenchsuiteError(f"can't write into the store: {error.strerror}") from error

    def write(self, request: Request) -> None:
        """Keep what one request asks; a length of 0 is one that isn't known."""
        talks = request.conversation is not None
        row = _ROW.pack(
            request.prompt_tokens or NONE,
            request.max_output_tokens if not request.body else NONE,
            NONE if request.reusable_tokens is None else request.reusable_tokens,
            request.conversation if talks else NONE,
            request.turn if talks else NONE,
            NONE if request.group is None else request.group,
            NONE if request.item is None else request.item,
        )
        os.pwrite(self._fd, row, request.index * _ROW.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class Asked:
    """The rows of one trial, to be joined to its records; without the file nothing is known."""

    def __init__(self, stem: Path) -> None:
        path = stem.with_name(f"{stem.name}.asked")
        found: NDArray[np.int64] = (
            np.fromfile(path, dtype="<i8") if path.exists() else np.empty(0, dtype="<i8")
        )
        # A crash may have cut the last row short.
        whole = len(found) - len(found) % len(_FIELDS)
        self._rows = found[:whole].reshape(-1, len(_FIELDS))

    def item(self, index: int) -> int | None:
        """The dataset's item that a request asked; None: none."""
        found = int(self._rows[index, _ITEM]) if index < len(self._rows) else NONE
        return None if found == NONE else found

    def joined(self, record: Record) -> Record:
        """The record with what was asked."""
        if record.index >= len(self._rows):
            return record
        row = zip(_FIELDS, self._rows[record.index].tolist(), strict=True)
        return msgspec.structs.replace(record, **{name: value for name, value in row if value != NONE})
