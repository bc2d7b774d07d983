"""`benchsuite.toml` on the command line: what it says where nothing was typed. Read only if it is there."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from benchsuite.cli.run_files import SAID_BY_BODIES

if TYPE_CHECKING:
    from benchsuite.settings import Settings

FILLED: Final = "settings"
"""Among a command's parameters: what of them the file says; None: there is no file."""

COMMANDS: Final = ("run", "capacity", "ab", "gate")
"""Commands whose options may have defaults."""

_META: Final = "benchsuite.settings"
_TYPED_ONLY: Final = frozenset(
    {"resume", "dry-run", "json", "nonce", "output", "format", "a", "b", "run", "store", "baseline"}
)
_KEYED: Final = frozenset({"label", "engine", "option", "header_env"})
"""Options whose values have names: those of the file stay beside those that are typed."""

_LOAD: Final = frozenset({"concurrency", "rate", "stages", "trace", "batch_api"})
_ARRIVALS: Final = frozenset({"arrivals", "cv", "burst_size"})
_PRICED: Final = frozenset({"gpu", "gpu_price", "token_price", "price_as"})
_WHO: Final = frozenset({"backend", "url", "model"})
_SHUTS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("target", "backend", "url"), _WHO),
        "spec": _WHO,
        **dict.fromkeys(_LOAD, _LOAD),
        **dict.fromkeys(_LOAD - {"rate"}, _LOAD | _ARRIVALS),
        "gpu": frozenset({"gpu_price", "token_price", "price_as"}),
        "gpu_price": frozenset({"token_price", "price_as"}),
        **dict.fromkeys(("token_price", "price_as"), _PRICED),
        **dict.fromkeys(("launch", "attach"), frozenset({"launch", "attach"})),
        **dict.fromkeys(("hit_ratio", "shared_tokens"), frozenset({"hit_ratio", "shared_tokens"})),
        "burstiness": frozenset({"cv"}),
        "bodies": frozenset({*SAID_BY_BODIES, "trace"}),
    }
)  # fmt: skip
"""An option that is given leaves these of the file out, since they are other answers to the same question."""

_TOKEN: Final = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+")


def in_force(ctx: click.Context) -> "Settings":
    """What the file found from here says, read once a command; empty where there is none."""
    from benchsuite.settings import Settings, find, read

    if _META not in ctx.meta:
        try:
            path = find(Path.cwd())
        except OSError:
            path = None
        if path is None:
            ctx.meta[_META] = Settings()
        else:
            from benchsuite.driver import backends

            ctx.meta[_META] = read(path, _known(ctx), tuple(backends()))
    found: Settings = ctx.meta[_META]
    return found


def limits() -> Mapping[str, str]:
    """`[limits]` of the file that the command at work reads."""
    return in_force(click.get_current_context()).limits


def _known(ctx: click.Context) -> frozenset[str]:
    """The long names of the options that may stand in a file."""
    from benchsuite.cli.root import root
    from benchsuite.settings import ELSEWHERE

    commands = [found for name in COMMANDS if (found := root.get_command(ctx, name)) is not None]
    options = {_long(param) for command in commands for param in command.params if _offered(param)}
    return frozenset(options - _TYPED_ONLY - ELSEWHERE.keys())


def _offered(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.hidden


def _long(param: click.Parameter) -> str:
    return next((name for name in param.opts if name.startswith("--")), "").removeprefix("--")


class Filled(NamedTuple):
    """What was typed, and what the file adds to it for one target (or, if `word` is empty, for none by name).

    `plain`: the parameters without any file. `alone`: the stored command names no other target.
    `unused`: what of the file is left out.
    """

    ctx: click.Context
    settings: "Settings"
    typed: frozenset[str]
    plain: Mapping[str, Any]
    word: str = ""
    alone: bool = True
    unused: frozenset[str] = frozenset()

    def raw(self) -> dict[str, tuple[click.Parameter, list[Any]]]:
        """Values of the file by parameter: those of the target, then the defaults, unless shut out.

        Of options whose values have names there may be both, the weaker ones first.
        """
        params = {_long(param): param for param in self.ctx.command.params if _offered(param)}
        entry = self.settings.targets.get(self.word)
        taken = set(self.typed) | ({"target"} if self.word else set())
        found: dict[str, tuple[click.Parameter, list[Any]]] = {}
        for layer in (entry.options if entry else {}, self.settings.defaults):
            shut = self.unused.union(taken, *(_SHUTS.get(name, frozenset()) for name in taken))
            for key, value in layer.items():
                param = params.get(key)
                if param is None or param.name is None:
                    continue
                if param.name in _KEYED:
                    known = found.get(param.name, (param, []))[1]
                    found[param.name] = (param, [value, *known])
                elif param.name not in shut:
                    found[param.name] = (param, [value])
            taken |= found.keys()
        return found

    def values(self) -> dict[str, Any]:
        """Every parameter that the file could change, as it is now."""
        names = {key for entry in self.settings.targets.values() for key in entry.options}
        names |= self.settings.defaults.keys()
        changed = {
            param.name: self.plain[param.name]
            for param in self.ctx.command.params
            if param.name in self.plain and _long(param) in names
        }
        for name, (param, raw) in self.raw().items():
            value = self._cast(param, raw)
            changed[name] = (*value, *self.plain[name]) if name in _KEYED else value
        return changed

    def words(self) -> list[str]:
        """The same as it would be typed."""
        found = []
        for param, raw in self.raw().values():
            option = f"--{_long(param)}"
            if getattr(param, "is_flag", False):
                found += [option] if raw[0] else []
            else:
                found += [word for text in _as_typed(param, raw) for word in (option, text)]
        return found

    def _cast(self, param: click.Parameter, raw: list[Any]) -> Any:
        from benchsuite.errors import UsageError

        flag = getattr(param, "is_flag", False)
        if flag and not isinstance(raw[0], bool):
            raise UsageError(f"{self.settings.path}: {_long(param)} is true or false")
        if flag:
            return raw[0]
        texts = _as_typed(param, raw)
        try:
            return param.type_cast_value(self.ctx, texts if param.multiple else texts[0])
        except click.BadParameter as error:
            raise UsageError(f"{self.settings.path}: {_long(param)}: {error.message}") from None


def _as_typed(param: click.Parameter, raw: list[Any]) -> tuple[str, ...]:
    """One text, or several for an option that may be repeated."""
    from benchsuite.settings import texts

    each = tuple(text for value in raw for text in texts(value))
    return each if param.multiple else (",".join(each),)


def fill(ctx: click.Context) -> None:
    """Give a command's parameters what the file says of those that weren't typed."""
    ctx.params[FILLED] = None
    settings = in_force(ctx)
    if settings.path is None or ctx.resilient_parsing:
        return
    typed = frozenset(
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    )
    words = ctx.params.get("target", ())
    word = words[0] if len(words) == 1 and words[0] in settings.targets else ""
    filled = Filled(ctx, settings, typed, dict(ctx.params), word)
    ctx.params |= {**filled.values(), FILLED: filled}


def given_for(given: dict[str, Any], word: str, *, alone: bool = False) -> dict[str, Any]:
    """The parameters of one target among several: with its own options, and without another's."""
    filled: Filled | None = given.get(FILLED)
    if filled is None:
        return given
    own = filled._replace(word=word, alone=alone)
    return {**given, **own.values(), FILLED: own}


def without(given: dict[str, Any], name: str) -> dict[str, Any]:
    """The parameters without what the file says of one of them, which stays as it is if it was typed."""
    filled: Filled | None = given.get(FILLED)
    if filled is None:
        return given
    return {**given, name: filled.plain[name], FILLED: filled._replace(unused=filled.unused | {name})}


def named_options(given: dict[str, Any]) -> bool:
    """Are there several targets, one of which has options of its own?"""
    filled: Filled | None = given.get(FILLED)
    words = given["target"]
    if filled is None or len(words) < 2:
        return False
    return any(filled.settings.targets[word].options for word in words if word in filled.settings.targets)


def names_of(given: dict[str, Any]) -> Mapping[str, str]:
    """The file's targets: name → the word that it stands for."""
    filled: Filled | None = given.get(FILLED)
    return {} if filled is None else {name: each.word for name, each in filled.settings.targets.items()}


def repeatable(given: dict[str, Any], command: str) -> str:
    """A command as it does the same without the file: what that added, and what its names stand for."""
    filled: Filled | None = given.get(FILLED)
    if filled is None:
        return command
    from benchsuite.cli.run_options import typed

    name, *tokens = [match[0] for match in _TOKEN.finditer(command)][1:]
    added = typed(name, filled.words() if filled.alone else filled._replace(word="").words())
    return " ".join([added, *_without_names(tokens, filled)])


def _without_names(tokens: list[str], filled: Filled) -> Iterator[str]:
    """The words of a command, its names of targets replaced; values of options stay as they are."""
    from benchsuite.cli.targets import parse_target, shown_target

    targets = filled.settings.targets
    takes = {
        name
        for param in filled.ctx.command.params
        if not getattr(param, "is_flag", False)
        for name in param.opts
        if name.startswith("-")
    }
    before = ""
    for token in tokens:
        is_target = before == "--against" or before not in takes
        if token in targets and is_target:
            if before == "--against" or not filled.alone or filled.word in {"", token}:
                yield shlex.quote(shown_target(parse_target(targets[token].word)))
        else:
            yield token
        before = token
