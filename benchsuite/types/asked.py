"""What is asked: workloads, their points and requests; and the words and the base of all nouns."""

import math
from typing import Literal

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
