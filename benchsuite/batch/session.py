"""Asking a batch API: one call at a time, patiently, and never a second create call in doubt."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from benchsuite.driver import BatchApi, BatchState, Driver, UploadsBatches
from benchsuite.engine.decode import retry_after_s
from benchsuite.engine.endpoint import Endpoint
from benchsuite.engine.exchange import ask
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import StillRunning, TargetError
from benchsuite.keys import is_old
from benchsuite.store.batches import Batch
from benchsuite.types import Call, Noun, Tape, Target

_TICK_S = 0.1
_ATTEMPTS = 10
"""So often in a row may a server fail to say anything sensible."""
_DOUBTFUL = frozenset({408, 409, 499})
"""Refusals that may come from something between us and a server that went on all the same."""
_CLOCK_SKEW_S = 600.0
"""How much earlier than our send a batch may have been made by its server's clock."""


class Pace(Noun, frozen=True, kw_only=True):
    """How often a server is asked: after `first_s`, then `growth` times as long, at most `most` times that.

    `grace`: so many times `first_s` after a create call of which nothing was heard, its batch may still show
    up in the server's list.
    """

    first_s: float = 5.0
    growth: float = 1.5
    most: float = 12.0
    grace: float = 12.0

    def after(self, pause_s: float) -> float:
        """The pause that follows one of `pause_s`."""
        return self.first_s if not pause_s else min(pause_s * self.growth, self.most * self.first_s)


class BatchDriver(Driver, BatchApi, Protocol):
    """A driver that has a batch API."""


class Session:
    """One server's batch API. A call that failed for a while is TargetError, an interrupt StillRunning."""

    def __init__(
        self,
        driver: Driver,
        target: Target,
        endpoint: Endpoint,
        pace: Pace,
        interrupt: Interrupt,
        key_again: Callable[[], str | None] | None = None,
    ) -> None:
        assert isinstance(driver, BatchApi)
        self.driver: BatchDriver = driver
        self.target, self.pace = target, pace
        self.refused = False
        self._endpoint, self._interrupt = endpoint, interrupt
        self._heard: Tape | None = None
        self._refusals = 0
        self._key_again, self._key_ns = key_again, time.monotonic_ns()

    # ------------------------------------------------------------ what is asked

    def uploaded(self, call: Call) -> str:
        """Upload a file: its name there."""
        assert isinstance(self.driver, UploadsBatches)
        name = self.driver.batch_uploaded(self._patiently(call, "upload"))
        if name is None:
            raise TargetError(f"{self.driver.title} took a file of requests, but didn't say its name")
        return name

    def created(self, call: Call) -> BatchState | None:
        """Send a create call, once. None: `refused` says that there is no batch; otherwise nobody knows."""
        tape = self._ask(call)
        state = self.driver.batch_state(tape, self.target)
        # Only what was never sent, or what a server answers before it begins, made no batch for certain.
        refused = 400 <= tape.status < 500 and tape.status not in _DOUBTFUL
        self.refused = state is None and (not tape.sent_ns or refused)
        self._heard = tape
        if state is not None:
            self._refusals = 0
        return state

    def wait_or_give_up(self) -> None:
        """After a create call that made nothing: pause where asking again can help, else TargetError."""
        tape = self._heard
        assert tape is not None
        self._refusals += 1
        if not _passing(tape) or self._refusals >= _ATTEMPTS:
            raise self._failed("create a batch", tape)
        self.pause(self._next(tape, self._refusals))

    def state(self, batch_id: str) -> BatchState:
        """How far a batch is. A key that a command says is asked for again when it is old."""
        if self._key_again is not None and is_old(self._key_ns):
            self.target = msgspec.structs.replace(self.target, key=self._key_again())
            self._key_ns = time.monotonic_ns()
        tape = self._patiently(self.driver.batch_status(batch_id, self.target), "say how far its batch is")
        state = self.driver.batch_state(tape, self.target)
        if state is None:
            raise TargetError(f"{self.driver.title} says nothing that can be read of batch {batch_id}")
        return state

    def result(self, call: Call) -> Tape:
        """One of a batch's results, whole."""
        return self._patiently(call, "hand out a batch's answers")

    def cancel(self, batch_id: str) -> None:
        """Ask for a batch's end; TargetError where the server doesn't want to."""
        self._patiently(self.driver.batch_cancel(batch_id, self.target), "cancel a batch")

    def find(self, batch: Batch, known: set[str]) -> BatchState | None:
        """The batch that a create call made of which nothing was heard; None: it made none.

        `known` are other batches' names. Where a server has no room for labels, ours can only be told by its
        answers: each that was made since and has as many requests is waited for.
        """
        until_s = batch.sent_ns / 1e9 + self.pace.grace * self.pace.first_s
        strange, pause_s = set(known), 0.0
        while True:
            undecided = False
            for state in self._listed():
                if state.id in strange:
                    continue
                if state.label is not None:
                    if state.label == batch.label:
                        return state
                elif not _may_be(state, batch):
                    strange.add(state.id)
                elif not state.over:
                    undecided = True
                elif self._is_ours(state, batch):
                    return state
                else:
                    strange.add(state.id)
            if not undecided and time.time() >= until_s:
                return None
            pause_s = self.pace.after(pause_s)
            self.pause(pause_s)

    def _listed(self) -> Iterator[BatchState]:
        """All batches of the account, page by page."""
        after, seen = "", {""}
        while True:
            tape = self._patiently(self.driver.batch_list(self.target, after), "list its batches")
            page = self.driver.batch_listed(tape, self.target)
            if page is None:
                raise TargetError(
                    f"{self.driver.title} doesn't list its batches, so nobody knows whether ours was made: "
                    "look at its web console; it isn't submitted again"
                )
            yield from page[0]
            after = page[1]
            if after in seen:
                return
            seen.add(after)

    def _is_ours(self, state: BatchState, batch: Batch) -> bool:
        """Do the answers of a batch without a label belong to our requests? The first of them tells."""
        for call in state.results:
            for name, _, _ in self.driver.batch_replies(self.result(call)):
                return name.startswith(f"{batch.label}-")
        return False

    # ------------------------------------------------------------ how

    def check_interrupt(self) -> None:
        """StillRunning, if the user wants to stop."""
        if self._interrupt.level:
            raise StillRunning("interrupted")

    def pause(self, seconds: float) -> None:
        """Wait, but not for the user."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.check_interrupt()
            time.sleep(min(_TICK_S, left_s))
        self.check_interrupt()

    def _ask(self, call: Call) -> Tape:
        (tape,) = ask(self._endpoint, self.target, (call,))
        return tape

    def _patiently(self, call: Call, what: str) -> Tape:
        """A call that may be repeated, until it is answered; TargetError where that doesn't help."""
        for attempt in range(1, _ATTEMPTS + 1):
            tape = self._ask(call)
            if 200 <= tape.status < 300 and tape.framing_complete:
                return tape
            if not _passing(tape):
                break
            if attempt < _ATTEMPTS:
                self.pause(self._next(tape, attempt))
        raise self._failed(what, tape)

    def _next(self, tape: Tape, attempt: int) -> float:
        """Seconds to wait before asking again: as the server says, else longer each time."""
        pause_s = 0.0
        for _ in range(attempt):
            pause_s = self.pace.after(pause_s)
        told_s = retry_after_s(tape)
        return pause_s if told_s is None else told_s

    def _failed(self, what: str, tape: Tape) -> TargetError:
        reply = self.driver.decode(msgspec.structs.replace(tape, index=0))
        heard = (
            f"HTTP {tape.status} {reply.error_message}".rstrip() if tape.status else tape.error or "no answer"
        )
        advice = ""
        if tape.status in {404, 405}:
            advice = "; has it a batch API at this URL? `benchsuite backends` lists those that are known to"
        return TargetError(f"{self.driver.title} didn't {what} ({heard}){advice}")


def _passing(tape: Tape) -> bool:
    """May the same call succeed later?"""
    return tape.status in {0, 408, 409, 425, 429} or tape.status >= 500 or 200 <= tape.status < 300


def _may_be(state: BatchState, batch: Batch) -> bool:
    """Can it be ours, by the time it was made and its size?"""
    since_s = batch.sent_ns / 1e9 - _CLOCK_SKEW_S
    return (state.created_s is None or state.created_s >= since_s) and state.total in {None, batch.requests}
