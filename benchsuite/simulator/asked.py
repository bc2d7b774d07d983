"""Reads what a completion request asks for."""

from typing import Any

import msgspec

from benchsuite.simulator.config import SimConfig


class Refused(Exception):
    """A request that gets an error at once, in the words of OpenAI's API."""

    def __init__(self, status: int, message: str, kind: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sound completion request. `prompt`: its tokens, kept only where there is a prefix cache."""

    chat: bool
    model: str
    prompt: list[Any]
    prompt_tokens: int
    output_tokens: int
    stream: bool
    include_usage: bool
    cache: bool


class _Part(msgspec.Struct, gc=False):
    text: str = ""


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Body(msgspec.Struct, gc=False):
    model: str = ""
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    cache_prompt: bool | None = None


class _Chat(_Body, kw_only=True, gc=False):
    messages: list[_Message]


class _Completion(_Body, kw_only=True, gc=False):
    prompt: str | list[Any]


_CHAT = msgspec.json.Decoder(_Chat)
_COMPLETION = msgspec.json.Decoder(_Completion)


def read(body: bytes, chat: bool, config: SimConfig) -> Asked:
    """The request in `body`; raises Refused where it makes no sense or asks too much."""
    try:
        said: _Chat | _Completion = _CHAT.decode(body) if chat else _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body can't be read: {error}", "invalid_request_error") from None
    if config.strict and said.model != config.model:
        raise Refused(404, "there is no such model here", "invalid_request_error", "model_not_found")
    template = [""] * config.template_tokens
    prompt = template + _words(said.messages) if isinstance(said, _Chat) else _plain(said.prompt, template)
    room = config.context_tokens - len(prompt)
    if room < 0:
        raise Refused(
            400,
            f"This server's context length is {config.context_tokens} tokens; the prompt has {len(prompt)}.",
            "invalid_request_error",
            "context_length_exceeded",
        )
    limit = said.max_tokens if said.max_completion_tokens is None else said.max_completion_tokens
    if limit is not None and limit < 1:
        raise Refused(400, "max_tokens has to be at least 1", "invalid_request_error")
    options = said.stream_options
    return Asked(
        chat=chat,
        model=said.model or config.model,
        prompt=prompt if config.prefix_cache else [],
        prompt_tokens=len(prompt),
        output_tokens=min(limit or config.default_max_tokens, max(room, 1)),
        stream=bool(said.stream),
        include_usage=config.usage and options is not None and bool(options.include_usage),
        cache=said.cache_prompt is not False,
    )


def _words(messages: list[_Message]) -> list[str]:
    words: list[str] = []
    for message in messages:
        content = message.content
        if isinstance(content, str):
            words += content.split()
        else:
            for part in content or ():
                words += part.text.split()
    return words


def _plain(prompt: str | list[Any], template: list[str]) -> list[Any]:
    """A text, which gets the template too, a list of token ids, or a list with just one of either."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return template + prompt.split()
    if not all(type(token) is int for token in prompt):
        raise Refused(400, "prompt has to be one text or one list of token ids", "invalid_request_error")
    return prompt
