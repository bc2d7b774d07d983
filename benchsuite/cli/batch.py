"""`benchsuite batch`: runs over a batch API, which go on while nobody waits for them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchsuite.cli.kinds import json_object, key_options, proxy_url, seconds, store_option

if TYPE_CHECKING:
    from benchsuite.asked import Options
    from benchsuite.store.runs import RunDir, Store

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group()
def batch() -> None:
    """Runs over a batch API: how far they are; go on, cancel. `benchsuite run --batch-api` makes one."""


def _asking(command: _F) -> _F:
    """The options of commands that ask the server: keys and headers aren't stored with a run."""
    for option in reversed(
        (
            click.argument("run"),
            *key_options,
            click.option(
                "--extra-body", type=json_object, metavar="JSON", help="As the run was started with."
            ),
            click.option("--proxy", type=proxy_url, metavar="URL", help="Go through an HTTP proxy."),
            store_option,
            click.option("--batch-poll", type=seconds, default="5s", hidden=True),
        )
    ):
        command = option(command)
    return command


@batch.command("list")
@store_option
def listed(store_path: str | None) -> None:
    """Runs over a batch API, newest first, as they were last heard of."""
    from benchsuite.cli import output
    from benchsuite.report.batches import batch_table
    from benchsuite.store.batches import read_batches
    from benchsuite.store.runs import Store, default_store

    runs = _over_batch_apis(Store(default_store(store_path)))
    if not runs:
        click.echo("No run used a batch API; `benchsuite run --batch-api --requests 100` does.")
        return
    rows = [(run.plan(), one, not run.partial) for run in runs for one in read_batches(run).batches]
    click.echo(batch_table(rows, width=output.width(), styled=output.styled()))


@batch.command()
@_asking
@click.option("--dataset", metavar="FILE", help="The dataset that the run was started with.")
@click.option("--unchecked", is_flag=True, help="Go on without it: answers aren't checked.")
@click.option("--json", "as_json", is_flag=True, help="The run as JSON on stdout.")
@click.pass_context
def resume(ctx: click.Context, /, **given: Any) -> None:
    """Go on with RUN: submit what wasn't, wait, fetch the answers."""
    from benchsuite.batch import runs as library
    from benchsuite.cli.run import INVALID, show_runs, stoppable
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt
    from benchsuite.workload.checks import rests_on_items

    run_dir, options, store = _named(given)
    if rests_on_items(options.workload) and not (options.material.items or given["unchecked"]):
        raise click.UsageError(
            f"answers of run {run_dir.run_id} are checked against its dataset, which isn't stored: "
            "--dataset FILE, or --unchecked goes on without"
        )
    interrupt = Interrupt()
    with telling(interrupt) as teller, stoppable(interrupt, lambda: True):
        done = library.resume(run_dir, options, tell=teller, interrupt=interrupt)
    show_runs([done], store, as_json=given["as_json"], hint="")
    ctx.exit(INVALID if done.verdict == "invalid" else 0)


@batch.command()
@_asking
def status(**given: Any) -> None:
    """Ask the server how far RUN is; nothing is changed."""
    from benchsuite.batch import runs as library
    from benchsuite.report.batches import status_line

    run_dir, options, _ = _named(given)
    for one, state in library.states(run_dir, options):
        click.echo(status_line(one, state))


@batch.command()
@_asking
def cancel(**given: Any) -> None:
    """Ask for RUN's end; `batch resume` then keeps what was answered."""
    from benchsuite.batch import runs as library
    from benchsuite.types import Progress, Stage

    def tell(told: Stage | Progress) -> None:
        if isinstance(told, Stage):
            click.echo(told.text, err=True)

    run_dir, options, _ = _named(given)
    library.cancel(run_dir, options, tell)
    click.echo(f"Cancelled; `benchsuite batch resume {run_dir.run_id}` keeps what was answered by then.")


def _named(given: dict[str, Any]) -> "tuple[RunDir, Options, Any]":
    """The run, what was given of its target, and the store."""
    from benchsuite.asked import Options
    from benchsuite.cli.run_asked import headers_of
    from benchsuite.store.runs import Store, default_store
    from benchsuite.types import Connection
    from benchsuite.workload.material import found_again

    store = Store(default_store(given["store_path"]))
    run_dir = _selected(store, given["run"])
    plan = run_dir.plan()
    options = Options(
        backend=plan.backend,
        workload=plan.workload,
        key_variable=given["api_key_env"] or "",
        token_command=given["token_command"] or "",
        headers=headers_of(given),
        extra_body=given["extra_body"] or {},
        connection=Connection(proxy=given["proxy"]),
        batch_poll_s=given["batch_poll"],
        material=found_again(plan.workload, given.get("dataset") or ""),
    )
    return run_dir, options, store


def _selected(store: "Store", selector: str) -> "RunDir":
    """As everywhere, but `latest` is the newest run over a batch API, finished or not."""
    runs = _over_batch_apis(store)
    return runs[0] if selector == "latest" and runs else store.select(selector)


def _over_batch_apis(store: "Store") -> "list[RunDir]":
    return [run_dir for run_dir in store.runs() if (run_dir.path / "batches.json").exists()]
