"""A worker process from the parent's side: its pipes, its feeding thread, what it says."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec

from benchsuite.engine.spec import END_OF_CALLS, GO, SPEC_HEAD, WorkerSpec
from benchsuite.types import WorkerHealth

_TURNS_AT_ONCE = 16
"""So many are sent before the workers, and the user, are listened to again."""


class WorkerProcess:
    """One worker process, its pipes and its feeding thread."""

    def __init__(self, spec: WorkerSpec, frames: Iterator[bytes], quotes: bool) -> None:
        control_read, self._control = os.pipe()
        turns_read, self._turns = os.pipe() if quotes else (-1, -1)
        spec = msgspec.structs.replace(spec, control_fd=control_read, turns_fd=turns_read)
        passed = [fd for fd in (control_read, turns_read) if fd >= 0]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchsuite.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=passed,
            start_new_session=True,
        )
        for fd in passed:
            os.close(fd)
        self.spooled: list[int] = []
        self.latest: dict[str, Any] = {}
        self.ready = False
        self.health: WorkerHealth | None = None
        self.feed_error: BaseException | None = None
        self._rest = b""
        self._thread = threading.Thread(target=self._feed, args=(spec, frames), daemon=True)
        self._thread.start()

    def _feed(self, spec: WorkerSpec, frames: Iterator[bytes]) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        data = msgspec.msgpack.encode(spec)

        def taken(frame: bytes) -> bool:
            """False: the worker has ended, or its pipe was closed."""
            try:
                stdin.write(frame)
            except (BrokenPipeError, ValueError):
                return False
            return True

        try:
            if all(map(taken, chain((SPEC_HEAD.pack(len(data)) + data,), frames, (END_OF_CALLS,)))):
                with contextlib.suppress(BrokenPipeError, ValueError):
                    stdin.flush()
        except BaseException as error:
            self.feed_error = error
            self.order(b"S")
        finally:
            with contextlib.suppress(BrokenPipeError, ValueError):
                stdin.close()

    def order(self, word: bytes, at_ns: int = 0) -> None:
        """Send `G`o, `D`rain or `S`top."""
        with contextlib.suppress(BrokenPipeError, OSError):
            os.write(self._control, GO.pack(word, at_ns))

    def hear(self) -> bool:
        """Take in what the worker says; False at its end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line)
            if "ready" in message:
                self.ready = True
            elif "spooled" in message:
                self.spooled += message["spooled"]
            elif "health" in message:
                self.health = msgspec.convert(message["health"], WorkerHealth)
            else:
                self.latest = message
        return bool(data)

    def follow(self, quoting: Callable[[list[int]], Iterator[bytes]]) -> None:
        """Send the turns after some answers that it has spooled, past all calls that wait to be fed.

        May wait for the worker, which never waits for us.
        """
        spooled, self.spooled = self.spooled[:_TURNS_AT_ONCE], self.spooled[_TURNS_AT_ONCE:]
        with contextlib.suppress(BrokenPipeError):
            for frame in quoting(spooled):
                at = 0
                while at < len(frame):
                    at += os.write(self._turns, frame[at:])

    def close(self) -> None:
        """End the worker if it is still there, and let go of its pipes."""
        for fd in (self._control, self._turns):
            if fd >= 0:
                os.close(fd)
        self._control = self._turns = -1
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(timeout=5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def complaint(self) -> str:
        """The last line the worker wrote to stderr, if it failed."""
        assert self.process.stderr is not None
        lines = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
