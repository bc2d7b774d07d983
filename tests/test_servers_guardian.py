"""The guardian: whatever happens to benchsuite or to it, no process of the engine is left."""

import os
import signal
import subprocess
import sys
import time

import pytest

# A session of its own, double-forked, deaf to SIGTERM: what a stopped engine leaves behind at worst.
STRAY = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(2, b"stray %d\\n" % os.getpid())
        time.sleep(600)
    os._exit(0)
os.wait()
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
READY = "os.write(2, b'engine %d\\n' % os.getpid())\n"
SLEEP = "time.sleep(600)\n"
OWNER = """
import subprocess, sys, time
guardian = subprocess.Popen(
    sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
)
print("guardian", guardian.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def guarded(*parts):
    """The command of a guardian over a Python engine made of these pieces of code."""
    code = "import os, signal, sys, time\n" + "".join(parts)
    return [sys.executable, "-P", "-m", "benchsuite.servers.guardian", "--", sys.executable, "-c", code]


def start(*parts, log):
    return subprocess.Popen(
        guarded(*parts), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
    )


def finish(guardian):
    guardian.stdin.close()
    guardian.stdout.close()
    return guardian.wait(30)


def told(path, *names):
    """Process ids that were written to the log under these names, once all of them are there."""
    for _ in range(2000):
        said = dict(line.split() for line in path.read_text().splitlines() if len(line.split()) == 2)
        if set(names) <= set(said):
            return [int(said[name]) for name in names]
        time.sleep(0.01)
    raise AssertionError(f"only {said} was said")


def gone(*pids):
    """Whether all of these end soon; a zombie that nobody buries has ended too."""
    for _ in range(2000):
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def alive(pid):
    listing = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(listing.stdout.strip()) and not listing.stdout.strip().startswith("Z")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def test_kill_9_of_the_owner_leaves_no_engine_and_no_stray(log):
    with log.open("ab") as file:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, *guarded("import sys\n", DEAF, STRAY, READY, SLEEP)], stderr=file
        )
    try:
        pids = told(log, "guardian", "engine", "stray")
        assert all(alive(pid) for pid in pids)
    finally:
        owner.kill()
        owner.wait()
    assert gone(*pids)


def test_an_engine_that_ends_by_itself_takes_its_strays_along_and_its_code_is_kept(log):
    with log.open("ab") as file:
        guardian = start(STRAY, "sys.exit(7)", log=file)
    engine = int(guardian.stdout.readline())
    assert guardian.wait(30) == 7
    assert finish(guardian) == 7
    assert gone(engine, *told(log, "stray"))


def test_a_polite_engine_is_asked_and_leaves_with_its_own_code(log):
    polite = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
    with log.open("ab") as file:
        guardian = start(polite, READY, SLEEP, log=file)
    told(log, "engine")
    assert guardian.poll() is None
    assert finish(guardian) == 3


def test_a_deaf_engine_is_killed_in_the_end(log):
    with log.open("ab") as file:
        guardian = start(DEAF, READY, SLEEP, log=file)
    told(log, "engine")
    assert finish(guardian) == 128 + signal.SIGKILL


def test_sigterm_to_the_guardian_ends_the_engine(log):
    with log.open("ab") as file:
        guardian = start(READY, SLEEP, log=file)
    engine = told(log, "engine")
    guardian.terminate()
    assert guardian.wait(30) == 128 + signal.SIGTERM
    assert not alive(*engine)
    finish(guardian)


def test_the_engine_inherits_nothing_but_its_log(log):
    look = "print(sorted(os.listdir('/dev/fd'))[:4], os.readlink('/dev/fd/0'), file=sys.stderr)\n"
    if not sys.platform.startswith("linux"):
        pytest.skip("reads open files from /proc")
    with log.open("ab") as file:
        guardian = start(look, "assert os.getsid(0) == os.getpid() != os.getppid()\n", log=file)
    assert guardian.wait(30) == 0
    finish(guardian)
    # The fourth is the listing's own.
    assert log.read_text() == "['0', '1', '2', '3'] /dev/null\n"


def test_a_command_that_cannot_start_says_why(log):
    with log.open("ab") as file:
        guardian = subprocess.run(
            [*guarded()[:5], "/nowhere/engine"], stdin=subprocess.DEVNULL, stderr=file, check=False
        )
    assert guardian.returncode == 127
    assert "can't start /nowhere/engine: No such file" in log.read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ties a child to its parent")
def test_kill_9_of_the_guardian_takes_the_engine_along(log):
    with log.open("ab") as file:
        guardian = start(DEAF, READY, SLEEP, log=file)
    engine = told(log, "engine")
    os.kill(guardian.pid, signal.SIGKILL)
    finish(guardian)
    assert gone(*engine)
