"""Who is measured: finding or starting the target, learning who it is, and fitting lengths to it."""

import contextlib
import ipaddress
import math
import os
from collections.abc import Callable, Generator
from urllib.parse import urlsplit

import msgspec

from benchsuite.driver import Driver, load
from benchsuite.engine.endpoint import Endpoint, resolve
from benchsuite.engine.exchange import ask
from benchsuite.errors import TargetError, UsageError
from benchsuite.servers.launch import Server, launched, resolve_model, shown_path
from benchsuite.types import (
    Connection,
    Identity,
    Lengths,
    Message,
    Noun,
    Point,
    Progress,
    Request,
    Stage,
    Target,
    Timeouts,
    Workload,
)
from benchsuite.workload.fit import fit, words

_CONTEXT_STEP = 1024
_LAUNCHED_OPEN_SLOTS = 8
"""Slots of an engine that we start for an open loop without a cap."""
_TEMPLATE_ROOM = 64
"""Tokens kept free for the chat template when choosing the context of an engine that we start."""
_IDENTIFY_S = 10.0
_PROBE_S = 60.0
_PROBES_AT_ONCE = 8


class Options(Noun, frozen=True, kw_only=True):
    """What was asked for, as the command line or a caller says it.

    `url` empty: the driver's own address, or an engine that we start. `model` empty: the one the
    server has loaded. `key_variable` names the environment variable that holds the key; empty: the
    driver's. `headers` may hold secrets. `options` are the driver's (e.g. `endpoint=completions`).
    """

    backend: str
    workload: Workload
    url: str = ""
    model: str = ""
    key_variable: str = ""
    headers: dict[str, str] = {}
    options: dict[str, str] = {}
    connection: Connection = Connection()
    seed: int | None = None
    nonce: str = ""
    workers: int | None = None
    threads: int | None = None
    gpu: str = ""
    labels: dict[str, str] = {}
    keep_text: bool = False
    kernel_stamps: bool = True
    command: str = ""


_BAD_REQUEST = 400

Tell = Callable[[Stage | Progress], None]


class Resolved(Noun, frozen=True, kw_only=True):
    """A target that answered and said who it is."""

    driver: Driver
    target: Target
    endpoint: Endpoint
    identity: Identity
    attached: bool
    launch_command: str = ""
    launch_seconds: float | None = None


@contextlib.contextmanager
def resolved(options: Options, tell: Tell) -> Generator[Resolved]:
    """Find or start the target, and learn who it is; an engine that we started ends with the block."""
    driver = load(options.backend)
    unknown = sorted(set(options.options) - set(driver.options))
    if unknown:
        known = ", ".join(driver.options)
        raise UsageError(f"--backend {driver.name} has no option {unknown[0]!r}; it has: {known}")
    target = Target(
        backend=options.backend,
        url=options.url or driver.default_url,
        model=options.model,
        key=_key(options, driver),
        headers=options.headers,
        options=options.options,
    )
    with contextlib.ExitStack() as stack:
        server = None
        if not options.url and not _answers(target, options.connection):
            server, model = stack.enter_context(_started(options, driver, target, tell))
            target = msgspec.structs.replace(target, url=server.url, model=model)
        endpoint = resolve(target, options.connection)
        tell(Stage(name="ready", text=f"waiting for {driver.title} at {target.url} to say who it is"))
        identity = identify(driver, target, _patient_for(endpoint, _IDENTIFY_S))
        target = msgspec.structs.replace(target, model=_model(target, identity, driver))
        yield Resolved(
            driver=driver,
            target=target,
            endpoint=endpoint,
            identity=identity,
            attached=server is None,
            launch_command=server.command_masked if server else "",
            launch_seconds=server.seconds_to_ready if server else None,
        )


def _answers(target: Target, connection: Connection) -> bool:
    """Does anything listen where the backend usually does?"""
    if not target.url:
        return False
    try:
        resolve(target, connection)
    except TargetError:
        return False
    return True


@contextlib.contextmanager
def _started(options: Options, driver: Driver, target: Target, tell: Tell) -> Generator[tuple[Server, str]]:
    """Start the backend for as long as the block lasts: the server, and the model it was started with."""
    launch = driver.launch(target)
    if launch is None:
        raise UsageError(f"--backend {driver.name} needs the server's address: add --url http://…")
    named = options.model or launch.default_model
    context = _context(options.workload, launch.max_context, named)
    model = shown = named
    if named:
        tell(Stage(name="model", text="preparing the model"))
        model, shown = resolve_model(named, lambda text: tell(Stage(name="model", text=text)))
    tell(Stage(name="launch", text=f"starting {driver.title}" + (f" with {shown}" if shown else "")))
    with launched(
        launch,
        model=model,
        slots=_slots(options.workload),
        context=context,
        threads=options.threads,
        on_wait=lambda text: tell(Stage(name="ready", text=text)),
    ) as server:
        yield server, shown


def identify(driver: Driver, target: Target, endpoint: Endpoint) -> Identity:
    """Ask the server who it is; TargetError if it is something else than the driver expects."""
    tapes = ask(endpoint, target, driver.identify(target))
    identity = driver.identity(tapes)
    if identity is not None:
        return identity
    status, error = (tapes[0].status, tapes[0].error) if tapes else (0, "")
    if status in {401, 403}:
        names = " or ".join(driver.key_variables) or "the variable named by --api-key-env"
        raise TargetError(f"{target.url} wants a key (HTTP {status}); put it into {names}")
    if error == "tls":
        raise TargetError(
            f"no secure connection to {target.url}: its certificate isn't trusted, it wants one of yours, "
            "or it speaks plain http://; see --ca-cert, --client-cert, --insecure"
        )
    if error.startswith("timeout"):
        raise TargetError(
            f"{target.url} takes connections but doesn't answer; is it still loading, or stuck? "
            f"Try again when `curl {target.url}{driver.identify(target)[0].path}` answers"
        )
    heard = f"HTTP {status}" if status else error or "no answer"
    if not endpoint.tls and (error in {"closed", "reset", "protocol"} or status == _BAD_REQUEST):
        advice = "does it want https://?"
    elif driver.name == "openai":
        advice = "check --url: is it the base URL, like http://host:8000 or https://host/v1?"
    else:
        advice = "check --url, or measure it as --backend openai"
    raise TargetError(f"what answers at {target.url} isn't known as {driver.title} ({heard}); {advice}")


def _patient_for(endpoint: Endpoint, seconds: float) -> Endpoint:
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


def _key(options: Options, driver: Driver) -> str | None:
    """The key from the environment, never from anywhere else."""
    if options.key_variable:
        if options.key_variable not in os.environ:
            raise UsageError(f"the environment variable {options.key_variable} isn't set")
        return os.environ[options.key_variable]
    return next((os.environ[name] for name in driver.key_variables if os.environ.get(name)), None)


def _model(target: Target, identity: Identity, driver: Driver) -> str:
    """The model to ask for: the one named, in full or as we show it, else the only one of the server."""
    if target.model or not identity.models:
        return next((name for name in identity.models if shown_model(name) == target.model), target.model)
    if len(identity.models) == 1:
        return identity.models[0]
    several = ", ".join(map(shown_model, identity.models[:8]))
    raise UsageError(f"{driver.title} at {target.url} has several models; choose with --model: {several}")


def _slots(workload: Workload) -> int:
    """Slots of an engine that we start: as many as will be in flight."""
    return max(workload.concurrency, default=_LAUNCHED_OPEN_SLOTS)


def _context(workload: Workload, most: int | None, model: str) -> int:
    """Context per slot of an engine that we start, in tokens: what the longest request needs."""
    prompt, output = max(workload.prompt_tokens), max(workload.output_tokens)
    if most is not None and prompt + output > most:
        raise UsageError(
            f"{prompt} prompt + {output} output tokens are more than {model}'s {most}; "
            "ask for less or name a model that holds more: --model FILE.gguf"
        )
    context = math.ceil((prompt + output + _TEMPLATE_ROOM) / _CONTEXT_STEP) * _CONTEXT_STEP
    return context if most is None else min(context, most)


def check_context(point: Point, identity: Identity) -> None:
    """Refuse before the first request what the server's context can't hold."""
    needed = point.prompt_tokens + point.output_tokens
    if identity.context_tokens is not None and needed > identity.context_tokens:
        raise UsageError(
            f"{point.prompt_tokens} prompt + {point.output_tokens} output tokens don't fit the server's "
            f"context of {identity.context_tokens}; ask for less or start it with more"
        )


# ---------------------------------------------------------------- fit


def fitted(who: Resolved, tell: Tell) -> Lengths:
    """Find out what words cost on this server, in a few probes of one output token each."""
    tell(Stage(name="fit", text="waiting for a few short answers, to fit prompt lengths"))
    endpoint = _patient_for(who.endpoint, _PROBE_S)
    conversation = fit(words())
    texts = next(conversation)
    while True:
        calls = [who.driver.encode(_probe(index, text), who.target) for index, text in enumerate(texts)]
        tapes = ask(endpoint, who.target, calls, _PROBES_AT_ONCE)
        replies = [who.driver.decode(tape) for tape in tapes]
        if tapes and tapes[0].status in {401, 403, 404}:
            why = f"HTTP {tapes[0].status} {replies[0].error_message}".rstrip()
            raise TargetError(f"the server refused a first request: {why}")
        if tapes and all(tape.error.startswith("timeout") for tape in tapes):
            limit_s = endpoint.connection.timeouts.first_byte_s
            raise TargetError(
                f"the server gave no answer to a short request within {limit_s:g} s; "
                "is it stuck or busy? Try again when it answers"
            )
        try:
            texts = conversation.send(tuple(reply.prompt_tokens for reply in replies))
        except StopIteration as end:
            lengths: Lengths = end.value
            return lengths


def _probe(index: int, text: str) -> Request:
    return Request(
        index=index,
        phase="warm_up",
        messages=(Message(role="user", content=text),),
        max_output_tokens=1,
        min_output_tokens=1,
        cache="cold",
    )


def shown_model(name: str) -> str:
    """A model's name as it may be stored and shown: some servers call a model by its path."""
    return shown_path(name)


def shown_identity(identity: Identity) -> Identity:
    """What a server says of itself as it may be stored, without folders of anyone's machine."""
    return msgspec.structs.replace(
        identity,
        models=tuple(map(shown_model, identity.models)),
        details={name: shown_path(value) for name, value in identity.details.items()},
    )


def masked_url(url: str) -> str:
    """The URL without user, password and query; a private host's name isn't stored either."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_private(host):
        host = "private-host"
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _is_private(host: str) -> bool:
    """A name or address inside somebody's network (this machine itself excepted)."""
    if host == "localhost":
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".corp", ".home.arpa"))
    return address.is_private and not address.is_loopback


def connection_facts(connection: Connection) -> dict[str, str]:
    """Connection settings that a reader of the numbers has to know, without paths or secrets."""
    facts = {
        "insecure": "certificates not checked" if connection.insecure else "",
        "ca_cert": "own CA" if connection.ca_cert else "",
        "client_cert": "client certificate" if connection.client_cert else "",
        "proxy": "through a proxy" if connection.proxy else "",
    }
    limits = msgspec.to_builtins(connection.timeouts)
    facts |= {name: f"{value:g}" for name, value in limits.items() if value != getattr(Timeouts(), name)}
    return {name: fact for name, fact in facts.items() if fact}
