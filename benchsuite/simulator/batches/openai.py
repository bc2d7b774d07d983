"""OpenAI's files and batches, after the SDK's types `FileObject` and `Batch`."""

from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.batches.ledger import Fate, Item, Job, Ledger, asked
from benchsuite.simulator.connection import Incoming
from benchsuite.simulator.http import Page, json
from benchsuite.simulator.site import Site

_DOORS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
_STATUS: Final[dict[Fate, str]] = {"done": "completed", "expired": "expired", "cancelled": "cancelled"}
_MESSAGE: Final[dict[Fate, str]] = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request was cancelled.",
}


class Pages:
    """`/files` and `/batches`, with a version before them and without."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._outputs: dict[str, tuple[str | None, str | None]] = {}

    def register(self, site: Site) -> None:
        """Add them to a server."""
        for base in ("", "/v1"):
            site.page("POST", f"{base}/files", self.upload)
            site.page("GET", f"{base}/files/{{file}}/content", self.content)
            site.page("POST", f"{base}/batches", self.create)
            site.page("GET", f"{base}/batches", self.list)
            site.page("GET", f"{base}/batches/{{batch}}", self.get)
            site.page("POST", f"{base}/batches/{{batch}}/cancel", self.cancel)

    def upload(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """A form with a purpose and a file."""
        parts = _parts(incoming)
        if parts.get("purpose") != b"batch" or "file" not in parts:
            raise Refused("invalid", "a form with purpose=batch and a file is needed")
        content = parts["file"]
        return json(
            {
                "id": self._ledger.keep(content),
                "object": "file",
                "bytes": len(content),
                "created_at": int(self._ledger.now_s()),
                "filename": parts["file name"].decode("utf-8", "replace"),
                "purpose": "batch",
                "status": "processed",
            }
        )

    def content(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """A file as it is."""
        return Page(body=self._ledger.file(found["file"]), media="application/octet-stream")

    def create(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """A batch of an uploaded file."""
        said = asked(incoming.body)
        endpoint = said.get("endpoint")
        if endpoint not in _DOORS or said.get("completion_window") != "24h":
            raise Refused("invalid", "endpoint or completion_window makes no sense")
        name = str(said.get("input_file_id"))
        metadata = said.get("metadata") or {}
        items = [self._item(line, endpoint) for line in self._ledger.file(name).split(b"\n") if line.strip()]
        label = str(metadata.get("benchsuite", ""))
        job = self._ledger.create(
            "openai",
            "batch_",
            label,
            items,
            incoming.headers,
            input=name,
            endpoint=endpoint,
            metadata=metadata,
        )
        return json(self._shown(job))

    @staticmethod
    def _item(line: bytes, endpoint: str) -> Item:
        said = asked(line)
        if (
            said.get("method") != "POST"
            or said.get("url") != endpoint
            or not isinstance(said.get("body"), dict)
        ):
            raise Refused("invalid", "a line needs method POST, the batch's endpoint as url, and a body")
        if said["body"].get("stream"):
            raise Refused("invalid", "a batch can't be streamed")
        return Item(str(said["custom_id"]), endpoint, said["body"])

    def list(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Batches, newest first."""
        query = parse_qs(incoming.query)
        jobs, more = self._ledger.page(
            "openai", int(query.get("limit", ["20"])[0]), query.get("after", [""])[0]
        )
        shown = [self._shown(job) for job in jobs]
        ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {}
        return json({"object": "list", "data": shown, "has_more": more, **ends})

    def get(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """One batch."""
        return json(self._shown(self._ledger.find("openai", found["batch"])))

    def cancel(self, incoming: Incoming, found: dict[str, str]) -> Page:
        """Its end is asked for."""
        job = self._ledger.find("openai", found["batch"])
        self._ledger.cancel(job)
        return json(self._shown(job))

    def _shown(self, job: Job) -> dict[str, Any]:
        ended = job.ended_s is not None
        output, errors = self._files_of(job) if ended else (None, None)
        going = "in_progress" if job.cancelled_s is None else "cancelling"
        end_field = f"{_STATUS.get(job.reason, '')}_at"
        return {
            "id": job.id,
            "object": "batch",
            "endpoint": job.more["endpoint"],
            "errors": None,
            "input_file_id": job.more["input"],
            "completion_window": "24h",
            "status": _STATUS[job.reason] if ended else going,
            "output_file_id": output,
            "error_file_id": errors,
            "created_at": int(job.created_s),
            "in_progress_at": int(job.created_s),
            "expires_at": int(job.created_s) + 86_400,
            "finalizing_at": None,
            "cancelling_at": None if job.cancelled_s is None else int(job.cancelled_s),
            **dict.fromkeys(("completed_at", "failed_at", "expired_at", "cancelled_at")),
            **({end_field: int(job.ended_s or 0)} if ended else {}),
            "request_counts": {
                "total": len(job.items),
                "completed": job.count("done"),
                "failed": job.count("failed"),
            },
            "metadata": job.more["metadata"],
        }

    def _files_of(self, job: Job) -> tuple[str | None, str | None]:
        """Names of the output and the error file; None: it would be empty."""
        if job.id not in self._outputs:
            good: list[bytes] = []
            bad: list[bytes] = []
            for item, fate, page in self._ledger.answered(job):
                (good if fate == "done" and page.status == 200 else bad).append(_line(item, fate, page))
            output, errors = (self._ledger.keep(b"".join(lines)) if lines else None for lines in (good, bad))
            self._outputs[job.id] = output, errors
        return self._outputs[job.id]


def _line(item: Item, fate: Fate, page: Page) -> bytes:
    response: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    if fate in _MESSAGE:
        error = {"code": f"batch_{fate}", "message": _MESSAGE[fate]}
    else:
        body = msgspec.Raw(page.body)
        response = {"status_code": page.status, "request_id": f"req-{item.custom_id}", "body": body}
    line = {
        "id": f"batch_req_{item.custom_id}",
        "custom_id": item.custom_id,
        "response": response,
        "error": error,
    }
    return msgspec.json.encode(line) + b"\n"


def _parts(incoming: Incoming) -> dict[str, bytes]:
    """The fields of a form, by name; a `file name` beside its `file`."""
    kind = incoming.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data") or "boundary=" not in kind:
        raise Refused("invalid", "a form (multipart/form-data) is needed")
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    found = {}
    for part in (b"\r\n" + incoming.body).split(b"\r\n" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b' name="')[2].partition(b'"')[0]
        found[name.decode("latin-1")] = content
        if name == b"file":
            found["file name"] = head.partition(b' filename="')[2].partition(b'"')[0]
    return found
