"""Anthropic's Messages."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.simulator.asked import (
    Answer,
    Asked,
    Refused,
    call_texts,
    decoded,
    image,
    known,
    room,
    tool_words,
    words,
)
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Vocabulary, encode, named_event
from benchsuite.simulator.dialects.openai_errors import retry_after
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.shaped import called, fitting

WITHOUT_SAMPLING: Final = "2026-10-21"
"""From this version of the API on, temperature and the like are refused."""
_OWN: Final = ("", "openai")
"""Engines other than these have a door like Anthropic's, but don't insist on a version."""

_ERRORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"invalid": "invalid_request_error", "context": "invalid_request_error"},
        **{"key": "authentication_error", "model": "not_found_error", "path": "not_found_error"},
        **{"method": "invalid_request_error", "rate_limit": "rate_limit_error", "failed": "api_error"},
        "overloaded": "overloaded_error",
    }
)


class _Mark(msgspec.Struct, gc=False):
    ttl: str = "5m"


class _Block(msgspec.Struct, gc=False):
    text: str | None = None
    source: Any = None
    content: Any = None
    input: Any = None
    cache_control: _Mark | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Block]


class _Thinking(msgspec.Struct, gc=False):
    type: str = "disabled"


class _Format(msgspec.Struct, gc=False):
    schema: Any = None


class _OutputConfig(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Body(msgspec.Struct, gc=False):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[_Block] | None = None
    stream: bool | None = None
    thinking: _Thinking | None = None
    cache_control: _Mark | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[Any] | None = None
    output_config: _OutputConfig | None = None


_BODY = msgspec.json.Decoder(_Body)
_START: Final = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)
_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_TEXT: Final = b'{"type":"text","text":""}'
_THOUGHT: Final = b'{"type":"thinking","thinking":"","signature":""}'
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


class Anthropic(Api):
    """Thinks unless thinking is disabled; form `1h`: what is cached stays for an hour."""

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._words = Vocabulary(config)
        self._text = self._words.text

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A conversation, or only the question how long it is."""
        config = self._config
        version = incoming.headers.get("anthropic-version", "")
        if not version and config.engine in _OWN:
            raise Refused("invalid", "anthropic-version: header is required")
        said = decoded(_BODY, incoming.body)
        model = known(config, said.model)
        prompt, cache_to, mark = self._prompt(said)
        if kind == "count":
            return json({"input_tokens": len(prompt)})
        for name in ("temperature", "top_p", "top_k"):
            if version >= WITHOUT_SAMPLING and getattr(said, name) is not None:
                raise Refused("invalid", f"{name}: Extra inputs are not permitted")
        if said.max_tokens is None:
            raise Refused("invalid", "max_tokens: Field required")
        off = said.thinking is not None and said.thinking.type == "disabled"
        return Asked(
            kind=kind,
            model=model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=room(config, len(prompt), said.max_tokens),
            stream=bool(said.stream),
            forms=("1h",) if mark and mark.ttl == "1h" else (),
            cache=mark is not None,
            cache_to=cache_to,
            reasoning=0 if off else config.reasoning_tokens,
            **self._form(said),
        )

    def _form(self, said: _Body) -> dict[str, Any]:
        """A tool to be called, or the text that fits a schema, where either is asked for."""
        tool, arguments = called(said.tools) if self._config.tool_calls else ("", ())
        if tool:
            return {"tool": tool, "said": arguments}
        form = said.output_config.format if said.output_config else None
        return {"said": fitting(form.schema)} if form and form.schema else {}

    def _prompt(self, said: _Body) -> tuple[list[str], int, _Mark | None]:
        """Its tokens, how many of them are up to the last mark, and that mark."""
        prompt, cache_to, mark = [""] * self._config.template_tokens, -1, said.cache_control
        if mark:
            cache_to = 1 << 60
        prompt += tool_words(said.tools)
        for number, content in enumerate((said.system, *(message.content for message in said.messages))):
            if number > 1:
                prompt += ["<turn>"] * self._config.message_tokens
            if isinstance(content, str):
                prompt += content.split()
                continue
            for block in content or ():
                result = block.content if isinstance(block.content, str) else ""
                seen = [image(block.source)] if block.source else []
                prompt += words([block.text or result, *seen, *call_texts(block.input)])
                if block.cache_control and not said.cache_control:
                    cache_to, mark = len(prompt), block.cache_control
        return prompt, cache_to, mark

    # ------------------------------------------------------------ streams

    def headers(self, asked: Asked) -> str:
        """The request's name."""
        return "request-id: req_sim\r\n"

    def comment(self, asked: Asked) -> bytes:
        """A ping."""
        return _PING

    def opening(self, answer: Answer) -> bytes:
        """The message, without content, and its first block."""
        message = self._message(answer, [], None) | {"usage": self._usage(answer, min(1, answer.tokens))}
        thinks = bool(answer.asked.reasoning)
        start = _START % (0, _THOUGHT if thinks else _begun(answer.asked))
        return named_event("message_start", {"message": message}) + start + _PING

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One delta."""
        text = encode(piece.text)
        index = int(piece.kind == "content" and bool(asked.reasoning))
        delta = b'"thinking_delta","thinking":' if piece.kind == "reasoning" else b'"text_delta","text":'
        if asked.tool and piece.kind == "content":
            delta = b'"input_json_delta","partial_json":'
        return (
            b'event: content_block_delta\ndata: {"type":"content_block_delta",'
            b'"index":%d,"delta":{"type":%b%b}}\n\n' % (index, delta, text)
        )

    def turn(self, answer: Answer) -> bytes:
        """Thinking is signed, then comes text."""
        signature: dict[str, object] = {
            "index": 0,
            "delta": {"type": "signature_delta", "signature": "c2ltdWxhdGVk"},
        }
        return named_event("content_block_delta", signature) + _STOP % 0 + _START % (1, _begun(answer.asked))

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last delta, the end of its block, of the message, and the counts."""
        index = int(piece.kind == "content" and bool(answer.asked.reasoning))
        delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        usage = self._usage(answer, answer.tokens)
        usage.pop("cache_creation", None)
        over = named_event("message_delta", {"delta": delta, "usage": usage})
        end = _STOP % index + over + named_event("message_stop", {})
        return [self.event(answer.asked, piece, answer), end]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error event; nothing follows."""
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return named_event("error", {"error": error, "request_id": "req_sim"})

    # ------------------------------------------------------------ whole answers

    def whole(self, answer: Answer) -> Page:
        """The message."""
        content: list[object] = []
        if answer.reasoning:
            thought = self._text(0, answer.reasoning)
            content.append({"type": "thinking", "thinking": thought, "signature": "c2ltdWxhdGVk"})
        text = self._words.content(answer)
        if answer.asked.tool:
            content.append(_used(answer, text))
        else:
            content.append({"type": "text", "text": text, "citations": None})
        message = self._message(answer, content, _stop_reason(answer))
        message["usage"] = self._usage(answer, answer.tokens)
        return Page(body=encode(message), headers=self.headers(answer.asked))

    def refusal(self, refused: Refused) -> Page:
        """Overload has a status of its own."""
        reason, message = refused.reason, refused.message
        if refused.room:
            message = f"prompt is too long: {refused.tokens} tokens > {refused.room} maximum"
        status = 529 if reason == "overloaded" else refused.status
        error = {"type": _ERRORS[reason], "message": message}
        body = {"type": "error", "error": error, "request_id": "req_sim"}
        headers = "request-id: req_sim\r\n"
        if reason == "rate_limit":
            headers += retry_after(self._config)
            headers += (
                "anthropic-ratelimit-requests-limit: 50\r\nanthropic-ratelimit-requests-remaining: 0\r\n"
            )
        return Page(status=status, body=encode(body), headers=headers)

    def _message(self, answer: Answer, content: list[object], stop_reason: str | None) -> dict[str, Any]:
        return {
            "id": "msg_sim",
            "type": "message",
            "role": "assistant",
            "model": answer.asked.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }

    def _usage(self, answer: Answer, output_tokens: int) -> dict[str, object]:
        """`input_tokens` are those that were neither read from the cache nor written to it."""
        cached, written = answer.cached, answer.written
        hour = "1h" in answer.asked.forms
        usage: dict[str, object] = {
            "input_tokens": answer.asked.prompt_tokens - cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if hour else written,
                "ephemeral_1h_input_tokens": written if hour else 0,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }
        if answer.reasoning and output_tokens > 1:
            usage["output_tokens_details"] = {"thinking_tokens": answer.reasoning}
        return usage


def _stop_reason(answer: Answer) -> str:
    if not answer.stopped:
        return "max_tokens"
    return "tool_use" if answer.asked.tool else "end_turn"


def _begun(asked: Asked) -> bytes:
    """The block that an answer's content begins with."""
    if not asked.tool:
        return _TEXT
    return encode({"type": "tool_use", "id": "toolu_sim", "name": asked.tool, "input": {}})


def _used(answer: Answer, arguments: str) -> dict[str, object]:
    """The call of a tool; of arguments that were cut short nothing is told."""
    said = msgspec.json.decode(arguments) if answer.stopped else {}
    return {"type": "tool_use", "id": "toolu_sim", "name": answer.asked.tool, "input": said}


def models(config: SimConfig) -> dict[str, object]:
    """Anthropic's list of models."""
    card = {
        "type": "model",
        "id": config.model,
        "display_name": f"{config.model}+sim",
        "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": config.context_tokens,
        "max_tokens": config.context_tokens,
        "lifecycle": "active",
    }
    return {"data": [card], "has_more": False, "first_id": config.model, "last_id": config.model}
