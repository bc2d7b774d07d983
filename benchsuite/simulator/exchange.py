"""One completion from the begin of its service to its end: what is due when, and what was sent when."""

from random import Random

from benchsuite.simulator.asked import Answer, Asked, Refused, Times
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Connection, Incoming
from benchsuite.simulator.dialect import Dialect
from benchsuite.simulator.http import Manners, framed
from benchsuite.simulator.site import Load
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
        *("_at_once", "_config", "_dialect", "_fault", "_incoming", "_itl_ns", "_manners", "_rng"),
        *("_announced", "_answer", "_due_ns", "_end_ns", "_events", "_first_ns", "_outcome", "_sizes"),
        *("_late_ns", "_next", "_sent_ns", "_stalled", "_status", "_unfinished"),
    )

    def __init__(
        self,
        connection: Connection,
        incoming: Incoming,
        dialect: Dialect,
        asked: Asked,
        fault: str,
        rng: Random,
        config: SimConfig,
        manners: Manners,
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
        self._manners = manners
        self._at_once = not config.itl_ms
        self._itl_ns = steady_itl_ns(config)
        self._announced = False
        self._answer = Answer(asked=asked, tokens=0, reasoning=0)
        self._unfinished = False
        self._first_ns = 0
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
        """Send what can be sent before anything else is known: headers, a comment, the role chunk."""
        config, plain = self._config, self._manners.plain
        data = self._head()
        if config.comments:
            data += framed(self._dialect.api.comment(self.asked), plain)
        if config.role_chunk == "early":
            data += self._dialect.opening(self._answer, plain)
        self.connection.send(data)
        self._announced = True

    def start(self, now_ns: int, cached: int, written: int, in_service: int) -> int:
        """Service begins; gives the instant of the first `fire`."""
        asked = self.asked
        self.served = True
        first_ns = first_token_ns(self._rng, self._config, asked.prompt_tokens - cached)
        tokens, stopped = self._length()
        self._answer = answer = Answer(
            asked=asked,
            tokens=tokens,
            reasoning=min(asked.reasoning, tokens if asked.shown else tokens - 1),
            cached=cached,
            written=written,
            stopped=stopped,
            times=Times(now_ns - self._incoming.received_ns, asked.load_ns, first_ns, 0),
        )
        self._due_ns = now_ns + asked.load_ns + first_ns
        if asked.stream:
            self._plan_stream(answer, in_service)
            return self._due_ns
        decode_ns = gap_ns(self._rng, self._config, tokens - 1, in_service)
        self._due_ns += decode_ns
        if self._fault not in MID_ANSWER:
            answer.times.decode_ns = decode_ns
            self._events = [self._manners.page(self._dialect.api.whole(answer))]
            self._sizes = [tokens]
        return self._due_ns

    def _length(self) -> tuple[int, bool]:
        """How many tokens it will have, and whether that is fewer than asked because it ends by itself."""
        asked, rate = self.asked, self._config.natural_stop_rate
        if asked.said:
            return asked.ending()
        if self._fault == "short":
            return max(1, asked.output_tokens // 2), True
        if rate and not asked.exact and asked.output_tokens > 1 and self._rng.random() < rate:
            return self._rng.randint(1, asked.output_tokens - 1), True
        return asked.output_tokens, False

    def _plan_stream(self, answer: Answer, in_service: int) -> None:
        """Everything is ready before the clock needs it, but for an end that tells times not yet known."""
        asked, plain, dialect = self.asked, self._manners.plain, self._dialect
        events, sizes = dialect.events(answer, plain)
        if not asked.shown and answer.reasoning:
            hidden_ns = gap_ns(self._rng, self._config, answer.reasoning, in_service)
            self._due_ns += hidden_ns
            answer.times.decode_ns = hidden_ns
        self._first_ns = self._due_ns
        if self._fault in MID_ANSWER:
            half = max(1, len(sizes) // 2)
            del events[half:], sizes[half:]
            if len(events) < half:
                events.append(dialect.last_event(answer, plain))
        elif self._at_once or self._itl_ns or len(sizes) == 1:
            answer.times.decode_ns += self._itl_ns * sum(sizes[1:])
            events.append(dialect.final(answer, plain))
        else:
            events.append(b"")
            self._unfinished = True
        if not self._announced:
            events[0] = self._head() + dialect.opening(answer, plain) + events[0]
        elif self._config.role_chunk != "early":
            events[0] = dialect.opening(answer, plain) + events[0]
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
            self._send(events[i])
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
        if self._unfinished and i == len(events) - 1:
            self._answer.times.decode_ns += self._due_ns - self._first_ns
            events[i] = self._dialect.final(self._answer, self._manners.plain)
        return self._due_ns

    def _send(self, event: bytes) -> None:
        """In one piece, or in two that meet within a letter of several bytes, if there is one."""
        if not self._config.split_events:
            self.connection.send(event)
            return
        at = next((i for i, byte in enumerate(event) if byte & 0xC0 == 0x80), len(event) // 2)
        self.connection.send(event[:at])
        self.connection.send(event[at:])

    def _fail(self, now_ns: int) -> int:
        """The fault that comes instead of the rest."""
        if self._fault == "reset":
            self.connection.reset()
            return self._finish("cut_off", now_ns)
        if self._fault == "error_midstream":
            dialect = self._dialect
            if self.asked.stream:
                self.connection.send(dialect.broken(self._answer, self._next, self._manners.plain))
            else:
                page = dialect.api.refusal(Refused("failed", "simulated error"))
                self._status = page.status
                self.connection.send(self._manners.page(page))
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

    @property
    def received_ns(self) -> int:
        """When the request had arrived."""
        return self._incoming.received_ns

    def freed_ns(self, now_ns: int) -> int:
        """From when on its slot serves another: when its last event was due, however late that left."""
        return self._due_ns if self._outcome == "ok" else now_ns

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
            cached_tokens=self._answer.cached,
        )

    def count(self, load: Load) -> None:
        """Add what was said to what the server has done so far."""
        said = sum(self._sizes[: self._next])
        if not said:
            return
        times = self._answer.times
        load.requests += self._outcome == "ok"
        load.prompt_tokens += self.asked.prompt_tokens
        load.cached_tokens += self._answer.cached
        load.output_tokens += said
        load.ttft_s += (times.queue_ns + times.load_ns + times.prefill_ns) / 1e9
        load.e2e_s += (self._end_ns - self._incoming.received_ns) / 1e9

    def _head(self) -> bytes:
        api = self._dialect.api
        return self._manners.stream_head(api.media_of(self.asked), api.headers(self.asked))


class Later:
    """A page that isn't there at once: a model that is being loaded. It leaves no line in the truth log."""

    __slots__ = ("_bytes", "_close", "connection", "over", "served")

    def __init__(self, connection: Connection, data: bytes, close: bool) -> None:
        self.connection = connection
        self.served = False
        self.over = False
        self._bytes = data
        self._close = close

    @property
    def closes(self) -> bool:
        """The connection ends with this answer."""
        return self._close

    def fire(self, now_ns: int, in_service: int) -> int:
        """Send it."""
        if not (self.over or self.connection.over):
            self.connection.send(self._bytes)
        return ENDED

    def conclude(self, now_ns: int, *, stopped: bool = False) -> None:
        """It is over."""
        self.over = True
