"""What the simulator pretends to be, as one value."""

from typing import Literal

from benchsuite.errors import UsageError
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.types import Noun

RoleChunk = Literal["with_first", "early", "none"]
Engine = Literal[
    "",
    "vllm",
    "sglang",
    "tensorrt",
    "llamacpp",
    "mlx",
    "transformers",
    "ollama",
    "lmstudio",
    "tgi",
    "openai",
]
"""Whom `/v1` and the pages that several servers have differently sound like; empty: nobody in particular."""


class SimConfig(Noun, frozen=True, kw_only=True):
    """A server's timing, capacity, dialect and faults; the defaults are a well-behaved server.

    *Address.* `port` 0: any free one. `tls_cert` and `tls_key`: PEM files, both or none.

    *Timing.* Draws are lognormal with the given mean and coefficient of variation (`cv` 0: exactly
    the mean), repeatable from `seed` and the number of the request. The first token is due
    `ttft_ms` + uncached prompt tokens × `prefill_us_per_token` after service begins, each further
    one an ITL later, times 1 + `batch_slowdown` × (others in service). With `itl_ms` 0 an answer
    goes out at once. `slots` 0: everybody is served; else more requests wait in line.

    *Prompt.* A prompt counts its words plus `template_tokens`, and `message_tokens` for each message of a
    chat but the first; a raw one its words alone, a list of
    token ids its length. The prefix cache holds whole blocks of the last `cache_prompts` prompts, and
    helps from `cache_min_tokens` on. `num_ctx`: where Ollama's prompts are cut if they don't say.

    *Answer.* As long as asked; where a request can't or doesn't force that, a share of
    `natural_stop_rate` ends somewhere before. `role_chunk`: what precedes the tokens comes in one burst
    with the first, at once when the request comes, or never, where the dialect can do without.
    `tokens_per_event`: an event comes when its last token is due. The first `reasoning_tokens` of a
    chat answer are reasoning, unless the request says no. `strict`: other models are unknown.
    `timings`: the server's own times, None: where the engine tells them by itself. `load_ms`: loading
    of a model that isn't yet, where a dialect has such a thing; it lengthens the first request.
    Asked for JSON of a schema, it says some that fits, and ends. `tool_calls`: offered tools, it calls the
    first, in OpenAI's chats and Anthropic's messages. `adapters`: further models that it lists, and knows
    where it is `strict`.

    *Peculiarities.* `engine`: whom it sounds like. `comments`: a comment or ping comes at once.
    `words`: `unicode` ones have letters of several bytes. `split_events`: each event comes in two
    pieces, cut within a letter where there is one of several bytes. `last_newline` False: a stream of
    lines ends without one.

    *Access.* `key`: the only one that is let in; empty: everybody is. `retry_after_s`: what a 429 says.

    *Connections.* `keep_alive` False: closes after each answer although it announces otherwise;
    `http10`: answers end with the connection.

    *Faults.* Each rate is the share of requests that get it; a request gets at most one. A stalled
    answer is left open until the client gives up, or closed after `stall_s`.

    `answers_path`: a JSON file of text → answer, which it gives where the text is in a request.
    `batches`: how its batch APIs behave. `truth_path`: where the truth log goes, begun anew; None: none is
    written.
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
    message_tokens: int = 4
    prefix_cache: bool = False
    cache_block_tokens: int = 16
    cache_prompts: int = 1024
    cache_min_tokens: int = 0
    num_ctx: int = 4096

    default_max_tokens: int = 16
    tokens_per_event: int = 1
    reasoning_tokens: int = 0
    role_chunk: RoleChunk = "with_first"
    usage: bool = True
    keep_alive: bool = True
    http10: bool = False
    natural_stop_rate: float = 0.0
    timings: bool | None = None
    load_ms: float = 0.0
    engine: Engine = ""
    comments: bool = False
    words: Literal["ascii", "unicode"] = "ascii"
    tool_calls: bool = False
    adapters: tuple[str, ...] = ()
    split_events: bool = False
    last_newline: bool = True
    key: str = ""
    retry_after_s: float = 1.0

    error_500_rate: float = 0.0
    error_429_rate: float = 0.0
    error_503_rate: float = 0.0
    reset_rate: float = 0.0
    stall_rate: float = 0.0
    stall_s: float = 0.0
    short_rate: float = 0.0
    error_midstream_rate: float = 0.0

    batches: BatchConfig = BatchConfig()

    truth_path: str | None = None
    answers_path: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense, as a UsageError."""
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} has to be 0 or more, not {getattr(self, name)}")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} has to be at least 1, not {getattr(self, name)}")
        if not 0 <= self.natural_stop_rate <= 1:
            raise UsageError(f"natural_stop_rate has to be from 0 to 1, not {self.natural_stop_rate}")
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
    *("template_tokens", "message_tokens", "reasoning_tokens"),
    *("stall_s", "cache_min_tokens", "load_ms", "retry_after_s"),
    *(f"{fault}_rate" for fault in FAULTS),
)
_AT_LEAST_ONE = (
    *(
        "context_tokens",
        "cache_block_tokens",
        "cache_prompts",
        "default_max_tokens",
        "tokens_per_event",
        "num_ctx",
    ),
)
