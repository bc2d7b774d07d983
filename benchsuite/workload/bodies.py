"""Request bodies of a file (`--bodies`), sent word for word: what is kept of them, and which goes when."""

import hashlib
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, overload

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Bodies, Listed, Message, Phase, Request, Workload
from benchsuite.workload.arrivals import offsets_ns, warm_up_count
from benchsuite.workload.draw import Draw
from benchsuite.workload.points import growth
from benchsuite.workload.spreads import most as longest

MOST_BYTES: Final = 1 << 30
"""The file is held in memory, and no machine that sends should have to swap."""

_LEAST_BYTES_PER_TOKEN: Final = 2
_GUESSED_OUTPUT: Final = 2048

_MODELS_KEPT: Final = 8


class _Said(msgspec.Struct, gc=False):
    """The members of a body that are looked at; any others may be there."""

    stream: Any = None
    model: Any = None


_OBJECT: Final = msgspec.json.Decoder(_Said)


class Lines(Sequence[bytes]):
    """The bodies of one file, in its order; `facts` is what may be stored of them.

    `unstreamed`: how many of them don't say `"stream": true`. `models`: those that they name, the first few.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._data = data
        self._places = array("Q")
        self.models: set[str] = set()
        self.unstreamed = longest = at = 0
        # Pieces of the whole, not a list of lines: a list would hold the file a second time.
        for number, end in enumerate(_line_ends(data), 1):
            line = data[at:end].strip()
            if line:
                said = _read(line, f"{name}, line {number}")
                self.unstreamed += said.stream is not True
                if isinstance(said.model, str) and len(self.models) < _MODELS_KEPT:
                    self.models.add(said.model)
                longest = max(longest, len(line))
                self._places.extend((at, end))
            at = end + 1
        if not self._places:
            raise UsageError(f"{name} holds no request body; write one JSON object a line")
        digest = hashlib.sha256(data).hexdigest()
        self.facts = Bodies(name=name, number=len(self), sha256=digest, longest_bytes=longest)

    def __len__(self) -> int:
        return len(self._places) // 2

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        at = 2 * (place % len(self))
        start, end = self._places[at : at + 2]
        return self._data[start:end].strip()


def read(path: str) -> Lines:
    """The bodies of a file, one JSON object a line, blank lines skipped; a UsageError names what is wrong."""
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(
                f"--bodies: {file.name} has {size / MOST_BYTES:.1f} GiB, and 1 GiB is the most: "
                f"`head -n 100000 {file.name}` may be enough of it"
            )
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"--bodies: can't read {path}: {error.strerror}") from None
    return Lines(file.name, data)


def replay(workload: Workload, bodies: Bodies) -> Workload:
    """The workload's load and limits, with these bodies in place of prompts and lengths.

    Of listed points their loads are left, each once. UsageError for a trace, which has requests of its own.
    """
    if workload.trace is not None:
        raise UsageError("--bodies: a trace says itself what is sent and when: leave one of them out")
    loads = (Listed(concurrency=one.concurrency, rate=one.rate) for one in workload.listed)
    return msgspec.structs.replace(
        workload,
        name="replay",
        version=1,
        description=f"the bodies of {bodies.name}, word for word",
        prompt_tokens=(0,),
        output_tokens=(0,),
        dataset=None,
        salted=False,
        check=None if workload.dataset is not None else workload.check,
        same="text",
        cache=("cold",),
        shared_tokens=0,
        groups=1,
        zipf=0.0,
        hit_ratio=(),
        listed=tuple(dict.fromkeys(loads)),
        turns=1,
        user_tokens=0,
        think_s=0.0,
        replies="fixed",
        tool_turns=False,
        reasoning="",
        json_schema="",
        tools="",
        extra="",
        mix=(),
        stream=(True,),
        bodies=bodies,
    )


def first_line(workload: Workload, *, phase: Phase, trial: int, count: int) -> int:
    """The line (from 0) that a trial begins with, so that a cache finds as little as can be.

    A trial goes on where the one before ended, or, where time ends it, at its share of the file; warm-up
    takes the last `count` lines.
    """
    number = workload.bodies.number if workload.bodies else 1
    if phase == "warm_up":
        return -count % number
    if workload.requests is not None:
        return (trial - 1) * workload.requests % number
    return (trial - 1) * number // workload.trials


def longest_tokens(workload: Workload, most: int | None) -> tuple[int, int]:
    """Tokens of the longest prompt and the longest answer; of bodies a careful guess, `most` in all."""
    if (trace := workload.trace) is not None:
        # What doesn't fit is left out.
        output = trace.longest_output if most is None else min(trace.longest_output, most // 2)
        prompt = trace.longest_prompt
        return prompt if most is None else min(prompt, most - output), output
    if workload.bodies is None:
        prompts = [*workload.prompt_tokens, *(one.prompt_tokens or 0 for one in workload.listed)]
        outputs = [*workload.output_tokens, *(one.output_tokens or 0 for one in workload.listed)]
        prompt, output = math.ceil(max(map(longest, prompts))), math.ceil(max(map(longest, outputs)))
        prompt += growth(workload, max(outputs, key=longest))
        if (source := workload.dataset) is None:
            return prompt, output
        output = max(output, source.longest_output if 0 in outputs else 0)
        # The longest prompt may be a guess, as of bodies.
        return min(source.longest_prompt, max(1, (most or 2**31) - output)), output
    output = _GUESSED_OUTPUT if most is None else min(_GUESSED_OUTPUT, most // 2)
    prompt = workload.bodies.longest_bytes // _LEAST_BYTES_PER_TOKEN
    return prompt if most is None else min(prompt, most - output), output


def _line_ends(data: bytes) -> Iterator[int]:
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        yield end
        at = end + 1
    yield len(data)


def _read(line: bytes, where: str) -> _Said:
    """What is looked at of a line; the UsageError quotes nothing of it, as it may be somebody's prompt."""
    try:
        line.decode("utf-8")
        return _OBJECT.decode(line)
    except UnicodeDecodeError:
        raise UsageError(f"--bodies: {where} isn't UTF-8") from None
    except msgspec.ValidationError:
        raise UsageError(f"--bodies: {where} isn't a JSON object; a line is one request's body") from None
    except (msgspec.DecodeError, RecursionError):
        raise UsageError(f"--bodies: {where} isn't JSON; a line is one request's body, as {{…}}") from None


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial that sends bodies as they are, from the first again after the last."""
    workload, phase, bodies = draw.workload, draw.phase, draw.material.bodies
    count = warm_up_count(workload, draw.point)
    start = first_line(workload, phase=phase, trial=draw.trial, count=count)
    return (
        Request(
            index=index,
            phase=phase,
            messages=(Message(role="user", content=""),),
            max_output_tokens=1,
            min_output_tokens=1,
            cache=draw.point.cache,
            due_offset_ns=offset_ns,
            body=bodies[(start + index) % len(bodies)],
        )
        for index, offset_ns in enumerate(offsets_ns(draw))
    )
