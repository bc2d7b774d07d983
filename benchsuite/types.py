"""The nouns that every room speaks: frozen values, integer nanoseconds, units in the names.

A *run* is one invocation; it holds *points* (one per load, length, model…); each point is
measured in several *trials*, the statistical unit; a trial is made of *requests*; each request
leaves one *record*. Values that go to disk refuse unknown fields.

They stand in one file, longer than others, because they are the project's vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

SCHEMA = 1
"""Version of what is written to a store. A newer one is refused, an older one is updated."""

METRICS_VERSION = 1
"""Version of the metric definitions (docs/concepts/metrics.md) that numbers were made with."""

Outcome = Literal["ok", "http_error", "timeout", "cut_off", "refused", "protocol", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "http_error", "timeout", "cut_off", "refused", "protocol", "skipped")
Phase = Literal["warm_up", "measure"]
Verdict = Literal["valid", "suspect", "invalid"]
CacheMode = Literal["cold", "warm", "shared"]
Reasoning = Literal["", "off", "low", "high"]
Arrivals = Literal["constant", "poisson"]


class Noun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value that refuses unknown fields when read from a file."""


# ---------------------------------------------------------------- what is asked


class Slo(Noun, frozen=True, kw_only=True):
    """Limits that one request has to meet to count as goodput, in milliseconds; None: no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None


class Bodies(Noun, frozen=True, kw_only=True):
    """Request bodies that are sent word for word: their file's name, number and SHA-256, no text of them."""

    name: str
    number: int
    sha256: str
    longest_bytes: int = 0


class Workload(Noun, frozen=True, kw_only=True):
    """What is asked of a server, as a workload file says it; lists are axes that make points.

    Either `concurrency` (closed loop) or `rate` (open loop, requests/s; `inf`: offline, all at
    once) is set; with both, `concurrency` caps what the open loop has in flight. With neither, `batch` hands
    all `requests` of a trial to the backend's batch API. A trial stops after `requests` or `seconds`,
    whichever is set. With a `shared` cache all prompts of a trial begin with the same `shared_tokens` (0:
    half the prompt). `reasoning` empty: whatever the model does by itself. With `bodies` these are sent, and
    the lengths, 0, mean nothing.
    """

    name: str
    version: int
    description: str
    seed: int = 0
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    same: Literal["tokens", "text"] = "tokens"
    cache: CacheMode = "cold"
    shared_tokens: int = 0
    reasoning: Reasoning = ""
    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    arrivals: Arrivals = "poisson"
    batch: bool = False
    requests: int | None = None
    seconds: float | None = None
    trials: int = 3
    warm_up_seconds: float = 0.0
    warm_up_max_requests: int = 256
    slo: Slo = Slo()
    bodies: Bodies | None = None


class Point(Noun, frozen=True, kw_only=True):
    """One combination of a workload's axes: what is held fixed while trials are repeated."""

    index: int
    prompt_tokens: int
    output_tokens: int
    concurrency: int | None
    rate: float | None = None
    batch: bool = False

    @property
    def load(self) -> Literal["closed", "open", "offline", "batch-api"]:
        """Closed loop, open loop, everything at once, or handed to a batch API."""
        if self.batch:
            return "batch-api"
        if self.rate is None:
            return "closed"
        return "offline" if math.isinf(self.rate) else "open"

    @property
    def label(self) -> str:
        """The load in a few words, e.g. `8 in flight` or `4 req/s, at most 8 in flight`."""
        if self.batch:
            return "one batch"
        if self.rate is None:
            return f"{self.concurrency} in flight"
        word = "all at once" if math.isinf(self.rate) else f"{self.rate:g} req/s"
        return word if self.concurrency is None else f"{word}, at most {self.concurrency} in flight"


class Lengths(Noun, frozen=True, kw_only=True):
    """How many tokens words cost on one server, found before the clock starts (`fit`).

    `words` cost exactly one token each when they follow a space; `overhead` is what the chat
    template and the first word add, in tokens. `source`: `usage` (probed), `tokenizer` (the
    server's, where it reports no usage), `assumed` (it counts nothing: one token a word is a guess).
    """

    words: tuple[str, ...]
    overhead: int
    source: Literal["usage", "tokenizer", "assumed"]


class Message(Noun, frozen=True, kw_only=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Request(Noun, frozen=True, kw_only=True):
    """One request as planned: pure data, before any dialect.

    `due_offset_ns`: when an open loop wants it sent, counted from the trial's start; None in a
    closed loop, where the end of an earlier answer decides. `shared_chars`: that many characters of the
    first message are the trial's common prefix. `body`: sent word for word instead of what the driver makes
    of the rest.
    """

    index: int
    phase: Phase
    messages: tuple[Message, ...]
    max_output_tokens: int
    min_output_tokens: int
    cache: CacheMode
    due_offset_ns: int | None = None
    shared_chars: int = 0
    reasoning: Reasoning = ""
    body: bytes = b""


# ---------------------------------------------------------------- what is sent and heard


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
    `cache_write_tokens` in all, `cache_write_1h_tokens` of them kept for an hour (Anthropic).
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


class Record(Noun, frozen=True, kw_only=True, gc=False):
    """What is kept of one request. Derived values (TTFT, TPOT, lag) are computed, never stored.

    Instants are CLOCK_MONOTONIC nanoseconds; None: it never came to that. `gaps_us`: microseconds
    between successive token events, rounded so that their sum equals last − first to 1 µs.
    `reads`: those that carried token events; `merged_events`: events that arrived in the same read
    as another by our lateness, so that their own arrival may be hidden. `reader_lag_us`: worst delay
    between a read's stamp and our holding it.
    `cost_usd`: None until priced. `retry_after_s`: when a server that refused wants to be asked again.
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


# ---------------------------------------------------------------- who was measured, by whom


class Identity(Noun, frozen=True, kw_only=True):
    """What a server says of itself. Empty or None: it didn't say."""

    server: str
    version: str = ""
    models: tuple[str, ...] = ()
    context_tokens: int | None = None
    slots: int | None = None
    details: dict[str, str] = {}


class Timeouts(Noun, frozen=True, kw_only=True):
    """Seconds until a request counts as timed out."""

    connect_s: float = 10.0
    first_byte_s: float = 300.0
    silence_s: float = 60.0
    total_s: float = 600.0


class Connection(Noun, frozen=True, kw_only=True):
    """How sockets are opened. Paths are the user's; `proxy` may hold a password and is stored masked."""

    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    proxy: str | None = None
    timeouts: Timeouts = Timeouts()


class WorkerHealth(Noun, frozen=True, kw_only=True):
    """What one worker process reports of itself after a trial."""

    sent: int
    cpu_s: float
    wall_s: float
    clock_steps: int
    reuse: bool | None
    kernel_stamps: bool
    realtime: bool = False
    stopped: bool


class BatchPoll(Noun, frozen=True, kw_only=True):
    """What a batch's server counted `seconds` after we had sent it; None: it doesn't count."""

    seconds: float
    done: int | None = None
    failed: int | None = None
    total: int | None = None


class BatchInfo(Noun, frozen=True, kw_only=True):
    """What became of a batch: its name and last state at the server, and each change of its counts.

    `turnaround_s`: from its creation to its end, by the server's clock where it tells (`by_server`), else
    until we saw it; 0 where it was called off before it was made. `strangers`: answers for requests that
    weren't ours, or that had one already.
    `missing`: requests without any answer.
    """

    id: str
    state: str
    turnaround_s: float
    by_server: bool = False
    polls: tuple[BatchPoll, ...] = ()
    strangers: int = 0
    missing: int = 0


class TrialInfo(Noun, frozen=True, kw_only=True):
    """One trial of a point: when it ran (CLOCK_MONOTONIC ns) and how the client fared.

    A batch may outlive the machine's uptime: its instants, and those of its records, count from 1970.
    """

    point: int
    trial: int
    start_ns: int
    last_send_ns: int
    end_ns: int
    plan_digest: str
    workers: tuple[WorkerHealth, ...]
    batch: BatchInfo | None = None


class SelftestLevel(Noun, frozen=True, kw_only=True):
    """This machine's own error at one load, in milliseconds."""

    load: str
    streams: int | None
    rate: float | None
    requests: int
    ttft_error_p50_ms: float
    ttft_error_p99_ms: float
    itl_error_p99_ms: float
    send_lag_p99_ms: float
    achieved_rate: float
    simulator_lateness_p99_ms: float
    coalesced_share: float


class Selftest(Noun, frozen=True, kw_only=True):
    """Result of `benchsuite selftest`: how far off this machine's own measurements are."""

    schema: int = SCHEMA
    time: str
    version: str
    machine_id: str
    kernel_stamps: bool
    levels: tuple[SelftestLevel, ...]


class Machine(Noun, frozen=True, kw_only=True):
    """The client's machine, without any name: `id` is a salted hash that only equals itself."""

    id: str
    os: str
    cpu: str
    cores: int
    memory_gib: float
    python: str


class Price(Noun, frozen=True, kw_only=True):
    """What the server's hardware costs: US dollars per GPU and hour, as `source` had it on `date`.

    `gpu` is the price book's name for it, `count` how many of them serve. `date` is ISO; empty with a
    price that the user gave.
    """

    gpu: str
    count: int = 1
    usd_per_gpu_hour: float
    source: str
    date: str = ""


class TokenPrice(Noun, frozen=True, kw_only=True):
    """What a hosted model's tokens cost: US dollars per million, as `source` had it on `date`.

    They are those of a small request: a catalogue may have others for large ones, and knows the prices of
    cache writes. `provider` and `model` are the catalogue's names. `usd_per_m_cached` None: cached tokens
    have no price of their own. `batch`: the prices of the batch API.
    """

    provider: str = ""
    model: str = ""
    source: str
    date: str = ""
    batch: bool = False
    usd_per_m_input: float
    usd_per_m_output: float
    usd_per_m_cached: float | None = None


class Manifest(Noun, frozen=True, kw_only=True):
    """Everything needed to judge or repeat a run; no prompt, key, host name or private path.

    `engine` holds the settings of an engine that we started, `options` the driver's, `extra_body` the JSON
    that was merged into each body, long texts masked. `gpu` is as stated; `gpus` what the driver
    names on the serving machine, where that is this one: empty without an NVIDIA GPU, None where it can't
    be known. `caching`: how the workload's cache word came true here. `reset_cache`: the server was asked to
    empty its cache before each trial.
    """

    run_id: str
    started: str
    version: str
    metrics_version: int = METRICS_VERSION
    command: str
    backend: str
    url: str
    model: str
    attached: bool
    identity: Identity
    launch_command: str = ""
    launch_seconds: float | None = None
    load_seconds: float | None = None
    workload: Workload
    workload_digest: str
    endpoint: str = ""
    seed: int
    nonce: str
    lengths: Lengths | None
    points: tuple[Point, ...]
    workers: int
    connection: dict[str, str] = {}
    caching: str = ""
    reset_cache: bool = False
    gpu: str = ""
    price: Price | None = None
    token_price: TokenPrice | None = None
    gpus: tuple[str, ...] | None = None
    engine: dict[str, str] = {}
    options: dict[str, str] = {}
    extra_body: str = ""
    labels: dict[str, str] = {}
    machine: Machine
    packages: dict[str, str] = {}
    selftest: Selftest | None = None
    trials: tuple[TrialInfo, ...] = ()


# ---------------------------------------------------------------- what came out


class Estimate(Noun, frozen=True, kw_only=True):
    """A number with its 95 % interval; `n` requests (or gaps) stand behind it.

    `value` None: too few samples, `needs` says how many it takes. `low`/`high` None: no interval
    can be given. `basis` says how the interval was made, e.g. `3 trials`, `this trial only`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    needs: int = 0
    basis: str = ""

    def times(self, factor: float) -> "Estimate":
        """The same in another unit; `factor` is above 0."""
        ends = (None if end is None else end * factor for end in (self.value, self.low, self.high))
        return msgspec.structs.replace(self, **dict(zip(("value", "low", "high"), ends, strict=True)))

    def under(self, numerator: float) -> "Estimate":
        """`numerator` over it: the interval's ends change places; None where it is not above 0."""
        ends = (
            None if end is None or end <= 0 else numerator / end for end in (self.value, self.high, self.low)
        )
        return msgspec.structs.replace(self, **dict(zip(("value", "low", "high"), ends, strict=True)))


class Metric(Noun, frozen=True, kw_only=True):
    """The distribution of one metric at one point; quantile keys are p50, p90, p95, p99, p99.9 and mean."""

    name: str
    unit: str
    n: int
    quantiles: dict[str, Estimate]


class Warning(Noun, frozen=True, kw_only=True):
    """Something the reader must know: what was found, how bad it is, and what to do about it."""

    code: str
    level: Literal["told", "suspect", "invalid"]
    message: str
    advice: str
    facts: dict[str, float] = {}


class Summary(Noun, frozen=True, kw_only=True):
    """One point's numbers. `rates` holds throughput, goodput and cost: name → estimate."""

    point: Point
    requests: int
    outcomes: dict[str, int]
    error_kinds: dict[str, int]
    metrics: dict[str, Metric]
    rates: dict[str, Estimate]
    means: dict[str, float | None]
    verdict: Verdict
    warnings: tuple[Warning, ...]


class Run(Noun, frozen=True, kw_only=True):
    """A stored run: its manifest and one summary a point."""

    schema: int = SCHEMA
    status: Literal["finished", "interrupted", "recovered"]
    manifest: Manifest
    summaries: tuple[Summary, ...]
    verdict: Verdict


# ---------------------------------------------------------------- what is told while it happens


class Stage(Noun, frozen=True, kw_only=True):
    """A run has come to a new stage; `text` is one line for people."""

    name: Literal["resolve", "model", "launch", "ready", "fit", "warm_up", "measure", "decode", "save"]
    text: str


class Progress(Noun, frozen=True, kw_only=True):
    """How a trial is going; None: not known yet. `total`/`total_s`: what it will stop at.

    `waits_s`: for how long a slot that the server refused still waits, as the server asked.
    """

    point: Point
    points: int
    phase: Phase
    trial: int
    trials: int
    elapsed_s: float
    total_s: float | None
    done: int
    total: int | None
    errors: int
    in_flight: int
    rate: float
    ttft_ms: float | None
    tokens_per_s: float | None
    lag_ms: float | None
    waits_s: float = 0.0
