"""The runs that stand for a backend, a model or a GPU: the newest of each."""

from collections import Counter
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

_REASONS_TOLD = 3


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


def newest_of_each(runs: Iterable[tuple[RunDir, Run]], by: str, left_out: str = "") -> tuple[Group, ...]:
    """The newest run of each group, in the order in which the groups come first.

    A UsageError where there are fewer than two, which tells what was `left_out` before.
    """
    found: dict[str, Group] = {}
    for run_dir, run in runs:
        name = group_of(run.manifest, by)
        if name not in found or run_dir.run_id > found[name].run_dir.run_id:
            found[name] = Group(name=name, run_dir=run_dir)
    if len(found) < 2:
        only = f"they all have {by} {next(iter(found))}" if found else "there is none"
        besides = f" ({left_out}; --where chooses others)" if left_out else ""
        raise UsageError(
            f"--by {by} takes runs that differ in it, and {only}{besides}; `benchsuite results` lists them"
        )
    return tuple(found.values())


def comparable_runs(
    store: Store, wanted: Callable[[Run], bool], *, allow_invalid: bool = False
) -> tuple[list[tuple[RunDir, Run]], str]:
    """The finished runs that are `wanted` and can be compared with the newest of them, newest first.

    Searches for a capacity, invalid runs and damaged ones are passed over. With them comes how many were left
    out and why, in words; empty: none.
    """
    found: list[tuple[RunDir, Run]] = []
    reasons: Counter[str] = Counter()
    for run_dir in store.runs():
        if run_dir.partial:
            continue
        try:
            run = run_dir.run()
        except StoreError:
            continue
        if not wanted(run):
            continue
        reason = _unfit(found[0][1] if found else None, run, allow_invalid=allow_invalid)
        if reason:
            reasons[reason] += 1
        else:
            found.append((run_dir, run))
    return found, _left_out(reasons)


def _unfit(base: Run | None, run: Run, *, allow_invalid: bool) -> str:
    """What keeps a run from being compared, or from being compared with the base; empty: nothing."""
    if run.manifest.capacity:
        return "a capacity search"
    if run.verdict == "invalid" and not allow_invalid:
        return "invalid"
    if base is None:
        return ""
    if found := obstacles(base.manifest, run.manifest):
        return found[0]
    ours, theirs = (_axes(each) for each in (base, run))
    return "" if any(axes in theirs for axes in ours) else "no load and lengths in common"


def _left_out(reasons: Counter[str]) -> str:
    if not reasons:
        return ""
    told = [
        reason if len(reasons) == 1 else f"{reason} ({count})"
        for reason, count in reasons.most_common(_REASONS_TOLD)
    ]
    more = ["…"] if len(reasons) > _REASONS_TOLD else []
    who = "1 run is" if reasons.total() == 1 else f"{reasons.total()} runs are"
    return f"{who} left out, as not to be compared with the newest one: {'; '.join([*told, *more])}"


def _axes(run: Run) -> Sequence[object]:
    return [msgspec.structs.replace(row.point, index=0) for row in run.summaries]
