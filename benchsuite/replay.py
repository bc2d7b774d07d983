"""What a run says beforehand of bodies that it sends word for word."""

import msgspec

from benchsuite.target import Resolved, Tell
from benchsuite.types import Message, Request, Stage, Workload
from benchsuite.workload.bodies import Lines


def tell_bodies(who: Resolved, workload: Workload, bodies: Lines, tell: Tell) -> None:
    """How many there are, whether some are sent again, ask for no stream or for another model, a line each.

    What the driver itself refuses (a model that it has to be told) is refused here, before anything is sent.
    """
    facts, asks = bodies.facts, _asks_for_a_stream(who)
    text = f"sending the {facts.number:,} bodies of {facts.name} word for word, in their order"
    asked = (workload.requests or 0) * workload.trials
    if asked > facts.number:
        text += f", and from the first again: {asked:,} requests are asked for"
    elif workload.requests is None:
        text += ", and from the first again if there is time"
    tell(Stage(name="fit", text=text))
    if bodies.models - {who.target.model} and who.target.model:
        named = ", ".join(sorted(bodies.models))
        text = f"the bodies name {named}; the run is kept as {who.target.model}, which --model changes"
        tell(Stage(name="fit", text=text))
    if bodies.unstreamed and asks:
        some = bodies.unstreamed < facts.number
        which = f"{bodies.unstreamed:,} of them don't" if some else "none of them does"
        text = f'{which} say "stream": true: without it answers come whole and have no TTFT'
        tell(Stage(name="fit", text=text))


def _asks_for_a_stream(who: Resolved) -> bool:
    """Is it the body that asks this backend for a stream? Elsewhere the path does, or it is the default."""
    try:
        own = msgspec.json.decode(who.driver.encode(placeholder(), who.target).body)
    except msgspec.DecodeError:
        return False
    return isinstance(own, dict) and own.get("stream") is True


def placeholder() -> Request:
    """A request of the least kind, for what a driver says besides its body."""
    return Request(
        index=0,
        phase="warm_up",
        messages=(Message(role="user", content=""),),
        max_output_tokens=1,
        min_output_tokens=1,
        cache="cold",
    )
