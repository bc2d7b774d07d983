"""Who was measured, by whom and with what: identities, trials, machines, prices, the manifest."""

from benchsuite.types.asked import METRICS_VERSION, SCHEMA, Lengths, Noun
from benchsuite.types.decided import Pairing
from benchsuite.types.workload import Point, Workload


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
    """What one worker process reports of itself after a trial.

    `unopened`: how often the system had no descriptor left for a connection.
    """

    sent: int
    cpu_s: float
    wall_s: float
    clock_steps: int
    reuse: bool | None
    kernel_stamps: bool
    realtime: bool = False
    unopened: int = 0
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
    empty its cache before each trial. `capacity`: the points are loads that a search
    tried. `sweep`: what it has in common with the other runs of its sweep, and
    `axes` the values that are its own among them, by the axis' name. `resumed`: when, and with what changed,
    it was gone on with after it was interrupted. `pairing`: the run is one arm of two, measured in turn.
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
    capacity: bool = False
    sweep: str = ""
    axes: dict[str, str] = {}
    resumed: tuple[str, ...] = ()
    pairing: Pairing | None = None
    machine: Machine
    packages: dict[str, str] = {}
    selftest: Selftest | None = None
    trials: tuple[TrialInfo, ...] = ()
