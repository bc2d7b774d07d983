"""What the simulator pretends to be, as one value."""

from typing import Literal

from benchsuite.errors import UsageError
from benchsuite.types import Noun

RoleChunk = Literal["with_first", "early", "none"]


class SimConfig(Noun, frozen=True, kw_only=True):
    """A server's timing, capacity, dialect and faults; the defaults are a well-behaved server.

    *Address.* `port` 0: any free one. `tls_cert` and `tls_key`: PEM files, both or none.

    *Timing.* Draws are lognormal with the given mean and coefficient of variation (`cv` 0: exactly
    the mean), repeatable from `seed` and the number of the request. The first token is due
    `ttft_ms` + uncached prompt tokens × `prefill_us_per_token` after service begins, each further
    one an ITL later, times 1 + `batch_slowdown` × (others in service). With `itl_ms` 0 an answer
    goes out at once. `slots` 0: everybody is served; else more requests wait in line.

    *Prompt.* A prompt counts its words plus `template_tokens`; a list of token ids its length. The
    prefix cache holds whole blocks of the last `cache_prompts` prompts.

    *Answer.* Always as long as asked. `role_chunk`: in one burst with the first token, at once when
    the request comes, or never. `tokens_per_event`: an event comes when its last token is due. The
    first `reasoning_tokens` of a chat answer are reasoning. `strict`: other models are unknown.

    *Connections.* `keep_alive` False: closes after each answer although it announces otherwise;
    `http10`: answers end with the connection.

    *Faults.* Each rate is the share of requests that get it; a request gets at most one. A stalled
    answer is left open until the client gives up, or closed after `stall_s`.

    `truth_path`: where the truth log goes, begun anew; None: none is written.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: str | None = None
    tls_key: str | None = None
    seed: int = 0

    ttft_ms: float = 50.0
    ttft_cv: float = 0.0
    itl_ms: float = 10.0
    itl_cv: float = 0.0
    prefill_us_per_token: float = 0.0
    batch_slowdown: float = 0.0
    slots: int = 0

    model: str = "sim-model"
    strict: bool = False
    context_tokens: int = 131_072
    template_tokens: int = 7
    prefix_cache: bool = False
    cache_block_tokens: int = 16
    cache_prompts: int = 1024

    default_max_tokens: int = 16
    tokens_per_event: int = 1
    reasoning_tokens: int = 0
    role_chunk: RoleChunk = "with_first"
    usage: bool = True
    keep_alive: bool = True
    http10: bool = False

    error_500_rate: float = 0.0
    error_429_rate: float = 0.0
    error_503_rate: float = 0.0
    reset_rate: float = 0.0
    stall_rate: float = 0.0
    stall_s: float = 0.0
    short_rate: float = 0.0
    error_midstream_rate: float = 0.0

    truth_path: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense, as a UsageError."""
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} has to be 0 or more, not {getattr(self, name)}")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} has to be at least 1, not {getattr(self, name)}")
        if sum(self.fault_rates().values()) > 1 + 1e-9:
            raise UsageError("the rates of all faults together are above 1; lower some")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("tls_cert and tls_key belong together; give both")

    def fault_rates(self) -> dict[str, float]:
        """Share of requests for each fault."""
        return {fault: getattr(self, f"{fault}_rate") for fault in FAULTS}


FAULTS = ("error_500", "error_429", "error_503", "reset", "stall", "short", "error_midstream")
"""Every fault that a request can get; no fault is the empty text."""

_NOT_NEGATIVE = (
    *("ttft_ms", "ttft_cv", "itl_ms", "itl_cv", "prefill_us_per_token", "batch_slowdown", "slots", "port"),
    *("template_tokens", "reasoning_tokens", "stall_s"),
    *(f"{fault}_rate" for fault in FAULTS),
)
_AT_LEAST_ONE = (
    *("context_tokens", "cache_block_tokens", "cache_prompts", "default_max_tokens", "tokens_per_event"),
)
