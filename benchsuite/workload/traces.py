"""Traces: instants and lengths that somebody's users once had, read from files and played again."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Message, Request, Source, Workload
from benchsuite.workload import prompts, replaying
from benchsuite.workload.arrivals import offsets_ns
from benchsuite.workload.draw import Draw, Row
from benchsuite.workload.points import own_instants
from benchsuite.workload.texts import writing
from benchsuite.workload.trace_files import Rows, rows_of

TO_BE_NAMED = "?"
"""Stands for the file in a workload that replays whatever trace one names."""

_KEPT = 4096
"""Blocks of text that are kept once they are written, some 2 kB each."""


def opened(workload: Workload, folder: Path) -> tuple[Workload, Rows]:
    """The workload with the facts of its trace, and the trace's rows; a path counts from `folder`.

    Prompts share what the rows' blocks say where the cache mode is `shared`; where they have none, and no
    other sharing is asked for, every prompt is new. UsageError: the file can't be read, or a row of it.
    """
    trace = workload.trace
    assert trace is not None
    if trace.file == TO_BE_NAMED:
        raise UsageError(f"{workload.name} replays a trace of yours: say which with --trace FILE")
    rows, format, sha256 = rows_of(folder / trace.file, trace.format)
    source = Source(
        file=Path(trace.file).name,
        format=format,
        number=len(rows),
        sha256=sha256,
        blocks=bool(rows[0].blocks),
    )
    workload = msgspec.structs.replace(workload, trace=source)
    asked = replaying.sharing_asked(workload)
    if source.blocks and asked:
        given = " and ".join(asked)
        raise UsageError(
            f"{source.file} says itself which blocks of its prompts are shared: leave {given} out"
        )
    if not source.blocks and not asked and "shared" in workload.cache:
        cache = tuple(dict.fromkeys("cold" if mode == "shared" else mode for mode in workload.cache))
        workload = msgspec.structs.replace(workload, cache=cache)
    return facing(workload, rows), rows


def facing(workload: Workload, rows: Sequence[Row]) -> Workload:
    """The workload with the facts of what a trial sends of `rows`. UsageError: that is nothing."""
    assert workload.trace is not None
    used = replayed(workload, rows)
    if not used:
        raise UsageError("nothing of the trace would be sent: raise --duration or --time-scale")
    span_ns = used[len(used) - 1].at_ns - used[0].at_ns
    source = msgspec.structs.replace(
        workload.trace,
        used=len(used),
        seconds=span_ns / 1e9,
        prompt_tokens=round(sum(row.prompt_tokens for row in used) / len(used), 3),
        output_tokens=round(sum(row.output_tokens for row in used) / len(used), 3),
        longest_prompt=max(row.prompt_tokens for row in used),
        longest_output=max(row.output_tokens for row in used),
    )
    return msgspec.structs.replace(workload, trace=source)


def replayed(workload: Workload, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows that a trial sends: the first that `requests` or `seconds` of the replay leave.

    With a load of its own the workload takes the trace's lengths alone: then `seconds` leave all of them.
    """
    if workload.requests is not None:
        return rows[: workload.requests]
    if workload.seconds is None or workload.rate or workload.concurrency or workload.stages:
        return rows
    end_ns = workload.seconds * workload.time_scale * 1e9
    number = next((i for i, row in enumerate(rows) if row.at_ns - rows[0].at_ns >= end_ns), len(rows))
    return rows[:number]


def without_long(workload: Workload, rows: Rows, context_tokens: int) -> tuple[Workload, Rows]:
    """The trace without the rows that don't fit a context of so many tokens, which are counted.

    UsageError: none fits.
    """
    assert workload.trace is not None
    fits = [i for i, row in enumerate(rows) if row.prompt_tokens + row.output_tokens <= context_tokens]
    if not fits:
        raise UsageError(
            f"no row of {workload.trace.file} fits the server's context of {context_tokens:,} tokens; "
            "start it with more"
        )
    dropped = len(rows) - len(fits)
    if not dropped:
        return workload, rows
    rows = rows.chosen(fits)
    source = msgspec.structs.replace(workload.trace, dropped=dropped)
    return facing(msgspec.structs.replace(workload, trace=source), rows), rows


def too_short(workload: Workload, rows: Sequence[Row], lengths: Lengths) -> int:
    """How many of the rows that are sent have prompts shorter than this server's template and one word."""
    least = 0 if workload.same == "text" else lengths.overhead + 1
    return sum(row.prompt_tokens < least for row in replayed(workload, rows))


def ideal_hits(rows: Sequence[Row]) -> Iterator[int]:
    """For each row, how many of its prompt's tokens a cache of blocks that forgets nothing would hold.

    A block counts together with all before it; a prompt's last token is always computed.
    """
    seen: set[tuple[int, int]] = set()
    for row in rows:
        held, known = 0, True
        for block in blocks_of(row):
            known = known and block in seen
            held += block[1] if known else 0
            seen.add(block)
        yield min(held, row.prompt_tokens - 1)


def ideal_share(rows: Sequence[Row]) -> float:
    """The same as a share of all prompt tokens."""
    return sum(ideal_hits(rows)) / sum(row.prompt_tokens for row in rows)


def blocks_of(row: Row) -> list[tuple[int, int]]:
    """A prompt's blocks as (name, tokens); the last one may be smaller, and is another block then."""
    sizes = [row.block_tokens] * (len(row.blocks) - 1)
    return list(zip(row.blocks, [*sizes, row.prompt_tokens - sum(sizes)], strict=True)) if row.blocks else []


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial that replays a trace.

    Warm-up takes the lengths of the first rows and new text, so that nothing of what is measured is known
    before. Where a load of its own asks for more requests than there are rows, they begin again, with new
    text. A prompt that is shorter than the server's template allows is made as short as can be.
    """
    workload, point = draw.workload, draw.point
    rows = replayed(workload, draw.material.rows)
    if not rows:
        raise UsageError("the trace has no rows to replay")
    least = prompts.least_tokens(draw)
    prompt = _prompting(draw)
    return (
        Request(
            index=index,
            phase=draw.phase,
            messages=(Message(role="user", content=made.text),),
            max_output_tokens=row.output_tokens,
            min_output_tokens=row.output_tokens,
            cache=point.cache,
            due_offset_ns=due_ns,
            prompt_tokens=max(least, row.prompt_tokens),
            reusable_tokens=made.shared_tokens,
            shared_chars=made.shared_chars,
            group=made.group,
            reasoning=workload.reasoning,
            stream=point.stream,
        )
        for index, due_ns in enumerate(_due_ns(draw, rows))
        for row in (rows[index % len(rows)],)
        for made in (prompt(index, index // len(rows), row),)
    )


def _due_ns(draw: Draw, rows: Sequence[Row]) -> Iterator[int | None]:
    """When each request is due: as recorded, divided by the time scale, or as the workload's load says."""
    workload = draw.workload
    if draw.phase == "measure" and own_instants(workload, draw.point):
        first_ns, scale = rows[0].at_ns, workload.time_scale
        return (round((row.at_ns - first_ns) / scale) for row in rows)
    if draw.phase == "measure" and workload.requests is None and workload.seconds is None:
        # A load without an end of its own sends each row once.
        workload = msgspec.structs.replace(workload, requests=len(rows))
        draw = msgspec.structs.replace(draw, workload=workload)
    return offsets_ns(draw)


def _prompting(draw: Draw) -> Callable[[int, int, Row], prompts.Prompt]:
    """A function from a request's index, its round through the trace and its row to its prompt."""
    workload, point, lengths = draw.workload, draw.point, draw.lengths
    assert lengths is not None
    overhead = 0 if workload.same == "text" else lengths.overhead
    if not (workload.trace and workload.trace.blocks and point.cache == "shared"):
        plain = prompts.prompting(draw)
        least = prompts.least_tokens(draw)
        return lambda index, turn, row: plain(index, max(least, row.prompt_tokens))
    write = writing(draw, draw.own_nonce)
    held = ideal_hits(draw.material.rows)
    known: list[int] = []

    @lru_cache(maxsize=_KEPT)
    def block(name: str, tokens: int) -> str:
        return write(name, tokens)

    def prompt(index: int, turn: int, row: Row) -> prompts.Prompt:
        place = f"block {draw.place} {turn}"
        # The template goes with the first block.
        sizes = [
            (name, tokens if at else max(1, tokens - overhead))
            for at, (name, tokens) in enumerate(blocks_of(row))
        ]
        text = " ".join(block(f"{place} {name} {tokens}", tokens) for name, tokens in sizes)
        if not turn:
            known.append(next(held))
        number = known[index % len(known)] if turn else known[index]
        return prompts.Prompt(text, shared_tokens=number if workload.same == "tokens" else None)

    return prompt
