"""Sweeps on the command line: their options, what they will take, and what of them is left to do."""

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import click

from benchsuite.cli.kinds import pair
from benchsuite.cli.settings import FILLED
from benchsuite.cli.targets import may_ask

if TYPE_CHECKING:
    from benchsuite.asked import Options
    from benchsuite.forecast import Forecast
    from benchsuite.store.runs import Store
    from benchsuite.types import Run, Workload

ASKED_FROM_USD: Final = 1.0
"""What a hosted API may bill without a question."""
ASKED_FROM_S: Final = 3600.0

sweep_options: Final = (
    click.option(
        "--sweep",
        type=click.Choice(["grid", "zip"]),
        help="Lists together: each with each, or side by side.",
    ),
    click.option(
        "--order",
        type=click.Choice(["blocks", "listed"]),
        help="All points in turn, shuffled, or one after another.",
    ),
    click.option("--resume", is_flag=True, help="Go on with what was interrupted."),
)


def settings(text: str) -> dict[str, tuple[str, ...]]:
    """`tp=2,max-seqs=4,16` → {tp: (2,), max-seqs: (4, 16)}: what has no name is one more value."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for part in text.split(","):
        if "=" in part or not name:
            name, value = pair(part)
            found[name] = (value,)
        elif not part.strip():
            raise click.BadParameter("a value is missing after a comma; write K=V,V or K=V,K=V")
        else:
            found[name] = (*found[name], part.strip())
    return found


def engine_of(given: dict[str, Any], several: bool) -> dict[str, Any]:
    """The engine's settings that have several values, or those that have one: as a value, not a list."""
    found = {name: values for each in given["engine"] for name, values in each.items()}
    if several:
        return {name: values for name, values in found.items() if len(values) > 1}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def check_zip(given: dict[str, Any], workload: "Workload") -> None:
    """Refuse a typed `--sweep zip` that has no two lists to put side by side: a UsageError."""
    from benchsuite.errors import UsageError
    from benchsuite.workload.points import side_by_side

    filled = given.get(FILLED)
    typed = filled is None or "sweep" in filled.typed
    lists = side_by_side(workload)
    if given["sweep"] != "zip" or not typed or len(lists) > 1:
        return
    if workload.listed:
        raise UsageError(
            "--sweep zip: the workload lists its points, which go together as it says; leave it out"
        )
    there = f"only one, of {lists[0]}" if lists else "none"
    apart = ""
    if workload.engine or workload.models or "," in (given["model"] or "") or len(given["target"] or ()) > 1:
        apart = "; models, targets and engine settings form runs of their own, each with all points"
    raise UsageError(
        f"--sweep zip puts lists side by side, and there is {there}{apart}: give two lists or more, such as "
        "--prompt-tokens 128,512 --concurrency 8,2, or leave it out"
    )


def check_resume(given: dict[str, Any], batch: bool) -> None:
    """Refuse what has nothing to say where a run goes on: a UsageError."""
    from benchsuite.errors import UsageError

    if not given["resume"]:
        return
    if batch:
        raise UsageError("--resume goes on with no batch; `benchsuite batch resume` does")
    for name in ("nonce", "dry_run"):
        if given[name]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} has nothing to say to a run that goes on; leave it or --resume out")


def left_to_do(arms: "list[Options]", store: "Store") -> "tuple[list[Options], list[Run]]":
    """The arms that are left of what was interrupted, and the runs that are there already."""
    from benchsuite.sweep import resumed

    left, done = resumed(arms, store)
    if done:
        ids = ", ".join(run_dir.run_id for run_dir in done)
        click.echo(f"{len(done)} of {len(arms)} runs of the sweep are done: {ids}", err=True)
    return left, [run_dir.run() for run_dir in done]


def tell_forecast(arms: "list[Options]", store: "Store", *, yes: bool, ask: bool) -> None:
    """Say what it will take; where that is much, go on only if it is wanted."""
    from benchsuite.forecast import Forecast, amounts_in_words, counted, forecast, in_words
    from benchsuite.resume import left_of, unfinished

    whole = [forecast(arm) for arm in arms]
    left = [(one.points * one.trials,) * 2 for one in whole]
    for place, arm in enumerate(arms):
        if arm.resume and (begun := unfinished(store, arm)) is not None:
            left[place] = left_of(begun)
    each = [one.times(todo / number) for one, (todo, number) in zip(whole, left, strict=True)]
    total = reduce(Forecast.plus, each)
    runs = f"{len(arms)} runs, together " if len(arms) > 1 else ""
    if any(arm.resume for arm in arms):
        todo, number = (sum(pair[place] for pair in left) for place in (0, 1))
        trials = f"still to do: {runs}{todo:,} of {counted(number, 'trial')}"
        click.echo(", ".join(filter(None, (trials, amounts_in_words(total)))), err=True)
    else:
        click.echo(f"{runs}{in_words(total)}", err=True)
    confirm_much(total, arms, yes=yes, ask=ask)


def confirm_much(total: "Forecast", arms: "list[Options]", *, yes: bool, ask: bool) -> None:
    """Where it takes much time or money, go on only if it is wanted."""
    dear = total.tokens_usd > ASKED_FROM_USD and any(map(_is_public, arms))
    if yes or not ask or not (dear or total.seconds > ASKED_FROM_S):
        return
    if may_ask():
        click.confirm("That is much. Go on?", abort=True, err=True)
    elif dear:
        raise click.UsageError(
            f"about ${total.tokens_usd:,.2f} of a hosted API's tokens; add --yes if that's all right"
        )


def _is_public(options: "Options") -> bool:
    from benchsuite.driver import load
    from benchsuite.shown import public_host

    return bool(public_host(options.url or load(options.backend, options.options).default_url))


def in_order(arms: "list[Options]", runs: "list[Run]") -> "list[Run]":
    """Runs in the order of the arms that they are."""
    axes = [arm.axes for arm in arms]
    return sorted(
        runs, key=lambda run: axes.index(run.manifest.axes) if run.manifest.axes in axes else len(axes)
    )
