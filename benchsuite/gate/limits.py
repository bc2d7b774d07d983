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
ERRORS = "error_rate"
_SHARES = frozenset({ERRORS, "pass_rate"})
_HIGHER = frozenset({"output_tokens_per_s", "requests_per_s", "goodput_per_s", "pass_rate"})
DOLLARS = frozenset({"cost_per_1k", "cost_per_1k_usd", "usd_per_1k_passed"})
_ABSOLUTE = re.compile(r"\s*(?P<name>[a-z0-9_.]+)?\s*(?P<sign>[<>]=?)\s*(?P<value>.+?)\s*")
_FEWEST_TRIALS = 3

Sign = Literal["<", ">", "<=", ">="]
_SIGNS: Final[Mapping[str, Sign]] = MappingProxyType({"<": "<", ">": ">", "<=": "<=", ">=": ">="})

NAMES: Final = (*(f"{name}_{q}" for name in _LATENCIES for q in QUANTILES), *_RATES, ERRORS)
"""What an absolute limit can be set on."""


class Absolute(Noun, frozen=True, kw_only=True):
    """A limit that needs no base: `value` in ms, dollars, a share or per second; `text` as it was written.

    `<=` and `>=` keep a number that lies on the limit, `<` and `>` don't.
    """

    name: str
    sign: Sign
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

    `note` says why nothing is decided, where that isn't because the limit lies in the interval, or how else
    than by an interval it was.
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
            rest = tuple(one for one in found.absolute if one.name != new.name)
            found = msgspec.structs.replace(found, absolute=(*rest, new))
            continue
        name, equals, value = word.partition("=")
        if not equals:
            found = msgspec.structs.replace(found, limit=slowdown_of(word, "--limit"))
            continue
        metrics = [metric for metric in MEASURES if metric == name.strip() or metric.startswith(f"{name}_")]
        if not metrics:
            raise UsageError(_unknown(name, tuple(MEASURES)))
        relative = {**found.relative, **dict.fromkeys(metrics, slowdown_of(value, f"--limit {name}"))}
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
    higher = name in _HIGHER
    if sign.startswith(">") != higher:
        right = ">" if higher else "<"
        raise UsageError(f"{name} is better {'higher' if higher else 'lower'}: write {name}{right}")
    text = value.strip().removeprefix("$" if name in DOLLARS else "")
    times, over = 1.0, 1.0
    for unit, factor, divisor in _units(name):
        if text.endswith(unit):
            text, times, over = text.removesuffix(unit).strip(), factor, divisor
            break
    try:
        number = float(text) * times / over
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"the limit {name}{sign}{value!r} has no number such as {_example(name)}")
    found = Absolute(name=name, sign=_SIGNS[sign], value=number, text=f"{name}{sign}{value.strip()}")
    if name in _SHARES:
        _check_share(found, bare=over == 1)
    return found


def _check_share(limit: Absolute, *, bare: bool) -> None:
    """Refuse what is no share, and what every share keeps or none does: a UsageError. `bare`: without %."""
    name, sign, number, best = limit.name, limit.sign, limit.value, 1.0 if limit.name in _HIGHER else 0.0
    if number > 1 or (bare and number == 1):
        likely = sign + (f"{number:g}%" if bare and number <= 100 else _example(name))
        # Of what is better higher, 1 can only mean all.
        likely = ">=100%" if number == best else likely
        raise UsageError(f"{limit.text}: a share is at most 100 %; write {name}{likely} or the like")
    if number == best and not sign.endswith("="):
        side = "above 100 %" if best else "below 0 %"
        raise UsageError(f"{limit.text}: no share is {side}: write {name}{sign}={100 * best:g}%")
    if number == 1 - best and sign.endswith("="):
        raise UsageError(f"no share breaks {limit.text}: leave it out, or write {name}{sign}{_example(name)}")


def share_of(text: str, what: str) -> float:
    """`10%` or `0.1`."""
    value = slowdown_of(text, what)
    if value > 1:
        raise UsageError(f"{what}: {text.strip()!r} is no share such as 10%")
    return value


def slowdown_of(text: str, what: str) -> float:
    """The same of a slowdown, which may be `130%`; without the sign, only what is below 1 is a share."""
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value < float("inf") or (not percent and value >= 1):
        raise UsageError(f"{what}: {text.strip()!r} is no share such as 10%")
    return value


def _units(name: str) -> tuple[tuple[str, float, float], ...]:
    """Units, each with what to multiply and to divide by: 57 / 100 is 0.57, and 57 × 0.01 a bit more."""
    if name in _SHARES:
        return (("%", 1.0, 100.0),)
    return () if name in _RATES else (("ms", 1.0, 1.0), ("s", 1000.0, 1.0))


def _example(name: str) -> str:
    if name in _SHARES:
        return "95%" if name in _HIGHER else "1%"
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


def unjudged(limits: Sequence[Absolute], run: Run) -> tuple[Checked, ...]:
    """The same of a run that can't be trusted: nothing is decided, and no number is told."""
    return tuple(
        Checked(limit=limit, point=row.point, estimate=Estimate(value=None), verdict="undecided")
        for limit in limits
        for row in run.summaries
    )


def _checked(limit: Absolute, row: Summary) -> Checked:
    if limit.name == ERRORS:
        return _errors(limit, row)
    found = row.estimate(_RATES.get(limit.name, limit.name))
    if found is None or (found.value is None and found.n >= found.needs):
        raise UsageError(f"{row.point.label} has no {limit.name}{_lacking(limit, row)}")
    if found.value is None:
        raise InvalidMeasurement(
            f"{limit.name} takes {found.needs} answered requests, and there are {found.n}: more --requests"
        )
    if limit.name in _SHARES and limit.value == 1 and limit.sign == ">=":
        return _all_of_them(limit, row, found)
    low, high, note = found.low, found.high, ""
    if low is None or high is None or found.basis.startswith("this trial"):
        low = high = None
        note = f"no interval ({found.basis or 'of one trial'}): --trials {_FEWEST_TRIALS} or more"
    verdict: Decided = "undecided"
    if low is not None and high is not None:
        # The end that is worse has to keep it, or the better one to break it.
        worse, better = (low, high) if limit.sign in {">", ">="} else (high, low)
        verdict = "pass" if _keeps(worse, limit) else "undecided" if _keeps(better, limit) else "fail"
    shown = msgspec.structs.replace(found, low=low, high=high)
    return Checked(limit=limit, point=row.point, estimate=shown, verdict=verdict, note=note)


def _lacking(limit: Absolute, row: Summary) -> str:
    """What a number that there isn't takes, as far as that can be said."""
    passed = row.estimate("pass_rate")
    if "pass" in limit.name and (passed is None or not passed.value):
        return "; the workload checks no answer" if passed is None else "; no answer passed"
    return "; a price takes --gpu or --gpu-price" if limit.name in DOLLARS else ""


def _keeps(value: float, limit: Absolute) -> bool:
    """Is the number on the right side of the limit?"""
    if limit.sign.endswith("=") and value == limit.value:
        return True
    return value > limit.value if limit.sign.startswith(">") else value < limit.value


def _all_of_them(limit: Absolute, row: Summary, found: Estimate) -> Checked:
    """That all answers passed is counted in this run: no interval of a share reaches beyond 100 %."""
    verdict: Decided = "pass" if found.value == 1 else "fail"
    note = f"{limit.text} is counted: it says that all of these {found.n:,} passed, and nothing of others"
    return Checked(limit=limit, point=row.point, estimate=found, verdict=verdict, note=note)


def _errors(limit: Absolute, row: Summary) -> Checked:
    """The share of requests that failed, counted: it is that of this run, and has no interval."""
    failed = row.requests - row.outcomes.get("ok", 0)
    share = failed / row.requests if row.requests else 1.0
    verdict: Decided = "pass" if _keeps(share, limit) else "fail"
    return Checked(
        limit=limit, point=row.point, estimate=Estimate(value=share, n=row.requests), verdict=verdict
    )
