"""One completion from the begin of its service to its end: what is due when, and what was sent when."""

from random import Random

from benchsuite.simulator.asked import Asked, Refused
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Connection, Incoming
from benchsuite.simulator.dialect import Dialect
from benchsuite.simulator.timing import first_token_ns, gap_ns, steady_itl_ns
from benchsuite.simulator.truth import SimOutcome, TruthEntry

ENDED = 0
"""Nothing more is due: the answer is over."""
PARKED = -1
"""Nothing more is due, but the answer is not over until the client gives up."""

MID_ANSWER = frozenset({"reset", "stall", "error_midstream"})
"""Faults that come instead of the second half of an answer."""


class Exchange:
    """`announce` when the request comes, `start` when it is served, then `fire` whenever it asks for it."""

    __slots__ = (
        *("asked", "connection", "over", "served"),
        *("_at_once", "_config", "_dialect", "_fault", "_incoming", "_itl_ns", "_rng"),
        *(
            "_announced",
            "_cached",
            "_due_ns",
            "_end_ns",
            "_events",
            "_outcome",
            "_sizes",
            "_stalled",
            "_status",
        ),
        *("_late_ns", "_next", "_sent_ns"),
    )

    def __init__(
        self,
        connection: Connection,
        incoming: Incoming,
        asked: Asked,
        fault: str,
        rng: Random,
        config: SimConfig,
        dialect: Dialect,
    ) -> None:
        self.connection = connection
        self.asked = asked
        self.served = False
        self.over = False
        self._incoming = incoming
        self._fault = fault
        self._rng = rng
        self._config = config
        self._dialect = dialect
        self._at_once = not config.itl_ms
        self._itl_ns = steady_itl_ns(config)
        self._announced = False
        self._cached = 0
        self._outcome: SimOutcome | None = None
        self._status = 200
        self._stalled = False
        self._due_ns = 0
        self._end_ns = 0
        self._events: list[bytes] = []
        self._sizes: list[int] = []
        self._next = 0
        self._sent_ns: list[int] = []
        self._late_ns: list[int] = []

    @property
    def closes(self) -> bool:
        """The connection ends with this answer."""
        config, incoming = self._config, self._incoming
        return incoming.close or config.http10 or not config.keep_alive

    def announce(self) -> None:
        """Send a stream's headers and role chunk before anything else is known."""
        self.connection.send(self._opening())
        self._announced = True

    def start(self, now_ns: int, cached_tokens: int, in_service: int) -> int:
        """Service begins; gives the instant of the first `fire`."""
        asked, config = self.asked, self._config
        self.served = True
        self._cached = cached_tokens
        self._due_ns = now_ns + first_token_ns(self._rng, config, asked.prompt_tokens - cached_tokens)
        short = self._fault == "short"
        tokens = max(1, asked.output_tokens // 2) if short else asked.output_tokens
        finish = "stop" if short else "length"
        if asked.stream:
            self._plan_stream(tokens, finish)
        else:
            self._due_ns += gap_ns(self._rng, config, tokens - 1, in_service)
            if self._fault not in MID_ANSWER:
                plain, close = self._plain, self._says_close
                self._events = [self._dialect.whole(asked, tokens, cached_tokens, finish, plain, close)]
                self._sizes = [tokens]
        return self._due_ns

    def _plan_stream(self, tokens: int, finish: str) -> None:
        asked, plain = self.asked, self._plain
        events, sizes = self._dialect.events(asked, tokens, plain)
        if self._fault in MID_ANSWER:
            half = max(1, len(events) // 2)
            del events[half:], sizes[half:]
        else:
            events[-1] += self._dialect.ending(asked, tokens, self._cached, finish, plain)
        if not self._announced:
            events[0] = self._opening() + events[0]
        self._events, self._sizes = events, sizes

    def fire(self, now_ns: int, in_service: int) -> int:
        """Send what is due; `now_ns` is right now. Gives the next instant, ENDED or PARKED."""
        if self.over or self.connection.over:
            return ENDED
        late_ns = now_ns - self._due_ns
        i = self._next
        events = self._events
        if i == len(events):
            return self._fail(now_ns)
        if self._at_once:
            self.connection.send(b"".join(events))
            i = len(events)
            self._sent_ns = [now_ns] * i
            self._late_ns = [late_ns] * i
        else:
            self.connection.send(events[i])
            i += 1
            self._sent_ns.append(now_ns)
            self._late_ns.append(late_ns)
        self._next = i
        if i < len(events):
            tokens = self._sizes[i]
        elif self._fault in MID_ANSWER:
            tokens = 1
        else:
            return self._finish("ok", now_ns)
        self._due_ns += self._itl_ns * tokens or gap_ns(self._rng, self._config, tokens, in_service)
        return self._due_ns

    def _fail(self, now_ns: int) -> int:
        """The fault that comes instead of the rest."""
        if self._fault == "reset":
            self.connection.reset()
            return self._finish("cut_off", now_ns)
        if self._fault == "error_midstream":
            if self.asked.stream:
                self.connection.send(self._dialect.stream_error(self._plain))
            else:
                self._status = 500
                refused = Refused(500, "simulated error", "server_error")
                self.connection.send(self._dialect.refusal(refused, self._plain, self._says_close))
            return self._finish("http_error", now_ns)
        if self._stalled:
            self.connection.end()
            return self._finish("cut_off", now_ns)
        self._stalled = True
        if not self._config.stall_s:
            return PARKED
        self._due_ns = now_ns + round(self._config.stall_s * 1e9)
        return self._due_ns

    def _finish(self, outcome: SimOutcome, now_ns: int) -> int:
        self._outcome = outcome
        self._end_ns = now_ns
        return ENDED

    def conclude(self, now_ns: int, *, stopped: bool = False) -> None:
        """It is over; without an end it was given up now, by the client or because the server stops."""
        self.over = True
        self._events = []
        if self._outcome is None:
            gave_up: SimOutcome = "timeout" if self._stalled else "client_closed"
            self._finish("cut_off" if stopped else gave_up, now_ns)

    def truth(self) -> TruthEntry:
        """What happened, once it is over."""
        assert self._outcome is not None
        streamed = self.asked.stream
        return TruthEntry(
            request_id=self._incoming.request_id,
            outcome=self._outcome,
            fault=self._fault,
            status=self._status,
            received_ns=self._incoming.received_ns,
            events_ns=self._sent_ns if streamed else [],
            due_lateness_us_max=max(self._late_ns, default=0) // 1000,
            lateness_us=[late_ns // 1000 for late_ns in self._late_ns] if streamed else [],
            end_ns=self._end_ns,
            prompt_tokens=self.asked.prompt_tokens,
            output_tokens=sum(self._sizes[: self._next]),
            cached_tokens=self._cached,
        )

    @property
    def _plain(self) -> bool:
        return self._config.http10 or self._incoming.plain

    @property
    def _says_close(self) -> bool:
        return self._config.http10 or self._incoming.close

    def _opening(self) -> bytes:
        head = self._dialect.stream_head(self._plain, self._says_close)
        return head + self._dialect.role(self.asked, self._plain)
