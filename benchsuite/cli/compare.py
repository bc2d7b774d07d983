"""`benchsuite compare`: stored runs side by side."""

from typing import TYPE_CHECKING

import click

from benchsuite.cli.kinds import share, store_option

if TYPE_CHECKING:
    from benchsuite.compare import Comparison

FORMATS = ("table", "md", "json", "csv")


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN RUN…")
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
    allow_invalid: bool,
    wanted: str,
    path: str | None,
    store_path: str | None,
) -> None:
    """Runs side by side, with intervals and verdicts.

    Each RUN is the beginning of a run's id, `latest`, or `latest~1` for the one before it. The first
    is the base, each other one is compared with it: better, worse, same, or undecided.
    """
    from benchsuite.cli import output
    from benchsuite.compare import compare as compared
    from benchsuite.store.runs import Store, default_store

    store = Store(default_store(store_path))
    found = compared(
        [store.select(run) for run in runs],
        margin=margin,
        metrics=[name.strip() for text in metrics for name in text.split(",")],
        allow_invalid=allow_invalid,
    )
    output.write(written(found, wanted, path), path)


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
