"""One row of a dataset as an item: a prompt, what is known of its answer, in the shapes that people have."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Message
from benchsuite.workload.draw import Item

PROMPTS: Final = ("prompt", "question", "instruction", "text")
"""Columns that hold a prompt, the first that a row has; `instruction` may have an `input` beside it."""
ANSWERS: Final = ("expected", "answer")
"""Columns that hold the right answer: a text, or any JSON value."""
BYTES_PER_TOKEN: Final = 4
"""What a token of an answer is taken for, where only its text is known."""

_HUMANS: Final = {
    "human": "user",
    "user": "user",
    "system": "system",
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "assistant"), "assistant"),
}
_ROLES: Final = {role: role for role in get_args(Message.__annotations__["role"])} | {"developer": "system"}


class NoPromptError(UsageError):
    """A conversation in which nobody asks anything: ShareGPT's files have some, which are left out."""


def item(
    row: Mapping[str, Any], where: str, *, column: str = "", shape: str = "", answers: bool = True
) -> Item:
    """The item of a row; `where` names its file and line in a UsageError, which quotes nothing of the row.

    `column`: the one that holds the prompt; `shape` `openai` or `sharegpt`: what the row has to be; else seen
    from its columns. `answers` False: right answers aren't kept.
    """
    said = ""
    seen = "openai" if "messages" in row else "sharegpt" if "conversations" in row else ""
    kind = "" if column else shape or seen
    if kind == "openai":
        messages, said = _openai(row.get("messages"), where)
    elif kind == "sharegpt":
        messages, said = _sharegpt(row.get("conversations"), where)
    else:
        messages = _plain(row, where, column)
    expected = _expected(row) or said
    return Item(
        messages=messages,
        expected=expected if answers else "",
        tools=_tools(row.get("tools"), where),
        prompt_tokens=_count(row, "prompt_tokens", where),
        output_tokens=_count(row, "output_tokens", where) or -(-len(said.encode()) // BYTES_PER_TOKEN),
    )


def _plain(row: Mapping[str, Any], where: str, column: str) -> tuple[Message, ...]:
    """A prompt in a column of its own, with the system's words beside it where there are any."""
    name = column or next((name for name in PROMPTS if row.get(name)), "")
    text = row.get(name)
    if text is None or text == "":
        known = f"a column {column!r}" if column else f"one of the columns {', '.join(PROMPTS)}"
        raise UsageError(f"{where} has no prompt: it takes {known}, messages or conversations")
    if not isinstance(text, str):
        raise UsageError(f"{where}: its {name} must be text (a list of messages is called messages)")
    if name == "instruction" and isinstance(row.get("input"), str) and row["input"]:
        text = f"{text}\n\n{row['input']}"
    system = row.get("system")
    if system is None or system == "":
        return (Message(role="user", content=text),)
    if not isinstance(system, str):
        raise UsageError(f"{where}: its system must be text")
    return Message(role="system", content=system), Message(role="user", content=text)


def _expected(row: Mapping[str, Any]) -> str:
    """The right answer; JSON values as JSON."""
    value = next((row[name] for name in ANSWERS if row.get(name) is not None), "")
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _listed(value: Any, name: str, where: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects, which a table of text (CSV) has as JSON."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            value = None
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise UsageError(f"{where}: its {name} must be a list of objects")
    return value


def _openai(value: Any, where: str) -> tuple[tuple[Message, ...], str]:
    """Messages in the OpenAI form; an assistant's at the end are no part of the prompt but its answer."""
    found = [_message(one, where) for one in _listed(value, "messages", where)]
    return _asked(found, where)


def _message(one: Mapping[str, Any], where: str) -> Message:
    role = _ROLES.get(str(one.get("role")))
    if role is None:
        raise UsageError(f"{where}: a message's role must be {', '.join(_ROLES)}")
    content, parts = one.get("content"), ""
    if isinstance(content, list):
        if not content or not all(
            isinstance(part, dict) and isinstance(part.get("type"), str) for part in content
        ):
            raise UsageError(f"{where}: a message's content must be text or a list of parts with a type each")
        only = content[0].get("text") if len(content) == 1 else None
        content, parts = (only, "") if isinstance(only, str) else ("", _json(_without_nulls(content)))
    calls = one.get("tool_calls")
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise UsageError(f"{where}: a message's content must be text or a list of parts with a type each")
    if calls and not isinstance(calls, list):
        raise UsageError(f"{where}: a message's tool_calls must be a list")
    return Message(
        role=role,
        content=content,
        parts=parts,
        tool_calls=_json(_without_nulls(calls)) if calls else "",
        tool_call_id=str(one.get("tool_call_id") or ""),
    )


def _sharegpt(value: Any, where: str) -> tuple[tuple[Message, ...], str]:
    """The first turn of a human, with the system's words before it; the turn after it is its answer."""
    found: list[Message] = []
    for one in _listed(value, "conversations", where) if value else ():
        role, text = _HUMANS.get(str(one.get("from"))), one.get("value")
        if role is None or not isinstance(text, str):
            raise UsageError(f"{where}: a turn has from (human, gpt or system) and a text as its value")
        # What comes before the human, such as a greeting, answers nothing.
        if role == "assistant" and not any(each.role == "user" for each in found):
            continue
        if role == "user" and any(each.role == "user" for each in found):
            break
        found.append(Message(role=role, content=text))  # type: ignore[arg-type]
        if role == "assistant":
            break
    if not any(one.role == "user" and one.content for one in found):
        raise NoPromptError(f"{where} has no prompt: it takes a turn of the human's")
    return _asked(found, where)


def _asked(found: Sequence[Message], where: str) -> tuple[tuple[Message, ...], str]:
    """What is asked, and what was answered."""
    last = len(found)
    while last and found[last - 1].role == "assistant":
        last -= 1
    messages = tuple(found[:last])
    if not any(each.role in {"user", "tool"} and (each.content or each.parts) for each in messages):
        raise UsageError(f"{where} has no prompt: it takes a turn of the user's")
    return messages, found[last].content if last < len(found) else ""


def _tools(value: Any, where: str) -> str:
    return _json(_without_nulls(_listed(value, "tools", where))) if value else ""


def _count(row: Mapping[str, Any], name: str, where: str) -> int:
    """A number of tokens; 0: it isn't there."""
    value = row.get(name)
    if value is None or value == "":
        return 0
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        count = 0
    if isinstance(value, bool) or not 0 < count < 2**31 or (isinstance(value, float) and count != value):
        raise UsageError(f"{where}: its {name} must be a whole number, 1 or more")
    return count


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _without_nulls(value: Any) -> Any:
    """A table has every member of its rows' objects, null where a row has none."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
