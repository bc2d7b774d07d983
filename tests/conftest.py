"""Scripted servers with exact control over every byte, and the engine driven against them."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from benchsuite.driver import load
from benchsuite.engine.decode import record
from benchsuite.engine.endpoint import Endpoint, resolve
from benchsuite.engine.exchange import ask
from benchsuite.engine.spool import SpoolReader
from benchsuite.engine.trial import Interrupt, Status, Trial, TrialRun, run_trial, segments
from benchsuite.simulator import SimConfig, Simulator, running
from benchsuite.types import Call, Connection, Message, Record, Request, Tape, Target, Timeouts

DIRECT = Connection()


class Heard(NamedTuple):
    """One request as a server saw it; `connection` counts those that asked anything, from 0."""

    connection: int
    line: str
    headers: dict[str, str]
    body: bytes
    at_ns: int

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]


class Peer:
    """One accepted connection, in the hands of a script."""

    def __init__(self, server: "Scripted", sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.number = -1
        self._data = b""

    def request(self) -> Heard | None:
        """The next request, whole; None when the client has gone."""
        head = self.head()
        if head is None:
            return None
        line, *fields = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        size = int(headers.get("content-length", 0))
        while len(self._data) < size:
            if not self._more():
                return None
        body, self._data = self._data[:size], self._data[size:]
        return self.server.note(self, line, headers, body)

    def head(self) -> str | None:
        """The next request's head alone; its body stays unread."""
        while b"\r\n\r\n" not in self._data:
            if not self._more():
                return None
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._data += data
        return bool(data)

    def send(self, *parts: bytes, pause_s: float = 0.0) -> None:
        """Send each part as a segment of its own."""
        for part in parts:
            self.sock.sendall(part)
            time.sleep(pause_s)

    def answer(self, *parts: bytes, pause_s: float = 0.0) -> None:
        """Send a whole answer; from the last part on its request isn't in flight any more."""
        self.send(*parts[:-1], pause_s=pause_s)
        self.server.answered()
        self.send(parts[-1])

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close without the farewell: the client gets a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], None]


class Scripted:
    """A server that runs a script in a thread of its own for every connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.heard: list[Heard] = []
        self.in_flight = self.most_in_flight = self.connections = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._socks: list[socket.socket] = []
        self._threads[0].start()

    def note(self, peer: Peer, line: str, headers: dict[str, str], body: bytes) -> Heard:
        with self._lock:
            if peer.number < 0:
                peer.number = self.connections
                self.connections += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.heard.append(Heard(peer.number, line, headers, body, time.monotonic_ns()))
            return self.heard[-1]

    def answered(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def _accept(self) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socks.append(sock)
                self._threads.append(threading.Thread(target=self._talk, args=(sock,)))
                self._threads[-1].start()

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            self.script(Peer(self, sock))
        sock.close()

    def close_door(self) -> None:
        """Take no more connections; those that are there go on."""
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        self.close_door()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    """`serve(script)`: a scripted server; ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(script: Script, tls: ssl.SSLContext | None = None) -> Scripted:
            server = Scripted(script, tls)
            stack.callback(server.close)
            return server

        yield start


def event(**fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def token(text: str, name: str = "content") -> bytes:
    return event(choices=[{"index": 0, "delta": {name: text}}])


class Wire:
    """Answers in the simulator's dialect (OpenAI's), as bytes."""

    OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    token = staticmethod(token)

    def events(self, tokens: int = 3) -> list[bytes]:
        """A stream's events: tokens, then the finish reason, usage and the end."""
        usage = {"prompt_tokens": 5, "completion_tokens": tokens}
        finish = event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
        said = [token(f"t{i} ") for i in range(tokens)]
        return [*said, finish, event(choices=[], usage=usage), b"data: [DONE]\n\n"]

    def sized(self, tokens: int = 3) -> bytes:
        """With Content-Length, in one piece."""
        body = b"".join(self.events(tokens))
        return self.OK + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def chunked(self, tokens: int = 3) -> list[bytes]:
        """The head and a chunk for every event; the last part ends the answer."""
        chunks = [b"%x\r\n%b\r\n" % (len(data), data) for data in self.events(tokens)]
        return [self.OK + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


@pytest.fixture
def wire() -> Wire:
    return Wire()


class Done(NamedTuple):
    """What a trial left: its result, its records by index, its tapes, its spool's bytes, its ticks."""

    run: TrialRun
    records: list[Record]
    tapes: list[Tape]
    spool: bytes
    ticks: list[Status]


class Drive:
    """Asks, and runs trials, with the simulator's driver."""

    ID_PREFIX = "req-"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = load("sim")
        self.trials = 0

    def target(self, server: Scripted, **fields: Any) -> Target:
        return Target(backend="sim", url=server.url, model="m", **fields)

    def limits(self, **seconds: float) -> Connection:
        return Connection(timeouts=Timeouts(**seconds))

    def endpoint(self, server: Scripted, connection: Connection = DIRECT) -> Endpoint:
        return resolve(self.target(server), connection)

    def requests(self, count: int, offsets_ns: Sequence[int] | None = None) -> Iterator[Request]:
        for index in range(count):
            yield Request(
                index=index,
                phase="measure",
                messages=(Message(role="user", content=f"prompt {index}"),),
                max_output_tokens=3,
                min_output_tokens=3,
                cache="cold",
                due_offset_ns=None if offsets_ns is None else offsets_ns[index],
            )

    def calls(self, server: Scripted, count: int) -> list[Call]:
        return [self.driver.encode(request, self.target(server)) for request in self.requests(count)]

    def ask(
        self, server: Scripted, count: int = 1, connection: Connection = DIRECT, at_once: int = 1
    ) -> list[Record]:
        """Ask in this process and decode."""
        endpoint = self.endpoint(server, connection)
        tapes = ask(endpoint, self.target(server), self.calls(server, count), at_once)
        return [self.record(tape) for tape in tapes]

    def record(self, tape: Tape) -> Record:
        return record(tape, self.driver.decode(tape), f"{self.ID_PREFIX}{tape.index}")

    def trial(self, server: Scripted, **fields: Any) -> Trial:
        """A closed loop of one slot over one worker, unless `fields` say otherwise."""
        self.trials += 1
        defaults: dict[str, Any] = {
            "endpoint": fields.pop("endpoint", None) or self.endpoint(server),
            "target": self.target(server),
            "driver": self.driver,
            "id_prefix": self.ID_PREFIX,
            "stem": str(self.folder / f"0-{self.trials}"),
            "point": 0,
            "trial": self.trials,
            "closed": True,
            "slots": 1,
            "seconds": None,
            "workers": 1,
            "reuse": None,
        }
        return Trial(**defaults | fields)

    def run(
        self,
        trial: Trial,
        requests: Iterator[Request],
        interrupt: Interrupt | None = None,
        on_tick: Callable[[Status], None] | None = None,
    ) -> Done:
        """Run a trial in worker processes and decode its spools."""
        ticks: list[Status] = []

        def tick(status: Status) -> None:
            ticks.append(status)
            if on_tick is not None:
                on_tick(status)

        run = run_trial(trial, requests, interrupt=interrupt or Interrupt(), on_tick=tick)
        paths = segments(self.folder, Path(trial.stem).name)
        tapes = sorted((tape for path in paths for tape in SpoolReader(path).read()), key=lambda t: t.index)
        spool = b"".join(path.read_bytes() for path in paths)
        return Done(run, [self.record(tape) for tape in tapes], tapes, spool, ticks)


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    return Drive(tmp_path)


@pytest.fixture
def server() -> Iterator[Callable[[float], str]]:
    """Starts simulators whose times are so many times 40 ms to the first token and 6 ms a token."""
    with contextlib.ExitStack() as stack:

        def start(factor: float = 1.0) -> str:
            config = SimConfig(ttft_ms=40.0 * factor, itl_ms=6.0 * factor)
            return f"sim@{stack.enter_context(running(config)).url}"

        yield start


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Simulator]]:
    """Two simulators of the same kind, but for how fast they are."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                running(
                    SimConfig(
                        ttft_ms=ttft_ms,
                        itl_ms=1.0,
                        prefix_cache=True,
                        cache_block_tokens=4,
                        truth_path=str(tmp_path / f"truth{ttft_ms}.jsonl"),
                    )
                )
            )
            for ttft_ms in (60.0, 90.0)
        ]
