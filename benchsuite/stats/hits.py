"""The share of prompt tokens that a prefix cache held, beside the one that was asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    """
    answered = [each.ok & (each.prompt_tokens > 0) for each in trials]
    if first_only:
        answered = [some & first_turns(each) for each, some in zip(trials, answered, strict=True)]
    known = [some & (each.cached_tokens != ABSENT) for each, some in zip(trials, answered, strict=True)]
    counted = [
        some & (each.asked_cached_tokens != ABSENT) for each, some in zip(trials, answered, strict=True)
    ]
    if any((some & first_turns(each)).any() for each, some in zip(trials, counted, strict=True)):
        # Later turns with the server's own answers have no plan, and are left out of both.
        known = [some & planned for some, planned in zip(known, counted, strict=True)]
    reached = sum(int(each.cached_tokens[some].sum()) for each, some in zip(trials, known, strict=True))
    asked, seen = 0, _warmed(table)
    for each, some in zip(trials, counted, strict=True):
        if reset:
            seen = {}
        asked += _held(each, some, seen)
    return {
        "hit_ratio": _share(reached, trials, known),
        "hit_ratio_asked": _share(asked, trials, counted),
    }


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
