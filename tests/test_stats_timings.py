"""What servers say of their own time, from their own names to the summary."""

import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from benchsuite.report.timing import split_line
from benchsuite.stats import Conditions, summarise_all
from benchsuite.stats.timings import Timings, timings
from benchsuite.store.records import table_of
from benchsuite.testing import record
from benchsuite.types import Point, Workload

MS = 1_000_000
POINT = Point(index=0, prompt_tokens=100, output_tokens=5, concurrency=1)

VLLM = {
    "queue_time_ms": 3.0,
    "time_to_first_token_ms": 21.0,
    "generation_time_ms": 400.0,
    "mean_itl_ms": 4.0,
    "speculative_decoding.num_draft_tokens": 129.0,
    "speculative_decoding.num_accepted_draft_tokens": 10.0,
}
LLAMACPP = {
    "prompt_n": 500.0,
    "prompt_ms": 21.0,
    "prompt_per_token_ms": 0.042,
    "predicted_ms": 400.0,
    "draft_n": 129.0,
    "draft_n_accepted": 10.0,
}
OLLAMA = {
    "total_duration": 425e6,
    "load_duration": 4e6,
    "prompt_eval_duration": 21e6,
    "prompt_eval_count": 500.0,
    "eval_duration": 400e6,
}
LMSTUDIO = {"time_to_first_token_seconds": 0.021, "model_load_time_seconds": 0.004, "tokens_per_second": 50.0}
TGI = {"x-queue-time": 3.0, "x-total-time": 424.0, "x-inference-time": 421.0}
GROQ = {"queue_time": 0.003, "prompt_time": 0.021, "completion_time": 0.4, "total_time": 0.421}
OURS = {"queue_ms": 3.0, "prefill_ms": 21.0, "decode_ms": 400.0, "load_ms": 4.0, "total_ms": 425.0}


def read(*answers):
    texts = [None if answer is None else msgspec.json.encode(answer).decode() for answer in answers]
    return timings(texts, len(texts))


def of_one(answer):
    """What is known of one answer: part → ms."""
    found = read(answer)
    parts = {name: float(getattr(found, name)[0]) for name in Timings.__struct_fields__}
    return {name: value for name, value in parts.items() if not math.isnan(value)}


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (VLLM, {"queue": 3, "prefill": 21, "decode": 400, "drafted": 129, "accepted": 10}),
        (LLAMACPP, {"prefill": 21, "decode": 400, "drafted": 129, "accepted": 10}),
        (OLLAMA, {"load": 4, "prefill": 21, "decode": 400, "total": 425}),
        (LMSTUDIO, {"first": 21, "load": 4}),
        (TGI, {"queue": 3, "whole": 424}),
        (GROQ, {"queue": 3, "prefill": 21, "decode": 400}),
        (
            {f"x_groq.usage.{name}": value for name, value in GROQ.items()},
            {"queue": 3, "prefill": 21, "decode": 400},
        ),
        ({"openai-processing-ms": 424.0}, {"whole": 424}),
        ({"fireworks-server-time-to-first-token": 0.25}, {"first": 250}),
        (
            {"queue_time": 0.003, "first_token_latency": 0.024, "e2e_latency": 0.424},
            {"queue": 3, "first": 24, "total": 424},
        ),
        (OURS, {"queue": 3, "prefill": 21, "decode": 400, "load": 4, "total": 425}),
        ({"tokens_per_second": 3.0, "prompt_n": 5.0}, {}),
    ],
)
def test_every_servers_names_become_milliseconds(answer, parts):
    assert of_one(answer) == pytest.approx(parts)


def test_requests_keep_their_places():
    found = read(None, VLLM, {}, {"queue_time_ms": None, "prefill_ms": 7.0}, OLLAMA)
    assert np.array_equal(found.queue, [np.nan, 3, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(found.prefill, [np.nan, 21, np.nan, 7, 21], equal_nan=True)
    # Load and queue count where they are told; the first token's own time is taken as it stands.
    assert np.array_equal(found.to_first_token, [np.nan, 24, np.nan, 7, 25], equal_nan=True)
    assert read(LMSTUDIO).to_first_token[0] == pytest.approx(21)


def in_turn(**changes):
    """Twenty answers of five tokens, one after the other: first token after 50 ms, end after 100."""
    at = {"due_ns": 0, "sent_ns": 0, "first_token_ns": 50, "first_output_ns": 50, "last_token_ns": 90}
    known = dict(gaps_us=[10_000] * 4, reads=5, prompt_tokens=100, output_tokens=5, cached_tokens=0)
    return [
        record(
            **{name: (1 + 100 * turn + later) * MS for name, later in (at | {"end_ns": 100}).items()}
            | known
            | changes
        )
        for turn in range(20)
    ]


def summary(records, cache="cold"):
    workload = Workload(
        name="w", version=1, description="", prompt_tokens=(100,), output_tokens=(5,), cache=(cache,)
    )
    known = Conditions(workload=workload, capabilities_exact_output=True, identity_slots=None, lengths=None)
    table = table_of(records).append_column("trial", pa.array([1] * len(records), pa.int32()))
    (found,) = summarise_all([(msgspec.structs.replace(POINT, cache=cache), table, [])], known)
    return found


def codes(found):
    return {warning.code: warning.level for warning in found.warnings}


def told(**answer):
    return summary(in_turn(server_timings=msgspec.json.encode(answer).decode()))


def test_the_split_of_a_first_token():
    # First token after 50 ms, answer after 100.
    found = told(queue_ms=3.0, prefill_ms=44.0, decode_ms=40.0)
    medians = {
        name: found.metrics[f"server_{name}"].quantiles["p50"].value
        for name in ("queue", "prefill", "decode", "rest")
    }
    assert medians == pytest.approx({"queue": 3, "prefill": 44, "decode": 40, "rest": 3})
    assert split_line(found) == (
        "Server's own split (medians): queue 3.0 ms, prefill 44 ms, decode 40 ms, network and rest 3.0 ms"
    )
    assert codes(found) == {}


def test_what_the_server_does_not_tell_is_not_in_the_split():
    assert split_line(summary(in_turn())) is None
    assert not [name for name in summary(in_turn()).metrics if name.startswith("server")]
    found = told(**LLAMACPP)
    assert "server_queue" not in found.metrics
    assert found.metrics["server_rest"].quantiles["p50"].value == pytest.approx(29)
    assert split_line(found).endswith("decode 400 ms, network, queue and rest 29 ms; drafts kept 7.75 %")
    # Its queue may be what is left: nothing to wonder about.
    assert "server_account" not in codes(found)


def test_a_total_stands_against_the_whole_answer():
    found = told(total_ms=98.0)
    assert found.metrics["server_rest"].quantiles["p50"].value == pytest.approx(2)
    # A header tells nothing of a stream that begins after it.
    assert "server_rest" not in told(**{"openai-processing-ms": 5.0}).metrics
    whole = in_turn(
        server_timings='{"openai-processing-ms": 95.0}',
        gaps_us=[],
        reads=0,
        first_token_ns=None,
        first_output_ns=None,
    )
    assert summary(whole).metrics["server_rest"].quantiles["p50"].value == pytest.approx(5)


def test_what_is_left_is_never_cut_at_nothing():
    found = told(queue_ms=3.0, prefill_ms=57.0)
    assert found.metrics["server_rest"].quantiles["p50"].value == pytest.approx(-10)
    (warned,) = found.warnings
    assert (warned.code, warned.level) == ("server_account", "told")
    assert "time to first token is 10 ms longer than ours" in warned.message
    assert "server_account" not in codes(told(queue_ms=3.0, prefill_ms=47.9))
    assert "for an answer is 10 ms longer" in told(total_ms=110.0).warnings[0].message


def test_time_that_no_account_holds_is_told_where_the_server_tells_its_queue():
    (warned,) = told(queue_ms=1.0, prefill_ms=38.0).warnings
    assert "11 ms of TTFT (22 %)" in warned.message
    assert codes(told(queue_ms=1.0, prefill_ms=40.0)) == {}


def test_speculation_is_told_with_its_acceptance():
    found = told(draft_n=100.0, draft_n_accepted=62.0, prefill_ms=49.0)
    assert found.means["acceptance"] == pytest.approx(0.62)
    assert codes(found) == {"speculation": "told"} and "62 % of its drafts" in found.warnings[0].message
    assert split_line(found).endswith("; drafts kept 62 %")
    assert "acceptance" not in told(draft_n=0.0, draft_n_accepted=0.0).means


def test_the_queue_is_left_out_of_prefill_whatever_its_name():
    for answer in ({"queue_time_ms": 10.0}, {"queue_time": 0.01}, {"x-queue-time": 10.0}):
        rate = told(**answer).rates["prefill_tokens_per_s"].value
        assert rate == pytest.approx(100 / 0.040)


def test_a_shared_prefix_is_no_prefill_where_nobody_counts_it():
    assert "prefill_tokens_per_s" not in summary(in_turn(cached_tokens=None), cache="shared").rates
    counted = summary(in_turn(cached_tokens=50), cache="shared").rates["prefill_tokens_per_s"].value
    assert counted == pytest.approx(50 / 0.050)
