"""`benchsuite gate`: pass or fail a build on latency, throughput or cost."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from benchsuite.cli.kinds import share
from benchsuite.cli.output import check_writable
from benchsuite.cli.run import INTERRUPTED, measured_run, say_if_unpriced
from benchsuite.cli.run_asked import check_backend, options_of
from benchsuite.cli.run_options import TYPED, run_options, typed, with_options
from benchsuite.cli.settings import limits as settings_limits
from benchsuite.cli.targets import named_targets
from benchsuite.cli.turns import (
    DECIDED,
    TurnsCommand,
    arms,
    check_turns,
    looks,
    measured_in_turn,
    tell_plan,
    turn_options,
    typed_there,
)

if TYPE_CHECKING:
    from benchsuite.ab.ask import Ask
    from benchsuite.asked import Options
    from benchsuite.gate.baseline import Aged
    from benchsuite.gate.decide import Gate, Verdict
    from benchsuite.store.runs import RunDir, Store
    from benchsuite.types import Run

FAILED, UNDECIDED = 1, 5
NOISE = "noise"
_NOISE_PAIRS = 8
FORMATS = ("table", "md", "json")

_gate_options = (
    click.option("--against", metavar="TARGET", help="The base, measured in turn with TARGET."),
    click.option(
        "--baseline", metavar="RUNS", help="Stored runs instead: latest, ID, branch:main, a folder, a file."
    ),
    click.option("--run", "stored", metavar="RUN", help="Judge this stored run; nothing is measured."),
    click.option(
        "--limit", "limits", multiple=True, metavar="LIMIT",
        help="10% for all, tpot_p50=5% for one, 'ttft_p95<800ms' without a base (repeatable).",
    ),
    click.option("--tolerance", type=share, metavar="SHARE", help="Never fail for less. [2%]"),
    click.option(
        "--fail-on", type=click.Choice(["tolerance", "limit"]), help="What is shown exceeded. [tolerance]"
    ),
    click.option("--history-fails", is_flag=True, help="An alarm of the history fails the build."),
    click.option(
        "--undecided", type=click.Choice(["warn", "pass", "fail"]), default="warn",
        help="Exit 5, 0 or 1 if nothing is decided. [warn]",
    ),
    click.option("--format", "wanted", type=click.Choice(FORMATS), default="table", help="Of what is shown."),
    click.option("-o", "--output", "path", metavar="FILE", help="Write there instead of here."),
)  # fmt: skip


class GateCommand(TurnsCommand):
    """The options of `run` behind those of a gate, without those of it that a live gate decides."""

    title = "Gate"
    own = (
        *("against", "baseline", "stored", "limits", "tolerance", "fail_on", "history_fails", "undecided"),
        *("wanted", "path"),
        *TurnsCommand.own,
    )
    # Without a second arm, trials are as `run` has them.
    decided = tuple(name for name in DECIDED if name != "trials")


@click.command(cls=GateCommand)
@run_options
@with_options(*_gate_options, *turn_options)
@click.argument("target", nargs=-1)
@click.pass_context
def gate(ctx: click.Context, /, **given: Any) -> None:
    """Pass or fail a build on latency, throughput or cost.

    `gate TARGET --against BASE` measures both in turn (A B, B A…) and fails if TARGET is shown slower. `gate
    TARGET --baseline latest` holds three new trials against ten stored runs; `--run latest` judges a stored
    run. Limits with < or > need no base. `gate noise TARGET` measures a server against itself: the smallest
    slowdown that can be seen there. Exits 0 (pass), 1 (fail), 3 (invalid), 4 (nothing comparable),
    5 (undecided).
    """
    from benchsuite.store.runs import Store, default_store

    check_writable(given["path"])
    if given["as_json"]:
        given["wanted"] = "json"
    store = Store(default_store(given["store_path"]))
    if given["target"][:1] == (NOISE,):
        _noise(ctx, {**given, "target": given["target"][1:]}, store)
        return
    if not given["baseline"]:
        _refuse(ctx, ("history_fails",), "goes with --baseline")
    asked = _asked(given)
    found = _stored(ctx, asked, given, store) if given["stored"] else _measured(ctx, asked, given, store)
    if found is None:
        return
    _show(found, given)
    undecided = {"warn": UNDECIDED, "pass": 0, "fail": FAILED}[given["undecided"]]
    ctx.exit({"pass": 0, "fail": FAILED, "undecided": undecided}[found.verdict])


def _asked(given: dict[str, Any]) -> "Gate":
    """Limits from benchsuite.toml, then those of the command line."""
    import msgspec

    from benchsuite.compare import chosen_metrics
    from benchsuite.gate.decide import Gate
    from benchsuite.gate.limits import from_settings, parse_limits

    known = from_settings(settings_limits())
    if given["tolerance"] is not None:
        known = msgspec.structs.replace(known, tolerance=given["tolerance"])
    if given["fail_on"]:
        known = msgspec.structs.replace(known, fail_on=given["fail_on"])
    metrics = tuple(name.strip() for text in given["metrics"] for name in text.split(","))
    # A name that there isn't is refused before anything is measured.
    chosen_metrics(metrics)
    return Gate(limits=parse_limits(given["limits"], known), metrics=metrics, looks=looks(given))


_LIVE = ("pairs", "time_s", "usd", "restart", "only_a", "only_b", "tolerance", "fail_on")
"""Options that say something of two arms alone."""

_JUDGING = ("stored", "baseline", "limits", "history_fails", "undecided", "wanted", "path", "metrics")
_ANYWHERE = ("store_path", "as_json", "yes", "target", "against")


def _refuse(ctx: click.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that were typed and would do nothing: a UsageError."""
    from benchsuite.errors import UsageError

    for param in ctx.command.params:
        if param.name in names and typed_there(ctx, param.name or ""):
            raise UsageError(f"{param.opts[-1] if param.opts[0] == '-o' else param.opts[0]} {why}")


def _refuse_live(ctx: click.Context, given: dict[str, Any]) -> None:
    """Refuse what only two arms in turn have a use for."""
    from benchsuite.errors import UsageError

    if not given["baseline"]:
        _refuse(
            ctx, ("metrics",),
            "names what is held against a second arm or stored runs: add --against TARGET or --baseline "
            "RUNS, or leave it out (a limit names its own metric)",
        )  # fmt: skip
    _refuse(ctx, _LIVE, "is for two arms that are measured in turn: add --against TARGET, or leave it out")
    relative = [word for text in given["limits"] for word in text.split(",") if not set(word) & {"<", ">"}]
    if relative:
        raise UsageError(
            f"--limit {relative[0]} is held against a second arm: add --against TARGET; alone or against "
            "stored runs limits have < or >"
        )


def _stored(ctx: click.Context, asked: "Gate", given: dict[str, Any], store: "Store") -> "Verdict":
    """A stored run, against the history or against limits alone."""
    from benchsuite.errors import UsageError
    from benchsuite.gate.decide import concluded

    if given["against"] or given["target"]:
        raise UsageError("--run judges a stored run: leave the target and --against out")
    measuring = {param.name or "" for param in ctx.command.params} - {*_JUDGING, *_ANYWHERE, *_LIVE}
    _refuse(ctx, measuring, "is for measuring, and --run judges a stored run: leave one of them out")
    _refuse_live(ctx, given)
    run_dir = store.select(given["stored"])
    _held_against_something(asked, given)
    aged = _aged(asked, given, run_dir, store)
    return concluded(asked, run_dir.run(), aged=aged, history_fails=given["history_fails"])


def _held_against_something(asked: "Gate", given: dict[str, Any]) -> None:
    from benchsuite.errors import UsageError

    if not given["baseline"] and not asked.limits.absolute:
        if len(given["target"]) == 2:
            raise UsageError("two targets are named: the base goes behind --against (`ab` takes two)")
        raise UsageError(
            "say what it is held against: --against TARGET (measured beside it), --baseline latest (stored "
            "runs), or a limit of its own such as --limit 'ttft_p95<800ms'"
        )


def _measured(ctx: click.Context, asked: "Gate", given: dict[str, Any], store: "Store") -> "Verdict | None":
    """A target measured now; None: it was only asked what that takes."""
    from benchsuite.errors import TargetError

    if given["against"]:
        try:
            return _live(ctx, asked, given, store)
        except TargetError as error:
            if not given["baseline"]:
                raise
            click.echo(f"{error}\nheld against stored runs instead", err=True)
    return _alone(ctx, asked, given, store)


def _live(ctx: click.Context, asked: "Gate", given: dict[str, Any], store: "Store") -> "Verdict | None":
    from benchsuite.gate.decide import TooFew, concluded, of_too_few, watching

    check_turns(ctx, given)
    ask = _ask(given, "gate", asked.looks)
    two = arms(ctx, given, "gate", against=given["against"])
    say_if_unpriced(two[1])
    _priced(asked, two[1])
    tell_plan(two, ask, store, yes=given["yes"], dry=given["dry_run"])
    if given["dry_run"]:
        return None
    ready, look = watching(asked, store, ask)
    try:
        base, other = measured_in_turn(two, ask, store, ready, look)
    except TooFew as few:
        return of_too_few(asked, few)
    _stop_if_interrupted(ctx, base, other)
    return concluded(asked, other, base)


def _ask(given: dict[str, Any], purpose: Any, looked: tuple[int, ...]) -> "Ask":
    from benchsuite.ab.ask import Ask

    return Ask(
        purpose=purpose,
        looks=looked,
        seconds=given["time_s"],
        usd=given["usd"],
        restarts=given["restart"],
        resume=given["resume"],
    )


def _stop_if_interrupted(ctx: click.Context, *runs: "Run") -> None:
    if any(run.status == "interrupted" for run in runs):
        click.echo("interrupted: what was measured is kept; repeat with --resume to go on", err=True)
        ctx.exit(INTERRUPTED)


def _alone(ctx: click.Context, asked: "Gate", given: dict[str, Any], store: "Store") -> "Verdict | None":
    """Three new trials of the target, held against stored runs or against limits of its own."""
    from benchsuite.cli.run_sweep import tell_forecast
    from benchsuite.gate.baseline import check_length, check_trials, earlier_runs
    from benchsuite.gate.decide import concluded

    _held_against_something(asked, given)
    if not given["against"]:
        _refuse_live(ctx, given)
    options = _options(ctx, given)
    if given["baseline"]:
        # Too few of any kind are too few; which of them are like this one is known afterwards.
        check_length(len(earlier_runs(store, given["baseline"])))
        if given["history_fails"]:
            check_trials([options.workload.trials])
    say_if_unpriced(options)
    _priced(asked, options)
    tell_forecast([options], store, yes=given["yes"], ask=not given["dry_run"])
    if given["dry_run"]:
        return None
    run = measured_run(options, store)
    _stop_if_interrupted(ctx, run)
    run_dir = store.select(run.manifest.run_id)
    aged = _aged(asked, given, run_dir, store)
    return concluded(asked, run, aged=aged, history_fails=given["history_fails"])


def _aged(
    asked: "Gate", given: dict[str, Any], run_dir: "RunDir", store: "Store"
) -> "tuple[Aged, ...] | None":
    """A run against its history; empty where none is asked for, None for a run that can't be trusted."""
    from benchsuite.gate.baseline import against_history, check_trials, earlier_runs

    if not given["baseline"]:
        return ()
    earlier = earlier_runs(store, given["baseline"])
    run = run_dir.run()
    if run.verdict == "invalid":
        return None
    found = against_history(run_dir, earlier, asked.names(run.manifest), named=bool(asked.metrics))
    if given["history_fails"]:
        check_trials(row.trials for row in found)
    return found


def _priced(asked: "Gate", options: "Options") -> None:
    """Refuse a limit in dollars before a server of the user's own is measured, where no price is stated."""
    from benchsuite.driver import load
    from benchsuite.errors import UsageError
    from benchsuite.gate.limits import DOLLARS
    from benchsuite.money.gpus import price_of
    from benchsuite.shown import public_host

    limits = [limit for limit in asked.limits.absolute if limit.name in DOLLARS]
    stated = price_of(options.gpu, options.gpu_price) or options.token_price or options.price_as
    url = options.url or load(options.backend, options.options).default_url
    if limits and not stated and not public_host(url):
        raise UsageError(f"the limit {limits[0].text} takes a price: --gpu NAME or --gpu-price USD")


def _options(ctx: click.Context, given: dict[str, Any]) -> "Options":
    import msgspec

    from benchsuite.errors import UsageError

    targets = named_targets(given)
    options: Options = options_of(given, typed("gate", ctx.meta[TYPED]))
    if len(targets) > 1 or options.workload.models or options.workload.engine:
        raise UsageError("a gate judges one target; the base goes behind --against")
    backend, url, model = targets[0]
    options = msgspec.structs.replace(options, backend=backend, url=url, model=model)
    check_backend(options)
    return options


def _show(found: "Verdict", given: dict[str, Any]) -> None:
    from benchsuite.cli import output
    from benchsuite.report.gate import gate_json, gate_markdown, gate_screen

    if given["wanted"] == "json":
        text = gate_json(found)
    elif given["wanted"] == "md":
        text = gate_markdown(found)
    else:
        styled = output.styled() and given["path"] is None
        text = gate_screen(found, width=output.width(), styled=styled) + "\n"
    output.write(text, given["path"])


# ---------------------------------------------------------------- noise


def _noise(ctx: click.Context, given: dict[str, Any], store: "Store") -> None:
    """A server against itself: what a gate can see there, and what that takes."""
    from benchsuite.cli import output
    from benchsuite.errors import InvalidMeasurement, UsageError
    from benchsuite.gate.decide import noise_of, seen_least, watching, why_not
    from benchsuite.report.gate import noise_screen

    check_turns(ctx, given)
    if len(given["target"]) > 1:
        raise UsageError("`gate noise` measures one target against itself; name no other")
    for name in ("against", "baseline", "stored", "only_a", "only_b"):
        if given[name]:
            option = {"stored": "--run", "only_a": "--a", "only_b": "--b"}.get(name, f"--{name}")
            raise UsageError(f"`gate noise` measures a target against itself: leave {option} out")
    if given["wanted"] != "table":
        raise UsageError("`gate noise` has a table alone; `results --json` has its two runs")
    asked = _asked({**given, "pairs": given["pairs"] or _NOISE_PAIRS})
    ask = _ask(given, "noise", (asked.looks[-1],))
    two = arms(ctx, given, "gate")
    tell_plan(two, ask, store, yes=given["yes"], dry=given["dry_run"])
    if given["dry_run"]:
        return
    ready, look = watching(asked, store, ask)
    base, other = measured_in_turn(two, ask, store, ready, look)
    _stop_if_interrupted(ctx, base, other)
    if why := why_not(base, other):
        raise InvalidMeasurement(why)
    noise = noise_of(store.select(base.manifest.run_id), store.select(other.manifest.run_id))
    if not noise.sd:
        raise InvalidMeasurement("it ended before two pairs were measured, which is what noise takes")
    gate_of = _asked({**given, "pairs": None})
    least = seen_least(gate_of, noise, base.manifest)
    text = noise_screen(
        noise,
        least,
        base.manifest.points,
        pairs=gate_of.looks[-1],
        cost=_cost(base, other, gate_of.looks[-1]),
        width=output.width(),
        styled=output.styled() and given["path"] is None,
    )
    output.write(text + "\n", given["path"])


def _cost(base: "Run", other: "Run", pairs: int) -> str:
    """What a gate of so many pairs would take, going by these."""
    from benchsuite.forecast import told_s, usd_in_words

    both = [run.manifest.pairing for run in (base, other) if run.manifest.pairing]
    share = pairs / len(both[0].kept)
    spent = [pairing.spent_usd for pairing in both if pairing.spent_usd is not None]
    dollars = f", {usd_in_words(sum(spent) * share)}" if spent else ""
    return f"at most {told_s(both[0].spent_s * share)}{dollars}"
