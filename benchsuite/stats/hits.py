"""The share of prompt tokens that a prefix cache held, beside the one that was asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchsuite.stats.columns import ABSENT, Bools, Columns
from benchsuite.stats.talks import first_turns

if TYPE_CHECKING:
    import pyarrow as pa


def shares(
    table: "pa.Table", trials: Sequence[Columns], *, reset: bool, first_only: bool = False
) -> dict[str, float | None]:
    """Cached over all prompt tokens of answered requests: `hit_ratio` reached, `hit_ratio_asked` planned.

    Asked is what a cache that forgets nothing would hold: of a prefix group what its requests before had of
    the prefix, those of the warm-up (trial 0 of `table`) among them, unless the cache was emptied since
    (`reset`: before each trial). `first_only`: of the first turns of conversations alone. None: the server
    doesn't report it, or it wasn't planned.

    Later turns with the server's own answers have no plan: `hit_ratio_asked` is of first turns then, and
    `first_hit_ratio` what these reached.
    """
    answered = [each.ok & (each.prompt_tokens > 0) for each in trials]
    if first_only:
        answered = [some & first_turns(each) for each, some in zip(trials, answered, strict=True)]
    known = [some & (each.cached_tokens != ABSENT) for each, some in zip(trials, answered, strict=True)]
    counted = [
        some & (each.asked_cached_tokens != ABSENT) for each, some in zip(trials, answered, strict=True)
    ]
    asked, seen = 0, _warmed(table)
    for each, some in zip(trials, counted, strict=True):
        if reset:
            seen = {}
        asked += _held(each, some, seen)
    found = {
        "hit_ratio": _reached(trials, known),
        "hit_ratio_asked": _share(asked, trials, counted),
    }
    if _firsts_alone(trials, answered, counted):
        firsts = [some & first_turns(each) for each, some in zip(trials, known, strict=True)]
        found["first_hit_ratio"] = _reached(trials, firsts)
    return found


def _firsts_alone(trials: Sequence[Columns], answered: Sequence[Bools], counted: Sequence[Bools]) -> bool:
    """Are there plans, and none of the later turns that were answered?"""
    later = [some & ~first_turns(each) for each, some in zip(trials, answered, strict=True)]
    planned = any((some & known).any() for some, known in zip(later, counted, strict=True))
    return any(map(np.any, counted)) and any(map(np.any, later)) and not planned


def _reached(trials: Sequence[Columns], chosen: Sequence[Bools]) -> float | None:
    """The share of some requests' prompt tokens that was cached."""
    tokens = sum(int(each.cached_tokens[some].sum()) for each, some in zip(trials, chosen, strict=True))
    return _share(tokens, trials, chosen)


def _warmed(table: "pa.Table") -> dict[int, int]:
    """The tokens of each group's prefix that warm-up sent."""
    seen: dict[int, int] = {}
    names = ("trial", "outcome", "group", "asked_cached_tokens")
    for trial, outcome, group, tokens in zip(*(table[name].to_pylist() for name in names), strict=True):
        if not trial and outcome == "ok" and group is not None:
            seen[group] = max(seen.get(group, 0), tokens or 0)
    return seen


def _held(columns: Columns, chosen: Bools, seen: dict[int, int]) -> int:
    """Tokens that a cache would hold of the chosen requests, in their order; `seen` is what it knows."""
    tokens, groups = columns.asked_cached_tokens[chosen], columns.group[chosen]
    if (groups == ABSENT).all():
        return int(tokens.sum())
    held = 0
    for group, shared in zip(groups.tolist(), tokens.tolist(), strict=True):
        known = shared if group == ABSENT else seen.get(group, 0)
        held += min(known, shared)
        if shared > known:
            seen[group] = shared
    return held


def _share(tokens: int, trials: Sequence[Columns], chosen: Sequence[Bools]) -> float | None:
    """So many tokens over the prompt tokens of some requests."""
    whole = sum(int(each.prompt_tokens[some].sum()) for each, some in zip(trials, chosen, strict=True))
    return tokens / whole if whole else None
