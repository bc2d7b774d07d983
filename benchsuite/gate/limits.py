"""Limits of a gate: how they are written, and whether a run keeps those that need no base."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from benchsuite.errors import InvalidMeasurement, UsageError
from benchsuite.stats.quantiles import QUANTILES
from benchsuite.stats.series import MEASURES
from benchsuite.types import Decided, Estimate, Noun, Point, Run, Summary

_LATENCIES = ("ttft", "ttft_from_due", "ttfo", "tpot", "itl", "e2e", "e2e_from_due")
_RATES: Final = MappingProxyType(
    {
        "cost_per_1k": "cost_per_1k_usd",
        "cost_per_1k_usd": "cost_per_1k_usd",
        "output_tokens_per_s": "output_tokens_per_s",
        "requests_per_s": "requests_per_s",
        "goodput_per_s": "goodput_per_s",
        "pass_rate": "pass_rate",
        "usd_per_1k_passed": "usd_per_1k_passed",
    }
)
_ERRORS = "error_rate"
_SHARES = frozenset({_ERRORS, "pass_rate"})
DOLLARS = frozenset({"cost_per_1k", "cost_per_1k_usd", "usd_per_1k_passed"})
_ABSOLUTE = re.compile(r"\s*(?P<name>[a-z0-9_.]+)?\s*(?P<sign>[<>])=?\s*(?P<value>.+?)\s*")
_FEWEST_TRIALS = 3

NAMES: Final = (*(f"{name}_{q}" for name in _LATENCIES for q in QUANTILES), *_RATES, _ERRORS)
"""What an absolute limit can be set on."""


class Absolute(Noun, frozen=True, kw_only=True):
    """A limit that needs no base: `value` in ms, dollars, a share or per second; `text` as it was written."""

    name: str
    sign: Literal["<", ">"]
    value: float
    text: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate lets pass. `relative`: limits of single metrics, as shares, in place of `limit`."""

    tolerance: float = 0.02
    limit: float = 0.10
    fail_on: Literal["tolerance", "limit"] = "tolerance"
    relative: Mapping[str, float] = {}
    absolute: tuple[Absolute, ...] = ()


class Checked(Noun, frozen=True, kw_only=True):
    """An absolute limit at one point: the number with its interval, and whether it is kept.

    `note` says why nothing is decided, where that isn't because the limit lies in the interval.
    """

    limit: Absolute
    point: Point
    estimate: Estimate
    verdict: Decided
    note: str = ""


# ---------------------------------------------------------------- reading


def parse_limits(words: Iterable[str], known: Limits | None = None) -> Limits:
    """`10%` for all, `ttft_p50=5%` for one metric, `ttft_p95<800ms` without any base; later ones win.

    `known`: what they are added to. A UsageError for anything else.
    """
    found = known or Limits()
    for word in (part.strip() for text in words for part in text.split(",")):
        if match := _ABSOLUTE.fullmatch(word):
            new = absolute(match["name"] or "", match["sign"], match["value"])
            rest = tuple(one for one in found.absolute if (one.name, one.sign) != (new.name, new.sign))
            found = msgspec.structs.replace(found, absolute=(*rest, new))
            continue
        name, equals, value = word.partition("=")
        if not equals:
            found = msgspec.structs.replace(found, limit=share_of(word, "--limit"))
            continue
        metrics = [metric for metric in MEASURES if metric == name.strip() or metric.startswith(f"{name}_")]
        if not metrics:
            raise UsageError(_unknown(name, tuple(MEASURES)))
        relative = {**found.relative, **dict.fromkeys(metrics, share_of(value, f"--limit {name}"))}
        found = msgspec.structs.replace(found, relative=relative)
    if found.tolerance > min([found.limit, *found.relative.values()]):
        raise UsageError(
            f"the tolerance of {100 * found.tolerance:g} % is above a limit; raise that, or lower it"
        )
    return found


def from_settings(written: Mapping[str, str]) -> Limits:
    """The same from `[limits]` of a benchsuite.toml: `limit = "10%"`, `ttft_p95 = "<800ms"`."""
    tolerance = written.get("tolerance")
    known = Limits() if tolerance is None else Limits(tolerance=share_of(tolerance, "tolerance"))
    words = [
        value
        if name == "limit"
        else f"{name}{value}"
        if value.strip()[:1] in {"<", ">"}
        else f"{name}={value}"
        for name, value in written.items()
        if name != "tolerance"
    ]
    return parse_limits(words, known)


def absolute(name: str, sign: str, value: str) -> Absolute:
    """One absolute limit; times are in ms without a unit."""
    if name not in NAMES:
        raise UsageError(_unknown(name, NAMES))
    higher = name in {"output_tokens_per_s", "requests_per_s", "goodput_per_s", "pass_rate"}
    if (sign == ">") != higher:
        right = ">" if higher else "<"
        raise UsageError(f"{name} is better {'higher' if higher else 'lower'}: write {name}{right}")
    text = value.strip().removeprefix("$" if name in DOLLARS else "")
    factor = 1.0
    for unit, times in _units(name):
        if text.endswith(unit):
            text, factor = text.removesuffix(unit).strip(), times
            break
    try:
        number = float(text) * factor
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"the limit {name}{sign}{value!r} has no number such as {_example(name)}")
    return Absolute(
        name=name, sign="<" if sign == "<" else ">", value=number, text=f"{name}{sign}{value.strip()}"
    )


def share_of(text: str, what: str) -> float:
    """`10%` or `0.1`."""
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value <= 1 or (not percent and value == 1):
        raise UsageError(f"{what}: {text.strip()!r} is no share such as 10%")
    return value


def _units(name: str) -> tuple[tuple[str, float], ...]:
    if name in _SHARES:
        return (("%", 0.01),)
    return () if name in _RATES else (("ms", 1.0), ("s", 1000.0))


def _example(name: str) -> str:
    if name in _SHARES:
        return "1%"
    return "2.50" if name in _RATES else "800ms"


def _unknown(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, n=1)
    if f"{name}_p95" in names:
        near = [f"{name}_p95"]
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names[:8])}, …"
    return f"no limit can be set on {name!r}; {hint}"


# ---------------------------------------------------------------- judging


def checked(limits: Sequence[Absolute], run: Run) -> tuple[Checked, ...]:
    """Each limit at each point of a run. InvalidMeasurement: too few samples; UsageError: no such number."""
    return tuple(_checked(limit, row) for limit in limits for row in run.summaries)


def _checked(limit: Absolute, row: Summary) -> Checked:
    if limit.name == _ERRORS:
        return _errors(limit, row)
    found = row.estimate(_RATES.get(limit.name, limit.name))
    if found is None or (found.value is None and found.n >= found.needs):
        advice = "; a price takes --gpu or --gpu-price" if limit.name in DOLLARS else ""
        raise UsageError(f"{row.point.label} has no {limit.name}{advice}")
    if found.value is None:
        raise InvalidMeasurement(
            f"{limit.name} takes {found.needs} answered requests, and there are {found.n}: more --requests"
        )
    low, high, note = found.low, found.high, ""
    if low is None or high is None or found.basis.startswith("this trial"):
        low = high = None
        note = f"no interval ({found.basis or 'of one trial'}): --trials {_FEWEST_TRIALS} or more"
    verdict: Decided = "undecided"
    if low is not None and high is not None:
        kept, broken = (high < limit.value, low > limit.value)
        if limit.sign == ">":
            kept, broken = (low > limit.value, high < limit.value)
        verdict = "fail" if broken else "pass" if kept else "undecided"
    return Checked(limit=limit, point=row.point, estimate=found, verdict=verdict, note=note)


def _errors(limit: Absolute, row: Summary) -> Checked:
    """The share of requests that failed, counted: it is that of this run, and has no interval."""
    failed = row.requests - row.outcomes.get("ok", 0)
    share = failed / row.requests if row.requests else 1.0
    verdict: Decided = "pass" if share < limit.value or not failed else "fail"
    return Checked(
        limit=limit, point=row.point, estimate=Estimate(value=share, n=row.requests), verdict=verdict
    )
