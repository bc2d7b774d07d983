"""What is told while it happens."""

from typing import Literal

from benchsuite.types.asked import Noun, Phase
from benchsuite.types.workload import Point


class Stage(Noun, frozen=True, kw_only=True):
    """A run has come to a new stage; `text` is one line for people."""

    name: Literal["resolve", "model", "launch", "ready", "fit", "warm_up", "measure", "decode", "save"]
    text: str


class Progress(Noun, frozen=True, kw_only=True):
    """How a trial is going; None: not known yet. `total`/`total_s`: what it will stop at.

    `waits_s`: for how long a slot that the server refused still waits, as the server asked. `left_s`: what
    is left of all that the run measures, about. `arm`: of two that are measured in turn. `place`: what the
    point is called beside the run's others; empty: by its load.
    """

    point: Point
    points: int
    phase: Phase
    trial: int
    trials: int
    elapsed_s: float
    total_s: float | None
    done: int
    total: int | None
    errors: int
    in_flight: int
    rate: float
    ttft_ms: float | None
    tokens_per_s: float | None
    lag_ms: float | None
    waits_s: float = 0.0
    left_s: float | None = None
    arm: str = ""
    place: str = ""
