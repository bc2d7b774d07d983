"""Quantiles and their intervals against published figures and sums done by hand."""

import subprocess
import sys

import numpy as np
import pytest

from benchsuite.stats.quantiles import (
    distribution,
    mean_estimate,
    quantile,
    rate_estimate,
    samples_needed,
    student_t,
    trial_estimate,
)

# Motor Trend 1974, R's `mtcars$mpg`.
MPG = [
    *(21, 21, 22.8, 21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4),
    *(14.7, 32.4, 30.4, 33.9, 21.5, 15.5, 15.2, 13.3, 19.2, 27.3, 26, 30.4, 15.8, 19.7, 15, 21.4),
]


def each(*groups):
    return [np.array(group, dtype=float) for group in groups]


def test_quantiles_are_those_of_r():
    # R 4: quantile(mtcars$mpg) gives 15.425, 19.200, 22.800; type 6 would give 15.35 first.
    assert [quantile(np.array(MPG), q) for q in (0.25, 0.5, 0.75)] == pytest.approx([15.425, 19.2, 22.8])
    assert quantile(np.array([1, 2, 3, 4]), 0.9) == pytest.approx(3.7)


def test_samples_needed():
    assert [samples_needed(q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)] == [6, 36, 72, 368, 3688]


def test_students_t():
    # Student's table, two-sided 5 %.
    assert [student_t(df) for df in (2, 4, 9)] == pytest.approx([4.303, 2.776, 2.262], abs=5e-4)


def test_jackknife_of_a_quantile_by_hand():
    # Pooled median 2; without each trial 4, 3.5 and 1.5: deviations 1, 0.5, -1.5 from their mean.
    # SE = sqrt(2/3 * 3.5) = 1.5275; times t(2) = 4.3027: 6.572.
    found = trial_estimate(each([1] * 10, [2] * 10, [6] * 10), 0.5)
    assert (found.value, found.n, found.basis) == (2, 30, "3 trials")
    assert (found.low, found.high) == pytest.approx((2 - 6.572, 2 + 6.572), abs=1e-3)


def test_jackknife_of_a_mean_is_the_standard_error_of_the_trials_means():
    # Means 10, 12, 14: s = 2, SE = 2/sqrt(3) = 1.1547; times 4.3027: 4.968.
    for found in (mean_estimate(each([9, 11], [12, 12], [15, 13])), rate_estimate([10, 12, 14], 6)):
        assert (found.value, found.n) == (12, 6)
        assert (found.low, found.high) == pytest.approx((7.032, 16.968), abs=1e-3)


def test_trials_are_pooled_and_never_averaged():
    # Averaging medians would give 5.5.
    assert trial_estimate(each([1] * 90, [10] * 10), 0.5).value == 1


def test_below_the_smallest_sample_there_is_no_value_but_how_many_it_takes():
    found = trial_estimate(each([1, 2], [3, 4], [5]), 0.5)
    assert (found.value, found.low, found.n, found.needs) == (None, None, 5, 6)
    nothing = trial_estimate(each([], []), 0.5)
    assert (nothing.value, nothing.n, nothing.needs) == (None, 0, 6)


def test_two_trials_give_a_value_without_an_interval():
    for found in (trial_estimate(each(range(20), range(20)), 0.5), rate_estimate([1, 2], 2)):
        assert found.value is not None and found.low is None and found.high is None
        assert found.basis == "2 trials, no interval"


def test_a_trial_without_values_is_no_trial():
    assert trial_estimate(each(range(20), range(20), []), 0.5).low is None


def test_a_single_trial_is_cut_into_batches_by_hand():
    # Five batches of six: medians 1 to 5 around 3, SE = sqrt(10 / (5 * 4)); t(4) = 2.776.
    found = trial_estimate(each(np.repeat([1, 2, 3, 4, 5], 6)), 0.5)
    assert (found.low, found.high) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)
    assert found.basis == "this trial only"
    assert trial_estimate(each(range(29)), 0.5).low is None


def test_tails_have_intervals_only_from_five_trials_of_a_thousand_and_never_call_them_95():
    rng = np.random.default_rng(7)

    def p99(trials, requests):
        return trial_estimate([rng.exponential(size=requests) for _ in range(trials)], 0.99)

    found = p99(5, 1000)
    assert found.low is not None and found.basis == "5 trials; covers 75 to 88 %, not 95 %"
    for few in (p99(4, 1000), p99(5, 999), p99(1, 20_000)):
        assert few.value is not None and few.low is None and "95" not in few.basis
    far = trial_estimate([rng.exponential(size=1000) for _ in range(5)], 0.999)
    assert far.value is not None and far.low is None


def test_gaps_count_their_requests_as_samples():
    gaps = [np.arange(100, dtype=np.int32) * 1000] * 3
    metric = distribution("itl", "ms", gaps, [1, 1, 1], scale=1e-3)
    assert metric.n == 300
    assert (metric.quantiles["p50"].value, metric.quantiles["p50"].n) == (None, 3)
    metric = distribution("itl", "ms", gaps, [2, 2, 2], scale=1e-3)
    assert (metric.quantiles["p50"].value, metric.quantiles["p50"].n) == (49.5, 6)
    assert metric.quantiles["p90"].value is None and metric.quantiles["p90"].needs == 36
    assert metric.quantiles["mean"].value == 49.5


def test_scaling_scales_the_interval_too():
    trials = each(range(30), range(5, 35), range(3, 33))
    plain = distribution("x", "us", trials).quantiles["p50"]
    scaled = distribution("x", "ms", trials, scale=1e-3).quantiles["p50"]
    assert plain.low < plain.value
    assert (scaled.low, scaled.high) == pytest.approx((plain.low / 1e3, plain.high / 1e3))
    one = each(range(60))
    assert distribution("x", "ms", one, scale=1e-3).quantiles["p50"].low == pytest.approx(
        distribution("x", "us", one).quantiles["p50"].low / 1e3
    )


def test_statistics_load_nothing_heavy():
    code = (
        "import sys, benchsuite.stats\n"
        "print([name for name in ('scipy.stats', 'pandas', 'pyarrow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
