"""Synthetic prompts: words that cost what was asked on the server, new for its cache where they should be."""

import math
import random
from collections.abc import Callable, Iterator, Sequence

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Message, Point, Request, Workload
from benchsuite.workload.arrivals import offsets_ns
from benchsuite.workload.draw import Draw, number
from benchsuite.workload.fit import words as all_words

SALT_BITS = 60
"""How unlikely two prompts are to begin alike: one in 2**60, where the prompt is long enough."""

_OFFSETS = 4096


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial whose prompts are made up."""
    point, phase, workload = draw.point, draw.phase, draw.workload
    text = _texts(draw)
    shared_chars = len(shared_prefix(draw))
    return (
        Request(
            index=index,
            phase=phase,
            messages=(Message(role="user", content=text(index)),),
            max_output_tokens=point.output_tokens,
            min_output_tokens=point.output_tokens,
            cache=point.cache,
            due_offset_ns=offset_ns,
            prompt_tokens=point.prompt_tokens,
            shared_chars=shared_chars,
            reasoning=workload.reasoning,
            stream=point.stream,
        )
        for index, offset_ns in enumerate(offsets_ns(draw))
    )


def shared_prefix(draw: Draw) -> str:
    """What all prompts of a point begin with, up to the blank before their own words; empty: nothing.

    It is the same in warm-up and in each trial, so that only the first request finds it uncached.
    """
    workload, point, seed, nonce, lengths = draw.workload, draw.point, draw.seed, draw.nonce, draw.lengths
    if point.cache != "shared" or lengths is None:
        return ""
    words, size = _vocabulary(workload, point, lengths)
    count = min(
        size - 1, max(1, (workload.shared_tokens or point.prompt_tokens // 2) - _overhead(workload, lengths))
    )
    place = f"shared {point.index}"
    salt = _chosen(words, min(count, _salt_size(words)), number(f"salt {seed} {nonce} {place}"))
    body = random.Random(f"words {seed} {place}").choices(words, k=count - len(salt))
    return "".join(f"{word} " for word in (*salt, *body))


def _vocabulary(workload: Workload, point: Point, lengths: Lengths) -> tuple[Sequence[str], int]:
    """The words that prompts are made of, and how many of them a prompt has."""
    overhead = _overhead(workload, lengths)
    size = point.prompt_tokens - overhead
    least = 2 if point.cache == "shared" else 1
    if size < least:
        raise UsageError(
            f"a prompt of {point.prompt_tokens} tokens is too short for this server, "
            f"whose chat template takes {overhead}: ask for {overhead + least} or more"
        )
    return (all_words() if workload.same == "text" else lengths.words), size


def _overhead(workload: Workload, lengths: Lengths) -> int:
    return 0 if workload.same == "text" else lengths.overhead


def _salt_size(words: Sequence[str]) -> int:
    return math.ceil(SALT_BITS / math.log2(max(2, len(words))))


def _texts(draw: Draw) -> Callable[[int], str]:
    """A function from a request's index to its prompt."""
    workload, point, seed, nonce, lengths = draw.workload, draw.point, draw.seed, draw.nonce, draw.lengths
    assert lengths is not None
    words, size = _vocabulary(workload, point, lengths)
    prefix = shared_prefix(draw)
    size -= prefix.count(" ")
    salt_size = min(size, _salt_size(words))
    body_size = size - salt_size
    # Drawing every word of every prompt would be slow: a body is a window of one long draw.
    pool = random.Random(f"words {seed}").choices(words, k=body_size + _OFFSETS)
    warm = point.cache == "warm"
    place = f"{point.index}" if warm else draw.place

    def text(index: int) -> str:
        which = f"{place} {0 if warm else index}"
        start = number(f"body {seed} {which}") % _OFFSETS
        salt = _chosen(words, salt_size, number(f"salt {seed} {nonce} {which}"))
        return prefix + " ".join(salt + pool[start : start + body_size])

    return text


def _chosen(words: Sequence[str], size: int, number: int) -> list[str]:
    """`size` words, chosen by the digits of `number` in base `len(words)`."""
    chosen = []
    for _ in range(size):
        number, place = divmod(number, len(words))
        chosen.append(words[place])
    return chosen
