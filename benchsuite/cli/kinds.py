"""Kinds of values that people type: lists, durations, shares, pairs; and the options many commands share."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

SECONDS = (("ms", 0.001), ("us", 0.000_001), ("s", 1.0), ("min", 60.0), ("m", 60.0), ("h", 3600.0))


class Numbers(click.ParamType):
    """`1,8,64` → (1, 8, 64); with `whole` False also `0.5,inf`."""

    def __init__(self, *, whole: bool) -> None:
        self.name = "n,n…"
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of numbers; what isn't one is refused by name."""
        if not isinstance(value, str):
            return value
        numbers: list[float] = []
        for part in value.split(","):
            try:
                numbers.append(int(part) if self._whole else float(part))
            except ValueError:
                kind = "whole numbers" if self._whole else "numbers"
                self.fail(f"{part.strip()!r} isn't a number; give {kind} such as 1,8,64", param, ctx)
        return tuple(numbers)


class Duration(click.ParamType):
    """`30`, `30s`, `2m`, `500ms` → seconds; a bare number is in `bare` (s or ms)."""

    name = "duration"

    def __init__(self, *, bare: str = "s") -> None:
        self._bare_s = dict(SECONDS)[bare]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds, 0 or more."""
        if not isinstance(value, str):
            return value
        text = value.strip().lower()
        unit, scale_s = next(((unit, s) for unit, s in SECONDS if text.endswith(unit)), ("", self._bare_s))
        try:
            number = float(text.removesuffix(unit))
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"{value!r} isn't a duration; write 30, 30s, 500ms or 2m", param, ctx)
        return number * scale_s


class Share(click.ParamType):
    """`10%` or `0.1` → 0.1."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A fraction from 0 to 1."""
        if not isinstance(value, str):
            return value
        try:
            share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            self.fail(f"{value!r} isn't a share; write 10% or 0.1", param, ctx)
        return share


class Pair(click.ParamType):
    """`K=V` (or with another mark, `K: V`) → (K, V)."""

    def __init__(self, mark: str = "=") -> None:
        self.name = f"k{mark}v"
        self._mark = mark

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Both parts without spaces around; the value isn't repeated in the error: it may be secret."""
        if not isinstance(value, str):
            return value
        key, mark, rest = value.partition(self._mark)
        if not mark or not key.strip():
            self.fail(f"write NAME{self._mark}VALUE", param, ctx)
        return key.strip(), rest.strip()


def store_option(command: _F) -> _F:
    """`--store PATH`, for every command that reads or writes runs."""
    return click.option(
        "--store",
        "store_path",
        metavar="PATH",
        help="Where runs are kept (also BENCHSUITE_STORE).",
    )(command)
