"""`benchsuite run`: measure one target, or several in turn, with one workload."""

import math
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.run_asked import check_backend, options_of
from benchsuite.cli.run_options import TYPED, GroupedCommand, run_options, typed
from benchsuite.cli.run_sweep import in_order, left_to_do, tell_forecast
from benchsuite.cli.settings import given_for, named_options
from benchsuite.cli.show import staged, talked
from benchsuite.cli.targets import chosen, described, may_ask, named_targets, offered, shown_target

if TYPE_CHECKING:
    from benchsuite.asked import Options
    from benchsuite.cli.targets import Named
    from benchsuite.engine.trial import Interrupt
    from benchsuite.store.runs import Store
    from benchsuite.types import Run

NEXT = "Next, a server of yours: benchsuite run --backend openai --url http://localhost:8000"
INVALID = 3
INTERNAL_ERROR = 70
INTERRUPTED = 130
GO_ON = "repeat the command with --resume to go on"
POLITE_IN_FLIGHT = 16
"""More than this in flight on somebody's public host is asked about first."""
MOST_CHOICES = 20
"""More than this are no question for a terminal: hosted APIs list hundreds of models."""
_NOW = 3
"""The Ctrl-C that doesn't wait for anything any more."""


@click.command(cls=GroupedCommand)
@run_options
@click.argument("target", nargs=-1)
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> None:
    """Measure a backend: TTFT, tokens/s, $ per 1,000 requests.

    Without options: what is running here, if you like, else a small model on this machine. TARGET is
    BACKEND, BACKEND:MODEL or BACKEND@URL; several targets, backends or models are measured one after
    another. A list (--concurrency 1,8,64) makes one point of each value. Ctrl-C stops and keeps what
    was measured.
    """
    from benchsuite.store.runs import Store, default_store
    from benchsuite.sweep import arms

    words = ctx.meta[TYPED]
    asked, hint = (_each_its_own(given, words), "") if named_options(given) else _all_alike(given, words)
    store = Store(default_store(given["store_path"]))
    planned = arms(asked)
    each, earlier = left_to_do(planned, store) if given["resume"] else (planned, [])
    for one in each:
        check_backend(one)
    for one in {(one.gpu, one.gpu_price): one for one in each}.values():
        say_if_unpriced(one)
    tell_forecast(each, store, yes=given["yes"], ask=not given["dry_run"])
    if given["dry_run"]:
        for one in each:
            _dry_run(one, store)
        return
    for one in each:
        ask_if_public(one, given["yes"])
    store.prepare()
    measured, failed = _one_after_another(each, store)
    done = in_order(planned, [*earlier, *measured])
    show_runs(done, store, as_json=given["as_json"], hint=hint if words else hint or NEXT)
    interrupted = any(one.status == "interrupted" for one in done)
    invalid = any(one.verdict == "invalid" for one in done)
    ctx.exit(INTERRUPTED if interrupted else failed or (INVALID if invalid else 0))


def _all_alike(given: dict[str, Any], words: tuple[str, ...]) -> "tuple[list[Options], str]":
    """Every target with the options of the command, and a line for one who named none."""
    options = options_of(given, typed("run", words))
    launches = options.workload.models or options.workload.engine
    wanted, hint = ([], "") if launches or _names_a_target(given) else _discovered()
    return [_for_target(options, named) for named in wanted or named_targets(given)], hint


def _each_its_own(given: dict[str, Any], words: tuple[str, ...]) -> "list[Options]":
    """Targets of which the settings file has options of their own, each with these."""
    found = []
    for word in given["target"]:
        own = given_for({**given, "target": (word,)}, word, alone=True)
        options = options_of(own, typed("run", words))
        found += [_for_target(options, named) for named in named_targets(own)]
    return found


def _names_a_target(given: dict[str, Any]) -> bool:
    """Is it said what to measure? `--launch` alone means the local engine."""
    return any(given[name] for name in ("target", "backend", "url", "model", "launch", "spec"))


def _discovered() -> "tuple[list[Named], str]":
    """What answers here and is wanted, else a line that says how to measure it."""
    from benchsuite.discovery import discover

    found = discover()
    if found and may_ask():
        one = offered(found)
        # With its URL: should it be gone by then, nothing is started in its place.
        return ([(one.backend, one.url, "")] if one is not None else []), ""
    hint = f"{described(found[0])}: benchsuite run --backend {found[0].backend} measures it" if found else ""
    return [], hint


def _for_target(options: "Options", named: "Named") -> "Options":
    import msgspec

    backend, url, model = named
    if not model and options.bodies is not None and len(options.bodies.models) == 1:
        (model,) = options.bodies.models
    return msgspec.structs.replace(options, backend=backend, url=url, model=model)


def _one_after_another(each: "list[Options]", store: "Store") -> "tuple[list[Run], int]":
    """Measure every target; of several, one that fails is told and the others go on.

    The runs, and the exit code of the last failure (0: none). An interrupt ends them all, and those that
    are done stay.
    """
    import msgspec

    from benchsuite.errors import BenchsuiteError, StillRunning

    if len(each) == 1:
        return [measured_run(each[0], store)], 0
    done, failed = [], 0
    for number, options in enumerate(each, 1):
        try:
            done.append(measured_run(msgspec.structs.replace(options, runs_after=len(each) - number), store))
        except (BenchsuiteError, OSError) as error:
            failed = error.exit_code if isinstance(error, BenchsuiteError) else INTERNAL_ERROR
            who = shown_target((options.backend, options.url, options.model))
            click.echo(f"{who}: {' '.join(str(error).split())}", err=True)
            if isinstance(error, StillRunning):
                return done, INTERRUPTED
            continue
        except (KeyboardInterrupt, click.Abort):
            if not done:
                raise
            click.echo(f"interrupted before the next target was measured; {GO_ON}", err=True)
            return done, INTERRUPTED
        if done[-1].status == "interrupted":
            break
    return done, failed


def show_runs(done: "list[Run]", store: "Store", *, as_json: bool, hint: str) -> None:
    """The runs' screen or JSON on stdout; what was interrupted is told on stderr."""
    from benchsuite.cli import output
    from benchsuite.report.listing import unfinished_lines
    from benchsuite.report.screen import screen
    from benchsuite.report.several import several_screen

    measured = [
        run for run in done if run.status != "interrupted" or any(row.requests for row in run.summaries)
    ]
    if as_json:
        _echo_json([(store.path / run.manifest.run_id / "run.json").read_bytes() for run in done])
    elif measured:
        where, width, styled = output.shown(store.path), output.width(), output.styled()
        if len(measured) == 1:
            # Of several runs the one to show needn't be the latest.
            selector = "latest" if len(done) == 1 else measured[0].manifest.run_id
            run_dir = store.select(measured[0].manifest.run_id)
            tables = {"stages": staged(run_dir, measured[0]), "turns": talked(run_dir, measured[0])}
            shown = screen(measured[0], store=where, width=width, styled=styled, selector=selector, **tables)
            click.echo(shown)
        else:
            click.echo(several_screen(measured, store=where, width=width, styled=styled))
        for line in (hint, *unfinished_lines(store.cut_off_runs())):
            click.echo(f" {line}" if line else "", nl=bool(line))
    if any(run.status == "interrupted" for run in done):
        kept = ": what was measured by then is kept" if measured else " before anything was measured"
        more = "" if any(run.manifest.capacity for run in done) else f"; {GO_ON}"
        click.echo(f"interrupted{kept}{more}", err=True)


def _echo_json(stored: list[bytes]) -> None:
    """One run as it is stored; several as a line each."""
    import msgspec

    for data in stored:
        if len(stored) == 1:
            click.echo(data, nl=False)
        else:
            click.echo(msgspec.json.format(data, indent=-1))


def measured_run(options: "Options", store: "Store") -> "Run":
    """Run it; where a model has to be chosen and a person is there, ask and begin again."""
    import msgspec

    from benchsuite.errors import ChoiceNeeded

    try:
        return _run(options, store)
    except ChoiceNeeded as needed:
        if not may_ask() or len(needed.choices) > MOST_CHOICES:
            raise
        return _run(msgspec.structs.replace(options, model=chosen(needed)), store)


def _run(options: "Options", store: "Store") -> "Run":
    """Run it, with progress on stderr and Ctrl-C understood."""
    from benchsuite import run as library
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt

    interrupt = Interrupt()
    with telling(interrupt) as teller, stoppable(interrupt, lambda: teller.measuring):
        try:
            return library.run(options, store, tell=teller, interrupt=interrupt)
        except KeyboardInterrupt:
            if teller.measuring:
                batch = options.workload.batch
                click.echo(
                    "`benchsuite batch resume` goes on with it"
                    if batch
                    else f"`benchsuite store recover` keeps what was heard so far; {GO_ON}",
                    err=True,
                )
            raise


@contextmanager
def stoppable(interrupt: "Interrupt", measuring: Callable[[], bool]) -> Generator[None]:
    """Ctrl-C: 1 drains, 2 stops now, 3 gives up; before anything was measured the first gives up."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        interrupt.level += 1
        if interrupt.level >= _NOW or not measuring():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _dry_run(options: "Options", store: "Store") -> None:
    """Say what would be sent."""
    from benchsuite import run as library
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt
    from benchsuite.report.screen import target_line, workload_line

    with telling(Interrupt()) as teller:
        manifest, lines = library.preview(options, store, teller)
    # The library's first line names the target too, in fewer words.
    click.echo("\n".join((target_line(manifest), workload_line(manifest), *lines[1:])))
    click.echo(f"Seed {manifest.seed}, nonce {manifest.nonce}. Nothing was measured or stored.")


def say_if_unpriced(options: "Options") -> None:
    """That dollars will be unknown is better heard before a long run than after it."""
    from benchsuite.money.gpus import price_of
    from benchsuite.report.money import price_note

    if note := price_note(options.gpu, price_of(options.gpu, options.gpu_price)):
        click.echo(note, err=True)


def ask_if_public(options: "Options", yes: bool) -> None:
    """Ask once before many requests at once go to a host that isn't the user's own."""
    from benchsuite.driver import load
    from benchsuite.shown import public_host

    in_flight = _in_flight(options)
    if yes or in_flight <= POLITE_IN_FLIGHT:
        return
    host = public_host(options.url or load(options.backend, options.options).default_url)
    if not host:
        return
    question = f"{host} is a public host, and up to {in_flight:,} requests would be in flight"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question}; add --yes if that's all right there")
    click.confirm(f"{question}. Go on?", abort=True, err=True)


def _in_flight(options: "Options") -> int:
    """Requests in flight as far as the workload tells; without a cap, a second's worth."""
    from benchsuite.workload.points import points
    from benchsuite.workload.stages import peak

    workload = options.workload
    if workload.stages:
        return max(math.ceil(peak(point)) for point in points(workload))
    if workload.concurrency:
        return max(workload.concurrency)
    finite = [rate for rate in workload.rate if rate != float("inf")]
    number = workload.requests or len(options.material.rows)
    at_once = number if len(finite) < len(workload.rate) else 0
    return max(at_once, int(max(finite, default=0.0)))
