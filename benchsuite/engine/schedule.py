"""What a worker sends when: pure bookkeeping of calls, due instants and slots; it owns no socket."""

import heapq
from collections import deque

from benchsuite.engine.connection import Connection
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import Exchange
from benchsuite.types import AHEAD_NS

WAITING_NS = 300_000_000
"""Finished exchanges are handed over even if something is always ready once they have waited this long."""

Planned = tuple[int, int, bytes]
"""A call as it comes: index, due offset in ns (-1: closed loop), the request's bytes."""
Due = tuple[int, int, int, bytes]
"""A call to send: index, reconnects so far, due instant, the request's bytes."""


class Schedule:
    """Calls and when they may go: as slots get free (closed loop), or at instants of their own.

    `calls` are to come, `near` those of an open loop that want a connection soon, `late` those that
    only wait for one. `free_slots` is a heap: the instants since (or from) which slots are free. `held` slots
    exist, `target` are wanted: those beyond it go away when they are free. `skipped`: never to be sent, and
    to be recorded so; `ahead_bytes` of calls are held beside `calls`. `ahead_ns`: how long before a call is
    due its connection is opened.
    """

    talks = False
    """Are calls turns of conversations? (`engine.turns`)"""

    waiting_ns = WAITING_NS

    def __init__(self, spec: WorkerSpec) -> None:
        self.closed = spec.loop == "closed"
        self.slots = spec.slots
        self.seconds = spec.seconds if self.closed else None
        self.least = spec.least
        self.taken = 0
        self.calls: deque[Planned] = deque()
        self.calls_ended = False
        self.ahead_bytes = 0
        self.ahead_ns = AHEAD_NS[0]
        self.skipped: list[Exchange] = []
        self.near: deque[Planned] = deque()
        self.late: deque[Due] = deque()
        self.free_slots: list[int] = []
        self.slot_times = deque(spec.slot_times)
        self.held = self.target = self.slots or 1
        self.start_ns = 0
        self.stop_sending_ns = 1 << 62
        self.draining = False

    def begin(self, start_ns: int) -> None:
        """Start the clock."""
        self.start_ns = start_ns
        if self.seconds is not None:
            self.stop_sending_ns = start_ns + int(self.seconds * 1e9)
        if self.closed:
            if self.slot_times:
                self.held = self.target = self.slot_times.popleft()[1]
            self.free_slots = [start_ns] * self.held

    def arrive(self, index: int, offset_ns: int, payload: bytes) -> None:
        """A call has come."""
        self.calls.append((index, offset_ns, payload))

    def opened(self, opening_ns: int) -> None:
        """A connection took so long to open: others will too, so they are begun twice as long ahead."""
        self.ahead_ns = max(self.ahead_ns, min(2 * opening_ns, AHEAD_NS[1]))

    def over(self, now_ns: int) -> bool:
        """Is the time for sending up, and have enough been sent?"""
        return self.draining or (now_ns >= self.stop_sending_ns and self.taken >= self.least)

    def exhausted(self, now_ns: int) -> bool:
        """Is there nothing left to send, now or ever?"""
        if self.late:
            return False
        return self.over(now_ns) or (self.calls_ended and not self.calls and not self.near)

    def drain(self) -> None:
        """Send nothing new; a call that a lost connection took with it still gets its second try."""
        self.draining = True
        self.calls.clear()
        self.near.clear()
        self.late = deque(call for call in self.late if call[1])

    def approach(self, now_ns: int) -> None:
        """Move an open loop's calls on: those that are near, and those that are due."""
        start_ns, over = self.start_ns, self.over(now_ns)
        if self.closed:
            self.follow(now_ns)
            return
        while self.calls and start_ns + self.calls[0][1] - self.ahead_ns <= now_ns:
            self.near.append(self.calls.popleft())
        while self.near and start_ns + self.near[0][1] <= now_ns:
            index, offset_ns, payload = self.near.popleft()
            if not over:
                self.late.append((index, 0, start_ns + offset_ns, payload))

    def follow(self, now_ns: int) -> None:
        """Have as many slots of a closed loop as its stages want by now."""
        while self.slot_times and self.start_ns + self.slot_times[0][0] <= now_ns:
            offset_ns, self.target = self.slot_times.popleft()
            for _ in range(self.target - self.held):
                heapq.heappush(self.free_slots, self.start_ns + offset_ns)
            self.held = max(self.held, self.target)
        while self.held > self.target and self.free_slots:
            heapq.heappop(self.free_slots)
            self.held -= 1

    def take(self, now_ns: int, connection: Connection | None = None) -> Due | None:
        """The next call to send now; None: nothing is due.

        A closed loop's call is due when its slot got free; where `connection` was opened for it, as
        much later as the opening took.
        """
        if self.late:
            return self.late.popleft()
        if not self.closed or not self.calls or self.over(now_ns):
            return None
        if not self.free_slots or self.free_slots[0] > now_ns:
            return None
        due_ns = heapq.heappop(self.free_slots)
        if connection is not None and not connection.served:
            opening_ns = connection.ready_ns - connection.opened_ns
            due_ns = max(due_ns, min(connection.ready_ns, due_ns + opening_ns))
        index, _due, payload = self.calls.popleft()
        self.taken += 1
        return index, 0, due_ns, payload

    def again(self, index: int, due_ns: int, payload: bytes) -> None:
        """Send a call that its connection lost once more, before all others."""
        self.late.appendleft((index, 1, due_ns, payload))

    def free(self, at_ns: int, ended: Exchange | None = None) -> None:
        """A slot is free from that instant on, as its request has ended."""
        if not self.closed:
            return
        if self.slot_times:
            self.follow(at_ns)
        if self.held > self.target:
            self.held -= 1
        else:
            heapq.heappush(self.free_slots, at_ns)

    def waits_s(self, now_ns: int) -> float:
        """For how long a slot isn't to be used yet, in seconds."""
        return max(0, max(self.free_slots, default=0) - now_ns) / 1e9

    def room(self, busy: int) -> int:
        """How many more an open loop may have in flight; a closed one is held by its slots."""
        return (1 << 30) - busy if self.closed or self.slots is None else self.slots - busy

    def wanted(self, now_ns: int, busy: int) -> int:
        """How many connections there is a use for, besides the busy ones."""
        if self.over(now_ns):
            return min(len(self.late), self.room(busy))
        if self.closed:
            return min(sum(at_ns <= now_ns for at_ns in self.free_slots), len(self.calls)) + len(self.late)
        return min(len(self.late) + len(self.near), self.room(busy))

    def wanted_at_start(self) -> int:
        """How many connections the first instants need; one at least, to know how long opening takes."""
        if self.closed:
            first = self.slot_times[0][1] if self.slot_times else self.slots or 1
            return min(first, len(self.calls))
        wanted = sum(1 for call in self.calls if call[1] <= self.ahead_ns)
        return min(max(1, wanted), len(self.calls), self.room(0))

    def still(self) -> bool:
        """Does a closed loop wait for answers alone, and for no instant?"""
        return self.closed and not (self.slot_times or self.talks or (self.calls and self.free_slots))

    def next_ns(self, now_ns: int) -> int:
        """When an open loop has something to do next, slots change, or the pause of one ends; 0: never."""
        times = []
        if self.closed and self.calls:
            times += [at_ns for at_ns in self.free_slots if at_ns > now_ns]
        if self.slot_times:
            times.append(self.start_ns + self.slot_times[0][0])
        if not self.closed and self.near:
            times.append(self.start_ns + self.near[0][1])
        if not self.closed and self.calls:
            times.append(self.start_ns + self.calls[0][1] - self.ahead_ns)
        return min(times, default=0)
