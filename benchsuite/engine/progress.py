"""How a trial is doing so far, from a sample of its spool, while it runs."""

from collections import deque
from pathlib import Path
from statistics import median

from benchsuite.driver import Driver
from benchsuite.engine.decode import decoded
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import Status, segments
from benchsuite.types import Phase, Point, Progress

_SAMPLE = 8
_EVERY_S = 1.0
"""Tapes decoded at a time, and how often: enough to say how it goes, too few to disturb."""

_NEWEST_BYTES = 512 * 1024


class Sampler:
    """Turns a trial's status into a Progress with TTFT, tokens/s and lag of a few recent answers."""

    def __init__(
        self,
        driver: Driver,
        directory: Path,
        stem: str,
        *,
        point: Point,
        points: int,
        phase: Phase,
        trial: int,
        trials: int,
        total: int | None,
        total_s: float | None,
    ) -> None:
        self._driver = driver
        self._directory, self._stem = directory, stem
        self._point, self._points, self._phase = point, points, phase
        self._trial, self._trials, self._total, self._total_s = trial, trials, total, total_s
        self._reader: SpoolReader | None = None
        self._read_s = 0.0
        self._ttft_ms: deque[float] = deque(maxlen=200)
        self._lag_ms: deque[float] = deque(maxlen=200)
        self._tokens: deque[int] = deque(maxlen=200)

    def progress(self, status: Status) -> Progress:
        """The state to show now."""
        if status.elapsed_s >= self._read_s + _EVERY_S:
            self._read_s = status.elapsed_s
            self._read()
        elapsed_s = max(status.elapsed_s, 1e-9)
        rate = status.done / elapsed_s
        return Progress(
            point=self._point,
            points=self._points,
            phase=self._phase,
            trial=self._trial,
            trials=self._trials,
            elapsed_s=status.elapsed_s,
            total_s=self._total_s,
            done=status.done,
            total=self._total,
            errors=status.errors,
            in_flight=status.in_flight,
            rate=rate,
            ttft_ms=median(self._ttft_ms) if self._ttft_ms else None,
            tokens_per_s=rate * sum(self._tokens) / len(self._tokens) if self._tokens else None,
            lag_ms=max(self._lag_ms) if self._lag_ms else None,
            waits_s=status.waits_s,
        )

    def _read(self) -> None:
        """Decode a few of the newest tapes of the first worker."""
        found = [path for path in segments(self._directory, self._stem) if path.stem.endswith("-0")]
        if not found:
            return
        newest = found[-1]
        if self._reader is None or self._reader.path != newest:
            self._reader = SpoolReader(newest)
        self._reader.skip_to_last(_NEWEST_BYTES)
        for tape in self._reader.read(limit=_SAMPLE):
            reply = decoded(tape, self._driver)
            if reply.arrival_ns:
                self._ttft_ms.append((reply.arrival_ns[0] - tape.sent_ns) / 1e6)
                self._tokens.append(reply.output_tokens or len(reply.arrival_ns))
            if tape.sent_ns:
                self._lag_ms.append((tape.sent_ns - tape.due_ns) / 1e6)
