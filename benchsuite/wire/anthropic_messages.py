"""Anthropic's messages: blocks of text, images, tools' calls and results, and the marks of its cache."""

from collections.abc import Sequence
from typing import Any

import msgspec

from benchsuite.types import Message, Request
from benchsuite.wire import messages

_Blocks = list[dict[str, Any]]


def of(request: Request, cache_ttl: str) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt, and the messages; what is to be cached is marked to be kept for `cache_ttl`.

    What tools answered is the user's; neighbours of them are one message, as Anthropic wants it.
    """
    system = [messages.text(one) for one in request.messages if one.role == "system"]
    control = {"type": "ephemeral", "ttl": cache_ttl}
    talk: list[dict[str, Any]] = []
    before = ""
    for message in (one for one in request.messages if one.role != "system"):
        cut = request.shared_chars if not talk and request.cache == "shared" else 0
        content = _content(message, cut, control)
        if message.role == before == "tool":
            talk[-1]["content"] += content
        else:
            talk.append({"role": "user" if message.role == "tool" else message.role, "content": content})
        before = message.role
    if request.cache == "warm" and talk:
        _mark(talk[-1], control)
    return "\n\n".join(system), talk


def _content(message: Message, cut: int, control: dict[str, str]) -> str | _Blocks:
    """A message's text alone, or its blocks; the text's first `cut` characters are marked."""
    if message.role == "tool":
        text = messages.text(message)
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": text}]
    if message.parts or message.tool_calls:
        return [*map(_block, messages.pieces(message)), *map(_use, messages.tool_calls(message))]
    text = message.content
    if not 0 < cut <= len(text):
        return text
    blocks: _Blocks = [{"type": "text", "text": text[:cut], "cache_control": control}]
    return [*blocks, {"type": "text", "text": text[cut:]}] if cut < len(text) else blocks


def _block(piece: str | messages.Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    if not piece.data:
        return {"type": "image", "source": {"type": "url", "url": piece.url}}
    source = {"type": "base64", "media_type": piece.media, "data": piece.data}
    return {"type": "image", "source": source}


def _use(call: messages.ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": messages.arguments_of(call)}


def _mark(message: dict[str, Any], control: dict[str, str]) -> None:
    """Everything up to this message's end is to be cached."""
    content = message["content"]
    if isinstance(content, str):
        if not content:
            return
        content = message["content"] = [{"type": "text", "text": content}]
    content[-1]["cache_control"] = control


def tool(function: dict[str, Any]) -> dict[str, Any]:
    """A tool in Anthropic's form."""
    found = {"name": function.get("name"), "description": function.get("description")}
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {name: value for name, value in found.items() if value} | {"input_schema": schema}


def said(blocks: Sequence[Any]) -> str:
    """The text of a whole answer's blocks, or else the tools that it calls."""
    known = [block for block in blocks if isinstance(block, dict)]
    texts = [block["text"] for block in known if isinstance(block.get("text"), str)]
    called = [
        f"{block.get('name')}{msgspec.json.encode(block.get('input')).decode()}"
        for block in known
        if block.get("type") == "tool_use"
    ]
    return "".join(texts) or "".join(called)
