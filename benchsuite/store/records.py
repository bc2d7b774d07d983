"""Records as Parquet: one file a trial, small, quick to write, readable by anything.

Layout: the fields of `types.Record` in their order; instants delta-encoded, words
dictionary-encoded, gaps as `list<int32>`, all of it zstd. The file's metadata carries the schema
version under `benchsuite.schema`.
"""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchsuite.errors import StoreError
from benchsuite.types import SCHEMA, Record

ROW_GROUP = 8_192
"""Records in a row group, unless their gaps and texts pass `_FLUSH_BYTES` before."""

_FLUSH_BYTES = 16 << 20
_VERSION_KEY = b"benchsuite.schema"

_COUNT = pa.int32()
_TYPES: Mapping[str, Any] = {
    "request_id": pa.string(),
    "index": pa.int64(),
    "phase": pa.string(),
    "outcome": pa.string(),
    "error_kind": pa.string(),
    "http_status": _COUNT,
    "due_ns": pa.int64(),
    "sent_ns": pa.int64(),
    "sent_all_ns": pa.int64(),
    "first_byte_ns": pa.int64(),
    "first_token_ns": pa.int64(),
    "first_output_ns": pa.int64(),
    "last_token_ns": pa.int64(),
    "end_ns": pa.int64(),
    "gaps_us": pa.list_(pa.field("element", _COUNT, nullable=False)),
    "prompt_tokens": _COUNT,
    "output_tokens": _COUNT,
    "cached_tokens": _COUNT,
    "reasoning_tokens": _COUNT,
    "streamed_reasoning": pa.bool_(),
    "finish_reason": pa.string(),
    "reads": _COUNT,
    "merged_events": _COUNT,
    "reader_lag_us": pa.int64(),
    "user_stamps": pa.bool_(),
    "reconnects": _COUNT,
    "connect_us": pa.int64(),
    "tls_us": pa.int64(),
    "server_timings": pa.string(),
    "cost_usd": pa.float64(),
    "text": pa.string(),
    "cache_write_tokens": _COUNT,
    "cache_write_1h_tokens": _COUNT,
    "retry_after_s": pa.float64(),
    "asked_prompt_tokens": _COUNT,
    "asked_output_tokens": _COUNT,
    "asked_cached_tokens": _COUNT,
    "conversation": pa.int64(),
    "turn": _COUNT,
    "group": _COUNT,
    "item": pa.int64(),
    "passed": pa.bool_(),
}

_OPTIONAL = frozenset(
    field.encode_name for field in msgspec.structs.fields(Record) if type(None) in get_args(field.type)
)

RECORD_SCHEMA: pa.Schema = pa.schema(
    [pa.field(name, kind, nullable=name in _OPTIONAL) for name, kind in _TYPES.items()],
    metadata={_VERSION_KEY: str(SCHEMA).encode()},
)
"""The Arrow schema of a record file."""

_PLAIN_NAMES = tuple(name for name in _TYPES if name != "gaps_us")
_LAYOUT: Mapping[str, Any] = {
    "compression": "zstd",
    "write_statistics": False,
    "use_dictionary": ["phase", "outcome", "error_kind", "finish_reason", "server_timings"],
    "column_encoding": {
        **{name: "DELTA_BINARY_PACKED" for name, kind in _TYPES.items() if pa.types.is_integer(kind)},
        "gaps_us.list.element": "DELTA_BINARY_PACKED",
        "request_id": "DELTA_BYTE_ARRAY",
    },
}


def gaps_us(arrivals_ns: Sequence[int]) -> list[int]:
    """Microseconds between successive arrivals, rounded so that every partial sum is right to 1 µs."""
    if len(arrivals_ns) < 2:
        return []
    first = arrivals_ns[0] - 500
    whole = [(arrival - first) // 1000 for arrival in arrivals_ns]
    return [later - earlier for earlier, later in pairwise(whole)]


_LONGEST_GAP_US = 2**31 - 1


class _Buffer:
    """Records waiting for their row group; gaps lie flat, as Python ints they'd be most of the memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.bytes = 0
        self._row = attrgetter(*_PLAIN_NAMES)
        self._gaps = array("i")
        self._ends = array("i", [0])

    def add(self, record: Record) -> None:
        self.rows.append(self._row(record))
        try:
            gaps = array("i", record.gaps_us)
        except OverflowError:
            # Half an hour between two tokens: longer is told as that.
            gaps = array("i", (min(gap, _LONGEST_GAP_US) for gap in record.gaps_us))
        self._gaps.extend(gaps)
        self._ends.append(len(self._gaps))
        self.bytes += 4 * len(record.gaps_us) + (len(record.text) if record.text else 0)

    def batch(self) -> pa.RecordBatch:
        """All that was added, at least one record."""
        values = dict(zip(_PLAIN_NAMES, zip(*self.rows, strict=True), strict=True))
        flat: Any = pa.array(np.array(self._gaps, dtype=np.int32))
        ends: Any = pa.array(np.array(self._ends, dtype=np.int32))
        gaps = pa.ListArray.from_arrays(ends, flat, type=_TYPES["gaps_us"])
        columns: list[Any] = [
            gaps if name == "gaps_us" else pa.array(values[name], type=kind) for name, kind in _TYPES.items()
        ]
        return pa.record_batch(columns, schema=RECORD_SCHEMA)


class RecordWriter:
    """Writes one trial's records; the file has its name only once it is complete.

    A context manager: a clean exit closes and renames `<name>.tmp`, an exception removes it. At
    most one row group is in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tmp = path.with_name(path.name + ".tmp")
        self._buffer = _Buffer()
        self._writer = pq.ParquetWriter(self._tmp, RECORD_SCHEMA, **_LAYOUT)

    def write(self, record: Record) -> None:
        """Keep one record; it reaches the file with its row group."""
        self._buffer.add(record)
        if len(self._buffer.rows) >= ROW_GROUP or self._buffer.bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._buffer.rows:
            self._writer.write_batch(self._buffer.batch())
            self._buffer = _Buffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                with self._tmp.open("rb") as file:
                    os.fsync(file.fileno())
                self._tmp.replace(self._path)
        finally:
            self._tmp.unlink(missing_ok=True)


def table_of(records: Iterable[Record]) -> pa.Table:
    """Records in memory as the table that reading them back would give."""
    buffer = _Buffer()
    for record in records:
        buffer.add(record)
    return pa.Table.from_batches([buffer.batch()] if buffer.rows else [], schema=RECORD_SCHEMA)


def judged(table: pa.Table) -> pa.Table:
    """A trial's records without those that fill the server before a level of a search, which are warm-up."""
    return table.filter(table.column("phase").to_numpy() == "measure")


def placed(table: pa.Table, point: int, trial: int) -> pa.Table:
    """A trial's records with the columns that say where they belong."""
    for name, value in (("point", point), ("trial", trial)):
        column: Any = pa.repeat(pa.scalar(value, pa.int32()), table.num_rows)
        table = table.append_column(name, column)
    return table


def read_records(paths: Iterable[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Record files as one table, in the order of `paths`; `columns` None: all of them.

    Raises `StoreError` for a file that is damaged, is no record file, or is newer than this version.
    """
    tables = [_read(path, columns) for path in paths]
    if tables:
        return pa.concat_tables(tables)
    empty = RECORD_SCHEMA.empty_table()
    return empty if columns is None else empty.select(list(columns))


def _updated(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """A table of an earlier version with the columns that came later, all null, each in its place."""
    wanted = RECORD_SCHEMA.names if columns is None else list(columns)
    for name in wanted:
        if name not in table.column_names and name in _OPTIONAL:
            field = RECORD_SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select([name for name in wanted if name in table.column_names])


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """One file, its version checked."""
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.schema_arrow.metadata or {}
            version = int(metadata.get(_VERSION_KEY, b"0"))
            if not version:
                raise StoreError(f"{path} holds no benchsuite records; move it out of the store")
            if version > SCHEMA:
                raise StoreError(
                    f"{path} has store schema {version}, this version reads up to {SCHEMA}: upgrade it"
                )
            table = _updated(file.read(columns=None if columns is None else list(columns)), columns)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; copy it back from where the run was made") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"{path} is damaged ({reason}); copy it again or leave that trial out") from error
    return table
