"""The verdict between two runs: Welch's interval on logarithms, by hand, and how often it covers."""

import math

import numpy as np
import pytest

from benchsuite.stats.compare import Effect, effect


def lower(base, other, margin=0.05):
    return effect(base, other, better="lower", margin=margin)


def test_welchs_interval_by_hand():
    # Logs 2.302585, 2.397895, 2.484907 (mean 2.395129, variance 0.008316) and 2.564949, 2.639057,
    # 2.708050 (2.637352, 0.005122). SE = sqrt(0.008316/3 + 0.005122/3) = 0.066928;
    # df = 0.00447922**2 / ((0.00277201**2 + 0.00170721**2) / 2) = 3.786, t(3.786) = 2.8394:
    # 0.242223 ± 0.190035. R: exp(t.test(log(13:15), log(10:12))$conf.int).
    found = lower([10, 11, 12], [13, 14, 15])
    assert found.ratio == pytest.approx(1.27408, abs=1e-5)
    assert (found.low, found.high) == pytest.approx((1.05357, 1.54073), abs=1e-5)
    assert found.detectable == pytest.approx(math.exp(0.190035) - 1, abs=1e-5)


def test_unequal_numbers_of_trials_and_spreads_by_hand():
    # Logs of the base: mean 4.614855, variance 0.0073967 over 4; of the other: 4.605120, 0.00020001
    # over 2. SE² = 0.00184918 + 0.00010001 = 0.00194919, SE = 0.0441496;
    # df = 0.00194919**2 / (0.00184918**2/3 + 0.00010001**2/1) = 3.304, t(3.304) = 3.0232:
    # -0.0097348 ± 0.133475. A pooled variance (df 4) would give 0.833 to 1.177.
    found = lower([100, 110, 90, 105], [101, 99])
    assert found.ratio == pytest.approx(0.990312, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.866585, 1.131705), abs=1e-5)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("other", "margin", "latency", "throughput"),
    [
        ((13.0, 13.1, 13.2), 0.05, "worse", "better"),
        ((8.0, 8.1, 8.2), 0.05, "better", "worse"),
        ((10.0, 10.1, 10.2), 0.05, "same", "same"),
        ((10.0, 10.1, 10.2), 0.01, "undecided", "undecided"),
        ((7.0, 10.0, 14.0), 0.05, "undecided", "undecided"),
        # A difference that is shown, but all of it lies within the margin.
        ((10.30, 10.31, 10.32), 0.10, "same", "same"),
    ],
)
def test_verdicts_follow_the_interval_and_the_metrics_direction(other, margin, latency, throughput):
    base = (10.0, 10.1, 10.2) if margin < 0.1 else (10.0, 10.01, 10.02)
    assert effect(base, other, better="lower", margin=margin).verdict == latency
    assert effect(base, other, better="higher", margin=margin).verdict == throughput


def test_exchanging_the_runs_exchanges_better_and_worse_and_nothing_else():
    # Were the margin one of differences, 0.951 would lie in it and 1 / 0.951 would not.
    opposite = {"better": "worse", "worse": "better", "same": "same", "undecided": "undecided"}
    rng = np.random.default_rng(1)
    for _ in range(300):
        a, b = np.exp(rng.normal(0, 0.02, (2, 3))).tolist()
        one, other = lower(a, b), lower(b, a)
        assert other.verdict == opposite[one.verdict]
        assert other.ratio == pytest.approx(1 / one.ratio)


@pytest.mark.parametrize(("base", "other"), [([10.0], [20.0, 21.0, 22.0]), ([10.0, 10.0], [20.0])])
def test_with_one_trial_there_is_a_ratio_and_no_interval(base, other):
    found = lower(base, other)
    assert found.ratio == pytest.approx(2.0 if len(other) == 1 else 2.0986, abs=1e-3)
    assert (found.low, found.high, found.detectable, found.verdict) == (None, None, None, "undecided")


@pytest.mark.parametrize("other", [[], [0.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, math.inf, 1.0]])
def test_what_has_no_logarithm_has_no_ratio(other):
    assert lower([1.0, 2.0, 3.0], other) == Effect()


def test_trials_without_any_spread_are_exact():
    assert lower([5.0, 5.0], [5.0, 5.0]).verdict == "same"
    found = lower([5.0, 5.0], [5.5, 5.5])
    assert (found.verdict, found.detectable) == ("worse", 0.0)
    assert found.low == found.high == pytest.approx(1.1)


@pytest.mark.parametrize("spreads", [(0.05, 0.05), (0.02, 0.08)])
def test_intervals_of_three_trials_cover_the_true_ratio(spreads):
    rng = np.random.default_rng(20_26)
    true, jobs = 1.1, 2_000
    covered = 0
    for _ in range(jobs):
        base = np.exp(rng.normal(3.0, spreads[0], 3)).tolist()
        other = np.exp(rng.normal(3.0 + math.log(true), spreads[1], 3)).tolist()
        found = lower(base, other)
        covered += found.low <= true <= found.high
    assert covered >= 0.93 * jobs
    # An interval that always covers says nothing.
    assert covered <= 0.985 * jobs


@pytest.mark.parametrize(("half", "verdict"), [(0.0484, "same"), (0.0494, "undecided")])
def test_the_margin_is_one_of_ratios(half, verdict):
    # Two trials at e^±d in each run: SE = sqrt(2) d, df 2, t(2) = 4.3027; log(1.05) = 0.04879.
    d = half / (4.302653 * math.sqrt(2))
    trials = [math.exp(-d), math.exp(d)]
    found = lower(trials, trials)
    assert found.high == pytest.approx(math.exp(half))
    assert found.verdict == verdict
