"""`make prove`: is the capacity that is found the true one? Too long for the tests; prints a table of seeds.

The simulator serves as a queue: Poisson arrivals, so many slots, service times that are always the same
(M/D/c). What it can take is computed here once more, by a simulation of that queue in a few lines which knows
nothing of benchsuite: no sockets, no clocks, no code shared. Each seed is a whole `benchsuite capacity`.
"""

import argparse
import heapq
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from beside import FIRST, simulator

SLOTS, SERVICE_S, LIMIT_S, SHARE = 32, 0.1, 0.15, 0.95
"""The queue, and the limit: 95 % of first tokens within 150 ms, of which service takes 100."""
ARRIVALS = 400_000
NEEDED = (18, 20)
WITHIN = 0.05


def share_in_time(rate: float, arrivals: int = ARRIVALS, seed: int = 1) -> float:
    """The share of an M/D/c queue's customers that are served within the limit, by simulating it."""
    draw, free, at, good = random.Random(seed), [0.0] * SLOTS, 0.0, 0
    unseen = arrivals // 50
    for number in range(arrivals):
        at += draw.expovariate(rate)
        begins = max(at, heapq.heappop(free))
        heapq.heappush(free, begins + SERVICE_S)
        good += number >= unseen and begins + SERVICE_S - at <= LIMIT_S
    return good / (arrivals - unseen)


def true_capacity() -> float:
    """The rate at which just so many are in time, by bisection."""
    low, high = 0.5 * SLOTS / SERVICE_S, SLOTS / SERVICE_S
    while high / low > 1.001:
        middle = (low + high) / 2
        low, high = (middle, high) if share_in_time(middle) >= SHARE else (low, middle)
    return (low + high) / 2


def found(url: str, seed: int, store: str) -> dict[str, object]:
    """One capacity search, as it is typed."""
    command = [*FIRST, sys.executable, "-m", "benchsuite", "capacity", "--backend", "sim", "--url", url]
    command += ["--slo", f"ttft_p{100 * SHARE:g}={1000 * LIMIT_S:g}ms", "--prompt-tokens", "16"]
    command += ["--output-tokens", "1", "--seed", str(seed), "--store", store, "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in {0, 3}:
        raise SystemExit(done.stderr.decode())
    return json.loads(done.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 if enough seeds lie near the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=NEEDED[1])
    parser.add_argument("--port", type=int, default=8937)
    given = parser.parse_args(argv)
    truth = true_capacity()
    print(f"M/D/{SLOTS}, service {1000 * SERVICE_S:g} ms; {100 * SHARE:g} % within {1000 * LIMIT_S:g} ms")
    print(
        f"true capacity {truth:.1f} req/s, {100 * truth * SERVICE_S / SLOTS:.1f} % of the slots' time",
        flush=True,
    )
    print("seed   truth   found   error  searches alone           levels  seconds  verdict")
    near = 0
    with (
        tempfile.TemporaryDirectory() as store,
        simulator(given.port, "--itl", "0", "--ttft", f"{SERVICE_S}s", "--slots", str(SLOTS)) as url,
    ):
        for seed in range(1, given.seeds + 1):
            began, again = time.monotonic(), ""
            run = found(url, seed, store)
            if run["verdict"] == "invalid":
                # It says itself that the client was measured.
                run, again = found(url, seed, store), ", once more"
            capacity = run["capacity"]
            assert isinstance(capacity, dict)
            error = capacity["value"] / truth - 1
            near += abs(error) <= WITHIN
            alone = " ".join(f"{each:6.1f}" for each in capacity["searches"])
            print(
                f"{seed:4d}  {truth:6.1f}  {capacity['value']:6.1f}  {100 * error:+5.1f} %  {alone:24s} "
                f"{len(capacity['levels']):6d}  {time.monotonic() - began:7.1f}  {run['verdict']}{again}",
                flush=True,
            )
    needed = -(-NEEDED[0] * given.seeds // NEEDED[1])
    print(f"{near} of {given.seeds} within {100 * WITHIN:g} %; {needed} are needed")
    return 0 if near >= needed else 1


if __name__ == "__main__":
    sys.exit(main())
