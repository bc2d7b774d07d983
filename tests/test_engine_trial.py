"""Stopping early, failing, and dying: what a trial leaves behind then."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from benchsuite.engine.progress import Sampler
from benchsuite.engine.trial import Interrupt, Status, worker_count
from benchsuite.engine.worker import AHEAD_BYTES
from benchsuite.errors import BenchsuiteError, UsageError
from benchsuite.types import Message, Point, Request


def children() -> list[psutil.Process]:
    """Worker processes of this test that are still there."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]


def hold_back(wire: Any, gate: threading.Event, quick: int) -> Any:
    """Answer the first `quick` requests at once, the others only once the gate is open."""

    def script(peer: Any) -> None:
        while (heard := peer.request()) is not None:
            while int(heard.request_id[4:]) >= quick and not gate.is_set():
                if peer.server.stop.wait(0.005):
                    return
            peer.answer(wire.sized())

    return script


def test_a_first_interrupt_drains(serve: Any, wire: Any, drive: Any) -> None:
    gate, interrupt = threading.Event(), Interrupt()
    server = serve(hold_back(wire, gate, quick=4))

    def on_tick(status: Status) -> None:
        if status.in_flight == 2 and status.done == 4:
            if interrupt.level:
                gate.set()
            interrupt.level = 1

    done = drive.run(drive.trial(server, slots=2), drive.requests(1000), interrupt, on_tick)
    assert [record.outcome for record in done.records] == ["ok"] * 6
    assert len(server.heard) == 6
    assert done.run.workers[0].stopped


def test_a_second_interrupt_stops_now_and_keeps_what_has_ended(serve: Any, wire: Any, drive: Any) -> None:
    gate, interrupt = threading.Event(), Interrupt()
    server = serve(hold_back(wire, gate, quick=4))

    def on_tick(status: Status) -> None:
        if status.in_flight == 2 and status.done == 4:
            interrupt.level += 1

    done = drive.run(drive.trial(server, slots=2), drive.requests(1000), interrupt, on_tick)
    assert not gate.is_set()
    gate.set()
    assert [(record.index, record.outcome) for record in done.records] == [(i, "ok") for i in range(4)]
    assert done.run.workers[0].stopped
    assert children() == []


def test_an_open_loop_drains_too(serve: Any, wire: Any, drive: Any) -> None:
    gate, interrupt = threading.Event(), Interrupt()
    server = serve(hold_back(wire, gate, quick=0))

    def on_tick(status: Status) -> None:
        if status.in_flight == 2:
            if interrupt.level:
                gate.set()
            interrupt.level = 1

    offsets_ns = [0, 0, 0, 60_000_000_000]
    trial = drive.trial(server, closed=False, slots=2)
    done = drive.run(trial, drive.requests(4, offsets_ns), interrupt, on_tick)
    assert [record.outcome for record in done.records] == ["ok", "ok"]


def test_an_interrupt_before_the_start_sends_nothing(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=1000))
    interrupt = Interrupt()
    interrupt.level = 1
    done = drive.run(drive.trial(server), drive.requests(10), interrupt)
    assert done.records == []
    assert server.heard == []


def test_a_worker_that_crashes_is_one_error(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=4))
    killed: list[int] = []

    def on_tick(status: Status) -> None:
        if status.done == 4 and not killed:
            killed.append(children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(BenchsuiteError, match="measuring process failed: exit code -9"):
        drive.run(drive.trial(server, slots=2, workers=2), drive.requests(1000), None, on_tick)
    assert children() == []


def test_a_worker_that_cannot_write_its_spool_says_why(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=1000))
    with pytest.raises(BenchsuiteError, match="No such file or directory"):
        drive.run(drive.trial(server, stem="/nowhere/0-1"), drive.requests(2))


def test_what_goes_wrong_while_planning_or_encoding_comes_out(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=1000))

    def broken_plan() -> Iterator[Request]:
        yield from drive.requests(3)
        raise ZeroDivisionError("in the plan")

    with pytest.raises(ZeroDivisionError, match="in the plan"):
        drive.run(drive.trial(server, slots=2, workers=2), broken_plan())
    target = drive.target(server, options={"endpoint": "nonsense"})
    with pytest.raises(UsageError, match="nonsense"):
        drive.run(drive.trial(server, target=target), drive.requests(3))
    assert children() == []


def test_an_exception_of_the_caller_ends_the_workers(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=0))

    def on_tick(status: Status) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive.run(drive.trial(server, workers=2, slots=2), drive.requests(4), None, on_tick)
    assert children() == []


def test_no_worker_outlives_a_killed_parent(serve: Any, wire: Any, drive: Any) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=0))
    code = f"""
        from benchsuite.driver import load
        from benchsuite.engine.endpoint import resolve
        from benchsuite.engine.trial import Interrupt, Trial, run_trial
        from benchsuite.types import Connection, Message, Request, Target

        target = Target(backend="sim", url={server.url!r}, model="m")
        words = (Message(role="user", content="a"),)
        requests = (
            Request(index=i, phase="measure", messages=words, cache="cold", max_output_tokens=1,
                min_output_tokens=1)
            for i in range(9)
        )
        trial = Trial(
            endpoint=resolve(target, Connection()), target=target, driver=load("sim"), id_prefix="req-",
            stem={str(drive.folder / "0-1")!r}, point=0, trial=1, closed=True, slots=2, seconds=None,
            workers=2, reuse=None,
        )
        run_trial(trial, requests, interrupt=Interrupt(), on_tick=lambda status: None)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline_s = time.monotonic() + 30
    while len(server.heard) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.02)
    workers = psutil.Process(parent.pid).children()
    assert len(workers) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _gone, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def test_status_and_progress_add_up(serve: Any, wire: Any, drive: Any) -> None:
    gate = threading.Event()
    server = serve(hold_back(wire, gate, quick=6))
    seen: list[Status] = []
    trial = drive.trial(server, slots=2, workers=2)
    point = Point(index=0, prompt_tokens=5, output_tokens=3, concurrency=2)
    counts = {"points": 1, "trial": 1, "trials": 3, "total": 8, "total_s": None}
    sampler = Sampler(drive.driver, drive.folder, "0-1", point=point, phase="measure", **counts)

    def on_tick(status: Status) -> None:
        seen.append(status)
        progress = sampler.progress(status)
        if status.done == 6 and status.in_flight == 2 and progress.ttft_ms is not None:
            assert (status.sent, status.errors, progress.done, progress.total) == (8, 0, 6, 8)
            assert progress.ttft_ms > 0
            gate.set()

    done = drive.run(trial, drive.requests(8), None, on_tick)
    assert gate.is_set()
    assert len(done.records) == 8
    assert [status.elapsed_s for status in seen] == sorted(status.elapsed_s for status in seen)
    health = done.run.workers
    assert sum(worker.sent for worker in health) == 8
    assert not any(worker.stopped or worker.clock_steps for worker in health)


def test_a_worker_loads_nothing_heavy() -> None:
    code = "import sys, benchsuite.engine.worker; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"numpy", "pyarrow", "asyncio", "click", "rich", "benchsuite.store", "benchsuite.engine.trial"}
    heavy |= {"email.utils", "benchsuite.wire"}
    assert not heavy & set(loaded.split())


def test_workers_are_few_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [worker_count(None, streams) for streams in (1, 768, 769, 100_000)] == [1, 1, 2, 4]
    assert worker_count(3, 1) == 3


def test_spools_are_private(serve: Any, wire: Any, drive: Any, tmp_path: Path) -> None:
    server = serve(hold_back(wire, threading.Event(), quick=1000))
    drive.run(drive.trial(server), drive.requests(1))
    paths = list(tmp_path.iterdir())
    assert {path.suffix for path in paths} == {".0", ".asked"}
    for path in paths:
        assert path.stat().st_mode & 0o777 == 0o600
        assert msgspec.json.encode("prompt 0") not in path.read_bytes()


def test_a_plan_that_fails_fails_the_trial(serve: Any, wire: Any, drive: Any) -> None:
    """Whatever it raises: a pipe that is closed raises the like."""

    def requests() -> Iterator[Request]:
        yield from drive.requests(4)
        raise ValueError("no fifth one")

    server = serve(hold_back(wire, threading.Event(), quick=4))
    with pytest.raises(ValueError, match="no fifth one"):
        drive.run(drive.trial(server), requests())
    assert not children()


def test_idle_connections_that_a_server_ends_all_at_once_are_let_go(
    serve: Any, wire: Any, drive: Any
) -> None:
    """The first one's end closes the others, whose own end is among what the same look brought."""
    count, later_ns = 4, 600_000_000

    def sleep_through_the_end() -> None:
        time.sleep(0.1)
        (worker,) = children()
        worker.suspend()
        threading.Timer(0.2, worker.resume).start()

    answered = threading.Barrier(count, sleep_through_the_end)

    def script(peer: Any) -> None:
        while (heard := peer.request()) is not None:
            peer.answer(wire.sized())
            if int(heard.request_id.removeprefix(drive.ID_PREFIX)) < count:
                answered.wait(10)
                return

    trial = drive.trial(serve(script), closed=False, slots=None)
    done = drive.run(trial, drive.requests(2 * count, [0] * count + [later_ns] * count))
    assert [record.outcome for record in done.records] == ["ok"] * 2 * count


def test_calls_held_ahead_are_bounded_in_bytes(serve: Any, wire: Any, drive: Any) -> None:
    """One slot needs one call to go on, so large ones wait in the plan, not in memory."""
    planned: list[int] = []
    planned_at_first: list[int] = []

    def script(peer: Any) -> None:
        while peer.request() is not None:
            planned_at_first.append(len(planned))
            peer.server.stop.wait(20)

    def large() -> Iterator[Request]:
        for request in drive.requests(200):
            planned.append(request.index)
            words = (Message(role="user", content="x" * (AHEAD_BYTES // 64)),)
            yield msgspec.structs.replace(request, messages=words)

    server, interrupt = serve(script), Interrupt()

    def on_tick(status: Status) -> None:
        interrupt.level = 2 * bool(server.heard)

    drive.run(drive.trial(server), large(), interrupt, on_tick)
    # Besides those held: one in the pipe, and one about to be written to it.
    assert planned_at_first[0] <= 64 + 2
