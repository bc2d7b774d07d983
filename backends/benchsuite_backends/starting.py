"""How drivers start their engines, as data: `engines.toml` holds each one's command and settings."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import msgspec

from benchsuite.driver import MODELS_CACHE, Launch, ModelForm, Setting, engine_arguments, is_variable
from benchsuite.types import Call, Noun, Target


class Start(Noun, frozen=True, kw_only=True):
    """A `[NAME.launch]` of `engines.toml`, which says what its fields mean."""

    command: str
    words: str = ""
    ours: dict[str, str] = {}
    env: dict[str, str] = {}
    needs: tuple[str, ...] = ()
    module: str = ""
    program: str = ""
    missing: str
    ready: str = "/health"
    ready_s: float = 120.0
    default_model: str = ""
    model_form: ModelForm = "gguf"
    dummy_arguments: str = ""
    open_slots: int = 8
    image: str = ""
    image_command: str = ""
    image_port: int = 8000
    image_cache: str = MODELS_CACHE
    image_volume: bool = False
    daemon: bool = False
    end: str = ""


class Engine(Noun, frozen=True, kw_only=True):
    """One engine's tables: setting → `help`, and value → arguments."""

    launch: Start
    settings: dict[str, dict[str, str]] = {}


def read(text: bytes) -> dict[str, Engine]:
    """The engines of a file like `engines.toml`, by name; a ValidationError for what has no meaning."""
    return msgspec.toml.decode(text, type=dict[str, Engine])


@cache
def _engines() -> dict[str, Engine]:
    return read(files("benchsuite_backends").joinpath("engines.toml").read_bytes())


def settings_of(name: str) -> Mapping[str, Setting]:
    """What `--engine` means to the engine of that driver."""
    tables = _engines()[name].settings
    return MappingProxyType({setting: _setting(**table) for setting, table in tables.items()})


def _setting(help: str, **values: str) -> Setting:
    return Setting(
        help=help,
        arguments={"*" if value == "any" else value: tuple(words.split()) for value, words in values.items()},
    )


def launch_of(name: str, target: Target, **changes: Any) -> Launch:
    """How that driver's engine is started for a target, with other values for some fields of the launch.

    After the command stand the arguments that we choose, those asked for with `--engine`, and raw ones, which
    come last and win. A UsageError for a setting or value that the engine doesn't know.
    """
    start = _engines()[name].launch
    ours = [word for key, words in start.ours.items() if key not in target.engine for word in words.split()]
    asked = (*ours, *engine_arguments(settings_of(name), target.engine), *target.engine_args)
    fields = {
        field: getattr(start, field) for field in Launch.__struct_fields__ if field in Start.__struct_fields__
    }
    fields |= {
        "argv": _command(start, start.command, asked),
        "image_argv": _command(start, start.image_command, asked) if start.image else (),
        "ready": Call(method="GET", path=start.ready),
        "dummy_arguments": tuple(start.dummy_arguments.split()),
        "end": tuple(start.end.split()),
    }
    return Launch(**(fields | changes))


def _command(start: Start, command: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    """A whole command; where the engine's begins with `env`, variables (`NAME=value`) go before all else."""
    first, *rest = words = command.split()
    if start.command.split()[0] != "env":
        return (*words, *start.words.split(), *asked)
    opening, rest = ((first,), rest) if first == "env" else ((), words)
    variables = tuple(word for word in asked if is_variable(word))
    others = tuple(word for word in asked if not is_variable(word))
    return (*opening, *variables, *rest, *start.words.split(), *others)
