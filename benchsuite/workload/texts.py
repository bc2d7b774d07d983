"""Text of an asked number of tokens: random words, or passages of real prose or code.

Everything follows from names: the same seed, place, nonce and lengths give the same text, to the byte.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from benchsuite.types import Passages, Text
from benchsuite.workload.bodies import longest_tokens
from benchsuite.workload.corpus import CHARS_PER_TOKEN, JOINTS, Cut, Kind, cut, level_for
from benchsuite.workload.draw import Draw, number
from benchsuite.workload.fit import words as all_words

SALT_BITS: Final = 60
"""How unlikely two prompts are to begin alike: one in 2**60, where the prompt is long enough."""

_OFFSETS: Final = 4096


def writing(draw: Draw, nonce: str | None = None) -> Callable[..., str]:
    """A function from a name and a number of tokens to text that costs them where it follows a blank.

    The name and the seed decide its words; it begins with a salt that the nonce (the draw's own unless given)
    decides, too, unless `salted` (the third argument) is false. Where the workload wants the same text on
    every server, words and passages are taken at what they cost about anywhere.
    """
    workload, seed, lengths = draw.workload, draw.seed, draw.lengths
    assert lengths is not None
    same_text = workload.same == "text"
    words = all_words() if same_text else lengths.words
    longest, _ = longest_tokens(workload, None)
    passages = _passages(workload.text, None if same_text else lengths.passages, longest)
    return Writer(words, passages, seed, draw.own_nonce if nonce is None else nonce).write


class Writer:
    """Writes texts of words that cost a token each, and of passages where it has some."""

    def __init__(self, words: Sequence[str], passages: "Counted | None", seed: int, nonce: str) -> None:
        self._words = words
        self._passages = passages
        self._seed = seed
        self._nonce = nonce
        self._salt_size = math.ceil(SALT_BITS / math.log2(max(2, len(words))))
        # Drawing every word of every text would be slow: they are windows of one long draw.
        self._numbers = random.Random(f"words {seed}")
        self._pool = self._numbers.choices(words, k=_OFFSETS)

    def write(self, name: str, tokens: int, salted: bool = True) -> str:
        """A text of `tokens` tokens: salt, passages, and words for what is left."""
        return self.written(name, tokens, salted)[0]

    def written(self, name: str, tokens: int, salted: bool = True) -> tuple[str, int]:
        """The same text, and how many passages it has."""
        salt_size = min(tokens, self._salt_size) if salted else 0
        salt = self._chosen(salt_size, number(f"salt {self._seed} {self._nonce} {name}"))
        place = number(f"body {self._seed} {name}")
        body = tokens - salt_size
        start = place % _OFFSETS
        if self._passages is not None:
            # What a text's first word costs is known of words, not of passages.
            first = salt or self._window(start, 1)
            room = tokens - len(first) - self._passages.frame
            found, cost = self._passages.filling(room, place // _OFFSETS)
            if found:
                rest = self._window(start + 1, room - cost)
                return self._passages.framed(" ".join(first), found, " ".join((self._words[0], *rest))), len(
                    found
                )
        return " ".join((*salt, *self._window(start, body))), 0

    def _chosen(self, size: int, at: int) -> list[str]:
        """`size` words, chosen by the digits of `at` in base of their number."""
        chosen = []
        for _ in range(size):
            at, which = divmod(at, len(self._words))
            chosen.append(self._words[which])
        return chosen

    def _window(self, start: int, size: int) -> list[str]:
        if len(self._pool) < start + size:
            self._pool += self._numbers.choices(self._words, k=start + size - len(self._pool))
        return self._pool[start : start + size]


class Counted:
    """The passages of one kind of text with what each costs, in tokens."""

    def __init__(self, passages: Passages) -> None:
        self._passages = passages
        self._cut: Cut = cut(passages.text, passages.level)
        costs = [max(1.0, cost + passages.joint) for cost in passages.costs]
        self._chunks = list(zip(self._cut.chunks, costs, strict=False))
        self._levels, at = [], len(self._chunks)
        for level in self._cut.levels:
            self._levels.append(list(zip(level, costs[at : at + len(level)], strict=True)))
            at += len(level)
        self._least = min(cost for _, cost in self._chunks)
        self.frame = passages.frame

    def filling(self, room: int, start: int) -> tuple[list[str], int]:
        """Passages that fill `room` tokens as nearly as they can, never more, and what they cost.

        Chunks in a row from one that `start` decides, as far as each still fits, then ever smaller pieces.
        """
        found: list[str] = []
        left = float(room)
        start, at = divmod(start, len(self._chunks))
        size, passed = len(self._chunks), 0
        while passed < size and left >= self._least:
            text, cost = self._chunks[at % size]
            if fits := cost <= left:
                found.append(text)
                left -= cost
            passed = 0 if fits else passed + 1
            at += 1
        for level in reversed(self._levels):
            start, turn = divmod(start, len(level))
            for text, cost in (*level[turn:], *level[:turn]):
                if cost <= left:
                    found.append(text)
                    left -= cost
        return found, room - max(0, math.floor(left + 1e-6))

    def framed(self, first: str, found: Sequence[str], last: str) -> str:
        """The passages joined, between the words before and after them."""
        return JOINTS[self._passages.text].join((first, *found, last))


def _passages(text: Text, counted: Passages | None, longest_tokens: int) -> Counted | None:
    """The passages that texts are made of: as they were counted, else with a guess at what each costs."""
    if text == "random":
        return None
    if counted is None or counted.text != text:
        counted = assumed(text, level_for(text, longest_tokens))
    return Counted(counted)


def assumed(text: Kind, level: int) -> Passages:
    """What passages cost about anywhere, by their length in characters."""
    per_token = CHARS_PER_TOKEN[text]
    costs = tuple(max(1, round(len(passage) / per_token)) for passage in cut(text, level).texts)
    return Passages(text=text, level=level, costs=costs, frame=1)
