"""`benchsuite capacity`: the highest load that still meets the limits."""

from typing import TYPE_CHECKING, Any, Final

import click

from benchsuite.cli.kinds import one_or_more, share
from benchsuite.cli.run import INTERRUPTED, INVALID, MOST_CHOICES, say_if_unpriced, show_runs, stoppable
from benchsuite.cli.run_asked import check_backend, options_of
from benchsuite.cli.run_options import TYPED, OwnFirst, run_options, typed, with_options
from benchsuite.cli.run_sweep import confirm_much
from benchsuite.cli.targets import chosen, may_ask, named_targets

if TYPE_CHECKING:
    from benchsuite.asked import Options
    from benchsuite.capacity.search import Ask
    from benchsuite.store.runs import Store
    from benchsuite.types import Run

UNDECIDED = 5
"""Loads were tried, and none of them is the answer."""

_FOUND: Final = (
    *("concurrency", "rate", "duration", "trials", "stages", "trace", "time_scale", "batch_api"),
    *("sweep", "order", "resume", "warm_up"),
)
"""Options of `run` that say what is searched for here, or that a search has no use for."""

_SEARCH: Final = (
    click.option(
        "--by",
        type=click.Choice(["rate", "concurrency"]),
        default="rate",
        show_default=True,
        help="What is raised: requests/s, or requests in flight.",
    ),
    click.option("--share", type=share, metavar="SHARE", help="Of requests that meet the limits. [99%]"),
    click.option("--within", type=share, metavar="SHARE", help="Step between loads. [5%]"),
    click.option(
        "--searches", type=one_or_more, metavar="N", help="Searches, each with new prompts and arrivals. [3]"
    ),
    click.option("--start", type=float, metavar="LOAD", help="First load. [a quarter of what is answered]"),
)


class CapacityCommand(OwnFirst):
    """Has the options of `run` without those of the load."""

    title = "Search"
    own = ("by", "share", "within", "searches", "start")
    decided = _FOUND


@click.command(cls=CapacityCommand)
@run_options
@with_options(*_SEARCH)
@click.argument("target", nargs=-1)
@click.pass_context
def capacity(ctx: click.Context, /, **given: Any) -> None:
    """Find the highest load that still meets your latency limits.

    Doubles the load from a low start until the limits are missed, then halves what is left; three times, with
    new prompts and arrivals. --slo names limits (chat, rag, llama2-70b-interactive…) or says them:
    ttft_p95=500ms,tpot_p95=50ms. The prompts are the workload's; --requests are those of a level. Ctrl-C
    stops and keeps what was measured.
    """
    import msgspec

    from benchsuite.capacity.search import checked
    from benchsuite.errors import UsageError
    from benchsuite.store.runs import Store, default_store

    if given["resume"]:
        raise UsageError(
            "no capacity search goes on where it was interrupted: leave --resume out to begin anew"
        )
    for name in _FOUND:
        if given[name]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"a capacity search finds the load itself: leave {option} out")
    ask = _ask_of(given)
    options = options_of(given, typed("capacity", ctx.meta[TYPED]))
    targets = named_targets(given)
    if len(targets) > 1 or options.workload.models or options.workload.engine:
        raise UsageError("capacity is that of one target: name one backend and one model")
    backend, url, model = targets[0]
    options = checked(msgspec.structs.replace(options, backend=backend, url=url, model=model), ask)
    check_backend(options)
    say_if_unpriced(options)
    _tell_outlook(options, ask, yes=given["yes"], dry=given["dry_run"])
    if given["dry_run"]:
        click.echo(_plan(options, ask))
        return
    store = Store(default_store(given["store_path"]))
    run = _measured(options, ask, store)
    show_runs([run], store, as_json=given["as_json"], hint="")
    ctx.exit(_code(run))


def _code(run: "Run") -> int:
    if run.status == "interrupted":
        return INTERRUPTED
    if run.verdict == "invalid":
        return INVALID
    return 0 if run.capacity is not None and run.capacity.value is not None else UNDECIDED


def _ask_of(given: dict[str, Any]) -> "Ask":
    """What the options ask of the search."""
    from benchsuite.capacity.search import SEARCHES, SHARE, WITHIN, Ask
    from benchsuite.errors import UsageError

    for name, least, most in (("share", 0.5, 1.0), ("within", 0.01, 0.5)):
        if given[name] is not None and not least <= given[name] < most:
            raise UsageError(f"--{name} must be from {100 * least:g}% to below {100 * most:g}%")
    start = given["start"]
    if start is not None and not 0 < start < float("inf"):
        raise UsageError("--start must be more than 0")
    return Ask(
        by=given["by"],
        share=given["share"] or SHARE,
        within=given["within"] or WITHIN,
        searches=given["searches"] or SEARCHES,
        start=start,
        requests=given["requests"],
    )


def _plan(options: "Options", ask: "Ask") -> str:
    """What would be searched, without asking anybody."""
    from benchsuite.stats.slo import needs
    from benchsuite.workload.slo import limits_text

    workload = options.workload
    shares = ", ".join(f"{100 * need.share:g} % {need.name}" for need in needs(workload.slo, ask.share))
    return (
        f"{workload.name}@{workload.version} on {options.backend}, by {ask.by}: {limits_text(workload.slo)}\n"
        f"{ask.searches} search{'es' * (ask.searches != 1)}; needed: {shares}. "
        "Nothing was measured or stored."
    )


def _tell_outlook(options: "Options", ask: "Ask", *, yes: bool, dry: bool) -> None:
    """Say what it will take; where that is much, or a host isn't the user's own, go on only if wanted."""
    from benchsuite.capacity.outlook import in_words, outlook

    found = outlook(options, ask)
    for line in in_words(found, ask):
        click.echo(line, err=True)
    if not dry and not _ask_if_public(options, found.fast.tokens_usd, yes):
        confirm_much(found.fast, [options], yes=yes, ask=True)


def _ask_if_public(options: "Options", usd: float, yes: bool) -> bool:
    """Ask once before a host that isn't the user's own is pressed until it fails, or dollars are spent.

    Is it such a host?
    """
    import sys

    from benchsuite.driver import load
    from benchsuite.shown import public_host

    host = public_host(options.url or load(options.backend, options.options).default_url)
    if yes or not host:
        return bool(host)
    cost = f", for about ${usd:,.2f}" if usd else ""
    question = f"{host} is a public host, and it would be pressed until it misses the limits{cost}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question}; add --yes if that's all right there")
    click.confirm(f"{question}. Go on?", abort=True, err=True)
    return True


def _measured(options: "Options", ask: "Ask", store: "Store") -> "Run":
    """Search; where a model has to be chosen and a person is there, ask and begin again."""
    import msgspec

    from benchsuite.errors import ChoiceNeeded

    try:
        return _searched(options, ask, store)
    except ChoiceNeeded as needed:
        if not may_ask() or len(needed.choices) > MOST_CHOICES:
            raise
        return _searched(msgspec.structs.replace(options, model=chosen(needed)), ask, store)


def _searched(options: "Options", ask: "Ask", store: "Store") -> "Run":
    """Search, with progress on stderr and Ctrl-C understood."""
    from benchsuite.capacity import search
    from benchsuite.cli.telling import telling
    from benchsuite.engine.trial import Interrupt

    interrupt = Interrupt()
    with telling(interrupt) as teller, stoppable(interrupt, lambda: teller.measuring):
        try:
            return search.capacity(options, ask, store, tell=teller, interrupt=interrupt)
        except KeyboardInterrupt:
            if teller.measuring:
                click.echo("`benchsuite store recover` keeps what was heard so far", err=True)
            raise
