"""`benchsuite trend`: a metric over time or commits."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchsuite.cli.kinds import one_or_more, pair, store_option

if TYPE_CHECKING:
    from benchsuite.store.runs import RunDir, Store
    from benchsuite.trend import Trend

FORMATS = ("table", "md", "json", "csv")
_PICTURES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="The same, such as ttft_p90 (repeatable)."
)
@click.option("--where", type=pair, multiple=True, metavar="K=V", help="Only runs like this (repeatable).")
@click.option("--like", metavar="RUN", help="Runs that measured what this one did.  [default: the newest]")
@click.option(
    "--over",
    default="time",
    show_default=True,
    metavar="WHAT",
    help="time, commit (as git has it), or a label.",
)
@click.option("--limit", type=one_or_more, metavar="N", help="At most so many runs, the newest.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    default="table",
    help="md: to paste; json: everything; csv: a row a number.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write there; .png, .svg or .pdf is a picture.")
@store_option
def trend(
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    where: tuple[tuple[str, str], ...],
    like: str | None,
    over: str,
    limit: int | None,
    wanted: str,
    path: str | None,
    store_path: str | None,
) -> None:
    """A metric over time or commits.

    METRIC is named as in `compare`: ttft_p50, tpot, cost_per_1k_usd… Each run gives one number, and only
    runs are shown that measured what the newest one did: everything but the version under test is
    equal. Where the level changed is marked; that warns and fails nothing.
    """
    from benchsuite.repository import history
    from benchsuite.store.runs import Store, default_store
    from benchsuite.trend import COMMIT
    from benchsuite.trend import trend as found_in

    picture = path is not None and Path(path).suffix.lower() in _PICTURES
    if picture and wanted != "table":
        raise click.UsageError(
            f"-o {path} is a picture and no {wanted}: leave --format out, or change the ending"
        )
    store = Store(default_store(store_path))
    candidates = _candidates(store, where)
    found = found_in(
        store.select(like) if like else None,
        candidates,
        metrics=[name.strip() for text in (*names, *metrics) for name in text.split(",")],
        over=over,
        commits=history(Path.cwd()) if over == COMMIT else None,
        limit=limit,
    )
    if picture and path is not None:
        _draw(found, path)
    else:
        _write(found, wanted, path)


def _candidates(store: "Store", where: tuple[tuple[str, str], ...]) -> "list[RunDir]":
    """The finished runs that are meant, newest first."""
    from benchsuite.errors import NotComparable, StoreError
    from benchsuite.report.listing import matches, overview

    found = []
    for run_dir in store.runs():
        if run_dir.partial:
            continue
        try:
            if not where or matches(overview(run_dir.run()), where):
                found.append(run_dir)
        except StoreError as error:
            click.echo(f"left out: {error}", err=True)
    if not found:
        like_that = " like that" if where else ""
        raise NotComparable(
            f"there is no finished run{like_that} in {store.path}; `benchsuite run` makes one"
        )
    return found


def _write(found: "Trend", wanted: str, path: str | None) -> None:
    from benchsuite.cli import output
    from benchsuite.report.trend import trend_csv, trend_markdown, trend_screen
    from benchsuite.store.runs import as_json

    if wanted == "json":
        text = as_json(found).decode()
    elif wanted == "csv":
        text = trend_csv(found)
    elif wanted == "md":
        text = trend_markdown(found)
    else:
        styled = output.styled() and path is None
        text = trend_screen(found, width=output.width(), styled=styled) + "\n"
    output.write(text, path)


def _draw(found: "Trend", path: str) -> None:
    from benchsuite.cli import output
    from benchsuite.report.figures.paper import image
    from benchsuite.report.figures.trend import trend_figure

    ending = Path(path).suffix.lower().removeprefix(".")
    try:
        Path(path).write_bytes(image(trend_figure(found), ending))  # type: ignore[arg-type]
    except OSError as error:
        raise output.unwritable(path, error) from None
    click.echo(output.shown(Path(path)))
