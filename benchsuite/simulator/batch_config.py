"""How the batch APIs of the simulator behave, as one value."""

from benchsuite.errors import UsageError
from benchsuite.types import Noun


class BatchConfig(Noun, frozen=True, kw_only=True):
    """A batch takes `seconds`, unless it expires before (`expires_s`, 0: never) or is cancelled.

    A cancelled one ends after `cancel_s`. `fail_rate` of its requests fail, decided by `seed`. `log`: a file
    that gets a line of JSON for every batch that was handed in; None: none does.
    """

    seconds: float = 2.0
    expires_s: float = 0.0
    cancel_s: float = 0.0
    fail_rate: float = 0.0
    seed: int = 0
    log: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense, as a UsageError."""
        for name in ("seconds", "expires_s", "cancel_s", "fail_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"batches.{name} has to be 0 or more, not {getattr(self, name)}")
