"""The figures of docs/performance.md: `python -m tests.perf.bench docs/performance.md`.

Errors are against the simulator's own notes of when it sent; CPU is user plus system time of a
whole `benchsuite run` (worker, decoder and parent) minus that of a run of ten requests.
"""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import trustme

from benchsuite.selftest import LEVELS, Level, drive, measure_level
from benchsuite.simulator import SimConfig, TruthEntry, running
from benchsuite.types import SelftestLevel
from tests.perf import aiohttp_client

Row = tuple[str, str, str]
"""What was measured, the figure, and what was promised."""

BURST = SimConfig(ttft_ms=0.0, itl_ms=0.0)


def error_row(name: str, level: SelftestLevel, promise: str) -> Row:
    figures = (
        f"TTFT error p50 {level.ttft_error_p50_ms:.3f}, p99 {level.ttft_error_p99_ms:.3f} ms; "
        f"ITL error p99 {level.itl_error_p99_ms:.3f} ms; coalesced {level.coalesced_share:.2%}; "
        f"server's lateness p99 {level.simulator_lateness_p99_ms:.3f} ms"
    )
    return name, figures, promise


def accuracy() -> list[Row]:
    promise = "p50 ≤ 0.1, p99 ≤ 0.7; ITL p99 ≤ 0.2 ms"
    rows = []
    for level in LEVELS[:4]:
        rows.append(error_row(f"{level.label}, lock-step", measure_level(level)[0], promise))
    small = Level(streams=64, requests=192, tokens=100)
    double = "within 2× of that"
    rows.append(error_row("64 streams, TLS", _tls(small), double))
    for name, config in (
        ("closed after each answer", SimConfig(keep_alive=False)),
        ("HTTP/1.0", SimConfig(http10=True)),
    ):
        rows.append(error_row(f"64 streams, {name}", measure_level(small, config)[0], double))
    thousand = Level(streams=1000, requests=1000, tokens=100)
    rows.append(error_row("1,000 streams", measure_level(thousand)[0], "coalesced < 1 %"))
    rows.append(error_row("64 streams, user stamps", measure_level(small, kernel_stamps=False)[0], "–"))
    rate = measure_level(LEVELS[4])[0]
    figures = f"{rate.achieved_rate:.2f} requests/s, send lag p99 {rate.send_lag_p99_ms:.3f} ms"
    rows.append(("200 requests/s for 10 s", figures, "200 ± 1; lag p99 ≤ 3 ms"))
    return rows


def _tls(level: Level) -> SelftestLevel:
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        ca, pem = f"{folder}/ca.pem", f"{folder}/server.pem"
        authority.cert_pem.write_to_path(ca)
        certificate.private_key_and_cert_chain_pem.write_to_path(pem)
        return measure_level(level, SimConfig(tls_cert=pem, tls_key=pem), ca_cert=ca)[0]


def role_chunk() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        config = SimConfig(ttft_ms=200.0, role_chunk="early")
        with running(config) as simulator:
            heard, _ = drive(Level(streams=1, requests=10, tokens=10), simulator.url, folder)
    ttft = statistics.median(
        (r.first_token_ns - r.sent_ns) / 1e6 for r in heard if r.first_token_ns and r.sent_ns
    )
    first = statistics.median(
        (r.first_byte_ns - r.sent_ns) / 1e6 for r in heard if r.first_byte_ns and r.sent_ns
    )
    return [
        ("Role chunk at 0 ms, first token at 200 ms", f"TTFT {ttft:.1f} ms, first byte {first:.1f} ms", "200")
    ]


def aiohttp_error(streams: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        with running(SimConfig(truth_path=f"{folder}/truth.jsonl")) as simulator:
            seen = aiohttp_client.drive(simulator.url, streams, streams * 3, 100)
        truth: dict[str, TruthEntry] = {entry.request_id: entry for entry in simulator.truth()}
    errors = [(stamps[0] - truth[name].events_ns[0]) / 1e6 for name, _sent, stamps in seen]
    p50, p99 = np.percentile(errors, [50, 99])
    return [
        (f"{streams} streams, minimal aiohttp client", f"TTFT error p50 {p50:.2f}, p99 {p99:.2f} ms", "–")
    ]


# ---------------------------------------------------------------- cost of measuring


class Cost:
    """CPU and wall seconds of one command, and its peak memory (MiB, all processes), also while measuring."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        start_s = time.monotonic()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            self.peak_mib = self.measuring_mib = 0.0
            watcher = threading.Thread(target=self._watch, args=(process.pid,), daemon=True)
            watcher.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.wall_s = time.monotonic() - start_s
            self.cpu_s = usage.ru_utime + usage.ru_stime
            watcher.join()
            if process.returncode not in {0, 3}:
                log.seek(0)
                raise RuntimeError(log.read().decode()[-2000:])

    def _watch(self, pid: int) -> None:
        try:
            root = psutil.Process(pid)
            while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
                total = 0
                workers = root.children(recursive=True)
                for process in (root, *workers):
                    try:
                        total += process.memory_info().rss
                    except psutil.Error:
                        continue
                self.peak_mib = max(self.peak_mib, total / 2**20)
                if workers:
                    self.measuring_mib = max(self.measuring_mib, total / 2**20)
                time.sleep(0.05)
        except psutil.Error:
            return


def run_cost(url: str, requests: int, tokens: int, streams: int = 64, workers: int = 1) -> Cost:
    """A whole `benchsuite run` against a simulator that is already running."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--url", url]
        command += ["--prompt-tokens", "32", "--output-tokens", str(tokens), "--trials", "1"]
        command += ["--requests", str(requests), "--concurrency", str(streams), "--workers", str(workers)]
        return Cost(command, {**os.environ, "BENCHSUITE_STORE": store})


def aiohttp_cost(url: str, requests: int, tokens: int) -> Cost:
    script = str(Path(aiohttp_client.__file__))
    return Cost([sys.executable, script, url, "64", str(requests), str(tokens)], dict(os.environ))


def cpu_per_event(
    config: SimConfig, requests: int, tokens: int, cost: Callable[[str, int, int], Cost]
) -> float:
    """CPU µs per token event, start-up taken off."""
    with running(config) as simulator:
        base = cost(simulator.url, 10, tokens)
        full = cost(simulator.url, requests, tokens)
    return (full.cpu_s - base.cpu_s) / ((requests - 10) * tokens) * 1e6


def cpu() -> list[Row]:
    ours, theirs = [], []
    for _ in range(3):
        ours.append(cpu_per_event(BURST, 20_000, 16, run_cost))
        theirs.append(cpu_per_event(BURST, 5_000, 16, aiohttp_cost))
    burst, burst_aio = statistics.median(ours), statistics.median(theirs)
    paced = cpu_per_event(SimConfig(ttft_ms=50.0, itl_ms=10.0), 1_280, 100, run_cost)
    paced_aio = cpu_per_event(SimConfig(ttft_ms=50.0, itl_ms=10.0), 640, 100, aiohttp_cost)
    return [
        ("CPU per event, bursts of 16 tokens, 64 streams, median of 3", f"{burst:.1f} µs", "≤ 8, goal 6"),
        ("the same, minimal aiohttp client", f"{burst_aio:.1f} µs ({burst_aio / burst:.1f}×)", "≥ 3×"),
        ("CPU per event, paced, 64 streams × 100 tokens/s", f"{paced:.1f} µs", "≤ 15"),
        ("the same, minimal aiohttp client", f"{paced_aio:.1f} µs ({paced_aio / paced:.1f}×)", "–"),
    ]


def throughput() -> list[Row]:
    """Events through one worker while the server sends as fast as it can."""
    level = Level(streams=64, requests=20_000, tokens=16)
    with tempfile.TemporaryDirectory() as folder, running(BURST) as simulator:
        heard, done = drive(level, simulator.url, folder)
    seconds = max(record.end_ns for record in heard) - min(record.sent_ns or 0 for record in heard)
    rate = sum(len(record.gaps_us) + 1 for record in heard) / (seconds / 1e9)
    busy = done.workers[0].cpu_s / done.workers[0].wall_s
    figure = f"{rate:,.0f} events/s, worker {busy:.0%} of a core"
    return [("Events/s through one worker, 16-token answers", figure, "≥ 100,000")]


def footprint() -> list[Row]:
    with running(SimConfig()) as simulator:
        small = run_cost(simulator.url, 10, 16, streams=10)
    with running(BURST) as simulator:
        half = run_cost(simulator.url, 100_000, 16)
        whole = run_cost(simulator.url, 200_000, 16)
    measuring = (whole.measuring_mib - half.measuring_mib) * 2**20 / 100_000
    after = (whole.peak_mib - half.peak_mib) * 2**20 / 100_000
    return [
        (
            "10 requests on a running simulator",
            f"{small.wall_s:.2f} s, {small.peak_mib:.0f} MiB",
            "< 1.5 s, < 250 MB",
        ),
        (
            "200,000 requests of 16 tokens, while measuring",
            f"{whole.measuring_mib:.0f} MiB; {measuring:.0f} bytes a request more than at 100,000",
            "doesn't grow",
        ),
        (
            "the same, while summarising",
            f"{whole.peak_mib:.0f} MiB; {after:.0f} bytes a request more than at 100,000",
            "–",
        ),
    ]


def startup() -> list[Row]:
    times = []
    for _ in range(7):
        start_s = time.monotonic()
        subprocess.run([sys.executable, "-m", "benchsuite", "--help"], check=True, capture_output=True)
        times.append(time.monotonic() - start_s)
    return [("`benchsuite --help`, median of 7", f"{statistics.median(times) * 1000:.0f} ms", "< 150 ms")]


def main(path: str) -> None:
    """Run all parts and write the table."""
    parts = (
        startup,
        accuracy,
        role_chunk,
        lambda: aiohttp_error(64),
        lambda: aiohttp_error(512),
        throughput,
        cpu,
        footprint,
    )
    rows: list[Row] = []
    for part in parts:
        for row in part():
            print(" | ".join(row), flush=True)
            rows.append(row)
    text = (
        "# Performance of benchsuite itself\n\n"
        "Made by `make bench`; run it on your machine. The simulator and the client share the cores, so the "
        "errors hold the machine's noise too.\n\n"
        f"{datetime.date.today().isoformat()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}.\n\n"
        "| What | Figure | Aim |\n| --- | --- | --- |\n"
    )
    text += "".join(f"| {name} | {figure} | {aim} |\n" for name, figure, aim in rows)
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
