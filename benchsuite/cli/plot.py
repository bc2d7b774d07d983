"""`benchsuite plot`: one or several stored runs as figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.kinds import store_option

if TYPE_CHECKING:
    from benchsuite.report.figures import Samples
    from benchsuite.store.runs import RunDir
    from benchsuite.types import Run

KINDS = ("all", "latency", "distribution", "throughput", "cost", "completion")
FORMATS = ("png", "svg", "pdf")
_SAMPLED = ("all", "distribution")
_NAMED = 3
"""So many runs are named in a file's name."""
_ID = 10
"""So much of an id tells runs apart that weren't started at once."""


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--kind", type=click.Choice(KINDS), default="all", show_default=True, help="What to draw.")
@click.option("--format", "wanted", type=click.Choice(FORMATS), help="Of the file.  [default: png]")
@click.option(
    "-o", "--output", "path", metavar="PATH", help="A file (.png, .svg, .pdf), or a folder for one a kind."
)
@store_option
def plot(
    runs: tuple[str, ...], kind: str, wanted: str | None, path: str | None, store_path: str | None
) -> None:
    """Draw one or several runs: latency, distributions, throughput and cost; of batches their completion.

    RUN is the beginning of a run's id, or `latest`, which is the default. Several runs are drawn
    over one another, and the legend names what they differ in. Without -o: one page in this folder.
    """
    from benchsuite.cli import output
    from benchsuite.report.figures import FIGURES, drawable, image, overview, sheet
    from benchsuite.store.runs import Store, default_store

    ending, folder = _place(path, wanted)
    store = Store(default_store(store_path))
    chosen = {run_dir.run_id: run_dir for run_dir in map(store.select, runs or ("latest",))}
    read = [(run_dir, run_dir.run()) for run_dir in chosen.values()]
    samples = [_samples(run_dir, run) if kind in _SAMPLED else {} for run_dir, run in read]
    drawn = sheet([run for _, run in read], samples)
    kinds = [kind]
    if kind == "all" and folder is not None:
        kinds = list(drawable(drawn))
    for each in kinds:
        figure = overview(drawn) if each == "all" else FIGURES[each](drawn)
        file = (folder or Path()) / _file_name([run.manifest.run_id for _, run in read], each, ending)
        file = Path(path) if path and folder is None else file
        _write(file, image(figure, ending), folder)
        click.echo(output.shown(file))
    if kind == "all" and folder is not None and "cost" not in kinds:
        click.echo("cost left out: no price is known", err=True)


def _place(path: str | None, wanted: str | None) -> tuple[Any, Path | None]:
    """The format, and the folder if a folder is meant: an ending decides, where there is one."""
    if path is None:
        return wanted or "png", None
    ending = Path(path).suffix.removeprefix(".").lower()
    if path.endswith(("/", "\\")) or Path(path).is_dir() or not ending:
        return wanted or "png", Path(path)
    if ending not in FORMATS:
        raise click.UsageError(f"-o {path} should end in .png, .svg or .pdf, or name a folder")
    if wanted not in {None, ending}:
        raise click.UsageError(f"-o {path} is no {wanted}; leave --format out, or change the ending")
    return ending, None


def _samples(run_dir: "RunDir", run: "Run") -> "dict[int, Samples]":
    """Each point's samples; none where the records aren't there any more."""
    from benchsuite.report.figures import samples_of
    from benchsuite.stats.columns import NEEDED

    there = {point for point, trial in run_dir.trial_files().values() if trial}
    return {
        row.point.index: samples_of(run, row, run_dir.records(row.point.index, columns=NEEDED))
        for row in run.summaries
        if row.point.index in there and not row.point.batch
    }


def _file_name(run_ids: list[str], kind: str, ending: str) -> str:
    """Begins like the ids, so that what stands in it finds the runs again."""
    ids = [run_id[:_ID] for run_id in run_ids[:_NAMED]]
    more = [f"and-{len(run_ids) - _NAMED}-more"] if len(run_ids) > _NAMED else []
    return "-".join(["benchsuite", *ids, *more, *([] if kind == "all" else [kind])]) + f".{ending}"


def _write(file: Path, data: bytes, folder: Path | None) -> None:
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise click.UsageError(f"can't write {file} ({error.strerror}); name another place with -o") from None
