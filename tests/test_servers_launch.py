"""Launching: what a driver says as data becomes a ready engine, or one error that says why not."""

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from benchsuite.driver import Launch
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.launch import launched, mask_command, resolve_model
from benchsuite.types import Call

# Answers 503 twice, then 200 with its own arguments and one variable of its environment.
ENGINE = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if Answer.asked > 2 and self.path == "/v1/ready" else 503)
        self.end_headers()
        self.wfile.write(" ".join([*sys.argv[2:], os.environ.get("ENGINE_MODE", "")]).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def launch_of(code, *arguments, **more):
    return Launch(
        argv=("{python}", "-c", code, "{port}", *arguments),
        ready=Call(method="GET", path="/ready"),
        **more,
    )


def start(launch, **more):
    return launched(launch, **{"model": "tiny", "slots": 4, "context": 512, "url_path": "/v1", **more})


def test_a_template_becomes_a_ready_server_and_leaving_ends_it():
    arguments = ("{model}", "{slots}", "{context}", "{threads}", '{"json": 1}', "--api-key=hush")
    with start(launch_of(ENGINE, *arguments, env={"ENGINE_MODE": "calm"}), threads=3) as server:
        with urllib.request.urlopen(f"{server.url}/ready") as answer:
            assert answer.read() == b'tiny 4 512 3 {"json": 1} --api-key=hush calm'
        assert server.exit_code() is None
        assert server.log_tail(4).count("503") == 2
        assert server.seconds_to_ready > 0
        assert server.command_masked.startswith("python -c ")
        assert "hush" not in server.command_masked
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_an_error_inside_the_with_ends_the_engine_too():
    with pytest.raises(KeyError), start(launch_of(ENGINE)) as server:
        raise KeyError
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_an_engine_that_ends_early_is_reported_with_its_last_words():
    code = "import sys; print('weights'); sys.exit('no such weights')"
    with pytest.raises(TargetError, match=r"(?s)ended with code 1 .*no such weights"), start(launch_of(code)):
        pass


def test_an_engine_that_never_gets_ready_is_reported_and_ended():
    waits = []
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with (
        pytest.raises(TargetError, match="wasn't ready after") as caught,
        start(launch_of(code), timeout_s=1.5, on_wait=waits.append),
    ):
        pass
    assert waits[0].startswith("waiting for the engine to get ready, ")
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(caught.value).splitlines()[-1]), 0)


def test_what_is_missing_is_said_before_anything_starts():
    launch = launch_of("", needs=("json", "ps", "no_such_engine"), missing="pip install no_such_engine")
    with pytest.raises(TargetError, match=r"^pip install no_such_engine$"), start(launch):
        pass


def test_an_executable_that_is_not_there():
    launch = Launch(argv=("/nowhere/engine",), ready=Call(method="GET", path="/"))
    with pytest.raises(TargetError, match="No such file"), start(launch):
        pass


def test_masking(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    argv = [sys.executable, "--api-key", "k1", "--hf-token=k2", "--model=/home/ann/m.gguf", "/srv/ann/n.gguf"]
    masked = mask_command([*argv, "--max-tokens", "8", "--prompt-tokens-details", "two words"])
    assert masked == (
        "python --api-key *** --hf-token=*** --model=~/m.gguf n.gguf "
        "--max-tokens 8 --prompt-tokens-details 'two words'"
    )


def test_models_by_shape_by_file_and_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path))
    stages = []
    made, shown = resolve_model("shape:5m", stages.append)
    assert Path(made).parent == tmp_path
    assert shown == "shape:5m"
    assert resolve_model("shape:5m", stages.append) == (made, shown)
    assert len(stages) == 1
    assert resolve_model(made) == (made, Path(made).name)
    assert resolve_model("org/model") == ("org/model", "org/model")
    assert resolve_model("/srv/models/big") == ("/srv/models/big", "big")
    with pytest.raises(UsageError, match=r"no model file .*x\.gguf"):
        resolve_model(str(tmp_path / "x.gguf"))
