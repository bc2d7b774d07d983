"""Servers that a command only wakes: they are stopped by another command, however benchsuite goes."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request

import pytest

from benchsuite.driver import Launch
from benchsuite.errors import TargetError
from benchsuite.servers.launch import LaunchModel, launched
from benchsuite.target import Options, resolved
from benchsuite.types import Call, Workload

MODEL = LaunchModel(argument="m", name="m")

# `lms server start --port N` wakes a server in a session of its own, `lms server stop` ends it, as LM
# Studio's command does; both write to the log what they did.
LMS = """#!{python}
import http.server, json, os, signal, sys
folder = {folder!r}
def note(text):
    with open(folder + "/log", "a") as file:
        file.write(text + "\\n")
note(" ".join(sys.argv[1:]))
if sys.argv[2] == "stop":
    try:
        os.kill(int(open(folder + "/pid").read()), signal.SIGKILL)
    except ProcessLookupError:
        note("nobody is there")
    sys.exit(0)
if os.environ.get("LMS_FAILS"):
    sys.exit("no LM Studio")
class Answer(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass
    def do_GET(self):
        instance = dict(id="q/m", config=dict(context_length=4096, parallel=4))
        models = [dict(type="llm", key="q/m", loaded_instances=[instance])]
        body = json.dumps(dict(models=models)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[4])), Answer)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    with open(folder + "/pid", "w") as file:
        file.write(str(os.getpid()))
    if os.environ.get("LMS_DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server.serve_forever()
os.wait()
"""


class Fake:
    """A fake `lms` on the PATH."""

    def __init__(self, folder):
        self.folder = folder

    def log(self):
        return (self.folder / "log").read_text().splitlines()

    def pid(self):
        return int((self.folder / "pid").read_text())


@pytest.fixture
def lms(tmp_path, monkeypatch):
    file = tmp_path / "lms"
    file.write_text(LMS.format(python=sys.executable, folder=str(tmp_path)))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return Fake(tmp_path)


def launch_of(**more):
    return Launch(
        **{
            "argv": ("lms", "server", "start", "--port", "{port}"),
            "ready": Call(method="GET", path="/"),
            "daemon": True,
            "end": ("lms", "server", "stop"),
        }
        | more
    )


def start(**more):
    return launched(launch_of(**more), model=MODEL, slots=1, context=1024)


def ended(pid):
    """Whether that process ends soon; a zombie that nobody buries has ended too."""
    for _ in range(2000):
        listing = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not listing or listing.startswith("Z"):
            return True
        time.sleep(0.01)
    return False


def test_a_woken_server_outlives_its_command_and_is_stopped_by_another(lms):
    with start() as server:
        assert server.exit_code() is None
        with urllib.request.urlopen(server.url) as answer:
            assert answer.status == 200
        os.kill(lms.pid(), 0)
        assert len(lms.log()) == 1
    assert ended(lms.pid())
    assert lms.log()[1:] == ["server stop"]


def test_an_error_or_ctrl_c_stops_it_too(lms):
    with pytest.raises(KeyboardInterrupt), start():
        raise KeyboardInterrupt
    assert ended(lms.pid()) and lms.log()[-1] == "server stop"


def test_it_is_stopped_even_if_somebody_kills_the_guardian(lms):
    with start() as server:
        server.guardian.kill()
        server.guardian.wait(30)
    assert lms.log()[-1] == "server stop" and ended(lms.pid())


def test_what_the_stopping_command_leaves_is_ended(lms):
    with start(end=("true",)):
        os.kill(lms.pid(), 0)
    assert ended(lms.pid()) and len(lms.log()) == 1


def test_a_stopping_command_that_is_missing_is_no_error(lms):
    with start(end=("/nowhere/lms",)):
        os.kill(lms.pid(), 0)
    assert ended(lms.pid())


def test_a_command_that_fails_is_told_and_nothing_is_stopped(lms, monkeypatch):
    monkeypatch.setenv("LMS_FAILS", "1")
    with pytest.raises(TargetError, match=r"(?s)ended with code 1 .*no LM Studio"), start():
        pass
    assert len(lms.log()) == 1


def test_what_a_command_that_is_no_daemons_leaves_is_ended_with_it(lms):
    # Whether it was asked in time is chance; that it doesn't stay isn't.
    with contextlib.suppress(TargetError), start(daemon=False):
        assert ended(lms.pid())
    assert ended(lms.pid()) and lms.log()[-1] == "server stop"


OWNER = """
import signal, sys, time
from benchsuite.driver import Launch
from benchsuite.servers.launch import LaunchModel, launched
from benchsuite.types import Call
launch = Launch(
    argv=("lms", "server", "start", "--port", "{port}"), ready=Call(method="GET", path="/"),
    daemon=True, end=("lms", "server", "stop"),
)
# Whoever started the tests in the background let them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
with launched(launch, model=LaunchModel(argument="m", name="m"), slots=1, context=1024):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_however_benchsuite_goes_the_server_is_stopped(lms, number):
    owner = subprocess.Popen(
        [sys.executable, "-P", "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert owner.stdout.readline() == b"ready\n"
    owner.send_signal(number)
    owner.wait(30)
    owner.stdout.close()
    assert ended(lms.pid())
    for _ in range(1000):
        if lms.log()[-1] == "server stop":
            return
        time.sleep(0.01)
    raise AssertionError(lms.log())


def test_lm_studio_is_started_so(lms):
    workload = Workload(
        name="w",
        version=1,
        description="d",
        prompt_tokens=(64,),
        output_tokens=(8,),
        concurrency=(3,),
        requests=1,
    )
    asked = Options(backend="lmstudio", workload=workload, start="launch")
    with resolved(asked, lambda _: None) as who:
        assert not who.attached and who.target.model == "q/m"
        assert (who.identity.context_tokens, who.identity.slots) == (4096, 4)
        assert who.launch_command.startswith("lms server start --port ")
    assert ended(lms.pid()) and lms.log()[-1] == "server stop"
