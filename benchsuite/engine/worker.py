"""The measuring process: `python -m benchsuite.engine.worker`.

stdin brings the specification and then the calls, already encoded; a pipe of its own brings `go`,
`drain` and `stop`; stdout takes one JSON object a line: `ready`, how it goes, and `health` at the
end. The end of the control pipe means that the parent is gone: stop at once.
"""

import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from itertools import islice

import msgspec

from benchsuite.engine.loop import Loop
from benchsuite.engine.poller import IN
from benchsuite.engine.priority import be_prompt
from benchsuite.engine.spec import CALL_HEAD, GO, SPEC_HEAD, WorkerSpec
from benchsuite.engine.spool import Exchange, SpoolWriter
from benchsuite.engine.turns import Turns

READ_BYTES = 65536
AHEAD_BYTES = 64 * 1024 * 1024
"""Most bytes of calls held ahead of sending."""
AHEAD_CALLS = 256
"""Calls held ahead at the start; later as many as have been sent, up to `MOST_AHEAD_CALLS`."""
MOST_AHEAD_CALLS = 8192


class Voice:
    """One JSON object a line to the parent, without ever waiting for it: it may wait for us to read."""

    def __init__(self) -> None:
        self.unsaid = bytearray()
        os.set_blocking(1, False)

    def say(self, message: dict[str, object]) -> None:
        """One more line; a parent that is gone is noticed on the control pipe."""
        self.unsaid += msgspec.json.encode(message) + b"\n"
        self.go_on()

    def go_on(self) -> None:
        """Say as much of what is unsaid as the pipe takes."""
        try:
            while self.unsaid:
                del self.unsaid[: os.write(1, self.unsaid)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.unsaid.clear()

    def finish(self) -> None:
        """Say the rest, however long it takes."""
        os.set_blocking(1, True)
        self.go_on()


class PipeFeed:
    """Calls from stdin, orders from the control pipe, reports to stdout."""

    def __init__(self, loop: Loop, voice: Voice, control_fd: int, report_s: float) -> None:
        self.voice = voice
        self.control_fd = control_fd
        self.turns_fd = loop.spec.turns_fd
        self.report_ns = int(report_s * 1e9)
        self.reported_ns = 0
        self.go_ns = 0
        self.buffers = {0: bytearray(), self.turns_fd: bytearray()}
        self.least = max(AHEAD_CALLS, 4 * (loop.spec.slots or 0))
        self.listening = True
        os.set_blocking(0, False)
        os.set_blocking(control_fd, False)
        loop.poller.register(0, IN)
        loop.poller.register(control_fd, IN)
        if self.turns_fd >= 0:
            os.set_blocking(self.turns_fd, False)
            loop.poller.register(self.turns_fd, IN)

    def full(self, loop: Loop) -> bool:
        """Are enough calls here for the time being?"""
        calls, closed = loop.schedule.calls, loop.schedule.closed
        count, slots = len(calls), loop.spec.slots or 1
        few = slots if closed else 1
        if loop.schedule.talks:
            # A conversation may be large, and one that has begun mustn't wait for the rest of its turns.
            few = 1 + slots
        if count <= few:
            return False
        first = list(islice(calls, 16))
        mean_bytes = sum(len(call[2]) for call in first) / len(first)
        ahead = max(self.least, min(loop.sent, MOST_AHEAD_CALLS)) if closed else 1 << 30
        return count >= ahead or count * mean_bytes + loop.schedule.ahead_bytes >= AHEAD_BYTES

    def serve(self, loop: Loop, fd: int) -> None:
        """Take in calls or an order; what was meant for a connection that is gone by now is nobody's."""
        if fd == self.control_fd:
            self.order(loop)
        elif fd == self.turns_fd:
            self.take_in(loop, fd)
        elif fd:
            return
        elif self.full(loop):
            self.listening = False
            loop.poller.unregister(0)
        else:
            self.take_in(loop)

    def take_in(self, loop: Loop, fd: int = 0) -> None:
        """Read some bytes of calls and split off the complete ones."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            loop.poller.unregister(fd)
            if not fd:
                loop.schedule.calls_ended, self.listening = True, False
            return
        buffer = self.buffers[fd]
        buffer += data
        at, size = 0, CALL_HEAD.size
        while len(buffer) - at >= size:
            length, index, due_ns = CALL_HEAD.unpack_from(buffer, at)
            if len(buffer) - at < size + length:
                break
            if length:
                loop.schedule.arrive(index, due_ns, bytes(buffer[at + size : at + size + length]))
            else:
                loop.schedule.calls_ended = True
            at += size + length
        del buffer[:at]
        if loop.start_ns and at:
            loop.fill(time.monotonic_ns())

    def order(self, loop: Loop) -> None:
        """Go, drain or stop; the parent's end means stop."""
        data = os.read(self.control_fd, GO.size)
        if len(data) < GO.size:
            loop.poller.unregister(self.control_fd)
            loop.stopped = True
            return
        word, at_ns = GO.unpack(data)
        if word == b"G":
            self.go_ns = at_ns
        elif word == b"D":
            loop.schedule.drain()
        else:
            loop.stopped = True

    def report(self, loop: Loop, now_ns: int) -> None:
        """Listen for calls again when there is room, and say how it goes to a parent that keeps up."""
        if not self.listening and not loop.schedule.calls_ended and not self.full(loop):
            self.listening = True
            loop.poller.register(0, IN)
        self.voice.go_on()
        due = loop.start_ns and now_ns - self.reported_ns >= self.report_ns
        if due and not self.voice.unsaid:
            self.reported_ns = now_ns
            say_how_it_goes(loop, self.voice)


def say_how_it_goes(loop: Loop, voice: Voice) -> None:
    """The counts so far, and for how long a refused slot still waits."""
    voice.say(
        {
            "sent": loop.sent,
            "done": loop.ended,
            "errors": loop.failed,
            "in_flight": loop.busy,
            "waits_s": loop.schedule.waits_s(time.monotonic_ns()) if loop.spec.waits else 0.0,
        }
    )


def telling(schedule: Turns, spool: SpoolWriter, voice: Voice) -> Callable[[list[Exchange]], None]:
    """Spool what has ended, and tell the parent which of it the next turn has to quote."""

    def spooled(exchanges: list[Exchange]) -> None:
        spool.append(exchanges)
        if quoted := schedule.quoted(exchanges):
            voice.say({"spooled": quoted})

    return spooled


def read_spec() -> WorkerSpec:
    """The specification from stdin, blocking."""
    head = _read_exactly(SPEC_HEAD.size)
    return msgspec.msgpack.decode(_read_exactly(SPEC_HEAD.unpack(head)[0]), type=WorkerSpec)


def _read_exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


def wait_for_go(loop: Loop, feed: PipeFeed) -> bool:
    """Collect the first calls, open the first connections, report, and wait; False: never mind."""
    while not (loop.schedule.calls_ended or feed.full(loop) or loop.stopped):
        loop.step(0.05)
    begun = 0
    for _ in range(2):  # how long the first took tells how many more to open
        begun = loop.prepare(begun)
        while loop.opening and not loop.stopped:
            loop.step(0.05)
    feed.voice.say({"ready": len(loop.idle)})
    while not feed.go_ns and not loop.stopped:
        loop.step(0.05)
    return not loop.stopped


def main() -> None:
    """Run one worker's share of one trial."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spec = read_spec()
    spool = SpoolWriter(spec.spool, spec.spool_header, spec.rotate_bytes)
    loop, voice = Loop(spec, spool.append), Voice()
    if isinstance(loop.schedule, Turns) and spec.turns_fd >= 0:
        loop.sink = telling(loop.schedule, spool, voice)
    loop.feed = feed = PipeFeed(loop, voice, spec.control_fd, spec.report_s)
    realtime = be_prompt(spec.realtime)
    gc.collect()
    gc.freeze()
    gc.disable()
    if wait_for_go(loop, feed):
        loop.go(feed.go_ns)
        loop.run()
        if spec.turns_fd >= 0:
            # No more turns are taken: a parent that is writing one must listen again.
            os.close(spec.turns_fd)
        say_how_it_goes(loop, voice)
        voice.say({"health": msgspec.to_builtins(loop.health(realtime))})
    voice.finish()
    spool.close()
    loop.close()


if __name__ == "__main__":
    main()
