"""Uploaded prefixes: there before the first request that names them, gone at the end, however that comes."""

import re
import threading

import msgspec
import pytest

from benchsuite.asked import Options, check_asked
from benchsuite.driver import load
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import TargetError, UsageError
from benchsuite.run import run
from benchsuite.store.runs import Store
from benchsuite.types import Progress, Workload
from benchsuite.workload.bodies import Lines

WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(60, 80),
    output_tokens=(4,),
    cache=("shared",),
    concurrency=(2,),
    requests=3,
    trials=2,
)


class Google:
    """A server that answers like Gemini, and knows what it holds."""

    def __init__(self, refuses=False):
        self.refuses = refuses
        self.held, self.log = {}, []
        self._lock = threading.Lock()

    def __call__(self, peer):
        while (heard := peer.request()) is not None:
            with self._lock:
                status, body = self.answer(heard.line.rsplit(" ", 1)[0], heard.body)
            peer.answer(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def answer(self, line, body):
        self.log.append(line.partition("?")[0])
        asked = msgspec.json.decode(body) if body else {}
        if line.startswith("GET /v1beta/models"):
            return 200, b'{"models": [{"name": "models/gemini-x"}]}'
        if line == "POST /v1beta/cachedContents":
            if self.refuses:
                return 400, b'{"error": {"code": 400, "message": "too small", "status": "INVALID_ARGUMENT"}}'
            name = f"cachedContents/{len(self.log)}"
            self.held[name] = words(asked["contents"])
            return 200, msgspec.json.encode({"name": name})
        if line.startswith("DELETE"):
            return (200 if self.held.pop(line.partition("/v1beta/")[2], None) else 404), b"{}"
        name = asked.get("cachedContent")
        if name is not None and name not in self.held:
            return 403, b'{"error": {"code": 403, "message": "CachedContent not found"}}'
        cached = self.held.get(name, 0)
        usage = {"promptTokenCount": words(asked["contents"]) + cached + 3, "candidatesTokenCount": 4}
        if cached:
            usage["cachedContentTokenCount"] = cached
        said = {"content": {"parts": [{"text": "a b c d"}]}, "finishReason": "MAX_TOKENS"}
        return 200, b"data: %b\r\n\r\n" % msgspec.json.encode({"candidates": [said], "usageMetadata": usage})


def words(contents):
    return len(re.findall(r"\S+", contents[0]["parts"][0]["text"]))


def options(server, **more):
    return Options(
        backend="gemini", url=server.url, workload=WORKLOAD, options={"cache": "explicit"}, nonce="n", **more
    )


def test_each_points_prefix_is_uploaded_named_and_removed(serve, tmp_path):
    google = Google()
    done = run(options(serve(google)), Store(tmp_path), tell=lambda _: None, interrupt=Interrupt())
    uploads = [i for i, line in enumerate(google.log) if line == "POST /v1beta/cachedContents"]
    removals = [i for i, line in enumerate(google.log) if line.startswith("DELETE")]
    assert len(uploads) == len(removals) == 2 and google.held == {}
    assert removals == [len(google.log) - 2, len(google.log) - 1]
    for summary, cached in zip(done.summaries, (28, 38), strict=True):
        assert summary.outcomes["ok"] == summary.requests == 6
        assert abs(summary.means["cached_tokens"] - cached) <= 2


def test_without_the_option_nothing_is_uploaded(serve, tmp_path):
    google = Google()
    asked = msgspec.structs.replace(options(serve(google)), options={})
    run(asked, Store(tmp_path), tell=lambda _: None, interrupt=Interrupt())
    assert not any("cachedContents" in line for line in google.log)


@pytest.mark.parametrize("level", [1, 2])
def test_an_interrupt_leaves_nothing_behind(serve, tmp_path, level):
    google, interrupt = Google(), Interrupt()

    def tell(told):
        if isinstance(told, Progress):
            interrupt.level = level

    done = run(options(serve(google)), Store(tmp_path), tell=tell, interrupt=interrupt)
    assert done.status == "interrupted"
    assert google.held == {} and google.log[-1].startswith("DELETE")


def test_the_last_ctrl_c_leaves_nothing_behind_either(serve, tmp_path):
    google = Google()

    def tell(told):
        if isinstance(told, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(options(serve(google)), Store(tmp_path), tell=tell, interrupt=Interrupt())
    assert google.held == {}
    assert sum(line == "POST /v1beta/cachedContents" for line in google.log) == 2


def test_a_refused_upload_is_told(serve, tmp_path):
    google = Google(refuses=True)
    with pytest.raises(TargetError, match=r"didn't take the shared prefix \(HTTP 400 too small\)"):
        run(options(serve(google)), Store(tmp_path), tell=lambda _: None, interrupt=Interrupt())


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"cache": ("warm",)}, "add --cache shared"),
        ({"cache": ("cold",), "batch": True, "concurrency": ()}, "doesn't go with --batch-api"),
        ({"batch": True, "concurrency": ()}, "doesn't go with --batch-api"),
    ],
)
def test_where_no_prefix_would_be_uploaded_the_option_is_refused(monkeypatch, changes, advice):
    monkeypatch.setenv("GEMINI_API_KEY", "made-up")
    workload = msgspec.structs.replace(WORKLOAD, **changes)
    asked = Options(backend="gemini", workload=workload, options={"cache": "explicit"})
    with pytest.raises(UsageError, match=rf"--option cache=explicit .*{advice}"):
        check_asked(load("gemini"), asked)
    check_asked(load("gemini"), msgspec.structs.replace(asked, options={}))
    check_asked(load("gemini"), msgspec.structs.replace(asked, workload=WORKLOAD))


def test_bodies_share_no_prefix_to_upload(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "made-up")
    lines = Lines("b.jsonl", b'{"contents": []}')
    asked = Options(backend="gemini", workload=WORKLOAD, options={"cache": "explicit"}, bodies=lines)
    with pytest.raises(UsageError, match="--option cache=explicit doesn't go with --bodies"):
        check_asked(load("gemini"), asked)
