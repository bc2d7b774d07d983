"""Two runs measured in turn, as numbers in pairs: one of each arm a trial, for every metric and point."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from benchsuite.stats.columns import NEEDED, trials_of
from benchsuite.stats.quantiles import samples_needed
from benchsuite.stats.series import MEASURES, Series, all_series
from benchsuite.store.runs import RunDir
from benchsuite.types import Manifest, Point

Key = tuple[str, int]
"""A metric's name in `MEASURES`, and the index of a point."""

Pairs = Mapping[Key, tuple[tuple[float, ...], tuple[float, ...]]]
"""The base's and the other's numbers, pair by pair, in the metric's unit."""


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What the trials say: numbers in `pairs`, and where a trial had too `few` answers for a quantile.

    `few`: how many there were at the least, and how many it takes.
    `alpha`: how often the interval of a metric may miss at one look, since it was looked several times.
    """

    pairs: Pairs
    few: Mapping[Key, tuple[int, int]]
    alpha: float


ALPHA = 0.05
"""How often a metric's interval may miss, over all looks."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs, as far as it was measured."""

    run_dir: RunDir
    manifest: Manifest


def pairs_of(base: Arm, other: Arm, names: Iterable[str]) -> Numbers:
    """The numbers of the trials that count, of the pairs of which both arms have one.

    A quantile takes as many answers a trial as its `samples_needed`: fewer give no number.
    """
    wanted, pairs, few = tuple(names), {}, {}
    kept = base.manifest.pairing.kept if base.manifest.pairing else ()
    for point in base.manifest.points:
        trials = [
            (_of_trial(base, point, trial, wanted), _of_trial(other, point, trial, wanted)) for trial in kept
        ]
        for name in wanted:
            series = [
                (ours[name], theirs[name]) for ours, theirs in trials if name in ours and name in theirs
            ]
            both = [(one.values[0], two.values[0]) for one, two in series if one.values and two.values]
            if both:
                first, second = zip(*both, strict=True)
                pairs[name, point.index] = (tuple(first), tuple(second))
            short = [each for pair in series for each in pair if each.n < each.needs]
            if short:
                few[name, point.index] = (min(each.n for each in short), short[0].needs)
    looks = len(base.manifest.pairing.looks) if base.manifest.pairing else 1
    return Numbers(pairs=pairs, few=few, alpha=ALPHA / max(1, looks))


def series_of(run_dir: RunDir, manifest: Manifest, point: Point, names: Sequence[str]) -> dict[str, Series]:
    """A point's metrics as one number a trial, from its records."""
    infos = [info for info in manifest.trials if info.point == point.index]
    trials = trials_of(run_dir.records(point.index, columns=NEEDED), infos)
    return all_series(point, [(info, each) for info, each in trials if len(each)], manifest.price, names)


def default_metrics(points: Sequence[Point]) -> tuple[str, ...]:
    """What is looked at where nothing is named: p50 and p90 of TTFT, TPOT and E2E, and throughput.

    Where a schedule says when requests are due, TTFT and E2E count from there.
    """
    due = "_from_due" if all(point.load == "open" for point in points) else ""
    streams = any(point.stream for point in points)
    first = ["ttft" + due, "tpot"] if streams else []
    latencies = [f"{name}_{q}" for name in (*first, "e2e" + due) for q in ("p50", "p90")]
    return tuple(name for name in MEASURES if name in {*latencies, "output_tokens_per_s"})


def takes(name: str) -> str:
    """What runs have to have for a metric to be known of them."""
    measure = MEASURES[name]
    if name == "usd_per_1k_passed":
        return "it takes a workload that checks answers, and a price, such as --gpu H100"
    if "usd" in name:
        return "$ needs a price, such as --gpu H100"
    if measure.due:
        return "requests are due where a schedule says when, such as --rate"
    if measure.q is not None:
        return f"{name} takes {samples_needed(measure.q)} requests in a run that were answered and have one"
    return (
        "a workload that checks answers has one" if name == "pass_rate" else "no trial here has such a rate"
    )


def _of_trial(arm: Arm, point: Point, trial: int, names: Sequence[str]) -> dict[str, Series]:
    """One trial's numbers by name."""
    infos = [info for info in arm.manifest.trials if (info.point, info.trial) == (point.index, trial)]
    table = arm.run_dir.records(point.index, columns=NEEDED, only=trial)
    return all_series(point, trials_of(table, infos), arm.manifest.price, names)
