"""The model is downloaded where that is asked for, and loaded, before anything is measured."""

import json

import pytest

from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import follow
from benchsuite.errors import TargetError, UsageError
from benchsuite.target import Options, check_asked, resolved
from benchsuite.types import Call, Connection, Target, Workload

MODEL = "qwen3:8b"
WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(3000,),
    output_tokens=(8,),
    concurrency=(3,),
    requests=1,
)
PULL = (
    {"status": "pulling manifest"},
    {"status": "pulling aaa", "digest": "aaa", "total": 100, "completed": 43},
    {"status": "success"},
)


def answer(body, status=200, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Ollama:
    """A scripted Ollama: which models it has, and with which context one is loaded."""

    def __init__(self, *there, pull=PULL, load=None):
        self.there, self.pull, self.load = list(there), pull, load
        self.context = None
        self.heard = []

    def __call__(self, peer):
        while (heard := peer.request()) is not None:
            _, path, _ = heard.line.split(" ")
            body = json.loads(heard.body) if heard.body else {}
            self.heard.append((path, body))
            peer.answer(self.said(path, body))

    def said(self, path, body):
        if path == "/api/version":
            return answer({"version": "0.33.0"})
        if path == "/api/tags":
            return answer({"models": [{"name": name} for name in self.there]})
        if path == "/api/ps":
            loaded = [{"name": self.there[0], "context_length": self.context}] if self.context else []
            return answer({"models": loaded})
        if path == "/api/pull":
            if self.pull[-1].get("status") == "success":
                self.there.append(body["model"])
            return answer(b"".join(json.dumps(one).encode() + b"\n" for one in self.pull), kind="x")
        if body["model"] not in self.there:
            return answer({"error": f"model '{body['model']}' not found"}, 404)
        if path == "/api/show":
            return answer({"details": {}, "model_info": {}})
        if self.load is not None:
            return answer(*self.load)
        self.context = body["options"]["num_ctx"]
        return answer({"model": body["model"], "response": "", "done": True, "done_reason": "load"})

    def asked(self, path):
        return [body for one, body in self.heard if one == path]


class Told(list):
    def texts(self):
        return [stage.text for stage in self]


def reached(url, backend="ollama", **options):
    told = Told()
    asked = {"backend": backend, "model": MODEL, "url": url, "workload": WORKLOAD} | options
    with resolved(Options(**asked), told.append) as who:
        return who, told


def test_the_model_is_loaded_with_the_context_that_the_run_needs(serve):
    ollama = Ollama(MODEL)
    who, told = reached(serve(ollama).url)
    assert ollama.asked("/api/generate") == [
        {"model": MODEL, "stream": False, "keep_alive": "10m", "options": {"num_ctx": 3072}}
    ]
    assert who.identity.context_tokens == 3072 and who.identity.models == (MODEL,)
    assert who.identity.slots == 1
    assert who.load_seconds > 0
    assert f"loading {MODEL}" in told.texts()


def test_a_model_that_is_missing_is_only_pulled_when_that_is_asked_for(serve):
    ollama = Ollama("other:1b")
    server = serve(ollama)
    with pytest.raises(TargetError, match=r"doesn't have qwen3:8b: `ollama pull qwen3:8b` gets it.* --pull$"):
        reached(server.url)
    assert ollama.asked("/api/pull") == []
    who, told = reached(server.url, pull=True)
    assert ollama.asked("/api/pull") == [{"model": MODEL, "stream": True}]
    assert f"pulling {MODEL}: 43%" in told.texts()
    assert who.target.model == MODEL and len(ollama.asked("/api/generate")) == 3


def test_a_model_that_is_there_is_not_pulled_again(serve):
    ollama = Ollama(MODEL)
    reached(serve(ollama).url, pull=True)
    assert ollama.asked("/api/pull") == []


def test_a_pull_that_fails_says_why(serve):
    failing = ({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})
    with pytest.raises(TargetError, match="couldn't be pulled: pull model manifest: file does not exist"):
        reached(serve(Ollama(pull=failing)).url, pull=True)


def test_a_model_that_can_not_be_loaded_says_why(serve):
    load = ({"error": "model requires more system memory (9 GiB) than is available (4 GiB)"}, 500)
    with pytest.raises(TargetError, match=r"Ollama didn't load qwen3:8b: model requires more system memory"):
        reached(serve(Ollama(MODEL, load=load)).url)


def test_the_slots_of_a_running_server_can_be_told(serve):
    url = serve(Ollama(MODEL)).url
    assert reached(url, options={"slots": "4"})[0].identity.slots == 4
    with pytest.raises(UsageError, match="slots are a whole number above 0, not 'four'"):
        reached(url, options={"slots": "four"})


def test_only_who_can_download_is_asked_to():
    from benchsuite.driver import load

    with pytest.raises(UsageError, match="can't be asked to download a model; leave --pull out"):
        check_asked(load("vllm"), Options(backend="vllm", workload=WORKLOAD, pull=True))
    check_asked(load("ollama"), Options(backend="ollama", workload=WORKLOAD, pull=True))


def lmstudio(jobs):
    """A scripted LM Studio without models, whose download takes as many questions as there are jobs."""
    instances: list[dict[str, object]] = []
    heard: list[str] = []

    def script(peer):
        while (request := peer.request()) is not None:
            method, path, _ = request.line.split(" ")
            heard.append(path)
            body = json.loads(request.body) if request.body else {}
            if path == "/api/v1/models":
                model = {"type": "llm", "key": "q/m", "loaded_instances": instances}
                peer.answer(answer({"models": [model] if instances else []}))
            elif "download" in path:
                peer.answer(answer(jobs[min(heard.count(path) - (method == "POST"), len(jobs) - 1)]))
            elif "/api/v1/models/download/status/j1" not in heard:
                peer.answer(answer({"error": {"type": "model_not_found", "message": "no such"}}, 400))
            else:
                config = {"context_length": body["context_length"], "parallel": 4}
                instances.append({"id": body["model"], "config": config})
                peer.answer(answer({"instance_id": body["model"], "load_time_seconds": 9.5}))

    return script, heard


def test_a_download_that_is_a_job_is_asked_about_until_it_ends(serve, monkeypatch):
    monkeypatch.setattr("benchsuite.loading._ASK_EVERY_S", 0.0)
    job = {"job_id": "j1", "status": "downloading", "total_size_bytes": 100, "downloaded_bytes": 25}
    script, heard = lmstudio([job, job | {"downloaded_bytes": 75}, job | {"status": "completed"}])
    who, told = reached(serve(script).url, "lmstudio", model="q/m", pull=True)
    assert heard.count("/api/v1/models/download/status/j1") == 2
    assert "pulling q/m: 25%" in told.texts() and "pulling q/m: 75%" in told.texts()
    assert (who.load_seconds, who.identity.context_tokens, who.identity.slots) == (9.5, 3072, 4)


def test_what_has_been_heard_so_far_is_told_while_an_answer_comes(serve, monkeypatch):
    monkeypatch.setattr("benchsuite.engine.exchange._TELL_EVERY_NS", 0)

    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        seen.wait(10)
        peer.answer(b"3\r\ntwo\r\n0\r\n\r\n")

    from threading import Event

    seen = Event()
    bodies = []

    def on_heard(tape):
        bodies.append(tape.body)
        if tape.body:
            seen.set()

    target = Target(backend="b", url=serve(script).url)
    tape = follow(resolve(target, Connection()), target, Call(method="GET", path="/"), on_heard)
    assert b"one" in bodies and tape.body == b"onetwo" and tape.framing_complete
