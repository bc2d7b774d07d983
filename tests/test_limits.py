"""Limits of a gate: how they are written, and when a run keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.errors import InvalidMeasurement, UsageError
from benchsuite.gate.limits import NAMES, Limits, checked, from_settings, parse_limits
from benchsuite.stats.passed import wilson
from benchsuite.types import Estimate, Metric, Point, Summary

POINT = Point(index=0, prompt_tokens=64, output_tokens=8, concurrency=4)


class _Run:
    """As much of a run as limits look at."""

    def __init__(self, *summaries):
        self.summaries = summaries


def run_with(*, ttft_p95=None, cost=None, tok_s=None, passed=None, ok=100, failed=0):
    metrics = {}
    if ttft_p95 is not None:
        metrics["ttft"] = Metric(name="ttft", unit="ms", n=100, quantiles={"p95": ttft_p95})
    rates = {"cost_per_1k_usd": cost, "output_tokens_per_s": tok_s}
    if passed is not None:
        right, n = passed
        low, high = wilson(right / n, n)
        rates["pass_rate"] = Estimate(value=right / n, low=low, high=high, n=n, needs=1, basis="Wilson")
    return _Run(
        Summary(
            point=POINT,
            requests=ok + failed,
            outcomes={"ok": ok, "http_error": failed},
            error_kinds={},
            metrics=metrics,
            rates={name: rate for name, rate in rates.items() if rate is not None},
            means={},
            verdict="valid",
            warnings=(),
        )
    )


def between(low, high, basis="3 trials"):
    return Estimate(value=(low + high) / 2, low=low, high=high, n=300, needs=72, basis=basis)


def test_all_three_kinds_of_limits_are_read_and_later_ones_win():
    found = parse_limits(
        ["10%", "tpot_p50=5%,ttft=7%", "ttft_p95<800ms", "ttft_p95 < 0.5 s", "error_rate<1%"]
    )
    assert found.limit == 0.10 and found.tolerance == 0.02
    assert found.relative["tpot_p50"] == 0.05
    # A metric's name alone means all of its quantiles.
    assert found.relative["ttft_p50"] == found.relative["ttft_from_due_p99"] == 0.07
    assert [(one.name, one.sign, one.value) for one in found.absolute] == [
        ("ttft_p95", "<", 500.0),
        ("error_rate", "<", 0.01),
    ]
    (one,) = parse_limits(["cost_per_1k<$2.50"]).absolute
    assert one.value == 2.5 and one.text == "cost_per_1k<$2.50"
    (one,) = parse_limits(["output_tokens_per_s>500"]).absolute
    assert (one.sign, one.value) == (">", 500.0)


def test_the_settings_file_says_the_same_in_its_own_way():
    written = {
        "tolerance": "3%", "limit": "8%", "tpot_p50": "5%", "ttft_p95": "<800ms", "cost_per_1k": "<2.50",
    }  # fmt: skip
    typed = parse_limits(["8%", "tpot_p50=5%", "ttft_p95<800ms", "cost_per_1k<2.50"], Limits(tolerance=0.03))
    assert from_settings(written) == typed
    assert from_settings({}) == Limits()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("ttfx_p95<1s", "did you mean ttft_p95?"),
        ("tpot_p51=5%", "no limit can be set on 'tpot_p51'"),
        ("ttft_p95>1s", "is better lower: write ttft_p95<"),
        ("output_tokens_per_s<5", "is better higher"),
        ("ttft_p95<fast", "no number such as 800ms"),
        ("error_rate<x", "no number such as 1%"),
        ("cost_per_1k<-1", "no number such as 2.50"),
        ("ten", "is no share such as 10%"),
        ("1%", "the tolerance of 2 % is above a limit"),
        ("130", "is no share such as 10%"),
        ("tpot_p90=1.3", "is no share such as 10%"),
        ("tpot_p90=inf%", "is no share such as 10%"),
        ("error_rate<5", "write error_rate<5%"),
        ("error_rate<1", "write error_rate<1%"),
        ("pass_rate>95", "write pass_rate>95%"),
        ("pass_rate>1", "write pass_rate>=100%"),
        ("pass_rate>=1", "write pass_rate>=100%"),
        ("pass_rate>=2", "write pass_rate>=2%"),
        ("error_rate<150%", "write error_rate<1% or the like"),
        ("error_rate<0%", "below 0 %: write error_rate<=0%"),
        ("pass_rate>100%", "above 100 %: write pass_rate>=100%"),
        ("error_rate<=100%", "breaks error_rate<=100%"),
        ("pass_rate>=0%", "breaks pass_rate>=0%"),
        ("<5", "no limit can be set on ''"),
    ],
)
def test_what_makes_no_sense_is_said(word, said):
    with pytest.raises(UsageError) as error:
        parse_limits([word])
    assert said in str(error.value) and "\n" not in str(error.value)


@given(st.text(max_size=40))
def test_odd_words_are_refused_in_one_line_or_understood(word):
    try:
        found = parse_limits([word])
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.limit >= found.tolerance


def test_every_name_can_be_limited():
    for name in NAMES:
        higher = name.endswith("_per_s") or name == "pass_rate"
        (one,) = parse_limits([f"{name}{'>' if higher else '<'}0.5"]).absolute
        assert one.name == name


def test_a_slowdown_may_be_more_than_double():
    found = parse_limits(["100%,tpot_p90=130%"])
    assert found.limit == 1.0 and found.relative["tpot_p90"] == 1.3


def test_a_sign_is_kept_as_it_was_typed():
    typed = ["ttft_p95<=800ms", "error_rate <= 0%", "output_tokens_per_s>=500"]
    found = parse_limits(["ttft_p95<1s", *typed]).absolute
    # The later one wins, whichever of the two signs it has.
    assert [(one.sign, one.value) for one in found] == [("<=", 800.0), ("<=", 0.0), (">=", 500.0)]
    assert [one.text for one in found] == ["ttft_p95<=800ms", "error_rate<=0%", "output_tokens_per_s>=500"]
    assert from_settings({"ttft_p95": "<=800ms"}).absolute == found[:1]


@pytest.mark.parametrize(
    ("sign", "low", "high", "verdict"),
    [
        ("<", 700, 800, "undecided"),
        ("<=", 700, 800, "pass"),
        ("<", 800, 900, "fail"),
        ("<=", 800, 900, "undecided"),
    ],
)
def test_a_bound_on_the_limit_itself_is_judged_by_the_sign(sign, low, high, verdict):
    (row,) = checked(parse_limits([f"ttft_p95{sign}800ms"]).absolute, run_with(ttft_p95=between(low, high)))
    assert row.verdict == verdict


@pytest.mark.parametrize(("sign", "verdicts"), [(">", ["undecided", "fail"]), (">=", ["pass", "undecided"])])
def test_the_same_of_a_rate_that_has_to_be_high(sign, verdicts):
    limits = parse_limits([f"output_tokens_per_s{sign}500"]).absolute
    rates = (between(500, 600), between(400, 500))
    assert [checked(limits, run_with(tok_s=rate))[0].verdict for rate in rates] == verdicts


@pytest.mark.parametrize(("right", "verdict"), [(120, "pass"), (119, "fail")])
def test_that_all_answers_pass_is_counted(right, verdict):
    limits = parse_limits(["pass_rate>=100%"]).absolute
    (row,) = checked(limits, run_with(passed=(right, 120)))
    assert row.verdict == verdict and row.limit.text == "pass_rate>=100%"
    # No interval of a share reaches beyond 100 %, so that none could show it.
    assert "counted" in row.note
    (row,) = checked(parse_limits(["pass_rate>90%"]).absolute, run_with(passed=(right, 120)))
    assert row.verdict == "pass" and not row.note


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(700, 790, "pass"), (810, 900, "fail"), (700, 900, "undecided")]
)
def test_the_whole_interval_decides(low, high, verdict):
    (row,) = checked(parse_limits(["ttft_p95<800ms"]).absolute, run_with(ttft_p95=between(low, high)))
    assert row.verdict == verdict and not row.note


def test_a_rate_has_to_be_above_its_limit():
    limits = parse_limits(["output_tokens_per_s>500"]).absolute
    verdicts = [
        checked(limits, run_with(tok_s=between(low, high)))[0].verdict
        for low, high in ((510, 600), (400, 490), (490, 510))
    ]
    assert verdicts == ["pass", "fail", "undecided"]


def test_without_an_interval_over_trials_nothing_is_decided():
    alone = between(100, 110, basis="this trial only")
    bare = Estimate(value=100.0, n=300, needs=72, basis="2 trials, no interval")
    for estimate in (alone, bare):
        (row,) = checked(parse_limits(["ttft_p95<800ms"]).absolute, run_with(ttft_p95=estimate))
        assert row.verdict == "undecided" and "--trials 3" in row.note
        # What is no interval over trials isn't shown as one.
        assert row.estimate.value == estimate.value and row.estimate.low is row.estimate.high is None


def test_too_few_samples_are_invalid_and_a_missing_price_is_a_mistake():
    few = Estimate(value=None, n=50, needs=72)
    with pytest.raises(InvalidMeasurement, match="takes 72 answered requests, and there are 50"):
        checked(parse_limits(["ttft_p95<800ms"]).absolute, run_with(ttft_p95=few))
    with pytest.raises(UsageError, match="--gpu"):
        checked(parse_limits(["cost_per_1k<2"]).absolute, run_with())


def test_errors_are_counted():
    limits = parse_limits(["error_rate<1%"]).absolute
    verdicts = [checked(limits, run_with(ok=1000 - n, failed=n))[0].verdict for n in (0, 9, 10, 500)]
    assert verdicts == ["pass", "pass", "fail", "fail"]
    none = parse_limits(["error_rate<=0%"]).absolute
    assert [checked(none, run_with(ok=10, failed=n))[0].verdict for n in (0, 1)] == ["pass", "fail"]
    # 7 of 100 are 7 %, whatever floats make of it.
    for share in range(1, 100):
        strict, not_above = (
            checked(
                parse_limits([f"error_rate{sign}{share}%"]).absolute, run_with(ok=100 - share, failed=share)
            )
            for sign in ("<", "<=")
        )
        assert (strict[0].verdict, not_above[0].verdict) == ("fail", "pass")
