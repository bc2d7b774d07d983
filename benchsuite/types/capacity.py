"""The highest load that meets its limits: what was tried, and what was found."""

from typing import Literal

from benchsuite.types.asked import Noun

By = Literal["rate", "concurrency"]


class CapacityLevel(Noun, frozen=True, kw_only=True):
    """One load that a search tried, in a trial of a point.

    `requests` were judged (the first ones, that fill the server, aren't among them). `shares`: the part that
    met each need, by its name (`all limits`, `ttft_p95`…). `early`: it was decided before all were
    sent. `goodput_per_s`: requests a second that met everything asked of each one.
    """

    point: int
    trial: int
    search: int
    load: float
    requests: int
    shares: dict[str, float]
    met: bool
    early: bool
    goodput_per_s: float


class CapacityCost(Noun, frozen=True, kw_only=True):
    """Dollars where `utilisation` (0 to 1) of the goodput at capacity is used; None: not known."""

    utilisation: float
    usd_per_1k: float
    usd_per_m_tokens: float | None = None
    usd_per_m_output_tokens: float | None = None


class Capacity(Noun, frozen=True, kw_only=True):
    """What a capacity search found.

    `value`: requests a second, or in flight; None: none of the searches found both a load that met the limits
    and one that missed them. `met`: the highest load that met them in every search, `missed`: the lowest that
    missed them in each. `searches`: each search's own result. `needs`: the share that has to meet each need.
    `requests`: those of a level that are judged. `goodput_per_s`: at `value`.
    """

    by: By
    value: float | None
    met: float | None
    missed: float | None
    searches: tuple[float, ...]
    within: float
    requests: int
    needs: dict[str, float]
    levels: tuple[CapacityLevel, ...]
    goodput_per_s: float | None = None
    costs: tuple[CapacityCost, ...] = ()
