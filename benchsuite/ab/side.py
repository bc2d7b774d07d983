"""One of two arms: its run, and its server while it is up."""

import contextlib
import math
import time

import msgspec

from benchsuite.asked import Options
from benchsuite.conclude import info_of
from benchsuite.pairs import Arm
from benchsuite.store.runs import RunDir
from benchsuite.target import Resolved, Tell, resolved
from benchsuite.types import Manifest


class Side:
    """One arm. `run_dir` and `manifest` are there once it is known who serves."""

    run_dir: RunDir
    manifest: Manifest

    def __init__(self, options: Options, letter: str, tell: Tell) -> None:
        self.options, self.letter = options, letter
        self.who: Resolved | None = None
        self.attached: bool | None = None
        self.up_s = 0.0
        self.warmed: set[int] = set()
        self.reuse: dict[int, bool] = {}
        self._tell, self._stack, self._since_s = tell, contextlib.ExitStack(), 0.0
        self._gone_usd = 0.0

    def up(self) -> Resolved:
        """The server, started if it isn't up."""
        if self.who is None:
            self.warmed.clear()
            self.reuse.clear()
            self.who = self._stack.enter_context(resolved(self.options, self._tell))
            self.attached, self._since_s = self.who.attached, time.monotonic()
        return self.who

    def close(self) -> None:
        """End an engine that we started."""
        if self.who is not None:
            self.up_s += time.monotonic() - self._since_s
        self._stack.close()
        self.who = None

    @property
    def unpriced(self) -> bool:
        """Nothing says what the arm costs."""
        return self.manifest.price is None and self.manifest.token_price is None

    def forget(self, trial: int) -> None:
        """Remove what was recorded of a trial, at all points; what it has cost stays spent."""
        before_usd = self._recorded_usd()
        for point in self.manifest.points:
            self.run_dir.forget(point.index, trial)
        self._gone_usd += before_usd - self._recorded_usd()

    def go_on(self, spent_usd: float | None) -> None:
        """Count on from what an earlier start had spent by its end."""
        self._gone_usd = max(0.0, (spent_usd or 0.0) - self._recorded_usd())

    def usd(self) -> float | None:
        """What the arm has cost by now, in all starts and with what was measured again; None: unpriced."""
        if self.unpriced:
            return None
        price, up_s = self.manifest.price, self.up_s
        if self.who is not None:
            up_s += time.monotonic() - self._since_s
        hourly = price.count * price.usd_per_gpu_hour if price else 0.0
        by_token = self.manifest.token_price is not None
        return self._gone_usd + (self._recorded_usd() if by_token else hourly * up_s / 3600)

    def _recorded_usd(self) -> float:
        """What the requests on disk were billed, warm-ups too."""
        if self.manifest.token_price is None:
            return 0.0
        costs = self.run_dir.records(include_warm_up=True, columns=["cost_usd"]).column("cost_usd")
        return math.fsum(usd for usd in costs.to_pylist() if usd is not None)

    @property
    def arm(self) -> Arm:
        """The run as it stands, with what is known of its trials."""
        pairing = self.manifest.pairing
        infos = tuple(
            info
            for point in self.manifest.points
            for trial in (pairing.kept if pairing else ())
            if (info := info_of(self.run_dir, point.index, trial)) is not None
        )
        return Arm(run_dir=self.run_dir, manifest=msgspec.structs.replace(self.manifest, trials=infos))
