"""The top of the command line: which commands there are, and its help screen. Loads no command."""

import sys
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Final, NamedTuple

import click

from benchsuite import __version__


class Entry(NamedTuple):
    """Where a command is defined (`module:attribute`), and its line in the help screen."""

    section: str
    place: str
    help: str


COMMANDS: Final = MappingProxyType(
    {
        "run": Entry(
            "Measure", "benchsuite.cli.run:run", "Measure a backend: TTFT, tokens/s, $ per 1,000 requests"
        ),
        "capacity": Entry(
            "Measure",
            "benchsuite.cli.capacity:capacity",
            "Find the highest load that still meets your latency limits",
        ),
        "ab": Entry(
            "Measure", "benchsuite.cli.ab:ab", "Measure two targets in turn until the difference is known"
        ),
        "results": Entry("Look", "benchsuite.cli.results:results", "List stored runs"),
        "show": Entry(
            "Look", "benchsuite.cli.show:show", "One run: its numbers, its verdict, how it was measured"
        ),
        "compare": Entry(
            "Look", "benchsuite.cli.compare:compare", "Runs side by side, with intervals and verdicts"
        ),
        "plot": Entry("Look", "benchsuite.cli.plot:plot", "Draw one or several runs"),
        "trend": Entry("Look", "benchsuite.cli.trend:trend", "A metric over time or commits"),
        "batch": Entry(
            "Measure", "benchsuite.cli.batch:batch", "Runs over a batch API: how far they are; go on, cancel"
        ),
        "gate": Entry(
            "Decide",
            "benchsuite.cli.gate:gate",
            "Pass or fail a build on latency, throughput or cost",
        ),
        "cost": Entry("Decide", "benchsuite.cli.cost:cost", "What it costs"),
        "backends": Entry(
            "Set up",
            "benchsuite.cli.backends:backends",
            "What can be measured, and what each backend can and can't do",
        ),
        "workloads": Entry(
            "Set up",
            "benchsuite.cli.workloads:workloads",
            "What is sent; `workloads show chat` explains one",
        ),
        "doctor": Entry(
            "Set up",
            "benchsuite.cli.doctor:doctor",
            "What is installed, reachable and precise enough here",
        ),
        "selftest": Entry(
            "Set up",
            "benchsuite.cli.selftest:selftest",
            "How far off this machine's own measurements are",
        ),
        "simulate": Entry(
            "Set up",
            "benchsuite.cli.simulate:simulate",
            "A pretend LLM server with known timing, for tests and CI",
        ),
        "store": Entry("Set up", "benchsuite.cli.store:store", "Check and recover stored runs"),
    }
)

EXAMPLES: Final = (
    ("benchsuite run", "try it here: a small model on this machine"),
    ("benchsuite run --backend vllm --gpu H100", "start vLLM if needed, price it as an H100"),
    ("benchsuite run --backend openai --url URL", "measure a server that is already running"),
    ("benchsuite run --concurrency 1,8,64", "how it holds up under load"),
    ("benchsuite compare latest ID", "is the difference real?"),
    ("benchsuite show latest --how", "what the numbers mean, how to repeat them"),
)


class Root(click.Group):
    """A group that knows its commands' names and help lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the help screen."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        if sys.platform == "win32":
            raise click.UsageError("on Windows benchsuite runs inside WSL2; start it there")
        module, _, attribute = COMMANDS[cmd_name].place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name gets the nearest known one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
            ctx.fail(f"no command called {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command first: options are the command's."""
        formatter.write_usage("benchsuite", "COMMAND [OPTIONS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then the commands in sections."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_dl(EXAMPLES, col_max=44)
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            rows = [(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows, col_spacing=3)
        formatter.write_paragraph()
        formatter.write_text("`benchsuite COMMAND --help` explains a command.")


@click.command(
    cls=Root,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="benchsuite", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Measure LLM inference: latency, throughput and dollars, with numbers you can defend."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
