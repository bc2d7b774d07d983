"""Rows of a dataset one by one: JSON lines, a JSON list, CSV, Parquet, or from Hugging Face's package."""

import csv
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError

Row = tuple[str, Mapping[str, Any]]
"""Where it stands, in words (`notes.jsonl, line 3`), and its columns."""

_BATCH_ROWS: Final = 1024
_LONGEST_FIELD: Final = 1 << 30


def rows_of(path: Path, container: str) -> Iterator[Row]:
    """The rows of a file: `csv`, `parquet`, or `json` (lines or one list). A bad one is a UsageError."""
    if container == "parquet":
        return _parquet(path)
    return _csv(path) if container == "csv" else _json(path)


def _json(path: Path) -> Iterator[Row]:
    """An object a line, or one list of objects: its first character tells."""
    with path.open("rb") as file:
        lines = enumerate(file, 1)
        for number, line in lines:
            stripped = line.removeprefix(b"\xef\xbb\xbf").strip()
            if stripped.startswith(b"["):
                yield from _list(path)
                return
            if stripped:
                rest = ((later, one.strip()) for later, one in lines)
                for at, text in chain([(number, stripped)], rest):
                    if text:
                        where = f"{path.name}, line {at}"
                        yield where, _object(text, where)
                return


def _object(text: bytes, where: str) -> Mapping[str, Any]:
    try:
        row = msgspec.json.decode(text)
    except UnicodeDecodeError:
        raise UsageError(f"{where} isn't UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        raise UsageError(f"{where} isn't JSON; a line is one object with its prompt") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where} isn't a JSON object; a line is one object with its prompt")
    return row


def _list(path: Path) -> Iterator[Row]:
    """Each member is decoded by itself: the whole list is there once, as bytes."""
    try:
        raw = msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=list[msgspec.Raw])
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} isn't UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        raise UsageError(
            f"{path.name} isn't JSON: it must be a list of objects, or an object a line"
        ) from None
    for number, one in enumerate(raw, 1):
        where = f"{path.name}, row {number}"
        yield where, _object(bytes(one), where)


def _csv(path: Path) -> Iterator[Row]:
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if not reader.fieldnames:
                return
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise UsageError(f"{where} hasn't as many fields as the header has names")
                yield where, row
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} isn't UTF-8") from None
    except csv.Error:
        raise UsageError(
            f"{path.name}, after line {reader.line_num} isn't CSV: is a quotation mark open?"
        ) from None
    finally:
        csv.field_size_limit(before)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path.name} isn't a whole Parquet file ({type(error).__name__})") from None


def hub_rows(name: str, split: str) -> Iterator[Row]:
    """The rows of a Hugging Face dataset (`hf:owner/name`); its package is loaded here and nowhere else."""
    try:
        import datasets as hub  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UsageError(
            f"dataset hf:{name} takes Hugging Face's package: pip install datasets; "
            "or save it as Parquet or JSON lines and name that file"
        ) from None
    try:
        found = hub.load_dataset(name, split=split or "train")
    except Exception as error:
        # Whatever the package raises, its own words may hold paths and tokens.
        raise UsageError(
            f"dataset hf:{name} can't be loaded, split {split or 'train'} ({type(error).__name__}); "
            "name its split, or save it as a file"
        ) from None
    for number, row in enumerate(found, 1):
        yield f"hf:{name}, row {number}", row


def as_bytes(row: Mapping[str, Any]) -> bytes:
    """A row as bytes that only it has, for a digest where there is no file."""
    return msgspec.json.encode(row, order="sorted", enc_hook=lambda value: type(value).__name__)
