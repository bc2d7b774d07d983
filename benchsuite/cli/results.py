"""`benchsuite results`: the stored runs, newest first."""

import click

from benchsuite.cli.kinds import pair, store_option


@click.command()
@click.option("--where", type=pair, multiple=True, metavar="K=V", help="Only runs like this (repeatable).")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@store_option
def results(where: tuple[tuple[str, str], ...], limit: int, as_json: bool, store_path: str | None) -> None:
    """List stored runs, newest first.

    --where takes backend, model, workload, verdict, gpu, or the name of a label.
    """
    import msgspec

    from benchsuite.cli import output
    from benchsuite.errors import StoreError
    from benchsuite.report.listing import matches, overview, run_table, unfinished_lines
    from benchsuite.store.runs import Store, default_store

    store = Store(default_store(store_path))
    rows = []
    for run_dir in store.runs():
        if run_dir.partial:
            continue
        try:
            row = overview(run_dir.run())
        except StoreError as error:
            click.echo(f"left out: {error}", err=True)
            continue
        if matches(row, where):
            rows.append(row)
        if len(rows) == limit:
            break
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    if rows:
        click.echo(run_table(rows, width=output.width(), styled=output.styled()))
    else:
        what = "no run like that" if where else "no finished run"
        click.echo(f"There is {what} in {output.shown(store.path)}; `benchsuite run` makes one.")
    for line in unfinished_lines(store.partial_runs()):
        click.echo(line)
