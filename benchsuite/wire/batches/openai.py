"""OpenAI's batch API: a file of requests is uploaded, then a batch made of it; answers come as files.

Read from the official SDK's types (`openai/types/batch.py`) and OpenAI's reference. The codes
`batch_expired` and `batch_cancelled` of single requests are from its guide and weren't seen live.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from benchsuite.driver import BatchState, Driver
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire.batches import calls

MOST_REQUESTS: Final = 50_000
MOST_BYTES: Final = 200_000_000
_LABEL: Final = "benchsuite"
_PAGE: Final = 100
_OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_DOOR: Final = re.compile(r"(?:chat/completions|completions|responses)(?:\?.*)?$")
_VERSION: Final = re.compile(r"^(?:/v\d+)?")
_GIVEN_UP: Final = re.compile(r"(expired|cancelled)$")


class _Counts(msgspec.Struct):
    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelled_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, Any] | None = None
    errors: Any = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool | None = None


class _File(msgspec.Struct):
    id: str


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


class OpenAIBatches:
    """`BatchApi` for a driver of the OpenAI dialect, whichever of its doors it uses."""

    def batch_upload(self: Driver, requests: Sequence[tuple[str, Request]], target: Target) -> Call:
        """`POST files`: one line a request; UsageError beyond 50,000 of them, or 200 MB."""
        calls.check_size("OpenAI's batch API", len(requests), MOST_REQUESTS, "requests")
        lines = b"".join(
            msgspec.json.encode(
                {"custom_id": custom_id, "method": "POST", "url": _endpoint(call), "body": body}
            )
            + b"\n"
            for custom_id, call, body in calls.bodies(self, requests, target)
        )
        calls.check_size("OpenAI's batch API", len(lines), MOST_BYTES, "bytes")
        like = calls.live(self, target)
        boundary = hashlib.sha256(lines).hexdigest()[:32]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}\r\n'
        )
        head += 'Content-Disposition: form-data; name="file"; filename="benchsuite.jsonl"\r\n'
        head += "Content-Type: application/jsonl\r\n\r\n"
        found = calls.post(like, f"{_base(like)}files")
        return msgspec.structs.replace(
            found,
            headers=found.headers | {"Content-Type": f"multipart/form-data; boundary={boundary}"},
            body=head.encode() + lines + f"\r\n--{boundary}--\r\n".encode(),
        )

    def batch_uploaded(self, tape: Tape) -> str | None:
        """The file's id."""
        found = calls.read(tape, _File)
        return None if found is None else found.id

    def batch_create(
        self: Driver, requests: Sequence[tuple[str, Request]], upload: str, label: str, target: Target
    ) -> Call:
        """`POST batches`; the label is kept in the batch's metadata."""
        like = calls.live(self, target)
        body = {
            "input_file_id": upload,
            "endpoint": _endpoint(like),
            "completion_window": "24h",
            "metadata": {_LABEL: label},
        }
        return calls.post(like, f"{_base(like)}batches", body)

    def batch_list(self: Driver, target: Target, after: str = "") -> Call:
        """`GET batches`, 100 at a time."""
        like = calls.live(self, target)
        more = f"&after={after}" if after else ""
        return calls.get(like, f"{_base(like)}batches?limit={_PAGE}{more}")

    def batch_listed(self: Driver, tape: Tape, target: Target) -> tuple[tuple[BatchState, ...], str] | None:
        """Those of a page; the next begins after its last one."""
        page = calls.read(tape, _Page)
        if page is None:
            return None
        base = calls.live(self, target)
        found = tuple(_state(batch, base) for batch in page.data)
        return found, page.data[-1].id if page.has_more and page.data else ""

    def batch_status(self: Driver, batch_id: str, target: Target) -> Call:
        """`GET batches/ID`."""
        like = calls.live(self, target)
        return calls.get(like, f"{_base(like)}batches/{batch_id}")

    def batch_state(self: Driver, tape: Tape, target: Target) -> BatchState | None:
        """The batch, as each of its calls answers with it."""
        batch = calls.read(tape, _Batch)
        return None if batch is None else _state(batch, calls.live(self, target))

    def batch_replies(self: Driver, tape: Tape) -> Iterator[tuple[str, int, Reply]]:
        """The lines of an output or error file."""
        for line in calls.lines(tape, _Line):
            yield line.custom_id, *_reply(self, line)

    def batch_cancel(self: Driver, batch_id: str, target: Target) -> Call:
        """`POST batches/ID/cancel`; what was answered by then is kept."""
        like = calls.live(self, target)
        return calls.post(like, f"{_base(like)}batches/{batch_id}/cancel")


def _base(like: Call) -> str:
    """Where the API begins: `/v1/` of `/v1/chat/completions`."""
    return _DOOR.sub("", like.path)


def _endpoint(call: Call) -> str:
    """A door as a batch names it, always with its version: `/v1/chat/completions`."""
    return "/v1" + _VERSION.sub("", call.path.partition("?")[0], count=1)


def _state(batch: _Batch, like: Call) -> BatchState:
    counts = batch.request_counts or _Counts()
    over = batch.status in _OVER
    files = [name for name in (batch.output_file_id, batch.error_file_id) if name and over]
    ends = (batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at)
    ended = next((end for end in ends if end is not None), None)
    return BatchState(
        id=batch.id,
        state=batch.status,
        over=over,
        # While a file is being validated all its counts are 0.
        total=counts.total or None,
        done=counts.completed,
        failed=counts.failed,
        results=tuple(calls.get(like, f"{_base(like)}files/{name}/content") for name in files),
        # Servers that copy this API may drop what is kept with a batch.
        label=calls.text(batch.metadata, _LABEL) if batch.metadata else None,
        created_s=batch.created_at,
        took_s=calls.between(batch.created_at, ended),
        message=_why(batch.errors),
    )


def _why(errors: Any) -> str:
    """The first error of a batch that failed as a whole: its code alone, as messages may quote lines."""
    data = errors.get("data") if isinstance(errors, dict) else None
    return (
        calls.text(data[0], "code") if isinstance(data, list) and data and isinstance(data[0], dict) else ""
    )


def _reply(driver: Driver, line: _Line) -> tuple[int, Reply]:
    if line.response is not None:
        status = line.response.status_code
        return status, calls.answered(driver, status, bytes(line.response.body))
    error = line.error if isinstance(line.error, dict) else {}
    code, message = calls.text(error, "code"), calls.text(error, "message")
    if given_up := _GIVEN_UP.search(code):
        return calls.given_up(given_up[1], message)
    return 500, calls.answered(driver, 500, msgspec.json.encode({"error": error}))
