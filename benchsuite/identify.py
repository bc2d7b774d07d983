"""Asking a server who it is, and saying what to do where it is something else."""

import msgspec

from benchsuite.driver import Driver
from benchsuite.engine.endpoint import Endpoint
from benchsuite.engine.exchange import ask
from benchsuite.errors import TargetError
from benchsuite.keys import is_hosted
from benchsuite.types import Identity, Tape, Target
from benchsuite.wire.errors import error_kind
from benchsuite.wire.openai import listed

_BAD_REQUEST = 400


def identify(driver: Driver, target: Target, endpoint: Endpoint, named: bool = True) -> Identity:
    """Ask the server who it is; TargetError if it is something else than the driver expects.

    `named`: the user gave its address. Whoever merely listens where the backend usually does hears the key
    and the headers only when it has asked for them.
    """
    open_target = target if named else msgspec.structs.replace(target, key=None, headers={})
    tapes = ask(endpoint, open_target, driver.identify(open_target))
    if not named and tapes and tapes[0].status in {401, 403} and (target.key or target.headers):
        tapes = ask(endpoint, target, driver.identify(target))
    identity = driver.identity(tapes)
    if identity is not None:
        return identity
    status, error = (tapes[0].status, tapes[0].error) if tapes else (0, "")
    if status in {401, 403} or (status and error_kind(status, tapes[0].body)[0] == "auth"):
        raise TargetError(_about_key(driver, target, status))
    if error == "tls":
        raise TargetError(
            f"no secure connection to {target.url}: its certificate isn't trusted, it wants one of yours, "
            "or it speaks plain http://; see --ca-cert, --client-cert, --insecure"
        )
    startable = driver.capabilities.launch
    if error.startswith("timeout"):
        another = ", or start another with --launch" if startable else ""
        raise TargetError(
            f"{target.url} takes connections but doesn't answer; is it still loading, or stuck? "
            f"Try again when `curl {target.url}{driver.identify(target)[0].path}` answers{another}"
        )
    heard = _named(tapes) or (f"HTTP {status}" if status else error or "no answer")
    if not endpoint.tls and (error in {"closed", "reset", "protocol"} or status == _BAD_REQUEST):
        advice = "does it want https://?"
    elif driver.name == "openai":
        advice = "check --url: is it the base URL, like http://host:8000 or https://host/v1?"
    else:
        starts = f"--launch starts {driver.title} on a free port, " if startable else ""
        advice = (
            f"{starts}--url says where {driver.title} is, "
            f"--backend openai --url {target.url} measures what is there"
        )
    raise TargetError(f"what answers at {target.url} isn't {driver.title} ({heard}); {advice}")


def _about_key(driver: Driver, target: Target, status: int) -> str:
    """What to do where a server refuses to talk: bring a key, or another one."""
    names = " or ".join(driver.key_variables) or "the variable named by --api-key-env"
    page = getattr(driver, "key_page", "")
    where = f" ({page})" if page and is_hosted(driver, target.url) else ""
    if target.key is None:
        return f"{target.url} wants a key (HTTP {status}); put it into {names}{where}"
    return (
        f"{target.url} refuses the key (HTTP {status}), which comes from {names}, "
        f"--api-key-env or --token-command{where}"
    )


def _named(tapes: tuple[Tape, ...]) -> str:
    """What a server's own answers say of it: the owner of its models, else its `server` header."""
    for tape in tapes:
        for model in listed(tape) or ():
            if owner := str(model.get("owned_by") or ""):
                return f"it says {owner}"
    for tape in tapes:
        for name, value in tape.headers:
            if name.lower() == "server" and value:
                return f"its server header says {value[:40]}"
    return ""


def patient(endpoint: Endpoint, seconds: float) -> Endpoint:
    """The endpoint with less patience, for what isn't timed; never more than the user has."""
    limits = endpoint.connection.timeouts
    limits = msgspec.structs.replace(
        limits,
        first_byte_s=min(seconds, limits.first_byte_s),
        silence_s=min(seconds, limits.silence_s),
        total_s=min(2 * seconds, limits.total_s),
    )
    connection = msgspec.structs.replace(endpoint.connection, timeouts=limits)
    return msgspec.structs.replace(endpoint, connection=connection)
