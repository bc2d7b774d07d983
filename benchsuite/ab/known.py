"""When two arms are known well enough: each metric is better, worse or the same."""

from collections.abc import Sequence

from benchsuite.ab.turns import Look, Ready
from benchsuite.compare import chosen_metrics
from benchsuite.errors import InvalidMeasurement, UsageError
from benchsuite.pairs import Arm, default_metrics, pairs_of
from benchsuite.stats.paired import paired_effect
from benchsuite.stats.quantiles import samples_needed
from benchsuite.stats.series import MEASURES
from benchsuite.types import Decision, Manifest
from benchsuite.workload.points import own_instants


def until_known(metrics: Sequence[str], margin: float) -> tuple[Ready, Look]:
    """Go on until each metric (empty: the usual) is better, worse or the same within the margin."""

    def ready(base: Manifest, _other: Manifest) -> str:
        names = names_of(metrics, base)
        if metrics:
            enough_asked(base, names)
        return ""

    def look(base: Arm, other: Arm, pairs: int) -> tuple[bool, Decision | None]:
        numbers = pairs_of(base, other, names_of(metrics, base.manifest))
        effects = [
            paired_effect(
                ours[:pairs],
                theirs[:pairs],
                better=MEASURES[name].better,
                margin=margin,
                alpha=numbers.alpha,
            )
            for (name, _), (ours, theirs) in numbers.pairs.items()
        ]
        return bool(effects) and all(effect.verdict != "undecided" for effect in effects), None

    return ready, look


def names_of(metrics: Sequence[str], manifest: Manifest) -> tuple[str, ...]:
    """The metrics that are looked at in such a run; the usual ones where none is named.

    A UsageError for one that it has no number of.
    """
    if not metrics:
        return default_metrics(manifest.points)
    found: set[str] = set()
    for word in metrics:
        named = chosen_metrics([word])
        lacking = [why for name in named if (why := _lacking(name, manifest))]
        if len(lacking) == len(named):
            raise UsageError(f"there is no {word} here: {lacking[0]}")
        found |= {name for name in named if not _lacking(name, manifest)}
    return tuple(name for name in MEASURES if name in found)


def _lacking(name: str, manifest: Manifest) -> str:
    """What a run lacks for a metric; empty: nothing."""
    if MEASURES[name].due and all(point.load == "closed" for point in manifest.points):
        return "a schedule says when requests are due, such as --rate"
    if name in {"pass_rate", "usd_per_1k_passed"} and manifest.workload.check is None:
        return "the workload checks no answer"
    if "usd" in name and manifest.price is None and manifest.token_price is None:
        return "a price takes --gpu or --gpu-price"
    return ""


def enough_asked(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse at once what the workload's number of requests can't show."""
    workload = manifest.workload
    if workload.requests is None or any(own_instants(workload, point) for point in manifest.points):
        return
    for name in names:
        q = MEASURES[name].q
        if q is not None and workload.requests < samples_needed(q):
            raise InvalidMeasurement(too_few(name, workload.requests, samples_needed(q)))


def too_few(name: str, n: int, needs: int) -> str:
    """Why nothing can be said of a quantile, and what to do."""
    if not n:
        return f"{name} has no value in a trial: name others with --metric"
    return (
        f"{name} takes {needs} answered requests a trial, and there are {n}: "
        f"--requests {needs}, or look at less with --metric"
    )
