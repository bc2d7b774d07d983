"""`benchsuite run`: measure one target with one workload."""

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from benchsuite.cli.run_options import TYPED, GroupedCommand, options_of, run_options, typed

if TYPE_CHECKING:
    from benchsuite.engine.trial import Interrupt
    from benchsuite.store.runs import Store
    from benchsuite.target import Options
    from benchsuite.types import Run

INVALID = 3
INTERRUPTED = 130
POLITE_IN_FLIGHT = 16
"""More than this in flight on somebody's public host is asked about first."""
_NOW = 3
"""The Ctrl-C that doesn't wait for anything any more."""


@click.command(cls=GroupedCommand)
@run_options
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> None:
    """Measure a backend: TTFT, TPOT, tokens/s.

    Without options: a small model on this machine. A list (--concurrency 1,8,64) makes one point
    of each value. Ctrl-C stops and keeps what was measured.
    """
    from benchsuite.cli import output
    from benchsuite.store.runs import Store, default_store

    words = ctx.meta[TYPED]
    options = options_of(given, typed("run", words))
    store = Store(default_store(given["store_path"]))
    if given["dry_run"]:
        _dry_run(options, store)
        return
    _ask_if_public(options, given["yes"])
    store.prepare()
    done = _measured(options, store)
    measured = any(row.requests for row in done.summaries)
    if given["as_json"]:
        click.echo((store.path / done.manifest.run_id / "run.json").read_bytes(), nl=False)
    elif measured or done.status != "interrupted":
        from benchsuite.report.listing import unfinished_lines
        from benchsuite.report.screen import screen

        click.echo(screen(done, store=output.shown(store.path), width=output.width(), styled=output.styled()))
        if not words:
            click.echo(
                " Next, a server of yours: benchsuite run --backend openai --url http://localhost:8000"
            )
        for line in unfinished_lines(store.cut_off_runs()):
            click.echo(f" {line}")
    if done.status == "interrupted":
        kept = ": what was measured by then is kept" if measured else " before anything was measured"
        click.echo(f"interrupted{kept}", err=True)
        ctx.exit(INTERRUPTED)
    ctx.exit(INVALID if done.verdict == "invalid" else 0)


def _measured(options: "Options", store: "Store") -> "Run":
    """Run it, with progress on stderr and Ctrl-C understood."""
    from benchsuite import run as library
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt

    interrupt = Interrupt()
    with telling(interrupt) as teller, _stoppable(interrupt, lambda: teller.measuring):
        try:
            return library.run(options, store, tell=teller, interrupt=interrupt)
        except KeyboardInterrupt:
            if teller.measuring:
                click.echo("`benchsuite store recover` keeps what was heard so far", err=True)
            raise


@contextmanager
def _stoppable(interrupt: "Interrupt", measuring: Callable[[], bool]) -> Generator[None]:
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


def _ask_if_public(options: "Options", yes: bool) -> None:
    """Ask once before many requests at once go to a host that isn't the user's own."""
    from benchsuite.driver import load

    in_flight = _in_flight(options)
    if yes or in_flight <= POLITE_IN_FLIGHT:
        return
    host = _public_host(options.url or load(options.backend).default_url)
    if not host:
        return
    question = f"{host} is a public host, and up to {in_flight:,} requests would be in flight"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question}; add --yes if that's all right there")
    click.confirm(f"{question}. Go on?", abort=True, err=True)


def _in_flight(options: "Options") -> int:
    """Requests in flight as far as the workload tells; without a cap, a second's worth."""
    workload = options.workload
    if workload.concurrency:
        return max(workload.concurrency)
    finite = [rate for rate in workload.rate if rate != float("inf")]
    at_once = workload.requests or 0 if len(finite) < len(workload.rate) else 0
    return max(at_once, int(max(finite, default=0.0)))


def _public_host(url: str) -> str:
    """The host of a URL if it is neither this machine nor in a private network."""
    import ipaddress

    from benchsuite.target import masked_url

    host = urlsplit(masked_url(url)).hostname or ""
    if host in {"", "localhost", "private-host"}:
        return ""
    try:
        return "" if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host
