"""What all batch APIs share: batches, how far they are, and a log of every one that was handed in."""

import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batch_config import BatchConfig
from benchsuite.simulator.http import Page

Answering = Callable[[str, bytes, Mapping[str, str]], Page]
"""The whole answer to a live request: its path, its body, its headers."""
Fate = Literal["waiting", "done", "failed", "cancelled", "expired"]


class Item(msgspec.Struct, frozen=True):
    """One request of a batch."""

    custom_id: str
    path: str
    body: Any


class Job(msgspec.Struct):
    """One batch. Instants count from 1970; `fates` has one for each item, in their order."""

    id: str
    label: str
    items: list[Item]
    headers: dict[str, str]
    created_s: float
    more: dict[str, Any]
    cancelled_s: float | None = None
    ended_s: float | None = None
    reason: Fate = "waiting"
    fates: list[Fate] = []

    def count(self, *fates: Fate) -> int:
        """Requests that met one of these fates."""
        return sum(fate in fates for fate in self.fates)


class Ledger:
    """All batches of a server; each takes its `seconds`, in which it is answered one by one."""

    def __init__(
        self, config: BatchConfig, answering: Answering, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self._answering, self._clock = answering, clock
        self._jobs: dict[str, Job] = {}
        self._files: dict[str, bytes] = {}

    def now_s(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    # ------------------------------------------------------------ files

    def keep(self, content: bytes) -> str:
        """A new file: its name."""
        name = f"file-{secrets.token_hex(8)}"
        self._files[name] = content
        return name

    def file(self, name: str) -> bytes:
        """A file's content; raises Refused where there is none."""
        if name not in self._files:
            raise Refused("path", f"no such file: {name}")
        return self._files[name]

    # ------------------------------------------------------------ batches

    def create(
        self,
        api: str,
        prefix: str,
        label: str,
        items: Iterable[Item],
        headers: Mapping[str, str],
        **more: Any,
    ) -> Job:
        """Take a batch in, and write it down in the log."""
        job = Job(
            id=prefix + secrets.token_hex(8),
            label=label,
            items=list(items),
            headers=dict(headers),
            created_s=self.now_s(),
            more={"api": api, **more},
        )
        if not job.items:
            raise Refused("invalid", "a batch needs at least one request")
        if len({item.custom_id for item in job.items}) < len(job.items):
            raise Refused("invalid", "custom ids have to be unique within a batch")
        job.fates = ["waiting"] * len(job.items)
        self._jobs[job.id] = job
        if self.config.log:
            entry = {"api": api, "id": job.id, "label": label, "ids": [item.custom_id for item in job.items]}
            with Path(self.config.log).open("ab") as log:
                log.write(msgspec.json.encode(entry) + b"\n")
        return job

    def find(self, api: str, name: str) -> Job:
        """A batch as it is by now; raises Refused where there is none."""
        job = self._jobs.get(name)
        if job is None or job.more["api"] != api:
            raise Refused("path", f"no such batch: {name}")
        self._advance(job)
        return job

    def page(self, api: str, size: int, after: str) -> tuple[list[Job], bool]:
        """So many batches, newest first, those that come after one of them; and whether more follow."""
        jobs = [job for job in reversed(self._jobs.values()) if job.more["api"] == api]
        names = [job.id for job in jobs]
        start = names.index(after) + 1 if after in names else 0
        found = jobs[start : start + size]
        for job in found:
            self._advance(job)
        return found, len(jobs) > start + size

    def cancel(self, job: Job) -> None:
        """Answer no more of it."""
        if job.ended_s is None and job.cancelled_s is None:
            job.cancelled_s = self.now_s()
        if job.ended_s is None:
            self._advance(job)

    def _advance(self, job: Job) -> None:
        """Settle what has come about since it was last looked at."""
        if job.ended_s is not None:
            return
        config, now_s = self.config, self.now_s()
        ends: list[tuple[float, Fate]] = [(job.created_s + config.seconds, "done")]
        if config.expires_s:
            ends.append((job.created_s + config.expires_s, "expired"))
        if job.cancelled_s is not None:
            ends.append((job.cancelled_s + config.cancel_s, "cancelled"))
        end_s, reason = min(ends)
        until_s = min(now_s, end_s) - job.created_s
        share = until_s / config.seconds if config.seconds else 1.0
        for index in range(min(len(job.items), math.floor(share * len(job.items) + 1e-9))):
            if job.fates[index] == "waiting":
                job.fates[index] = "failed" if self._fails(index) else "done"
        if now_s >= end_s:
            job.ended_s, job.reason = end_s, reason
            job.fates = [reason if fate == "waiting" else fate for fate in job.fates]

    def _fails(self, index: int) -> bool:
        return Random(f"{self.config.seed} batch {index}").random() < self.config.fail_rate

    # ------------------------------------------------------------ answers

    def answered(self, job: Job) -> list[tuple[Item, Fate, Page]]:
        """Every request with its fate and its answer (empty where it was given up), in no order."""
        found = [
            (item, fate, self._answer(job, item, fate))
            for item, fate in zip(job.items, job.fates, strict=True)
        ]
        Random(job.id).shuffle(found)
        return found

    def _answer(self, job: Job, item: Item, fate: Fate) -> Page:
        if fate not in {"done", "failed"}:
            return Page()
        # What can't be asked fails by the server's own words; what is to fail is asked nonsense.
        body = b"{}" if fate == "failed" else msgspec.json.encode(item.body)
        return self._answering(item.path, body, job.headers)


def stamp(seconds: float | None) -> str | None:
    """An instant as RFC 3339 has it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def asked(body: bytes) -> dict[str, Any]:
    """A JSON object that was sent; raises Refused for anything else."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("invalid", f"the body can't be read: {error}") from None
    if not isinstance(found, dict):
        raise Refused("invalid", "the body has to be a JSON object")
    return found
