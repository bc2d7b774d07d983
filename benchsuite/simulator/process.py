"""A simulator in a process of its own, which never outlives its parent."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchsuite.errors import TargetError, UsageError
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.truth import TruthEntry, read_truth
from benchsuite.types import Noun

_END_S = 10.0


class Simulator(Noun, frozen=True, kw_only=True):
    """A simulator that listens at `url` (no slash at its end)."""

    url: str
    pid: int
    truth_path: str | None = None

    def truth(self) -> list[TruthEntry]:
        """The log so far; complete once the `with` block is left, up to 0.2 s behind within it."""
        if self.truth_path is None:
            raise UsageError("this simulator keeps no truth log; give its SimConfig a truth_path")
        return read_truth(self.truth_path)


@contextmanager
def running(config: SimConfig) -> Iterator[Simulator]:
    """Start a simulator, hand it out when it listens, and end it; TargetError where it can't start."""
    setup = msgspec.json.encode(config).decode()
    argv = [sys.executable, "-P", "-m", "benchsuite.simulator", "--until-eof", "--config", setup]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        try:
            line = process.stdout.readline()
            if not line:
                said = process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise TargetError(f"the simulator did not start: {said}")
            ready = msgspec.json.decode(line)
            yield Simulator(url=ready["url"], pid=ready["pid"], truth_path=config.truth_path)
        finally:
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
