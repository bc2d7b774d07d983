"""Gemini's `batchGenerateContent`: requests inline, answers inline in the operation that it makes.

Read from Google's reference (ai.google.dev/api/batch-api) and google-genai. Larger inputs go through the
Files API there, which isn't done here; Vertex has batch prediction jobs over cloud storage instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from benchsuite.driver import BatchState, Driver
from benchsuite.errors import UsageError
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire.batches import calls

MOST_BYTES: Final = 20_000_000
_PAGE: Final = 100
_OVER: Final = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
_CANCELLED: Final = 1
_STATUS: Final[Mapping[int, int]] = MappingProxyType(
    {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 12: 501, 13: 500, 14: 503, 16: 401}
)
"""The HTTP status of each of Google's own error codes (google.rpc.Code); any other below 100 is 500."""


class _Stats(msgspec.Struct, rename="camel"):
    """Google writes 64-bit numbers as texts."""

    request_count: str | int | None = None
    successful_request_count: str | int | None = None
    failed_request_count: str | int | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    state: str = ""
    display_name: str = ""
    create_time: str | None = None
    end_time: str | None = None
    batch_stats: _Stats | None = None
    output: Any = None


class _Operation(msgspec.Struct):
    name: str
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    done: bool = False
    response: Any = None
    error: Any = None


class _Page(msgspec.Struct, rename="camel"):
    operations: list[_Operation] = []
    next_page_token: str = ""


class GeminiBatches:
    """`BatchApi` for the driver of the Gemini API."""

    def batch_create(
        self: Driver, requests: Sequence[tuple[str, Request]], upload: str, label: str, target: Target
    ) -> Call:
        """`POST models/M:batchGenerateContent`; the label is its display name. UsageError beyond 20 MB."""
        asked = [
            {"request": body, "metadata": {"key": custom_id}}
            for custom_id, _, body in calls.bodies(self, requests, target)
        ]
        like = calls.live(self, target)
        _base(like)
        body = {"batch": {"displayName": label, "inputConfig": {"requests": {"requests": asked}}}}
        path = f"{like.path.partition(':')[0]}:batchGenerateContent"
        found = calls.post(like, path, body)
        calls.check_size("Gemini's batch API, without a file,", len(found.body), MOST_BYTES, "bytes")
        return found

    def batch_list(self: Driver, target: Target, after: str = "") -> Call:
        """`GET batches`, 100 at a time."""
        like = calls.live(self, target)
        more = f"&pageToken={after}" if after else ""
        return calls.get(like, f"{_base(like)}batches?pageSize={_PAGE}{more}")

    def batch_listed(self: Driver, tape: Tape, target: Target) -> tuple[tuple[BatchState, ...], str] | None:
        """The operations of a page."""
        page = calls.read(tape, _Page)
        if page is None:
            return None
        like = calls.live(self, target)
        return tuple(_state(operation, like) for operation in page.operations), page.next_page_token

    def batch_status(self: Driver, batch_id: str, target: Target) -> Call:
        """`GET batches/ID`."""
        like = calls.live(self, target)
        return calls.get(like, _base(like) + batch_id)

    def batch_state(self: Driver, tape: Tape, target: Target) -> BatchState | None:
        """The operation; a cancel call answers with nothing, which is None too."""
        operation = calls.read(tape, _Operation)
        return None if operation is None else _state(operation, calls.live(self, target))

    def batch_replies(self: Driver, tape: Tape) -> Iterator[tuple[str, int, Reply]]:
        """The answers that stand in the operation."""
        operation = calls.read(tape, _Operation)
        for found in _inlined(operation) if operation is not None else ():
            key = calls.text(found.get("metadata"), "key")
            if key:
                yield key, *_reply(self, found)

    def batch_cancel(self: Driver, batch_id: str, target: Target) -> Call:
        """`POST batches/ID:cancel`."""
        like = calls.live(self, target)
        return calls.post(like, f"{_base(like)}{batch_id}:cancel")


def _base(like: Call) -> str:
    """Where the API begins: `/v1beta/` of `/v1beta/models/M:streamGenerateContent`; UsageError for Vertex."""
    base, found, _ = like.path.partition("models/")
    if not found or "/publishers/" in base:
        raise UsageError("only the Gemini API has batches of this kind; leave --batch-api out for Vertex")
    return base


def _state(operation: _Operation, like: Call) -> BatchState:
    said = operation.metadata
    stats = said.batch_stats or _Stats()
    over = operation.done or said.state.endswith(_OVER)
    path = _base(like) + operation.name
    created_s = calls.seconds(said.create_time)
    error = operation.error if isinstance(operation.error, dict) else {}
    return BatchState(
        id=operation.name,
        state=said.state.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_").lower(),
        over=over,
        total=_number(stats.request_count) or None,
        done=_number(stats.successful_request_count) if stats.request_count else None,
        failed=_number(stats.failed_request_count) if stats.request_count else None,
        results=(calls.get(like, path),) if over and _inlined(operation) else (),
        label=said.display_name,
        created_s=created_s,
        took_s=calls.between(created_s, calls.seconds(said.end_time)) if over else None,
        message=calls.text(error, "status"),
    )


def _number(text: str | int | None) -> int:
    """A count, which Google leaves out where it is 0."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _inlined(operation: _Operation) -> list[dict[str, Any]]:
    """The answers, in the operation's response or, as google-genai reads them, in its metadata's output."""
    for holder in (operation.response, operation.metadata.output):
        found = holder.get("inlinedResponses") if isinstance(holder, dict) else None
        if isinstance(found, dict):
            found = found.get("inlinedResponses")
        if isinstance(found, list):
            return [one for one in found if isinstance(one, dict)]
    return []


def _reply(driver: Driver, found: Mapping[str, Any]) -> tuple[int, Reply]:
    error = found.get("error")
    if not isinstance(error, dict):
        return 200, calls.answered(driver, 200, msgspec.json.encode(found.get("response") or {}))
    code = error.get("code")
    if code == _CANCELLED:
        return calls.given_up("cancelled")
    status = code if isinstance(code, int) and code >= 100 else _STATUS.get(code or 0, 500)
    return status, calls.answered(driver, status, msgspec.json.encode({"error": error}))
