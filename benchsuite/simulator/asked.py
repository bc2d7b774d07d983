"""What a completion request asks for, whatever dialect it came in."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from benchsuite.simulator.config import SimConfig

Reason = Literal["invalid", "context", "key", "model", "path", "method", "rate_limit", "failed", "overloaded"]
Body = TypeVar("Body")

STATUSES: dict[str, int] = {
    **{"invalid": 400, "context": 400, "key": 401, "model": 404, "path": 404, "method": 405},
    **{"rate_limit": 429, "failed": 500, "overloaded": 503},
}
"""The usual HTTP status of each reason; a dialect may have another."""


class Refused(Exception):
    """A request that gets an error at once; each dialect has its own words and shape for it.

    `tokens` and `room`: for the reason `context`, the prompt's length and what there is room for.
    """

    def __init__(self, reason: Reason, message: str, *, tokens: int = 0, room: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = STATUSES[reason]
        self.tokens = tokens
        self.room = room


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sound completion request.

    `kind`: which of its dialect's doors it came through; `forms`: whatever else changes the bytes of
    its events. `prompt`: its tokens, kept only where there is a prefix cache; the first `cache_to` of
    them may be looked up and remembered (-1: all), apart from those with another `salt`; `held` tokens
    are cached in any case. `reasoning`: so many of the first tokens, not `shown` ones come without an
    event. `exact`: it can't end before its last token. `load_ns`: the model is loaded first. `said`: the
    tokens of its answer, if it isn't made of the usual words; with `tool` they are that tool's arguments.
    """

    kind: str
    model: str
    prompt: list[Any]
    prompt_tokens: int
    output_tokens: int
    stream: bool
    forms: tuple[str, ...] = ()
    include_usage: bool = True
    cache: bool = True
    cache_to: int = -1
    salt: str = ""
    held: int = 0
    reasoning: int = 0
    shown: bool = True
    exact: bool = False
    load_ns: int = 0
    said: tuple[str, ...] = ()
    tool: str = ""

    def ending(self) -> tuple[int, bool]:
        """How many tokens its answer has, and whether it ends by itself, as one of a given form does."""
        whole = self.reasoning + len(self.said)
        if not self.said or whole > self.output_tokens:
            return self.output_tokens, False
        return whole, True


class Times(msgspec.Struct, gc=False):
    """An answer's true schedule: waiting in line, loading, from service to first token, to the last one.

    The last is filled in when it is known, which is before the last token is due.
    """

    queue_ns: int = 0
    load_ns: int = 0
    prefill_ns: int = 0
    decode_ns: int = 0

    @property
    def total_ns(self) -> int:
        """From the request's arrival to the last token."""
        return self.queue_ns + self.load_ns + self.prefill_ns + self.decode_ns


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What will be said. `reasoning` of the `tokens` come first; `cached` and `written` prompt tokens."""

    asked: Asked
    tokens: int
    reasoning: int
    cached: int = 0
    written: int = 0
    stopped: bool = False
    times: Times = msgspec.field(default_factory=Times)

    @property
    def computed(self) -> int:
        """Prompt tokens that weren't cached."""
        return self.asked.prompt_tokens - self.cached


IMAGE_TOKENS: Final = 85
"""What an image costs, of whatever size."""


class Part(msgspec.Struct, gc=False):
    """A piece of a message: a text, or an image in the form of one of the dialects."""

    text: str | None = None
    image_url: Any = None
    source: Any = None
    inline_data: Any = msgspec.field(default=None, name="inlineData")
    function_call: Any = msgspec.field(default=None, name="functionCall")
    function_response: Any = msgspec.field(default=None, name="functionResponse")


class Message(msgspec.Struct, gc=False):
    """A message, in the shape that most dialects share."""

    content: str | list[Part] | None = None
    tool_calls: Any = None


def chat_words(config: SimConfig, messages: Sequence[Iterable[str]]) -> list[str]:
    """The tokens of a chat, each message as its texts: their words, and the template's own between them."""
    found: list[str] = []
    for number, message in enumerate(messages):
        found += ["<turn>"] * config.message_tokens if number else []
        found += words(message)
    return found


def call_texts(*calls: Any) -> list[str]:
    """What calls of tools and their results say: every text in their JSON."""
    found: list[str] = []
    for call in calls:
        if isinstance(call, str):
            found.append(call)
        elif isinstance(call, dict | list):
            found += call_texts(*(call.values() if isinstance(call, dict) else call))
    return found


def words(texts: Iterable[str]) -> list[str]:
    """The tokens of some texts: their words."""
    found: list[str] = []
    for text in texts:
        found += text.split()
    return found


def texts(content: str | list[Part] | None) -> list[str]:
    """The texts of a message."""
    if isinstance(content, str):
        return [content]
    return [part.text or image(seen) for part in content or () if part.text or (seen := picture(part))]


def picture(part: Part) -> Any:
    """What tells one image from another; None: the part is none."""
    return part.image_url or part.source or part.inline_data


def image(seen: Any) -> str:
    """An image as words, as many as it costs, that only the same image has."""
    name = hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:8]
    return f"image-{name} " * IMAGE_TOKENS


def tool_words(tools: Any) -> list[str]:
    """What the definitions of tools cost: a word for every four characters of them."""
    return ["tool"] * (len(msgspec.json.encode(tools)) // 4) if tools else []


def decoded(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    """The body; raises Refused where it makes no sense."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("invalid", f"the body can't be read: {error}") from None


def room(config: SimConfig, prompt_tokens: int, limit: int | None, name: str = "max_tokens") -> int:
    """How many tokens the answer gets; raises Refused where the prompt is too long or `limit` below 1."""
    left = config.context_tokens - prompt_tokens
    if left < 0:
        message = (
            f"This server's context length is {config.context_tokens} tokens; the prompt has {prompt_tokens}."
        )
        raise Refused("context", message, tokens=prompt_tokens, room=config.context_tokens)
    if limit is not None and limit < 1:
        raise Refused("invalid", f"{name} has to be at least 1")
    return min(limit or config.default_max_tokens, max(left, 1))


def known(config: SimConfig, model: str | None) -> str:
    """The model that answers; raises Refused where a strict server hasn't got it."""
    # Ollama lists its models with a tag, and takes those names at its compatible doors too.
    own = {config.model, *config.adapters}
    if config.engine == "ollama":
        own |= {f"{name}:latest" for name in own}
    if config.strict and model not in own:
        raise Refused("model", "there is no such model here")
    return model or config.model
