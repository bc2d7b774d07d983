"""What was asked for, and what of it a backend can't do: told before anything is started or contacted."""

from typing import Any, Literal

import msgspec

from benchsuite.driver import (
    BatchApi,
    Configurable,
    Driver,
    LoadsModels,
    PreparesCache,
    ResetsCache,
    engine_arguments,
)
from benchsuite.errors import UsageError
from benchsuite.keys import check_key, key
from benchsuite.observed import passes
from benchsuite.types import Connection, Noun, Target, Workload
from benchsuite.wire.passing import SPOKEN
from benchsuite.workload.bodies import Lines
from benchsuite.workload.draw import Material
from benchsuite.workload.points import points

_OURS = frozenset({"--host", "--port"})
"""Arguments of an engine that benchsuite chooses itself: with others it would wait in vain."""


class Options(Noun, frozen=True, kw_only=True):
    """What was asked for, as the command line or a caller says it.

    `url` empty: the driver's own address, or an engine that we start. `model` empty: the one the
    server has loaded. `key_variable` names the environment variable that holds the key; empty: the
    driver's. `token_command` prints a key that takes its place. `headers` may hold secrets. `options` are
    the driver's (e.g. `endpoint=completions`), `engine` and `engine_args` those of an engine that we start,
    with `engine_python` where it isn't found by itself, or with `docker` from its image or from `image`.
    `start`: `auto` attaches where something answers, `launch` never attaches, `attach` never starts.
    `bodies` are sent in place of prompts; `material` is what other files of the workload hold. `pull`: a
    model that the server doesn't have may be downloaded there. `batch_poll_s`: how soon a batch API is first
    asked how far it is. `sweep` names the sweep that the run is an arm of, `axes` the arm's own values,
    `runs_after` how many arms come after it.
    `resume`: go on with the newest run of the store that was asked the same and isn't finished.
    """

    backend: str
    workload: Workload
    url: str = ""
    model: str = ""
    key_variable: str = ""
    token_command: str = ""
    headers: dict[str, str] = {}
    options: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
    bodies: Lines | None = None
    material: Material = Material()
    reset_cache: bool = False
    connection: Connection = Connection()
    seed: int | None = None
    nonce: str = ""
    workers: int | None = None
    threads: int | None = None
    engine: dict[str, str] = {}
    engine_args: tuple[str, ...] = ()
    engine_python: str = ""
    docker: bool = False
    image: str = ""
    start: Literal["auto", "launch", "attach"] = "auto"
    pull: bool = False
    gpu: str = ""
    gpu_price: float | None = None
    token_price: tuple[float, ...] = ()
    price_as: str = ""
    labels: dict[str, str] = {}
    keep_text: bool = False
    kernel_stamps: bool = True
    command: str = ""
    batch_poll_s: float = 5.0
    sweep: str = ""
    axes: dict[str, str] = {}
    runs_after: int = 0
    resume: bool = False


def key_of(options: Options, driver: Driver) -> str | None:
    """The key: said by the command, or from the environment, never from anywhere else."""
    return key(driver, variable=options.key_variable, command=options.token_command)


def check_chosen(options: Options) -> None:
    """Refuse to measure a whole sweep as one run: a UsageError."""
    workload = options.workload
    if (workload.models and not options.model) or set(workload.engine) - set(options.engine):
        raise UsageError("the workload has models or engine settings to sweep: measure each of `sweep.arms`")


def check_asked(driver: Driver, options: Options) -> None:
    """Refuse what this backend can't be asked, before anything is started: a UsageError with what can be."""
    can, name = driver.capabilities, driver.name
    if isinstance(driver, Configurable):
        driver.configured(options.options)
    unknown = sorted(set(options.options) - {*driver.options, "endpoint"})
    if unknown:
        known = ", ".join(driver.options)
        raise UsageError(f"--backend {name} has no option {unknown[0]!r}; it has: {known}")
    endpoint = options.options.get("endpoint", can.endpoints[0])
    if endpoint not in can.endpoints:
        raise UsageError(f"--backend {name} has no endpoint {endpoint!r}; it has: {', '.join(can.endpoints)}")
    for mode in dict.fromkeys(point.cache for point in points(options.workload)):
        if mode not in can.caching:
            raise UsageError(
                f"--cache {mode} can't be had from {driver.title}; it can: {', '.join(can.caching) or 'none'}"
            )
    if isinstance(driver, PreparesCache) and options.options.get("cache") == "explicit":
        _check_upload(options)
    if options.workload.reasoning and not can.reasoning:
        raise UsageError(f"--reasoning doesn't reach {driver.title}; leave it out, or use --extra-body")
    _check_passing(driver, options, endpoint)
    _check_tools(driver, options)
    if options.pull and not isinstance(driver, LoadsModels):
        raise UsageError(f"{driver.title} can't be asked to download a model; leave --pull out")
    if options.workload.batch:
        _check_batch(driver, options)
    if options.reset_cache and not isinstance(driver, ResetsCache):
        raise UsageError(f"{driver.title} can't be asked to empty its cache; leave --reset-cache out")
    _check_engine(driver, options)
    if options.start != "launch":
        check_key(
            driver,
            options.url or driver.default_url,
            variable=options.key_variable,
            command=options.token_command,
            headers=options.headers,
        )


def _check_passing(driver: Driver, options: Options, endpoint: str) -> None:
    """The same for what requests ask besides text: the door has to pass it on."""
    workload = options.workload
    asks = {
        "stream_off": not all(point.stream for point in points(workload)),
        "json_schema": bool(workload.json_schema),
        "model": bool(workload.mix),
        "extra": bool(workload.extra),
        "tools": bool(workload.tools) or workload.tool_turns or options.material.has_tools,
        "images": options.material.has_images,
    }
    wanted = [word for word, is_so in asks.items() if is_so and options.bodies is None]

    def can(door: str) -> frozenset[str]:
        target = Target(
            backend=options.backend,
            url=options.url or driver.default_url or "http://127.0.0.1:1",
            model=options.model or "model",
            key="key",
            options={**options.options, "endpoint": door},
        )
        return passes(driver, target)

    for word in wanted:
        if word not in can(endpoint):
            others = [door for door in driver.capabilities.endpoints if word in can(door)]
            advice = f"--endpoint {' or '.join(others)} does" if others else "leave it out"
            what = SPOKEN[word].removeprefix("a ").removeprefix("an ")
            raise UsageError(f"{driver.title}'s {endpoint} endpoint takes no {what}; {advice}")


def _check_tools(driver: Driver, options: Options) -> None:
    """The same for tools that no dialect knows; an API that is described gets them word for word."""
    if not options.workload.tools or options.bodies is not None or "spec" in driver.options:
        return
    for tool in msgspec.json.decode(options.workload.tools):
        kind, function = tool.get("type"), tool.get("function")
        named = isinstance(function, dict) and isinstance(function.get("name"), str)
        # What else a server may know by its type is its own business.
        if not named and not (isinstance(kind, str) and kind != "function"):
            raise UsageError(
                'tools must be a list in the OpenAI form, [{"type": "function", "function": {"name": …}}]; '
                "one of them isn't. --backend http --spec FILE sends any form"
            )


def _check_batch(driver: Driver, options: Options) -> None:
    """The same for a batch API, which is hosted, priced by the token, and hands its answers out once."""
    if not isinstance(driver, BatchApi):
        raise UsageError(f"{driver.title} has no batch API; `benchsuite backends` shows which have one")
    own = {"--gpu": options.gpu, "--gpu-price": options.gpu_price, "--keep-text": options.keep_text}
    own |= {"--bodies": options.bodies is not None, "--reset-cache": options.reset_cache}
    # A batch is for one model at most vendors, and comes back whole in any case.
    own |= {"--mix": bool(options.workload.mix), "--stream off": False in options.workload.stream}
    if name := next((name for name, value in own.items() if value), ""):
        raise UsageError(f"{name} doesn't go with --batch-api; leave it out")


def _check_upload(options: Options) -> None:
    """The same for prefixes that are uploaded before they are used: there has to be one that is shared."""
    if options.workload.batch or options.bodies is not None:
        name = "--batch-api" if options.workload.batch else "--bodies"
        raise UsageError(f"--option cache=explicit doesn't go with {name}; leave it out")
    if options.workload.trace is not None or any(point.prompt_spread for point in points(options.workload)):
        raise UsageError("--option cache=explicit uploads prefixes of one length: ask for one prompt length")
    if "shared" not in options.workload.cache:
        raise UsageError(
            "--option cache=explicit uploads a shared prefix; add --cache shared or leave it out"
        )


def _check_engine(driver: Driver, options: Options) -> None:
    """The same for the settings of an engine that we start."""
    asked = "--engine" if options.engine else "--engine-args" if options.engine_args else ""
    if asked and not driver.settings:
        raise UsageError(f"--backend {driver.name} takes no {asked}; leave it out or name another backend")
    try:
        engine_arguments(driver.settings, options.engine)
    except UsageError as error:
        raise UsageError(f"--backend {driver.name}: {error}") from None
    for word in options.engine_args:
        if (name := word.partition("=")[0]) in _OURS:
            raise UsageError(f"--engine-args: benchsuite chooses {name} itself; leave it out")
