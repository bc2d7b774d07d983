"""Ollama started by benchsuite: a fake `ollama` on the PATH, which says how it was started."""

import json
import os
import re
import stat
import sys

import pytest

from benchsuite.engine.trial import Interrupt
from benchsuite.errors import TargetError
from benchsuite.report.how import how
from benchsuite.run import run
from benchsuite.store.runs import Store
from benchsuite.target import Options, resolved
from benchsuite.types import Workload

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(4,),
    concurrency=(3,),
    requests=4,
    trials=1,
)

OLLAMA = """#!{python}
import http.server, json, os, sys
variables = {{name: value for name, value in os.environ.items() if name.startswith("OLLAMA_")}}
with open({folder!r} + "/variables", "w") as file:
    json.dump(variables, file)
there, loaded = ["here:1b"], []
def lines(*objects):
    return b"".join(json.dumps(one).encode() + b"\\n" for one in objects)
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_):
        pass
    def answer(self, body, status=200, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(json.dumps({{
            "/api/version": dict(version="0.33.0"),
            "/api/ps": dict(models=loaded),
            "/api/tags": dict(models=[dict(name=name) for name in there]),
        }}[self.path]).encode())
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open({folder!r} + "/asked", "a") as file:
            file.write(json.dumps([self.path, asked]) + "\\n")
        if self.path == "/api/pull":
            there.append(asked["model"])
            self.answer(lines(dict(status="success")))
        elif asked["model"] not in there:
            self.answer(json.dumps(dict(error="model 'x' not found")).encode(), 404)
        elif self.path == "/api/show":
            self.answer(b'{{"details": {{}}}}')
        elif self.path == "/api/generate":
            loaded[:] = [dict(name=asked["model"], context_length=asked["options"]["num_ctx"])]
            self.answer(json.dumps(dict(response="", done=True, done_reason="load")).encode())
        else:
            n, words = asked["options"]["num_predict"], len(asked["messages"][0]["content"].split())
            said = [dict(message=dict(content=f"w{{i}} "), done=False) for i in range(n)]
            end = dict(message=dict(content=""), done=True, done_reason="length", eval_count=n,
                       prompt_eval_count=words + 9, total_duration=5, load_duration=1)
            self.answer(lines(*said, end), kind="application/x-ndjson")
host, port = os.environ["OLLAMA_HOST"].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Answer).serve_forever()
"""


class Fake:
    def __init__(self, folder):
        self.folder = folder

    def variables(self):
        return json.loads((self.folder / "variables").read_text())

    def asked(self, path):
        lines = (self.folder / "asked").read_text().splitlines()
        return [body for one, body in map(json.loads, lines) if one == path]


@pytest.fixture
def ollama(tmp_path, monkeypatch):
    file = tmp_path / "ollama"
    file.write_text(OLLAMA.format(python=sys.executable, folder=str(tmp_path)))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("OLLAMA_")]:
        monkeypatch.delenv(name)
    return Fake(tmp_path)


def options(**more):
    return Options(**{"backend": "ollama", "workload": WORKLOAD, "start": "launch"} | more)


def test_it_gets_the_slots_and_the_context_that_the_run_needs(ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:1")
    monkeypatch.setenv("OLLAMA_NUM_PARALLEL", "9")
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", "1m")
    with resolved(options(), lambda _: None) as who:
        said = ollama.variables()
        assert who.identity.slots == 3 and who.target.model == "here:1b"
    assert said.pop("OLLAMA_HOST").startswith("127.0.0.1:")
    assert said == {
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_CONTEXT_LENGTH": "1024",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_KEEP_ALIVE": "1m",
    }


def test_settings_go_before_what_the_run_needs(ollama):
    asked = options(engine={"max-seqs": "8", "kv-cache-dtype": "q8_0"}, engine_args=("OLLAMA_DEBUG=1",))
    with resolved(asked, lambda _: None) as who:
        assert who.identity.slots == 8
        assert "OLLAMA_NUM_PARALLEL=8" in who.launch_command
    wanted = {"OLLAMA_NUM_PARALLEL": "8", "OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_DEBUG": "1"}
    assert wanted.items() <= ollama.variables().items()


def test_a_whole_run_pulls_loads_and_measures(ollama, tmp_path):
    told = []
    store = Store(tmp_path / "store")
    done = run(options(model="new:1b", pull=True), store, tell=told.append, interrupt=Interrupt())
    assert ollama.asked("/api/pull") == [{"model": "new:1b", "stream": True}]
    texts = [stage.text for stage in told if hasattr(stage, "text")]
    assert "pulling new:1b" in texts and "loading new:1b" in texts
    assert {body["options"]["num_ctx"] for body in ollama.asked("/api/chat")} == {1024}
    manifest = done.manifest
    assert (manifest.model, manifest.endpoint, manifest.identity.server) == ("new:1b", "native", "Ollama")
    assert manifest.load_seconds is not None and manifest.identity.context_tokens == 1024
    assert done.summaries[0].outcomes == {"ok": 4}, done.summaries[0]
    assert re.search(r"ready after [\d.]+ s; loading the model took [\d.]+ s", how(done, width=1000))


def test_what_was_loaded_in_a_running_one_is_told_too(ollama, tmp_path):
    with resolved(options(), lambda _: None) as there:
        asked = options(start="attach", url=there.target.url)
        done = run(asked, Store(tmp_path / "store"), tell=lambda _: None, interrupt=Interrupt())
    assert re.search(
        r"Before the clock the model was loaded, in [\d.]+ s\.", " ".join(how(done, width=1000).split())
    )
    told = [found.message for found in done.summaries[0].warnings if found.code == "over_slots"]
    assert len(told) == 1 and told[0].startswith("2 of 3 may wait in the server's queue")


def test_without_ollama_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="ollama isn't on the PATH"), resolved(options(), lambda _: None):
        pass
