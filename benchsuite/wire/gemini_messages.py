"""Gemini's contents: parts of text, inline images, calls of functions and their responses."""

from collections.abc import Sequence
from typing import Any

import msgspec

from benchsuite.types import Message
from benchsuite.wire import messages


def contents(talk: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages without the system's as contents; the responses to one turn's calls are one content."""
    names = messages.names_of_calls(talk)
    found: list[dict[str, Any]] = []
    before = ""
    for message in talk:
        if message.role == "tool":
            parts = [_response(message, names)]
        else:
            parts = [*map(_part, messages.pieces(message)), *map(_call, messages.tool_calls(message))]
        if message.role == before == "tool":
            found[-1]["parts"] += parts
        else:
            role = "model" if message.role == "assistant" else "user"
            found.append({"role": role, "parts": parts or [{"text": ""}]})
        before = message.role
    return found


def _part(piece: str | messages.Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece}
    image = piece.inline("Gemini")
    return {"inlineData": {"mimeType": image.media, "data": image.data}}


def _call(call: messages.ToolCall) -> dict[str, Any]:
    return {"functionCall": {"name": call.name, "args": messages.arguments_of(call)}}


def _response(message: Message, names: dict[str, str]) -> dict[str, Any]:
    """What a tool answered, which has to be an object, under the name of the function that was called."""
    text = messages.text(message)
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        said = text
    response = said if isinstance(said, dict) else {"result": said}
    return {"functionResponse": {"name": names.get(message.tool_call_id, ""), "response": response}}


def declaration(function: dict[str, Any]) -> dict[str, Any]:
    """A tool's function in Gemini's form."""
    found = {"name": function.get("name"), "description": function.get("description")}
    schema = function.get("parameters")
    return {name: value for name, value in found.items() if value} | (
        {"parametersJsonSchema": schema} if schema else {}
    )
