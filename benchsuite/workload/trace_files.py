"""Trace files as people publish them: which format one has, and its rows in the order of their time."""

import csv
import gzip
import hashlib
import io
import math
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, overload

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Noun
from benchsuite.workload.draw import Row

BLOCK_TOKENS: Final = 512
"""Tokens of a block that one of Mooncake's hash ids stands for."""

_LONGEST: Final = 2**31 - 1
_MOST_NS: Final = 2**62
"""Two centuries from 1970 are in it, and the difference of two of them fits 64 bits."""
_UNITS: Final = MappingProxyType({1_000_000_000: ("s", "ms"), 1_000_000: ("ms", "µs"), 1: ("ns", "ps")})
"""The unit of a time by its ns, and the next finer one, with which it may have been mistaken."""


class Format(Noun, frozen=True, kw_only=True):
    """The columns of one kind of trace; of alternatives the first that there is. `unit_ns`: of a time."""

    time: str
    prompt: tuple[str, ...]
    output: tuple[str, ...]
    unit_ns: int = 1_000_000_000
    blocks: str = ""
    means: str = ""


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "azure": Format(
            time="TIMESTAMP",
            prompt=("ContextTokens",),
            output=("GeneratedTokens",),
            means="Azure's LLM inference traces of 2023 and 2024",
        ),
        "burstgpt": Format(
            time="Timestamp",
            prompt=("Request tokens",),
            output=("Response tokens",),
            means="BurstGPT; time in seconds",
        ),
        "mooncake": Format(
            time="timestamp",
            prompt=("input_length",),
            output=("output_length",),
            unit_ns=1_000_000,
            blocks="hash_ids",
            means="Mooncake; time in ms, an id for each 512 tokens of the prompt",
        ),
        "records": Format(
            time="due_ns",
            prompt=("prompt_tokens", "asked_prompt_tokens"),
            output=("output_tokens", "asked_output_tokens"),
            unit_ns=1,
            means="what `benchsuite show RUN --format csv` writes",
        ),
        "lengths": Format(
            time="timestamp",
            prompt=("input_length", "prompt_tokens"),
            output=("output_length", "output_tokens"),
            means="a time in seconds or ISO 8601, and two lengths",
        ),
    }
)
"""What can be read, by its name; of several that fit, the first is meant."""


class Rows(Sequence[Row]):
    """Rows in little memory: 24 bytes each, and its block ids where it has some."""

    def __init__(
        self,
        at_ns: Sequence[int],
        prompts: Sequence[int],
        outputs: Sequence[int],
        blocks: Sequence[Sequence[int]] = (),
    ) -> None:
        self._at_ns, self._prompts, self._outputs = at_ns, prompts, outputs
        self._blocks = blocks

    def __len__(self) -> int:
        return len(self._at_ns)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "Row | Rows":
        if isinstance(index, slice):
            return Rows(self._at_ns[index], self._prompts[index], self._outputs[index], self._blocks[index])
        return Row(
            at_ns=self._at_ns[index],
            prompt_tokens=self._prompts[index],
            output_tokens=self._outputs[index],
            blocks=tuple(self._blocks[index]) if self._blocks else (),
            block_tokens=BLOCK_TOKENS if self._blocks else 0,
        )

    def chosen(self, indexes: Sequence[int]) -> "Rows":
        """Some of them, in the order of `indexes`."""
        at_ns, prompts, outputs = (
            array("q", map(part.__getitem__, indexes)) for part in (self._at_ns, self._prompts, self._outputs)
        )
        blocks = [self._blocks[index] for index in indexes] if self._blocks else ()
        return Rows(at_ns, prompts, outputs, blocks)

    def in_order(self) -> "Rows":
        """By time, those of one instant as they stand, and the first at 0."""
        if any(later < earlier for earlier, later in pairwise(self._at_ns)):
            return self.chosen(sorted(range(len(self)), key=self._at_ns.__getitem__)).in_order()
        first = self._at_ns[0]
        return Rows(
            array("q", (at - first for at in self._at_ns)), self._prompts, self._outputs, self._blocks
        )


def rows_of(path: Path, format: str = "") -> tuple[Rows, str, str]:
    """The rows of a trace file by time, the name of its format, and the file's SHA-256 in hex.

    CSV, JSON lines or Parquet, gzipped or not; empty `format`: seen from the columns. A file that can't be
    read, or a row that isn't what it should be, is a UsageError that names the file and the line.
    """
    if format and format not in FORMATS:
        raise UsageError(f"no trace format {format!r}; there are: {', '.join(FORMATS)}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read the trace {path.name}: {error.strerror}") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise UsageError(
                f"the trace {path.name} isn't whole: its gzip is damaged or ends early"
            ) from None
    lines = _lines(data, path.name)
    number, first = next(lines, (0, {}))
    if not number:
        raise UsageError(f"the trace {path.name} has no rows")
    name = format or _seen(first, path.name)
    reading = _Reading(FORMATS[name], first, path.name)
    reading.take(number, first)
    for number, line in lines:
        reading.take(number, line)
    return reading.rows(), name, sha256


class _Reading:
    """Takes rows as they come, each a mapping of column to value."""

    def __init__(self, format: Format, first: Mapping[str, Any], file: str) -> None:
        self._file = file
        self._format = format
        self._time = _time(format.unit_ns)
        self._at_ns, self._prompts, self._outputs = array("q"), array("q"), array("q")
        self._blocks: list[Sequence[int]] = []
        for columns in ((format.time,), format.prompt, format.output):
            if first and not set(columns) & first.keys():
                wanted = " or ".join(columns)
                raise UsageError(f"the trace {file} has no column {wanted}; its format has: {format.means}")

    def take(self, number: int, line: Mapping[str, Any]) -> None:
        """Keep one row; of our own records none of a warm-up."""
        if line.get("phase") == "warm_up":
            return
        form = self._format
        try:
            self._at_ns.append(self._time(line.get(form.time)))
            # A failed request of BurstGPT has no output: the least that can be asked is one token.
            self._prompts.append(max(1, _tokens(line, form.prompt)))
            self._outputs.append(max(1, _tokens(line, form.output)))
            if form.blocks:
                self._blocks.append(_ids(line.get(form.blocks), self._prompts[-1]))
        except (ValueError, OverflowError) as error:
            raise UsageError(f"the trace {self._file}, line {number}: {error}") from None

    def rows(self) -> Rows:
        """All of them in order; UsageError: there are none."""
        if not self._at_ns:
            raise UsageError(f"the trace {self._file} has no rows")
        return Rows(self._at_ns, self._prompts, self._outputs, self._blocks).in_order()


def _seen(first: Mapping[str, Any], file: str) -> str:
    """The format whose columns the first row has."""
    for name, form in FORMATS.items():
        needed = [(form.time,), form.prompt, form.output, *([(form.blocks,)] if form.blocks else [])]
        if all(set(columns) & first.keys() for columns in needed):
            return name
    has = ", ".join(map(str, first)) or "none"
    raise UsageError(
        f"the trace {file} has columns that no known format has ({has[:120]}); "
        f"rename them to timestamp, prompt_tokens, output_tokens, or give its format: {', '.join(FORMATS)}"
    )


# ---------------------------------------------------------------- lines


def _lines(data: bytes, file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The file's rows with the number of their line (of their row in Parquet), from 1."""
    if data[:4] == b"PAR1":
        yield from enumerate(_parquet(data, file), 1)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"the trace {file} isn't UTF-8 text, Parquet or gzip") from None
    if text.lstrip()[:1] == "[":
        raise UsageError(f"the trace {file} is one JSON array: write each of its rows as a line of its own")
    if text.lstrip()[:1] == "{":
        yield from _json_lines(text, file)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UsageError(f"the trace {file}, line {reader.line_num}: not as many values as columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"the trace {file}, line {reader.line_num}: {error}") from None


def _json_lines(text: str, file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            yield number, decoder.decode(line)
        except msgspec.DecodeError:
            raise UsageError(f"the trace {file}, line {number}: it isn't a JSON object") from None


def _parquet(data: bytes, file: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {name for form in FORMATS.values() for name in (form.time, *form.prompt, *form.output)}
    try:
        source = pq.ParquetFile(io.BytesIO(data))
        some = [name for name in source.schema_arrow.names if name in known | {"phase", "hash_ids"}]
        for batch in source.iter_batches(columns=some):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise UsageError(f"the trace {file} can't be read as Parquet: {error}") from None


# ---------------------------------------------------------------- values


def _time(unit_ns: int) -> Callable[[object], int]:
    """How a time is read, as whole nanoseconds from some beginning."""

    def read(value: object) -> int:
        if isinstance(value, datetime):
            whole = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int(whole.timestamp()) * 1_000_000_000 + whole.microsecond * 1000
        if isinstance(value, str):
            text = value.strip()
            try:
                value = int(text) if text.lstrip("-").isdigit() else float(text)
            except ValueError:
                return _iso_ns(text)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{_shown(value)} isn't a time")
        found = value * unit_ns if isinstance(value, int) else round(value * unit_ns)
        if abs(found) > _MOST_NS:
            unit, finer = _UNITS[unit_ns]
            raise ValueError(
                f"{_shown(value)} is too large for a time in {unit}; if it is in {finer}, divide it"
            )
        return found

    return read


def _iso_ns(text: str) -> int:
    """ISO 8601, whose fraction may have more digits than Python keeps."""
    # ISO allows a comma there, and logs have it.
    head, dot, tail = text.strip().replace(",", ".").partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(head + tail[len(digits) :] if dot else head)
    except ValueError:
        raise ValueError(f"{_shown(text)} isn't a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0"))


def _tokens(line: Mapping[str, Any], columns: Iterable[str]) -> int:
    """A length: the first of some columns that isn't empty."""
    value = next((line[name] for name in columns if line.get(name) not in (None, "")), None)
    try:
        found = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = -1
    if not 0 <= found <= _LONGEST:
        raise ValueError(f"{_shown(value)} isn't a number of tokens ({' or '.join(columns)})")
    return found


def _ids(value: object, prompt_tokens: int) -> Sequence[int]:
    """The ids of a prompt's blocks, as many as its tokens make."""
    if isinstance(value, str):
        value = msgspec.json.decode(value.encode())
    if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
        raise ValueError(f"{_shown(value)} isn't a list of block ids (hash_ids)")
    needed = -(-prompt_tokens // BLOCK_TOKENS)
    if len(value) != needed:
        raise ValueError(
            f"a prompt of {prompt_tokens} tokens has {needed} blocks of {BLOCK_TOKENS}, not {len(value)}"
        )
    return array("q", value)


def _shown(value: object) -> str:
    """A value as an error may quote it."""
    return "nothing" if value in (None, "") else repr(value)[:40]
