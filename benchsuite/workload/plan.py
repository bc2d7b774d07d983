"""Plan a trial: the requests it sends, as pure data, the same for the same seed, nonce and lengths."""

import hashlib
import math
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice, repeat, takewhile

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Message, Phase, Point, Request, Workload
from benchsuite.workload.bodies import first_line
from benchsuite.workload.fit import words as all_words

SALT_BITS = 60
"""How unlikely two prompts are to begin alike: one in 2**60, where the prompt is long enough."""

_OFFSETS = 4096
_OFFLINE_WARM_UP = 8


def new_nonce() -> str:
    """16 hex digits that no other run has: what keeps a repeated run from hitting the first one's cache."""
    return secrets.token_hex(8)


def plan(
    workload: Workload,
    point: Point,
    *,
    phase: Phase,
    trial: int,
    seed: int,
    nonce: str,
    lengths: Lengths | None,
    bodies: Sequence[bytes] = (),
) -> Iterator[Request]:
    """The requests of one trial in the order of their index, made as they are taken.

    Measured: exactly the workload's `requests`; or, when it stops by seconds, every arrival of an
    open loop within them and no end of a closed one (take while the clock runs). Warm-up:
    `warm_up_count`, except that a closed loop with warm-up seconds goes on to the workload's
    most. Arrivals and all words but the salt don't depend on `nonce`. A prompt too short for the
    server's chat template is a UsageError, at once. `bodies`: those of `workload.bodies`, which are sent
    instead, from the first again after the last; lengths aren't needed then.
    """
    if bodies:
        return _replayed(workload, point, bodies, phase=phase, trial=trial, seed=seed)
    assert lengths is not None
    text = _texts(workload, point, phase=phase, trial=trial, seed=seed, nonce=nonce, lengths=lengths)
    shared_chars = len(shared_prefix(workload, point, seed=seed, nonce=nonce, lengths=lengths))
    offsets_ns = _offsets_ns(workload, point, phase=phase, trial=trial, seed=seed)
    return (
        Request(
            index=index,
            phase=phase,
            messages=(Message(role="user", content=text(index)),),
            max_output_tokens=point.output_tokens,
            min_output_tokens=point.output_tokens,
            cache=workload.cache,
            due_offset_ns=offset_ns,
            shared_chars=shared_chars,
            reasoning=workload.reasoning,
        )
        for index, offset_ns in enumerate(offsets_ns)
    )


def _replayed(
    workload: Workload, point: Point, bodies: Sequence[bytes], *, phase: Phase, trial: int, seed: int
) -> Iterator[Request]:
    """The same with bodies that are given: what a driver would make of the rest is thrown away."""
    start = first_line(workload, phase=phase, trial=trial, count=warm_up_count(workload, point))
    offsets_ns = _offsets_ns(workload, point, phase=phase, trial=trial, seed=seed)
    return (
        Request(
            index=index,
            phase=phase,
            messages=(Message(role="user", content=""),),
            max_output_tokens=1,
            min_output_tokens=1,
            cache=workload.cache,
            due_offset_ns=offset_ns,
            body=bodies[(start + index) % len(bodies)],
        )
        for index, offset_ns in enumerate(offsets_ns)
    )


def warm_up_count(workload: Workload, point: Point) -> int:
    """How many requests warm a point up, at least, before anything is measured.

    Closed loop: two for each slot. Open loop: the arrivals of two seconds (or of the workload's
    warm-up seconds if longer), four or more. Never more than the workload's cap, except that each
    slot gets one.
    """
    if point.load == "batch-api":
        return 0
    if point.load == "closed":
        wanted = 2 * (point.concurrency or 1)
    elif point.load == "open":
        wanted = max(4, math.ceil((point.rate or 0.0) * max(2.0, workload.warm_up_seconds)))
    else:
        wanted = min(workload.requests or _OFFLINE_WARM_UP, 2 * (point.concurrency or _OFFLINE_WARM_UP // 2))
    return min(wanted, _warm_up_most(workload, point))


def _warm_up_most(workload: Workload, point: Point) -> int:
    return max(workload.warm_up_max_requests, point.concurrency or 0)


def shared_prefix(workload: Workload, point: Point, *, seed: int, nonce: str, lengths: Lengths) -> str:
    """What all prompts of a point begin with, up to the blank before their own words; empty: nothing.

    It is the same in warm-up and in each trial, so that only the first request finds it uncached.
    """
    if workload.cache != "shared":
        return ""
    words, size = _vocabulary(workload, point, lengths)
    count = min(
        size - 1, max(1, (workload.shared_tokens or point.prompt_tokens // 2) - _overhead(workload, lengths))
    )
    place = f"shared {point.index}"
    salt = _chosen(words, min(count, _salt_size(words)), _number(f"salt {seed} {nonce} {place}"))
    body = random.Random(f"words {seed} {place}").choices(words, k=count - len(salt))
    return "".join(f"{word} " for word in (*salt, *body))


def _vocabulary(workload: Workload, point: Point, lengths: Lengths) -> tuple[Sequence[str], int]:
    """The words that prompts are made of, and how many of them a prompt has."""
    overhead = _overhead(workload, lengths)
    size = point.prompt_tokens - overhead
    least = 2 if workload.cache == "shared" else 1
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


def _texts(
    workload: Workload, point: Point, *, phase: Phase, trial: int, seed: int, nonce: str, lengths: Lengths
) -> Callable[[int], str]:
    """A function from a request's index to its prompt."""
    words, size = _vocabulary(workload, point, lengths)
    prefix = shared_prefix(workload, point, seed=seed, nonce=nonce, lengths=lengths)
    size -= prefix.count(" ")
    salt_size = min(size, _salt_size(words))
    body_size = size - salt_size
    # Drawing every word of every prompt would be slow: a body is a window of one long draw.
    pool = random.Random(f"words {seed}").choices(words, k=body_size + _OFFSETS)
    warm = workload.cache == "warm"
    place = f"{point.index}" if warm else f"{point.index} {phase} {trial}"

    def text(index: int) -> str:
        which = f"{place} {0 if warm else index}"
        start = _number(f"body {seed} {which}") % _OFFSETS
        salt = _chosen(words, salt_size, _number(f"salt {seed} {nonce} {which}"))
        return prefix + " ".join(salt + pool[start : start + body_size])

    return text


def _number(name: str) -> int:
    """A whole number below 2**256 that only `name` decides."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest())


def _chosen(words: Sequence[str], size: int, number: int) -> list[str]:
    """`size` words, chosen by the digits of `number` in base `len(words)`."""
    chosen = []
    for _ in range(size):
        number, place = divmod(number, len(words))
        chosen.append(words[place])
    return chosen


def _offsets_ns(
    workload: Workload, point: Point, *, phase: Phase, trial: int, seed: int
) -> Iterator[int | None]:
    """When each request is due, in ns from the trial's start; as many as there are requests."""
    number, until_s = workload.requests, workload.seconds
    if phase == "warm_up":
        goes_on = point.load == "closed" and workload.warm_up_seconds > 0
        number = _warm_up_most(workload, point) if goes_on else warm_up_count(workload, point)
    if point.rate is None:
        return islice(repeat(None), number)
    if point.load == "offline":
        return islice(repeat(0), number)
    if workload.arrivals == "poisson":
        arrivals_ns = _poisson_ns(point.rate, f"arrivals {seed} {point.index} {phase} {trial}")
    else:
        arrivals_ns = _constant_ns(point.rate)
    if number is not None:
        return islice(arrivals_ns, number)
    end_ns = (until_s or 0.0) * 1e9
    return takewhile(lambda offset_ns: offset_ns < end_ns, arrivals_ns)


def _constant_ns(rate: float) -> Iterator[int]:
    return (round(index * 1e9 / rate) for index in count())


def _poisson_ns(rate: float, name: str) -> Iterator[int]:
    draw = random.Random(name)
    offset_s = 0.0
    while True:
        offset_s += draw.expovariate(rate)
        yield round(offset_s * 1e9)
