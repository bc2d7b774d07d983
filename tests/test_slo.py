"""Limits as they are typed, stand in files and are shown."""

import pytest

from benchsuite.errors import UsageError
from benchsuite.report.slo import kept
from benchsuite.stats.columns import trials_of
from benchsuite.stats.slo import met, needs
from benchsuite.types import Estimate, Limit, Metric, Slo
from benchsuite.workload.schema import parsed
from benchsuite.workload.slo import each_request, limits_text, parse_slo, presets
from tests.trials import CLOSED, failed, in_turn, request, summary, table

FILE = """
name = "w"
version = 1
description = "d"
[prompts]
tokens = 8
[outputs]
tokens = 8
[load]
concurrency = 1
[stop]
requests = 10
"""


def test_limits_on_quantiles_and_on_each_request_are_told_apart():
    slo = parse_slo("ttft=500ms,tpot_p95=50ms,itl_p99=0.1s")
    assert slo.ttft_ms == 500
    assert slo.limits == (
        Limit(metric="tpot", quantile=0.95, ms=50.0),
        Limit(metric="itl", quantile=0.99, ms=100.0),
    )
    assert each_request(slo) == {"ttft": 500.0, "tpot": 50.0}
    assert limits_text(slo) == "TTFT ≤ 500 ms, TPOT p95 ≤ 50 ms, ITL p99 ≤ 100 ms"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chatt", "did you mean chat"),
        ("itl=5ms", "itl_p95=80ms"),
        ("ttft_p97=5ms", "quantiles are p50, p90"),
        ("ttft_p95", "a time such as 500ms"),
        ("ttft_p95=1,ttft_p95=2", "two limits"),
        ("", "unknown limit"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_would_be_one(text, told):
    with pytest.raises(UsageError, match=told):
        parse_slo(text)


def test_a_preset_gives_limits_that_those_beside_it_change():
    assert parse_slo("chat,ttft_p95=300ms") == Slo(
        preset="chat",
        limits=(
            Limit(metric="ttft", quantile=0.95, ms=300.0),
            Limit(metric="tpot", quantile=0.95, ms=50.0),
        ),
    )
    written = parsed(FILE + '[slo]\npreset = "chat"\nlimits = { ttft_p95 = 300 }\n', "w.toml")
    assert written.slo == parse_slo("chat,ttft_p95=300ms")
    with pytest.raises(UsageError, match=r"w.toml: \[slo\] no SLO called 'chot'; did you mean chat"):
        parsed(FILE + '[slo]\npreset = "chot"\n', "w.toml")


@pytest.mark.parametrize(
    ("name", "ttft", "tpot"),
    [
        ("llama3.1-8b", 2000, 100),
        ("llama3.1-8b-interactive", 500, 30),
        ("llama2-70b", 2000, 200),
        ("llama2-70b-interactive", 450, 40),
        ("llama3.1-405b", 6000, 175),
        ("llama3.1-405b-interactive", 4500, 80),
        ("deepseek-r1", 2000, 80),
        ("deepseek-r1-interactive", 1500, 15),
    ],
)
def test_mlperf_limits_are_those_published(name, ttft, tpot):
    assert presets()[name].slo.limits == (
        Limit(metric="ttft", quantile=0.99, ms=ttft),
        Limit(metric="tpot", quantile=0.99, ms=tpot),
    )


def test_the_share_that_meets_a_need_counts_failures_as_misses():
    slow = [request(i * 100, first=70) for i in range(2)]
    records = [*slow, *(request(i * 100) for i in range(2, 9)), failed(900, 1000)]
    trials = [columns for _, columns in trials_of(table(records), ())]
    (need,) = needs(Slo(ttft_ms=60), 0.9)
    found = met(CLOSED, need, trials)
    assert (found.requests, found.met, found.ok) == (10, 7, False)
    (quantile,) = needs(parse_slo("ttft_p50=60ms"), 0.9)
    assert met(CLOSED, quantile, trials).ok


def test_a_point_has_met_missed_or_not_clearly_either():
    row = summary(in_turn())
    limit = Limit(metric="ttft", quantile=0.5, ms=50.0)

    def judged(value, low, high):
        found = Estimate(value=value, low=low, high=high, n=100)
        metric = Metric(name="ttft", unit="ms", n=100, quantiles={"p50": found})
        return kept(type(row)(**{**_fields(row), "metrics": {"ttft": metric}}), limit)

    assert judged(40.0, 30.0, 49.0) == "met"
    assert judged(60.0, 51.0, 70.0) == "missed"
    assert judged(48.0, 45.0, 51.0) == "unclear"
    assert judged(None, None, None) == "unknown"


def _fields(row):
    return {name: getattr(row, name) for name in row.__struct_fields__}


def test_goodput_counts_limits_on_quantiles_too():
    found = summary(
        [*in_turn(10), *(request(1000 + i * 200, first=150) for i in range(10))],
        slo=parse_slo("ttft_p95=60ms"),
    )
    assert 0 < found.rates["goodput_per_s"].value < found.rates["requests_per_s"].value
