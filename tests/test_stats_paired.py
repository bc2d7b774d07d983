"""The paired comparison against Student's own example, by hand, and how often its interval covers."""

import math

import numpy as np
import pytest

from benchsuite.stats.compare import Effect, effect
from benchsuite.stats.paired import log_slowdowns, mean_and_sd, paired_effect

# "Student", Biometrika 6 (1908): hours of sleep gained by ten patients with two drugs; R's `sleep`.
FIRST = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def lower(base, other, **changes):
    return paired_effect(base, other, **{"better": "lower", "margin": 0.05} | changes)


def powers(hours):
    return [math.exp(value) for value in hours]


def test_students_sleep_data():
    # R: with(sleep, t.test(extra[group == 1], extra[group == 2], paired = TRUE)): mean -1.58,
    # t = -4.0621, df = 9, p-value = 0.002833, 95 % interval -2.4598858 to -0.7001142.
    found = lower(powers(SECOND), powers(FIRST))
    assert math.log(found.ratio) == pytest.approx(-1.58)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)
    assert found.detectable == pytest.approx(math.exp((2.4598858 - 0.7001142) / 2) - 1, abs=1e-6)
    assert found.verdict == "better"
    # At the level of its p the interval just touches no difference.
    assert math.log(lower(powers(SECOND), powers(FIRST), alpha=0.002833).high) == pytest.approx(0, abs=1e-3)
    mean, sd = mean_and_sd(log_slowdowns(powers(SECOND), powers(FIRST), "lower"))
    assert mean / (sd / math.sqrt(10)) == pytest.approx(-4.0621, abs=1e-4)


def test_without_the_pairs_the_same_data_are_undecided():
    # R: t.test(extra ~ group, data = sleep), Welch's: -3.3654832 to 0.2054832.
    found = effect(powers(SECOND), powers(FIRST), better="lower", margin=0.05)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    assert found.verdict == "undecided"


def test_three_pairs_by_hand():
    # Log-ratios 0.1, 0.2, 0.3: mean 0.2, s = 0.1, SE = 0.1 / sqrt(3) = 0.057735. Student's table, 2
    # degrees: 4.3027 (95 %) and 2.9200 (90 %).
    base = [1.0, 2.0, 4.0]
    other = [value * math.exp(step) for value, step in zip(base, (0.1, 0.2, 0.3), strict=True)]
    found = lower(base, other)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((-0.048415, 0.448415), abs=1e-5)
    found = lower(base, other, alpha=0.1)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((0.031414, 0.368586), abs=1e-5)
    assert found.verdict == "worse"


@pytest.mark.parametrize(
    ("factor", "margin", "latency", "throughput"),
    [
        (1.2, 0.05, "worse", "better"),
        (0.8, 0.05, "better", "worse"),
        (1.02, 0.05, "same", "same"),
        (1.015, 0.01, "undecided", "undecided"),
        (1.06, 0.05, "worse", "better"),
        (1.06, 0.10, "same", "same"),
    ],
)
def test_verdicts_are_those_of_unpaired_trials(factor, margin, latency, throughput):
    # Pairs differ by ±1 %: SE of four 0.0058, half width 3.1824 times that: 0.0184.
    base = [10.0, 14.0, 9.0, 11.0]
    signs = (0.01, -0.01, 0.01, -0.01)
    other = [factor * value * math.exp(sign) for value, sign in zip(base, signs, strict=True)]
    assert lower(base, other, margin=margin).verdict == latency
    assert lower(base, other, margin=margin, better="higher").verdict == throughput


def test_slowdowns_are_positive_where_it_is_worse():
    assert log_slowdowns([10, 20], [11, 18], "lower") == pytest.approx((math.log(1.1), math.log(0.9)))
    assert log_slowdowns([10, 20], [11, 18], "higher") == pytest.approx((-math.log(1.1), -math.log(0.9)))
    assert log_slowdowns([], [], "lower") == ()


@pytest.mark.parametrize("odd", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_has_no_ratio(odd):
    one, none, other = log_slowdowns([1, odd, 1], [1, 1, 2], "lower")
    assert (one, other) == (0, pytest.approx(math.log(2))) and math.isnan(none)
    assert math.isnan(log_slowdowns([1.0], [odd], "higher")[0])
    assert lower([1, odd, 1], [1, 1, 2]) == Effect() == lower([1, 1, 1], [1, odd, 2]) == lower([], [])


def test_one_pair_has_a_ratio_and_no_interval():
    assert lower([10], [12]) == Effect(ratio=pytest.approx(1.2))


def test_pairs_that_are_all_alike_are_exact():
    found = lower([10.0, 20.0], [11.0, 22.0])
    assert (found.low, found.high) == pytest.approx((1.1, 1.1))
    assert (found.detectable, found.verdict) == (pytest.approx(0), "worse")


def test_arms_of_different_length_are_no_pairs():
    for pairs in (lower, lambda base, other: log_slowdowns(base, other, "lower")):
        with pytest.raises(ValueError):
            pairs([1.0, 2.0], [1.0])


def test_what_both_arms_meet_falls_out():
    # A machine that wanders by a factor of two; the arms differ by 10 % ± 1 %.
    rng = np.random.default_rng(3)
    common = rng.uniform(1, 2, 8)
    base, other = common, common * 1.1 * np.exp(rng.normal(0, 0.01, 8))
    assert lower(base.tolist(), other.tolist()).verdict == "worse"
    assert effect(base.tolist(), other.tolist(), better="lower", margin=0.05).verdict == "undecided"


@pytest.mark.parametrize("pairs", [3, 12])
def test_the_interval_covers_as_often_as_it_says(pairs):
    rng = np.random.default_rng(19)
    jobs = 4_000
    logs = rng.normal(0.1, 0.05, (jobs, pairs))
    ones = [1.0] * pairs
    found = [lower(ones, np.exp(row).tolist(), alpha=0.1) for row in logs]
    covered = sum(one.low <= math.exp(0.1) <= one.high for one in found) / jobs
    # Four standard errors of 4,000 jobs are 1.9 %.
    assert covered == pytest.approx(0.9, abs=0.019)
