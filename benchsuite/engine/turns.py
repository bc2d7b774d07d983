"""Conversations on a worker's schedule: a turn is due when the one before has ended, plus its think time.

A conversation's calls have successive indexes. Its first turn is a call like any other; its later ones are
held until their instant is known, or come only then, where they quote the server's own answers. In a closed
loop a slot holds a whole conversation, also while nobody types.
"""

import heapq
import struct

from benchsuite.engine.connection import Connection
from benchsuite.engine.schedule import Due, Schedule
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import SKIPPED, Exchange

TURN_HEAD = struct.Struct("<qII")
"""Stands before a call that is a turn: its think time in ns, its turn, and how many turns follow it."""

NO_REPLY_NS = -1
"""In place of a think time: the turn before it brought nothing that could be answered."""

_REFUSED_FROM = 400

_QUOTED_NS = 10_000_000
"""How long a finished exchange waits for a quiet moment where the next prompt quotes it."""

_Waiting = tuple[int, int, bytes]
"""A later turn whose instant is known: due instant, index, the request's bytes."""


class Turns(Schedule):
    """A schedule of conversations.

    `left`: how many turns follow a call. `ahead`: later turns whose turn before hasn't ended, as think time
    and bytes; `awaited`: those that aren't here though it has, with its end. `thinking` and `nearing` are
    heaps of turns whose instant is known, the latter of those that want a connection by now.
    """

    talks = True

    def __init__(self, spec: WorkerSpec) -> None:
        super().__init__(spec)
        self.left: dict[int, int] = {}
        self.ahead: dict[int, tuple[int, bytes]] = {}
        self.awaited: dict[int, int] = {}
        self.dropped: set[int] = set()
        self.thinking: list[_Waiting] = []
        self.nearing: list[_Waiting] = []
        if spec.turns_fd >= 0:
            self.waiting_ns = _QUOTED_NS

    def arrive(self, index: int, offset_ns: int, payload: bytes) -> None:
        """A turn has come, ahead of its time or not."""
        after_ns, turn, left = TURN_HEAD.unpack_from(payload)
        payload = payload[TURN_HEAD.size :]
        if index in self.dropped:
            self.dropped.discard(index)
        elif after_ns == NO_REPLY_NS:
            if (end_ns := self.awaited.pop(index, None)) is not None:
                self.skip(index, left + 1, end_ns)
                super().free(end_ns)
        else:
            self.left[index] = left
            if not turn:
                super().arrive(index, offset_ns, payload)
            elif index in self.awaited:
                heapq.heappush(self.thinking, (self.awaited.pop(index) + after_ns, index, payload))
            else:
                self.ahead[index] = after_ns, payload
                self.ahead_bytes += len(payload)

    def free(self, at_ns: int, ended: Exchange | None = None) -> None:
        """A turn has ended: the next one has an instant, or the conversation's slot is free."""
        left = 0 if ended is None else self.left.pop(ended.index, 0)
        if ended is None or not left:
            super().free(at_ns)
            return
        index = ended.index + 1
        if ended.error or ended.status >= _REFUSED_FROM:
            self.skip(index, left, ended.end_ns)
            super().free(at_ns)
        elif index in self.ahead:
            after_ns, payload = self.ahead.pop(index)
            self.ahead_bytes -= len(payload)
            heapq.heappush(self.thinking, (ended.end_ns + after_ns, index, payload))
        else:
            self.awaited[index] = ended.end_ns

    def quoted(self, ended: list[Exchange]) -> list[int]:
        """Which of these answers the next turn of their conversation waits for."""
        return [exchange.index for exchange in ended if exchange.index + 1 in self.awaited]

    def skip(self, first: int, count: int, end_ns: int) -> None:
        """Give up the rest of a conversation: it is recorded as skipped."""
        for index in range(first, first + count):
            held = self.ahead.pop(index, None)
            if held is None:
                self.dropped.add(index)
            else:
                self.ahead_bytes -= len(held[1])
                del self.left[index]
            exchange = Exchange(index, end_ns)
            exchange.end_ns = end_ns
            exchange.error = SKIPPED
            self.skipped.append(exchange)

    def approach(self, now_ns: int) -> None:
        """Move first and later turns on: those that are near, and those that are due."""
        super().approach(now_ns)
        self.come(now_ns)

    def come(self, now_ns: int) -> None:
        """Move later turns on; once the time for sending is over, conversations end where they are."""
        while self.thinking and self.thinking[0][0] - self.ahead_ns <= now_ns:
            heapq.heappush(self.nearing, heapq.heappop(self.thinking))
        while self.nearing and self.nearing[0][0] <= now_ns:
            due_ns, index, payload = heapq.heappop(self.nearing)
            if not self.over(now_ns):
                self.taken += 1
                self.late.append((index, 0, due_ns, payload))

    def take(self, now_ns: int, connection: Connection | None = None) -> Due | None:
        """As for any calls; a later turn that had to wait for its connection is due when that is open."""
        self.come(now_ns)
        turn = self.closed and bool(self.late)
        call = super().take(now_ns, connection)
        if not turn or call is None or connection is None or connection.served:
            return call
        index, reconnects, due_ns, payload = call
        if not reconnects:
            opening_ns = connection.ready_ns - connection.opened_ns
            due_ns = max(due_ns, min(connection.ready_ns, due_ns + opening_ns))
        return index, reconnects, due_ns, payload

    def exhausted(self, now_ns: int) -> bool:
        """Is there nothing left to send, now or ever?"""
        if self.late:
            return False
        talking = bool(self.thinking or self.nearing or self.awaited) and not self.over(now_ns)
        return not talking and super().exhausted(now_ns)

    def drain(self) -> None:
        """Send nothing new: conversations end with the turn that is under way."""
        super().drain()
        for each in (self.ahead, self.awaited, self.thinking, self.nearing):
            each.clear()
        self.ahead_bytes = 0

    def wanted(self, now_ns: int, busy: int) -> int:
        """How many connections there is a use for, besides the busy ones."""
        soon = 0 if self.over(now_ns) else len(self.nearing)
        return min(super().wanted(now_ns, busy) + soon, self.room(busy))

    def next_ns(self, now_ns: int) -> int:
        """The next instant at which there is something to do; 0: none."""
        times = [super().next_ns(now_ns)]
        if self.nearing:
            times.append(self.nearing[0][0])
        if self.thinking:
            times.append(self.thinking[0][0] - self.ahead_ns)
        return min(filter(None, times), default=0)
