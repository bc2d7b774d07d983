"""`benchsuite selftest`: this machine's own error."""

import click

from benchsuite.cli.kinds import store_option


@click.command()
@click.option("--quick", is_flag=True, help="Fewer levels, a few seconds.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@store_option
def selftest(quick: bool, as_json: bool, store_path: str | None) -> None:
    """How far off this machine's own measurements are.

    Measures a simulator whose timing is known, and says by how much our numbers miss it. The
    result is kept and stands beside each later run.
    """
    import msgspec

    from benchsuite import selftest as library
    from benchsuite.cli import output
    from benchsuite.report.listing import selftest_table
    from benchsuite.store.runs import Store, default_store

    store = Store(default_store(store_path))
    found = library.selftest(store, tell=lambda stage: click.echo(stage.text, err=True), quick=quick)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    click.echo(selftest_table(found, width=output.width(), styled=output.styled()))
    stamps = "the kernel" if found.kernel_stamps else "the client itself: a busy one is late"
    click.echo(f"Arrivals were stamped by {stamps}. Kept in {output.shown(store.path)}.")
