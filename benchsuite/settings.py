"""`benchsuite.toml`: targets by name, defaults of options, limits of a gate, and where runs are kept.

Found upwards from the working directory. Which options there are is the command line's to know: here an
option is its long name without the dashes, and a value as TOML has it.
"""

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError

NAME: Final = "benchsuite.toml"
_TABLES: Final = ("targets", "defaults", "limits", "store")
_WHO: Final = ("backend", "url", "model")
_NAME_SIGNS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_FILES: Final = frozenset(
    {"trace", "dataset", "bodies", "spec", "json-schema", "tools", "ca-cert", "client-cert", "client-key"}
)
"""Options whose values are files: relative ones count from the file that names them."""

ELSEWHERE: Final = MappingProxyType(
    {
        "api-key": "a key has no place in a file; api-key-env names the variable that holds it",
        "header": "a header may hold a secret; header-env takes its value from the environment",
        "token-command": "a file that is found on the way runs no command; type it",
        "engine-python": "a file that is found on the way starts no program; type it",
        "yes": "it answers a question that is asked of you; type it",
        "store": 'it stands above all tables, as store = "…"',
        "tolerance": "it stands in [limits]",
        "limit": "it stands in [limits]",
    }
)
"""Options that mustn't stand in a file, or not there, and why."""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A target by its name: as the word that names it elsewhere, and further options of it alone."""

    word: str
    options: Mapping[str, Any] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says; empty where there is none.

    `defaults` and a target's options: long names without dashes → a text, a number, a truth value, or a
    list or a table of these. `limits`: as text, e.g. tolerance → `2%`, ttft_p95 → `<800ms`. `store`: where
    runs are kept, counted from the file's folder; None: not said.
    """

    path: Path | None = None
    targets: Mapping[str, Named] = {}
    defaults: Mapping[str, Any] = {}
    limits: Mapping[str, str] = {}
    store: Path | None = None


def find(start: Path) -> Path | None:
    """The nearest file from `start` upwards, up to the folder with `.git`, which ends a project."""
    for folder in (start, *start.parents):
        # Unlike Path's own, these take a folder that can't be read for an empty one.
        if os.path.isfile(folder / NAME):
            return folder / NAME
        if os.path.exists(folder / ".git"):
            return None
    return None


def read(path: Path, options: Collection[str], taken: Collection[str] = ()) -> Settings:
    """The settings of a file. Raises `UsageError`, in one line, for what can't be read or isn't known."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
        raise UsageError(f"can't read {path}: {reason}") from None
    return parsed(text, path, options, taken)


def parsed(text: str, path: Path, options: Collection[str], taken: Collection[str] = ()) -> Settings:
    """The same from a text. `options` may have defaults; names in `taken` (backends) are no target's."""
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    for key in found:
        if key not in _TABLES:
            raise UsageError(f"{path}: {_unknown(key, _TABLES)}")
    store = found.get("store")
    if store is not None and not (isinstance(store, str) and store.strip()):
        raise UsageError(f'{path}: store is a path, such as store = "results"')
    tables = {name: _table(found.get(name, {}), f"[{name}]", path) for name in _TABLES if name != "store"}
    return Settings(
        path=path,
        targets={
            name: _named(name, value, path, options, taken) for name, value in tables["targets"].items()
        },
        defaults=_options(tables["defaults"], "[defaults]", path, options),
        limits={name: _limit(name, value, path) for name, value in tables["limits"].items()},
        store=None if store is None else path.parent / Path(store).expanduser(),
    )


def texts(value: Any) -> tuple[str, ...]:
    """A value as it would be typed, a word each: `[1, 8]` → 1 and 8, `{t = [1, 2]}` → `t=1,2`."""
    if isinstance(value, Mapping):
        return tuple(f"{key}={','.join(texts(inner))}" for key, inner in value.items())
    if isinstance(value, list):
        return tuple(",".join(texts(inner)) for inner in value)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    return (str(value),)


def _table(value: Any, where: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {where} is a table")
    return value


def _named(name: str, value: Any, path: Path, options: Collection[str], taken: Collection[str]) -> Named:
    where = f"[targets] {name}"
    if not name or not set(name) <= _NAME_SIGNS or name.startswith("-"):
        raise UsageError(f"{path}: {where!r} can't be typed; use letters, digits, -, _ and .")
    if name in taken:
        raise UsageError(f"{path}: {where} is a backend's name; choose another")
    if isinstance(value, str):
        return Named(word=_without_password(value, where, path))
    entry = _options(_table(value, where, path), where, path, options)
    who = {key: entry.pop(key, "") for key in _WHO}
    if not all(isinstance(part, str) for part in who.values()):
        raise UsageError(f"{path}: {where}: backend, url and model are texts")
    if not who["backend"]:
        raise UsageError(f'{path}: {where} needs a backend, such as backend = "openai"')
    if who["url"] and not who["url"].startswith("http"):
        raise UsageError(f"{path}: {where}: url begins with http:// or https://")
    word = who["backend"] + (f":{who['model']}" if who["model"] else "")
    return Named(word=word + (f"@{who['url']}" if who["url"] else ""), options=entry)


def _options(table: Mapping[str, Any], where: str, path: Path, options: Collection[str]) -> dict[str, Any]:
    """The table, if it holds only options, with values that can be typed; files count from its folder."""
    found = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name in ELSEWHERE:
            raise UsageError(f"{path}: {where}: no {name} here: {ELSEWHERE[name]}")
        if name not in options:
            raise UsageError(f"{path}: {where}: {_unknown(key, sorted(options))}")
        if not _typable(value):
            raise UsageError(f"{path}: {where}: {key} takes a text, a number, true, or a list of these")
        if name in {"url", "proxy"}:
            _without_password(value, f"{where} {key}", path)
        is_file = name in _FILES or (name == "workload" and str(value).endswith(".toml"))
        found[name] = _from_here(value, path) if is_file else value
    return found


def _typable(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < 2 and bool(value) and all(_typable(inner, depth + 1) for inner in value)
    if isinstance(value, dict):
        return depth < 1 and bool(value) and all(_typable(inner, depth + 1) for inner in value.values())
    return isinstance(value, str | int | float)


def _from_here(value: Any, path: Path) -> Any:
    """A relative path as it is from the working directory."""
    if not isinstance(value, str) or path.parent == Path.cwd():
        return value
    there = Path(value).expanduser()
    return str(there) if there.is_absolute() else os.path.relpath(path.parent / there)


def _without_password(value: Any, where: str, path: Path) -> str:
    """The URL, or the word with one; what may hold a password isn't repeated."""
    address = str(value).partition("://")[2].partition("/")[0]
    if "@" in address:
        raise UsageError(f"{path}: {where}: a URL in a file holds no password; see header-env")
    return str(value)


def _limit(name: str, value: Any, path: Path) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f'{path}: [limits] {name} is a text, such as "10%" or "<800ms"')
    return str(value)


def _unknown(key: str, known: Collection[str]) -> str:
    near = get_close_matches(key.replace("_", "-"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"there is no {key!r}; {hint}" if len(hint) < 200 else f"there is no {key!r}"
