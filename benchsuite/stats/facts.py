"""What the rules look at, gathered before anything is judged."""

import math

import msgspec

from benchsuite.money.evidence import Use
from benchsuite.types import Lengths, Point, Price, Selftest, SelftestLevel, TokenPrice, Workload
from benchsuite.workload.stages import peak


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The selftest's level nearest to a point's load: streams, or requests/s if `level` has a rate."""

    level: SelftestLevel
    load: float
    largest: float

    @property
    def unit(self) -> str:
        """What loads are counted in."""
        return "streams" if self.level.rate is None else "requests/s"


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run knows about itself and its server, the same for all its points.

    `model` is what was asked for, `models` what the server lists; empty where that proves nothing, as
    with a server of our own. `selftest`: this machine's own error, where it is known. `gpu` is as stated,
    `gpus` what NVML names on the serving machine, `server_gpu` the server's own word, `gpus_used` how
    many it uses. `slots_assumed`: the server didn't tell its slots, such servers have so many. `caching`: how
    the workload's cache word comes true.
    """

    workload: Workload
    capabilities_exact_output: bool
    identity_slots: int | None
    lengths: Lengths | None
    model: str = ""
    models: tuple[str, ...] = ()
    selftest: Selftest | None = None
    interrupted: bool = False
    price: Price | None = None
    token_price: TokenPrice | None = None
    gpu: str = ""
    gpus: tuple[str, ...] | None = None
    server_gpu: str = ""
    gpus_used: Use | None = None
    slots_assumed: bool = False
    context_tokens: int | None = None
    caching: str = ""
    cache_reset: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One point's measured trials, pooled. None: it couldn't be known.

    `steady_p` is already adjusted for the number of points, `steady_change` the drift over a trial as
    a share of its median; `delivered_share` is delivered over asked; `best_hit_ratio` the largest
    share of a prompt that any request found cached, `hits_reached` the share of all prompt tokens that have
    a plan, and `hits_asked` that which a cache that forgets nothing would have held, `first_hits_…` both of
    first turns alone; `connect_least_ms` the shortest connect time;
    `models`: those the server lists, empty where that proves nothing. `gpu` is as stated, `gpus` what
    NVML names on the serving machine, `server_gpu` the server's own word, `gpus_used` how many it
    uses, `gpu_priced` the card whose listed price was used (empty: none was).

    `slots_assumed`: the server didn't tell, it is what such servers have. `caching`: how the workload's
    cache word comes true here. `prompts_cut`: answered requests whose prompt the server counted shorter than
    planned, by more than a template's whim, `least_prompt` of `cut_from` the worst. `asked_…`: mean lengths
    that were asked of answered requests, `…_off` how far off they were, `raised` how many prompts were drawn
    shorter than `raised_to`, the least that there can be. `unseen`: answers that were all reasoning.
    `answered_per_s`: requests answered a second, `retry_after_s` the longest wait that a refusal asked for.
    `acceptance`: the share of drafted tokens that speculation kept; None: none was drafted.
    `unopened`: how often there was no descriptor for a connection.
    `server_rest_ms`: the median of what the server's own account leaves out of TTFT (of E2E unless
    `server_tells_first`), `server_tells_queue`: its queue is in the account. `whole`: answers of several
    tokens that came in one piece, `whole_p50_ms` their E2E.
    """

    point: Point
    workload: Workload
    exact_output: bool
    slots: int | None
    overhead: int
    interrupted: bool
    model: str
    models: tuple[str, ...]
    tested: Nearest | None
    requests: int
    ok: int
    trials_without_answers: int
    error_kinds: dict[str, int]
    ttft_p50_ms: float | None
    ttft_half_width_ms: float | None
    send_lag_p99_ms: float | None
    coalesced_share: float | None
    reader_lag_p99_ms: float | None
    connect_least_ms: float | None
    worker_cpu: float | None
    clock_steps: int
    delivered_share: float | None
    in_flight: int
    short_trials: int
    prompt_tokens: float | None
    output_tokens: float | None
    without_usage: int
    cached_excess: float | None
    hit_ratio: float | None
    best_hit_ratio: float | None
    hits_reached: float | None = None
    hits_asked: float | None = None
    first_hits_reached: float | None = None
    first_hits_asked: float | None = None
    steady_p: float | None = None
    steady_change: float | None = None
    gpu: str = ""
    gpus: tuple[str, ...] | None = None
    server_gpu: str = ""
    gpus_used: Use | None = None
    gpu_priced: str = ""
    slots_assumed: bool = False
    context_tokens: int | None = None
    caching: str = ""
    cache_reset: bool = False
    prompts_cut: int = 0
    least_prompt: int | None = None
    cut_from: int | None = None
    asked_prompt_tokens: float | None = None
    asked_output_tokens: float | None = None
    prompt_tokens_off: float | None = None
    output_tokens_off: float | None = None
    raised: int = 0
    raised_to: int | None = None
    unseen: int = 0
    tokens_per_event: float | None = None
    acceptance: float | None = None
    answered_per_s: float | None = None
    retry_after_s: float | None = None
    server_rest_ms: float | None = None
    server_tells_first: bool = True
    server_tells_queue: bool = False
    unopened: int = 0
    strangers: int = 0
    polled_ends: int = 0
    unjudged: int = 0
    failed_at_limit: int = 0
    whole: int = 0
    whole_p50_ms: float | None = None

    @property
    def errors(self) -> int:
        """Requests that failed."""
        return self.requests - self.ok


def nearest_tested(selftest: Selftest, point: Point, in_flight: float | None) -> Nearest | None:
    """The tested load that is nearest by ratio, of two equally near ones the larger; None: none compares.

    Open loops are compared by rate. Closed loops are by their slots; offline, and open loops
    where no rate was tested, by `in_flight`, the mean; stages by the most that they ask.
    """
    by_rate = point.load == "open" and any(level.rate for level in selftest.levels)
    load = peak(point) if by_rate else point.concurrency if point.load == "closed" else in_flight
    loads = [
        (tested, level) for level in selftest.levels if (tested := level.rate if by_rate else level.streams)
    ]
    if not load or not loads:
        return None
    _, nearest = min(loads, key=lambda each: (abs(math.log(each[0] / load)), -each[0]))
    return Nearest(level=nearest, load=load, largest=max(tested for tested, _ in loads))
