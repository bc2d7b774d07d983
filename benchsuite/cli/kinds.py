"""What people type, as values: lists, durations, shares, pairs; and the option that many commands share.

Each is a function from text to value for click's `type=`; a bad value is a BadParameter that says
what to write, and never repeats what might be secret.
"""

import json
import math
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import click

_F = TypeVar("_F", bound=Callable[..., Any])

_SECONDS: Final = (("ms", 0.001), ("us", 1e-6), ("min", 60.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0))


def whole_numbers(text: str) -> tuple[int, ...]:
    """`1,8,64` → (1, 8, 64)."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} should be whole numbers, such as 8 or 1,8,64") from None


def one_or_more(text: str) -> int:
    """A whole number from 1; as a range type of click it would clutter every help line."""
    return _whole(text, 1)


def zero_or_more(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise click.BadParameter(f"{text!r} should be a whole number, {least} or more")
    return number


def json_object(text: str) -> dict[str, Any]:
    """`{"top_k": 1}` → a dict."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter("it should be a JSON object, such as '{\"top_k\": 1}'")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """`0.5,4,inf` → (0.5, 4.0, inf)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} should be numbers or inf, such as 4 or 0.5,4") from None


def seconds(text: str) -> float:
    """`30`, `30s`, `2m`, `500ms` → seconds; a bare number is in seconds."""
    return _duration_s(text, 1.0)


def milliseconds(text: str) -> float:
    """`50`, `50ms`, `0.05s` → milliseconds; a bare number is in milliseconds."""
    return round(1000 * _duration_s(text, 0.001), 6)


def _duration_s(text: str, bare_s: float) -> float:
    word = text.strip().lower()
    unit, unit_s = next(((unit, s) for unit, s in _SECONDS if word.endswith(unit)), ("", bare_s))
    try:
        number = float(word.removesuffix(unit))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"{text!r} isn't a duration; write 30s, 500ms or 2m")
    return number * unit_s


def share(text: str) -> float:
    """`10%` or `0.1` → 0.1."""
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:
        raise click.BadParameter(f"{text!r} isn't a share; write 10% or 0.1")
    return found


def dollars(text: str) -> float:
    """`2.5` or `$2.50` → 2.5."""
    try:
        amount = float(text.strip().removeprefix("$"))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise click.BadParameter(f"{text!r} isn't a price in US dollars; write 2.50")
    return amount


def token_price(text: str) -> tuple[float, ...]:
    """`0.5,1.5` or `0.5,1.5,0.05` → dollars per million input, output and cached input tokens."""
    prices = tuple(map(dollars, text.split(",")))
    if len(prices) not in {2, 3}:
        raise click.BadParameter("write it as IN,OUT or IN,OUT,CACHED, such as 0.5,1.5")
    return prices


def pair(text: str) -> tuple[str, str]:
    """`K=V` → (K, V)."""
    return _parts(text, "=")


def pairs(text: str) -> dict[str, str]:
    """`tp=2,dtype=bfloat16` → a dict."""
    return dict(pair(part) for part in text.split(","))


def header(text: str) -> tuple[str, str]:
    """`K: V` → (K, V)."""
    return _parts(text, ":")


def _parts(text: str, mark: str) -> tuple[str, str]:
    key, found, value = text.partition(mark)
    if not found or not key.strip():
        raise click.BadParameter(f"write it as NAME{mark}VALUE")
    return key.strip(), value.strip()


def server_url(text: str) -> str:
    """A server's base URL; it may hold a password, so no message repeats it."""
    parts = _url_parts(text)
    if parts.query:
        raise click.BadParameter("a URL with a query isn't supported; send it with --header-env")
    if parts.path.rstrip("/").endswith("/completions"):
        raise click.BadParameter(
            "give the base URL, without /chat/completions or /completions; it looks like http://host:8000"
        )
    return text


def proxy_url(text: str) -> str:
    """A proxy's URL; it may hold a password, so no message repeats it."""
    _url_parts(text)
    return text


def _url_parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        readable = parts.port is None or bool(parts.hostname)
    except ValueError:
        readable = False
    if not readable:
        raise click.BadParameter("the URL's host or port can't be read; it looks like http://host:8000")
    return parts


def _store(ctx: click.Context, _param: click.Parameter, typed: str | None) -> str | None:
    """As typed, as in the environment (None), or as benchsuite.toml has it."""
    if typed or os.environ.get("BENCHSUITE_STORE") or ctx.resilient_parsing:
        return typed
    from benchsuite.cli.settings import in_force

    store = in_force(ctx).store
    return None if store is None else str(store)


def store_option(command: _F) -> _F:
    """`--store PATH`, for every command that reads or writes runs."""
    return click.option(
        "--store",
        "store_path",
        callback=_store,
        metavar="PATH",
        help="Where runs are kept (also BENCHSUITE_STORE).",
    )(command)


key_options: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("--api-key-env", metavar="VAR", help="Environment variable that holds the API key."),
    click.option(
        "--token-command", metavar="CMD", help="A command that prints the key, e.g. of a cloud's CLI."
    ),
    click.option("--header", type=header, multiple=True, metavar="'K: V'", help="Send a header."),
    click.option(
        "--header-env",
        type=pair,
        multiple=True,
        metavar="K=VAR",
        help="Send a header whose value is in the environment.",
    ),
)
"""Options of every command that a server wants keys from; they are never stored."""
