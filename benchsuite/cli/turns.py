"""What `ab` and `gate` have in common: two targets and how they are measured in turn."""

import shlex
from typing import TYPE_CHECKING, Any, Final

import click

from benchsuite.cli.kinds import dollars, one_or_more, seconds
from benchsuite.cli.run import ask_if_public, stoppable
from benchsuite.cli.run_asked import check_backend, options_of
from benchsuite.cli.run_options import TYPED, OwnFirst, typed
from benchsuite.cli.settings import given_for
from benchsuite.cli.targets import named_targets

if TYPE_CHECKING:
    from benchsuite.ab.ask import Ask
    from benchsuite.ab.turns import Look, Ready
    from benchsuite.asked import Options
    from benchsuite.store.runs import Store
    from benchsuite.types import Run

EVERY: Final = 4
"""It is looked after each so many pairs: even, so that either arm comes first as often."""
MOST_PAIRS: Final = 12
DECIDED: Final = ("trials", "batch_api", "sweep", "order")
"""Options of `run` that measuring in turn decides itself."""
_OF_BOTH: Final = ("resume", "dry_run", "as_json", "yes", "store_path", "margin", "wanted", "path")
"""What is asked once, and not of an arm."""

turn_options: Final = (
    click.option("--pairs", type=one_or_more, metavar="N", help="At most so many; looked at every 4. [12]"),
    click.option("--time", "time_s", type=seconds, metavar="TIME", help="At most so long: 20m."),
    click.option("--budget", "usd", type=dollars, metavar="USD", help="At most so many dollars."),
    click.option("--restart", is_flag=True, help="Start the engines anew for each trial."),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="Look at this: ttft, tpot_p50… (repeatable)",
    ),
    click.option("--a", "only_a", metavar="OPTIONS", help="Options of the base alone, in quotes."),
    click.option("--b", "only_b", metavar="OPTIONS", help="Options of the other alone, in quotes."),
)


class TurnsCommand(OwnFirst):
    """The options of `run` without those that measuring in turn decides."""

    title = "In turn"
    own: tuple[str, ...] = ("pairs", "time_s", "usd", "restart", "metrics", "only_a", "only_b")
    decided: tuple[str, ...] = DECIDED


def typed_there(ctx: click.Context, name: str) -> bool:
    """Was the option typed, and isn't a default of its own or of a file?"""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def check_turns(ctx: click.Context, given: dict[str, Any]) -> None:
    """Refuse what has nothing to say here: a UsageError."""
    from benchsuite.cli import output
    from benchsuite.errors import UsageError

    output.check_writable(given["path"])
    if given["time_s"] == 0:
        raise UsageError("--time must be more than 0")
    for name in DECIDED:
        # What benchsuite.toml says of them is for other commands.
        if typed_there(ctx, name):
            option = f"--{name.replace('_', '-')}"
            instead = "; --pairs says how many trials there may be" if name == "trials" else ""
            raise UsageError(f"{option} doesn't go with measuring in turn: leave it out{instead}")


def looks(given: dict[str, Any]) -> tuple[int, ...]:
    """After how many pairs it is looked: every fourth, up to the most."""
    from benchsuite.errors import UsageError

    most: int = given["pairs"] or MOST_PAIRS
    if most % EVERY:
        raise UsageError(f"--pairs goes by fours, so that each arm comes first as often: {-(-most // 4) * 4}")
    return tuple(range(EVERY, most + 1, EVERY))


def arms(
    ctx: click.Context, given: dict[str, Any], name: str, *, against: str = ""
) -> "tuple[Options, Options]":
    """Base and other as two sets of options; a UsageError unless two targets are named, or one twice.

    `against`: a word that names the base, where the other is the command's target.
    """
    import msgspec

    from benchsuite.errors import UsageError

    words, found = ctx.meta[TYPED], []
    for at, extra in enumerate((given["only_a"], given["only_b"])):
        params = _with_extra(ctx, words, extra, f"--{'ab'[at]}") if extra else dict(given)
        named = params["target"]
        if against and not at:
            params |= {"target": (against,), "backend": None, "url": None, "model": None}
        elif len(named) == 2 and not against:
            params["target"] = (named[at],)
        if len(params["target"]) == 1:
            # A target of benchsuite.toml has options of its own.
            params = given_for(params, params["target"][0])
        targets = named_targets(params)
        if len(targets) > 2 or (against and len(targets) > 1):
            raise UsageError(f"{len(targets)} targets are named; `{name}` measures two in turn")
        backend, url, model = targets[at if len(targets) == 2 else 0]
        options = options_of(params, typed(name, words))
        if options.workload.models or options.workload.engine:
            raise UsageError("a workload that sweeps models or engine settings has more than two arms")
        found.append(msgspec.structs.replace(options, backend=backend, url=url, model=model))
    for options in found:
        check_backend(options)
    return found[0], found[1]


def _with_extra(ctx: click.Context, words: tuple[str, ...], extra: str, option: str) -> dict[str, Any]:
    """The options as they would be with some more words behind them."""
    from benchsuite.errors import UsageError

    try:
        more = shlex.split(extra)
    except ValueError:
        raise UsageError(f"{option}: a quotation mark isn't closed") from None
    params = dict(ctx.command.make_context(ctx.info_name, [*words, *more], parent=ctx.parent).params)
    command = ctx.command
    own = (*(command.own if isinstance(command, TurnsCommand) else ()), *_OF_BOTH)
    for param in command.params:
        if param.name in own and params[param.name] != ctx.params[param.name]:
            raise UsageError(f"{option}: {param.opts[-1]} isn't an option of one arm: leave it outside")
    return params


def tell_plan(two: "tuple[Options, Options]", ask: "Ask", store: "Store", *, yes: bool, dry: bool) -> None:
    """Say what it will take at least and at most; where that is much, go on only if it is wanted."""
    from benchsuite.ab.begun import pairs_done
    from benchsuite.cli.run_sweep import confirm_much
    from benchsuite.forecast import forecast, told_s, usd_in_words

    most, done = ask.looks[-1], pairs_done(two, ask, store)
    left, fewest = most - done, min(look for look in ask.looks if look >= done) - done
    base, other = map(forecast, ask.of(two))
    whole = base.plus(other).times(left / most)
    guess = "roughly " if whole.guessed else "about "
    pairs, span = f"{left}", told_s(whole.seconds)
    if fewest < left:
        pairs, span = f"{fewest} to {left}", f"{told_s(whole.seconds * fewest / left)} to {span}"
    usd = f", at most {usd_in_words(whole.usd)}" if whole.usd is not None else ""
    still = "still to do: " if ask.resume else ""
    click.echo(f"{still}{pairs} pairs of trials, measured in turn: {guess}{span}{usd}", err=True)
    confirm_much(whole, list(two), yes=yes, ask=not dry)
    for options in () if dry else two:
        ask_if_public(options, yes)


def measured_in_turn(
    two: "tuple[Options, Options]", ask: "Ask", store: "Store", ready: "Ready", look: "Look"
) -> "tuple[Run, Run]":
    """Measure both, with progress on stderr and Ctrl-C understood."""
    from benchsuite.ab.turns import in_turn
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt

    interrupt = Interrupt()
    with telling(interrupt) as teller, stoppable(interrupt, lambda: teller.measuring):
        try:
            return in_turn(two, ask, store, ready=ready, look=look, tell=teller, interrupt=interrupt)
        except KeyboardInterrupt:
            if teller.measuring:
                click.echo("repeat the command with --resume to go on", err=True)
            raise
