"""Start an engine from a driver's `Launch`, wait until it answers, and end it for certain."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchsuite.driver import Launch, ModelForm
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.interpreter import interpreter, is_module, module_version
from benchsuite.servers.model import is_dummy, make_model, model_path, shape_facts
from benchsuite.servers.shapes import SHAPES
from benchsuite.shown import mask_command, without_secrets
from benchsuite.types import Call, Noun

HOST = "127.0.0.1"
ASK_EVERY_S = 0.05
ASK_TIMEOUT_S = 2.0
TELL_EVERY_S = 1.0
END_S = 20.0
TAIL_BYTES = 16384
LOG_BYTES = 1_000_000


def _say_nothing(text: str) -> None:
    """Progress that nobody wants to hear."""


@dataclass(frozen=True)
class Server:
    """A running engine: where it listens, and what a manifest may say of how it was started.

    `version` is that of its Python package, empty where it is none. `pid` is the engine's own process, not
    the guardian's; `command_masked` holds no key, home or
    foreign folder; `seconds_to_ready` runs from the start of the process to the first 200. `image`: the
    one that it runs from, with its digest; empty: it runs from none.
    """

    url: str
    pid: int
    command_masked: str
    seconds_to_ready: float
    guardian: "subprocess.Popen[bytes]"
    log: BinaryIO
    version: str = ""
    image: str = ""

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the engine wrote to stdout or stderr; only while the `with` lasts."""
        return _tail(self.log, lines)

    def log_text(self) -> str:
        """All that the engine wrote, at most 1 MB of it from the start; only while the `with` lasts."""
        return os.pread(self.log.fileno(), LOG_BYTES, 0).decode(errors="replace")

    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n."""
        return self.guardian.poll()


class LaunchModel(Noun, frozen=True, kw_only=True):
    """A model as an engine gets it: what to pass, what to call it, and whether its weights are made up."""

    argument: str
    name: str
    dummy: bool = False


def resolve_model(
    name: str, form: ModelForm = "gguf", on_stage: Callable[[str], None] = _say_nothing
) -> LaunchModel:
    """What to pass to an engine as its model, and what to call it in reports.

    `shape:5m` is made on the spot, a `.gguf` file or a folder must exist, anything else is the engine's
    to understand. `on_stage` is told before something slow. UsageError: no such shape, file or folder.
    """
    if name.startswith("shape:"):
        shape = name.removeprefix("shape:")
        if not model_path(shape, form).exists():
            millions = shape_facts(shape).parameters / 1e6
            on_stage(f"making the {shape} model ({millions:,.0f} M parameters), once for this machine")
        return LaunchModel(argument=str(make_model(shape, form)), name=name, dummy=is_dummy(shape))
    path = Path(name).expanduser()
    if name.endswith(".gguf"):
        if not path.is_file():
            raise UsageError(f"there is no model file {name}")
        return LaunchModel(argument=str(path.resolve()), name=path.name)
    if path.is_absolute() or name.startswith(("./", "../", "~")) or name in {".", ".."}:
        if not path.exists():
            raise UsageError(f"there is no model folder {name}")
        return LaunchModel(argument=str(path.resolve()), name=path.resolve().name)
    if name in SHAPES and not path.exists():
        raise UsageError(f"there is no model {name}; one of that shape is --model shape:{name}")
    return LaunchModel(argument=name, name=name)


def prepared(launch: Launch, environment: str = "", chosen: str = "") -> tuple[Launch, str]:
    """The way of starting that can be gone here, and the Python for it.

    `environment` names the engine environment of benchsuite's to look into, `chosen` is the user's own
    Python. TargetError: what it needs is missing; UsageError: `chosen` is of no use.
    """
    python: str | None = sys.executable
    if launch.module:
        python = interpreter(launch.module, launch.program, environment, chosen)
    elif chosen:
        raise UsageError("--engine-python is for engines that are Python modules; leave it out")
    missing = [need for need in launch.needs if not _is_there(need)]
    if python and not missing:
        return launch, python
    if launch.otherwise is not None:
        return prepared(launch.otherwise, environment, chosen)
    need = missing[0] if missing else launch.module
    raise TargetError(launch.missing or f"{need} isn't installed; install it or give a URL to attach to")


@contextmanager
def launched(
    launch: Launch,
    *,
    model: LaunchModel,
    slots: int,
    context: int,
    threads: int | None = None,
    python: str = sys.executable,
    on_wait: Callable[[str], None] = _say_nothing,
) -> Iterator[Server]:
    """A ready engine for the length of the `with`; on leaving, none of its processes is left.

    `launch` and `python` as `prepared` gave them. `context` is in tokens per slot; `threads` None: all
    cores but one. `on_wait` hears about every second how the start goes. TargetError: it ended early, or
    it wasn't ready in time (with its last words).
    """
    port = _free_port()
    values = {
        "python": python,
        "port": str(port),
        "model": model.argument,
        "name": model.name,
        "slots": str(slots),
        "context": str(context),
        "context_total": str(context * slots),
        "threads": str(threads or _default_threads()),
    }
    words = (*launch.argv, *(launch.dummy_arguments if model.dummy else ()))
    argv = [_fill(part, values) for part in words]
    end = [_fill(part, values) for part in launch.end]
    # The user's own environment goes before the driver's; a number of threads that was asked for before both.
    ours = {name: _fill(value, values) for name, value in launch.env.items()}
    asked = {name: ours[name] for name, value in launch.env.items() if threads and "{threads}" in value}
    env = ours | os.environ | asked
    if launch.module:
        # The installed engine, not a checkout of it that the working directory may be.
        env["PYTHONSAFEPATH"] = "1"
    with (
        tempfile.TemporaryFile() as log,
        _guarded(argv, env, log, end, launch.daemon) as (guardian, pid, started),
    ):
        try:
            _await_ready(launch, port, guardian, log, started, on_wait)
        except TargetError as error:
            raise TargetError(without_secrets(str(error), argv)) from None
        url = f"http://{HOST}:{port}"
        version = module_version(python, launch.module) if launch.module else ""
        yield Server(url, pid, mask_command(argv), time.monotonic() - started, guardian, log, version)


def _is_there(need: str) -> bool:
    """Is there a module of this environment, or a program on the PATH, of this name?"""
    return is_module(need) or shutil.which(need) is not None


def _fill(part: str, values: dict[str, str]) -> str:
    # Not str.format: arguments may hold JSON, whose braces mean themselves.
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), part)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _default_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


@contextmanager
def _guarded(
    argv: Sequence[str], env: dict[str, str], log: BinaryIO, end: Sequence[str] = (), wakes: bool = False
) -> Iterator[tuple["subprocess.Popen[bytes]", int, float]]:
    """The guardian, the engine's process id and when it was started (monotonic seconds).

    `end`: a command that stops what `argv` started; `wakes`: `argv` only wakes a server and ends.
    """
    started = time.monotonic()
    own = (*(("--wakes",) if wakes else ()), *((json.dumps(list(end)),) if end else ()))
    guardian = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchsuite.servers.guardian", *own, "--", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=env,
        start_new_session=True,
    )
    assert guardian.stdin and guardian.stdout
    pid = 0
    try:
        line = guardian.stdout.readline()
        if not line:
            guardian.wait()
            raise TargetError(f"the engine couldn't be started: {_tail(log, 3)}")
        pid = int(line)
        yield guardian, pid, started
    finally:
        guardian.stdin.close()
        guardian.wait()
        guardian.stdout.close()
        if pid and guardian.returncode < 0:
            # Someone killed the guardian itself: what is left of the engine's group is ours to end.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            if end:
                with suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run(end, check=False, env=env, timeout=END_S, stdout=log, stderr=log)


def _await_ready(
    launch: Launch,
    port: int,
    guardian: "subprocess.Popen[bytes]",
    log: BinaryIO,
    started: float,
    on_wait: Callable[[str], None],
) -> None:
    told = started
    while True:
        answered = _answers(launch.ready, port)
        now = time.monotonic()
        if (code := guardian.poll()) is not None:
            raise TargetError(f"the engine ended with code {code} before it was ready:\n{_tail(log, 12)}")
        if answered:
            return
        if now - told >= TELL_EVERY_S:
            told = now
            on_wait(f"waiting for the engine to get ready, {now - started:.0f} s")
        if now - started > launch.ready_s:
            raise TargetError(f"the engine wasn't ready after {now - started:.0f} s:\n{_tail(log, 12)}")
        time.sleep(ASK_EVERY_S)


def _answers(ready: Call, port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request(ready.method, ready.path, ready.body or None, ready.headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: BinaryIO, lines: int) -> str:
    # pread: the engine writes through the same open file, whose position must stay its own.
    size = os.fstat(log.fileno()).st_size
    text = os.pread(log.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
