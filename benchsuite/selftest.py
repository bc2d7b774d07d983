"""How far off this machine's own measurements are: the engine against a server whose truth is known.

The simulator notes the instant right before each `send`; the difference between that and our stamp
of the same event is our error. Streams run in lock-step, the hardest case: all events of a wave
come at once.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchsuite import __version__
from benchsuite.driver import load
from benchsuite.engine.decode import records
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import Interrupt, Trial, TrialRun, run_trial, segments, worker_count
from benchsuite.errors import InvalidMeasurement
from benchsuite.simulator import SimConfig, TruthEntry, running
from benchsuite.store.runs import Store
from benchsuite.telemetry.machine import fingerprint
from benchsuite.types import (
    Connection,
    Message,
    Noun,
    Record,
    Request,
    Selftest,
    SelftestLevel,
    Stage,
    Target,
)

TTFT_MS = 50.0
ITL_MS = 10.0


class Level(Noun, frozen=True, kw_only=True):
    """One load to test: `streams` in lock-step, or `rate` requests/s, each answered by `tokens` tokens."""

    streams: int | None = None
    rate: float | None = None
    requests: int
    tokens: int

    @property
    def label(self) -> str:
        """The load in a few words."""
        if self.rate is not None:
            return f"{self.rate:g} requests/s"
        return "1 stream" if self.streams == 1 else f"{self.streams} streams"


LEVELS = (
    Level(streams=1, requests=4, tokens=100),
    Level(streams=64, requests=192, tokens=100),
    Level(streams=256, requests=768, tokens=100),
    Level(streams=512, requests=1536, tokens=100),
    Level(rate=200.0, requests=2000, tokens=20),
)
QUICK_LEVELS = (
    Level(streams=1, requests=1, tokens=100),
    Level(streams=64, requests=64, tokens=100),
    Level(rate=200.0, requests=200, tokens=20),
)


def selftest(store: Store, *, tell: Callable[[Stage], None], quick: bool = False) -> Selftest:
    """Measure the simulator at several loads, compare with its truth, and keep the result."""
    store.prepare()
    machine = fingerprint(store.path)
    levels, kernel = [], True
    for level in QUICK_LEVELS if quick else LEVELS:
        answers = "1 answer" if level.requests == 1 else f"{level.requests} answers"
        tell(Stage(name="measure", text=f"{level.label}, {answers} of {level.tokens} tokens"))
        measured, stamped = measure_level(level)
        levels.append(measured)
        kernel = kernel and stamped
    result = Selftest(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        machine_id=machine.id,
        kernel_stamps=kernel,
        levels=tuple(levels),
    )
    store.save_selftest(result)
    return result


def measure_level(
    level: Level, config: SimConfig | None = None, *, kernel_stamps: bool = True, ca_cert: str | None = None
) -> tuple[SelftestLevel, bool]:
    """One load against a simulator of its own; also whether every arrival had a kernel stamp."""
    with tempfile.TemporaryDirectory(prefix="benchsuite-selftest-") as folder:
        truth_path = str(Path(folder) / "truth.jsonl")
        base = {"ttft_ms": TTFT_MS, "itl_ms": ITL_MS, "truth_path": truth_path}
        config = msgspec.structs.replace(config or SimConfig(), **base)
        with running(config) as simulator:
            heard, _done = drive(level, simulator.url, folder, kernel_stamps=kernel_stamps, ca_cert=ca_cert)
        truth = {entry.request_id: entry for entry in simulator.truth()}
    bad = [record for record in heard if record.outcome != "ok"]
    if bad or len(heard) != level.requests:
        kinds = sorted({record.error_kind or record.outcome for record in bad})
        raise InvalidMeasurement(
            f"the simulator lost {len(bad)} of {level.requests} requests ({', '.join(kinds) or 'missing'}); "
            "is this machine overloaded, or its limit of open files too low?"
        )
    return compare(level, heard, truth), not any(record.user_stamps for record in heard)


def drive(
    level: Level, url: str, folder: str, *, kernel_stamps: bool = True, ca_cert: str | None = None
) -> tuple[list[Record], TrialRun]:
    """Send a level's requests to a simulator and decode what came back."""
    driver = load("sim")
    target = Target(backend="sim", url=url, model="sim-model")
    endpoint = resolve(target, Connection(ca_cert=ca_cert))
    trial = Trial(
        endpoint=endpoint,
        target=target,
        driver=driver,
        id_prefix="selftest-",
        stem=str(Path(folder) / "0-1"),
        point=0,
        trial=1,
        closed=level.rate is None,
        slots=level.streams,
        seconds=None,
        workers=worker_count(None, level.streams or 1),
        reuse=None,
        kernel_stamps=kernel_stamps,
    )
    done = run_trial(trial, _requests(level), interrupt=Interrupt(), on_tick=lambda _status: None)
    heard: list[Record] = []
    for segment in segments(Path(folder), "0-1"):
        heard.extend(records(SpoolReader(segment).read(), driver, "selftest-"))
    return heard, done


def _requests(level: Level) -> Iterator[Request]:
    message = (Message(role="user", content="How far off is this machine?"),)
    for index in range(level.requests):
        yield Request(
            index=index,
            phase="measure",
            messages=message,
            max_output_tokens=level.tokens,
            min_output_tokens=level.tokens,
            cache="cold",
            due_offset_ns=None if level.rate is None else round(index / level.rate * 1e9),
        )


def compare(level: Level, heard: Sequence[Record], truth: dict[str, TruthEntry]) -> SelftestLevel:
    """Our stamps against the simulator's, all in milliseconds."""
    first, gaps, late = [], [], []
    for record in heard:
        entry = truth[record.request_id]
        assert record.first_token_ns is not None
        first.append((record.first_token_ns - entry.events_ns[0]) / 1e6)
        true_gaps = np.diff(np.asarray(entry.events_ns)) / 1e3
        gaps.append(np.abs(np.asarray(record.gaps_us) - true_gaps) / 1e3)
        late.append(np.asarray(entry.lateness_us) / 1e3)
    errors = np.abs(first)
    sends = np.sort([record.sent_ns or record.due_ns for record in heard])
    lags = [((record.sent_ns or record.due_ns) - record.due_ns) / 1e6 for record in heard]
    events = sum(len(record.gaps_us) + 1 for record in heard)
    return SelftestLevel(
        load=level.label,
        streams=level.streams,
        rate=level.rate,
        requests=len(heard),
        ttft_error_p50_ms=_quantile(errors, 50),
        ttft_error_p99_ms=_quantile(errors, 99),
        itl_error_p99_ms=_quantile(np.concatenate(gaps), 99),
        send_lag_p99_ms=_quantile(lags, 99),
        achieved_rate=_rate(sends),
        simulator_lateness_p99_ms=_quantile(np.concatenate(late), 99),
        coalesced_share=sum(record.merged_events for record in heard) / max(events, 1),
    )


def _rate(sends_ns: NDArray[np.int64]) -> float:
    """Requests per second from the first send to the last; 0 for a single one."""
    span_ns = int(sends_ns[-1] - sends_ns[0])
    return round((len(sends_ns) - 1) / (span_ns / 1e9), 3) if span_ns else 0.0


def _quantile(values: NDArray[np.float64] | Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 4)
