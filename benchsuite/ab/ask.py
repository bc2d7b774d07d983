"""How two arms are to be measured."""

from typing import Literal

import msgspec

from benchsuite.asked import Options
from benchsuite.types import Noun


class Ask(Noun, frozen=True, kw_only=True):
    """How two arms are measured. `looks`: after how many pairs it may be decided, rising and even.

    `seconds` and `usd` end it before; None: they don't. `restarts`: engines are started anew for each
    trial.
    """

    purpose: Literal["ab", "gate", "noise"] = "ab"
    looks: tuple[int, ...] = (4, 8, 12)
    seconds: float | None = None
    usd: float | None = None
    restarts: bool = False
    resume: bool = False

    def of(self, arms: tuple[Options, Options]) -> tuple[Options, Options]:
        """The arms: as many trials as there may be pairs, and prompts that begin in each one's own way."""
        base, other = (
            msgspec.structs.replace(
                options,
                workload=msgspec.structs.replace(options.workload, trials=self.looks[-1]),
                nonce=options.nonce and f"{options.nonce} {letter}",
            )
            for letter, options in zip("AB", arms, strict=True)
        )
        return base, other
