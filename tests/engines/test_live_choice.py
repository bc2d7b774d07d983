"""Which live servers are asked, which are skipped; and the live tests themselves, against the simulator."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchsuite.driver import load
from benchsuite.errors import TargetError
from benchsuite.simulator import SimConfig, running
from tests.engines import live
from tests.engines.live import SELF_HOSTED, Absent, found, hosted

HERE = Path(__file__).parent
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def stranger():
    """A web server that is none of them, and hears everything: (URL, what it heard)."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            heard.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b'{"some": "app"}')

        do_POST = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("backend", hosted())
def test_nothing_that_costs_is_asked_without_a_key_and_a_model(backend, monkeypatch):
    def resolve(*args):
        raise AssertionError("it was asked")

    monkeypatch.setattr(live, "resolve", resolve)
    model, variable = f"BENCHSUITE_TEST_{backend.upper()}_MODEL", load(backend).key_variables[0]
    url = {f"BENCHSUITE_TEST_{backend.upper()}_URL": NOBODY}
    for environ in ({}, url, url | {variable: "k"}, url | {model: "m"}, url | {variable: "", model: "m"}):
        with pytest.raises(Absent, match=f"{variable}.* and {model}") as absent:
            found(backend, environ)
        assert "\n" not in str(absent.value)
    with pytest.raises(AssertionError, match="it was asked"):
        found(backend, url | {variable: "k", model: "m"})


@pytest.mark.parametrize("backend", SELF_HOSTED)
def test_what_is_something_else_is_left_alone_unless_it_is_named(backend, stranger):
    url, heard = stranger
    variables = load(backend).key_variables
    keys = {variables[0]: "canary-key"} if variables else {}
    for usual in (url, NOBODY):
        with pytest.raises(Absent, match=f"BENCHSUITE_TEST_{backend.upper()}_URL") as absent:
            found(backend, keys, usual)
        assert "\n" not in str(absent.value)
    assert heard and "canary-key" not in str(heard)
    with pytest.raises(TargetError):
        found(backend, {f"BENCHSUITE_TEST_{backend.upper()}_URL": url})


@pytest.mark.slow
def test_the_live_tests_pass_against_the_simulator():
    """But for one: it speaks all dialects at once, so that each driver takes it for its own."""
    with (
        running(SimConfig(engine="ollama", strict=True, ttft_ms=1, itl_ms=1)) as ollama,
        running(SimConfig(engine="openai", strict=True, ttft_ms=1, itl_ms=1, key="k")) as openai,
    ):
        environ = os.environ | {
            "BENCHSUITE_TEST_OLLAMA_URL": ollama.url,
            "BENCHSUITE_TEST_OPENAI_URL": f"{openai.url}/v1",
            "BENCHSUITE_TEST_OPENAI_MODEL": SimConfig().model,
            "OPENAI_API_KEY": "k",
        }
        chosen = "(ollama or openai) and not takes_it_for_its_own"
        words = [HERE / "test_live_servers.py", "-q", "-k", chosen, "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            env=environ,
            cwd=HERE.parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout and "skipped" not in done.stdout, done.stdout
