"""What is told while a run goes on, on stderr: a live line in a terminal, plain lines anywhere else."""

import os
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from benchsuite.report.progress import progress_block, progress_line
from benchsuite.types import Progress, Stage

if TYPE_CHECKING:
    from rich.live import Live

    from benchsuite.engine.trial import Interrupt

PLAIN_EVERY_S = 10.0
LIVE_EVERY_S = 0.25
_HOW_FAR = re.compile(r": [^:]*$|, \d+ s$")
"""What follows the name of something slow: its share, its seconds, or its last words."""
STOPPING = "stopping after the requests in flight; Ctrl-C again stops at once"


class Teller:
    """Takes what a run tells and shows it; `measuring` once there is something to lose.

    `live` None: plain lines, one a stage, one at a trial's end, and one every ten seconds.
    """

    def __init__(
        self,
        interrupt: "Interrupt",
        live: "Live | None" = None,
        echo: Callable[[str], None] = lambda line: click.echo(line, err=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.measuring = False
        self._interrupt, self._live, self._echo, self._clock = interrupt, live, echo, clock
        self._heading = ""
        self._last: Progress | None = None
        self._said_stopping = False
        self._shown_s = self._waited_s = -PLAIN_EVERY_S
        self._waited_for = ""

    def __call__(self, told: Stage | Progress) -> None:
        """Show a stage, or how a trial is going."""
        if isinstance(told, Stage):
            self.measuring = self.measuring or told.name == "measure"
            self.finish_trial()
            if self._live is None:
                self._stage(told)
            else:
                self._heading = told.text
                self._update(told.text)
            return
        if self._last is not None and _trial(self._last) != _trial(told):
            self.finish_trial()
        fresh = self._last is None
        self._last = told
        self._tick(told, fresh)

    def finish_trial(self) -> None:
        """Say how the last trial stood when it was last heard of."""
        if self._last is not None and self._live is None and self._last.phase == "measure":
            self._echo(progress_line(self._last))
        self._last = None

    def _stage(self, stage: Stage) -> None:
        """One line a stage; how long it takes by now, or how far it is, is told every second: too often."""
        now_s = self._clock()
        waits = stage.name == "ready"
        if stage.name == "model" and (found := _HOW_FAR.search(stage.text)):
            waits = stage.text[: found.start()] == self._waited_for
        if not waits or now_s - self._waited_s >= PLAIN_EVERY_S:
            self._waited_s = now_s if waits or stage.name == "model" else -PLAIN_EVERY_S
            self._waited_for = _HOW_FAR.sub("", stage.text)
            self._echo(stage.text)

    def _tick(self, progress: Progress, fresh: bool) -> None:
        now_s = self._clock()
        stopping = self._interrupt.level > 0
        if self._live is not None:
            if now_s - self._shown_s >= LIVE_EVERY_S:
                self._shown_s = now_s
                note = f"\n{STOPPING}" if stopping else ""
                self._update(f"{self._heading}\n{progress_block(progress)}{note}")
            return
        if stopping and not self._said_stopping:
            self._said_stopping = True
            self._echo(STOPPING)
        if fresh:
            # A trial's first line comes after ten seconds: short ones have only their last.
            self._shown_s = now_s
        elif now_s - self._shown_s >= PLAIN_EVERY_S:
            self._shown_s = now_s
            self._echo(progress_line(progress))

    def _update(self, text: str) -> None:
        from rich.text import Text

        assert self._live is not None
        self._live.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)


def _trial(progress: Progress) -> tuple[int, str, int]:
    return progress.point.index, progress.phase, progress.trial


@contextmanager
def telling(interrupt: "Interrupt") -> Generator[Teller]:
    """A teller for this process's stderr."""
    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        teller = Teller(interrupt)
        yield teller
        teller.finish_trial()
        return
    from rich.console import Console
    from rich.live import Live

    # No refresh thread: nothing of ours should run while requests are measured, but when told.
    with Live(
        console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False
    ) as live:
        yield Teller(interrupt, live)
