"""OpenAI's Responses: named, numbered events."""

import time
from typing import Any

import msgspec

from benchsuite.simulator.asked import (
    Answer,
    Asked,
    Part,
    Refused,
    chat_words,
    decoded,
    known,
    room,
    texts,
    tool_words,
    words,
)
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Varies, Vocabulary, encode, named_event
from benchsuite.simulator.dialects import openai_errors
from benchsuite.simulator.dialects.timings import told
from benchsuite.simulator.engines import ENGINES
from benchsuite.simulator.http import Page
from benchsuite.simulator.shaped import fitting

_PADDING = "0123456789abcdef"
_OPENING_EVENTS, _HIDDEN_EVENTS, _TURN_EVENTS = 4, 6, 5


class _Item(msgspec.Struct, gc=False):
    content: str | list[Part] | None = None
    output: str | None = None
    arguments: str | None = None


class _Reasoning(msgspec.Struct, gc=False):
    effort: str | None = None
    summary: str | None = None


class _StreamOptions(msgspec.Struct, gc=False):
    include_obfuscation: bool | None = None


class _CacheOptions(msgspec.Struct, gc=False):
    mode: str = "implicit"


class _Format(msgspec.Struct, gc=False):
    schema: Any = None


class _Text(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Body(msgspec.Struct, gc=False):
    input: str | list[_Item]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    reasoning: _Reasoning | None = None
    prompt_cache_options: _CacheOptions | None = None
    text: _Text | None = None
    tools: list[Any] | None = None


_BODY = msgspec.json.Decoder(_Body)


class Responses(Api):
    """Forms `padded`, and `summary`: reasoning comes as its summary."""

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._engine = ENGINES[config.engine]
        self._words = Vocabulary(config)
        self._text = self._words.text
        self._created = int(time.time())

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A text or items."""
        config = self._config
        said = decoded(_BODY, incoming.body)
        model = known(config, said.model)
        items = (
            [(said.input,)]
            if isinstance(said.input, str)
            else [(*texts(item.content), item.output or "", item.arguments or "") for item in said.input]
        )
        template = [""] * config.template_tokens + tool_words(said.tools)
        prompt = template + words([said.instructions or ""]) + chat_words(config, items)
        schema = said.text.format.schema if said.text and said.text.format else None
        reasoning, options = said.reasoning or _Reasoning(), said.stream_options or _StreamOptions()
        own = config.engine == "openai"
        forms: tuple[str, ...] = ("padded",) if own and options.include_obfuscation is not False else ()
        if reasoning.summary:
            forms += ("summary",)
        cache_options = said.prompt_cache_options
        return Asked(
            kind=kind,
            model=model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=room(config, len(prompt), said.max_output_tokens, "max_output_tokens"),
            stream=bool(said.stream),
            forms=forms,
            cache=cache_options is None or cache_options.mode != "explicit",
            reasoning=config.reasoning_tokens if reasoning.effort != "none" else 0,
            shown=not own or bool(reasoning.summary),
            said=fitting(schema) if schema else (),
        )

    def varies(self, asked: Asked) -> Varies:
        """Events are numbered."""
        return "number"

    def headers(self, asked: Asked) -> str:
        """The request's name."""
        return "x-request-id: req_sim\r\n" if self._config.engine == "openai" else ""

    # ------------------------------------------------------------ streams

    def opening(self, answer: Answer) -> bytes:
        """The answer begins, and with it its first item; hidden reasoning is an item without text."""
        asked = answer.asked
        begun = {"response": self._response(answer, "in_progress")}
        data = named_event("response.created", begun | {"sequence_number": 0})
        data += named_event("response.in_progress", begun | {"sequence_number": 1})
        if not asked.reasoning:
            return data + self._begin("message", asked, 0, 2)
        if asked.shown:
            return data + self._begin("reasoning", asked, 0, 2)
        item = self._reasoning(answer, "")
        for number, name in ((2, "response.output_item.added"), (3, "response.output_item.done")):
            data += named_event(name, {"output_index": 0, "item": item, "sequence_number": number})
        return data + self._begin("message", asked, 1, 4)

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One delta."""
        thoughts = piece.number - piece.start // self._config.tokens_per_event
        hidden = bool(asked.reasoning) and not asked.shown
        before = _HIDDEN_EVENTS if hidden else _OPENING_EVENTS
        number = before + piece.number + (_TURN_EVENTS if piece.kind == "content" and thoughts else 0)
        data: dict[str, object] = {"delta": piece.text, "sequence_number": number}
        if piece.kind == "reasoning":
            data |= self._place("reasoning", asked, 0)
        else:
            data |= {**self._place("message", asked, int(thoughts > 0 or hidden)), "logprobs": []}
        if "padded" in asked.forms:
            data["obfuscation"] = _PADDING[: 1 + len(piece.text) % len(_PADDING)]
        return named_event(self._name(piece.kind, asked, "delta"), data)

    def turn(self, answer: Answer) -> bytes:
        """One item ends and the next begins."""
        size = self._config.tokens_per_event
        number = _OPENING_EVENTS + -(-answer.reasoning // size)
        data = self._end("reasoning", answer, 0, number, "completed")
        return data + self._begin("message", answer.asked, 1, number + 3)

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last delta, the end of its item, the whole answer once more."""
        last = self.event(answer.asked, piece, answer)
        number = _number(last) + 1
        status = "completed" if answer.stopped else "incomplete"
        what = "reasoning" if piece.kind == "reasoning" else "message"
        index = int(bool(answer.asked.reasoning) and what == "message")
        end = self._end(what, answer, index, number, status)
        over = {"response": self._response(answer, status), "sequence_number": number + 3}
        return [last, end, named_event(f"response.{status}", over)]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """An error event."""
        number = _number(self.event(answer.asked, piece, answer))
        return named_event(
            "error",
            {"code": "server_error", "message": "simulated error", "param": None, "sequence_number": number},
        )

    # ------------------------------------------------------------ whole answers

    def whole(self, answer: Answer) -> Page:
        """The answer alone."""
        own = self._config.engine == "openai" and self._config.timings is not False
        headers = told("openai", answer)[1] if own else ""
        body = self._response(answer, "completed" if answer.stopped else "incomplete")
        return Page(body=encode(body), headers=self.headers(answer.asked) + headers)

    def refusal(self, refused: Refused) -> Page:
        """As chat's."""
        return openai_errors.refusal(self._engine.errors, refused, self._config)

    # ------------------------------------------------------------ parts

    def _response(self, answer: Answer, status: str) -> dict[str, object]:
        asked, over = answer.asked, status != "in_progress"
        cut = status == "incomplete"
        output: list[object] = []
        if over and answer.reasoning:
            output.append(self._reasoning(answer, self._thought(answer)))
        if over and answer.tokens > answer.reasoning:
            output.append(self._message(self._words.content(answer), status))
        return {
            "id": "resp_sim",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": None,
            "max_output_tokens": asked.output_tokens,
            "model": asked.model,
            "output": output,
            "parallel_tool_calls": True,
            "service_tier": "default",
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
            "usage": self._usage(answer) if over and self._config.usage else None,
        }

    def _usage(self, answer: Answer) -> dict[str, object]:
        prompt = answer.asked.prompt_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": answer.written},
            "output_tokens": answer.tokens,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning},
            "total_tokens": prompt + answer.tokens,
        }

    def _thought(self, answer: Answer) -> str:
        return self._text(0, answer.reasoning) if answer.asked.shown else ""

    def _message(self, text: str, status: str) -> dict[str, object]:
        part = [{"type": "output_text", "text": text, "annotations": []}] if text else []
        return {"id": "msg_sim", "type": "message", "role": "assistant", "status": status, "content": part}

    def _reasoning(self, answer: Answer, text: str) -> dict[str, object]:
        item: dict[str, object] = {"id": "rs_sim", "type": "reasoning", "summary": []}
        if text and "summary" in answer.asked.forms:
            item["summary"] = [{"type": "summary_text", "text": text}]
        elif text:
            item["content"] = [{"type": "reasoning_text", "text": text}]
        return item

    def _name(self, kind: str, asked: Asked, what: str) -> str:
        if kind in ("content", "message"):
            return f"response.output_text.{what}"
        summary = "summary_" if "summary" in asked.forms else ""
        return f"response.reasoning_{summary}text.{what}"

    def _place(self, what: str, asked: Asked, index: int) -> dict[str, object]:
        within = "summary_index" if what == "reasoning" and "summary" in asked.forms else "content_index"
        return {"item_id": "rs_sim" if what == "reasoning" else "msg_sim", "output_index": index, within: 0}

    def _part(self, what: str, asked: Asked, text: str) -> tuple[str, dict[str, Any]]:
        """The name of a part's events, and the part."""
        if what == "message":
            return "response.content_part", {"type": "output_text", "text": text, "annotations": []}
        if "summary" in asked.forms:
            return "response.reasoning_summary_part", {"type": "summary_text", "text": text}
        return "response.content_part", {"type": "reasoning_text", "text": text}

    def _begin(self, what: str, asked: Asked, index: int, number: int) -> bytes:
        empty = Answer(asked=asked, tokens=0, reasoning=0)
        item = self._message("", "in_progress") if what == "message" else self._reasoning(empty, "")
        name, part = self._part(what, asked, "")
        added = {"output_index": index, "item": item, "sequence_number": number}
        data = named_event("response.output_item.added", added)
        place = self._place(what, asked, index)
        return data + named_event(f"{name}.added", {**place, "part": part, "sequence_number": number + 1})

    def _end(self, what: str, answer: Answer, index: int, number: int, status: str) -> bytes:
        asked = answer.asked
        text = self._thought(answer)
        if what == "message":
            text = self._words.content(answer)
        place = self._place(what, asked, index)
        done = {**place, "text": text, "sequence_number": number}
        if what == "message":
            done["logprobs"] = []
        data = named_event(self._name(what, asked, "done"), done)
        name, part = self._part(what, asked, text)
        data += named_event(f"{name}.done", {**place, "part": part, "sequence_number": number + 1})
        item = self._message(text, status) if what == "message" else self._reasoning(answer, text)
        item_done = {"output_index": index, "item": item, "sequence_number": number + 2}
        return data + named_event("response.output_item.done", item_done)


def _number(event: bytes) -> int:
    return int(msgspec.json.decode(event.partition(b"data: ")[2])["sequence_number"])
