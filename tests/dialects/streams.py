"""Streams with a known truth: what all dialects' generators share. Written from protocol facts alone.

A generator draws one answer and writes it down twice: as bytes, with whatever a real server may do to them,
and as the truth of what they say. Nothing here knows benchsuite's own parsers.
"""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

CONTENT, REASONING, TOOL = b"crt"

ANY: Final = -1
"""A count that the dialect leaves open, e.g. of an answer that broke off."""

PIECES: Final = (
    *(
        " the",
        " a",
        "b",
        " Ünïcode",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        '"',
        "\\",
        "/",
        "0",
        "{",
        "}",
        "]",
        "null",
    ),
    *(
        "😀",
        "👩\u200d👩\u200d👧",
        "e\u0301",
        "שלום",
        "\u202eمرحبا",
        "日本語",
        "𝔘",
        "\u2028",
        "\u2029",
        "\x85",
        "\u200b",
    ),
    *("[DONE]", "data: [DONE]\n\n", "data: {}", ": ping", "event: error", "\x7f", "\ufeff", "\u0000", "</s>"),
)
"""What a token may be: characters of one to four bytes, joined, turned around, and a protocol's own words."""

NOISE: Final[tuple[Any, ...]] = (
    *(None, 0, -1.5, 1e300, True, "x", "", "data: [DONE]", [], {}),
    *([1, {"a": None}], {"usage": {"prompt_tokens": 999}, "error": "no"}),
)


@dataclass(slots=True)
class Truth:
    """What a body says. `ends[i]`: how many bytes there are when token event i is complete.

    Counts are None where the server reports none. `finish` and `complete` count only without an `error`.
    """

    body: bytes = b""
    crlf: bool = False
    ends: list[int] = field(default_factory=list)
    kinds: bytearray = field(default_factory=bytearray)
    texts: list[str] = field(default_factory=list)
    prompt: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    written: int | None = None
    written_1h: int | None = None
    finish: str | None = None
    complete: bool = False
    error: bool = False


def text(draw: Random) -> str:
    """A token's text, never empty."""
    return "".join(draw.choices(PIECES, k=draw.choice((1, 1, 1, 2, 5))))


def likely(draw: Random, share: float) -> bool:
    """True in that share of cases."""
    return draw.random() < share


def noisy(draw: Random, fields: dict[str, Any], share: float = 0.15) -> dict[str, Any]:
    """The fields, sometimes with ones that nobody knows, before and after."""
    if not likely(draw, share):
        return fields
    return {"zz_new": draw.choice(NOISE), **fields, "zz_newer": draw.choice(NOISE)}


def maybe_null(draw: Random, *names: str) -> dict[str, None]:
    """Some of the names, with null: servers write out what they don't have, or leave it away."""
    return {name: None for name in names if likely(draw, 0.5)}


def split(draw: Random, total: int, parts: int) -> list[int]:
    """Tokens of each of so many events; an event has at least one."""
    sizes = [1] * parts
    for _ in range(total - parts):
        sizes[draw.randrange(parts)] += 1
    return sizes


class Writer:
    """The bytes and their truth, as they grow."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.truth = Truth()
        self.parts: list[bytes] = []
        self.size = 0
        self.escaped = likely(draw, 0.2)
        """Everything beyond ASCII as escapes, as Python's json does it."""

    def put(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)

    def encode(self, payload: dict[str, Any]) -> bytes:
        if self.escaped:
            return json.dumps(payload).encode()
        return msgspec.json.encode(payload)

    def note(self, said: tuple[tuple[int, str], ...]) -> None:
        """These token events are complete here."""
        for kind, told in said:
            if told:
                self.truth.ends.append(self.size)
                self.truth.kinds.append(kind)
                self.truth.texts.append(told)

    def done(self) -> Truth:
        self.truth.body = b"".join(self.parts)
        return self.truth


class Sse(Writer):
    """Server-sent events: any line end, comments, unknown fields, `data:` with and without a space."""

    def __init__(
        self, draw: Random, *, newlines: tuple[int, int, int] = (6, 2, 1), spaced: float = 0.8
    ) -> None:
        super().__init__(draw)
        self.newline: bytes = draw.choices((b"\n", b"\r\n", b"\r"), newlines)[0]
        self.truth.crlf = self.newline == b"\r\n"
        self.name = b"data: " if likely(draw, spaced) else b"data:"
        self.wild = 0.0 if likely(draw, 0.4) else 0.12
        if likely(draw, 0.03):
            self.put(b"\xef\xbb\xbf")

    def event(self, payload: dict[str, Any] | bytes, *said: tuple[int, str], event: str = "") -> None:
        """One event, and what token events it brings."""
        draw, end = self.draw, self.newline
        if likely(draw, self.wild):
            comment = draw.choice(
                (b":", b": keep-alive", b": keepalive 3/9", b":{}", ": ż".encode(), b":data: {}")
            )
            self.put(comment + end + draw.choice((b"", end)))
        if event:
            self.put(b"event: " + event.encode() + end)
        if likely(draw, self.wild / 2):
            # A stream that names its first event is another dialect's.
            fields = (
                b"id: 7",
                b"id",
                b"retry: 10",
                b"zz: {}",
                *([b"event: message"] if self.truth.ends else ()),
            )
            self.put(draw.choice(fields) + end)
        data = payload if isinstance(payload, bytes) else self.encode(payload)
        if not isinstance(payload, bytes) and likely(draw, self.wild / 4):
            data = json.dumps(payload, indent=1, ensure_ascii=self.escaped).encode()
        for line in data.split(b"\n"):
            self.put(self.name + line + end)
        self.put(end)
        self.note(said)

    def cut(self) -> None:
        """An event that never ends."""
        self.put(self.name + b'{"choices":[{"index":0,"delta":{"content":"lost"')


class Lines(Writer):
    """Newline-delimited JSON: an object is there with its brace; empty lines; the last may lack its end."""

    def __init__(self, draw: Random) -> None:
        super().__init__(draw)
        self.newline = b"\r\n" if likely(draw, 0.2) else b"\n"

    def line(self, payload: dict[str, Any], *said: tuple[int, str]) -> None:
        """One object, and what token events it brings."""
        self.put(self.encode(payload))
        self.note(said)
        self.put(self.newline * (2 if likely(self.draw, 0.05) else 1))

    def done(self) -> Truth:
        if likely(self.draw, 0.3):
            while self.parts and self.parts[-1].strip() == b"":
                self.parts.pop()
        return super().done()
