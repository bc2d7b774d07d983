"""Ollama's own API: lines of JSON, models that are loaded and pulled."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from benchsuite.simulator.asked import (
    Answer,
    Asked,
    Refused,
    call_texts,
    chat_words,
    decoded,
    image,
    tool_words,
)
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Vocabulary, encode
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.shaped import fitting

_MESSAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "overloaded": "server busy, please try again.  maximum pending requests exceeded",
        "rate_limit": "too many requests",
        "failed": "an error was encountered while running the model: simulated error",
    }
)
_DIGEST: Final = "sha256:" + "5" * 64
_SIZE_BYTES: Final = 1_000_000


class _Message(msgspec.Struct, gc=False):
    content: str = ""
    images: list[str] = []
    tool_calls: Any = None


class _Options(msgspec.Struct, gc=False):
    num_ctx: int | None = None
    num_predict: int | None = None


class _Body(msgspec.Struct, gc=False):
    model: str = ""
    messages: list[_Message] = []
    prompt: str = ""
    system: str = ""
    raw: bool = False
    stream: bool | None = None
    think: bool | str | None = None
    options: _Options | None = None
    keep_alive: float | str | None = None
    truncate: bool | None = None
    format: Any = None
    tools: list[Any] | None = None


class _Named(msgspec.Struct, gc=False):
    model: str = ""
    name: str = ""
    stream: bool | None = None


_BODY = msgspec.json.Decoder(_Body)
_NAMED = msgspec.json.Decoder(_Named)


class Ollama(Api):
    """Kinds `chat` and `generate`. Remembers which models there are, and the loaded ones' contexts."""

    media: ClassVar[str] = "application/x-ndjson"

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._words = Vocabulary(config)
        self._text = self._words.text
        self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        self.there: dict[str, None] = {named(config.model): None}
        self.loaded: dict[str, int] = {}

    # ------------------------------------------------------------ in

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A chat or a prompt; an empty one only loads the model, or unloads it."""
        config = self._config
        said = decoded(_BODY, incoming.body)
        self.check(said.model)
        options = said.options or _Options()
        context = min(options.num_ctx or config.num_ctx, config.context_tokens)
        if not (said.messages if kind == "chat" else said.prompt):
            return self._load(kind, said, context)
        load_ns = self._loading(said.model, context)
        if kind == "chat":
            asked = [
                (one.content, *map(image, one.images), *call_texts(one.tool_calls)) for one in said.messages
            ]
        else:
            asked = [(said.system, said.prompt)]
        template = [] if kind == "generate" and said.raw else [""] * config.template_tokens
        prompt = template + tool_words(said.tools) + chat_words(config, asked)
        if len(prompt) > context:
            if said.truncate is False:
                raise Refused("context", "the input length exceeds the context length", room=context)
            prompt = prompt[-context:]
        limit = options.num_predict
        return Asked(
            kind=kind,
            model=said.model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=limit if limit and limit > 0 else config.default_max_tokens,
            stream=said.stream is not False,
            reasoning=0 if said.think is False or said.raw else config.reasoning_tokens,
            load_ns=load_ns,
            said=fitting(said.format) if isinstance(said.format, dict) else (),
        )

    def check(self, model: str) -> None:
        """Refuse a model that isn't there; unless it is strict, all are."""
        if not model:
            raise Refused("invalid", "model is required")
        if self._config.strict and named(model) not in self.there:
            raise Refused("model", f"model '{model}' not found")

    def _loading(self, model: str, context: int) -> int:
        """How long it is being loaded; another context loads it anew."""
        if self.loaded.get(named(model)) == context:
            return 0
        self.loaded[named(model)] = context
        return round(self._config.load_ms * 1e6)

    def _load(self, kind: str, said: _Body, context: int) -> Page:
        unload = said.keep_alive in (0, "0", "0s")
        delay_ns = 0
        if unload:
            self.loaded.pop(named(said.model), None)
        else:
            delay_ns = self._loading(said.model, context)
        body: dict[str, object] = {"model": said.model, "created_at": self._stamp}
        body |= {"message": {"role": "assistant", "content": ""}} if kind == "chat" else {"response": ""}
        return json(body | {"done": True, "done_reason": "unload" if unload else "load"}, delay_ns=delay_ns)

    # ------------------------------------------------------------ out

    def comment(self, asked: Asked) -> bytes:
        """Lines of JSON have no comments."""
        return b""

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One line."""
        return self._line(asked, piece.text, piece.kind == "reasoning", ',"done":false')

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last token's line and the one with the counts."""
        end = "".join(f',"{name}":{encode(value).decode()}' for name, value in self._end(answer).items())
        last = self._line(answer.asked, "", False, end)
        return [self.event(answer.asked, piece, answer), last if self._config.last_newline else last[:-1]]

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """A line with an error."""
        return encode({"error": _MESSAGES["failed"]}) + b"\n"

    def whole(self, answer: Answer) -> Page:
        """Everything in one object."""
        asked = answer.asked
        text, thought = self._words.content(answer), self._text(0, answer.reasoning)
        body: dict[str, object] = {"model": asked.model, "created_at": self._stamp}
        thinking = {"thinking": thought} if thought else {}
        if asked.kind == "chat":
            body["message"] = {"role": "assistant", "content": text, **thinking}
        else:
            body |= {"response": text, **thinking}
        return json(body | self._end(answer))

    def refusal(self, refused: Refused) -> Page:
        """One field."""
        return json({"error": _MESSAGES.get(refused.reason, refused.message)}, refused.status)

    def _line(self, asked: Asked, text: str, thought: bool, end: str) -> bytes:
        said = encode(text).decode()
        chat = asked.kind == "chat"
        field = "content" if chat else "response"
        content = f'"{field}":"","thinking":{said}' if thought else f'"{field}":{said}'
        if chat:
            content = f'"message":{{"role":"assistant",{content}}}'
        model = encode(asked.model).decode()
        return f'{{"model":{model},"created_at":"{self._stamp}",{content}{end}}}\n'.encode()

    def _end(self, answer: Answer) -> dict[str, object]:
        """Nanoseconds and counts; what is nothing is left out, cached tokens are counted with the prompt."""
        times = answer.times
        tells = self._config.timings is not False
        numbers = {
            "total_duration": times.total_ns if tells else 0,
            "load_duration": times.load_ns if tells else 0,
            "prompt_eval_count": answer.asked.prompt_tokens if self._config.usage else 0,
            "prompt_eval_duration": times.prefill_ns if tells else 0,
            "eval_count": answer.tokens if self._config.usage else 0,
            "eval_duration": times.decode_ns if tells else 0,
        }
        end: dict[str, object] = {"done": True, "done_reason": "stop" if answer.stopped else "length"}
        return end | {name: value for name, value in numbers.items() if value}

    # ------------------------------------------------------------ pages

    def tags(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Models that are there."""
        return json({"models": [self._card(model) for model in self.there]})

    def ps(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Models that are loaded."""
        more = {"expires_at": "2099-01-01T00:00:00Z", "size_vram": _SIZE_BYTES}
        return json(
            {"models": [self._card(m) | more | {"context_length": n} for m, n in self.loaded.items()]}
        )

    def show(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """What is known of a model."""
        said = decoded(_NAMED, incoming.body)
        self.check(said.model or said.name)
        info = {"general.architecture": "sim", "sim.context_length": self._config.context_tokens}
        thinks = ["thinking"] if self._config.reasoning_tokens else []
        return json(
            {
                "modelfile": "",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": dict(_DETAILS),
                "model_info": info,
                "capabilities": ["completion", *thinks],
                "modified_at": self._stamp,
            }
        )

    def pull(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Download a model, which is made of nothing; one whose name has `missing` in it can't be had."""
        said = decoded(_NAMED, incoming.body)
        model = said.model or said.name
        if "missing" in model:
            if said.stream is False:
                return json({"error": "pull model manifest: file does not exist"}, 500)
            lines = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
            return Page(body=b"".join(encode(line) + b"\n" for line in lines), media=self.media)
        self.there[named(model)] = None
        if said.stream is False:
            return json({"status": "success"})
        layer = {"status": "pulling 555555555555", "digest": _DIGEST, "total": _SIZE_BYTES}
        states: list[dict[str, object]] = [
            {"status": "pulling manifest"},
            {**layer},
            {**layer, "completed": _SIZE_BYTES // 2},
            {**layer, "completed": _SIZE_BYTES},
            {"status": "verifying sha256 digest"},
            {"status": "writing manifest"},
            {"status": "success"},
        ]
        return Page(body=b"".join(encode(line) + b"\n" for line in states), media=self.media)

    def delete(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Remove a model."""
        said = decoded(_NAMED, incoming.body)
        model = named(said.model or said.name)
        if model not in self.there:
            raise Refused("model", f"model '{model}' not found")
        del self.there[model]
        self.loaded.pop(model, None)
        return Page()

    def _card(self, model: str) -> dict[str, object]:
        return {
            "name": model,
            "model": model,
            "modified_at": self._stamp,
            "size": _SIZE_BYTES,
            "digest": _DIGEST.removeprefix("sha256:"),
            "details": dict(_DETAILS),
        }


_DETAILS: Final[Mapping[str, object]] = MappingProxyType(
    {
        **{"parent_model": "", "format": "gguf", "family": "sim", "families": ["sim"]},
        **{"parameter_size": "1M", "quantization_level": "Q8_0"},
    }
)


def named(model: str) -> str:
    """A model's name with its tag, as Ollama completes it."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
