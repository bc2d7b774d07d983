"""Limits: as people type them, as files say them, the named ones, and what each asks of a single request."""

import math
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Final

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Limit, Noun, Slo
from benchsuite.workload import readers

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
"""Those that a report has, and so those that a limit can be on."""

_OWN: Final = {"ttft": "ttft_ms", "tpot": "tpot_ms", "e2e": "e2e_ms"}
"""Limits that each request meets or misses, and their fields."""


class Preset(Noun, frozen=True, kw_only=True):
    """Named limits and what they are about."""

    about: str
    slo: Slo


def presets() -> dict[str, Preset]:
    """The named limits by their names, as they are listed."""
    table = tomllib.loads(files("benchsuite.data").joinpath("slo.toml").read_text(encoding="utf-8"))
    return {name: _preset(name, values) for name, values in table.items()}


def _preset(name: str, values: dict[str, Any]) -> Preset:
    about = values.pop("about")
    limits = readers.limits(values.pop("limits", {}))
    return Preset(about=about, slo=Slo(preset=name, limits=limits, **values))


def preset(name: str) -> Slo:
    """The limits of that name; an unknown one is a UsageError that names the nearest."""
    known = presets()
    if name not in known:
        nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
        raise UsageError(f"no SLO called {name!r}; did you mean {nearest}? There are: {', '.join(known)}")
    return known[name].slo


def slo_of(values: Mapping[str, Any], where: str) -> Slo:
    """The limits of a file's [slo]: those of its preset, changed by the keys beside it.

    A limit on a quantile takes the place of the preset's one on the same metric and quantile.
    """
    named, beside = values.get("preset", ""), {**values}
    beside.pop("preset", None)
    try:
        found = preset(named) if named else Slo()
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None
    limits = _merged(found.limits, beside.pop("limits", ()), where)
    return msgspec.structs.replace(found, **beside, limits=limits)


def parse_slo(text: str) -> Slo:
    """Limits as people type them; a bare number is milliseconds.

    `ttft=500ms,tpot=50ms,e2e=10s` for each request, `ttft_p95=500ms` for a quantile of them, `chat` for the
    limits of that name, which those beside it change.
    """
    own: dict[str, float] = {}
    limits: list[Limit] = []
    name = ""
    for part in text.split(","):
        key, equals, amount = (piece.strip().lower() for piece in part.partition("="))
        if key and not equals and not name and not _is_limit(key):
            name = key
            continue
        metric, _, quantile = key.partition("_p")
        if not _is_limit(key):
            nearest = get_close_matches(key, [*_OWN, "itl_p95"], n=1, cutoff=0)[0]
            raise UsageError(f"unknown limit {key!r} in {text!r}; did you mean {nearest}=500ms?")
        if key in own or any(limit_name(limit) == key for limit in limits):
            raise UsageError(f"{key} has two limits in {text!r}; give one")
        ms = _milliseconds(amount, f"the limit of {key} in {text!r}")
        if quantile:
            limits.append(_on_quantile(key, ms, f"{text!r} "))
        elif metric in _OWN:
            own[key] = ms
        else:
            raise UsageError(
                f"{key} isn't one number a request: limit a quantile of it, such as {key}_p95=80ms"
            )
    found = preset(name) if name else Slo()
    changes = {_OWN[key]: ms for key, ms in own.items()}
    return msgspec.structs.replace(found, **changes, limits=_merged(found.limits, tuple(limits), ""))


def limit_name(limit: Limit) -> str:
    """As it is typed: `ttft_p95`."""
    return f"{limit.metric}_{quantile_name(limit)}"


def quantile_name(limit: Limit) -> str:
    """As reports call it: `p95`."""
    return f"p{100 * limit.quantile:g}"


def each_request(slo: Slo) -> dict[str, float]:
    """What one request has to meet to be a good one: milliseconds by `ttft`, `tpot` and `e2e`.

    Of limits on quantiles, only the highest quantile's counts for every request.
    """
    found: dict[str, float] = {}
    for limit in sorted(slo.limits, key=lambda limit: limit.quantile):
        if limit.metric in _OWN:
            found[limit.metric] = limit.ms
    own = {key: value for key, name in _OWN.items() if (value := getattr(slo, name)) is not None}
    return found | own


def limits_text(slo: Slo) -> str:
    """All limits in a few words: `TTFT p95 ≤ 500 ms, TPOT ≤ 50 ms`; empty without any."""
    own = [(key.upper(), getattr(slo, name)) for key, name in _OWN.items()]
    parts = [f"{name} ≤ {ms:g} ms" for name, ms in own if ms is not None]
    parts += [f"{limit.metric.upper()} {quantile_name(limit)} ≤ {limit.ms:g} ms" for limit in slo.limits]
    return ", ".join(parts)


def _is_limit(key: str) -> bool:
    return re.fullmatch(r"(ttft|tpot|itl|e2e)(_p[\d.]+)?", key) is not None


def _on_quantile(key: str, ms: float, where: str) -> Limit:
    try:
        found = readers.limit(key, ms)
    except ValueError as error:
        raise UsageError(f"{where}{error}") from None
    _check_quantiles((found,), where)
    return found


def _merged(given: tuple[Limit, ...], beside: tuple[Limit, ...], where: str) -> tuple[Limit, ...]:
    """Those of a preset and those beside it, which take the place of the same."""
    _check_quantiles(beside, where)
    found = {limit_name(limit): limit for limit in (*given, *beside)}
    return tuple(found.values())


def _check_quantiles(limits: tuple[Limit, ...], where: str) -> None:
    for limit in limits:
        if limit.quantile not in QUANTILES:
            raise UsageError(
                f"{where}has a limit on {quantile_name(limit)}: quantiles are p50, p90, p95, p99 and p99.9"
            )


def _milliseconds(amount: str, what: str) -> float:
    number, factor = amount, 1.0
    for unit, unit_ms in (("ms", 1.0), ("us", 0.001), ("s", 1000.0)):
        if amount.endswith(unit):
            number, factor = amount.removesuffix(unit), unit_ms
            break
    try:
        value = float(number) * factor
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{what} must be a time such as 500ms or 2s, not {amount!r}")
    return value
