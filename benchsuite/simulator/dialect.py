"""The OpenAI dialect as bytes, encoded once for each shape of answer and not once for each token."""

import math
import time
from http import HTTPStatus

import msgspec

from benchsuite import __version__
from benchsuite.simulator.asked import Asked, Refused
from benchsuite.simulator.config import SimConfig

SERVER = "benchsuite-sim"
WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath"),
    *("inlet", "jetty", "knoll", "larch", "maple", "north", "ocean", "prairie"),
)
"""What every answer says, over and over; one word is one token."""

_MOST_SHAPES = 256
_encode = msgspec.json.encode


class Shape(msgspec.Struct, frozen=True, gc=False):
    """Ready bytes of one kind of stream. `content[i]` and `reasoning[i]`: event i, then again from 0."""

    opening: str
    choice: str
    closing: str
    role: bytes
    content: list[bytes]
    reasoning: list[bytes]


class Dialect:
    """Makes the bytes of every answer; `plain` ones end with the connection instead of being chunked."""

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._created = int(time.time())
        self._shapes: dict[tuple[bool, str, bool, bool], Shape] = {}
        self.version = _encode({"version": __version__, "server": SERVER})
        card = {"id": config.model, "object": "model", "created": self._created, "owned_by": "benchsuite"}
        self.models = _encode({"object": "list", "data": [card | {"max_model_len": config.context_tokens}]})

    # ------------------------------------------------------------ streams

    def stream_head(self, plain: bool, close: bool) -> bytes:
        """Status line and headers of a stream."""
        framing = "" if plain else "Transfer-Encoding: chunked\r\n"
        return _head(
            200, "text/event-stream; charset=utf-8", framing + "Cache-Control: no-cache\r\n", plain, close
        )

    def role(self, asked: Asked, plain: bool) -> bytes:
        """The chunk that only says who speaks; empty where the dialect has none."""
        return self._shape(asked, plain).role

    def events(self, asked: Asked, tokens: int, plain: bool) -> tuple[list[bytes], list[int]]:
        """A stream's token events, each one HTTP chunk, and how many tokens each carries."""
        shape = self._shape(asked, plain)
        reasoning = self.reasoning_tokens(asked, tokens)
        events, sizes = self._repeat(shape.reasoning, shape, reasoning, plain, "reasoning_content")
        more_events, more_sizes = self._repeat(shape.content, shape, tokens - reasoning, plain, "content")
        return events + more_events, sizes + more_sizes

    def reasoning_tokens(self, asked: Asked, tokens: int) -> int:
        """How many of an answer's first tokens are reasoning."""
        return min(self._config.reasoning_tokens, tokens) if asked.chat else 0

    def ending(self, asked: Asked, tokens: int, cached: int, finish: str, plain: bool) -> bytes:
        """What follows the last token: finish reason, usage where asked for, and `[DONE]`."""
        shape = self._shape(asked, plain)
        empty = '"delta":{}' if asked.chat else '"text":""'
        data = _event(
            f'{shape.opening}"choices":[{{"index":0,{empty},"logprobs":null,"finish_reason":"{finish}"}}]{shape.closing}'
        )
        if asked.include_usage:
            usage = _encode(self._usage(asked, tokens, cached)).decode()
            data += _event(f'{shape.opening}"choices":[],"usage":{usage}}}')
        return _framed(data + b"data: [DONE]\n\n", plain) + _last(plain)

    def stream_error(self, plain: bool) -> bytes:
        """An error in the middle of a stream, and the stream's end."""
        data = (
            b'data: {"error":{"message":"simulated error","type":"server_error","param":null,"code":500}}\n\n'
        )
        return _framed(data + b"data: [DONE]\n\n", plain) + _last(plain)

    # ------------------------------------------------------------ whole answers

    def whole(self, asked: Asked, tokens: int, cached: int, finish: str, plain: bool, close: bool) -> bytes:
        """An answer that isn't streamed."""
        reasoning = self.reasoning_tokens(asked, tokens)
        text = _text(0, tokens - reasoning)
        end = {"logprobs": None, "finish_reason": finish}
        if asked.chat:
            message = {"role": "assistant", "content": text}
            if reasoning:
                message["reasoning_content"] = _text(0, reasoning)
            choice = {"index": 0, "message": message, **end}
        else:
            choice = {"index": 0, "text": text, **end}
        answer: dict[str, object] = {
            "id": "chatcmpl-sim" if asked.chat else "cmpl-sim",
            "object": "chat.completion" if asked.chat else "text_completion",
            "created": self._created,
            "model": asked.model,
            "choices": [choice],
        }
        if self._config.usage:
            answer["usage"] = self._usage(asked, tokens, cached)
        return self.answer(200, _encode(answer), plain, close)

    def refusal(self, refused: Refused, plain: bool, close: bool) -> bytes:
        """An error answer in OpenAI's shape; a 429 says when to come back."""
        error = {"message": str(refused), "type": refused.kind, "param": None, "code": refused.code}
        extra = "Retry-After: 1\r\n" if refused.status == 429 else ""
        return self.answer(refused.status, _encode({"error": error}), plain, close, extra)

    def answer(self, status: int, body: bytes, plain: bool, close: bool, extra: str = "") -> bytes:
        """Any JSON answer."""
        return (
            _head(status, "application/json", f"Content-Length: {len(body)}\r\n{extra}", plain, close) + body
        )

    # ------------------------------------------------------------ parts

    def _usage(self, asked: Asked, tokens: int, cached: int) -> dict[str, object]:
        usage: dict[str, object] = {
            "prompt_tokens": asked.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": asked.prompt_tokens + tokens,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if self._config.reasoning_tokens:
            usage["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens(asked, tokens)}
        return usage

    def _repeat(
        self, ready: list[bytes], shape: Shape, tokens: int, plain: bool, field: str
    ) -> tuple[list[bytes], list[int]]:
        """So many tokens as events; the last one may carry fewer than the others."""
        size = self._config.tokens_per_event
        count, rest = divmod(tokens, size)
        events = (ready * (count // len(ready) + 1))[:count] if count else []
        sizes = [size] * count
        if rest:
            events.append(_token_event(shape, field, _text(count * size, rest), plain))
            sizes.append(rest)
        return events, sizes

    def _shape(self, asked: Asked, plain: bool) -> Shape:
        key = (asked.chat, asked.model, asked.include_usage, plain)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = self._make(asked, plain)
        return shape

    def _make(self, asked: Asked, plain: bool) -> Shape:
        identity, kind = (
            ("chatcmpl-sim", "chat.completion.chunk") if asked.chat else ("cmpl-sim", "text_completion")
        )
        model = _encode(asked.model).decode()
        opening = f'{{"id":"{identity}","object":"{kind}","created":{self._created},"model":{model},'
        bare = Shape(
            opening=opening,
            choice='"delta":{{"{field}":{text}}}' if asked.chat else '"text":{text}',
            closing=',"usage":null}' if asked.include_usage else "}",
            role=b"",
            content=[],
            reasoning=[],
        )
        size = self._config.tokens_per_event
        starts = [i * size for i in range(len(WORDS) // math.gcd(len(WORDS), size))]
        role = b""
        if asked.chat and self._config.role_chunk != "none":
            delta = '"delta":{"role":"assistant","content":""}'
            role = _framed(_event(_choice(bare, delta)), plain)
        return msgspec.structs.replace(
            bare,
            role=role,
            content=[_token_event(bare, "content", _text(start, size), plain) for start in starts],
            reasoning=[
                _token_event(bare, "reasoning_content", _text(start, size), plain) for start in starts
            ],
        )


def _text(start: int, tokens: int) -> str:
    """The answer's words from number `start` on, each with a space before it."""
    return "".join(f" {WORDS[i % len(WORDS)]}" for i in range(start, start + tokens))


def _token_event(shape: Shape, field: str, text: str, plain: bool) -> bytes:
    said = shape.choice.format(field=field, text=_encode(text).decode())
    return _framed(_event(_choice(shape, said)), plain)


def _choice(shape: Shape, said: str) -> str:
    return (
        f'{shape.opening}"choices":[{{"index":0,{said},"logprobs":null,"finish_reason":null}}]{shape.closing}'
    )


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _framed(data: bytes, plain: bool) -> bytes:
    return data if plain else b"%x\r\n%b\r\n" % (len(data), data)


def _last(plain: bool) -> bytes:
    return b"" if plain else b"0\r\n\r\n"


def _head(status: int, content_type: str, more: str, plain: bool, close: bool) -> bytes:
    return (
        f"HTTP/1.{0 if plain else 1} {status} {HTTPStatus(status).phrase}\r\nServer: {SERVER}\r\n"
        f"Content-Type: {content_type}\r\n{more}Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
    ).encode()
