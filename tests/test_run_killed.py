"""A run that is killed: what of it is there afterwards."""

import contextlib
import os
import random
import signal
import subprocess
import time

import psutil
import pytest

from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.runs import Store
from tests.test_run import benchsuite, command, environment, records, wait_for_spool


@pytest.mark.slow
def test_kill_9_loses_only_what_was_in_flight_or_ended_in_the_last_second(tmp_path):
    rng = random.Random(5)
    truth = tmp_path / "truth.jsonl"
    with running(SimConfig(ttft_ms=20.0, itl_ms=2.0, truth_path=str(truth))) as simulator:
        killed = []
        for number in range(20):
            store = tmp_path / f"store{number}"
            process = subprocess.Popen(
                command(simulator.url, "--concurrency", "8", "--requests", "400"),
                env=environment(store),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for_spool(store, 1)
            time.sleep(rng.uniform(0.0, 2.0))
            family = [
                process.pid,
                *(child.pid for child in psutil.Process(process.pid).children(recursive=True)),
            ]
            at_ns = time.monotonic_ns()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            killed.append((store, at_ns, family))
        time.sleep(0.5)
    for store, at_ns, family in killed:
        assert not any(psutil.pid_exists(pid) for pid in family)
        benchsuite(store, "store", "recover")
        kept = {record["request_id"] for record in records(store, "--with-warm-up")}
        prefix = Store(store).select("latest").run_id
        ended = {
            entry.request_id
            for entry in read_truth(truth)
            if entry.request_id.startswith(prefix) and entry.outcome == "ok" and entry.end_ns < at_ns - 1e9
        }
        assert ended <= kept
        assert not Store(store).select("latest").spool_dir.exists()
