"""A server of batch APIs that can be stopped at any step, and a benchsuite that can be killed there."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.simulator.batches import anthropic, gemini, openai
from benchsuite.simulator.batches.ledger import Ledger
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page
from benchsuite.simulator.http import json as page
from benchsuite.store.runs import RunDir, Store

VENDORS = ("openai", "anthropic", "gemini")
KEY = "canary-key-c0ffee"
LENGTHS = ("--prompt-tokens", "40", "--output-tokens", "8")
TEMPLATE = 7
PAGES = {"openai": openai.Pages, "anthropic": anthropic.Pages, "gemini": gemini.Pages}


class Step:
    """A point in the life of a batch at which the server stops: before it does what it is asked, or after.

    It goes on with `before` only if it is to be `late`; else the request is lost.
    """

    def __init__(self, method: str, path: str, when: str, skip: int = 0) -> None:
        self.method, self.path, self.when, self.skip = method, re.compile(path), when, skip
        self.reached, self.released = threading.Event(), threading.Event()
        self.late = False

    def takes(self, method: str, path: str) -> bool:
        if self.reached.is_set() or self.method != method or not self.path.search(path):
            return False
        self.skip -= 1
        return self.skip < 0


class BatchServer:
    """One vendor's live and batch pages, in threads of this process."""

    def __init__(self, vendor: str, **config: Any) -> None:
        self.vendor = vendor
        self.ledger = Ledger(BatchConfig(**{"seconds": 0.3, **config}), self.live)
        self.step: Step | None = None
        self.heard: list[tuple[str, str]] = []
        self.created: list[list[str]] = []
        self.before: Callable[[str, str], Page | None] = lambda _method, _path: None
        self.changed: Callable[[str, str, Page], Page] = lambda _method, _path, answer: answer
        self._routes: list[tuple[str, re.Pattern[str], Any]] = []
        PAGES[vendor](self.ledger).register(self)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        base = "/v1" if vendor == "openai" else ""
        self.url = f"http://127.0.0.1:{self._http.server_port}{base}"

    def close(self) -> None:
        if self.step is not None:
            self.step.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def page(self, method: str, pattern: str, answer: Any) -> None:
        """As the simulator's site has it."""
        regex = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", pattern)
        self._routes.append((method, re.compile(regex), answer))

    def answer(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Page:
        incoming = Incoming(method, path, "", body, 0, False, False, query, headers)
        for known, pattern, answering in self._routes:
            found = pattern.fullmatch(path)
            if known == method and found:
                try:
                    answer = answering(incoming, found.groupdict())
                except Refused as refused:
                    return page(self.error(str(refused)), refused.status)
                return self.changed(method, path, answer)
        if method == "GET" and path.endswith("/models"):
            return page(self.models())
        return self.live(path, body, headers) if method == "POST" else page(self.error("nothing here"), 404)

    def submissions(self) -> list[list[str]]:
        """The custom ids of every batch that was ever handed in."""
        return [[item.custom_id for item in job.items] for job in self.ledger._jobs.values()]

    # ------------------------------------------------------------ live answers

    def models(self) -> Any:
        if self.vendor == "gemini":
            return {"models": [{"name": "models/m", "supportedGenerationMethods": ["generateContent"]}]}
        return {"data": [{"id": "m", "type": "model", "object": "model"}]}

    def error(self, message: str) -> Any:
        if self.vendor == "anthropic":
            return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
        return {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": message}}

    def live(self, path: str, body: bytes, headers: Any = None) -> Page:
        said = json.loads(body or b"{}")
        if self.vendor == "gemini":
            if not said.get("contents"):
                return page(self.error("contents are needed"), 400)
            words = len(said["contents"][0]["parts"][0]["text"].split()) + TEMPLATE
            out = said["generationConfig"]["maxOutputTokens"]
            usage = {"promptTokenCount": words, "candidatesTokenCount": out}
            return page({"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": usage})
        if not said.get("messages"):
            return page(self.error("messages are needed"), 400)
        content = said["messages"][0]["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        words = len(text.split()) + TEMPLATE
        out = said.get("max_tokens") or said.get("max_completion_tokens")
        if self.vendor == "anthropic":
            usage = {"input_tokens": words, "output_tokens": out}
            return page({"type": "message", "stop_reason": "max_tokens", "usage": usage})
        usage = {"prompt_tokens": words, "completion_tokens": out}
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
        return page({"choices": [choice], "usage": usage})

    # ------------------------------------------------------------ HTTP

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do(self) -> None:
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.heard.append((self.command, self.path))
                step = server.step
                stops = step is not None and step.takes(self.command, path)
                if step is not None and stops and step.when == "before":
                    step.reached.set()
                    step.released.wait(60)
                    if step.late:
                        server.answer(self.command, path, query, headers, body)
                    self.close_connection = True
                    return
                answer = server.before(self.command, path) or server.answer(
                    self.command, path, query, headers, body
                )
                if step is not None and stops:
                    step.reached.set()
                    step.released.wait(60)
                    self.close_connection = True
                    return
                lines = f"HTTP/1.1 {answer.status} x\r\nContent-Type: {answer.media}\r\n{answer.headers}"
                with contextlib.suppress(OSError):
                    self.wfile.write(
                        f"{lines}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body
                    )

            do_GET = do_POST = do

        return Handler


@pytest.fixture
def serving() -> Iterator[Callable[..., BatchServer]]:
    """`serving(vendor, seconds=…)`: a server; ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(vendor: str, **config: Any) -> BatchServer:
            server = BatchServer(vendor, **config)
            stack.callback(server.close)
            return server

        yield start


class Client:
    """benchsuite's command line in processes of its own, with a store."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
        clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        self._env = {**clean, "BENCHSUITE_STORE": str(folder / "store"), **dict.fromkeys(keys, KEY)}

    def asked(self, server: BatchServer, *words: str, requests: int = 6, poll: str = "0.05") -> list[str]:
        """The words of a run."""
        name = ["--backend", server.vendor, "--url", server.url, "--model", "m"]
        return [
            "run",
            *name,
            "--batch-api",
            "--requests",
            str(requests),
            "--batch-poll",
            poll,
            *LENGTHS,
            *words,
        ]

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "benchsuite", *words]
        return subprocess.Popen(
            argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def done(self, *words: str, expect: tuple[int, ...] = (0,)) -> tuple[str, str]:
        """Run it to its end: what it said on stdout and stderr."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode in expect, f"exit {process.returncode}\n{out}\n{err}"
        return out, err

    def killed_at(self, server: BatchServer, step: Step, *words: str) -> str:
        """Run it until the server has come to `step`, and kill it there; the run's id."""
        server.step = step
        with self.start(*words) as process:
            reached = step.reached.wait(60)
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate(timeout=60)
        assert reached, f"the step was never reached\n{out}\n{err}"
        (run_dir,) = self.store.partial_runs()
        return run_dir.run_id

    def run_dir(self) -> RunDir:
        (found,) = self.store.runs()
        return found

    def records(self) -> list[dict[str, Any]]:
        return self.run_dir().records().to_pylist()


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


@pytest.fixture
def stopping() -> type[Step]:
    """`stopping(method, path, when, skip)`: where a server stops."""
    return Step
