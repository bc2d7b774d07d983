"""Messages taken apart: their text, images and tool calls, for dialects that write each in their own way."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Message

_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


class Image(NamedTuple):
    """An image: its URL, and of a data URL the media type and the base64 text, else both empty."""

    url: str
    media: str
    data: str

    def inline(self, door: str) -> "Image":
        """The image itself; a UsageError where only its address is known, which `door` doesn't follow."""
        if not self.data:
            raise UsageError(f"{door} fetches no images: give them as data URLs (data:image/png;base64,…)")
        return self


class ToolCall(NamedTuple):
    """A call that the assistant made; `arguments` is JSON."""

    id: str
    name: str
    arguments: str


def pieces(message: Message) -> list[str | Image]:
    """Texts and images in their order; a UsageError for a part of any other type."""
    if not message.parts:
        return [message.content] if message.content else []
    found: list[str | Image] = []
    for part in _listed(message.parts, "parts"):
        kind, image = part.get("type"), part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if kind == "text" and isinstance(part.get("text"), str):
            found.append(part["text"])
        elif kind == "image_url" and isinstance(url, str):
            inline = _DATA.fullmatch(url)
            found.append(Image(url, inline[1] if inline else "", inline[2] if inline else ""))
        else:
            raise UsageError(f"a message's parts are text and image_url, not {kind!r}")
    return found


def text(message: Message) -> str:
    """All of its text, images left out."""
    if not message.parts:
        return message.content
    return "\n\n".join(piece for piece in pieces(message) if isinstance(piece, str))


def images(messages: Iterable[Message]) -> list[Image]:
    """All images of some messages."""
    return [piece for one in messages if one.parts for piece in pieces(one) if isinstance(piece, Image)]


def prompt(messages: Iterable[Message]) -> str:
    """All texts as one prompt, a blank line between them."""
    return "\n\n".join(text(message) for message in messages)


def tool_calls(message: Message) -> list[ToolCall]:
    """The calls of an assistant's message."""
    found = []
    for call in _listed(message.tool_calls, "tool_calls") if message.tool_calls else ():
        function = call.get("function")
        said = function if isinstance(function, dict) else {}
        arguments = said.get("arguments", "{}")
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        found.append(ToolCall(str(call.get("id") or ""), str(said.get("name") or ""), arguments or "{}"))
    return found


def names_of_calls(messages: Iterable[Message]) -> dict[str, str]:
    """Which tool each call asked for, by the call's id."""
    return {call.id: call.name for message in messages for call in tool_calls(message)}


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as an object; empty where they are none."""
    try:
        found = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def chat(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The OpenAI form, parts and calls untouched."""
    return [_chat(message) for message in messages]


def _chat(message: Message) -> dict[str, Any]:
    if not (message.parts or message.tool_calls or message.tool_call_id):
        return {"role": message.role, "content": message.content}
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.parts:
        said["content"] = msgspec.Raw(message.parts.encode())
    if message.tool_calls:
        said["content"] = message.content or None
        said["tool_calls"] = msgspec.Raw(message.tool_calls.encode())
    if message.tool_call_id:
        said["tool_call_id"] = message.tool_call_id
    return said


def _listed(text: str, what: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        raise UsageError(f"a message's {what} are not a JSON list of objects") from None
