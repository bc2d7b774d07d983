"""Real text that ships with the package, cut into passages that join without changing each other's tokens.

Passages of prose begin and end at words, at sentences where one is near, and are joined by a blank; those of
code are whole lines that begin at a line's start, and are joined by an empty line. Between such joints
tokenizers of every kind that was tried cut the text anyway.
"""

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

Kind = Literal["prose", "code"]

SMALLEST_CHARS: Final = 20
"""Characters of the smallest pieces; each level above has twice as many."""

MOST_CHUNKS: Final = 24
"""As many chunks are counted on a server at most, whatever the length of the prompts."""

_LARGEST_LEVEL: Final = {"prose": 10, "code": 9}
_CHUNKS_A_PROMPT: Final = 8
_ALTERNATIVES: Final = (3, 3, 2)
_NEAR: Final = 0.25
"""A sentence's start is near within this share of a passage's length."""

CHARS_PER_TOKEN: Final = {"prose": 4.2, "code": 3.0}
"""About what tokenizers of 100,000 entries and more make of it: 0.75 words of prose a token."""

JOINTS: Final = {"prose": " ", "code": "\n\n"}
"""What stands between two passages."""

_STARTS: Final = {"prose": re.compile(r"""[.!?"]\s|\n"""), "code": re.compile(r"(?:\n|\*/)\n(?=[A-Za-z#])")}
"""A sentence, or a paragraph of code, begins behind these."""

_BREAKS: Final = {"prose": re.compile(r"\s"), "code": re.compile(r"\n(?=[A-Za-z#])")}
"""Where passages may begin at all: some tokenizers take a line's first slash to the line before."""


class Cut(msgspec.Struct, frozen=True):
    """Passages of one kind of text: `chunks` that follow one another, and `levels` of ever larger pieces."""

    chunks: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """All passages, the chunks first."""
        return (*self.chunks, *(piece for level in self.levels for piece in level))


@lru_cache(maxsize=2)
def whole(kind: Kind) -> str:
    """All text of a kind that there is."""
    return files("benchsuite.data").joinpath("corpus", f"{kind}.txt").read_text(encoding="ascii")


def level_for(kind: Kind, tokens: int) -> int:
    """The size of chunks, as a level, that suits prompts of up to so many tokens."""
    wanted = tokens * CHARS_PER_TOKEN[kind] / _CHUNKS_A_PROMPT / SMALLEST_CHARS
    return min(max(1, int(wanted).bit_length() - 1), _LARGEST_LEVEL[kind])


@lru_cache(maxsize=16)
def cut(kind: Kind, level: int) -> Cut:
    """The text as chunks of a level's size, from its beginning, and as pieces of each smaller level."""
    text = whole(kind)
    size = SMALLEST_CHARS << level
    starts, breaks = _places(kind)
    chunks: list[str] = []
    begin = 0
    while len(chunks) < MOST_CHUNKS and begin + size <= len(text):
        end = _near(begin + size, size, starts, breaks)
        if end <= begin:
            end = breaks[bisect_right(breaks, begin)]
        chunks.append(text[begin:end].strip())
        begin = end
    return Cut(chunks=tuple(chunks), levels=tuple(_pieces(kind, at) for at in range(level)))


def _pieces(kind: Kind, level: int) -> tuple[str, ...]:
    """The pieces of one size, from places all over the text that depend on nothing else."""
    text, size = whole(kind), SMALLEST_CHARS << level
    starts, breaks = _places(kind)
    ends = breaks if kind == "prose" else _line_ends()
    found: list[str] = []
    number = 0
    while len(found) < _ALTERNATIVES[min(level, len(_ALTERNATIVES) - 1)]:
        digest = hashlib.sha256(f"{kind} {level} {number}".encode()).digest()
        place = int.from_bytes(digest[:8]) % (len(text) - 2 * size)
        number += 1
        begin = starts[min(bisect_left(starts, place), len(starts) - 2)]
        end = _near(begin + size, size, starts if kind == "prose" else ends, ends)
        piece = text[begin:end].strip()
        if size / 2 <= len(piece) <= 2 * size and piece not in found:
            found.append(piece)
    return tuple(found)


def _near(place: int, size: int, preferred: Sequence[int], possible: Sequence[int]) -> int:
    """The preferred place nearest to `place`, if one is near, else the nearest possible one."""
    best = _nearest(preferred, place)
    return best if abs(best - place) <= _NEAR * size else _nearest(possible, place)


def _nearest(places: Sequence[int], place: int) -> int:
    at = bisect_left(places, place)
    return min(places[max(0, at - 1) : at + 1] or (places[-1],), key=lambda one: abs(one - place))


@lru_cache(maxsize=2)
def _places(kind: Kind) -> tuple[list[int], list[int]]:
    """Where a sentence or a paragraph of code starts, and where a passage may start at all."""
    text = whole(kind)
    found = ([found.end() for found in pattern[kind].finditer(text)] for pattern in (_STARTS, _BREAKS))
    starts, breaks = ([0, *places, len(text)] for places in found)
    return starts, breaks


@lru_cache(maxsize=1)
def _line_ends() -> list[int]:
    """Where lines of code end that aren't empty."""
    return [found.end() for found in re.finditer(r"\S(?=\n)", whole("code"))]
