"""When two arms are known well enough: each metric is better, worse or the same."""

from collections.abc import Sequence

from benchsuite.ab.turns import Look, Ready
from benchsuite.compare import chosen_metrics
from benchsuite.pairs import Arm, default_metrics, pairs_of
from benchsuite.stats.paired import paired_effect
from benchsuite.stats.series import MEASURES
from benchsuite.types import Decision, Manifest


def until_known(metrics: Sequence[str], margin: float) -> tuple[Ready, Look]:
    """Go on until each metric (empty: the usual) is better, worse or the same within the margin."""

    def ready(base: Manifest, _other: Manifest) -> str:
        _names(metrics, base)
        return ""

    def look(base: Arm, other: Arm, pairs: int) -> tuple[bool, Decision | None]:
        numbers = pairs_of(base, other, _names(metrics, base.manifest))
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


def _names(metrics: Sequence[str], manifest: Manifest) -> tuple[str, ...]:
    return chosen_metrics(metrics) if metrics else default_metrics(manifest.points)
