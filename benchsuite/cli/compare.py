"""`benchsuite compare`: stored runs side by side."""

from typing import TYPE_CHECKING

import click

from benchsuite.cli.kinds import pair, share, store_option

if TYPE_CHECKING:
    from benchsuite.compare import Comparison
    from benchsuite.groups import Group
    from benchsuite.store.runs import Store
    from benchsuite.types import Run

FORMATS = ("table", "md", "json", "csv")


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN RUN…]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Only this, such as ttft or tpot_p50 (repeatable, or with commas).",
)
@click.option(
    "--margin",
    type=share,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Differences up to this count as the same.",
)
@click.option(
    "--by",
    metavar="WHAT",
    help="The newest run of each backend, model, gpu, label:NAME or engine:SETTING.",
)
@click.option(
    "--where",
    type=pair,
    multiple=True,
    metavar="K=V",
    help="Without RUNs, with --by: only runs like this (repeatable), as for `results`.",
)
@click.option("--allow-invalid", is_flag=True, help="Compare invalid runs all the same.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    default="table",
    help="md: to paste; json: everything; csv: a row a metric and point.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write there instead of here.")
@store_option
def compare(
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    margin: float,
    by: str | None,
    where: tuple[tuple[str, str], ...],
    allow_invalid: bool,
    wanted: str,
    path: str | None,
    store_path: str | None,
) -> None:
    """Runs side by side, with intervals and verdicts.

    Each RUN is the beginning of a run's id, `latest`, or `latest~1` for the one before it. The first
    is the base, each other one is compared with it: better, worse, same, or undecided.

    With --by and no RUNs, the newest comparable runs of the store are compared, one of each.
    """
    from benchsuite.cli import output
    from benchsuite.compare import compare as compared
    from benchsuite.groups import difference
    from benchsuite.store.runs import Store, default_store

    if where and (runs or not by):
        raise click.UsageError("--where chooses among the store's runs: give it with --by, and name no runs")
    store = Store(default_store(store_path))
    meant = difference(by) if by else ""
    groups = _groups(store, runs, by, where, allow_invalid=allow_invalid) if by else ()
    found = compared(
        [group.run_dir for group in groups] if by else [store.select(run) for run in runs],
        margin=margin,
        metrics=[name.strip() for text in metrics for name in text.split(",")],
        allow_invalid=allow_invalid,
        by=meant,
        groups=[group.name for group in groups],
    )
    output.write(written(found, wanted, path), path)


def _groups(
    store: "Store",
    runs: tuple[str, ...],
    by: str,
    where: tuple[tuple[str, str], ...],
    *,
    allow_invalid: bool,
) -> "tuple[Group, ...]":
    """The newest run of each group, among those that were named or in the whole store; tells who can't be."""
    from benchsuite.groups import comparable_runs, newest_of_each
    from benchsuite.report.listing import matches, overview

    if runs:
        named = [store.select(run) for run in runs]
        return newest_of_each([(run_dir, run_dir.run()) for run_dir in named], by)

    def like_that(run: "Run") -> bool:
        return matches(overview(run), where)

    found, left_out = comparable_runs(store, like_that, allow_invalid=allow_invalid)
    newest = newest_of_each(found, by, left_out)
    if left_out:
        click.echo(left_out, err=True)
    return newest


def written(found: "tuple[Comparison, ...]", wanted: str, path: str | None) -> str:
    """Comparisons in the form that was asked for; `path` None: for this terminal."""
    from benchsuite.cli import output
    from benchsuite.report.compare import compared_csv, compared_markdown, compared_screen
    from benchsuite.store.runs import as_json

    if wanted == "json":
        return as_json(found).decode()
    if wanted == "csv":
        return compared_csv(found)
    if wanted == "md":
        return compared_markdown(found)
    return compared_screen(found, width=output.width(), styled=output.styled() and path is None) + "\n"
