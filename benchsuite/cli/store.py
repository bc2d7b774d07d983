"""`benchsuite store`: check and recover stored runs."""

import click

from benchsuite.cli.kinds import store_option


@click.group()
def store() -> None:
    """Check and recover stored runs."""


@store.command()
@store_option
def recover(store_path: str | None) -> None:
    """Finish runs that were cut off, from what had been recorded by then."""
    from benchsuite.conclude import recover as recovered
    from benchsuite.store.runs import Store, default_store
    from benchsuite.types import Progress, Stage

    def tell(told: Stage | Progress) -> None:
        if isinstance(told, Stage):
            click.echo(told.text, err=True)

    where = Store(default_store(store_path))
    if not where.partial_runs():
        click.echo("No run was cut off.")
        return
    for run in recovered(where, tell):
        answered = sum(row.outcomes.get("ok", 0) for row in run.summaries)
        click.echo(f"{run.manifest.run_id}: kept, {answered:,} answered requests ({run.verdict})")


@store.command()
@click.argument("run", required=False)
@store_option
@click.pass_context
def check(ctx: click.Context, run: str | None, store_path: str | None) -> None:
    """Does a run (default: every one) hold what it says it holds?"""
    from benchsuite.store.check import check as problems_of
    from benchsuite.store.runs import Store, default_store

    where = Store(default_store(store_path))
    chosen = where.runs() if run is None else [where.select(run)]
    bad = 0
    for run_dir in chosen:
        problems = problems_of(run_dir)
        bad += bool(problems)
        for problem in problems:
            click.echo(f"{run_dir.run_id}: {problem}")
    click.echo(f"{len(chosen) - bad} of {len(chosen)} runs are whole.")
    ctx.exit(2 if bad else 0)
