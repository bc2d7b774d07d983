"""Ends an engine for certain: run as `python -P -m benchsuite.servers.guardian [--wakes] [END] -- COMMAND…`.

It stands between benchsuite and an engine in a session of its own and speaks through the three
standard streams: stdin is a pipe that benchsuite alone can write to and never does, so its end means
that benchsuite is gone, however it went; stdout gets one line, the engine's process id; stderr is the
engine's log. When stdin ends, when a signal says so, or when the engine ends by itself, every process
that came from the engine is ended: SIGTERM, five seconds, SIGKILL, until none is left. The exit code
is the engine's, 128 + n after signal n, 127 where it couldn't be started.

END is a command that stops what COMMAND started, as a JSON array of its words; it is run before the rest is
ended. With `--wakes` COMMAND only wakes a server: once it has ended well, the guardian waits on. A server
that isn't a descendant, because it was there before or is somebody else's child, has only END to stop it.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

GRACE_S = 5.0
END_S = 20.0
"""How long the command that stops a server may take."""
LOOK_EVERY_S = 0.02
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform.startswith("linux")


class Process(NamedTuple):
    """One line of the process table; `dead`: it has ended and waits to be reaped by its parent."""

    pid: int
    parent: int
    group: int
    dead: bool


def main() -> None:
    """Start the command behind `--`, watch over it, and leave with its exit code."""
    own, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    wakes = "--wakes" in own
    stop = json.loads(own[-1]) if own and own[-1] != "--wakes" else []
    wake = _wake_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    die_with_us = _become_reaper()
    try:
        engine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
            preexec_fn=die_with_us,  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        print(f"can't start {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)
    os.write(1, b"%d\n" % engine.pid)
    code = _watch(engine, wake)
    if wakes and code == 0:
        _wait(engine, wake)
    if stop and not (wakes and code):
        _stop(stop)
    _end(engine, code)
    sys.exit(engine.returncode if engine.returncode >= 0 else 128 - engine.returncode)


def _watch(engine: subprocess.Popen[bytes], wake: int) -> int | None:
    """Sleep until the engine has ended (its code) or has to be ended (None)."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable and set(os.read(wake, 4096)) - {signal.SIGCHLD}:
            return None
        if (code := _reap(engine)) is not None:
            return code
        if 0 in readable and not os.read(0, 4096):
            return None


def _wait(engine: subprocess.Popen[bytes], wake: int) -> None:
    """The command has ended and what it woke goes on: sleep until that has to be stopped."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable and set(os.read(wake, 4096)) - {signal.SIGCHLD}:
            return
        _reap(engine)
        if 0 in readable and not os.read(0, 4096):
            return


def _stop(command: list[str]) -> None:
    """Run the command that stops a server, for as long as that may take; its words go to the log."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2)
        process.wait(END_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]} didn't stop the server: {error}", file=sys.stderr)


def _end(engine: subprocess.Popen[bytes], code: int | None) -> None:
    """SIGTERM to all that came from the engine, SIGKILL after the grace; returns when none is left."""
    deadline = time.monotonic() + GRACE_S
    told: set[int] = set()
    while members := _members(engine.pid):
        late = time.monotonic() > deadline
        for pid in members if late else members - told:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= members
        time.sleep(LOOK_EVERY_S)
        found = _reap(engine)
        code = found if code is None else code
    while code is None:
        code = _reap(engine)
    engine.returncode = code


def _reap(engine: subprocess.Popen[bytes]) -> int | None:
    """Bury every ended child, adopted ones too; the engine's exit code if it was among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == engine.pid:
            code = os.waitstatus_to_exitcode(status)


def _members(engine: int) -> set[int]:
    """Living processes of the engine's group, and all descendants of this process."""
    table = [process for process in _processes() if process.pid != os.getpid()]
    family = {os.getpid()}
    grown = 0
    while len(family) > grown:
        grown = len(family)
        family |= {process.pid for process in table if process.parent in family}
    return {
        process.pid
        for process in table
        if not process.dead and (process.pid in family or process.group == engine)
    }


def _processes() -> list[Process]:
    return _processes_of_proc() if LINUX else _processes_of_ps()


def _processes_of_proc() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    # The command's name comes in brackets and may hold anything, brackets too.
                    state, parent, group = file.read().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            found.append(Process(int(name), int(parent), int(group), state in "ZX"))
    return found


def _processes_of_ps() -> list[Process]:
    listing = subprocess.Popen(
        ["ps", "-axo", "pid=,ppid=,pgid=,state="],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    output = listing.communicate()[0]
    rows = [line.split() for line in output.splitlines()]
    # The listing itself is our child too, and has ended by now.
    return [
        Process(int(pid), int(parent), int(group), state.startswith("Z"))
        for pid, parent, group, state in rows
        if int(pid) != listing.pid
    ]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _wake_on(*numbers: signal.Signals) -> int:
    """A pipe that gets a byte per signal, so that one `select` waits for them and for stdin."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return read


def _become_reaper() -> Callable[[], None] | None:
    """On Linux: orphans of the engine become our children; the result, run in the engine, ties it to us."""
    if not LINUX:
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guardian = os.getpid()

    def die_with_us() -> None:
        # If even this process is killed outright, the engine itself at least goes with it.
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != guardian:
            os._exit(127)

    return die_with_us


if __name__ == "__main__":
    main()
