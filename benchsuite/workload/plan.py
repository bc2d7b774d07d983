"""Plan a trial: the requests it sends, as pure data, the same for the same seed, nonce and lengths."""

import secrets
from collections.abc import Iterator

from benchsuite.types import Lengths, Phase, Point, Request, Workload
from benchsuite.workload import bodies, conversations, datasets, prompts, traces
from benchsuite.workload.arrivals import warm_up_count
from benchsuite.workload.draw import Draw, Material
from benchsuite.workload.mix import mixed
from benchsuite.workload.prompts import shared_prefixes
from benchsuite.workload.texts import SALT_BITS

__all__ = ["SALT_BITS", "Draw", "Material", "new_nonce", "plan", "shared_prefixes", "warm_up_count"]


def new_nonce() -> str:
    """16 hex digits that no other run has: what keeps a repeated run from hitting the first one's cache."""
    return secrets.token_hex(8)


def plan(
    workload: Workload,
    point: Point,
    *,
    phase: Phase,
    trial: int,
    seed: int,
    nonce: str,
    lengths: Lengths | None,
    material: Material | None = None,
    again: int = 0,
) -> Iterator[Request]:
    """The requests of one trial in the order of their index, made as they are taken.

    Measured: exactly the workload's `requests`; or, when it stops by seconds, every arrival of an
    open loop within them and no end of a closed one (take while the clock runs). Warm-up:
    `warm_up_count`, except that a closed loop with warm-up seconds goes on to the workload's
    most. Arrivals and all words but the salt don't depend on `nonce`. A prompt too short for the
    server's chat template is a UsageError, at once. `material`: what the workload's files hold.
    `again`: the trial may have been sent so often before; then only what makes its prompts new is another.
    """
    draw = Draw(
        workload=workload,
        point=point,
        phase=phase,
        trial=trial,
        seed=seed,
        nonce=nonce,
        lengths=lengths,
        material=material or Material(),
        again=again,
    )
    return mixed(draw, _planned(draw))


def _planned(draw: Draw) -> Iterator[Request]:
    """The requests by what their prompts come from."""
    if draw.workload.dataset is not None:
        return datasets.planned(draw)
    if draw.workload.trace is not None:
        return traces.planned(draw)
    if draw.point.talks and not draw.material.bodies:
        return conversations.planned(draw)
    return bodies.planned(draw) if draw.material.bodies else prompts.planned(draw)
