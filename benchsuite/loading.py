"""The model in place before the clock starts: downloaded where that was asked for, and loaded."""

import time
from collections.abc import Callable

import msgspec

from benchsuite.driver import Driver, LoadsModels
from benchsuite.engine.endpoint import Endpoint
from benchsuite.engine.exchange import follow
from benchsuite.errors import TargetError
from benchsuite.identify import identify, patient
from benchsuite.types import Call, Identity, Noun, Stage, Tape, Target, Timeouts

_PATIENCE = Timeouts(first_byte_s=3600.0, silence_s=600.0, total_s=86400.0)
"""Loading may take minutes without a word, a download hours."""
_ASK_EVERY_S = 1.0
_IDENTIFY_S = 10.0


class Wanted(Noun, frozen=True, kw_only=True):
    """What the model is loaded for; `pull`: it may be downloaded."""

    context_tokens: int
    slots: int
    pull: bool


class ModelTarget(Noun, frozen=True, kw_only=True):
    """A server that answers, its model, and what it said of itself before the model was loaded."""

    driver: Driver
    target: Target
    endpoint: Endpoint
    identity: Identity


def in_place(
    who: ModelTarget, wanted: Wanted, tell: Callable[[Stage], None]
) -> tuple[Identity, float | None]:
    """Load the model as `load_model` does, and ask the server once more: context and slots are then true."""
    seconds = load_model(who, wanted, tell)
    if seconds is None:
        return who.identity, None
    found = identify(who.driver, who.target, patient(who.endpoint, _IDENTIFY_S))
    slots = who.identity.slots if found.slots is None else found.slots
    version = found.version or who.identity.version
    # What we know of how it was started is not the server's to repeat.
    ours = {name: value for name, value in who.identity.details.items() if name == "image"}
    return msgspec.structs.replace(found, version=version, slots=slots, details=found.details | ours), seconds


def load_model(who: ModelTarget, wanted: Wanted, tell: Callable[[Stage], None]) -> float | None:
    """Have the server load the target's model: seconds that it took; None: there was nothing to load.

    The seconds are the server's word where it gives one, else how long its answer took. A model that it
    doesn't have is downloaded first if that is wanted. TargetError: it can't be had or can't be loaded.
    """
    driver, target = who.driver, who.target
    if not isinstance(driver, LoadsModels) or not target.model:
        return None
    call = driver.load_call(target, who.identity, wanted.context_tokens, wanted.slots)
    if call is None:
        return None
    tape = _loaded(who, call, tell)
    pulled = ""
    if driver.decode(tape).error_kind == "not_found":
        if not wanted.pull:
            raise TargetError(
                f"{driver.title} doesn't have {target.model}: `{driver.pull_command(target.model)}` gets it, "
                "and so does --pull"
            )
        pulled = _pulled(who, tell)
        tape = _loaded(who, call, tell)
    if tape.status != 200 or driver.decode(tape).error_kind:
        raise TargetError(f"{driver.title} didn't load {target.model}{pulled}: {_why(driver, tape)}")
    seconds = driver.loaded(tape)
    return (tape.end_ns - tape.sent_ns) / 1e9 if seconds is None else seconds


def _loaded(who: ModelTarget, call: Call, tell: Callable[[Stage], None]) -> Tape:
    begun = time.monotonic()
    tell(Stage(name="model", text=f"loading {who.target.model}"))

    def on_heard(_: Tape) -> None:
        tell(Stage(name="model", text=f"loading {who.target.model}, {time.monotonic() - begun:.0f} s"))

    return follow(_unhurried(who.endpoint), who.target, call, on_heard)


def _pulled(who: ModelTarget, tell: Callable[[Stage], None]) -> str:
    """Download the model; what is to be said of it should loading fail all the same."""
    driver, target, endpoint = who.driver, who.target, _unhurried(who.endpoint)
    assert isinstance(driver, LoadsModels)
    call = driver.pull_call(target)
    if call is None:
        raise TargetError(f"{driver.title} can't download {target.model}; leave --pull out")
    shown = f"pulling {target.model}"

    def on_heard(tape: Tape) -> None:
        words, share = driver.loading(tape)
        tell(Stage(name="model", text=f"{shown}: {words if share is None else f'{share:.0%}'}".rstrip(": ")))

    on_heard(Tape(index=0))
    while call is not None:
        tape = follow(endpoint, target, call, on_heard)
        on_heard(tape)
        if tape.status != 200 or driver.decode(tape).error_kind:
            raise TargetError(f"{target.model} couldn't be pulled: {_why(driver, tape)}")
        call = driver.pull_next(tape, target)
        if call is not None:
            time.sleep(_ASK_EVERY_S)
    words, _ = driver.loading(tape)
    return f" after its download ({words})" if words else " after its download"


def _unhurried(endpoint: Endpoint) -> Endpoint:
    """The endpoint with patience for what isn't measured."""
    limits = msgspec.structs.replace(_PATIENCE, connect_s=endpoint.connection.timeouts.connect_s)
    connection = msgspec.structs.replace(endpoint.connection, timeouts=limits)
    return msgspec.structs.replace(endpoint, connection=connection)


def _why(driver: Driver, tape: Tape) -> str:
    """The server's own message, else how its answer ended."""
    reply = driver.decode(tape)
    if reply.error_message:
        return reply.error_message
    return f"HTTP {tape.status}" if tape.status else tape.error or "no answer"
