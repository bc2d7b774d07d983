"""Steps in a series, against Pettitt's test in R, by hand, and how often there is one by chance."""

import math

import numpy as np
import pytest

from benchsuite.stats.changes import Change, changes, fresh, pettitt, shown_after

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
    # 7 and 9: K = 63, p = 2 exp(-23814 / 4352) = 0.0084; 6 and 10: K = 60, p = 0.014; 11 and 89: K = 979.
    assert [each.at for each in changes([1.0] * 9 + [2.0] * 7)] == [9]
    assert changes([1.0] * 10 + [2.0] * 6) == changes([1.0] * 90 + [2.0] * 10) == ()
    assert [each.at for each in changes([1.0] * 89 + [2.0] * 11)] == [89]
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


# ---------------------------------------------------------------- where a step is


def stepped(rng, n, at, size, jobs=1_000):
    """Series with a step of so many standard deviations."""
    series = rng.normal(size=(jobs, n))
    series[:, at:] += size
    return series.tolist()


@pytest.mark.parametrize(
    ("n", "at", "size", "right"),
    [(19, 11, 10, 0.99), (19, 11, 5, 0.95), (19, 11, 3, 0.75), (40, 30, 5, 0.95)],
)
def test_a_step_is_put_where_it_is(n, at, size, right):
    # By U's maximum it were 81, 81, 79 and 56 %.
    found = [changes(row) for row in stepped(np.random.default_rng(3), n, at, size)]
    seen = [each for each in found if each]
    assert len(seen) > 0.85 * len(found)
    assert sum(at in [one.at for one in each] for each in seen) >= right * len(seen)


def test_an_outlier_doesnt_move_it():
    rng = np.random.default_rng(5)
    right = 0
    for row in stepped(rng, 24, 14, 6, jobs=300):
        row[int(rng.integers(0, 24))] += 15
        right += [one.at for one in changes(row)] == [14]
    assert right >= 0.85 * 300


# ---------------------------------------------------------------- the newest values


def test_the_newest_values_beyond_all_others_are_a_fresh_step_by_hand():
    # 2 / C(16, 4) = 2 / 1820; with 5, 6, 7 and 8 of 16: 2 / 4368 + 2 / 8008 + 2 / 11440 + 2 / 12870. In all
    # 0.21 %; with three, 2 / 560, it were 0.57 %.
    assert shown_after(16) == 4
    rising = [float(value) for value in [*range(12), 50, 53, 51, 52]]
    assert fresh(rising) == Change(at=12, before=5.5, after=51.5, p=pytest.approx(2 / 1820))
    assert fresh([-value for value in rising]).at == 12
    assert fresh([*rising[:12], 50, 53, 51, 3]) is None
    assert fresh(rising[1:13] + rising[:3]) is None
    assert [fresh([1.0] * n) for n in (0, 1, 2, 12, 30)] == [None] * 5


def test_how_many_values_after_a_step_show_it():
    # 12 values: 2 / C(12, 6) = 0.22 %; 11: 2 / C(11, 5) = 0.43 %.
    assert [shown_after(n) for n in (0, 1, 11, 12, 16, 19, 40, 100)] == [0, 0, 0, 6, 4, 3, 2, 2]
    assert shown_after(5_000) == 2


@pytest.mark.parametrize(("n", "after"), [(16, 5), (40, 5), (40, 2)])
def test_a_large_step_near_the_end_is_seen_where_pettitts_test_is_blind(n, after):
    rows = stepped(np.random.default_rng(6), n, n - after, 30, jobs=300)
    assert sum(bool(changes(row)) for row in rows) < 0.1 * len(rows)
    assert all(fresh(row).at == n - after for row in rows)


@pytest.mark.parametrize("n", [12, 13, 16, 19, 40, 60])
def test_old_and_fresh_steps_together_are_seldom_by_chance(n):
    jobs = 4_000
    rows = np.random.default_rng(9).normal(100, 3, (jobs, n)).tolist()
    young = sum(fresh(row) is not None for row in rows)
    either = sum(bool(changes(row)) or fresh(row) is not None for row in rows)
    # 0.3 % and 1 %, and three standard errors of so many series.
    assert young <= 0.0056 * jobs
    assert 0 < either <= 0.01 * jobs
