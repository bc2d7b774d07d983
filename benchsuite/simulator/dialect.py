"""What every dialect has in common: bytes that are ready before the clock needs them."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal

import msgspec

from benchsuite.simulator.asked import Answer, Asked, Refused
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page, framed, last
from benchsuite.simulator.scripted import script, scripted

WORDS: Final = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath"),
    *("inlet", "jetty", "knoll", "larch", "maple", "north", "ocean", "prairie"),
)
"""What every answer says, over and over; one word is one token."""
UNICODE_WORDS: Final = (
    *("größe", "naïve", "señal", "кедр", "λίθος", "東京", "한글", "añil"),
    *("žluť", "øre", "çay", "日本語", "été", "ñandú", "🌲", "prairie"),
)
SIM_VERSION_SUFFIX: Final = "+sim"
"""At the end of each version that it tells, so that nobody takes it for the real thing."""

_MOST_SHAPES = 256
Kind = Literal["content", "reasoning"]
Varies = Literal["text", "number", "answer"]
encode = msgspec.json.encode


class Vocabulary:
    """The words of a configuration."""

    def __init__(self, config: SimConfig) -> None:
        self._words = UNICODE_WORDS if config.words == "unicode" else WORDS

    def text(self, start: int, tokens: int) -> str:
        """The answer's words from number `start` on, each with a space before it."""
        ring = self._words
        return "".join(f" {ring[i % len(ring)]}" for i in range(start, start + tokens))

    def content(self, answer: Answer, tokens: int = -1) -> str:
        """What an answer says, or its first `tokens`, without its reasoning."""
        count = answer.tokens - answer.reasoning if tokens < 0 else tokens
        return "".join(answer.asked.said[:count]) if answer.asked.said else self.text(0, count)

    def period(self, size: int) -> int:
        """After how many events of `size` tokens the same texts come again."""
        return len(self._words) // math.gcd(len(self._words), size)


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One token event: number `number` of all, of `kind`, with the text of tokens `start`… of that kind."""

    kind: Kind
    number: int
    start: int
    size: int
    text: str


class Api(ABC):
    """What one API says; `Dialect` below makes streams of it. Bytes are bodies, without HTTP's framing."""

    media: ClassVar[str] = "text/event-stream; charset=utf-8"

    @abstractmethod
    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """What is asked, or an answer at once; raises Refused. `found`: the names within the path."""

    def varies(self, asked: Asked) -> Varies:
        """What an event's bytes depend on: its text, also its number, or all of the answer."""
        return "text"

    def media_of(self, asked: Asked) -> str:
        """A stream's type."""
        return self.media

    def headers(self, asked: Asked) -> str:
        """Header lines of a stream."""
        return ""

    def comment(self, asked: Asked) -> bytes:
        """Something that says nothing, sent at once; empty where the dialect has no such thing."""
        return b": keep-alive\n\n"

    def opening(self, answer: Answer) -> bytes:
        """What precedes the first token; early, it is called before anything is known of the answer."""
        return b""

    @abstractmethod
    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One token event; `answer` is there where `varies` says that it has to be."""

    def turn(self, answer: Answer) -> bytes:
        """What stands between reasoning and content."""
        return b""

    @abstractmethod
    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last token's event and all that follows, each to be a chunk."""

    @abstractmethod
    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error in the middle of a stream, instead of `piece`, and the stream's end."""

    @abstractmethod
    def whole(self, answer: Answer) -> Page:
        """An answer that isn't streamed."""

    @abstractmethod
    def refusal(self, refused: Refused) -> Page:
        """An error answer."""


class Dialect:
    """One API of one server: what it reads, and its answers as bytes, kept for each shape of stream."""

    def __init__(self, api: Api, config: SimConfig) -> None:
        self.api = api
        self._config = config
        self._vocabulary = Vocabulary(config)
        self._script = script(config.answers_path)
        self._ready: dict[tuple[object, ...], list[bytes]] = {}
        self._finals: dict[tuple[object, ...], bytes] = {}

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """As the API's; an answer may be the script's."""
        asked = self.api.read(incoming, kind, found)
        if self._script and isinstance(asked, Asked) and (said := scripted(self._script, incoming.body)):
            return msgspec.structs.replace(asked, said=said, tool="")
        return asked

    def opening(self, answer: Answer, plain: bool) -> bytes:
        """What precedes the first token; empty where there is nothing."""
        return framed(self.api.opening(answer), plain)

    def events(self, answer: Answer, plain: bool) -> tuple[list[bytes], list[int]]:
        """All but the last token event, each one HTTP chunk, and how many tokens each carries.

        Sizes are those of all events. Hidden reasoning counts with the first.
        """
        hidden = 0 if answer.asked.shown else answer.reasoning
        thought = answer.reasoning - hidden
        size = self._config.tokens_per_event
        sizes = _sizes(thought, size)
        thoughts = len(sizes)
        sizes += _sizes(answer.tokens - answer.reasoning, size)
        if not thoughts:
            sizes[0] += hidden
            return self._run(answer, "content", 0, len(sizes) - 1, plain), sizes
        before = min(thoughts, len(sizes) - 1)
        events = self._run(answer, "reasoning", 0, min(before, thought // size), plain)
        if len(events) < before:
            rest = self._piece(answer, before - 1)
            events.append(framed(self.api.event(answer.asked, rest, answer), plain))
        said = self._run(answer, "content", thoughts, len(sizes) - 1 - thoughts, plain)
        if said:
            said[0] = framed(self.api.turn(answer), plain) + said[0]
        return events + said, sizes

    def last_event(self, answer: Answer, plain: bool) -> bytes:
        """The last token event alone, for answers that break off after it."""
        return framed(self.api.event(answer.asked, self._last_piece(answer), answer), plain)

    def final(self, answer: Answer, plain: bool) -> bytes:
        """The last token event and the stream's end; those of the latest kinds of answers are kept."""
        asked, times = answer.asked, answer.times
        key = (
            *(asked.kind, asked.model, asked.forms, asked.include_usage, asked.shown, asked.prompt_tokens),
            *(asked.output_tokens, asked.reasoning, asked.load_ns, answer.tokens, answer.reasoning),
            *(answer.cached, answer.written, answer.stopped, plain, asked.said, asked.tool),
            *(times.queue_ns, times.load_ns, times.prefill_ns, times.decode_ns),
        )
        data = self._finals.get(key)
        if data is None:
            if len(self._finals) >= _MOST_SHAPES:
                self._finals.clear()
            data = self._finals[key] = self._final(answer, plain)
        return data

    def _final(self, answer: Answer, plain: bool) -> bytes:
        piece = self._last_piece(answer)
        data = b"".join(framed(part, plain) for part in self.api.final(answer, piece))
        if piece.kind == "content" and piece.start == 0 and piece.number:
            data = framed(self.api.turn(answer), plain) + data
        return data + last(plain)

    def broken(self, answer: Answer, sent: int, plain: bool) -> bytes:
        """An error after so many events, and the stream's end."""
        piece = self._piece(answer, sent)
        return framed(self.api.broken(answer, piece), plain) + last(plain)

    # ------------------------------------------------------------ parts

    def _run(self, answer: Answer, kind: Kind, first: int, events: int, plain: bool) -> list[bytes]:
        """So many full events of one kind, the first of them number `first` of the stream."""
        if events < 1:
            return []
        asked, varies, size = answer.asked, self.api.varies(answer.asked), self._config.tokens_per_event

        def made(i: int, about: Answer | None) -> bytes:
            piece = Piece(kind, first + i, i * size, size, self._text(asked, kind, i * size, size))
            return framed(self.api.event(asked, piece, about), plain)

        if varies == "answer" or asked.said:
            return [made(i, answer) for i in range(events)]
        offset = first if varies == "number" else 0
        ready = self._kept((asked.kind, asked.model, asked.include_usage, asked.forms, kind, offset, plain))
        period = self._vocabulary.period(size) if varies == "text" else events
        while len(ready) < min(period, events):
            ready.append(made(len(ready), None))
        return (ready * (events // len(ready) + 1))[:events]

    def _kept(self, key: tuple[object, ...]) -> list[bytes]:
        ready = self._ready.get(key)
        if ready is None:
            if len(self._ready) >= _MOST_SHAPES:
                self._ready.clear()
            ready = self._ready[key] = []
        return ready

    def _last_piece(self, answer: Answer) -> Piece:
        size = self._config.tokens_per_event
        thought = answer.reasoning if answer.asked.shown else 0
        return self._piece(
            answer, _events(thought, size) + _events(answer.tokens - answer.reasoning, size) - 1
        )

    def _piece(self, answer: Answer, number: int) -> Piece:
        """Event `number` of a stream; beyond its end an empty one."""
        size = self._config.tokens_per_event
        thought = answer.reasoning if answer.asked.shown else 0
        thoughts = _events(thought, size)
        kind: Kind = "reasoning" if number < thoughts else "content"
        start = (number if number < thoughts else number - thoughts) * size
        of_kind = thought if number < thoughts else answer.tokens - answer.reasoning
        tokens = max(0, min(size, of_kind - start))
        return Piece(kind, number, start, tokens, self._text(answer.asked, kind, start, tokens))

    def _text(self, asked: Asked, kind: Kind, start: int, tokens: int) -> str:
        if asked.said and kind == "content":
            return "".join(asked.said[start : start + tokens])
        return self._vocabulary.text(start, tokens)


def named_event(name: str, data: dict[str, object]) -> bytes:
    """An event that says its type twice."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode({"type": name, **data}))


def _events(tokens: int, size: int) -> int:
    return -(-tokens // size)


def _sizes(tokens: int, size: int) -> list[int]:
    full, rest = divmod(tokens, size)
    return [size] * full + ([rest] if rest else [])
