"""One trial from the parent's side: start the workers, feed them, watch them, collect their spools."""

import hashlib
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec

from benchsuite.driver import Driver
from benchsuite.engine.asked import AskedWriter
from benchsuite.engine.endpoint import Encoder, Endpoint
from benchsuite.engine.process import WorkerProcess
from benchsuite.engine.replies import Replies, no_reply
from benchsuite.engine.spec import CALL_HEAD, WorkerSpec
from benchsuite.engine.turns import TURN_HEAD
from benchsuite.errors import BenchsuiteError
from benchsuite.types import Call, Noun, Request, Target, WorkerHealth

STREAMS_PER_WORKER = 768
"""One worker follows 1,000 streams of 100 tokens/s; more workers start before that."""
_GO_DELAY_NS = 5_000_000
_TICK_S = 0.1
_DIGEST_BYTES = 16


class Interrupt:
    """How urgently the user wants to stop: 0 not at all, 1 drain, 2 now. Set by the signal handler."""

    level = 0


class Status(Noun, frozen=True, kw_only=True):
    """How the trial is going, summed over workers. `waits_s`: for how long a refused slot still waits."""

    elapsed_s: float
    sent: int
    done: int
    errors: int
    in_flight: int
    waits_s: float = 0.0


class TrialRun(Noun, frozen=True, kw_only=True):
    """What a trial leaves behind besides its spools. `digests`: 16 bytes a planned call, in index order."""

    start_ns: int
    workers: tuple[WorkerHealth, ...]
    digests: bytes

    @property
    def reuse(self) -> bool | None:
        """Did the server keep connections? None: no worker found out."""
        found = {worker.reuse for worker in self.workers}
        return False if False in found else True if True in found else None

    def plan_digest(self, indexes: Iterable[int]) -> str:
        """SHA-256 over the digests of the bodies really sent, in index order."""
        digest = hashlib.sha256()
        for index in sorted(indexes):
            digest.update(self.digests[index * _DIGEST_BYTES : (index + 1) * _DIGEST_BYTES])
        return digest.hexdigest()


class Trial(Noun, frozen=True, kw_only=True):
    """What a trial needs to know.

    `closed`: answers free slots; otherwise requests have due instants. `id_prefix` + index is each
    request's id; `stem` is the path its spools' names begin with. `least`: requests that a closed loop
    sends even if its seconds are over. `waits`: refused slots wait for as long as the server asks.
    `slot_times`: from when on there are how many of a closed loop's slots (ns from the start, slots); empty:
    all of them throughout. `talks`: requests are turns of conversations; `quotes`: their later prompts hold
    the server's own answers.
    """

    endpoint: Endpoint
    target: Target
    driver: Driver
    id_prefix: str
    stem: str
    point: int
    trial: int
    closed: bool
    slots: int | None
    seconds: float | None
    least: int = 0
    waits: bool = False
    slot_times: tuple[tuple[int, int], ...] = ()
    workers: int
    reuse: bool | None
    kernel_stamps: bool = True
    talks: bool = False
    quotes: bool = False
    rotate_bytes: int = 64 * 1024 * 1024


def worker_count(asked: int | None, streams: int) -> int:
    """How many workers to use: as asked, else one for every 768 streams as far as there are cores."""
    if asked:
        return asked
    cores = os.cpu_count() or 1
    return max(1, min(-(-streams // STREAMS_PER_WORKER), cores // 2))


def encoded(driver: Driver, request: Request, target: Target) -> Call:
    """A request as its driver makes it; a body given word for word takes the place of the driver's."""
    call = driver.encode(request, target)
    return msgspec.structs.replace(call, body=request.body) if request.body else call


class _Plan:
    """Encodes the plan's requests in order, on demand, and hands each worker its share."""

    def __init__(self, trial: Trial, requests: Iterator[Request], asked: AskedWriter) -> None:
        self._trial = trial
        self._requests = requests
        self._asked = asked
        self._encoder = Encoder(trial.endpoint, trial.target)
        self._queues: list[deque[bytes]] = [deque() for _ in range(trial.workers)]
        self._lock = threading.Lock()
        self._replies = Replies(trial.driver, trial.stem) if trial.quotes else None
        self.digests = bytearray()

    def frames(self, worker: int) -> Iterator[bytes]:
        """This worker's calls as frames: each `n`-th arrival of an open loop, or those of its slots.

        What arrives, and what a slot holds, is a whole conversation where there are any.
        """
        trial, queue = self._trial, self._queues[worker]
        while True:
            with self._lock:
                while not queue:
                    request = next(self._requests, None)
                    if request is None:
                        return
                    slot = request.index if request.conversation is None else request.conversation
                    if trial.slot_times and request.conversation is None:
                        # Its slots may be long in coming: nothing piles up for it until then.
                        slot = worker
                    elif trial.closed and trial.slots:
                        slot %= trial.slots
                    self._queues[slot % trial.workers].append(self._frame(request))
                    self._keep_turns_after(request)
                data = queue.popleft()
            yield data

    def _keep_turns_after(self, request: Request) -> None:
        """Hold the rest of a conversation whose prompts can't be known yet."""
        if self._replies is not None:
            for _ in range(request.turns - 1):
                later = next(self._requests)
                self._asked.write(later)
                self._replies.keep(later)

    def quoting(self, worker: int, spooled: list[int]) -> Iterator[bytes]:
        """The turns that follow these answers of a worker, as frames."""
        assert self._replies is not None
        for request, good in self._replies.following(worker, spooled):
            with self._lock:
                frame = self._frame(request) if good else no_reply(request)
            # Writing it may take a while: nobody else's calls wait for that.
            yield frame

    def _frame(self, request: Request) -> bytes:
        trial = self._trial
        self._asked.write(request)
        call = encoded(trial.driver, request, trial.target)
        start, end = request.index * _DIGEST_BYTES, (request.index + 1) * _DIGEST_BYTES
        # Turns that quote an answer are encoded late.
        self.digests += bytes(max(0, end - len(self.digests)))
        self.digests[start:end] = hashlib.sha256(call.body).digest()[:_DIGEST_BYTES]
        payload = self._encoder.encode(call, f"{trial.id_prefix}{request.index}")
        if trial.talks:
            left = request.turns - request.turn - 1
            payload = TURN_HEAD.pack(request.after_ns, request.turn, left) + payload
        due_ns = -1 if request.due_offset_ns is None else request.due_offset_ns
        return CALL_HEAD.pack(len(payload), request.index, due_ns) + payload


def run_trial(
    trial: Trial,
    requests: Iterator[Request],
    *,
    interrupt: Interrupt,
    on_tick: Callable[[Status], None],
) -> TrialRun:
    """Run one trial to its end; its tapes lie in the spools named by `trial.stem`.

    There are never more workers than slots.
    """
    if trial.slots is not None:
        trial = msgspec.structs.replace(trial, workers=min(trial.workers, trial.slots))
    workers: list[WorkerProcess] = []
    with AskedWriter(trial.stem) as asked:
        plan = _Plan(trial, requests, asked)
        try:
            for number in range(trial.workers):
                frames = plan.frames(number)
                workers.append(WorkerProcess(_share(trial, number), frames, trial.quotes))
            start_ns = _watch(workers, plan, interrupt, on_tick)
        finally:
            for worker in workers:
                worker.close()
    return TrialRun(
        start_ns=start_ns,
        workers=tuple(worker.health for worker in workers if worker.health is not None),
        digests=bytes(plan.digests),
    )


def _share(trial: Trial, number: int) -> WorkerSpec:
    """Worker `number`'s part of the trial: 8 slots over 3 workers are 3, 3 and 2."""
    slots, least = trial.slots, trial.least
    if slots is not None:
        slots = _part(slots, trial.workers, number)
        least = -(-least * slots // (trial.slots or 1))
    return trial.endpoint.spec(
        loop="closed" if trial.closed else "open",
        slots=slots,
        seconds=trial.seconds,
        least=least,
        waits=trial.waits,
        slot_times=tuple((at_ns, _part(count, trial.workers, number)) for at_ns, count in trial.slot_times),
        talks=trial.talks,
        reuse=trial.reuse,
        kernel_stamps=trial.kernel_stamps,
        realtime=trial.workers < (os.cpu_count() or 1),
        rotate_bytes=trial.rotate_bytes,
        spool=f"{trial.stem}-{number}",
        spool_header={"point": trial.point, "trial": trial.trial, "id_prefix": trial.id_prefix},
    )


def _part(slots: int, workers: int, number: int) -> int:
    """Worker `number`'s slots: slot k is that of worker k % workers, so a change moves none."""
    return slots // workers + (number < slots % workers)


def _watch(
    workers: Sequence[WorkerProcess], plan: _Plan, interrupt: Interrupt, on_tick: Callable[[Status], None]
) -> int:
    """Wait until all are ready, say go, and follow them to the end; returns the start instant."""
    start_ns, told = 0, 0
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            assert worker.process.stdout is not None
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        while selector.get_map():
            owing = any(worker.spooled for worker in workers)
            for key, _ in selector.select(0.0 if owing else _TICK_S):
                if not key.data.hear():
                    selector.unregister(key.fileobj)
                    key.data.spooled = []
                    _check(key.data)
            for number, worker in enumerate(workers):
                if worker.spooled:
                    worker.follow(partial(plan.quoting, number))
            if interrupt.level > told:
                told = interrupt.level
                for worker in workers:
                    worker.order(b"S" if told > 1 or not start_ns else b"D")
            if not (start_ns or told) and all(worker.ready for worker in workers):
                start_ns = time.monotonic_ns() + _GO_DELAY_NS
                for worker in workers:
                    worker.order(b"G", start_ns)
            if start_ns:
                on_tick(_status(workers, start_ns))
    return start_ns


def _check(worker: WorkerProcess) -> None:
    """A worker has ended; raise if it had no right to."""
    code = worker.process.wait()
    if worker.feed_error is not None:
        raise worker.feed_error
    if code:
        raise BenchsuiteError(f"a measuring process failed: {worker.complaint() or f'exit code {code}'}")


def _status(workers: Sequence[WorkerProcess], start_ns: int) -> Status:
    def total(name: str) -> int:
        return sum(int(worker.latest.get(name, 0)) for worker in workers)

    return Status(
        elapsed_s=max(0.0, (time.monotonic_ns() - start_ns) / 1e9),
        sent=total("sent"),
        done=total("done"),
        errors=total("errors"),
        in_flight=total("in_flight"),
        waits_s=max((float(worker.latest.get("waits_s", 0.0)) for worker in workers), default=0.0),
    )


def segments(directory: Path, stem: str) -> list[Path]:
    """The spool files of a trial (`<stem>-<worker>.<segment>`), oldest first for each worker."""
    found = directory.glob(f"{stem}-*.*")
    return sorted(found, key=lambda path: (path.stem, int(path.suffix[1:])))


def superseded(directory: Path, stem: str) -> list[Path]:
    """The spool files of a trial that a later segment of the same worker has followed."""
    found = segments(directory, stem)
    return [path for path, later in pairwise(found) if path.stem == later.stem]
