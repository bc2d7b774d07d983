"""What a workload asks: its lengths, its load, its axes, and the points that these make."""

import math
from typing import Literal

from benchsuite.types.asked import Arrivals, CacheMode, Noun, Reasoning

Text = Literal["prose", "code", "random"]
CheckKind = Literal["exact", "contains", "regex", "json-schema", "choice"]
LimitedMetric = Literal["ttft", "tpot", "itl", "e2e"]


class Spread(Noun, frozen=True, kw_only=True):
    """A distribution of lengths in tokens, or of times in seconds.

    `uniform` from `low` to `high`; `normal` and `lognormal` of `mean` and standard deviation `sd` (of the
    values themselves, not of their logarithms), cut to `low` and `high` (0: no such bound) by drawing again;
    `quantiles`: pairs of a share from 0 to 1 and the value there, straight lines between them.
    """

    kind: Literal["uniform", "normal", "lognormal", "quantiles"]
    mean: float = 0.0
    sd: float = 0.0
    low: float = 0.0
    high: float = 0.0
    quantiles: tuple[tuple[float, float], ...] = ()


Length = int | Spread
"""A number of tokens, or what it is drawn from."""


class LoadStage(Noun, frozen=True, kw_only=True):
    """A part of a trial: `seconds` of a load that goes straight from the first value to the last."""

    seconds: float
    rate: tuple[float, float] | None = None
    concurrency: tuple[int, int] | None = None


class Source(Noun, frozen=True, kw_only=True):
    """A file that prompts or arrivals come from: what may be known of it, no text of it.

    `file` is its path until it is read, then its bare name. `format` empty: seen from the file itself.
    `number` rows, `longest_prompt` and `longest_output` in tokens as far as they are known. Of a dataset,
    `column` is the one that holds its prompts, and `split` the part of a Hugging Face one; empty: found;
    `dropped` of its conversations had no prompt.

    Of a trace: `used` rows are what a trial sends, `seconds` the time from the first of them to the last as
    it was recorded, `prompt_tokens` and `output_tokens` their means; `dropped` rows didn't fit the server's
    context. `blocks`: it says which prompts begin alike.
    """

    file: str
    format: str = ""
    number: int = 0
    sha256: str = ""
    longest_prompt: int = 0
    longest_output: int = 0
    used: int = 0
    seconds: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    dropped: int = 0
    blocks: bool = False
    column: str = ""
    split: str = ""


class Bodies(Noun, frozen=True, kw_only=True):
    """Request bodies that are sent word for word: their file's name, number and SHA-256, no text of them."""

    name: str
    number: int
    sha256: str
    longest_bytes: int = 0


class Share(Noun, frozen=True, kw_only=True):
    """A model (a LoRA adapter's name, say) that gets `share` of the requests, relative to the others'."""

    model: str
    share: float = 1.0


class Check(Noun, frozen=True, kw_only=True):
    """How an answer is judged right or wrong.

    `exact`, `contains` and `choice` compare with the dataset item's expected answer, or with `expected`;
    `regex` searches the answer for `expected`; `json-schema` validates it, and where the item has an expected
    JSON value compares with that. `choices`: the words of which an answer names one.
    """

    kind: CheckKind
    expected: str = ""
    choices: tuple[str, ...] = ()
    json_schema: str = ""


class Limit(Noun, frozen=True, kw_only=True):
    """A limit on a quantile of a point: `quantile` (0 to 1) of `metric` is at most `ms` milliseconds."""

    metric: LimitedMetric
    quantile: float
    ms: float


class Slo(Noun, frozen=True, kw_only=True):
    """Limits that one request has to meet to count as goodput, in milliseconds; None: no limit.

    `limits` are on quantiles of a point, not on each request. `preset`: the name that they came by.
    """

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    limits: tuple[Limit, ...] = ()
    preset: str = ""


class Listed(Noun, frozen=True, kw_only=True):
    """One point of a listed sweep; None: as the workload says."""

    prompt_tokens: Length | None = None
    output_tokens: Length | None = None
    concurrency: int | None = None
    rate: float | None = None
    cache: CacheMode | None = None
    hit_ratio: float | None = None
    stream: bool | None = None


class Workload(Noun, frozen=True, kw_only=True):
    """What is asked of a server, as a workload file says it; lists are axes that make points.

    Either `concurrency` (closed loop) or `rate` (open loop, requests/s; `inf`: offline, all at
    once) is set; with both, `concurrency` caps what the open loop has in flight. With neither, `stages` say
    how the load goes on, or `batch` hands all `requests` of a trial to the backend's batch API, or a `trace`
    has instants of its own. A trial stops after `requests` or `seconds`, whichever is set.

    Prompts: of `prompt_tokens` made of `text`; or items of a `dataset`, word for word or with a line that is
    new to any cache before them (`salted`), and answers of at most `output_tokens`, if not 0; or as long as
    the rows of a `trace`; or `bodies`, word for word. With `turns` a request is a turn of a conversation,
    whose first prompt has `prompt_tokens` and each later one `user_tokens` more, `think_s` after the answer
    before.

    Cache: with `shared`, prompts begin with the `shared_tokens` (0: half the prompt, or `hit_ratio` of it) of
    one of `groups` prefixes, chosen with Zipf's exponent `zipf` (0: all alike). `reasoning` empty: whatever
    the model does by itself. `models` and `engine` are axes whose values need a server each.
    """

    name: str
    version: int
    description: str
    seed: int = 0
    prompt_tokens: tuple[Length, ...]
    output_tokens: tuple[Length, ...]
    text: Text = "random"
    same: Literal["tokens", "text"] = "tokens"
    dataset: Source | None = None
    salted: bool = False
    trace: Source | None = None
    time_scale: float = 1.0
    turns: Length = 1
    user_tokens: Length = 0
    think_s: float | Spread = 0.0
    replies: Literal["fixed", "real"] = "fixed"
    tool_turns: bool = False
    cache: tuple[CacheMode, ...] = ("cold",)
    shared_tokens: int = 0
    groups: int = 1
    zipf: float = 0.0
    hit_ratio: tuple[float, ...] = ()
    reasoning: Reasoning = ""
    json_schema: str = ""
    tools: str = ""
    extra: str = ""
    mix: tuple[Share, ...] = ()
    concurrency: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    arrivals: Arrivals = "poisson"
    arrivals_cv: float = 1.0
    burst_size: int = 1
    stages: tuple[LoadStage, ...] = ()
    batch: bool = False
    stream: tuple[bool, ...] = (True,)
    models: tuple[str, ...] = ()
    engine: dict[str, tuple[str, ...]] = {}
    sweep: Literal["grid", "zip"] = "grid"
    order: Literal["blocks", "listed"] = "blocks"
    listed: tuple[Listed, ...] = ()
    requests: int | None = None
    seconds: float | None = None
    trials: int = 3
    warm_up_seconds: float = 0.0
    warm_up_max_requests: int = 256
    check: Check | None = None
    slo: Slo = Slo()
    bodies: Bodies | None = None


class Point(Noun, frozen=True, kw_only=True):
    """One combination of a workload's axes: what is held fixed while trials are repeated.

    `prompt_tokens` and `output_tokens` are means where `prompt_spread` and `output_spread` say what lengths
    are drawn from. With `stages` the rate is their mean, the concurrency their highest.

    `turns`: how many a conversation has, on the mean; 1: requests stand alone. Else slots hold conversations,
    and the rate is that of conversations; `think_s` is the mean think time before a turn, and `grows_tokens`
    how much longer a prompt can get than the first one.
    """

    index: int
    prompt_tokens: int
    output_tokens: int
    concurrency: int | None
    rate: float | None = None
    batch: bool = False
    prompt_spread: Spread | None = None
    output_spread: Spread | None = None
    cache: CacheMode = "cold"
    hit_ratio: float | None = None
    stream: bool = True
    stages: tuple[LoadStage, ...] = ()
    turns: float = 1.0
    think_s: float = 0.0
    grows_tokens: int = 0

    @property
    def talks(self) -> bool:
        """Are requests turns of conversations?"""
        return self.turns != 1

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
        return self._load_words if self.stream else f"{self._load_words}, not streamed"

    @property
    def _load_words(self) -> str:
        if self.batch:
            return "one batch"
        if self.stages:
            return f"{_staged(self.stages)} in stages"
        if self.rate is None:
            talking = "conversation" if self.concurrency == 1 else "conversations"
            return f"{self.concurrency} {talking if self.talks else 'in flight'}"
        each = "conversations/s" if self.talks else "req/s"
        word = "all at once" if math.isinf(self.rate) else f"{self.rate:g} {each}"
        return word if self.concurrency is None else f"{word}, at most {self.concurrency} in flight"


def _staged(stages: tuple[LoadStage, ...]) -> str:
    """The course of the load: `1 → 10 → 10 req/s`."""
    pairs = [stage.rate or stage.concurrency or (0, 0) for stage in stages]
    course = [pairs[0][0]]
    for value in (value for pair in pairs for value in pair):
        course += [value] if value != course[-1] else []
    return " → ".join(f"{value:g}" for value in course) + (" req/s" if stages[0].rate else " in flight")
