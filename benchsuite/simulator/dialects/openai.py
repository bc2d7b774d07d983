"""OpenAI's chat and completions, as each engine speaks them."""

import time
from typing import Any, Final

import msgspec

from benchsuite.simulator.asked import (
    Answer,
    Asked,
    Message,
    Refused,
    call_texts,
    chat_words,
    decoded,
    known,
    room,
    texts,
    tool_words,
)
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.dialect import Api, Piece, Varies, Vocabulary, encode
from benchsuite.simulator.dialects import openai_errors
from benchsuite.simulator.dialects.timings import told
from benchsuite.simulator.engines import ENGINES
from benchsuite.simulator.http import Page
from benchsuite.simulator.shaped import called, fitting

_MOST_CHUNKS: Final = 8192
_PADDING: Final = "0123456789abcdef"


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class _Thinking(msgspec.Struct, gc=False):
    enable_thinking: bool | None = None
    thinking: bool | None = None
    enabled: bool | None = None
    effort: str | None = None


class _CacheOptions(msgspec.Struct, gc=False):
    mode: str = "implicit"


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    cache_prompt: bool | None = None
    cache_salt: str | None = None
    prompt_cache_options: _CacheOptions | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    generation_config: str | dict[str, Any] | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    reasoning: _Thinking | None = None
    chat_template_kwargs: _Thinking | None = None
    think: bool | str | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None


class _Chat(_Body, kw_only=True, gc=False):
    messages: list[Message]


class _Completion(_Body, kw_only=True, gc=False):
    prompt: str | list[Any]


_CHAT = msgspec.json.Decoder(_Chat)
_COMPLETION = msgspec.json.Decoder(_Completion)


class OpenAI(Api):
    """Kinds `chat` and `text`; forms `continuous` (usage in every chunk) and `padded`."""

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self._engine = ENGINES[config.engine]
        self._words = Vocabulary(config)
        self._text = self._words.text
        self._created = int(time.time())
        self._chunks: dict[tuple[object, ...], bytes] = {}
        self._tells = self._engine.timings if config.timings is None else config.timings

    # ------------------------------------------------------------ in

    def read(self, incoming: Incoming, kind: str, found: dict[str, str]) -> Asked | Page:
        """A chat or a prompt."""
        config, chat = self._config, kind == "chat"
        body = incoming.body
        said: _Chat | _Completion = decoded(_CHAT, body) if chat else decoded(_COMPLETION, body)
        self._refuse_unknown(said)
        model = known(config, said.model)
        template = [""] * config.template_tokens
        if isinstance(said, _Chat):
            chat_of = [(*texts(one.content), *call_texts(one.tool_calls)) for one in said.messages]
            prompt = template + tool_words(said.tools) + chat_words(config, chat_of)
        else:
            prompt = _plain(said.prompt, template)
        limit = said.max_tokens if said.max_completion_tokens is None else said.max_completion_tokens
        if config.engine == "ollama":
            # Cut without a word, as at its own door; here nobody can ask for another context.
            prompt = prompt[-min(config.num_ctx, config.context_tokens) :]
        tokens = room(config, len(prompt), limit)
        options = said.stream_options or _StreamOptions()
        cached = said.cache_prompt is not False
        if said.prompt_cache_options and said.prompt_cache_options.mode == "explicit":
            cached = False
        return Asked(
            kind=kind,
            model=model,
            prompt=prompt if config.prefix_cache else [],
            prompt_tokens=len(prompt),
            output_tokens=tokens,
            stream=bool(said.stream),
            forms=self._forms(options),
            include_usage=config.usage and bool(options.include_usage),
            cache=cached,
            salt=said.cache_salt or "",
            reasoning=config.reasoning_tokens if chat and _thinks(said) else 0,
            shown=bool(self._engine.thought),
            exact=self._engine.forces and _exact(said, tokens),
            **self._form(said),
        )

    def _form(self, said: _Body) -> dict[str, Any]:
        """A tool to be called, or the text that fits a schema, where either is asked for."""
        tool, arguments = called(said.tools) if self._config.tool_calls else ("", ())
        if tool:
            return {"tool": tool, "said": arguments}
        form = said.response_format or {}
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else form.get("value")
        return {"said": fitting(schema)} if schema else {}

    def _refuse_unknown(self, said: _Body) -> None:
        for field in self._engine.unknown:
            if getattr(said, field, None) is not None:
                raise Refused("invalid", f"Unrecognized request argument supplied: {field}")

    def _forms(self, options: _StreamOptions) -> tuple[str, ...]:
        forms: tuple[str, ...] = ()
        if options.continuous_usage_stats and options.include_usage and self._config.usage:
            forms += ("continuous",)
        if self._config.engine == "openai" and options.include_obfuscation is not False:
            forms += ("padded",)
        return forms

    # ------------------------------------------------------------ out

    def varies(self, asked: Asked) -> Varies:
        """The text alone, but for running counts."""
        return "answer" if "continuous" in asked.forms else "text"

    def headers(self, asked: Asked) -> str:
        """OpenAI names its version and the request."""
        return _OWN_HEADERS if self._config.engine == "openai" else ""

    def comment(self, asked: Asked) -> bytes:
        """MLX tells how far the prompt is."""
        return b": keepalive 1/1\n\n" if self._config.engine == "mlx" else b": keep-alive\n\n"

    def opening(self, answer: Answer) -> bytes:
        """The chunk that only says who speaks."""
        role = self._engine.role
        if answer.asked.kind != "chat" or not role or self._config.role_chunk == "none":
            return b""
        usage = self._usage(answer, 0) if "continuous" in answer.asked.forms else None
        return self._chunk(answer.asked, f'"delta":{role}', None, usage)

    def event(self, asked: Asked, piece: Piece, answer: Answer | None) -> bytes:
        """One chunk."""
        return self._token(asked, piece, None, answer)

    def final(self, answer: Answer, piece: Piece) -> list[bytes]:
        """The last token, the finish reason, usage where it was asked for, `[DONE]`."""
        asked, engine = answer.asked, self._engine
        finish = _finish(answer)
        parts = [self._token(asked, piece, finish if engine.finish == "last" else None, answer)]
        usage = self._usage(answer, answer.tokens)
        if engine.finish == "own":
            each = engine.each.rstrip(",") if asked.kind == "chat" else ""
            empty = f'"delta":{{{each}}}' if asked.kind == "chat" else '"text":""'
            with_it = usage if engine.usage == "finish" and self._config.usage else None
            parts.append(self._chunk(asked, empty, finish, with_it, self._timings(answer, asked)))
        if asked.include_usage and engine.usage == "own":
            data = f'{self._head(asked)}"choices":[],"usage":{encode(usage).decode()}'
            parts.append(f"data: {data}{self._own_timings(answer)}}}\n\n".encode())
        if engine.done:
            parts.append(b"data: [DONE]\n\n")
        return parts

    def broken(self, answer: Answer, piece: Piece) -> bytes:
        """A chunk that holds an error."""
        done = b"data: [DONE]\n\n" if self._engine.done else b""
        return b"data: " + openai_errors.midstream(self._engine.errors) + b"\n\n" + done

    def whole(self, answer: Answer) -> Page:
        """An answer in one piece."""
        asked, engine = answer.asked, self._engine
        end = {"logprobs": None, "finish_reason": _finish(answer)}
        text = self._words.content(answer)
        if asked.kind == "chat":
            message: dict[str, object] = {"role": "assistant", "content": text}
            if asked.tool:
                message |= {"content": None, "tool_calls": [_call(asked.tool, text)]}
            if answer.reasoning:
                message |= dict.fromkeys(engine.thought, self._text(0, answer.reasoning))
            choice: dict[str, object] = {"index": 0, "message": message, **end}
        else:
            choice = {"index": 0, "text": text, **end}
        body: dict[str, object] = {
            "id": "chatcmpl-sim" if asked.kind == "chat" else "cmpl-sim",
            "object": "chat.completion" if asked.kind == "chat" else "text_completion",
            "created": self._created,
            "model": asked.model,
            "choices": [choice],
        }
        if self._config.usage:
            body["usage"] = self._usage(answer, answer.tokens)
        headers = ""
        if self._tells:
            more, headers = told(self._config.engine, answer)
            body |= more
        return Page(body=encode(body), headers=self.headers(asked) + headers)

    def refusal(self, refused: Refused) -> Page:
        """In the engine's shape."""
        return openai_errors.refusal(self._engine.errors, refused, self._config)

    # ------------------------------------------------------------ parts

    def _head(self, asked: Asked) -> str:
        chat = asked.kind == "chat"
        identity, kind = (
            ("chatcmpl-sim", "chat.completion.chunk") if chat else ("cmpl-sim", "text_completion")
        )
        model = encode(asked.model).decode()
        return f'{{"id":"{identity}","object":"{kind}","created":{self._created},"model":{model},'

    def _token(self, asked: Asked, piece: Piece, finish: str | None, answer: Answer | None) -> bytes:
        text = encode(piece.text).decode()
        if asked.tool and piece.kind == "content":
            call = _call(asked.tool if piece.start == 0 else "", piece.text)
            said = f'"delta":{{{self._engine.each}"tool_calls":{encode([{"index": 0, **call}]).decode()}}}'
        elif asked.kind == "chat":
            names = self._engine.thought if piece.kind == "reasoning" else ("content",)
            said = ",".join(f'"{name}":{text}' for name in names)
            said = f'"delta":{{{self._engine.each}{said}}}'
        else:
            said = f'"text":{text}'
        usage = None
        if answer is not None and "continuous" in asked.forms:
            usage = self._usage(answer, self._so_far(answer, piece))
        return self._chunk(asked, said, finish, usage)

    def _so_far(self, answer: Answer, piece: Piece) -> int:
        before = answer.reasoning if piece.kind == "content" else 0
        return before + piece.start + piece.size

    def _chunk(
        self, asked: Asked, said: str, finish: str | None, usage: dict[str, object] | None, more: str = ""
    ) -> bytes:
        """One chunk; those without counts come again and again and are kept."""
        if usage is not None or more:
            return self._made(asked, said, finish, usage, more)
        key = (asked.kind, asked.model, asked.include_usage, asked.forms, said, finish)
        chunk = self._chunks.get(key)
        if chunk is None:
            if len(self._chunks) >= _MOST_CHUNKS:
                self._chunks.clear()
            chunk = self._chunks[key] = self._made(asked, said, finish, None, "")
        return chunk

    def _made(
        self, asked: Asked, said: str, finish: str | None, usage: dict[str, object] | None, more: str
    ) -> bytes:
        reason = f'"{finish}"' if finish else "null"
        data = f'{self._head(asked)}"choices":[{{"index":0,{said},"logprobs":null,"finish_reason":{reason}}}]'
        if usage is not None:
            data += f',"usage":{encode(usage).decode()}'
        elif self._engine.null_usage and asked.include_usage:
            data += ',"usage":null'
        if "padded" in asked.forms:
            data += f',"obfuscation":"{_PADDING[: 1 + len(said) % len(_PADDING)]}"'
        return f"data: {data}{more}}}\n\n".encode()

    def _usage(self, answer: Answer, tokens: int) -> dict[str, object]:
        prompt = answer.asked.prompt_tokens
        usage: dict[str, object] = {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
        }
        if not self._engine.details:
            return usage
        details = {"cached_tokens": answer.cached}
        if self._config.engine == "vllm":
            details["created_cache_tokens"] = answer.written
        elif self._config.engine == "openai":
            details |= {"cache_write_tokens": answer.written, "audio_tokens": 0}
        usage["prompt_tokens_details"] = details
        if self._config.engine == "sglang":
            usage["reasoning_tokens"] = min(answer.reasoning, tokens)
        elif self._config.reasoning_tokens:
            usage["completion_tokens_details"] = {"reasoning_tokens": min(answer.reasoning, tokens)}
        return usage

    def _timings(self, answer: Answer, asked: Asked) -> str:
        """Where the last chunk is the finish reason's."""
        return "" if asked.include_usage and self._engine.usage == "own" else self._own_timings(answer)

    def _own_timings(self, answer: Answer) -> str:
        more = told(self._config.engine, answer)[0] if self._tells else {}
        return "".join(f',"{name}":{encode(value).decode()}' for name, value in more.items())


_OWN_HEADERS: Final = "openai-version: 2020-10-01\r\nx-request-id: req_sim\r\n"


def _finish(answer: Answer) -> str:
    if not answer.stopped:
        return "length"
    return "tool_calls" if answer.asked.tool else "stop"


def _call(tool: str, arguments: str) -> dict[str, Any]:
    """A call, or what goes on of its arguments where its name was said before."""
    if not tool:
        return {"function": {"arguments": arguments}}
    return {"id": "call_sim", "type": "function", "function": {"name": tool, "arguments": arguments}}


def _plain(prompt: str | list[Any], template: list[str]) -> list[Any]:
    """A text, which gets the template too, a list of token ids, or a list with just one of either."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return template + prompt.split()
    if not all(type(token) is int for token in prompt):
        raise Refused("invalid", "prompt has to be one text or one list of token ids")
    return prompt


def _thinks(said: _Body) -> bool:
    """Whether reasoning isn't switched off, in any of the ways that servers have."""
    options = [one for one in (said.chat_template_kwargs, said.reasoning) if one is not None]
    off = any(
        False in (one.enable_thinking, one.thinking, one.enabled) or one.effort == "none" for one in options
    )
    return not (off or said.reasoning_effort == "none" or said.think is False)


def _exact(said: _Body, tokens: int) -> bool:
    """Whether it rules out an early end."""
    if said.ignore_eos or (said.min_tokens or 0) >= tokens:
        return True
    config = said.generation_config
    if isinstance(config, str):
        try:
            config = msgspec.json.decode(config)
        except msgspec.DecodeError:
            raise Refused("invalid", "generation_config can't be read") from None
    least = config.get("min_new_tokens") if isinstance(config, dict) else None
    return (isinstance(least, int) and least >= tokens) or any(
        bias <= -100 for bias in (said.logit_bias or {}).values()
    )
