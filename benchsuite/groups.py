"""The runs that stand for a backend, a model or a GPU: the newest of each."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from benchsuite.differences import obstacles
from benchsuite.errors import StoreError, UsageError
from benchsuite.store.runs import RunDir, Store
from benchsuite.types import Manifest, Run

WHAT = "backend, model, gpu, label:NAME or engine:SETTING"
"""What runs can be compared by."""

UNKNOWN = "none"
"""The group of those that have no such thing."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and what it stands for."""

    name: str
    run_dir: RunDir


def difference(by: str) -> str:
    """What `by` is called among the differences of two runs; UsageError: nothing is compared by it."""
    kind, colon, name = by.partition(":")
    if colon and name and kind in {"label", "engine"}:
        return f"{kind} {name}"
    if by in {"backend", "model", "gpu"}:
        return {"gpu": "GPU"}.get(by, by)
    raise UsageError(f"runs can't be compared --by {by}; there are: {WHAT}")


def group_of(manifest: Manifest, by: str) -> str:
    """The group that a run is in."""
    kind, _, name = by.partition(":")
    if kind == "label":
        return manifest.labels.get(name, UNKNOWN)
    if kind == "engine":
        return manifest.engine.get(name, UNKNOWN)
    gpu = manifest.gpu or (manifest.price.gpu if manifest.price else "")
    return {"backend": manifest.backend, "model": manifest.model, "gpu": gpu}[by] or UNKNOWN


def newest_of_each(runs: Iterable[tuple[RunDir, Run]], by: str) -> tuple[Group, ...]:
    """The newest run of each group, in the order in which the groups come first.

    A UsageError where there are fewer than two.
    """
    found: dict[str, Group] = {}
    for run_dir, run in runs:
        name = group_of(run.manifest, by)
        if name not in found or run_dir.run_id > found[name].run_dir.run_id:
            found[name] = Group(name=name, run_dir=run_dir)
    if len(found) < 2:
        only = f"they all have {by} {next(iter(found))}" if found else "there is none"
        raise UsageError(
            f"--by {by} takes runs that differ in it, and {only}; `benchsuite results` lists them"
        )
    return tuple(found.values())


def comparable_runs(
    store: Store, wanted: Callable[[Run], bool], *, allow_invalid: bool = False
) -> list[tuple[RunDir, Run]]:
    """The finished runs that are `wanted` and can be compared with the newest of them, newest first.

    Searches for a capacity, invalid runs and damaged ones are passed over.
    """
    found: list[tuple[RunDir, Run]] = []
    for run_dir in store.runs():
        if run_dir.partial:
            continue
        try:
            run = run_dir.run()
        except StoreError:
            continue
        if run.manifest.capacity or (run.verdict == "invalid" and not allow_invalid) or not wanted(run):
            continue
        if not found or _alike(found[0][1], run):
            found.append((run_dir, run))
    return found


def _alike(base: Run, other: Run) -> bool:
    """May they be compared, and do they share a point?"""
    if obstacles(base.manifest, other.manifest):
        return False
    ours, theirs = (_axes(run) for run in (base, other))
    return any(axes in theirs for axes in ours)


def _axes(run: Run) -> Sequence[object]:
    return [msgspec.structs.replace(row.point, index=0) for row in run.summaries]
