"""Find, read and change workloads, and what follows from one: its digest."""

import hashlib
import math
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Arrivals, CacheMode, Length, Reasoning, Slo, Workload
from benchsuite.workload import schema


def load(name_or_path: str) -> Workload:
    """The workload of a file (anything with a `/` or ending in `.toml`), or a shipped one.

    `chat@1` is that version, `chat` the newest. Unknown names and bad files are UsageErrors.
    """
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
            raise UsageError(f"can't read the workload file {name_or_path}: {reason}") from None
        return schema.parsed(text, Path(name_or_path).name)
    known = shipped()
    found = [name for name in known if name_or_path in (name, name.partition("@")[0])]
    if not found:
        nearest = get_close_matches(name_or_path, known, n=1, cutoff=0)[0]
        raise UsageError(
            f"no workload called {name_or_path!r}; did you mean {nearest}? There are: {', '.join(known)}"
        )
    file = f"{found[-1]}.toml"
    return schema.parsed(files("benchsuite_workloads").joinpath(file).read_text(encoding="utf-8"), file)


def shipped() -> tuple[str, ...]:
    """Names of the standard workloads with their versions, e.g. `chat@1`; oldest version first."""
    entries = (entry.name for entry in files("benchsuite_workloads").iterdir())
    names = [entry.removesuffix(".toml").split("@") for entry in entries if entry.endswith(".toml")]
    return tuple(f"{name}@{version}" for name, version in sorted(names, key=lambda at: (at[0], int(at[1]))))


def overridden(
    workload: Workload,
    *,
    prompt_tokens: Sequence[Length] | Length | None = None,
    output_tokens: Sequence[Length] | Length | None = None,
    concurrency: Sequence[int] | int | None = None,
    rate: Sequence[float] | float | None = None,
    arrivals: Arrivals | None = None,
    batch: bool | None = None,
    requests: int | None = None,
    seconds: float | None = None,
    trials: int | None = None,
    cache: Sequence[CacheMode] | CacheMode | None = None,
    reasoning: Reasoning | None = None,
    seed: int | None = None,
    slo: Slo | None = None,
) -> Workload:
    """The workload with some of it changed; None leaves a field as it is.

    Only a concurrency makes it a closed loop, only a rate an open one; requests and seconds
    replace each other. `batch` takes the place of any load that the workload has, and makes it one trial
    unless more are asked for. Values are held to the same rules as in a file (UsageError).
    """
    given = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "concurrency": concurrency,
        "rate": rate,
        "arrivals": arrivals,
        "batch": batch,
        "requests": requests,
        "seconds": seconds,
        "trials": trials,
        "cache": cache,
        "reasoning": reasoning,
        "seed": seed,
    }
    changes: dict[str, object] = {
        field: schema.read(field, value, field.replace("_", " "))
        for field, value in given.items()
        if value is not None
    }
    for one, other, unset in (("concurrency", "rate", ()), ("requests", "seconds", None)):
        if (one in changes) != (other in changes):
            changes[other if one in changes else one] = unset
    if batch and not workload.batch:
        changes = {"concurrency": (), "rate": (), "trials": 1} | changes
    elif workload.batch and (concurrency is not None or rate is not None):
        changes.setdefault("batch", False)
    if slo is not None:
        changes["slo"] = slo
    return schema.made({**schema.fields_of(workload), **changes}, "")


def parse_slo(text: str) -> Slo:
    """Limits as people type them: `ttft=500ms,tpot=50ms,e2e=10s`; a bare number is milliseconds."""
    limits: dict[str, float] = {}
    known = [field.removesuffix("_ms") for field in Slo.__struct_fields__]
    for part in text.split(","):
        name, _, amount = (piece.strip().lower() for piece in part.partition("="))
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UsageError(f"unknown limit {name!r} in {text!r}; did you mean {nearest}=500ms?")
        if f"{name}_ms" in limits:
            raise UsageError(f"{name} has two limits in {text!r}; give one")
        limits[f"{name}_ms"] = _milliseconds(amount, f"the limit of {name} in {text!r}")
    return msgspec.convert(limits, Slo)


def workload_digest(workload: Workload) -> str:
    """SHA-256 (hex) of everything the workload asks: equal digests, equal questions.

    What is left at its default isn't part of it, so that a field added later changes no digest.
    """
    asked = {
        field.name: value
        for field in msgspec.structs.fields(workload)
        if (value := getattr(workload, field.name)) != field.default
    }
    if workload.bodies is not None:
        # The file is what is asked, whatever it is called; lengths aren't asked for.
        del asked["prompt_tokens"], asked["output_tokens"], asked["description"]
        asked["bodies"] = {"number": workload.bodies.number, "sha256": workload.bodies.sha256}
    if len(workload.cache) == 1 and "cache" in asked:
        asked["cache"] = workload.cache[0]
    # Which server answers is no part of the question.
    for axis in ("models", "engine"):
        asked.pop(axis, None)
    fields = msgspec.to_builtins(asked)
    # JSON knows no infinity: msgspec would write null.
    fields["rate"] = ["inf" if math.isinf(rate) else rate for rate in workload.rate]
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


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
