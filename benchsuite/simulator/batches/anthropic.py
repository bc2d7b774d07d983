"""Anthropic's Message Batches, after the SDK's types `MessageBatch` and `MessageBatchIndividualResponse`."""

import re
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batches.ledger import Fate, Item, Job, Ledger, asked, stamp
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.site import Site

_BASE: Final = "/v1/messages/batches"
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DAY_S: Final = 86_400
_TYPE: Final[dict[Fate, str]] = {"cancelled": "canceled", "expired": "expired"}


class Pages:
    """`/v1/messages/batches`."""

    def __init__(self, ledger: Ledger, scheme: str = "http") -> None:
        self._ledger, self._scheme = ledger, scheme

    def register(self, site: Site) -> None:
        """Add them to a server."""
        site.page("POST", _BASE, self.create)
        site.page("GET", _BASE, self.list)
        site.page("GET", f"{_BASE}/{{batch}}", self.get)
        site.page("GET", f"{_BASE}/{{batch}}/results", self.results)
        site.page("POST", f"{_BASE}/{{batch}}/cancel", self.cancel)

    def create(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """A batch of the requests in the body; unknown fields are refused, a label among them."""
        said = asked(incoming.body)
        if set(said) != {"requests"} or not isinstance(said["requests"], list):
            raise Refused("invalid", "a batch has requests, and nothing else")
        items = [self._item(one) for one in said["requests"]]
        job = self._ledger.create("anthropic", "msgbatch_", "", items, incoming.headers)
        return json(self._shown(job, incoming))

    @staticmethod
    def _item(one: Any) -> Item:
        if not isinstance(one, dict) or set(one) != {"custom_id", "params"}:
            raise Refused("invalid", "a request has a custom_id and params")
        if not _CUSTOM_ID.fullmatch(str(one["custom_id"])):
            raise Refused("invalid", "custom_id: 1 to 64 letters, digits, hyphens and underscores")
        if one["params"].get("stream"):
            raise Refused("invalid", "params.stream: a batch can't be streamed")
        return Item(one["custom_id"], "/v1/messages", one["params"])

    def list(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Batches, newest first."""
        query = parse_qs(incoming.query)
        jobs, more = self._ledger.page(
            "anthropic", int(query.get("limit", ["20"])[0]), query.get("after_id", [""])[0]
        )
        shown = [self._shown(job, incoming) for job in jobs]
        first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
        return json({"data": shown, "has_more": more, "first_id": first, "last_id": last})

    def get(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """One batch."""
        return json(self._shown(self._ledger.find("anthropic", found["batch"]), incoming))

    def cancel(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Its end is asked for."""
        job = self._ledger.find("anthropic", found["batch"])
        self._ledger.cancel(job)
        return json(self._shown(job, incoming))

    def results(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Its answers, a line each."""
        job = self._ledger.find("anthropic", found["batch"])
        if job.ended_s is None:
            raise Refused("path", "the batch has no results yet")
        lines = [
            msgspec.json.encode({"custom_id": item.custom_id, "result": _result(fate, page)}) + b"\n"
            for item, fate, page in self._ledger.answered(job)
        ]
        return Page(body=b"".join(lines), media="application/x-jsonl")

    def _shown(self, job: Job, incoming: Incoming) -> dict[str, Any]:
        ended = job.ended_s is not None
        going = "in_progress" if job.cancelled_s is None else "canceling"
        # Until all of a batch has ended each request counts as in process.
        counts = {
            "processing": 0 if ended else len(job.items),
            "succeeded": job.count("done") if ended else 0,
            "errored": job.count("failed") if ended else 0,
            "canceled": job.count("cancelled") if ended else 0,
            "expired": job.count("expired") if ended else 0,
        }
        return {
            "id": job.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else going,
            "request_counts": counts,
            "created_at": stamp(job.created_s),
            "expires_at": stamp(job.created_s + _DAY_S),
            "ended_at": stamp(job.ended_s),
            "archived_at": None,
            "cancel_initiated_at": stamp(job.cancelled_s),
            "results_url": f"{self._origin(incoming)}{_BASE}/{job.id}/results" if ended else None,
        }

    def _origin(self, incoming: Incoming) -> str:
        """The server by the name that its client knows; empty: it came without one."""
        host = incoming.headers.get("host", "")
        return f"{self._scheme}://{host}" if host else ""


def _result(fate: Fate, page: Page) -> dict[str, Any]:
    if fate in _TYPE:
        return {"type": _TYPE[fate]}
    body = msgspec.Raw(page.body)
    return (
        {"type": "succeeded", "message": body} if page.status == 200 else {"type": "errored", "error": body}
    )
