"""Trend test and correction for many tests, against published tables."""

import numpy as np
import pytest

from benchsuite.stats.steady import batch_means, holm, mann_kendall, relative_change

# R's `Nile`, flow at Aswan 1871 to 1970 in 10^8 m³ (G. W. Cobb, Biometrika 65, 1978).
NILE = [
    *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180),
    *(799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701),
    *(916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862),
    *(698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812),
    *(742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906),
    *(901, 1170, 912, 746, 919, 718, 714, 740),
]


@pytest.mark.parametrize(
    ("ranks", "one_sided"),
    # M. G. Kendall, Rank Correlation Methods, appendix table 1, n = 10: P(S >= 23, 27, 31).
    # S is 45 - 2 * inversions.
    [
        ([3, 2, 5, 4, 6, 7, 8, 9, 10, 1], 0.023),
        ([2, 3, 4, 5, 6, 7, 8, 9, 10, 1], 0.0083),
        ([2, 3, 4, 5, 6, 7, 8, 1, 9, 10], 0.0023),
    ],
)
def test_mann_kendall_against_kendalls_exact_table(ranks, one_sided):
    x = np.array(ranks, dtype=float)
    assert mann_kendall(x) / 2 == pytest.approx(one_sided, abs=0.002)
    assert mann_kendall(-x) == mann_kendall(x)


def test_mann_kendall_of_the_nile():
    # R: cor.test(seq_along(Nile), as.numeric(Nile), method = "kendall", exact = FALSE, continuity = TRUE):
    # z = -4.1280665, p-value = 3.658263e-05; with the ties corrected for. S is -1387, its variance 112728.
    assert mann_kendall(np.array(NILE, dtype=float)) == pytest.approx(3.658263e-05, rel=1e-6)


def test_mann_kendall_by_hand_with_ties():
    # S = 40, five pairs: Var = (10 * 9 * 25 - 5 * 18) / 18 = 120, z = 39 / sqrt(120) = 3.5602.
    x = np.repeat([1.0, 2, 3, 4, 5], 2)
    assert mann_kendall(x) == pytest.approx(3.706e-4, rel=1e-3)


def test_several_series_are_each_compared_with_themselves():
    rising = np.arange(10.0)
    # S = 90, Var = 250: z = 89 / 15.811; the step down between the series is no trend.
    assert mann_kendall(rising, rising - 100) == pytest.approx(1.8e-8, rel=0.05)
    assert mann_kendall(rising, -rising) == 1.0
    assert mann_kendall(np.ones(10)) == 1.0


def test_the_size_of_a_drift_is_sens_slope_over_the_whole_of_each_series():
    # Slope 2, ten values, median 100.
    rising = 91.0 + 2 * np.arange(10)
    assert relative_change(rising) == pytest.approx(0.2)
    assert relative_change(-rising[::-1] + 200) == pytest.approx(0.2)
    assert relative_change(rising, rising[::-1]) == pytest.approx(0)
    # One outlier doesn't move it; an equal series twice as high drifts by the same share.
    rising[4] = 500
    assert relative_change(rising, 2 * rising) == pytest.approx(0.2, rel=0.1)


def test_batches():
    assert batch_means(np.arange(20.0)).tolist() == [0.5 + 2 * i for i in range(10)]
    assert batch_means(np.arange(19.0)) is None


def test_holm():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
