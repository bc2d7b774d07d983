"""Gemini's `batchGenerateContent` with requests inline, after Google's reference of its operations."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batches.ledger import Fate, Item, Job, Ledger, asked, stamp
from benchsuite.simulator.batches.openai import Pages as OpenAI
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.site import Answering, Site

_TYPE: Final = "type.googleapis.com/google.ai.generativelanguage"
_STATE: Final[dict[Fate, str]] = {
    "waiting": "BATCH_STATE_RUNNING",
    "done": "BATCH_STATE_SUCCEEDED",
    "expired": "BATCH_STATE_EXPIRED",
    "cancelled": "BATCH_STATE_CANCELLED",
}
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 503: 14, 504: 4}
"""HTTP status → google.rpc.Code, by which an operation tells errors; any other is 13."""
_CANCELLED: Final = 1


class Pages:
    """Batches below `/v1beta`, and below `/v1`, where google-genai asks and OpenAI has pages too."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def register(self, site: Site) -> None:
        """Add them to a server, below `/v1beta`."""
        site.page("POST", "/v1beta/models/{model}:batchGenerateContent", self.create)
        site.page("GET", "/v1beta/batches", self.list)
        site.page("GET", "/v1beta/batches/{batch}", self.get)
        site.page("POST", "/v1beta/batches/{batch}:cancel", self.cancel)

    def register_beside(self, other: OpenAI, site: Site) -> None:
        """Add them below `/v1`: two paths are OpenAI's as well, and the key's header tells who asks."""
        dialect = site.speaks("/v1beta/batches")
        site.page("POST", "/v1/models/{model}:batchGenerateContent", self.create, dialect=dialect)
        site.page("POST", "/v1/batches/{batch}:cancel", self.cancel, dialect=dialect)
        for path, own, openai in (
            ("/v1/batches", self.list, other.list),
            ("/v1/batches/{batch}", self.get, other.get),
        ):
            site.page("GET", path, _by_key(own, openai, dialect.api.refusal))

    def create(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """An operation for the requests in the body."""
        said = msgspec.convert(asked(incoming.body).get("batch"), dict[str, Any])
        if not said.get("displayName"):
            raise Refused("invalid", "batch.displayName is required")
        try:
            requests = said["inputConfig"]["requests"]["requests"]
            path = f"/v1beta/models/{found['model']}:generateContent"
            items = [
                Item(str((one.get("metadata") or {}).get("key", number)), path, one["request"])
                for number, one in enumerate(requests)
            ]
        except (KeyError, TypeError, AttributeError):
            raise Refused("invalid", "batch.inputConfig.requests.requests are needed") from None
        job = self._ledger.create(
            "gemini", "", said["displayName"], items, incoming.headers, model=found["model"]
        )
        return json(self._shown(job))

    def list(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Operations, newest first."""
        query = parse_qs(incoming.query)
        size = int(query.get("pageSize", ["50"])[0])
        jobs, more = self._ledger.page("gemini", size, query.get("pageToken", [""])[0])
        page: dict[str, Any] = {"operations": [self._shown(job) for job in jobs]} if jobs else {}
        return json(page | ({"nextPageToken": jobs[-1].id} if more else {}))

    def get(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """One operation, in the end with its answers."""
        return json(self._shown(self._ledger.find("gemini", found["batch"]), whole=True))

    def cancel(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Its end is asked for."""
        self._ledger.cancel(self._ledger.find("gemini", found["batch"]))
        return json({})

    def _shown(self, job: Job, *, whole: bool = False) -> dict[str, Any]:
        ended = job.ended_s is not None
        counts = {
            "requestCount": len(job.items),
            "successfulRequestCount": job.count("done"),
            "failedRequestCount": job.count("failed"),
            "pendingRequestCount": job.count("waiting"),
        }
        metadata: dict[str, Any] = {
            "@type": f"{_TYPE}.v1main.GenerateContentBatch",
            "name": f"batches/{job.id}",
            "model": f"models/{job.more['model']}",
            "displayName": job.label,
            "createTime": stamp(job.created_s),
            "updateTime": stamp(job.ended_s or self._ledger.now_s()),
            # Google's JSON has 64-bit numbers as texts and leaves zeros out.
            "batchStats": {name: str(count) for name, count in counts.items() if count},
            "state": _STATE[job.reason],
        }
        operation: dict[str, Any] = {"name": f"batches/{job.id}", "metadata": metadata}
        if not ended:
            return operation
        metadata["endTime"] = stamp(job.ended_s)
        operation["done"] = True
        if job.reason == "done" and whole:
            answers = [_answer(item, page) for item, _, page in self._ledger.answered(job)]
            output = {"inlinedResponses": {"inlinedResponses": answers}}
            metadata["output"] = output
            operation["response"] = {"@type": f"{_TYPE}.v1main.GenerateContentBatchOutput", **output}
        elif job.reason != "done":
            word = {"cancelled": "CANCELLED", "expired": "DEADLINE_EXCEEDED"}.get(job.reason, "INTERNAL")
            operation["error"] = {"code": _CANCELLED if job.reason == "cancelled" else 4, "status": word}
        return operation


def _by_key(own: Answering, other: Answering, refusal: Callable[[Refused], Page]) -> Answering:
    def answer(incoming: Incoming, found: dict[str, str]) -> Page:
        if "x-goog-api-key" not in incoming.headers:
            return other(incoming, found)
        try:
            return own(incoming, found)
        except Refused as refused:
            return refusal(refused)

    return answer


def _answer(item: Item, page: Page) -> dict[str, Any]:
    metadata = {"key": item.custom_id}
    if page.status == 200:
        return {"metadata": metadata, "response": msgspec.Raw(page.body)}
    said = msgspec.json.decode(page.body)
    inner = said.get("error") if isinstance(said, dict) else None
    message = inner.get("message", "") if isinstance(inner, dict) else ""
    return {"metadata": metadata, "error": {"code": _CODES.get(page.status, 13), "message": message}}
