"""From records to a summary: each latency on timings small enough to be counted by hand."""

import pyarrow as pa
import pytest

from tests.trials import (
    CLOSED,
    KNOWN,
    MS,
    OPEN,
    START,
    failed,
    in_turn,
    request,
    summarise,
    summary,
    table,
    trial_info,
)


def test_a_clean_closed_loop():
    found = summary(in_turn(), infos=[trial_info(last_send=1900)])
    medians = {name: metric.quantiles["p50"].value for name, metric in found.metrics.items()}
    assert medians == pytest.approx(
        {"ttft": 50, "tpot": 10, "itl": 10, "e2e": 100, "send_lag": 0, "reader_lag": 0}
    )
    assert (found.requests, found.outcomes, found.verdict, found.warnings) == (20, {"ok": 20}, "valid", ())
    assert found.metrics["itl"].n == 80 and found.metrics["itl"].quantiles["p50"].n == 20
    assert found.metrics["ttft"].quantiles["p99"].needs == 368
    assert found.means["output_tokens"] == 5 and found.means["reasoning_tokens"] is None


def test_open_loop_leads_with_from_due():
    found = summary([request(i * 100 + 1, due=i * 100) for i in range(20)], point=OPEN)
    assert found.metrics["ttft"].quantiles["mean"].value == pytest.approx(50)
    assert found.metrics["ttft_from_due"].quantiles["mean"].value == pytest.approx(51)
    assert found.metrics["e2e_from_due"].quantiles["mean"].value == pytest.approx(101)
    assert found.metrics["send_lag"].quantiles["mean"].value == pytest.approx(1)
    assert "ttft_from_due" not in summary(in_turn()).metrics


@pytest.mark.parametrize(
    ("changes", "tpot"),
    [
        ({}, 10.0),
        # Ten tokens in five events: two a event, so eight after the first.
        ({"output_tokens": 10}, 5.0),
        # Twenty hidden reasoning tokens never came as events.
        ({"output_tokens": 25, "reasoning_tokens": 20}, 10.0),
        ({"output_tokens": 25, "reasoning_tokens": 20, "streamed_reasoning": True}, 2.0),
        # No usage: an event is a token.
        ({"output_tokens": None}, 10.0),
        ({"gaps": ()}, None),
        # Everything in one read.
        ({"gaps": (0, 0, 0)}, None),
        ({"output_tokens": 0}, None),
    ],
)
def test_tpot(changes, tpot):
    assert summary(in_turn(**changes)).means["tpot_ms"] == (None if tpot is None else pytest.approx(tpot))


def test_ttfo_where_reasoning_was_seen():
    thinking = in_turn(streamed_reasoning=True, first_output_ns=None)
    thinking[:2] = [
        request(sent, streamed_reasoning=True, first_output_ns=START + (sent + 70) * MS) for sent in (0, 100)
    ]
    ttfo = summary(thinking).metrics["ttfo"]
    assert (ttfo.n, ttfo.quantiles["mean"].value) == (2, pytest.approx(70))
    assert "ttfo" not in summary(in_turn()).metrics


def test_failed_requests_have_no_latency():
    found = summary([*in_turn(20), failed(2000, 9000, first_token_ns=START + 8000 * MS)])
    assert found.metrics["ttft"].n == found.metrics["e2e"].n == 20
    assert found.metrics["send_lag"].n == 21
    assert (found.outcomes, found.error_kinds) == ({"ok": 20, "http_error": 1}, {"overloaded": 1})


def test_stalls():
    # 110 ms after a median of 10 is a stall; 110 after a median of 50 isn't; 90 ms never is.
    requests = [
        request(0, gaps=(10, 10, 110, 10)),
        request(1000, gaps=(50, 110, 50, 50)),
        request(2000, gaps=(1, 1, 1, 90)),
        failed(3000, 4000, gaps_us=[1, 1, 500_000]),
    ]
    assert summary(requests).means["stall_share"] == pytest.approx(1 / 12)


def test_warm_up_and_other_trials_stay_apart():
    warm = (
        table(in_turn(first=500)).drop_columns("trial").append_column("trial", pa.array([0] * 20, pa.int32()))
    )
    both = pa.concat_tables([table(in_turn()), warm])
    found = summarise(CLOSED, both, [trial_info()], **KNOWN)
    assert found.requests == found.outcomes["ok"] == 20
    assert found.means["ttft_ms"] == pytest.approx(50)
