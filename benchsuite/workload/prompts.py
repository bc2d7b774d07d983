"""Synthetic prompts: words that cost what was asked on the server, new for its cache where they should be."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Message, Request, Workload
from benchsuite.workload import groups
from benchsuite.workload.arrivals import offsets_ns
from benchsuite.workload.draw import Draw
from benchsuite.workload.drawn import output_lengths, prompt_lengths
from benchsuite.workload.texts import writing

_KEPT = 4096
"""Pieces of prefixes that are kept once they are written."""


class Prompt(NamedTuple):
    """A prompt's text; its first `shared_chars` characters, `shared_tokens` there, are its group's."""

    text: str
    group: int | None = None
    shared_chars: int = 0
    shared_tokens: int | None = None


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial whose prompts are made up."""
    point, phase, workload = draw.point, draw.phase, draw.workload
    prompt = prompting(draw)
    lengths = prompt_lengths(draw, least_tokens(draw)), output_lengths(draw)
    return (
        Request(
            index=index,
            phase=phase,
            messages=(Message(role="user", content=made.text),),
            max_output_tokens=output,
            min_output_tokens=output,
            cache=point.cache,
            due_offset_ns=offset_ns,
            prompt_tokens=tokens,
            reusable_tokens=made.shared_tokens,
            shared_chars=made.shared_chars,
            group=made.group,
            reasoning=workload.reasoning,
            stream=point.stream,
        )
        for index, (offset_ns, tokens, output) in enumerate(zip(offsets_ns(draw), *lengths, strict=False))
        for made in (prompt(index, tokens),)
    )


def prompting(draw: Draw) -> Callable[[int, int], Prompt]:
    """A function from each request's index in turn and its length in tokens to its prompt."""
    point, workload = draw.point, draw.workload
    lengths = draw.lengths
    assert lengths is not None
    overhead = _overhead(workload, lengths)
    _check_room(draw, overhead)
    warm = point.cache == "warm"
    write = writing(draw, draw.nonce if warm else draw.own_nonce)
    prefix, group_of = prefixing(draw), groups.grouping(draw)
    shared_of = groups.sharing(draw, overhead)
    place = f"{point.index}" if warm else draw.place

    def prompt(index: int, tokens: int) -> Prompt:
        which = f"{place} {0 if warm else index}"
        shared = shared_of(tokens)
        if not shared:
            known = 0 if point.cache == "shared" and workload.same == "tokens" else None
            return Prompt(write(which, tokens - overhead), shared_tokens=known)
        group = group_of(index)
        beginning = prefix(group, shared - overhead)
        return Prompt(
            text=beginning + write(which, tokens - shared),
            group=group,
            shared_chars=len(beginning),
            shared_tokens=shared if workload.same == "tokens" else None,
        )

    return prompt


def shared_prefixes(draw: Draw) -> tuple[str, ...]:
    """What the prompts of each group of a point begin with, up to the blank before their own words.

    They are the same in warm-up and in each trial, so that only the first request of a group finds its prefix
    uncached. Empty where nothing is shared.
    """
    workload, point, lengths = draw.workload, draw.point, draw.lengths
    if point.cache != "shared" or lengths is None:
        return ()
    overhead = _overhead(workload, lengths)
    shared = groups.sharing(draw, overhead)(point.prompt_tokens)
    if not shared:
        return ()
    prefix = prefixing(draw)
    return tuple(prefix(group, shared - overhead) for group in range(workload.groups))


def prefixing(draw: Draw) -> Callable[[int, int], str]:
    """A function from a group and a number of tokens to what its prompts begin with, a blank at its end.

    Where prompts share more and less it is made of pieces, so that longer ones begin as shorter ones do.
    """
    write, point = writing(draw, draw.nonce), draw.point
    step = groups.STEP_TOKENS if groups.stepped(draw.workload, point) else 0
    overhead = 0 if draw.lengths is None else _overhead(draw.workload, draw.lengths)

    @lru_cache(maxsize=_KEPT)
    def piece(name: str, tokens: int, salted: bool) -> str:
        return write(name, tokens, salted) + " "

    def prefix(group: int, tokens: int) -> str:
        name = f"shared {point.index} {group}"
        # The first piece goes with the template.
        sizes = [min(tokens, step - overhead % step)] if step else [tokens]
        rest = tokens - sizes[0]
        sizes += [step] * (rest // step if step else 0) + ([rest % step] if step and rest % step else [])
        return "".join(piece(f"{name} {place} {size}", size, not place) for place, size in enumerate(sizes))

    return prefix


def least_tokens(draw: Draw) -> int:
    """Tokens of the shortest prompt that the server's chat template leaves room for."""
    assert draw.lengths is not None
    return _overhead(draw.workload, draw.lengths) + (2 if draw.point.cache == "shared" else 1)


def _check_room(draw: Draw, overhead: int) -> None:
    """Refuse prompts that are shorter than the server's chat template; a trace's are made longer."""
    if draw.workload.trace is not None:
        return
    asked, least = draw.point.prompt_tokens, least_tokens(draw)
    if asked < least:
        raise UsageError(
            f"a prompt of {asked} tokens is too short for this server, "
            f"whose chat template takes {overhead}: ask for {least} or more"
        )


def _overhead(workload: Workload, lengths: Lengths) -> int:
    return 0 if workload.same == "text" else lengths.overhead
