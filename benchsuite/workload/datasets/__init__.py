"""Prompts of a file: JSON lines, CSV, Parquet, ShareGPT, OpenAI messages, or a Hugging Face dataset."""

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Message, Request, Source
from benchsuite.workload.arrivals import offsets_ns, warm_up_count
from benchsuite.workload.datasets.files import as_bytes, hub_rows, rows_of
from benchsuite.workload.datasets.rows import NoPromptError, item
from benchsuite.workload.draw import Draw, Item, number
from benchsuite.workload.fit import words

FORMATS: Final = ("jsonl", "json", "csv", "parquet", "sharegpt", "openai", "hf")
"""What `format =` may say; without it a file is what its name and its columns say."""
MOST_BYTES: Final = 1 << 30
"""A file's prompts are held in memory, and no machine that sends should have to swap."""

_HUB: Final = "hf:"
_LEAST_BYTES_PER_TOKEN: Final = 2
_IMAGE_TOKENS: Final = 2048
_SALT_BITS: Final = 60


# ---------------------------------------------------------------- reading


def read(source: Source, folder: Path, *, answers: bool = True) -> tuple[Source, Sequence[Item]]:
    """The items of a dataset and what may be stored of it: its bare name, number, SHA-256, longest lengths.

    `longest_prompt` is a careful guess (two bytes a token) for rows that don't say; `longest_output` is 0 if
    one of them doesn't. A path counts from `folder`. What can't be read is a UsageError of one line that
    names the file and the line, and quotes nothing. `answers` False: the right ones aren't kept.
    """
    if source.format and source.format not in FORMATS:
        raise UsageError(f"dataset: there is no format {source.format!r}; there are: {', '.join(FORMATS)}")
    if source.format == "hf" or source.file.startswith(_HUB):
        return _from_hub(source, answers)
    path = folder / Path(source.file).expanduser()
    shape = source.format if source.format in {"openai", "sharegpt"} else ""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(
                f"dataset: {path.name} has {size / MOST_BYTES:.1f} GiB, and 1 GiB is the most: a part of it "
                "may be enough"
            )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if source.sha256 and sha256 != source.sha256:
            raise UsageError(f"dataset: {path.name} isn't the file that the workload was made with (SHA-256)")
        rows = rows_of(path, _container(source.format, path.suffix.lower()))
        items, dropped = _items(rows, source.column, shape, answers)
    except OSError as error:
        raise UsageError(f"dataset: can't read {path.name}: {error.strerror}") from None
    return _facts(source, path.name, sha256, items, dropped), items


def _items(
    rows: Iterable[tuple[str, Mapping[str, Any]]], column: str, shape: str, answers: bool
) -> tuple[list[Item], int]:
    """The items, and how many conversations without a prompt were left out."""
    items, dropped = [], 0
    for where, row in rows:
        try:
            items.append(item(row, where, column=column, shape=shape, answers=answers))
        except NoPromptError:
            dropped += 1
    return items, dropped


def _container(format: str, suffix: str) -> str:
    """How the file is built, whatever its rows are."""
    if format in {"csv", "parquet"}:
        return format
    known = {".csv": "csv", ".parquet": "parquet"}
    return "json" if format in {"json", "jsonl"} else known.get(suffix, "json")


def _from_hub(source: Source, answers: bool) -> tuple[Source, Sequence[Item]]:
    name, digest = source.file.removeprefix(_HUB), hashlib.sha256()

    def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for where, row in hub_rows(name, source.split):
            digest.update(hashlib.sha256(as_bytes(row)).digest())
            yield where, row

    items, dropped = _items(rows(), source.column, "", answers)
    if source.sha256 and digest.hexdigest() != source.sha256:
        raise UsageError(f"dataset: hf:{name} isn't what the workload was made with (SHA-256 of its rows)")
    return _facts(source, f"{_HUB}{name}", digest.hexdigest(), items, dropped), items


def _facts(source: Source, name: str, sha256: str, items: Sequence[Item], dropped: int) -> Source:
    if not items:
        raise UsageError(f"dataset: {name} has no row{' with a prompt' if dropped else ''}")
    outputs = [one.output_tokens for one in items]
    return msgspec.structs.replace(
        source,
        file=name,
        number=len(items),
        dropped=dropped,
        sha256=sha256,
        longest_prompt=max(map(_prompt_tokens, items)),
        longest_output=max(outputs) if all(outputs) else 0,
    )


def _prompt_tokens(one: Item) -> int:
    """A prompt's tokens, or no fewer than it is likely to have."""
    if one.prompt_tokens:
        return one.prompt_tokens
    size = len(one.tools.encode())
    for message in one.messages:
        size += len(message.content.encode()) + len(message.tool_calls.encode())
        for part in msgspec.json.decode(message.parts) if message.parts else ():
            text = part.get("text")
            size += len(text.encode()) if isinstance(text, str) else _IMAGE_TOKENS * _LEAST_BYTES_PER_TOKEN
    return max(1, size // _LEAST_BYTES_PER_TOKEN)


# ---------------------------------------------------------------- planning


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial whose prompts are a dataset's items, word for word.

    Items come in an order that the seed decides, each once before any comes again (then in a new order), the
    same for every point. A trial goes on where the one before ended or, where time ends it, at its share of
    the items; warm-up takes the last ones. An answer is at most as long as the point or its item says, and
    ends when the model ends it. With `salted` a line of words that the nonce decides precedes each prompt.
    """
    workload, point, items = draw.workload, draw.point, draw.material.items
    if not items:
        raise UsageError("the workload's dataset wasn't read: it goes with its items as material")
    place, salt = _order(draw), _salts(draw)

    def request(index: int, offset_ns: int | None) -> Request:
        which = place(index)
        one = items[which]
        return Request(
            index=index,
            phase=draw.phase,
            messages=_salted(one.messages, salt(index)) if workload.salted else one.messages,
            max_output_tokens=point.output_tokens or one.output_tokens,
            min_output_tokens=1,
            cache=point.cache,
            due_offset_ns=offset_ns,
            prompt_tokens=one.prompt_tokens,
            item=which,
            reasoning=workload.reasoning,
            stream=point.stream,
            tools=one.tools,
        )

    return (request(index, offset_ns) for index, offset_ns in enumerate(offsets_ns(draw)))


def _order(draw: Draw) -> Callable[[int], int]:
    """Which item a request asks, by its index."""
    size, start = len(draw.material.items), _start(draw)
    rounds: dict[int, list[int]] = {}

    def place(index: int) -> int:
        turn, at = divmod(start + index, size)
        if turn not in rounds:
            rounds.clear()
            rounds[turn] = random.Random(f"items {draw.seed} {turn}").sample(range(size), size)
        return rounds[turn][at]

    return place


def _start(draw: Draw) -> int:
    workload, size = draw.workload, len(draw.material.items)
    if draw.phase == "warm_up":
        return -warm_up_count(workload, draw.point) % size
    if workload.requests is not None:
        return (draw.trial - 1) * workload.requests
    return (draw.trial - 1) * size // workload.trials


def _salts(draw: Draw) -> Callable[[int], str]:
    """A few words that no other request of any run begins with."""
    known = words()
    count = math.ceil(_SALT_BITS / math.log2(len(known)))

    def salt(index: int) -> str:
        left = number(f"salt {draw.seed} {draw.own_nonce} {draw.place} {index}")
        chosen = []
        for _ in range(count):
            left, at = divmod(left, len(known))
            chosen.append(known[at])
        return " ".join(chosen)

    return salt


def _salted(messages: Sequence[Message], salt: str) -> tuple[Message, ...]:
    """The same with a line in front of the first message."""
    first, *others = messages
    if first.parts:
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": f"{salt}\n"},
            *msgspec.json.decode(first.parts),
        ]
        return msgspec.structs.replace(first, parts=msgspec.json.encode(parts).decode()), *others
    return msgspec.structs.replace(first, content=f"{salt}\n{first.content}"), *others
