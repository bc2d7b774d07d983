"""What is written down of a run's batches before each step, so that a crash never submits one twice.

`batches.json` stays with the run; `spool/target.json`, which may name a private address, goes when the run
is finished. Neither holds a key, the value of a header, a prompt or an answer.
"""

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from benchsuite.errors import StoreError
from benchsuite.store.runs import RunDir, read_json, write_json
from benchsuite.types import SCHEMA, BatchPoll, Connection, Noun

Step = Literal["planned", "uploaded", "creating", "created", "over", "kept"]
"""How far a batch is.

`creating` is written before the create call is sent: from then on nobody but the server knows whether there
is a batch. Uploading has no step of its own: a file that is uploaded twice costs nothing.
"""

_FILE: Final = "batches.json"
_TARGET: Final = "target.json"


class Batch(Noun, frozen=True, kw_only=True):
    """One trial's batch. Instants count from 1970; 0: it hasn't come to that.

    `label` is ours, `upload` and `id` are the server's names, `state` is its word. `took_s`: from creation to
    end by its clock.
    """

    point: int
    trial: int
    label: str
    requests: int
    plan_digest: str = ""
    step: Step = "planned"
    upload: str = ""
    id: str = ""
    state: str = ""
    message: str = ""
    sent_ns: int = 0
    seen_over_ns: int = 0
    took_s: float | None = None
    polls: tuple[BatchPoll, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing more will happen at the server."""
        return self.step in {"over", "kept"}


class Batches(Noun, frozen=True, kw_only=True):
    """What batches.json holds."""

    schema: int = SCHEMA
    batches: tuple[Batch, ...]

    def with_one(self, changed: Batch) -> "Batches":
        """The same, with one of them as it is now."""
        place = (changed.point, changed.trial)
        found = tuple(changed if (one.point, one.trial) == place else one for one in self.batches)
        return msgspec.structs.replace(self, batches=found)


class ResumeTarget(Noun, frozen=True, kw_only=True):
    """Whom to ask after a restart: what a manifest masks.

    `given_again` names the options of the command line that can hold a secret, and so have to be given again.
    """

    schema: int = SCHEMA
    url: str
    model: str
    key_variable: str = ""
    options: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
    context_tokens: int = 0
    connection: Connection = Connection()
    given_again: tuple[str, ...] = ()


def read_batches(run_dir: RunDir) -> Batches:
    """How far its batches are; StoreError where the run has none."""
    path = _path(run_dir)
    if not path.exists():
        raise StoreError(
            f"run {run_dir.run_id} used no batch API; `benchsuite batch list` shows those that did"
        )
    return read_json(path, Batches)


def write_batches(run_dir: RunDir, batches: Batches) -> None:
    """Synced to disk before this returns."""
    write_json(_path(run_dir), batches)


def read_target(run_dir: RunDir) -> ResumeTarget:
    """Whom to ask; StoreError for a finished run, which has forgotten it."""
    path = run_dir.spool_dir / _TARGET
    if not path.exists():
        raise StoreError(
            f"run {run_dir.run_id} is finished, or was copied without its spool: nothing to ask for"
        )
    return read_json(path, ResumeTarget)


def write_target(run_dir: RunDir, target: ResumeTarget) -> None:
    """Kept in the spool, which only its owner can read."""
    write_json(run_dir.spool_dir / _TARGET, target)


def _path(run_dir: RunDir) -> Path:
    return run_dir.path / _FILE
