"""The readiness loop of a worker: connections, schedule, and what is sent when.

Between two reads it does nothing but read, stamp and send: calls come encoded, answers leave as
raw tapes, and both are moved when nothing is ready. It never forks and never collects garbage.
"""

import select
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools

from benchsuite.engine.clock import Alarm, Offset
from benchsuite.engine.connection import Connection, tls_context
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import Exchange
from benchsuite.types import WorkerHealth

IN, OUT = select.POLLIN, select.POLLOUT

AHEAD_NS = 20_000_000
"""An open loop opens connections at most this long before they are due."""
IDLE_NS = 1_000_000_000
"""A connection idle for longer isn't used: servers drop those without notice."""
SPIN_NS = 1_200_000
SLEPT_NS = 50_000
"""A poll that took longer had nothing waiting for it."""
HOUSEKEEPING_NS = 100_000_000
REFUSED_PAUSE_NS = 100_000_000

Planned = tuple[int, int, bytes]
"""A call as it comes: index, due offset in ns (-1: closed loop), the request's bytes."""
Due = tuple[int, int, int, bytes]
"""A call to send: index, reconnects so far, due instant, the request's bytes."""


class Feed(Protocol):
    """Brings calls and orders to a loop and reports of it."""

    def serve(self, loop: "Loop", fd: int) -> None:
        """A descriptor of the feed is ready."""

    def report(self, loop: "Loop", now_ns: int) -> None:
        """Say how it goes; called about ten times a second."""


class Loop:
    """Drives one share of a trial from `start` until its calls are answered or it is told to stop."""

    def __init__(
        self, spec: WorkerSpec, sink: Callable[[list[Exchange]], None], feed: Feed | None = None
    ) -> None:
        self.spec = spec
        self.sink = sink
        self.feed = feed
        self.tls = tls_context(spec)
        self.offset = Offset()
        self.alarm = Alarm()
        self.poller = select.epoll() if hasattr(select, "epoll") else select.poll()
        self.scale = 1.0 if hasattr(select, "epoll") else 1000.0
        self.calls: deque[Planned] = deque()
        self.calls_ended = False
        self.near: deque[Planned] = deque()
        self.late: deque[Due] = deque()
        self.connections: dict[int, Connection] = {}
        self.payloads: dict[Connection, bytes] = {}
        self.idle: list[Connection] = []
        self.opening = 0
        self.busy = 0
        self.free_slots: deque[int] = deque()
        self.done: list[Exchange] = []
        self.done_since_ns = 0
        self.reuse = spec.reuse
        self.stamped = False
        self.start_ns = 0
        self.stop_sending_ns = 1 << 62
        self.draining = self.stopped = False
        self.sent = self.ended = self.failed = 0
        self.last_send_ns = 0
        self.floor_ns = self.polled_ns = time.monotonic_ns()
        self.housekeep_ns = 0
        if self.alarm.fd >= 0:
            self.poller.register(self.alarm.fd, IN)

    # ---- connections

    def open(self) -> None:
        """Begin a new connection."""
        connection = Connection(self.spec, self.tls)
        self.stamped = connection.stamped
        self.opening += 1
        self.connections[connection.fd] = connection
        self.poller.register(connection.fd, OUT)
        if connection.failure:
            self.opened(connection, readable=False)

    def opened(self, connection: Connection, readable: bool) -> None:
        """Go on opening; once ready, send what waits for it."""
        if not connection.failure:
            connection.advance(readable)
        if connection.failure:
            self.opening -= 1
            self.forget(connection)
            self.refuse(connection)
        elif connection.state == "idle":
            self.opening -= 1
            self.poller.modify(connection.fd, IN)
            self.use(connection)
        else:
            self.poller.modify(connection.fd, IN | OUT if connection.unsent else IN)

    def refuse(self, connection: Connection) -> None:
        """A connection couldn't be opened: the call that needed it has failed."""
        call = self.take(time.monotonic_ns()) if self.start_ns else None
        if call is None:
            return
        exchange = Exchange(call[0], call[2])
        exchange.error = connection.failure
        exchange.end_ns = time.monotonic_ns()
        self.end(exchange)
        if self.spec.loop == "closed":
            self.free_slots.append(exchange.end_ns + REFUSED_PAUSE_NS)

    def forget(self, connection: Connection) -> None:
        """Close and drop a connection."""
        if connection.state != "closed":
            self.poller.unregister(connection.fd)
            del self.connections[connection.fd]
            connection.close()

    def use(self, connection: Connection) -> None:
        """Give a ready connection the next call that waits for one, or keep it."""
        now_ns = time.monotonic_ns()
        call = self.take(now_ns, connection) if self.start_ns else None
        if call is None:
            self.idle.append(connection)
        else:
            self.send(connection, *call)

    def take(self, now_ns: int, connection: Connection | None = None) -> Due | None:
        """The next call to send now: (index, reconnects, due, bytes); None: nothing is due."""
        if self.late:
            return self.late.popleft()
        if self.spec.loop == "open" or self.over(now_ns) or not self.calls:
            return None
        if not self.free_slots or self.free_slots[0] > now_ns:
            return None
        freed_ns = self.free_slots.popleft()
        index, _due, payload = self.calls.popleft()
        ready_ns = connection.ready_ns if connection is not None and not connection.served else 0
        return index, 0, max(freed_ns, ready_ns, self.start_ns), payload

    def send(self, connection: Connection, index: int, reconnects: int, due_ns: int, payload: bytes) -> None:
        """Send one call; if the connection turns out to be dead, once more on a fresh one."""
        exchange = Exchange(index, due_ns)
        exchange.reconnects = reconnects
        self.busy += 1
        self.sent += reconnects == 0
        self.payloads[connection] = payload
        try:
            connection.send(exchange, payload)
        except OSError:
            connection.exchange = exchange
            self.broken(connection, "reset")
            return
        self.last_send_ns = exchange.sent_ns
        if connection.unsent:
            self.poller.modify(connection.fd, IN | OUT)

    def broken(self, connection: Connection, error: str) -> None:
        """The connection ended under an exchange: send it again, or record how it ended."""
        exchange = connection.exchange
        assert exchange is not None
        payload = self.payloads.pop(connection)
        self.busy -= 1
        again = connection.served and not exchange.reads and not exchange.reconnects
        self.forget(connection)
        if again and not self.stopped:
            self.reuse = False
            self.late.append((exchange.index, 1, exchange.due_ns, payload))
            self.open()
            return
        exchange.end_ns = max(connection.last_ns, exchange.sent_ns)
        exchange.error = exchange.error or error
        self.end(exchange)
        self.freed(exchange.end_ns)

    def readable(self, connection: Connection) -> None:
        """Read what has come; the hot path."""
        try:
            alive = connection.read(self.offset.ns, self.floor_ns)
        except BlockingIOError:
            return
        except httptools.HttpParserError:
            self.broken(connection, "protocol")
            return
        except OSError:
            if connection.exchange is None:
                self.dropped(connection)
            else:
                self.broken(connection, "reset")
            return
        if connection.complete:
            self.complete(connection, alive)
        elif not alive:
            if connection.exchange is None:
                self.dropped(connection)
            elif connection.ended_by_close():
                connection.exchange.complete = True
                self.complete(connection, alive=False)
            else:
                self.broken(connection, "closed")

    def dropped(self, connection: Connection) -> None:
        """The server ended an idle connection: one that has just served says that it doesn't keep any."""
        if connection.served:
            self.reuse = False
        if connection in self.idle:
            self.idle.remove(connection)
        self.forget(connection)

    def complete(self, connection: Connection, alive: bool) -> None:
        """An answer is whole: free its slot and send the next call before anything else."""
        del self.payloads[connection]
        exchange = connection.finish()
        connection.complete = False
        self.busy -= 1
        if connection.served > 1 and self.reuse is None:
            self.reuse = True
        if alive and connection.keep_alive and self.reuse is not False:
            self.free(exchange.end_ns)
            self.use(connection)
        else:
            self.forget(connection)
            self.freed(exchange.end_ns)
        self.end(exchange)

    def free(self, at_ns: int) -> None:
        """A slot has become free."""
        if self.spec.loop == "closed":
            self.free_slots.append(at_ns)

    def freed(self, at_ns: int) -> None:
        """A slot has become free and its connection is gone."""
        self.free(at_ns)
        self.fill(time.monotonic_ns())

    def end(self, exchange: Exchange) -> None:
        """Keep a finished exchange until nothing is ready."""
        self.ended += 1
        self.failed += bool(exchange.error) or exchange.status >= 400
        if not self.done:
            self.done_since_ns = time.monotonic_ns()
        self.done.append(exchange)

    # ---- schedule

    def over(self, now_ns: int) -> bool:
        """Is the time for sending up?"""
        return self.draining or now_ns >= self.stop_sending_ns

    def fill(self, now_ns: int) -> None:
        """Open what is needed and send what is due; returns with the alarm set for the next instant."""
        if self.spec.loop == "open":
            self.fill_open(now_ns)
            return
        self.drop_stale(now_ns)
        while self.idle and self.free_slots and self.free_slots[0] <= now_ns:
            call = self.take(now_ns, self.idle[-1])
            if call is None:
                break
            self.send(self.idle.pop(), *call)
        wanted = 0 if self.over(now_ns) else min(sum(s <= now_ns for s in self.free_slots), len(self.calls))
        for _ in range(wanted + len(self.late) - self.opening):
            self.open()

    def fill_open(self, now_ns: int) -> None:
        """Move calls that are near, send those that are due, open connections for the rest."""
        start_ns = self.start_ns
        while self.calls and start_ns + self.calls[0][1] - AHEAD_NS <= now_ns:
            self.near.append(self.calls.popleft())
        over = self.over(now_ns)
        while self.near and start_ns + self.near[0][1] <= now_ns:
            index, offset_ns, payload = self.near.popleft()
            if not over:
                self.late.append((index, 0, start_ns + offset_ns, payload))
        self.drop_stale(now_ns)
        room = (self.spec.slots or 1 << 30) - self.busy
        while self.late and self.idle and room > 0:
            self.send(self.idle.pop(), *self.late.popleft())
            room -= 1
        wanted = min(len(self.late) + (0 if over else len(self.near)), room)
        for _ in range(wanted - self.opening - len(self.idle)):
            self.open()
        self.alarm.set(self.next_ns())

    def next_ns(self) -> int:
        """The next instant at which the open loop has something to do; 0: none."""
        times = []
        if self.near:
            times.append(self.start_ns + self.near[0][1])
        if self.calls:
            times.append(self.start_ns + self.calls[0][1] - AHEAD_NS)
        return min(times, default=0)

    def drop_stale(self, now_ns: int) -> None:
        """Close connections that have been idle for too long to be trusted."""
        while self.idle and now_ns - self.idle[0].last_ns > IDLE_NS:
            self.forget(self.idle.pop(0))

    def prepare(self) -> None:
        """Before the clock starts: open what the first instant needs."""
        if self.spec.loop == "closed":
            wanted = min(self.spec.slots or 1, len(self.calls))
        else:
            wanted = sum(1 for call in self.calls if call[1] <= AHEAD_NS)
            wanted = min(wanted, self.spec.slots or wanted)
        for _ in range(max(wanted, 1)):
            self.open()

    def go(self, start_ns: int) -> None:
        """Start the clock at `start_ns`, now or in the near future."""
        while time.monotonic_ns() < start_ns:
            self.step(0.0)
        self.start_ns = start_ns
        if self.spec.seconds is not None and self.spec.loop == "closed":
            self.stop_sending_ns = start_ns + int(self.spec.seconds * 1e9)
        if self.spec.loop == "closed":
            self.free_slots.extend([start_ns] * (self.spec.slots or 1))
        now_ns = time.monotonic_ns()
        for connection in self.idle:
            connection.last_ns = now_ns
        self.fill(now_ns)

    def drain(self) -> None:
        """Send nothing new; what is in flight may end."""
        self.draining = True
        self.calls.clear()
        self.near.clear()
        self.late = deque(call for call in self.late if call[1])

    # ---- the loop

    def finished(self) -> bool:
        """Nothing in flight and nothing more to send."""
        if self.stopped:
            return True
        if self.busy or self.late or (self.opening and not self.over(time.monotonic_ns())):
            return False
        if self.over(time.monotonic_ns()):
            return True
        return self.calls_ended and not self.calls and not self.near

    def run(self) -> None:
        """Loop until finished, then hand over what is left."""
        while not self.finished():
            self.step(0.05)
        self.flush()

    def step(self, timeout_s: float) -> None:
        """Wait for readiness once and serve it; hand over finished exchanges only when nothing is ready."""
        if self.done and time.monotonic_ns() - self.done_since_ns < 300_000_000:
            events = self.poll(0.0)
            if not events:
                self.flush()
                return
        else:
            self.flush()
            events = self.poll(self.patience_s(timeout_s))
        alarm_fd, feed = self.alarm.fd, self.feed
        connections = self.connections
        for fd, mask in events:
            connection = connections.get(fd)
            if connection is not None:
                self.serve(connection, mask)
            elif fd == alarm_fd:
                self.alarm.clear()
                self.fill(time.monotonic_ns())
            elif feed is not None:
                feed.serve(self, fd)
        now_ns = self.polled_ns
        if now_ns >= self.housekeep_ns:
            self.housekeep(now_ns)

    def patience_s(self, timeout_s: float) -> float:
        """How long to wait: without an alarm, wake a little early and spin."""
        if self.alarm.fd >= 0 or self.spec.loop == "closed" or not self.start_ns:
            return timeout_s
        next_ns = self.next_ns()
        left_ns = next_ns - time.monotonic_ns() if next_ns else 1 << 62
        if left_ns <= SPIN_NS:
            if left_ns <= 0:
                self.fill(time.monotonic_ns())
            return 0.0
        return min(timeout_s, (left_ns - SPIN_NS) / 1e9)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Poll, and note since when what is ready now may have been waiting unseen."""
        before_ns = time.monotonic_ns()
        events = self.poller.poll(timeout_s * self.scale)
        after_ns = time.monotonic_ns()
        self.floor_ns = after_ns if after_ns - before_ns > SLEPT_NS else self.polled_ns
        self.polled_ns = after_ns
        return events

    def serve(self, connection: Connection, mask: int) -> None:
        """One ready connection."""
        state = connection.state
        if state in {"busy", "idle"}:
            if mask & OUT and connection.unsent:
                try:
                    connection.send_rest()
                except OSError:
                    self.broken(connection, "reset")
                    return
                if not connection.unsent:
                    self.poller.modify(connection.fd, IN)
            if mask & ~OUT:
                self.readable(connection)
        elif state != "closed":
            self.opened(connection, bool(mask & ~OUT))

    def flush(self) -> None:
        """Hand finished exchanges over."""
        if self.done:
            self.sink(self.done)
            self.done = []

    def housekeep(self, now_ns: int) -> None:
        """Ten times a second: the wall clock, time-outs, stale connections, slots that paused."""
        self.housekeep_ns = now_ns + HOUSEKEEPING_NS
        self.offset.resample()
        self.time_out(now_ns)
        if self.start_ns:
            self.fill(now_ns)
        if self.feed is not None:
            self.feed.report(self, now_ns)

    def time_out(self, now_ns: int) -> None:
        """End what has taken too long."""
        limits = self.spec.timeouts
        for connection in list(self.connections.values()):
            exchange = connection.exchange
            if exchange is None:
                if (
                    connection.state not in {"idle", "closed"}
                    and now_ns - connection.opened_ns > limits.connect_s * 1e9
                ):
                    connection.failure = "timeout_connect"
                    self.opened(connection, readable=False)
                continue
            error = ""
            if now_ns - exchange.sent_ns > limits.total_s * 1e9:
                error = "timeout_total"
            elif not exchange.reads:
                error = "timeout_first_byte" if now_ns - exchange.sent_ns > limits.first_byte_s * 1e9 else ""
            elif now_ns - connection.last_ns > limits.silence_s * 1e9:
                error = "timeout_silence"
            if error:
                exchange.error = error
                connection.last_ns = now_ns
                connection.served = 0
                self.broken(connection, error)

    def health(self, cpu_s: float) -> WorkerHealth:
        """What to report of this worker when it is done."""
        wall_s = (time.monotonic_ns() - self.start_ns) / 1e9 if self.start_ns else 0.0
        return WorkerHealth(
            sent=self.sent,
            cpu_s=cpu_s,
            wall_s=wall_s,
            clock_steps=self.offset.steps,
            reuse=self.reuse,
            kernel_stamps=self.stamped,
            stopped=self.stopped or self.draining,
        )

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self.connections.values()):
            connection.close()
        self.alarm.close()
        if hasattr(self.poller, "close"):
            self.poller.close()
