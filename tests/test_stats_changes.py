"""Steps in a series, against Pettitt's test in R, by hand, and how often there is one by chance."""

import math

import numpy as np
import pytest

from benchsuite.stats.changes import Change, changes, pettitt

# R's `Nile`, flow at Aswan 1871 to 1970 in 10^8 m³ (G. W. Cobb, Biometrika 65, 1978).
NILE = [
    *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180),
    *(799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701),
    *(916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862),
    *(698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812),
    *(742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906),
    *(901, 1170, 912, 746, 919, 718, 714, 740),
]


def array(values):
    return np.array(values, dtype=float)


def test_it_is_by_hand():
    # U after 1 … 5 of (1, 2, 6, 3, 7, 8): 5, 8, 7, 8, 5 (each pair across counts 1, but 6 > 3);
    # the first of equals: K = 8 after two values, p = 2 exp(-6 * 64 / (216 + 36)) = 0.4358.
    at, k, p = pettitt(array([1, 2, 6, 3, 7, 8]))
    assert (at, k) == (2, 8)
    assert p == pytest.approx(2 * math.exp(-384 / 252))
    assert pettitt(array([1, 2, 6, 3, 7, 8]), least=3)[:2] == (3, 7)


def test_pettitts_test_of_the_nile():
    # R: n <- length(Nile); U <- 2 * cumsum(rank(Nile)) - (1:n) * (n + 1); which.max(abs(U)) is 28 (1898, when
    # the dam was begun), max(abs(U)) 1617, and 2 * exp(-6 * 1617^2 / (n^3 + n^2)) 3.591022e-07.
    at, k, p = pettitt(array(NILE))
    assert (at, k) == (28, 1617)
    assert p == pytest.approx(3.591e-07, rel=1e-3)
    found = changes(NILE)
    assert found[0] == Change(at=28, before=1130, after=842.5, p=p) and len(found) == 1


def test_equal_values_count_neither_way():
    # Across the step 3 * 3 pairs, of which one is a tie.
    assert pettitt(array([1, 1, 2, 2, 3, 3]))[:2] == (2, 8)
    assert pettitt(array([4.0] * 8)) == (1, 0, 1.0)


def test_sixteen_values_are_the_fewest_that_show_a_step_at_one_percent():
    # n = 16: K = 64, p = 2 exp(-24576 / 4352) = 0.00706; n = 14: K = 49, p = 2 exp(-14406 / 2940) = 0.0149.
    assert changes([1.0] * 8 + [2.0] * 8) == (
        Change(at=8, before=1, after=2, p=pytest.approx(0.007056, abs=1e-6)),
    )
    assert changes([1.0] * 7 + [2.0] * 7) == ()
    assert len(changes([1.0] * 7 + [2.0] * 7, p=0.02)) == 1


def test_two_steps_are_found_on_both_sides_of_the_first():
    rng = np.random.default_rng(2)
    series = np.concatenate([rng.normal(level, 0.5, 20) for level in (100, 110, 104)])
    found = changes(series.tolist())
    assert [one.at for one in found] == [20, 40]
    assert [one.before for one in found] == pytest.approx([np.median(series[:20]), np.median(series[20:40])])
    assert [one.after for one in found] == pytest.approx([np.median(series[20:40]), np.median(series[40:])])
    assert all(one.p < 0.01 for one in found)


def test_each_part_has_as_many_values_as_asked():
    series = [1.0] * 6 + [9.0] * 26
    assert [one.at for one in changes(series, least=6, p=0.1)] == [6]
    assert all(one.at >= 10 for one in changes(series, least=10, p=0.1))
    assert changes([1.0, 9.0], least=1) == changes([], p=0.5) == changes([3.0], p=0.5) == ()


def test_a_step_doesnt_depend_on_units_or_on_logarithms():
    rng = np.random.default_rng(4)
    series = np.exp(np.concatenate([rng.normal(0, 0.02, 12), rng.normal(0.1, 0.02, 12)]))
    plain, logs = changes(series.tolist()), changes(np.log(series).tolist())
    assert [(one.at, one.p) for one in plain] == [(one.at, one.p) for one in logs]
    assert plain[0].at == 12
    up = changes((-series).tolist())
    assert (up[0].at, up[0].before) == (12, pytest.approx(-plain[0].before))


def test_without_a_step_it_seldom_warns():
    rng = np.random.default_rng(8)
    jobs = 2_000
    warned = sum(bool(changes(row)) for row in rng.normal(100, 3, (jobs, 30)).tolist())
    assert warned <= 0.01 * jobs
    # It errs upwards, and yet it does see something: at 10 % some series without a step have one.
    lax = sum(bool(changes(row, p=0.1)) for row in rng.normal(100, 3, (500, 30)).tolist())
    assert lax > 0
