"""`benchsuite doctor`: is everything here that measuring needs, and is it precise enough?"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from benchsuite.cli.kinds import store_option

if TYPE_CHECKING:
    from benchsuite.store.runs import Store

FEW_CORES = 4
OPEN_FILES = 4096
FREE_GIB = 1.0
_ENGINE_TIMEOUT_S = 60
_STAMP_TRIES = 20
_STAMP_PAUSE_S = 0.005


class Finding(NamedTuple):
    """One line: how it is, what was looked at, what was found, and what to do about it."""

    level: Literal["ok", "note", "problem"]
    what: str
    found: str
    advice: str = ""


@click.command()
@store_option
@click.pass_context
def doctor(ctx: click.Context, store_path: str | None) -> None:
    """What is installed, reachable and precise enough here.

    Exits with 2 if something that measuring needs is missing.
    """
    from benchsuite.cli import output
    from benchsuite.report.render import COLOURS, words
    from benchsuite.store.runs import Store, default_store

    problems = 0
    for finding in findings(Store(default_store(store_path))):
        problems += finding.level == "problem"
        advice = f" → {finding.advice}" if finding.advice else ""
        line = f"{finding.level:<8} {finding.what:<14} {finding.found}{advice}"
        style = COLOURS.get(finding.level, "")
        click.echo(words(line, width=output.width(), styled=output.styled(), style=style, indent=24))
    ctx.exit(2 if problems else 0)


def findings(store: "Store") -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    yield _python()
    yield _stamps()
    yield from _machine()
    yield _packages()
    yield from _settings()
    yield from _drivers()
    yield _engine()
    yield from _engines()
    yield from _store(store)
    yield _selftest(store)


def _python() -> Finding:
    import platform

    name = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("ok", "Python", name)


def _stamps() -> Finding:
    """Send a few bytes to ourselves and look whether one carries a stamp."""
    from benchsuite.engine import clock

    stamped = False
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        enabled = clock.enable_kernel_stamps(client)
        client.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            # The kernel begins to stamp a moment after the first one asks: early bytes have none.
            for _ in range(_STAMP_TRIES if enabled else 0):
                peer.sendall(b".")
                _, ancillary, _, _ = client.recvmsg(1, 128)
                stamped = bool(ancillary) and clock.stamp_ns(ancillary) > 0
                if stamped:
                    break
                time.sleep(_STAMP_PAUSE_S)
    if stamped:
        return Finding("ok", "arrival stamps", "the kernel's")
    return Finding(
        "note",
        "arrival stamps",
        "made by the client: a busy client reports longer latencies",
        "measure from Linux for full precision",
    )


def _machine() -> Iterator[Finding]:
    import resource

    cores = os.cpu_count() or 1
    if cores < FEW_CORES:
        yield Finding(
            "note", "cores", f"{cores}", "keep the machine quiet; answers are read after each trial"
        )
    else:
        yield Finding("ok", "cores", f"{cores}")
    if sys.platform == "linux":
        from benchsuite.engine.priority import may_be_realtime

        if may_be_realtime():
            yield Finding("ok", "priority", "real-time for the measuring process")
        else:
            text = "ordinary: beside a busy engine, requests may leave up to 4 ms late"
            yield Finding("note", "priority", text, "ulimit -r 1, or run as root")
    busy = os.getloadavg()[0]
    if busy > cores / 2:
        yield Finding("note", "load", f"{busy:.1f}: something else is running", "stop it while measuring")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    if not unlimited and soft < OPEN_FILES:
        yield Finding("note", "open files", f"{soft}", f"ulimit -n {OPEN_FILES * 4} for many connections")
    else:
        yield Finding("ok", "open files", "unlimited" if unlimited else f"{soft:,}")


def _packages() -> Finding:
    from benchsuite.telemetry.machine import package_versions

    found = package_versions()
    missing = [name for name in ("httptools", "msgspec", "numpy", "pyarrow") if name not in found]
    if missing:
        return Finding("problem", "packages", f"missing: {', '.join(missing)}", "install benchsuite again")
    return Finding("ok", "packages", ", ".join(f"{name} {version}" for name, version in found.items()))


def _settings() -> Iterator[Finding]:
    """Which benchsuite.toml is in force here; that one can't be read ends the command before."""
    from benchsuite.cli.output import shown
    from benchsuite.cli.settings import in_force

    found = in_force(click.get_current_context())
    if found.path is not None:
        parts = {"targets": found.targets, "defaults": found.defaults, "limits": found.limits}
        said = [
            f"{len(names)} {what.removesuffix('s' * (len(names) == 1))}"
            for what, names in parts.items()
            if names
        ]
        said += [f"store {shown(found.store)}"] if found.store else []
        yield Finding("ok", "settings", f"{shown(found.path)}: {', '.join(said) or 'empty'}")


def _drivers() -> Iterator[Finding]:
    """Each driver has to import."""
    from benchsuite import driver

    names = list(driver.backends())
    if not names:
        yield Finding("problem", "backends", "none is installed", "install benchsuite again")
        return
    broken = []
    for name in names:
        try:
            driver.load(name)
        # A stranger's driver may fail in any way when it is imported.
        except Exception as error:
            broken.append(name)
            yield Finding(
                "problem", "backend", f"{name} can't be loaded ({type(error).__name__})", "install it again"
            )
    usable = [name for name in names if name not in broken]
    if usable:
        yield Finding("ok", "backends", ", ".join(usable))


def _engine() -> Finding:
    """The embedded engine, in a process of its own as when it is used."""
    words = [sys.executable, "-c", "import xllamacpp"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=_ENGINE_TIMEOUT_S, check=False)
        works = done.returncode == 0
    except subprocess.TimeoutExpired:
        works = False
    if works:
        return Finding("ok", "engine", "llama.cpp (embedded) can start: benchsuite run")
    return Finding(
        "note",
        "engine",
        "the embedded llama.cpp isn't installed",
        "pip install xllamacpp, or measure a running server with --url",
    )


def _engines() -> Iterator[Finding]:
    """Engines of other makers that can be started here, all in one line."""
    from benchsuite.discovery import importable
    from benchsuite.errors import TargetError
    from benchsuite.servers.launch import prepared
    from benchsuite.types import Target

    there, missing = [], []
    for driver in importable(leave_out=frozenset({"local", "sim"})):
        launch = driver.launch(Target(backend=driver.name, url=""))
        if launch is None:
            continue
        try:
            prepared(launch, driver.name)
        except TargetError:
            missing.append(driver.name)
        else:
            there.append(driver.name)
    absent = f"not found: {', '.join(missing)}" if missing else ""
    if there:
        found = f"{', '.join(there)} can start" + (f"; {absent}" if absent else "")
        yield Finding("ok", "engines", found, f"benchsuite run --backend {there[0]}")
    elif missing:
        advice = f"`benchsuite run --backend {missing[0]}` says how to get it"
        yield Finding("note", "engines", absent, advice)


def _store(store: "Store") -> Iterator[Finding]:
    from benchsuite.cli.output import shown

    path = shown(store.path)
    there = next(folder for folder in (store.path, *store.path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        advice = "choose another with --store or BENCHSUITE_STORE"
        yield Finding("problem", "store", f"{path} can't be written ({error.strerror})", advice)
        return
    free_gib = shutil.disk_usage(there).free / 2**30
    text = f"{path}, {free_gib:,.1f} GiB free"
    if free_gib < FREE_GIB:
        yield Finding("note", "store", text, "free some space: long runs with many streams need it")
    else:
        yield Finding("ok", "store", text)
    partial = store.cut_off_runs()
    if partial:
        names = ", ".join(run_dir.run_id for run_dir in partial[:3])
        yield Finding("note", "partial runs", f"{len(partial)} ({names})", "benchsuite store recover")


def _selftest(store: "Store") -> Finding:
    """The latest one of this very machine; a store that isn't there yet isn't made."""
    from datetime import UTC, datetime

    from benchsuite.report.screen import age
    from benchsuite.report.units import error_ms
    from benchsuite.telemetry.machine import fingerprint

    found = store.latest_selftest(fingerprint(store.path).id) if store.path.is_dir() else None
    if found is None or not found.levels:
        return Finding("note", "selftest", "this machine's own error isn't known", "benchsuite selftest")
    worst = max(found.levels, key=lambda level: level.ttft_error_p99_ms)
    error = f"TTFT error up to {error_ms(worst.ttft_error_p99_ms)} ms p99 at {worst.load}"
    return Finding("ok", "selftest", f"{error}, {age(found.time, datetime.now(UTC))}")
