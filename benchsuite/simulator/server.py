"""The simulator's loop: one thread, one heap of what is due, no framework between due and send.

What is answered where stands in `doors.py`; `site.py` says how further pages are added.
"""

import contextlib
import gc
import heapq
import resource
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from time import monotonic_ns

from benchsuite.errors import TargetError
from benchsuite.simulator.asked import Asked, Refused
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Connection, Incoming
from benchsuite.simulator.doors import site_of
from benchsuite.simulator.exchange import ENDED, Exchange, Later
from benchsuite.simulator.http import Page, manners
from benchsuite.simulator.site import Route
from benchsuite.simulator.timing import draw_fault, request_rng
from benchsuite.simulator.tls import server_context
from benchsuite.simulator.truth import TruthEntry, TruthLog
from benchsuite.simulator.wakeup import make_poller

_BACKLOG = 4096
_FIRE_BATCH = 32
_ACCEPT_BATCH = 4
"""What is due goes before what comes in, but not for ever: after so many sends a socket is looked at."""

_HTTP_FAULTS = {
    "error_500": Refused("failed", "simulated server error"),
    "error_429": Refused("rate_limit", "simulated rate limit"),
    "error_503": Refused("overloaded", "simulated overload"),
}


def serve(config: SimConfig, on_ready: Callable[[str], None], *, stop_fd: int | None = None) -> None:
    """Serve until SIGINT or SIGTERM, or until `stop_fd`, the read end of a pipe, has come to its end.

    `on_ready` gets the URL as soon as clients can connect. Raises TargetError where the address
    can't be had. Outside the main thread only `stop_fd` ends it.
    """
    with contextlib.ExitStack() as cleanup:
        server = Server(config)
        cleanup.callback(server.close)
        if stop_fd is not None:
            server.stop_at_eof(stop_fd)
        cleanup.enter_context(_stop_on_signals(server))
        cleanup.enter_context(_no_collector())
        _raise_open_files()
        on_ready(server.url)
        server.run()


class Server:
    """Everything the loop knows. Made listening; `run` serves until `stop`."""

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._rates = config.fault_rates()
        self._draws = bool(
            config.ttft_cv or config.itl_cv or config.natural_stop_rate or any(self._rates.values())
        )
        self._undrawn = Random(0)
        self._tls = None
        if config.tls_cert and config.tls_key:
            self._tls = server_context(config.tls_cert, config.tls_key)
        self._site = site_of(config)
        self._truth = TruthLog(config.truth_path)
        self._listener = _listen(config)
        self._wake, self._woken = socket.socketpair()
        self._poller = make_poller()
        self._poller.watch(self._listener.fileno())
        self._poller.watch(self._woken.fileno())
        self._stop_fd: int | None = None
        self._stopping = False
        self._connections: dict[int, Connection] = {}
        self._exchanges: dict[Connection, Exchange | Later] = {}
        self._left: list[Exchange | Later] = []
        self._due: list[tuple[int, int, Exchange | Later]] = []
        self._line: deque[Exchange] = deque()
        self._in_service = 0
        self._requests = 0
        self._starts = 0
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{port}"

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until stopped."""
        due, truth, wait = self._due, self._truth, self._poller.wait
        while not self._stopping:
            self._fire_due()
            if truth.waiting:
                ready = wait(0)
                if truth.overdue() or not (ready or (due and due[0][0] <= monotonic_ns())):
                    truth.write_some()
            else:
                ready = wait(due[0][0] if due else None)
            for fd, bits in ready:
                connection = self._connections.get(fd)
                if connection is not None:
                    connection.ready(bits)
                    self._fire_due()
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd == self._stop_fd or fd == self._woken.fileno():
                    self._stopping = True
            while self._left:
                self._settle(self._left.pop())

    def _fire_due(self) -> None:
        """Send what is due, in due order; the instant is taken right before each send."""
        due = self._due
        for _ in range(_FIRE_BATCH):
            if not due:
                return
            at_ns, order, exchange = due[0]
            now_ns = monotonic_ns()
            if at_ns > now_ns:
                return
            next_ns = exchange.fire(now_ns, self._in_service)
            # Nothing is added to the heap within fire, so its first entry is still this one.
            if next_ns > 0:
                heapq.heapreplace(due, (next_ns, order, exchange))
                continue
            heapq.heappop(due)
            if next_ns == ENDED:
                self._settle(exchange)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, self, self._tls)
            self._connections[connection.fd] = connection
            self._poller.watch(connection.fd)

    # ------------------------------------------------------------ what connections tell

    def asked(self, connection: Connection, incoming: Incoming) -> None:
        """Answer a request, now or as it becomes due."""
        try:
            route, found = self._site.find(incoming)
            if route.page is not None:
                self._answer_page(connection, incoming, route.page(incoming, found))
                return
        except Refused as refused:
            dialect = self._site.speaks(incoming.path)
            self._answer_page(connection, incoming, dialect.api.refusal(refused))
            return
        self._requests += 1
        rng = request_rng(self._config.seed, self._requests) if self._draws else self._undrawn
        fault = draw_fault(rng, self._rates) if self._draws else ""
        try:
            asked = route.dialect.read(incoming, route.kind, found)
        except Refused as refused:
            self._refuse(connection, incoming, route, refused, "", None)
            return
        if isinstance(asked, Page):
            self._answer_page(connection, incoming, asked)
            return
        if fault in _HTTP_FAULTS:
            self._refuse(connection, incoming, route, _HTTP_FAULTS[fault], fault, asked)
            return
        said = manners(incoming, self._config.http10, self._site.server)
        exchange = Exchange(connection, incoming, route.dialect, asked, fault, rng, self._config, said)
        self._exchanges[connection] = exchange
        if asked.stream and (self._config.comments or self._config.role_chunk == "early"):
            exchange.announce()
        if self._config.slots and self._in_service >= self._config.slots:
            self._line.append(exchange)
            self._site.load.waiting = len(self._line)
        else:
            self._start(exchange, incoming.received_ns)

    def writing(self, connection: Connection, wanted: bool) -> None:
        """Watch a socket that takes no more, or takes all again."""
        self._poller.writing(connection.fd, wanted)

    def lost(self, connection: Connection) -> None:
        """Forget a connection; its answer is settled later, because it may be just now being sent."""
        self._poller.forget(connection.fd)
        del self._connections[connection.fd]
        exchange = self._exchanges.pop(connection, None)
        if exchange is not None:
            self._left.append(exchange)

    # ------------------------------------------------------------ requests

    def _start(self, exchange: Exchange, now_ns: int) -> None:
        cached, written = self._site.cached(exchange.asked)
        self._in_service += 1
        self._site.load.running = self._in_service
        self._starts += 1
        at_ns = exchange.start(now_ns, cached, written, self._in_service)
        heapq.heappush(self._due, (at_ns, self._starts, exchange))

    def _settle(self, exchange: Exchange | Later, *, stopped: bool = False) -> None:
        """An answer is over: write it down, let the next one in, go on with its connection."""
        if exchange.over:
            return
        now_ns = monotonic_ns()
        exchange.conclude(now_ns, stopped=stopped)
        if isinstance(exchange, Exchange):
            self._truth.add(now_ns, exchange.truth)
            exchange.count(self._site.load)
        connection = exchange.connection
        self._exchanges.pop(connection, None)
        freed_ns = now_ns
        if isinstance(exchange, Exchange) and exchange.served:
            self._in_service -= 1
            freed_ns = exchange.freed_ns(now_ns)
        while self._line and self._in_service < self._config.slots and not stopped:
            waiting = self._line.popleft()
            if not waiting.over:
                # By the clock of the queue: being late once doesn't delay all who follow.
                self._start(waiting, max(freed_ns, waiting.received_ns))
        self._site.load.running, self._site.load.waiting = self._in_service, len(self._line)
        if not connection.over:
            connection.answered(exchange.closes)

    def _answer_page(self, connection: Connection, incoming: Incoming, page: Page) -> None:
        said = manners(incoming, self._config.http10, self._site.server)
        close = said.close or not self._config.keep_alive
        if page.delay_ns:
            later = Later(connection, said.page(page), close)
            self._exchanges[connection] = later
            self._starts += 1
            heapq.heappush(self._due, (incoming.received_ns + page.delay_ns, self._starts, later))
            return
        connection.send(said.page(page))
        connection.answered(close)

    def _refuse(
        self,
        connection: Connection,
        incoming: Incoming,
        route: Route,
        refused: Refused,
        fault: str,
        asked: Asked | None,
    ) -> None:
        said = manners(incoming, self._config.http10, self._site.server)
        page = route.dialect.api.refusal(refused)
        now_ns = monotonic_ns()
        connection.send(said.page(page))
        entry = TruthEntry(
            request_id=incoming.request_id,
            outcome="http_error",
            fault=fault,
            status=page.status,
            received_ns=incoming.received_ns,
            events_ns=[],
            due_lateness_us_max=0,
            lateness_us=[],
            end_ns=now_ns,
            prompt_tokens=asked.prompt_tokens if asked else 0,
            output_tokens=0,
            cached_tokens=0,
        )
        self._truth.add(now_ns, lambda: entry)
        connection.answered(said.close or not self._config.keep_alive)

    # ------------------------------------------------------------ the end

    def stop(self) -> None:
        """End `run` soon; safe in a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def stop_at_eof(self, fd: int) -> None:
        """End `run` when the pipe's other end is closed."""
        try:
            self._poller.watch(fd)
        except PermissionError:
            raise TargetError("the end of input can be watched on a pipe or terminal only") from None
        self._stop_fd = fd

    def close(self) -> None:
        """Give up what is under way, write the log to its end, release everything."""
        under_way = list(self._exchanges.values())
        for connection in list(self._connections.values()):
            connection.end()
        for exchange in under_way:
            self._settle(exchange, stopped=True)
        self._truth.close()
        self._poller.close()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()


def _listen(config: SimConfig) -> socket.socket:
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise TargetError(f"{config.host} is no address of this machine: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise TargetError(
            f"can't listen on {config.host} port {config.port}: {error}; try another port"
        ) from error
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def _stop_on_signals(server: Server) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda _number, _frame: server.stop()) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """No pauses: nothing here makes reference cycles that live on."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def _raise_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
