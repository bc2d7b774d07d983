"""What drivers of engines that benchsuite starts share: settings, and the arguments that follow from them."""

from collections.abc import Mapping

from benchsuite.driver import Setting, engine_arguments, is_variable
from benchsuite.types import Target


def option(flag: str, text: str) -> Setting:
    """A setting whose value follows `flag`."""
    return Setting(help=text, arguments={"*": (flag, "{value}")})


def switch(text: str, *, on: tuple[str, ...] = (), off: tuple[str, ...] = ()) -> Setting:
    """A setting that is `on` or `off`; empty arguments: what the engine does by itself."""
    return Setting(help=text, arguments={"on": on, "off": off})


def arguments(
    ours: Mapping[str, tuple[str, ...]], settings: Mapping[str, Setting], target: Target
) -> tuple[str, ...]:
    """The arguments that we choose, those asked for with `--engine`, and raw ones, which come last and win.

    `ours`: setting → the arguments that stand for it as long as nobody asks for another value.
    A UsageError for a setting or value that the engine doesn't know.
    """
    kept = [word for name, words in ours.items() if name not in target.engine for word in words]
    return (*kept, *engine_arguments(settings, target.engine), *target.engine_args)


def variables_first(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables (`NAME=value`) among an engine's arguments, for `env` before its command, and the others."""
    return (
        tuple(word for word in words if is_variable(word)),
        tuple(word for word in words if not is_variable(word)),
    )
