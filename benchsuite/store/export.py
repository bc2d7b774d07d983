"""Records as files for other programs: JSON lines, CSV, Parquet."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec

from benchsuite.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["jsonl", "csv", "parquet"]

PUBLIC_COLUMNS = (
    "request_id",
    "outcome",
    "error_kind",
    "http_status",
    "due_ns",
    "sent_ns",
    "first_byte_ns",
    "first_token_ns",
    "first_output_ns",
    "last_token_ns",
    "end_ns",
    "gaps_us",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
)
"""The columns that come first, in this order; others may follow and may change between versions."""

_ROWS_AT_ONCE = 4_096


def export_records(table: "pa.Table", format: Format, to: Path | BinaryIO) -> None:
    """Write records to a path or a binary stream, public columns first.

    What is absent is null in JSON and Parquet and empty in CSV, where gaps are joined by spaces.
    """
    if isinstance(to, Path):
        with to.open("wb") as stream:
            export_records(table, format, stream)
        return
    rest = [name for name in table.column_names if name not in PUBLIC_COLUMNS]
    ordered = table.select([*PUBLIC_COLUMNS, *rest])
    if format == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(ordered, to, compression="zstd")
    elif format == "jsonl":
        for rows in _batches(ordered):
            to.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    elif format == "csv":
        to.write(_csv_lines([ordered.column_names]))
        for rows in _batches(ordered):
            to.write(_csv_lines([[_cell(value) for value in row.values()] for row in rows]))
    else:
        raise UsageError(f"no format called {format!r}; there are: jsonl, csv, parquet")


def _batches(table: "pa.Table") -> Iterator[list[dict[str, Any]]]:
    """The rows, some thousands at once: Python objects take a hundred times a column's memory."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield batch.to_pylist()


def _csv_lines(rows: list[list[Any]]) -> bytes:
    """Rows as UTF-8, quoted where needed, lines ended by a line feed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """One value as CSV has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value
