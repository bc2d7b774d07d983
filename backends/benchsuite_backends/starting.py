"""What drivers of engines that benchsuite starts share: settings, and the arguments that follow from them."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from benchsuite.driver import Setting, engine_arguments, is_variable
from benchsuite.types import Target


@cache
def _tables() -> dict[str, dict[str, dict[str, str]]]:
    text = files("benchsuite_backends").joinpath("settings.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def settings_of(name: str) -> Mapping[str, Setting]:
    """What `--engine` means to the engine of that driver, from `settings.toml`."""
    return MappingProxyType({setting: _setting(**table) for setting, table in _tables()[name].items()})


def _setting(help: str, **values: str) -> Setting:
    return Setting(
        help=help,
        arguments={"*" if value == "any" else value: tuple(words.split()) for value, words in values.items()},
    )


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
