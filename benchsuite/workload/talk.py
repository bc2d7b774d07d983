"""The words about conversations: what goes together, what replaces what, and how they are told to people."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from benchsuite.errors import UsageError
from benchsuite.types import Spread, Workload
from benchsuite.workload.faults import at
from benchsuite.workload.spreads import described, mean

USER_TOKENS: Final = 64
"""What a later turn adds where a number of turns is asked for and nothing else."""

CACHING: Final = "each conversation begins with words of its own; its later turns may find its earlier ones"
"""What a cold cache is to conversations."""

_ALONE: Final[Mapping[str, Any]] = MappingProxyType(
    {"user_tokens": 0, "think_s": 0.0, "replies": "fixed", "tool_turns": False}
)
"""The fields of a workload whose requests stand alone."""


def exchanged(workload: Workload, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What the given changes replace besides themselves: without turns there is nothing else about them."""
    turns = changes.get("turns", workload.turns)
    if changes.get("dataset") is not None and "turns" not in changes:
        turns = 1
    if turns == 1:
        return {"turns": 1} | {name: value for name, value in _ALONE.items() if name not in changes}
    if "turns" in changes and not workload.user_tokens and "user_tokens" not in changes:
        return {"user_tokens": USER_TOKENS}
    return {}


def check(workload: Workload, where: str) -> None:
    """What makes no sense of a conversation: UsageError."""
    if workload.turns == 1:
        for name, value in _ALONE.items():
            if getattr(workload, name) != value:
                named = {"think_s": "think_seconds" if where else "think"}.get(name, name)
                raise UsageError(
                    f"{at(where, '[conversation]')}{named} goes with turns: say how many a conversation has"
                )
        return
    if not workload.user_tokens:
        raise UsageError(
            f"{at(where, '[conversation]')}turns go with user_tokens: say how many each later turn adds"
        )
    for name, there in (("a dataset", workload.dataset), ("a batch API", workload.batch)):
        if there:
            raise UsageError(
                f"{at(where, '[conversation] turns:')}{name} has single requests, no conversations: "
                "leave turns out"
            )
    if workload.tool_turns and workload.replies == "real":
        begin = at(where, "[conversation]")
        raise UsageError(f'{begin}tool_turns plan the calls of the assistant themselves: replies are "fixed"')


def told(workload: Workload) -> str:
    """The conversation in a few words, e.g. `5 turns, each later one with 64 tokens more`; empty: none."""
    if workload.turns == 1:
        return ""
    more = described(workload.user_tokens)
    text = f"{described(workload.turns)} turns, each later one with {more} tokens more"
    if isinstance(workload.think_s, Spread) or workload.think_s:
        text += f" after {described(workload.think_s)} s of thinking"
    if workload.tool_turns:
        return f"{text}, which tools give"
    return f"{text}, with the server's own answers" if workload.replies == "real" else text


def explained(workload: Workload) -> str:
    """The same at length, for a workload's card; empty: there is none."""
    if workload.turns == 1:
        return ""
    if workload.replies == "real":
        answers = "each prompt quotes the server's own answers, so prompts differ from server to server"
    elif workload.tool_turns:
        answers = "what the assistant calls is planned, so that prompts are the same on every server"
    else:
        answers = "what the assistant has said is planned, so that prompts are the same on every server"
    return f"{told(workload)}; {answers}"


def spaced(workload: Workload, load: str) -> str:
    """A load in words, where it is one of conversations: slots hold them, and rates count them."""
    return load if mean(workload.turns) == 1 else f"{load}; slots hold, and rates count, conversations"
