"""What one request asks, and the words and the base of all nouns."""

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
Arrivals = Literal["constant", "poisson", "gamma", "burst"]


class Noun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value that refuses unknown fields when read from a file."""


class Passages(Noun, frozen=True, kw_only=True):
    """How many tokens passages of real text cost on one server (`benchsuite.workload.corpus` cuts them).

    `level` says how the text was cut; `costs` are those of its passages in order, `frame` that of the joint
    behind the words before them and of the word after them, `joint` what each passage adds beyond its cost,
    in tokens.
    """

    text: Literal["prose", "code"]
    level: int
    costs: tuple[int, ...]
    frame: int
    joint: float = 0.0


class Lengths(Noun, frozen=True, kw_only=True):
    """How many tokens words cost on one server, found before the clock starts (`fit`).

    `words` cost exactly one token each when they follow a space; `overhead` is what the chat
    template and the first word add, in tokens. `source`: `usage` (probed), `tokenizer` (the
    server's, where it reports no usage), `assumed` (it counts nothing: one token a word is a guess).
    `passages`: the same for real text; None: it wasn't asked for, or it isn't counted. `turn_overhead`: what
    the template adds for each further turn of a conversation, its answer and its question together.
    `reads_calls`: it shows the model the arguments of earlier calls of tools; some leave them out.
    """

    words: tuple[str, ...]
    overhead: int
    source: Literal["usage", "tokenizer", "assumed"]
    passages: Passages | None = None
    turn_overhead: int = 0
    reads_calls: bool = True


class Message(Noun, frozen=True, kw_only=True):
    """One turn of a chat.

    `parts`: content in the OpenAI form, as JSON (text and image parts), in place of `content`. `tool_calls`:
    the calls that an assistant made, as JSON in the OpenAI form; `tool_call_id`: which of them a `tool`
    message answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: str = ""
    tool_calls: str = ""
    tool_call_id: str = ""


class Request(Noun, frozen=True, kw_only=True):
    """One request as planned: pure data, before any dialect.

    `due_offset_ns`: when an open loop wants it sent, counted from the trial's start; None in a
    closed loop, where the end of an earlier answer decides. `prompt_tokens`: the length that was drawn for
    it; 0: it isn't known. `reusable_tokens`: so many of its first tokens an earlier request had, too, so that
    a prefix cache that forgets nothing would hold them; None: that isn't planned. `shared_chars`: that many
    characters of the first message are the common prefix of its `group`. `conversation`, `turn` (from 0) and
    `turns`: its place in a conversation; `after_ns`: how long after the end of the turn before it the user
    answers. `item`: its place in a dataset. `json_schema`, `tools` and `extra` are JSON: the form of the
    answer, tools in the OpenAI form, further members of the body. `model` takes the place of the target's.
    `body`: sent word for word instead of what the driver makes of the rest.
    """

    index: int
    phase: Phase
    messages: tuple[Message, ...]
    max_output_tokens: int
    min_output_tokens: int
    cache: CacheMode
    due_offset_ns: int | None = None
    prompt_tokens: int = 0
    reusable_tokens: int | None = None
    shared_chars: int = 0
    group: int | None = None
    conversation: int | None = None
    turn: int = 0
    turns: int = 1
    after_ns: int = 0
    item: int | None = None
    reasoning: Reasoning = ""
    stream: bool = True
    model: str = ""
    json_schema: str = ""
    tools: str = ""
    extra: str = ""
    body: bytes = b""
