"""Conversations: each request is a turn, whose prompt is all that was said before and what the user says now.

The assistant's turns are planned text of the asked length, so that prompts are the same on every server; or
empty, to be filled with the server's own answers as they come. An agent's turns are calls of a tool, answered
by its result. The k-th conversation's requests follow one another.
"""

import random
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import NamedTuple

import msgspec

from benchsuite.types import Lengths, Message, Request, Spread
from benchsuite.workload.agent import first_tool
from benchsuite.workload.arrivals import WARM_UP_TURNS, offsets_ns, warm_up_count, warm_up_most
from benchsuite.workload.draw import Draw
from benchsuite.workload.fit import words as all_words
from benchsuite.workload.prompts import Prompt, least_tokens, prompting
from benchsuite.workload.spreads import drawing, whole
from benchsuite.workload.texts import Writer, writing

WARM_UP_THINK_S = 1.0
"""The longest anybody thinks in warm-up."""


PROBED = 8
"""Words of each message of a probe."""


class Shape(NamedTuple):
    """One conversation as it was drawn: what it is long, and for each turn.

    `outputs` and, from the second turn on, `users` are tokens, `thinks_s` seconds.
    """

    prompt: int
    outputs: tuple[int, ...]
    users: tuple[int, ...]
    thinks_s: tuple[float, ...]


def planned(draw: Draw) -> Iterator[Request]:
    """The requests of a trial whose prompts are conversations, one after another.

    What arrives, and what a slot holds, is a conversation: only its first turn may have an instant of its
    own. The last one has as many turns as there are requests left.
    """
    first = prompting(draw)
    return islice(_requests(draw, first), _most_requests(draw))


def _requests(draw: Draw, first: Callable[[int, int], Prompt]) -> Iterator[Request]:
    most, index = _most_requests(draw), 0
    writer = _Words(draw)
    for number, offset_ns in zip(count(), offsets_ns(draw), strict=False):
        shape = _shape(draw, number, None if most is None else max(1, most - index - _waiting(draw, number)))
        yield from _conversation(draw, number, index, offset_ns, shape, first(number, shape.prompt), writer)
        index += len(shape.outputs)
        if most is not None and index >= most:
            return


def _most_requests(draw: Draw) -> int | None:
    """How many turns a trial has in all; None: time ends it."""
    workload, point = draw.workload, draw.point
    if draw.phase == "measure":
        return workload.requests
    if point.load == "closed" and workload.warm_up_seconds > 0:
        return warm_up_most(workload, point)
    return warm_up_count(workload, point)


def _waiting(draw: Draw, number: int) -> int:
    """How many groups no conversation of the warm-up has begun with yet, once this one has."""
    shares = draw.phase == "warm_up" and draw.point.cache == "shared"
    return max(0, draw.workload.groups - number - 1) if shares else 0


def _shape(draw: Draw, number: int, most: int | None) -> Shape:
    """Draw one conversation; the same for each nonce. With a warm cache all are the same, in every trial."""
    workload, point = draw.workload, draw.point
    warm = point.cache == "warm"
    which = f"{point.index} 0" if warm else f"{draw.place} {number}"
    numbers = random.Random(f"conversation {draw.seed} {which}")

    def one(length: float | Spread) -> Callable[[], int]:
        return whole(length, numbers)

    turns = max(1, one(workload.turns)())
    prompt = max(least_tokens(draw), one(point.prompt_spread or point.prompt_tokens)())
    output, user = one(point.output_spread or point.output_tokens), one(workload.user_tokens)
    think = drawing(workload.think_s, numbers)
    longest_s = float("inf")
    if draw.phase == "warm_up":
        turns, longest_s = (turns if warm else min(turns, WARM_UP_TURNS)), WARM_UP_THINK_S
    turns = turns if most is None else min(turns, most)
    least = _turn_overhead(draw) + 1
    return Shape(
        prompt=prompt,
        outputs=tuple(max(1, output()) for _ in range(turns)),
        users=tuple(max(least, user()) for _ in range(turns - 1)),
        thinks_s=tuple(min(longest_s, max(0.0, think())) for _ in range(turns - 1)),
    )


def _conversation(
    draw: Draw,
    number: int,
    index: int,
    offset_ns: int | None,
    shape: Shape,
    prompt: Prompt,
    words: "_Words",
) -> Iterator[Request]:
    """The turns of one conversation, the first of them request number `index`."""
    point, workload = draw.point, draw.workload
    real, counted = workload.replies == "real", workload.same == "tokens"
    messages: tuple[Message, ...] = (Message(role="user", content=prompt.text),)
    tokens, known = shape.prompt, prompt.shared_tokens
    for turn, output in enumerate(shape.outputs):
        if turn:
            user = shape.users[turn - 1]
            messages += words.exchange(number, turn, shape.outputs[turn - 1], user)
            known = tokens if counted and point.cache != "warm" and not real else None
            tokens += shape.outputs[turn - 1] + user
        yield Request(
            index=index + turn,
            phase=draw.phase,
            messages=messages,
            max_output_tokens=output,
            min_output_tokens=output,
            # A server that forgot at once would be asked for no conversation: its first words are new.
            cache="warm" if point.cache == "cold" else point.cache,
            due_offset_ns=None if turn else offset_ns,
            # How long the server's own answers are when they come back isn't known.
            prompt_tokens=0 if turn and real else tokens,
            reusable_tokens=known,
            shared_chars=prompt.shared_chars,
            # What later turns find is more than their group's prefix.
            group=None if turn else prompt.group,
            conversation=number,
            turn=turn,
            turns=len(shape.outputs),
            after_ns=round(shape.thinks_s[turn - 1] * 1e9) if turn else 0,
            reasoning=workload.reasoning,
            stream=point.stream,
        )


class _Words:
    """What is said between the first prompt and the last answer."""

    def __init__(self, draw: Draw) -> None:
        workload, lengths = draw.workload, draw.lengths
        assert lengths is not None
        self._workload = workload
        self._place = f"{draw.point.index}" if draw.point.cache == "warm" else draw.place
        self._warm = draw.point.cache == "warm"
        self._write = writing(draw)
        self._overhead = _turn_overhead(draw)
        self._reads_calls, self._tool = lengths.reads_calls, first_tool(workload.tools)
        # A call's arguments are JSON, which would escape a text's quotes and line breaks.
        plain = all_words() if workload.same == "text" else lengths.words
        self._write_call = Writer(plain, None, draw.seed, draw.nonce).write

    def exchange(self, number: int, turn: int, reply: int, user: int) -> tuple[Message, Message]:
        """The answer to the turn before, of `reply` tokens, and what is said to it, in `user` tokens.

        What the chat template adds for both counts as the user's.
        """
        name = f"{self._place} {0 if self._warm else number} turn {turn}"
        said = self._write(f"{name} user", user - self._overhead, False)
        if self._workload.tool_turns:
            call = self._write_call(f"{name} call", reply, False)
            return called(call, said, turn, self._reads_calls, self._tool)
        answer = ""
        if self._workload.replies == "fixed":
            answer = self._write(f"{name} assistant", reply, False)
        return Message(role="assistant", content=answer), Message(role="user", content=said)


def called(
    query: str, result: str, turn: int, reads_calls: bool, tool: tuple[str, str]
) -> tuple[Message, Message]:
    """An assistant's call of a tool, by its name and its argument's, and the tool's answer.

    Where the chat template leaves calls out, the assistant says aloud what it looks up.
    """
    # Some chat templates take no name but nine letters and digits.
    name = f"call{turn:05d}"
    title, argument = tool
    arguments = msgspec.json.encode({argument: query if reads_calls else "this"}).decode()
    call = {"id": name, "type": "function", "function": {"name": title, "arguments": arguments}}
    return (
        Message(
            role="assistant",
            content="" if reads_calls else query,
            tool_calls=msgspec.json.encode([call]).decode(),
        ),
        Message(role="tool", content=result, tool_call_id=name),
    )


def probe(
    lengths: Lengths, tool: tuple[str, str] | None, answer_words: int = PROBED
) -> tuple[tuple[Message, ...], int]:
    """A short conversation, and how many words it has: what it costs beyond them is the template's.

    `tool`: the one that the assistant calls; None: it answers.
    """

    def words_from(at: int) -> str:
        return " ".join(lengths.words[at : at + PROBED])

    answer = " ".join(lengths.words[:answer_words])
    first, second, third = said = [words_from(1), answer, words_from(2)]
    if tool:
        later = called(second, third, 1, lengths.reads_calls, tool)
    else:
        later = Message(role="assistant", content=second), Message(role="user", content=third)
    return (Message(role="user", content=first), *later), sum(len(text.split(" ")) for text in said)


def _turn_overhead(draw: Draw) -> int:
    assert draw.lengths is not None
    return 0 if draw.workload.same == "text" else draw.lengths.turn_overhead
