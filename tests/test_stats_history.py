"""The band of a history, by hand, and how often an unchanged build is alarmed about."""

import math

import numpy as np
import pytest

from benchsuite.stats.history import HISTORY, band, beyond

# Sorted 90 … 112; median 101. Deviations 11 9 6 4 1 1 2 4 8 11, sorted 1 1 2 4 4 6 8 9 11 11: MAD 5.
RUNS = (100.0, 112, 95, 97, 103, 92, 105, 102, 109, 90)


def test_the_band_by_hand():
    # Half 3 * 1.4826 * 5 / 101 = 0.220188. R: 3 * mad(x) / median(x), whose constant is 1.4826 as well.
    found = band(RUNS, "lower")
    assert (found.median, found.runs) == (101, 10)
    assert found.half == pytest.approx(0.220188, abs=1e-6)
    assert found.edge == pytest.approx(101 * 1.220188, abs=1e-4)
    # A throughput is worse by that share where its time per token would be.
    assert band(RUNS, "higher").edge == pytest.approx(101 / 1.220188, abs=1e-4)


def test_it_is_never_narrower_than_5_percent():
    assert band([100.0] * 10, "lower").half == 0.05
    assert band([100.0] * 8 + [300, 400], "lower").half == 0.05
    # MAD 1.2: 3 * 1.4826 * 1.2 % = 5.34 %.
    assert band([98.8, 101.2] * 5, "lower").half == pytest.approx(0.053374, abs=1e-6)


@pytest.mark.parametrize(("better", "worse", "fine"), [("lower", 105.1, 104.9), ("higher", 95.2, 95.3)])
def test_only_the_worse_side_alarms_and_only_by_the_median(better, worse, fine):
    # 100 / 1.05 = 95.238.
    found = band([100.0] * 10, better)
    assert beyond([worse], found, better)
    assert not beyond([fine], found, better)
    far = 1000.0 if better == "lower" else 1.0
    assert not beyond([fine, fine, far], found, better)
    assert beyond([fine, worse, far], found, better)
    assert not beyond([1e5 / far] * 3, found, better)


def test_only_the_last_ten_count():
    assert band([1e9, 1e9, *RUNS], "lower") == band(RUNS, "lower")
    assert band([math.nan, *RUNS], "lower") == band(RUNS, "lower")


def test_a_short_history_is_refused():
    with pytest.raises(ValueError, match="9 comparable runs"):
        band(RUNS[:9], "lower")
    assert HISTORY == 10


@pytest.mark.parametrize("odd", [0.0, -1.0, math.inf, math.nan])
def test_a_history_of_odd_numbers_is_refused(odd):
    with pytest.raises(ValueError, match="positive"):
        band([*RUNS, odd], "lower")


def test_new_trials_that_have_no_number():
    found = band(RUNS, "lower")
    for trials in ([], [1.0, math.nan]):
        with pytest.raises(ValueError):
            beyond(trials, found, "lower")
    assert beyond([math.inf, math.inf, 1.0], found, "lower")


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_outliers_in_the_history_dont_widen_it_much(better):
    rng = np.random.default_rng(5)
    wild = rng.normal(100, 2, 10)
    wild[[2, 7]] *= 3
    found = band(wild.tolist(), better)
    assert found.half < 0.25
    slow = 140.0 if better == "lower" else 70.0
    assert beyond([slow] * 3, found, better)
