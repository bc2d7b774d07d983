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
    """A sound completion request. `prompt`: its words, or token ids; `template_tokens` stand before it."""

    chat: bool
    model: str
    prompt: list[Any]
    template_tokens: int
    output_tokens: int
    stream: bool
    include_usage: bool
    cache: bool

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, with the template's."""
        return len(self.prompt) + self.template_tokens


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
        raise Refused(
            404, "there is no such model here", "invalid_request_error", "model_not_found"
        )
    if isinstance(said, _Chat):
        prompt, template_tokens = _words(said.messages), config.template_tokens
    else:
        prompt, template_tokens = _plain(said.prompt, config.template_tokens)
    room = config.context_tokens - len(prompt) - template_tokens
    if room < 0:
        raise Refused(
            400,
            f"This server's context length is {config.context_tokens} tokens; "
            f"the prompt has {len(prompt) + template_tokens}.",
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
        prompt=prompt,
        template_tokens=template_tokens,
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


def _plain(prompt: str | list[Any], template_tokens: int) -> tuple[list[Any], int]:
    """A text, a list of token ids, or a list with just one of either."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt.split(), template_tokens
    if not all(type(token) is int for token in prompt):
        raise Refused(400, "prompt has to be one text or one list of token ids", "invalid_request_error")
    return prompt, 0
