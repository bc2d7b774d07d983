"""Lengths asked beside lengths reached: each request by what the plan asked of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchsuite.stats.columns import ABSENT, Columns, Floats, Ints
from benchsuite.types import Lengths, Point, Workload


def prompt_tolerance(asked: float) -> float:
    """How many tokens a prompt may be off before it isn't what was asked for."""
    return max(0.02 * asked, 2.0)


def asked_means(point: Point, trials: Sequence[Columns]) -> dict[str, float | None]:
    """Mean lengths that were asked of answered requests, where the point alone doesn't say them."""
    found: dict[str, float | None] = {}
    pairs = (("prompt_tokens", point.prompt_tokens), ("output_tokens", point.output_tokens))
    for name, fixed in pairs:
        mean = _mean([_asked(each, name, fixed)[each.ok] for each in trials])
        if mean is not None and mean != fixed:
            found[f"asked_{name}"] = mean
    return found


def length_facts(
    point: Point, workload: Workload, trials: Sequence[Columns], lengths: Lengths | None
) -> dict[str, Any]:
    """What the rules about lengths look at, by their names in `Facts`.

    Requests whose plan gave no length, or whose server counted none, don't count.
    """
    found: dict[str, Any] = {"raised_to": None, "raised": 0}
    for name, fixed in (("prompt_tokens", point.prompt_tokens), ("output_tokens", point.output_tokens)):
        asked, reached = _pairs(trials, name, fixed)
        found[f"asked_{name}"] = _mean([asked])
        found[f"{name}_off"] = _off(asked, reached, varies=len(np.unique(asked)) > 1)
    if point.prompt_spread is not None and lengths is not None and workload.same == "tokens":
        # The least that a template leaves room for: shorter ones were drawn, longer ones asked.
        least = lengths.overhead + (2 if point.cache == "shared" else 1)
        asked, _ = _pairs(trials, "prompt_tokens", point.prompt_tokens)
        found |= {"raised_to": least, "raised": int((asked == least).sum())}
    return found | _cut(point, workload, trials, lengths)


def _cut(
    point: Point, workload: Workload, trials: Sequence[Columns], lengths: Lengths | None
) -> dict[str, Any]:
    """How many prompts were too short to be what was sent, and the one that was cut most.

    Only where the server's own counts had been fitted: a guessed length is no plan.
    """
    if lengths is None or lengths.source != "usage" or workload.same == "text":
        return {}
    asked, reached = _pairs(trials, "prompt_tokens", point.prompt_tokens)
    short = (reached > 0) & (reached < asked - np.maximum(0.02 * asked, 2.0))
    if not short.any():
        return {}
    worst = int(np.argmin(np.where(short, reached / asked, np.inf)))
    return {
        "prompts_cut": int(short.sum()),
        "least_prompt": int(reached[worst]),
        "cut_from": int(asked[worst]),
    }


def _asked(columns: Columns, name: str, fixed: int) -> Ints:
    """What was asked of each request; records of earlier versions don't say, their point does."""
    asked: Ints = getattr(columns, f"asked_{name}")
    # How long a later turn's prompt is may be up to the server's own answers.
    found: Ints = np.where((asked == ABSENT) & (columns.turn <= 0), fixed or ABSENT, asked)
    return found


def _pairs(trials: Sequence[Columns], name: str, fixed: int) -> tuple[Ints, Ints]:
    """Lengths asked and reached of the answered requests for which both are known."""
    pairs = []
    for each in trials:
        asked, reached = _asked(each, name, fixed), getattr(each, name)
        known = each.ok & (asked > 0) & (reached != ABSENT)
        pairs.append((asked[known], reached[known]))
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([one for one, _ in pairs]), np.concatenate([one for _, one in pairs])


def _mean(parts: Sequence[Ints]) -> float | None:
    values = np.concatenate([part[part > 0] for part in parts]) if parts else np.empty(0)
    return float(values.mean()) if len(values) else None


def _off(asked: Ints, reached: Ints, *, varies: bool) -> float | None:
    """How far off lengths are on average, in tokens; of different ones, so that nothing cancels out."""
    if not len(asked):
        return None
    difference: Floats = (reached - asked).astype(np.float64)
    return float(np.abs(difference).mean() if varies else abs(difference.mean()))
