"""`benchsuite show`: one stored run, for people and for programs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.kinds import store_option

if TYPE_CHECKING:
    from benchsuite.store.runs import RunDir
    from benchsuite.types import Run

FORMATS = ("md", "json", "jsonl", "csv", "parquet")


@click.command()
@click.argument("run", default="latest")
@click.option("--how", is_flag=True, help="Explain each number, and how to measure it again.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    help="md: a table to paste; json: the run; jsonl, csv, parquet: its records.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write there instead of here.")
@click.option("--with-warm-up", is_flag=True, help="Records of the warm-up too.")
@store_option
def show(
    run: str,
    how: bool,
    as_json: bool,
    wanted: str | None,
    path: str | None,
    with_warm_up: bool,
    store_path: str | None,
) -> None:
    """One run: its numbers, its verdict, how it was measured.

    RUN is the beginning of a run's id, `latest`, which is the default, or `latest~1` for the one before.
    """
    from benchsuite.cli import output
    from benchsuite.store.runs import Store, default_store

    store = Store(default_store(store_path))
    run_dir = store.select(run)
    wanted = wanted or ("json" if as_json else None)
    if how and wanted:
        raise click.UsageError("--how explains the run to people; leave --format out")
    if wanted in {"jsonl", "csv", "parquet"}:
        _records(run_dir, wanted, path, with_warm_up)
        return
    if with_warm_up:
        raise click.UsageError("--with-warm-up needs --format jsonl, csv or parquet")
    output.write(_text(run_dir, run, wanted, how, store.path, plain=path is not None), path)


def _text(
    run_dir: "RunDir", selector: str, wanted: str | None, how: bool, store_path: Path, *, plain: bool
) -> str:
    """The run as it was asked for."""
    from benchsuite.cli import output

    if wanted == "json":
        run_dir.run()
        return (run_dir.path / "run.json").read_text(encoding="utf-8")
    run = run_dir.run()
    if wanted == "md":
        from benchsuite.report.markdown import markdown

        return markdown(run, stages=staged(run_dir, run), turns=talked(run_dir, run))
    width, styled = output.width(), output.styled() and not plain
    if how:
        from benchsuite.report.how import how as explained

        return explained(run, width=width, styled=styled) + "\n"
    from benchsuite.report.screen import screen

    kept = output.shown(store_path)
    tables = {"stages": staged(run_dir, run), "turns": talked(run_dir, run)}
    return screen(run, store=kept, width=width, styled=styled, selector=selector, **tables) + "\n"


def staged(run_dir: "RunDir", run: "Run") -> Any:
    """The numbers of a run's stages, from its records; empty where they aren't there any more."""
    if not run.manifest.workload.stages or not any(trial for _, trial in run_dir.trial_files().values()):
        return ()
    from benchsuite.stats.columns import NEEDED
    from benchsuite.stats.staged import all_by_stage

    return all_by_stage(run, lambda point: run_dir.records(point, columns=NEEDED))


def talked(run_dir: "RunDir", run: "Run") -> Any:
    """The numbers of a run's turns of conversations, from its records; empty where they aren't there."""
    talks = any(row.point.talks for row in run.summaries)
    if not talks or not any(trial for _, trial in run_dir.trial_files().values()):
        return ()
    from benchsuite.stats.columns import NEEDED
    from benchsuite.stats.talks import all_by_turn

    return all_by_turn(run, lambda point: run_dir.records(point, columns=NEEDED))


def _records(run_dir: "RunDir", wanted: Any, path: str | None, with_warm_up: bool) -> None:
    """One line or row a request."""
    from benchsuite.cli import output
    from benchsuite.store.export import export_records

    if wanted == "parquet" and path is None:
        raise click.UsageError("--format parquet isn't text: name a file with -o")
    table = run_dir.records(include_warm_up=with_warm_up)
    if path is None:
        export_records(table, wanted, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        export_records(table, wanted, Path(path))
    except OSError as error:
        raise output.unwritable(path, error) from None
