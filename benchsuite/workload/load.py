"""Find, read and change workloads, and what follows from one: its digest."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import (
    Arrivals,
    CacheMode,
    Check,
    Length,
    LoadStage,
    Reasoning,
    Slo,
    Source,
    Spread,
    Text,
    Workload,
)
from benchsuite.workload import replaying, schema, talk
from benchsuite.workload.datasets import language
from benchsuite.workload.points import check_unlisted
from benchsuite.workload.stages import exchanged


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


def folder_of(name_or_path: str) -> Path:
    """Where the paths in a workload count from: the folder that it stands in."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return Path(name_or_path).parent
    return Path(str(files("benchsuite_workloads")))


def shipped() -> tuple[str, ...]:
    """Names of the standard workloads with their versions, e.g. `chat@1`; oldest version first."""
    entries = (entry.name for entry in files("benchsuite_workloads").iterdir())
    names = [entry.removesuffix(".toml").split("@") for entry in entries if entry.endswith(".toml")]
    return tuple(f"{name}@{version}" for name, version in sorted(names, key=lambda at: (at[0], int(at[1]))))


class Changes(TypedDict, total=False):
    """What may be changed of a workload; a value is written as in a file, None leaves the field as it is."""

    prompt_tokens: Sequence[Length] | Length | None
    output_tokens: Sequence[Length] | Length | None
    text: Text | None
    concurrency: Sequence[int] | int | None
    rate: Sequence[float] | float | None
    arrivals: Arrivals | None
    arrivals_cv: float | None
    burst_size: int | None
    stages: Sequence[LoadStage] | None
    batch: bool | None
    requests: int | None
    seconds: float | None
    trials: int | None
    sweep: Literal["grid", "zip"] | None
    order: Literal["blocks", "listed"] | None
    engine: Mapping[str, Sequence[str]] | None
    cache: Sequence[CacheMode] | CacheMode | None
    reasoning: Reasoning | None
    seed: int | None
    trace: Source | None
    time_scale: float | None
    hit_ratio: Sequence[float] | float | None
    groups: int | None
    zipf: float | None
    shared_tokens: int | None
    turns: Length | None
    user_tokens: Length | None
    think_s: float | Spread | None
    replies: Literal["fixed", "real"] | None
    dataset: Source | None
    check: Check | None
    slo: Slo | None


def overridden(workload: Workload, **asked: Unpack[Changes]) -> Workload:
    """The workload with some of it changed; None leaves a field as it is.

    Only a concurrency makes it a closed loop, only a rate an open one; requests and seconds
    replace each other. Stages take the place of any load and end, and a load takes theirs. `batch` takes the
    place of any load that the workload has, and makes it one trial unless more are asked for.
    Values are held to the same rules as in a file (UsageError).
    """
    slo = asked.pop("slo", None)
    given: dict[str, Any] = {field: value for field, value in asked.items() if value is not None}
    if "engine" in given:
        given["engine"] = {**workload.engine, **given["engine"]}
    changes: dict[str, object] = {
        field: schema.read(field, value, field.replace("_", " ")) for field, value in given.items()
    }
    check_unlisted(workload, changes)
    if "text" in given and ("dataset" in given or workload.dataset is not None) and "trace" not in given:
        raise UsageError("a dataset's prompts are texts of their own: leave text out, or the dataset")
    for one, other, unset in (("concurrency", "rate", ()), ("requests", "seconds", None)):
        if (one in changes) != (other in changes):
            changes[other if one in changes else one] = unset
    changes = exchanged(workload, changes)
    changes |= language.exchanged(given.get("dataset"), given)
    changes |= replaying.exchanged(workload, given)
    changes |= talk.exchanged(workload, changes)
    if workload.dataset is not None and "dataset" not in given and "cache" in given:
        changes["salted"] = True
    if given.get("batch") and not workload.batch:
        changes = {"concurrency": (), "rate": (), "trials": 1} | changes
    elif workload.batch and ("concurrency" in given or "rate" in given):
        changes.setdefault("batch", False)
    if slo is not None:
        changes["slo"] = slo
    return schema.made({**schema.fields_of(workload), **changes}, "")


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
    if workload.dataset is not None:
        asked["dataset"] = language.asked_of(workload.dataset)
    if workload.trace is not None:
        asked["trace"] = replaying.asked_of(workload.trace)
    # Which server answers is no part of the question.
    for axis in ("models", "engine"):
        asked.pop(axis, None)
    fields = _finite(msgspec.to_builtins(asked))
    fields.setdefault("rate", [])
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def _finite(value: Any) -> Any:
    """The same with `inf` as a word: JSON knows no infinity, and msgspec would write null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value
