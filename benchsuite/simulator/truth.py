"""The truth log: what the simulator did with each completion request, one JSON line each."""

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from benchsuite.errors import StoreError
from benchsuite.types import Noun

SimOutcome = Literal["ok", "http_error", "cut_off", "timeout", "client_closed"]

_DELAY_NS = 200_000_000
_BATCH = 8


class TruthEntry(Noun, frozen=True, kw_only=True, gc=False):
    """One completion request as the server knows it; instants are CLOCK_MONOTONIC ns of its host.

    `request_id`: the request's X-Request-Id. `outcome`: what a sound client has to find; `timeout`
    is a stalled answer that the client gave up, `client_closed` any other. `fault`: the one it got.
    `received_ns`: the request was there in full. `events_ns[i]`: right before the send that carries
    token event i, `lateness_us[i]` after it was due; empty for answers that aren't streamed.
    `due_lateness_us_max`: the worst of these, or of the whole answer. `end_ns`: right before the
    last send, or when the answer was given up.
    """

    request_id: str
    outcome: SimOutcome
    fault: str
    status: int
    received_ns: int
    events_ns: list[int]
    due_lateness_us_max: int
    lateness_us: list[int]
    end_ns: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


def read_truth(path: str | os.PathLike[str]) -> list[TruthEntry]:
    """Every entry of a log, in order of ending; a last line cut short by a kill is left out."""
    lines = Path(path).read_bytes().split(b"\n")
    decoder = msgspec.json.Decoder(TruthEntry)
    try:
        return [decoder.decode(line) for line in lines[:-1]]
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is no truth log of this version: {error}") from error


class TruthLog:
    """Keeps entries until there is time to write them; without a path it keeps nothing."""

    def __init__(self, path: str | None) -> None:
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[tuple[int, Callable[[], TruthEntry]]] = deque()
        self._fd = -1
        if path is not None:
            self._fd = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )

    def add(self, now_ns: int, make: Callable[[], TruthEntry]) -> None:
        """Keep an entry, which `make` gives when there is time for it."""
        if self._fd >= 0:
            self._waiting.append((now_ns, make))

    @property
    def waiting(self) -> bool:
        """Something is not written yet."""
        return bool(self._waiting)

    def overdue(self) -> bool:
        """The oldest entry has waited for so long that it must be written even when there is no time."""
        return bool(self._waiting) and time.monotonic_ns() - self._waiting[0][0] > _DELAY_NS

    def write_some(self) -> None:
        """Write a few entries, in some ten microseconds."""
        waiting = self._waiting
        some = [waiting.popleft()[1]() for _ in range(min(_BATCH, len(waiting)))]
        data = self._encoder.encode_lines(some)
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Write the rest."""
        while self._waiting:
            self.write_some()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
