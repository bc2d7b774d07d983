"""Anthropic's Message Batches: the requests go into the call that makes the batch; answers come as one file.

Read from the official SDK's types (`anthropic/types/messages/`). A batch has no room for a label, so
that a lost one is known by its answers' custom ids alone. Its counts stand still until it has ended.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from benchsuite.driver import BatchState, Driver
from benchsuite.types import Call, Reply, Request, Tape, Target
from benchsuite.wire.batches import calls

MOST_REQUESTS: Final = 100_000
MOST_BYTES: Final = 256_000_000
_PAGE: Final = 100
_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "timeout_error": 504,
        "overloaded_error": 529,
    }
)
"""The HTTP status that a live answer has with each type of error; any other is 500."""


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    request_counts: _Counts
    created_at: str | None = None
    ended_at: str | None = None
    results_url: str | None = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool | None = None
    last_id: str | None = None


class _Result(msgspec.Struct):
    type: Literal["succeeded", "errored", "canceled", "expired"]
    message: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


class AnthropicBatches:
    """`BatchApi` for the driver of the Messages API."""

    def batch_create(
        self: Driver, requests: Sequence[tuple[str, Request]], upload: str, label: str, target: Target
    ) -> Call:
        """`POST messages/batches` with all requests; UsageError beyond 100,000 of them, or 256 MB."""
        calls.check_size("Anthropic's batch API", len(requests), MOST_REQUESTS, "requests")
        asked = [
            {"custom_id": custom_id, "params": body}
            for custom_id, _, body in calls.bodies(self, requests, target)
        ]
        like = calls.live(self, target)
        found = calls.post(like, _base(like), {"requests": asked})
        calls.check_size("Anthropic's batch API", len(found.body), MOST_BYTES, "bytes")
        return found

    def batch_list(self: Driver, target: Target, after: str = "") -> Call:
        """`GET messages/batches`, 100 at a time."""
        like = calls.live(self, target)
        more = f"&after_id={after}" if after else ""
        return calls.get(like, f"{_base(like)}?limit={_PAGE}{more}")

    def batch_listed(self: Driver, tape: Tape, target: Target) -> tuple[tuple[BatchState, ...], str] | None:
        """Those of a page, none with a label."""
        page = calls.read(tape, _Page)
        if page is None:
            return None
        like = calls.live(self, target)
        found = tuple(_state(batch, like) for batch in page.data)
        return found, (page.last_id or "") if page.has_more and page.data else ""

    def batch_status(self: Driver, batch_id: str, target: Target) -> Call:
        """`GET messages/batches/ID`."""
        like = calls.live(self, target)
        return calls.get(like, f"{_base(like)}/{batch_id}")

    def batch_state(self: Driver, tape: Tape, target: Target) -> BatchState | None:
        """The batch, as each of its calls answers with it."""
        batch = calls.read(tape, _Batch)
        return None if batch is None else _state(batch, calls.live(self, target))

    def batch_replies(self: Driver, tape: Tape) -> Iterator[tuple[str, int, Reply]]:
        """The lines of the results, in any order."""
        for line in calls.lines(tape, _Line):
            yield line.custom_id, *_reply(self, line.result)

    def batch_cancel(self: Driver, batch_id: str, target: Target) -> Call:
        """`POST messages/batches/ID/cancel`; requests under way are answered."""
        like = calls.live(self, target)
        return calls.post(like, f"{_base(like)}/{batch_id}/cancel")


def _base(like: Call) -> str:
    """Where batches are: `/v1/messages/batches` of `/v1/messages`."""
    return f"{like.path.partition('?')[0]}/batches"


def _state(batch: _Batch, like: Call) -> BatchState:
    counts = batch.request_counts
    failed = counts.errored + counts.canceled + counts.expired
    over = batch.processing_status == "ended"
    # The URL that it names may be anybody's; the key is sent to the documented path of this server alone.
    results = (calls.get(like, f"{_base(like)}/{batch.id}/results"),) if over and batch.results_url else ()
    created_s = calls.seconds(batch.created_at)
    return BatchState(
        id=batch.id,
        state=_word(batch),
        over=over,
        total=counts.processing + counts.succeeded + failed,
        done=counts.succeeded,
        failed=failed,
        results=results,
        created_s=created_s,
        took_s=calls.between(created_s, calls.seconds(batch.ended_at)),
    )


def _word(batch: _Batch) -> str:
    """`ended` says nothing of how: where all that failed was given up, that is the better word."""
    counts = batch.request_counts
    if batch.processing_status == "ended" and not counts.errored:
        if counts.canceled:
            return "ended, canceled"
        if counts.expired:
            return "ended, expired"
    return batch.processing_status


def _reply(driver: Driver, result: _Result) -> tuple[int, Reply]:
    if result.type == "succeeded":
        return 200, calls.answered(driver, 200, bytes(result.message))
    if result.type == "errored":
        status = _status(bytes(result.error))
        return status, calls.answered(driver, status, bytes(result.error))
    return calls.given_up("cancelled" if result.type == "canceled" else "expired")


def _status(error: bytes) -> int:
    try:
        said: Any = msgspec.json.decode(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 500
    inner = said.get("error") if isinstance(said, dict) else None
    return _STATUS.get(calls.text(inner if isinstance(inner, dict) else {}, "type"), 500)
