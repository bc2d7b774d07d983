"""`benchsuite ab`: two targets measured in turn until the difference is known."""

from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.kinds import share
from benchsuite.cli.run import INTERRUPTED, INVALID, say_if_unpriced
from benchsuite.cli.run_options import run_options, with_options
from benchsuite.cli.turns import (
    TurnsCommand,
    arms,
    check_turns,
    looks,
    measured_in_turn,
    tell_plan,
    turn_options,
)

if TYPE_CHECKING:
    from benchsuite.store.runs import Store
    from benchsuite.types import Run

UNDECIDED = 5
FORMATS = ("table", "md", "json", "csv")


class AbCommand(TurnsCommand):
    """The options of `run` behind those of measuring in turn."""

    own = (*TurnsCommand.own, "margin", "wanted", "path")


@click.command(cls=AbCommand)
@run_options
@with_options(
    *turn_options,
    click.option(
        "--margin", type=share, default="5%", metavar="SHARE", help="Up to this counts as the same. [5%]"
    ),
    click.option("--format", "wanted", type=click.Choice(FORMATS), default="table", help="Of what is shown."),
    click.option("-o", "--output", "path", metavar="FILE", help="Write there instead of here."),
)
@click.argument("target", nargs=-1)
@click.pass_context
def ab(ctx: click.Context, /, **given: Any) -> None:
    """Measure two targets in turn until the difference is known.

    The first is the base. Both are sent the same at the same instants, A B, B A…, so that whatever drifts
    meets both alike; after 4, 8 and 12 pairs it is looked whether each metric is better, worse or the
    same. Two settings of one target: --b '--engine max-seqs=64'. Engines that are started here are never
    loaded at once. Ctrl-C keeps what was measured, --resume goes on. Exits 5 if something stays undecided.
    """
    from benchsuite.ab.ask import Ask
    from benchsuite.ab.known import until_known
    from benchsuite.store.runs import Store, default_store

    check_turns(ctx, given)
    if given["as_json"]:
        given["wanted"] = "json"
    ask = Ask(
        purpose="ab",
        looks=looks(given),
        seconds=given["time_s"],
        usd=given["usd"],
        restarts=given["restart"],
        resume=given["resume"],
    )
    store, two = Store(default_store(given["store_path"])), arms(ctx, given, "ab")
    if two[0] == two[1]:
        click.echo("A and B are the same target: what differs between them is noise", err=True)
    say_if_unpriced(two[1])
    tell_plan(two, ask, store, yes=given["yes"], dry=given["dry_run"])
    if given["dry_run"]:
        return
    metrics = [name.strip() for text in given["metrics"] for name in text.split(",")]
    ready, look = until_known(metrics, given["margin"])
    base, other = measured_in_turn(two, ask, store, ready, look)
    decided = _show(base, other, store, given, metrics)
    if "interrupted" in {base.status, other.status}:
        click.echo("interrupted: whole pairs are kept; repeat the command with --resume to go on", err=True)
        ctx.exit(INTERRUPTED)
    ctx.exit(INVALID if "invalid" in {base.verdict, other.verdict} else 0 if decided else UNDECIDED)


def _show(base: "Run", other: "Run", store: "Store", given: dict[str, Any], metrics: list[str]) -> bool:
    """What is known now; is all of it decided?"""
    from benchsuite.ab.known import names_of
    from benchsuite.cli import output
    from benchsuite.cli.compare import written
    from benchsuite.compare import compare
    from benchsuite.store.runs import RunDir

    if not base.summaries or not other.summaries:
        return False
    dirs = [RunDir(store.path / run.manifest.run_id) for run in (base, other)]
    found = compare(dirs, margin=given["margin"], metrics=metrics, allow_invalid=True)
    output.write(written(found, given["wanted"], given["path"]), given["path"])
    looked_at = names_of(metrics, base.manifest)
    rows = [row for one in found for pair in one.points for row in pair.rows if row.metric in looked_at]
    # What so few answers can never tell is said in the table, and isn't waited for.
    told = [row.effect.verdict for row in rows if not row.note.startswith("n<")]
    return bool(told) and "undecided" not in told
