"""From a batch's answers to the records and the facts that are kept of its trial."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from benchsuite.conclude import keep_info, priced
from benchsuite.engine.decode import token_count
from benchsuite.store.batches import Batch
from benchsuite.store.runs import RunDir
from benchsuite.types import BatchInfo, Manifest, Outcome, Record, Reply, Request, TrialInfo
from benchsuite.workload.checks import judging
from benchsuite.workload.draw import Item

_GIVEN_UP = frozenset({"expired", "cancelled"})

Answer = tuple[int, Reply]
"""HTTP status and reply of one request."""


class Answers:
    """A batch's answers, matched to its requests by custom id, in whatever order they come."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.by_index: dict[int, Answer] = {}
        self.strangers = 0

    def add(self, custom_id: str, status: int, reply: Reply) -> None:
        """Keep it; one that isn't ours, or that we have already, is only counted."""
        index = index_of(custom_id, self._batch)
        if index is None or index in self.by_index:
            self.strangers += 1
        else:
            self.by_index[index] = status, reply

    @property
    def missing(self) -> int:
        """Requests that nothing was heard of."""
        return self._batch.requests - len(self.by_index)


def custom_id(batch: Batch, index: int) -> str:
    """A request's own name in its batch, and no other's anywhere."""
    return f"{batch.label}-{index}"


def index_of(name: str, batch: Batch) -> int | None:
    """The request that a custom id names; None: it is none of this batch's."""
    number = name.removeprefix(f"{batch.label}-")
    if not number.isdecimal() or name != custom_id(batch, int(number)):
        return None
    return int(number) if int(number) < batch.requests else None


def keep(
    run_dir: RunDir,
    manifest: Manifest,
    batch: Batch,
    answers: Answers,
    requests: Iterable[Request] = (),
    items: Sequence[Item] = (),
) -> None:
    """Write the trial's records and what is known of its batch; doing it again overwrites.

    `requests`: what was asked, and `items` the dataset; without them a check that rests on them can't judge.
    """
    asked = {request.index: request for request in requests}
    found = _checked(_records(batch, answers), answers, asked, manifest, items)
    records = priced(found, manifest.token_price)
    with run_dir.writer(batch.point, batch.trial) as writer:
        for record in records:
            writer.write(record)
    keep_info(
        run_dir,
        TrialInfo(
            point=batch.point,
            trial=batch.trial,
            start_ns=batch.sent_ns,
            last_send_ns=batch.sent_ns,
            end_ns=_end_ns(batch),
            plan_digest=batch.plan_digest,
            workers=(),
            batch=BatchInfo(
                id=batch.id,
                state=batch.state,
                turnaround_s=(_end_ns(batch) - batch.sent_ns) / 1e9 if batch.sent_ns else 0.0,
                by_server=batch.took_s is not None,
                polls=batch.polls,
                strangers=answers.strangers,
                missing=answers.missing,
            ),
        ),
    )


def _end_ns(batch: Batch) -> int:
    """When all of it was answered: the server knows better than our last look at it."""
    return batch.seen_over_ns if batch.took_s is None else batch.sent_ns + round(batch.took_s * 1e9)


def _records(batch: Batch, answers: Answers) -> Iterable[Record]:
    for index in range(batch.requests):
        yield _record(batch, index, answers.by_index.get(index))


def _checked(
    records: Iterable[Record],
    answers: Answers,
    asked: Mapping[int, Request],
    manifest: Manifest,
    items: Sequence[Item],
) -> Iterable[Record]:
    """The records with what was asked, and whether they passed; what failed didn't."""

    def item_of(index: int) -> int | None:
        return asked[index].item if index in asked else None

    passed = judging(manifest.workload, items, item_of)
    for record in records:
        changes: dict[str, int | bool | None] = {}
        if (request := asked.get(record.index)) is not None:
            changes = {
                "item": request.item,
                "asked_prompt_tokens": request.prompt_tokens or None,
                "asked_output_tokens": request.max_output_tokens,
            }
        if passed is not None:
            _, reply = answers.by_index.get(record.index, (0, Reply()))
            changes["passed"] = passed(record.index, reply.said) if record.outcome == "ok" else False
        yield msgspec.structs.replace(record, **changes) if changes else record


def _record(batch: Batch, index: int, answer: Answer | None) -> Record:
    """One request: all of a batch's were sent together, and none is known to be answered before its end."""
    status, reply = answer or (0, Reply())
    outcome, kind = _outcome(status, reply) if answer else _without_answer(batch)
    return Record(
        request_id=custom_id(batch, index),
        index=index,
        phase="measure",
        outcome=outcome,
        error_kind=kind,
        http_status=status,
        due_ns=batch.sent_ns,
        sent_ns=batch.sent_ns or None,
        sent_all_ns=batch.sent_ns or None,
        first_byte_ns=None,
        first_token_ns=None,
        first_output_ns=None,
        last_token_ns=None,
        end_ns=_end_ns(batch),
        gaps_us=(),
        prompt_tokens=token_count(reply.prompt_tokens),
        output_tokens=token_count(reply.output_tokens),
        cached_tokens=token_count(reply.cached_tokens),
        reasoning_tokens=token_count(reply.reasoning_tokens),
        streamed_reasoning=False,
        finish_reason=reply.finish_reason,
        reads=0,
        merged_events=0,
        reader_lag_us=0,
        user_stamps=False,
        reconnects=0,
        connect_us=None,
        tls_us=None,
        server_timings=msgspec.json.encode(reply.server_timings).decode() if reply.server_timings else None,
        cache_write_tokens=token_count(reply.cache_write_tokens),
        cache_write_1h_tokens=token_count(reply.cache_write_1h_tokens),
    )


def _outcome(status: int, reply: Reply) -> tuple[Outcome, str]:
    """As for a live answer; what the server never got to counts as skipped."""
    if reply.error_kind in _GIVEN_UP:
        return "skipped", reply.error_kind
    if status >= 400 or reply.error_kind:
        return "http_error", reply.error_kind or "http"
    return ("ok", "") if reply.complete else ("cut_off", "incomplete")


def _without_answer(batch: Batch) -> tuple[Outcome, str]:
    """Nothing came for a request: what became of its batch says why, as far as it does."""
    state = batch.state.lower()
    if "expired" in state:
        return "skipped", "expired"
    if "cancel" in state:
        return "skipped", "cancelled"
    return ("http_error", "batch_failed") if "failed" in state else ("cut_off", "no_result")
