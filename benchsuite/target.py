"""Who is measured: finding or starting the target, and learning who it is."""

import contextlib
import math
import os
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from benchsuite.asked import Options, check_asked, key_of
from benchsuite.driver import Driver, KnowsPlace, Launch, ReportsLoading, load
from benchsuite.engine.endpoint import Endpoint, resolve
from benchsuite.errors import ChoiceNeeded, TargetError, UsageError
from benchsuite.identify import identify, patient
from benchsuite.keys import is_hosted, is_old
from benchsuite.loading import ModelTarget, Wanted, in_place
from benchsuite.servers.docker import contained, fetched, way
from benchsuite.servers.hub import cache_folder, cached_models
from benchsuite.servers.launch import Server, launched, resolve_model
from benchsuite.servers.model import shape_facts
from benchsuite.shown import shown_model
from benchsuite.telemetry.gpu import gpus_here
from benchsuite.types import (
    Connection,
    Identity,
    Noun,
    Point,
    Progress,
    Stage,
    Target,
    Timeouts,
    Workload,
)
from benchsuite.workload.bodies import longest_tokens
from benchsuite.workload.spreads import most

_CONTEXT_STEP = 1024
_TEMPLATE_ROOM = 64
"""Tokens kept free for the chat template when choosing the context of an engine that we start."""
_IDENTIFY_S = 10.0
_CONNECT_S = 1.0
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


Tell = Callable[[Stage | Progress], None]


class Resolved(Noun, frozen=True, kw_only=True):
    """A target that answered and said who it is; its key was heard at `key_ns` (CLOCK_MONOTONIC)."""

    driver: Driver
    target: Target
    endpoint: Endpoint
    identity: Identity
    attached: bool
    launch_command: str = ""
    launch_seconds: float | None = None
    load_seconds: float | None = None
    key_ns: int = 0


@contextlib.contextmanager
def resolved(options: Options, tell: Tell) -> Generator[Resolved]:
    """Find or start the target, and learn who it is; an engine that we started ends with the block."""
    driver = load(options.backend, options.options)
    check_asked(driver, options)
    key_ns = time.monotonic_ns()
    target = Target(
        backend=options.backend,
        url=options.url or driver.default_url,
        model=options.model,
        key=key_of(options, driver),
        headers=options.headers,
        options=options.options,
        extra_body=options.extra_body,
        context_tokens=_context(options.workload, None, ""),
        engine=options.engine,
        engine_args=options.engine_args,
    )
    with contextlib.ExitStack() as stack:
        server = None
        if _to_be_started(options, driver, target):
            server, model = stack.enter_context(_started(options, driver, target, tell))
            target = msgspec.structs.replace(target, url=server.url, model=model)
        endpoint = _reached(options, driver, target)
        tell(Stage(name="ready", text=f"waiting for {driver.title} at {target.url} to say who it is"))
        hosted = is_hosted(driver, target.url)
        known_host = bool(options.url) or hosted
        identity = identify(driver, target, patient(endpoint, _IDENTIFY_S), named=known_host)
        if server is not None and not identity.version:
            identity = msgspec.structs.replace(identity, version=server.version)
        if server is not None and server.image:
            details = identity.details | {"image": server.image}
            identity = msgspec.structs.replace(identity, details=details)
        if not target.model and options.workload.mix:
            # Whoever answers serves them all; lengths are fitted to the first.
            target = msgspec.structs.replace(target, model=options.workload.mix[0].model)
        model = _model(target, identity, driver)
        if model != target.model:
            target = msgspec.structs.replace(target, model=model)
            identity = _of_its_model(driver, target, patient(endpoint, _IDENTIFY_S), identity)
        identity = _with_slots(driver, options, identity, started=server is not None)
        if isinstance(driver, KnowsPlace) and (place := driver.place(target)):
            identity = msgspec.structs.replace(identity, details=identity.details | {"region": place})
        if hosted:
            # Hundreds are listed, and a name that isn't may be an alias or a deployment: others are refused.
            listed = tuple(name for name in identity.models if name == model)
            identity = msgspec.structs.replace(identity, models=listed)
        ready = ModelTarget(driver=driver, target=target, endpoint=endpoint, identity=identity)
        identity, load_seconds = in_place(ready, _wanted(options, target, identity), tell)
        yield Resolved(
            driver=driver,
            target=target,
            endpoint=endpoint,
            identity=identity,
            attached=server is None,
            launch_command=server.command_masked if server else "",
            launch_seconds=server.seconds_to_ready if server else None,
            load_seconds=_load_seconds(driver, server) if server and load_seconds is None else load_seconds,
            key_ns=key_ns,
        )


def _of_its_model(driver: Driver, target: Target, endpoint: Endpoint, identity: Identity) -> Identity:
    """What the server says of the model that was chosen, where a driver asks that by the model's name."""
    nameless = msgspec.structs.replace(target, model="")
    if driver.identify(target) == driver.identify(nameless):
        return identity
    version = identity.version
    found = identify(driver, target, endpoint)
    return found if found.version else msgspec.structs.replace(found, version=version)


def _with_slots(driver: Driver, options: Options, identity: Identity, *, started: bool) -> Identity:
    """Slots of a server that doesn't tell: what we started it with, else what such servers have."""
    if identity.slots is not None or driver.capabilities.default_slots is None:
        return identity
    launch = driver.launch(Target(backend=driver.name, url="")) if started else None
    if launch is not None:
        said = options.engine.get("max-seqs", str(_slots(options.workload, launch)))
    else:
        said = options.options.get("slots", str(driver.capabilities.default_slots))
    if not re.fullmatch(r"[1-9]\d*", said):
        raise UsageError(f"the server's slots are a whole number above 0, not {said!r}")
    return msgspec.structs.replace(identity, slots=int(said))


def _wanted(options: Options, target: Target, identity: Identity) -> Wanted:
    """What the model is loaded for."""
    slots = max(options.workload.concurrency, default=identity.slots or 1)
    return Wanted(context_tokens=target.context_tokens, slots=slots, pull=options.pull)


def _load_seconds(driver: Driver, server: Server) -> float | None:
    """How long the engine says that loading the model took; None: it doesn't say."""
    return driver.load_seconds(server.log_text()) if isinstance(driver, ReportsLoading) else None


def _to_be_started(options: Options, driver: Driver, target: Target) -> bool:
    """Is there nobody to attach to? UsageError where starting is asked for and can't be."""
    if options.start == "launch":
        if options.url:
            raise UsageError("--launch starts a server on a free port; leave --url out")
        return True
    attach = options.start == "attach"
    startable = driver.launch(target) is not None
    if startable and not attach and not options.url and not _answers(target, options.connection):
        return True
    if not target.url:
        asks = "--attach" if attach else f"--backend {driver.name}"
        raise UsageError(f"{asks} needs the server's address: add --url http://…")
    if asked := _for_engine(options):
        instead = "leave --url out" if options.url else "leave --attach out" if attach else "add --launch"
        advice = f"; {instead}" if startable else ""
        raise UsageError(f"{asked} is for a server that benchsuite starts, not for {target.url}{advice}")
    return False


def _for_engine(options: Options) -> str:
    """An option that was given and says how an engine is to be started; empty: none."""
    given = {
        "--engine": options.engine,
        "--engine-args": options.engine_args,
        "--engine-python": options.engine_python,
        "--docker": options.docker,
        "--image": options.image,
        "--threads": options.threads,
    }
    return next((name for name, value in given.items() if value), "")


def _reached(options: Options, driver: Driver, target: Target) -> Endpoint:
    """The target's endpoint; where nobody is there, what to do about it."""
    try:
        return resolve(target, options.connection)
    except TargetError as error:
        if options.start != "attach" or options.url:
            raise
        nobody = str(error).partition(";")[0]
        start = ", or leave --attach out to have it started" if driver.capabilities.launch else ""
        raise TargetError(
            f"{nobody}; start {driver.title} there, say with --url where it is{start}"
        ) from error


def _answers(target: Target, connection: Connection) -> bool:
    """Does anything listen where the backend usually does?"""
    if not target.url:
        return False
    brief = Timeouts(connect_s=min(_CONNECT_S, connection.timeouts.connect_s))
    try:
        resolve(target, msgspec.structs.replace(connection, timeouts=brief))
    except TargetError:
        return False
    return True


@contextlib.contextmanager
def _started(options: Options, driver: Driver, target: Target, tell: Tell) -> Generator[tuple[Server, str]]:
    """Start the backend for as long as the block lasts: the server, and the model it was started with."""
    launch = driver.launch(target)
    if launch is None:
        raise UsageError(
            f"--backend {driver.name} can't be started; leave --launch out and add --url http://…"
        )
    launch, python = way(
        launch,
        title=driver.title,
        environment=driver.name,
        python=options.engine_python,
        docker=options.docker,
        image=options.image,
    )
    words = launch.argv or launch.image_argv
    if options.threads and not any("{threads}" in word for word in (*words, *launch.env.values())):
        raise UsageError(f"{driver.title} chooses its CPU threads itself; leave --threads out")
    named = options.model or launch.default_model
    if not named and any("{model}" in word for word in words):
        named = _local_model(driver)
    context = _context(options.workload, _most_context(launch, named), named)
    if named:
        tell(Stage(name="model", text="preparing the model"))
    model = resolve_model(named, launch.model_form, lambda text: tell(Stage(name="model", text=text)))
    _check_downloaded(named, launch)
    if model.dummy and not launch.dummy_arguments:
        raise UsageError(
            f"{named} has no weights, and {driver.title} can't make them up: --model shape:50m has some, "
            "--backend vllm can"
        )
    image, seen = None, model
    if not launch.argv:
        image = fetched(launch.image, lambda text: tell(Stage(name="launch", text=text)))
        gpus = bool(gpus_here())
        launch, seen = contained(launch, model, image.name, gpus=gpus, environ=os.environ)
    tell(Stage(name="launch", text=f"starting {driver.title}{f' with {model.name}' if model.name else ''}"))
    with launched(
        launch,
        model=seen,
        slots=_slots(options.workload, launch),
        context=context,
        threads=options.threads,
        python=python,
        on_wait=lambda text: tell(Stage(name="ready", text=f"{driver.title}: {text}")),
    ) as server:
        yield image.of(server) if image else server, model.name


def _local_model(driver: Driver) -> str:
    """No model was named: which one is the user's to say; never downloads one."""
    found = cached_models(os.environ)
    if found:
        names = tuple(model.id for model in found)
        notes = tuple(f"{model.size_bytes / 1e9:.1f} GB, {model.architecture}" for model in found)
        raise ChoiceNeeded(f"which model should {driver.title} serve?", "--model", names, notes)
    raise UsageError(
        f"{driver.title} needs a model: --model NAME or a folder; the local Hugging Face cache is empty. "
        "--model shape:50m makes one up"
    )


def _check_downloaded(model: str, launch: Launch) -> None:
    """Engines are started without access to Hugging Face: say in a line what would take them a page."""
    offline = (launch.env | os.environ).get("HF_HUB_OFFLINE") == "1"
    if not offline or not _HUB_NAME.fullmatch(model) or Path(model).exists():
        return
    if not (cache_folder(os.environ) / f"models--{model.replace('/', '--')}").is_dir():
        raise UsageError(
            f"{model} isn't in the local Hugging Face cache, and benchsuite downloads nothing; "
            f"`hf download {model}` gets it"
        )


def with_fresh_key(options: Options, who: Resolved) -> Resolved:
    """The same, with the key said again where a command says it and that was long ago."""
    if not options.token_command or not is_old(who.key_ns):
        return who
    target = msgspec.structs.replace(who.target, key=key_of(options, who.driver))
    return msgspec.structs.replace(who, target=target, key_ns=time.monotonic_ns())


def _model(target: Target, identity: Identity, driver: Driver) -> str:
    """The model to ask for: the one named, in full or as we show it, else the only one of the server."""
    if target.model or not identity.models:
        if not target.model and is_hosted(driver, target.url):
            raise UsageError(f"{driver.title} lists no models to choose from: say which one with --model")
        # Gemini's own lists say `models/gemini-…`.
        asked = {target.model, target.model.removeprefix("models/")}
        return next((name for name in identity.models if shown_model(name) in asked), target.model)
    if len(identity.models) == 1:
        return identity.models[0]
    several = tuple(map(shown_model, identity.models))
    raise ChoiceNeeded(f"{driver.title} at {target.url} has several models", "--model", several)


def _slots(workload: Workload, launch: Launch) -> int:
    """Slots of an engine that we start: as many as will be in flight; without a cap, the driver's word."""
    return max(workload.concurrency, default=launch.open_slots)


def _most_context(launch: Launch, model: str) -> int | None:
    """Most tokens that a slot can hold: the driver's word, or a made model's; None: the engine knows."""
    if launch.max_context is None and model.startswith("shape:"):
        return shape_facts(model.removeprefix("shape:")).context_tokens
    return launch.max_context


def _context(workload: Workload, most: int | None, model: str) -> int:
    """Context per slot of an engine that we start, in tokens: what the longest request needs."""
    prompt, output = longest_tokens(workload, most)
    if most is not None and prompt + output > most:
        raise UsageError(
            f"{prompt} prompt + {output} output tokens are more than {model}'s {most}; "
            "ask for less or name a model that holds more: --model FILE.gguf"
        )
    context = math.ceil((prompt + output + _TEMPLATE_ROOM) / _CONTEXT_STEP) * _CONTEXT_STEP
    return context if most is None else min(context, most)


def check_context(point: Point, identity: Identity) -> None:
    """Refuse before the first request what the server's context can't hold."""
    prompt = math.ceil(most(point.prompt_spread or point.prompt_tokens))
    output = math.ceil(most(point.output_spread or point.output_tokens))
    needed = prompt + output + point.grows_tokens
    if identity.context_tokens is not None and needed > identity.context_tokens:
        grown = f" + {point.grows_tokens} by the last turn" if point.grows_tokens else ""
        raise UsageError(
            f"{prompt} prompt{grown} + {output} output tokens don't fit the server's "
            f"context of {identity.context_tokens}; ask for less or start it with more"
        )
