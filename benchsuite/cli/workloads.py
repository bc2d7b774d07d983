"""`benchsuite workloads`: what is sent."""

import click


@click.group(invoke_without_command=True)
@click.pass_context
def workloads(ctx: click.Context) -> None:
    """What is sent; `workloads show chat` explains one."""
    if ctx.invoked_subcommand is not None:
        return
    from benchsuite.cli import output
    from benchsuite.report.render import listing
    from benchsuite.workload.load import load, shipped

    rows = [(name, load(name).description) for name in shipped()]
    click.echo(listing(("workload", "what it tells"), rows, width=output.width(), styled=output.styled()))
    click.echo("`benchsuite workloads show NAME` explains one; `--workload FILE.toml` takes your own.")


@workloads.command()
@click.argument("name")
@click.option("--toml", "as_toml", is_flag=True, help="As a file, to make one of your own from.")
def show(name: str, as_toml: bool) -> None:
    """Explain a workload: a name such as chat or chat@1, or a .toml file."""
    from benchsuite.cli import output
    from benchsuite.report.render import words
    from benchsuite.workload.card import card
    from benchsuite.workload.load import load

    if as_toml:
        from benchsuite.workload.written import written

        click.echo(written(load(name)), nl=False)
        return
    rows = card(load(name))
    label_width = max(len(label) for label, _ in rows)
    for label, text in rows:
        line = f"{label.ljust(label_width)}  {text}"
        click.echo(words(line, width=output.width(), indent=label_width + 2))


@workloads.command()
def schema() -> None:
    """Print the JSON Schema of workload files, for editors that check TOML."""
    import json

    from benchsuite.workload.editor import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
