"""Later turns that quote the server's own answers: encoded by the parent as those answers are spooled.

The texts lie in memory only, and only until their conversation is over.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchsuite.driver import Driver
from benchsuite.engine.decode import answered, decoded
from benchsuite.engine.spec import CALL_HEAD
from benchsuite.engine.spool import SKIPPED, SpoolReader
from benchsuite.engine.turns import NO_REPLY_NS, TURN_HEAD
from benchsuite.types import Request, Tape


class Replies:
    """The later turns of conversations that wait for what the server says; `stem` is the trial's.

    `keep` takes a turn as it was planned, its assistant's messages still empty; `following` gives it with
    what was really said.
    """

    def __init__(self, driver: Driver, stem: str) -> None:
        self._driver = driver
        self._stem = stem
        self._turns: dict[int, Request] = {}
        self._said: defaultdict[int | None, list[str]] = defaultdict(list)
        self._spools: dict[int, _Tail] = {}

    def keep(self, request: Request) -> None:
        """Hold a later turn until the one before it has ended."""
        self._turns[request.index] = request

    def following(self, worker: int, spooled: list[int]) -> Iterator[tuple[Request, bool]]:
        """The turns after some answers that a worker has spooled, and whether they can be sent.

        They can't where an answer failed, or said nothing to be quoted.
        """
        if worker not in self._spools:
            self._spools[worker] = _Tail(Path(f"{self._stem}-{worker}"))
        for tape in self._quoted(self._spools[worker], spooled):
            request = self._turns.pop(tape.index + 1)
            reply = decoded(tape, self._driver)
            said = self._said[request.conversation]
            said.append(reply.said)
            good = answered(tape, reply) and bool(reply.said.strip())
            yield (quoting(request, said) if good else request), good
            if not good or request.turn + 1 == request.turns:
                del self._said[request.conversation]
                for index in range(request.index + 1, request.index + request.turns - request.turn):
                    self._turns.pop(index, None)

    def _quoted(self, tail: "_Tail", spooled: list[int]) -> Iterator[Tape]:
        """The tapes of these answers, which have been written by now."""
        missing = set(spooled)
        for tape in tail.tapes():
            if tape.index in missing:
                missing.discard(tape.index)
                yield tape
            elif tape.error == SKIPPED:
                skipped = self._turns.pop(tape.index, None)
                self._said.pop(None if skipped is None else skipped.conversation, None)
            if not missing:
                return


def quoting(request: Request, said: list[str]) -> Request:
    """The turn with these answers as its assistant's messages, in their order."""
    words = iter(said)
    messages = tuple(
        msgspec.structs.replace(message, content=next(words)) if message.role == "assistant" else message
        for message in request.messages
    )
    return msgspec.structs.replace(request, messages=messages)


def no_reply(request: Request) -> bytes:
    """Tells a worker, as a frame, that a turn won't come, and none after it."""
    head = TURN_HEAD.pack(NO_REPLY_NS, request.turn, request.turns - request.turn - 1)
    return CALL_HEAD.pack(len(head), request.index, -1) + head


class _Tail:
    """Follows one worker's spool, from segment to segment."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._segment = 0
        self._reader = SpoolReader(self._path())

    def _path(self) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{self._segment}")

    def tapes(self) -> Iterator[Tape]:
        """What has been written since the last time, for as long as somebody asks for more."""
        while True:
            found = False
            for tape in self._reader.read():
                found = True
                yield tape
            if not found:
                self._segment += 1
                self._reader = SpoolReader(self._path())
