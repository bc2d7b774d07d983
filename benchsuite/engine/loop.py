"""The readiness loop of a worker: connections, schedule, and what is sent when.

Between two reads it does nothing but read, stamp and send: calls come encoded, answers leave as
raw tapes, and both are moved when nothing is ready. It never forks and never collects garbage.
"""

import ssl
import time
from collections.abc import Callable
from typing import Protocol

import httptools

from benchsuite.engine.clock import Alarm, Offset
from benchsuite.engine.connection import Connection, tls_context
from benchsuite.engine.poller import IN, OUT, Poller
from benchsuite.engine.refusal import freed_ns
from benchsuite.engine.schedule import Schedule
from benchsuite.engine.spec import WorkerSpec
from benchsuite.engine.spool import Exchange
from benchsuite.engine.turns import Turns
from benchsuite.types import WorkerHealth

IDLE_NS = 1_000_000_000
"""A connection idle for longer isn't used: servers drop those without notice. At least twice `AHEAD_NS`."""
SPIN_NS = 1_200_000
HANDED = 8
HOUSEKEEPING_NS = 100_000_000
REFUSED_PAUSE_NS = 100_000_000


class Feed(Protocol):
    """Brings calls and orders to a loop and reports of it."""

    def serve(self, loop: "Loop", fd: int) -> None:
        """A descriptor is ready that is no connection's: the feed's, or of one that was just closed."""

    def report(self, loop: "Loop", now_ns: int) -> None:
        """Say how it goes; called about ten times a second."""


class Loop:
    """Drives one share of a trial from `start` until its calls are answered or it is told to stop."""

    def __init__(
        self, spec: WorkerSpec, sink: Callable[[list[Exchange]], None], feed: Feed | None = None
    ) -> None:
        self.spec, self.sink, self.feed = spec, sink, feed
        self.tls = tls_context(spec)
        self.offset, self.alarm, self.poller = Offset(), Alarm(), Poller()
        self.schedule = Turns(spec) if spec.talks else Schedule(spec)
        self.connections: dict[int, Connection] = {}
        self.payloads: dict[Connection, bytes] = {}
        self.idle: list[Connection] = []
        self.opening = self.busy = 0
        self.done: list[Exchange] = []
        self.reuse = spec.reuse
        self.stamped = self.stopped = False
        self.start_ns, self.start_cpu_s = 0, 0.0
        self.sent = self.ended = self.failed = self.unopened = 0
        self.housekeep_ns = 0
        if self.alarm.fd >= 0:
            self.poller.register(self.alarm.fd, IN)

    # ---- connections

    def open(self) -> None:
        """Begin a new connection; with no descriptor left for it, a later try will do."""
        try:
            connection = Connection(self.spec, self.tls)
        except OSError:
            if not self.connections:
                raise
            self.unopened += 1
            return
        self.stamped = connection.stamped
        self.poller.stamps(self.stamped)
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
            self.schedule.opened(connection.ready_ns - connection.opened_ns)
            self.poller.modify(connection.fd, IN)
            self.use(connection)
        elif connection.state != "connecting":
            self.poller.modify(connection.fd, IN | OUT if connection.unsent else IN)

    def refuse(self, connection: Connection) -> None:
        """A connection couldn't be opened: the call that needed it has failed."""
        now_ns = time.monotonic_ns()
        call = self.schedule.take(now_ns) if self.start_ns else None
        if call is None:
            return
        index, reconnects, due_ns, _payload = call
        exchange = Exchange(index, due_ns)
        exchange.reconnects, exchange.error, exchange.end_ns = reconnects, connection.failure, now_ns
        self.end(exchange)
        self.schedule.free(now_ns + REFUSED_PAUSE_NS, exchange)
        self.alarm.set(self.schedule.next_ns(self.poller.polled_ns))
        self.housekeep_ns = min(self.housekeep_ns, now_ns + REFUSED_PAUSE_NS)

    def forget(self, connection: Connection) -> None:
        """Close and drop a connection."""
        if connection.state != "closed":
            self.poller.unregister(connection.fd)
            del self.connections[connection.fd]
            connection.close()

    def use(self, connection: Connection) -> None:
        """Give a ready connection the next call that waits for one, or keep it."""
        call = self.schedule.take(time.monotonic_ns(), connection) if self.start_ns else None
        if call is None:
            self.idle.append(connection)
        else:
            self.send(connection, *call)

    def send(self, connection: Connection, index: int, reconnects: int, due_ns: int, payload: bytes) -> None:
        """Send one call on an idle connection."""
        exchange = Exchange(index, due_ns)
        exchange.reconnects = reconnects
        self.busy += 1
        self.sent += reconnects == 0
        self.payloads[connection] = payload
        connection.send(exchange, payload)
        if connection.unsent:
            self.poller.modify(connection.fd, IN | OUT)

    def broken(self, connection: Connection, error: str) -> None:
        """An exchange ended early: record how, or send it again if a kept connection was lost unheard."""
        exchange = connection.exchange
        assert exchange is not None
        payload = self.payloads.pop(connection)
        self.busy -= 1
        unheard = not exchange.reads and error in {"closed", "reset"}
        self.forget(connection)
        if unheard and connection.served:
            self.distrust()
            self.schedule.again(exchange.index, exchange.due_ns, payload)
            self.open()
            return
        exchange.end_ns = max(connection.last_ns, exchange.sent_ns)
        exchange.error = error
        self.end(exchange)
        self.freed(exchange.end_ns, exchange)

    def readable(self, connection: Connection) -> None:
        """Read what has come; the hot path."""
        try:
            alive = connection.read(self.offset.ns, self.poller.floor_ns)
        except BlockingIOError:
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not connection.complete:
                self.broken(connection, "protocol")
                return
            alive = False
        except OSError as error:
            connection.last_ns = time.monotonic_ns()
            exchange = connection.exchange
            if exchange is None:
                self.dropped(connection)
            else:
                refused = isinstance(error, ssl.SSLError) and not connection.served and not exchange.reads
                self.broken(connection, "tls" if refused else "reset")
            return
        if connection.several:
            self.suspect(connection)
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

    def suspect(self, connection: Connection) -> None:
        """A read brought several parts: were we kept from looking since the poll woke? Watch for a while."""
        connection.several = False
        delay_ns = self.poller.wake_delay.suspect(self.poller.polled_ns)
        if connection.exchange is not None:
            connection.exchange.reads[-2] -= delay_ns

    def dropped(self, connection: Connection) -> None:
        """The server ended an idle connection: one that has just served says that it doesn't keep any."""
        if connection in self.idle:
            self.idle.remove(connection)
        self.forget(connection)
        if connection.served:
            self.distrust()

    def distrust(self) -> None:
        """The server doesn't keep connections: from now on only fresh ones are used."""
        self.reuse = False
        for connection in [one for one in self.idle if one.served]:
            self.idle.remove(connection)
            self.forget(connection)

    def complete(self, connection: Connection, alive: bool) -> None:
        """An answer is whole: free its slot and send the next call before anything else."""
        del self.payloads[connection]
        exchange = connection.finish()
        connection.complete = False
        self.busy -= 1
        if self.reuse is None and connection.served > 1:
            self.reuse = True
        elif self.reuse is None and not connection.keep_alive and exchange.status < 400:
            self.reuse = False
        free_ns = freed_ns(exchange) if self.spec.waits else exchange.end_ns
        if alive and connection.keep_alive and self.reuse is not False and not connection.unsent:
            self.schedule.free(free_ns, exchange)
            self.use(connection)
            if self.schedule.talks:
                self.fill(time.monotonic_ns())
        else:
            self.forget(connection)
            self.freed(free_ns, exchange)
        self.end(exchange)

    def freed(self, at_ns: int, ended: Exchange) -> None:
        """A slot has become free and its connection is gone."""
        self.schedule.free(at_ns, ended)
        self.fill(time.monotonic_ns())

    def end(self, exchange: Exchange) -> None:
        """Keep a finished exchange until nothing is ready."""
        self.ended += 1
        self.failed += bool(exchange.error) or exchange.status >= 400
        self.done.append(exchange)

    # ---- schedule

    def fill(self, now_ns: int) -> None:
        """Send what is due, open connections for what soon will be, and set the alarm for what comes next."""
        schedule = self.schedule
        schedule.approach(now_ns)
        self.keep_skipped()
        self.drop_stale(now_ns)
        while self.idle and schedule.room(self.busy) > 0:
            call = schedule.take(now_ns, self.idle[-1])
            if call is None:
                break
            self.send(self.idle.pop(), *call)
        wanted = schedule.wanted(now_ns, self.busy) - self.opening
        # The youngest idle ones are used first; those that will have been idle for too long don't count.
        young, last_ns = self.idle[-wanted:] if wanted > 0 else (), now_ns + schedule.ahead_ns - IDLE_NS
        for _ in range(wanted - sum(one.last_ns >= last_ns for one in young)):
            self.open()
        next_ns = schedule.next_ns(now_ns)
        if self.alarm.fd >= 0:
            self.alarm.set(next_ns)
        elif next_ns:
            self.housekeep_ns = min(self.housekeep_ns, next_ns)

    def keep_skipped(self) -> None:
        """What is never to be sent is recorded so."""
        skipped, self.schedule.skipped = self.schedule.skipped, []
        self.ended += len(skipped)
        self.done += skipped

    def drop_stale(self, now_ns: int) -> None:
        """Close connections that have been idle for too long to be trusted."""
        while self.idle and now_ns - self.idle[0].last_ns > IDLE_NS:
            self.forget(self.idle.pop(0))

    def prepare(self, begun: int = 0) -> int:
        """Before the clock starts: open what the first instants need; how many that is, with those begun."""
        wanted = self.schedule.wanted_at_start()
        for _ in range(wanted - begun):
            self.open()
        return wanted

    def go(self, start_ns: int) -> None:
        """Start the clock at `start_ns`, now or in the near future."""
        while time.monotonic_ns() < start_ns:
            self.step(0.0)
        self.start_ns, self.start_cpu_s = start_ns, time.process_time()
        self.schedule.begin(start_ns)
        self.fill(time.monotonic_ns())

    # ---- the loop

    def finished(self) -> bool:
        """Nothing in flight and nothing more to send."""
        return self.stopped or (not self.busy and self.schedule.exhausted(time.monotonic_ns()))

    def run(self) -> None:
        """Loop until finished, then hand over what is left."""
        while not self.finished():
            self.step(0.05)
        self.keep_skipped()
        self.hand_over(len(self.done))

    def step(self, timeout_s: float) -> None:
        """Wait for readiness once and serve it; hand a few finished exchanges over when nothing is ready."""
        if self.done:
            events = self.poller.poll(0.0, self.busy)
            if not events or self.poller.polled_ns - self.done[0].end_ns > self.schedule.waiting_ns:
                self.hand_over(max(HANDED, len(self.done) // 8))
        else:
            events = self.poller.poll(self.patience_s(timeout_s), self.busy)
        alarm_fd, feed, connections = self.alarm.fd, self.feed, self.connections
        for fd, mask in events:
            connection = connections.get(fd)
            if connection is not None:
                if mask == IN and connection.state == "busy":
                    self.readable(connection)
                else:
                    self.serve(connection, mask)
            elif fd == alarm_fd:
                self.alarm.clear()
                self.fill(time.monotonic_ns())
            elif feed is not None:
                feed.serve(self, fd)
        now_ns = self.poller.polled_ns
        if now_ns >= self.housekeep_ns:
            self.housekeep(now_ns)

    def patience_s(self, timeout_s: float) -> float:
        """How long to wait; without an alarm, an open loop wakes a little early and spins."""
        if self.alarm.fd >= 0 or not self.start_ns or self.schedule.still():
            return timeout_s
        left_ns = self.housekeep_ns - time.monotonic_ns()
        return 0.0 if left_ns <= SPIN_NS else min(timeout_s, (left_ns - SPIN_NS) / 1e9)

    def serve(self, connection: Connection, mask: int) -> None:
        """One ready connection."""
        state = connection.state
        if state in {"busy", "idle"}:
            if mask & ~OUT:
                self.readable(connection)
            if mask & OUT and connection.unsent and connection.state == "busy":
                connection.write()
                if not connection.unsent:
                    self.poller.modify(connection.fd, IN)
        elif state != "closed":
            self.opened(connection, bool(mask & ~OUT))

    def hand_over(self, count: int) -> None:
        """Hand over some finished exchanges, few at a time: reads wait for as long as that takes."""
        if self.done:
            self.sink(self.done[:count])
            del self.done[:count]

    def housekeep(self, now_ns: int) -> None:
        """Ten times a second: the wall clock, time-outs, stale connections, slots that paused."""
        self.housekeep_ns = now_ns + HOUSEKEEPING_NS
        self.offset.resample()
        self.poller.wake_delay.settle(now_ns)
        self.time_out(now_ns)
        if self.start_ns:
            self.fill(now_ns)
        if self.feed is not None:
            self.feed.report(self, now_ns)

    def time_out(self, now_ns: int) -> None:
        """End what has taken too long."""
        for connection in list(self.connections.values()):
            error = connection.overdue(now_ns)
            if error and connection.exchange is not None:
                connection.last_ns = now_ns
                self.broken(connection, error)
            elif error:
                connection.failure = error
                self.opened(connection, readable=False)

    def health(self, realtime: bool) -> WorkerHealth:
        """What to report of this worker when it is done."""
        return WorkerHealth(
            sent=self.sent,
            cpu_s=time.process_time() - self.start_cpu_s,
            wall_s=(time.monotonic_ns() - self.start_ns) / 1e9 if self.start_ns else 0.0,
            clock_steps=self.offset.steps,
            reuse=self.reuse,
            kernel_stamps=self.stamped,
            realtime=realtime,
            unopened=self.unopened,
            stopped=self.stopped or self.schedule.draining,
        )

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self.connections.values()):
            connection.close()
        self.alarm.close()
        self.poller.close()
