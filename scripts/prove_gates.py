"""`make prove`: live gates on the simulator: unchanged ones mustn't fail, ones that are 10 % slower must.

Each gate is a whole `benchsuite gate` against a simulator that runs beside it. What the rule promises was
proved by simulation (docs/statistics.md); this shows that the measurements behind it are as the rule takes
them to be.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from beside import FIRST, simulator

GATES, FAILURES_NEEDED = 20, (19, 20)
TTFT_MS, ITL_MS, SLOWER = 50.0, 10.0, 1.1
ASKED = ["--prompt-tokens", "64", "--output-tokens", "8", "--concurrency", "4", "--requests", "40"]


def timed(port: int, factor: float) -> AbstractContextManager[str]:
    """A server whose times are `factor` times the base's."""
    return simulator(port, "--ttft", f"{TTFT_MS * factor:g}ms", "--itl", f"{ITL_MS * factor:g}ms")


def gated(target: str, base: str, store: str) -> tuple[int, dict[str, object]]:
    """One gate as it is typed: its exit code and what it says; nothing where the measurement was invalid."""
    command = [
        *FIRST,
        sys.executable,
        "-m",
        "benchsuite",
        "gate",
        f"sim@{target}",
        "--against",
        f"sim@{base}",
    ]
    command += [*ASKED, "--store", store, "--format", "json", "--yes"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in {0, 1, 3, 5}:
        raise SystemExit(done.stderr.decode())
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def row(kind: str, number: int, target: str, base: str, store: str) -> int:
    """One gate, told in a line; once more where it called itself invalid."""
    began, again = time.monotonic(), ""
    code, found = gated(target, base, store)
    if code == 3:
        (code, found), again = gated(target, base, store), ", once more"
    decision = found.get("decision")
    worst, pairs = float("nan"), 0
    if isinstance(decision, dict):
        pairs = decision["pairs"]
        worst = max(each["ratio"] for each in decision["judged"] if each["ratio"] is not None)
    verdict = found.get("verdict", "invalid")
    print(
        f"{kind:9s} {number:3d}  exit {code}  {verdict:9s} after {pairs:2d} pairs, "
        f"worst {100 * (worst - 1):+5.1f} %, {time.monotonic() - began:5.1f} s{again}",
        flush=True,
    )
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 if no unchanged gate failed and enough of the slower ones did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=GATES)
    parser.add_argument("--port", type=int, default=8941)
    given = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as store,
        timed(given.port, 1.0) as base,
        timed(given.port + 1, 1.0) as same,
        timed(given.port + 2, SLOWER) as slower,
    ):
        numbers = range(1, given.gates + 1)
        unchanged = [row("unchanged", number, same, base, store) for number in numbers]
        changed = [row("slower", number, slower, base, store) for number in numbers]
    failed, caught = unchanged.count(1), changed.count(1)
    needed = -(-FAILURES_NEEDED[0] * given.gates // FAILURES_NEEDED[1])
    print(f"unchanged: {failed} of {given.gates} failed (none may), {unchanged.count(0)} passed")
    print(f"{SLOWER:g} times as slow: {caught} of {given.gates} failed ({needed} are needed)")
    return 0 if not failed and caught >= needed else 1


if __name__ == "__main__":
    sys.exit(main())
