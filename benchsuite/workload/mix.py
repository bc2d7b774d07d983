"""What a workload asks of every request besides its text: form, tools, further members, and a model by share.

Here alone, whatever the prompts are made of. The model follows from the seed and the request's place, so
that it is the same for any number of workers, and for all turns of a conversation.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate

import msgspec

from benchsuite.types import Request, Share, Workload
from benchsuite.workload import agent
from benchsuite.workload.draw import Draw, number

_FINE = 2**256
_NAMED = 3
"""So many tools are named, of more only their number is."""


def mixed(draw: Draw, requests: Iterator[Request]) -> Iterator[Request]:
    """The requests with what the workload asks of each, streamed as the point says."""
    workload, point = draw.workload, draw.point
    if workload.bodies is not None:
        return requests
    asks, model = dressed(workload), _model(draw)
    if not (asks or model) and point.stream:
        return requests

    def made(request: Request) -> Request:
        changes = asks | {"stream": point.stream}
        if model:
            changes["model"] = model(request)
        if ends_by_itself(workload):
            changes["min_output_tokens"] = 1
        return msgspec.structs.replace(request, **changes)

    return map(made, requests)


def dressed(workload: Workload) -> dict[str, object]:
    """What each request of a workload says besides its text and model, probes of lengths among them."""
    asks = {name: getattr(workload, name) for name in ("json_schema", "tools", "extra", "reasoning")}
    if workload.tool_turns and not workload.tools:
        asks["tools"] = agent.TOOLS
    return {name: value for name, value in asks.items() if value}


def told(workload: Workload) -> tuple[str, ...]:
    """The same in words, a few each: form, tools, further members by name, models with their shares."""
    found = ["JSON of a schema"] if workload.json_schema else []
    if workload.tools.startswith("["):
        tools = msgspec.json.decode(workload.tools)
        names = ", ".join(map(agent.named, tools))
        found.append(f"tools {names}" if len(tools) <= _NAMED else f"{len(tools)} tools")
    elif workload.tools:
        found.append(f"the tools of {workload.tools}")
    if workload.extra.startswith("{"):
        found.append(f"with {', '.join(msgspec.json.decode(workload.extra))}")
    whole = sum(one.share for one in workload.mix)
    found += [f"{one.model} {100 * one.share / whole:.3g} %" for one in workload.mix]
    return tuple(found)


def ends_by_itself(workload: Workload) -> bool:
    """Has an answer an end of its own, so that no length is forced: once its JSON or its call is whole?"""
    return bool(workload.json_schema or workload.tools)


def _model(draw: Draw) -> Callable[[Request], str] | None:
    """Which model a request is for; None: all are the target's."""
    shares: tuple[Share, ...] = draw.workload.mix
    if not shares:
        return None
    bounds = list(accumulate(one.share for one in shares))
    names = [one.model for one in shares]

    def model(request: Request) -> str:
        talk = request.conversation
        which = f"{request.index}" if talk is None else f"conversation {talk}"
        at = number(f"mix {draw.seed} {draw.place} {which}") / _FINE * bounds[-1]
        return names[min(bisect_right(bounds, at), len(names) - 1)]

    return model
