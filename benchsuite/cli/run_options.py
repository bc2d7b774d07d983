"""The options of `run`: how its help groups them, and how they are kept."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from benchsuite.cli.kinds import (
    dollars,
    json_object,
    key_options,
    numbers,
    one_or_more,
    pair,
    proxy_url,
    seconds,
    server_url,
    store_option,
    token_price,
    whole_numbers,
    zero_or_more,
)
from benchsuite.cli.lengths import lengths
from benchsuite.cli.run_checks import check_options
from benchsuite.cli.run_passing import on_off, shares
from benchsuite.cli.run_sweep import settings, sweep_options
from benchsuite.cli.settings import fill

_F = TypeVar("_F", bound=Callable[..., Any])

ALIASES: Final = MappingProxyType(
    {
        "--isl": "--prompt-tokens",
        "--input-len": "--prompt-tokens",
        "--osl": "--output-tokens",
        "--output-len": "--output-tokens",
        "--max-concurrency": "--concurrency",
        "--num-prompts": "--requests",
        "--request-rate": "--rate",
    }
)
"""What neighbours call our options: understood, not advertised."""

TYPED: Final = "benchsuite.typed"
"""Where a command's words are kept, as they were typed."""

_SECRET: Final = frozenset(
    {
        *("--header", "--proxy", "--url", "--engine-args", "--extra-body", "--image"),
        *("--token-command", "--spec", "--bodies", "--dataset", "--a", "--b"),
    }
)


_SECTIONS: Final[tuple[tuple[str, tuple[Callable[[Any], Any], ...]], ...]] = (
    (
        "Options",
        (
            click.option(
                "--backend", metavar="B,B…", help="What to measure. [default: local; with --url: openai]"
            ),
            click.option(
                "--url", type=server_url, metavar="URL", help="Where it listens. [default: the backend's own]"
            ),
            click.option("--model", metavar="M,M…", help="Which model. [default: the one that is loaded]"),
            click.option("--gpu", metavar="NAME[xN]", help="GPU the server runs on, for its price."),
            click.option(
                "--gpu-price",
                type=dollars,
                metavar="USD",
                help="What one costs an hour. [default: as listed]",
            ),
            click.option("--workload", help="A standard workload or a .toml file. [default: quick]"),
            click.option("--concurrency", type=whole_numbers, metavar="N,N…", help="Requests in flight."),
            click.option("--rate", type=numbers, metavar="R,R…", help="Requests per s; inf: all at once."),
            click.option(
                "--prompt-tokens", type=lengths, metavar="N,N…", help="Of prompts: 512, or lognormal:512,300."
            ),
            click.option(
                "--output-tokens", type=lengths, metavar="N,N…", help="Of answers: 64, or uniform:100-500."
            ),
            click.option("--requests", type=one_or_more, metavar="N", help="Requests of a trial or load."),
            click.option("--duration", type=seconds, metavar="TIME", help="Length of a trial: 30, 30s, 2m."),
            click.option("--trials", type=one_or_more, metavar="N", help="Trials per point."),
            click.option("--slo", metavar="LIMITS", help="Limits: chat, ttft_p95=500ms, tpot=50ms…"),
        ),
    ),
    (
        "Load",
        (
            click.option(
                "--arrivals",
                type=click.Choice(["poisson", "constant", "gamma", "burst"]),
                help="How --rate spaces requests.",
            ),
            click.option(
                "--cv", type=float, metavar="CV", help="How uneven gamma arrivals are; 1 is Poisson."
            ),
            click.option(
                "--burst-size", type=one_or_more, metavar="N", help="So many at once, at the same --rate."
            ),
            click.option("--stages", metavar="T@R-R,…", help="Ramps: 30s@1-10,60s@10; by slots 30s@c1-c64."),
            click.option("--trace", metavar="FILE", help="Replay a trace: its instants and its lengths."),
            click.option("--time-scale", type=float, metavar="X", help="So many times as fast. [1]"),
            click.option(
                "--batch-api", is_flag=True, help="Hand all --requests to the backend's batch API, and wait."
            ),
            click.option("--warm-up", type=seconds, metavar="TIME", help="Warm up at least so long."),
            click.option(
                "--workers", type=one_or_more, metavar="N", help="Processes that send. [default: by load]"
            ),
        ),
    ),
    ("Sweep", sweep_options),
    (
        "Prompts",
        (
            click.option(
                "--text", type=click.Choice(["prose", "code", "random"]), help="What prompts are made of."
            ),
            click.option(
                "--cache",
                type=click.Choice(["cold", "warm", "shared"]),
                help="Whether a prefix cache can help.",
            ),
            click.option(
                "--hit-ratio", type=numbers, metavar="S,S…", help="Share of each prompt to be found cached."
            ),
            click.option("--shared-tokens", type=one_or_more, metavar="N", help="So many of it instead."),
            click.option("--groups", type=one_or_more, metavar="N", help="So many shared beginnings. [1]"),
            click.option("--zipf", type=float, metavar="A", help="How uneven these are asked: rank^-A. [0]"),
            click.option("--turns", type=one_or_more, metavar="N", help="Turns of each conversation."),
            click.option("--user-tokens", type=one_or_more, metavar="N", help="What each later turn adds."),
            click.option("--think", type=seconds, metavar="TIME", help="From an answer to the next turn."),
            click.option(
                "--replies", type=click.Choice(["fixed", "real"]), help="Whose answers later turns quote."
            ),
            click.option(
                "--reset-cache", is_flag=True, help="Empty the server's prefix cache before a trial."
            ),
            click.option("--seed", type=zero_or_more, metavar="N", help="Decides words, arrivals."),
            click.option("--nonce", metavar="TEXT", help="Repeat a run's very prompts."),
            click.option(
                "--reasoning", type=click.Choice(["off", "low", "high"]), help="How much a model may think."
            ),
            click.option(
                "--stream", type=on_off, metavar="on,off", help="Answers as a stream, in one piece, or both."
            ),
            click.option("--json-schema", metavar="FILE", help="Answers are JSON of this schema."),
            click.option("--tools", metavar="FILE", help="Tools to offer, a JSON list as OpenAI has it."),
            click.option("--mix", type=shares, metavar="M=N,M=N…", help="Models or adapters by their share."),
            *check_options,
            click.option(
                "--bodies", metavar="FILE", help="Send a file's lines, a JSON body each, word for word."
            ),
            click.option(
                "--extra-body", type=json_object, metavar="JSON", help="Merge into each request's body."
            ),
        ),
    ),
    (
        "Engine",
        (
            click.option(
                "--endpoint", metavar="NAME", help="Which door to use: chat, completions… `backends NAME`."
            ),
            click.option("--launch", is_flag=True, help="Start the backend, even if one is running."),
            click.option("--attach", is_flag=True, help="Only measure what is running; start nothing."),
            click.option("--pull", is_flag=True, help="Let the server download a model that it lacks."),
            click.option(
                "--engine",
                type=settings,
                multiple=True,
                metavar="K=V,K=V…",
                help="Settings of an engine started: tp=2; max-seqs=4,16 sweeps. `backends NAME` lists them.",
            ),
            click.option(
                "--engine-args", metavar="'…'", help="Further arguments for it, as its own help has."
            ),
            click.option("--engine-python", metavar="FILE", help="The Python that has the engine."),
            click.option("--docker", is_flag=True, help="Start the engine from its Docker image."),
            click.option("--image", metavar="NAME", help="From this image instead."),
            click.option(
                "--threads", type=one_or_more, metavar="N", help="CPU threads of an engine started."
            ),
            click.option(
                "--spec", metavar="FILE", help="Your API as a .toml file, for --backend http (its default)."
            ),
            click.option(
                "--option",
                type=pair,
                multiple=True,
                metavar="K=V",
                help="An option of the backend; `backends NAME` lists them.",
            ),
        ),
    ),
    (
        "Connection",
        (
            *key_options,
            click.option("--ca-cert", metavar="FILE", help="Trust this authority instead of the system's."),
            click.option("--client-cert", metavar="FILE", help="Certificate to show the server."),
            click.option("--client-key", metavar="FILE", help="Its key."),
            click.option("--insecure", is_flag=True, help="Don't check certificates (is recorded)."),
            click.option("--proxy", type=proxy_url, metavar="URL", help="Go through an HTTP proxy."),
            click.option("--timeout", type=seconds, metavar="TIME", help="For a whole answer. [600s]"),
            click.option("--connect-timeout", type=seconds, metavar="TIME", help="To connect. [10s]"),
            click.option("--first-byte-timeout", type=seconds, metavar="TIME", help="To first byte. [300s]"),
            click.option("--silence-timeout", type=seconds, metavar="TIME", help="Between bytes. [60s]"),
        ),
    ),
    (
        "Cost",
        (
            click.option(
                "--token-price",
                type=token_price,
                metavar="IN,OUT[,CACHED]",
                help="$ per M tokens, as stated.",
            ),
            click.option(
                "--price-as",
                metavar="PROVIDER[/MODEL]",
                help="Price tokens as listed there: openai/gpt-5-mini.",
            ),
        ),
    ),
    (
        "Output",
        (
            click.option("--label", type=pair, multiple=True, metavar="K=V", help="Label the run."),
            click.option("--keep-text", is_flag=True, help="Keep the answers' text in the store."),
            click.option("--dry-run", is_flag=True, help="Say what would be sent; measure nothing."),
            click.option("--json", "as_json", is_flag=True, help="The run as JSON on stdout."),
            click.option("--yes", is_flag=True, help="Ask nothing: a public host, dollars, hours."),
            store_option,
            click.option("--burstiness", type=float, hidden=True),
            click.option("--user-stamps", is_flag=True, hidden=True),
            click.option("--batch-poll", type=seconds, default="5", hidden=True),
        ),
    ),
)
"""Sections of the help screen, in its order, each with its options."""


class GroupedCommand(click.Command):
    """A command whose help has `_SECTIONS`, and which understands `ALIASES`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Aliases become the real names before click sees them; what was typed stays in `ctx.meta[TYPED]`."""
        ctx.meta[TYPED] = tuple(args)
        rest = super().parse_args(ctx, list(_canonical(args)))
        fill(ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section after the other, each as long as its number of options says."""
        records = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        start = 0
        for title, options in _SECTIONS:
            shown = [record for record in records[start : start + len(options)] if record]
            start += len(options)
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown, col_max=34)


class OwnFirst(GroupedCommand):
    """Has the options of `run` but for those that it decides itself, and its own before them.

    `own`: the names of its parameters, shown under `title`; `decided`: those of `run` that aren't shown.
    """

    title: str
    own: tuple[str, ...]
    decided: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            if isinstance(param, click.Option) and param.name in self.decided:
                param.hidden = True

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options, then those of `run`."""
        records = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.name in self.own]
        with formatter.section(self.title):
            formatter.write_dl([record for record in records if record], col_max=34)
        super().format_options(ctx, formatter)


def with_options(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Decorates a command with several options, in that order."""

    def decorated(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def run_options(command: _F) -> _F:
    """All options of `run`."""
    every: Callable[[_F], _F] = with_options(*(option for _, options in _SECTIONS for option in options))
    return every(command)


def _canonical(args: Sequence[str]) -> Sequence[str]:
    """The same words, neighbours' option names replaced."""
    words = []
    for word in args:
        name, equals, value = word.partition("=")
        words.append(f"{ALIASES.get(name, name)}{equals}{value}")
    return words


def typed(name: str, args: Sequence[str]) -> str:
    """The command as it was typed, fit to be stored: secrets masked, paths from `~` on or by name alone."""
    return " ".join(["benchsuite", name, *map(_quoted, _shown(args))])


def _shown(args: Sequence[str]) -> list[str]:
    """Words as they may be stored."""
    from benchsuite.shown import shown_word

    words: list[str] = []
    secret = ""
    for word in args:
        option, equals, value = word.partition("=")
        if secret:
            words.append(_masked(secret, word))
        elif option in _SECRET and equals:
            words.append(f"{option}={_masked(option, value)}")
        else:
            words.append(shown_word(_masked_target(word)))
        secret = "" if secret or equals or word not in _SECRET else word
    home = str(Path.home())
    return [word.replace(home, "~") for word in words] if len(home) > 1 else words


def _quoted(word: str) -> str:
    """As a shell takes it; a quoted `~` would no longer mean the home folder."""
    return f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word)


def _masked(option: str, value: str) -> str:
    """What may be shown of a value that can hold a secret."""
    from benchsuite.shown import mask_command, masked_url, shown_body, shown_image

    if option == "--header":
        return f"{value.partition(':')[0]}: …"
    if option == "--engine-args":
        with suppress(ValueError):
            return mask_command(shlex.split(value))
        return "…"
    if option in {"--a", "--b"}:
        with suppress(ValueError):
            return " ".join(map(_quoted, _shown(shlex.split(value))))
        return "…"
    if option == "--extra-body":
        with suppress(click.BadParameter):
            return shown_body(json_object(value))
    if option in {"--spec", "--bodies", "--dataset"}:
        return Path(value).name
    if option == "--image":
        return shown_image(value)
    return masked_url(value) if option == "--url" else "…"


def _masked_target(word: str) -> str:
    """A word that names a target with its URL (`vllm@http://…`) is as secret as `--url`."""
    backend, at, rest = word.partition("@http")
    return f"{backend}@{_masked('--url', f'http{rest}')}" if at else word
