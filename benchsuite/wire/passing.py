"""What passes through to a server besides text: model, further members, form of the answer, tools, images."""

from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Request, Target
from benchsuite.wire import messages

SCHEMA_NAME: Final = "answer"
"""What a JSON schema is called where a dialect wants a name for it."""

SPOKEN: Final = {
    "stream_off": "an answer in one piece (--stream off)",
    "json_schema": "a JSON schema",
    "tools": "tools",
    "images": "images",
    "model": "model of a request's own (--mix)",
    "extra": "members of a request's own ([request] extra)",
}
"""The words of what a door may pass on, and what each is called."""


def meant(request: Request, target: Target) -> Target:
    """The target of one request: of the model that it names, with its further members in every body.

    Those of the target itself win.
    """
    if not (request.model or request.extra):
        return target
    return msgspec.structs.replace(
        target,
        model=request.model or target.model,
        extra_body=_over(msgspec.json.decode(request.extra), target.extra_body)
        if request.extra
        else target.extra_body,
    )


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both as one: `above` wins, objects in both are merged, and null still takes a field away."""
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        found[name] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def is_forced(request: Request) -> bool:
    """Is the answer to be exactly as long as asked, or may it end before?"""
    return request.min_output_tokens >= request.max_output_tokens


def endless(request: Request) -> dict[str, Any]:
    """`ignore_eos`, where the answer is to be exactly as long as asked."""
    return {"ignore_eos": True} if is_forced(request) else {}


def forced(request: Request) -> dict[str, Any]:
    """What holds an answer to its length in the OpenAI dialect of the engines; nothing where it may end."""
    return {"ignore_eos": True, "min_tokens": request.min_output_tokens} if is_forced(request) else {}


def schema_of(request: Request) -> dict[str, Any]:
    """The JSON schema of the answer."""
    found: dict[str, Any] = msgspec.json.decode(request.json_schema, type=dict[str, Any])
    return found


def named_schema(request: Request) -> dict[str, Any]:
    """The schema with a name, as OpenAI's dialects want it; strict where it has all that OpenAI asks then."""
    schema = schema_of(request)
    return {"name": SCHEMA_NAME, "schema": schema, "strict": _is_strict(schema)}


def _is_strict(schema: Any) -> bool:
    """Does every object in it say that each of its members is required, and that there are no others?"""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    members = schema.get("properties")
    if schema.get("type") == "object" or isinstance(members, dict):
        named = members if isinstance(members, dict) else {}
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != set(named):
            return False
    return all(map(_is_strict, schema.values()))


def functions_of(request: Request) -> list[dict[str, Any]]:
    """The functions of the tools: name, description, parameters; a UsageError for tools of another type."""
    found = []
    for tool in msgspec.json.decode(request.tools, type=list[dict[str, Any]]):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise UsageError('a tool has the OpenAI form {"type": "function", "function": {"name": …}}')
        found.append(function)
    return found


def wanted(request: Request) -> set[str]:
    """What it asks besides text, in the words of `SPOKEN`."""
    asked = {
        "stream_off": not request.stream,
        "json_schema": bool(request.json_schema),
        "tools": bool(request.tools) or any(one.role == "tool" or one.tool_calls for one in request.messages),
        "images": bool(messages.images(request.messages)),
    }
    return {name for name, is_so in asked.items() if is_so}


def only(request: Request, door: str, *can: str) -> None:
    """Refuse at `door` what it can't pass on: a UsageError. Whole answers are each door's own affair."""
    for name in sorted(wanted(request) - {"stream_off", *can}):
        raise UsageError(f"{door} takes no {SPOKEN[name].removeprefix('a ')}; use another --endpoint")


def accept(request: Request, streamed: str = "text/event-stream") -> str:
    """The media type of the answer."""
    return streamed if request.stream else "application/json"
