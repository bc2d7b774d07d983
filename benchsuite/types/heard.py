"""What is sent and heard: targets, calls, tapes, replies and the records kept of them."""

from collections.abc import Sequence
from typing import Any, Literal

from benchsuite.types.asked import Noun, Outcome, Phase

AHEAD_NS = (20_000_000, 500_000_000)
"""How long before a request is due its connection is begun: at least, and at most.

Between these, twice the longest that opening one was seen to take.
"""


class Target(Noun, frozen=True, kw_only=True):
    """Where requests go. `key` and the values of `headers` are secret and never shown or stored.

    `engine` and `engine_args` are settings and further arguments of an engine that we start. `extra_body`
    is merged into every request's JSON body and wins. `caches`: a prefix that was uploaded before its use →
    its name there. `context_tokens`: what the workload's longest request needs, its answer included, the
    same for all requests of a run; 0: unknown.
    """

    backend: str
    url: str
    model: str = ""
    key: str | None = None
    headers: dict[str, str] = {}
    options: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
    caches: dict[str, str] = {}
    context_tokens: int = 0
    engine: dict[str, str] = {}
    engine_args: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Everything but the secrets."""
        return f"Target(backend={self.backend!r}, url={self.url!r}, model={self.model!r})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        """Rich's tracebacks and prints use this instead of the fields."""
        return [("backend", self.backend), ("url", self.url), ("model", self.model)]


class Call(Noun, frozen=True, kw_only=True):
    """One HTTP request as bytes: path relative to the target's URL; secrets stand only in `headers`."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    headers: dict[str, str] = {}
    body: bytes = b""


class Tape(Noun, frozen=True, kw_only=True, gc=False):
    """What was heard on one connection for one request; nothing in it has been interpreted.

    Instants are CLOCK_MONOTONIC nanoseconds of this host, 0 where it never came to that. For read
    i, `read_ns[i]` is when its last segment arrived (the kernel's stamp, or ours where `clock` is
    `user`), `read_user_ns[i]` when we held it, `read_floor_ns[i]` the earliest instant at which
    any of it can have arrived unseen, and `read_ends[i]` how many bytes of `body` were there then.
    `error` is empty or an `error_kind` of the transport: connect, proxy, tls, reset, closed,
    timeout_connect, timeout_first_byte, timeout_silence, timeout_total or
    protocol.
    """

    index: int
    phase: Phase = "measure"
    due_ns: int = 0
    sent_ns: int = 0
    sent_all_ns: int = 0
    end_ns: int = 0
    read_ns: Sequence[int] = ()
    read_user_ns: Sequence[int] = ()
    read_floor_ns: Sequence[int] = ()
    read_ends: Sequence[int] = ()
    body: bytes = b""
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    framing_complete: bool = False
    error: str = ""
    clock: Literal["kernel", "user"] = "kernel"
    reconnects: int = 0
    connect_ns: int = 0
    tls_ns: int = 0


class Reply(Noun, frozen=True, kw_only=True, gc=False):
    """A tape, read in its dialect. One entry a *token event* (content, reasoning or tool delta, not empty).

    `arrival_ns`: arrival of the read that completed the event. `kind`: one byte an event,
    `c`ontent, `r`easoning or `t`ool. `texts`: the event's text, kept by nobody unless asked.
    `complete`: the dialect's end was seen, or a finish reason. Token counts are the server's
    usage; None where it reported none. Prompt tokens include cached ones, and those written to a cache:
    `cache_write_tokens` in all, `cache_write_1h_tokens` of them kept for an hour (Anthropic). `whole`: what
    an answer says that wasn't streamed, and so has no events; without its reasoning.
    """

    arrival_ns: Sequence[int] = ()
    kind: bytes = b""
    texts: Sequence[str] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    finish_reason: str | None = None
    complete: bool = False
    server_timings: dict[str, float] = {}
    error_kind: str = ""
    error_message: str = ""
    whole: str = ""

    @property
    def said(self) -> str:
        """What the answer says, without reasoning and tool calls where it was streamed."""
        if not self.kind:
            return self.whole
        return "".join(text for text, kind in zip(self.texts, self.kind, strict=True) if kind == ord("c"))


class Record(Noun, frozen=True, kw_only=True, gc=False):
    """What is kept of one request. Derived values (TTFT, TPOT, lag) are computed, never stored.

    Instants are CLOCK_MONOTONIC nanoseconds; None: it never came to that. `gaps_us`: microseconds
    between successive token events, rounded so that their sum equals last − first to 1 µs.
    `reads`: those that carried token events; `merged_events`: events that arrived in the same read
    as another by our lateness, so that their own arrival may be hidden. `reader_lag_us`: worst delay
    between a read's stamp and our holding it.
    `cost_usd`: None until priced. `retry_after_s`: when a server that refused wants to be asked again.
    `asked_prompt_tokens` to `item` are the plan's (`Request`); `passed`: the workload's check,
    where it has one.
    """

    request_id: str
    index: int
    phase: Phase
    outcome: Outcome
    error_kind: str
    http_status: int
    due_ns: int
    sent_ns: int | None
    sent_all_ns: int | None
    first_byte_ns: int | None
    first_token_ns: int | None
    first_output_ns: int | None
    last_token_ns: int | None
    end_ns: int
    gaps_us: Sequence[int]
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    streamed_reasoning: bool
    finish_reason: str | None
    reads: int
    merged_events: int
    reader_lag_us: int
    user_stamps: bool
    reconnects: int
    connect_us: int | None
    tls_us: int | None
    server_timings: str | None
    cost_usd: float | None = None
    text: str | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    retry_after_s: float | None = None
    asked_prompt_tokens: int | None = None
    asked_output_tokens: int | None = None
    asked_cached_tokens: int | None = None
    conversation: int | None = None
    turn: int | None = None
    group: int | None = None
    item: int | None = None
    passed: bool | None = None
