"""One trial from the parent's side: start the workers, feed them, watch them, collect their spools."""

import contextlib
import hashlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from benchsuite.driver import Driver
from benchsuite.engine.asked import AskedWriter
from benchsuite.engine.endpoint import Encoder, Endpoint
from benchsuite.engine.spec import CALL_HEAD, END_OF_CALLS, GO, SPEC_HEAD, WorkerSpec
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
    workers: int
    reuse: bool | None
    kernel_stamps: bool = True
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
        self.digests = bytearray()

    def frames(self, worker: int) -> Iterator[bytes]:
        """This worker's calls as frames: each `n`-th arrival of an open loop, or those of its slots."""
        trial, queue = self._trial, self._queues[worker]
        while True:
            with self._lock:
                while not queue:
                    request = next(self._requests, None)
                    if request is None:
                        return
                    slot = request.index % trial.slots if trial.closed and trial.slots else request.index
                    owner = slot % trial.workers
                    self._queues[owner].append(self._frame(request))
                data = queue.popleft()
            yield data

    def _frame(self, request: Request) -> bytes:
        trial = self._trial
        self._asked.write(request)
        call = encoded(trial.driver, request, trial.target)
        self.digests += hashlib.sha256(call.body).digest()[:_DIGEST_BYTES]
        payload = self._encoder.encode(call, f"{trial.id_prefix}{request.index}")
        due_ns = -1 if request.due_offset_ns is None else request.due_offset_ns
        return CALL_HEAD.pack(len(payload), request.index, due_ns) + payload


class _WorkerProcess:
    """One worker process, its pipes and its feeding thread."""

    def __init__(self, spec: WorkerSpec, frames: Iterator[bytes]) -> None:
        control_read, self._control = os.pipe()
        spec = msgspec.structs.replace(spec, control_fd=control_read)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchsuite.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(control_read,),
            start_new_session=True,
        )
        os.close(control_read)
        self.latest: dict[str, Any] = {}
        self.ready = False
        self.health: WorkerHealth | None = None
        self.feed_error: BaseException | None = None
        self._rest = b""
        self._thread = threading.Thread(target=self._feed, args=(spec, frames), daemon=True)
        self._thread.start()

    def _feed(self, spec: WorkerSpec, frames: Iterator[bytes]) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        data = msgspec.msgpack.encode(spec)
        try:
            stdin.write(SPEC_HEAD.pack(len(data)) + data)
            for frame in frames:
                stdin.write(frame)
            stdin.write(END_OF_CALLS)
            stdin.flush()
        except (BrokenPipeError, ValueError):
            pass
        except BaseException as error:
            self.feed_error = error
            self.order(b"S")
        finally:
            with contextlib.suppress(BrokenPipeError, ValueError):
                stdin.close()

    def order(self, word: bytes, at_ns: int = 0) -> None:
        """Send `G`o, `D`rain or `S`top."""
        with contextlib.suppress(BrokenPipeError, OSError):
            os.write(self._control, GO.pack(word, at_ns))

    def hear(self) -> bool:
        """Take in what the worker says; False at its end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line)
            if "ready" in message:
                self.ready = True
            elif "health" in message:
                self.health = msgspec.convert(message["health"], WorkerHealth)
            else:
                self.latest = message
        return bool(data)

    def close(self) -> None:
        """End the worker if it is still there, and let go of its pipes."""
        control, self._control = self._control, -1
        os.close(control)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(timeout=5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def complaint(self) -> str:
        """The last line the worker wrote to stderr, if it failed."""
        assert self.process.stderr is not None
        lines = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


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
    workers: list[_WorkerProcess] = []
    with AskedWriter(trial.stem) as asked:
        plan = _Plan(trial, requests, asked)
        try:
            for number in range(trial.workers):
                workers.append(_WorkerProcess(_share(trial, number), plan.frames(number)))
            start_ns = _watch(workers, interrupt, on_tick)
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
        slots = slots // trial.workers + (number < slots % trial.workers)
        least = -(-least * slots // (trial.slots or 1))
    return trial.endpoint.spec(
        loop="closed" if trial.closed else "open",
        slots=slots,
        seconds=trial.seconds,
        least=least,
        waits=trial.waits,
        reuse=trial.reuse,
        kernel_stamps=trial.kernel_stamps,
        realtime=trial.workers < (os.cpu_count() or 1),
        rotate_bytes=trial.rotate_bytes,
        spool=f"{trial.stem}-{number}",
        spool_header={"point": trial.point, "trial": trial.trial, "id_prefix": trial.id_prefix},
    )


def _watch(workers: Sequence[_WorkerProcess], interrupt: Interrupt, on_tick: Callable[[Status], None]) -> int:
    """Wait until all are ready, say go, and follow them to the end; returns the start instant."""
    start_ns, told = 0, 0
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            assert worker.process.stdout is not None
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        while selector.get_map():
            for key, _ in selector.select(_TICK_S):
                if not key.data.hear():
                    selector.unregister(key.fileobj)
                    _check(key.data)
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


def _check(worker: _WorkerProcess) -> None:
    """A worker has ended; raise if it had no right to."""
    code = worker.process.wait()
    if worker.feed_error is not None:
        raise worker.feed_error
    if code:
        raise BenchsuiteError(f"a measuring process failed: {worker.complaint() or f'exit code {code}'}")


def _status(workers: Sequence[_WorkerProcess], start_ns: int) -> Status:
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
