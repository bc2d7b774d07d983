"""The gate's decision by hand and against R: Student's t, Holm's steps, and what could be seen."""

import math

import numpy as np
import pytest
from scipy.special import nctdtr

from benchsuite.stats.gate import Rule, detectable, look, uncertainty
from benchsuite.stats.steady import holm

SIGNS = (1, -1, 1, -1)
ONE_LOOK = Rule(tolerance=0.0, looks=(4,), fails=0.05, passes=0.05)
T_95, T_975, T_99 = 2.3534, 3.1824, 4.5407
"""Student's table, 3 degrees of freedom, one-sided."""


def slower(mean, spread=0.01):
    """Four pairs: standard deviation 2 / sqrt(3) * spread, standard error spread / sqrt(3)."""
    return [mean + sign * spread for sign in SIGNS]


def keys(*values):
    return {(f"m{at}", 0): one for at, one in enumerate(values)}


def test_one_metric_by_hand():
    # Error 0.01 / sqrt(3) = 0.0057735; 0.05 ± 2.3534 times that.
    decided, (found,) = look(keys(slower(0.05)), ONE_LOOK)
    assert decided == found.verdict == "fail"
    assert found.ratio == pytest.approx(math.exp(0.05))
    half = T_95 * 0.01 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((math.exp(0.05 - half), math.exp(0.05 + half)), abs=1e-5)
    assert (found.sd, found.pairs, found.limit) == (pytest.approx(0.011547, abs=1e-6), 4, 0.1)


def test_how_far_a_standard_deviation_of_eight_pairs_may_be_off():
    # Table of chi-squared, 7 degrees of freedom: 16.013 and 1.690.
    assert uncertainty(8) == pytest.approx((math.sqrt(7 / 16.013), math.sqrt(7 / 1.690)), abs=1e-3)


def test_students_sleep_data_one_sided():
    # R: t.test(extra2, extra1, paired = TRUE, alternative = "greater"): p-value = 0.001416; so the bound at
    # that level is 0, and it fails a little above and not a little below.
    gains = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    for level, verdict in ((0.00143, "fail"), (0.0014, "undecided")):
        rule = Rule(tolerance=0.0, looks=(10,), fails=level)
        assert look(keys(gains), rule)[0] == verdict
    found = look(keys(gains), Rule(tolerance=0.0, looks=(10,), fails=0.001416))[1][0]
    assert math.log(found.low) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("mean", "decided"), [(0.0, "pass"), (0.02, "pass"), (0.05, "pass"), (0.07, "fail"), (0.2, "fail")]
)
def test_fail_comes_before_pass_and_between_them_it_is_undecided(mean, decided):
    # Levels 0.01 / 3 and 0.025 / 3, 3 degrees: t = 6.741 and 4.857 (R: qt); log(1.02) = 0.0198, log(1.1) =
    # 0.0953. Error 0.0057735: fails above 0.0587, passes below 0.0673.
    assert look(keys(slower(mean)), Rule())[0] == decided
    # With a wider spread, 0.0101, it fails above 0.0879 and passes below 0.0462.
    wide = look(keys(slower(mean, 0.0175)), Rule())
    assert wide[0] == ("pass" if mean < 0.04 else "fail" if mean > 0.1 else "undecided")


@pytest.mark.parametrize(("mean", "decided"), [(0.0586, "pass"), (0.0588, "fail")])
def test_the_edge_of_failing_by_hand(mean, decided):
    assert look(keys(slower(mean)), Rule())[0] == decided


def test_failing_on_the_limit_takes_more():
    assert look(keys(slower(0.1)), Rule())[0] == "fail"
    assert look(keys(slower(0.1)), Rule(fail_on="limit"))[0] == "undecided"
    assert look(keys(slower(0.14)), Rule(fail_on="limit"))[0] == "fail"


def test_a_metric_has_a_limit_of_its_own():
    rule, values = Rule(), keys(slower(0.03), slower(0.03))
    assert look(values, rule)[0] == "pass"
    decided, (one, other) = look(values, rule, {("m1", 0): 0.04})
    assert (decided, one.verdict, other.verdict) == ("undecided", "pass", "undecided")
    assert (one.limit, other.limit) == (0.1, 0.04)
    strict = Rule(fail_on="limit", looks=(4,))
    assert [
        found.verdict for found in look(keys(slower(0.08), slower(0.08)), strict, {("m1", 0): 0.04})[1]
    ] == [
        "undecided",
        "fail",
    ]


def test_holms_steps_by_hand():
    # Levels 5 %/3, /2, /1 at 3 degrees: t = 3.740, 3.182, 2.353 (Student's table for the last two; R: qt).
    # Means in errors: 4, 3.3 and 2.5 are all rejected in turn, though 2.5 alone would fall short of 3.740.
    error = 0.01 / math.sqrt(3)
    decided, judged = look(keys(slower(2.5 * error), slower(4 * error), slower(3.3 * error)), ONE_LOOK)
    assert decided == "fail"
    assert [one.verdict for one in judged] == ["fail"] * 3
    lows = [math.log(one.low) / error for one in judged]
    assert lows == pytest.approx([2.5 - T_95, 4 - 3.740, 3.3 - T_975], abs=2e-3)
    # 3.1 at the second step isn't rejected: the third isn't tested; both are bounded at that level.
    judged = look(keys(slower(2.5 * error), slower(4 * error), slower(3.1 * error)), ONE_LOOK)[1]
    lows = [math.log(one.low) / error for one in judged]
    assert lows == pytest.approx([2.5 - T_975, 4 - 3.740, 3.1 - T_975], abs=2e-3)
    assert [one.low > 1 for one in judged] == [False, True, False]


def test_it_fails_what_holms_adjusted_p_values_reject():
    # The same decision by another way: p values adjusted (checked against R's p.adjust) at the same level.
    rng = np.random.default_rng(6)
    seen = set()
    for _ in range(300):
        rows = rng.normal(rng.choice([0.0, 0.02, 0.06], (5, 1)), 0.03, (5, 8))
        rule = Rule(tolerance=0.01, looks=(8,), fails=0.05)
        t = (rows.mean(axis=1) - math.log(1.01)) / (rows.std(axis=1, ddof=1) / math.sqrt(8))
        ps = 1 - nctdtr(7, 0, t)
        expected = [p < 0.05 for p in holm(ps.tolist())]
        judged = look(keys(*rows.tolist()), rule)[1]
        assert [one.verdict == "fail" for one in judged] == expected
        assert [one.low > 1.01 for one in judged] == expected
        seen.add(sum(expected))
    assert len(seen) > 3


@pytest.mark.parametrize("odd", [[], [0.5], [0.5, math.nan, 0.5, 0.5], [0.5, math.inf, 0.5, 0.5]])
def test_a_metric_without_enough_numbers_is_undecided_and_still_counts(odd):
    decided, (bad, good) = look({("bad", 2): odd, ("good", 1): slower(0.0)}, Rule())
    assert decided == "undecided"
    assert (bad.metric, bad.point, bad.pairs, bad.verdict) == ("bad", 2, len(odd), "undecided")
    assert (bad.low, bad.high, bad.sd, bad.detectable) == (None, None, None, None)
    assert bad.ratio == (pytest.approx(math.exp(0.5)) if len(odd) == 1 else None)
    assert good.verdict == "pass"
    # The good one is tested as one of two.
    error = 0.01 / math.sqrt(3)
    mean = 2.8 * error
    assert look(keys(slower(mean)), ONE_LOOK)[0] == "fail"
    assert look({("bad", 0): odd, **keys(slower(mean))}, ONE_LOOK)[0] == "undecided"


def test_without_metrics_nothing_is_decided():
    assert look({}, Rule()) == ("undecided", ())


def test_pairs_that_are_all_alike():
    assert look(keys([0.0] * 4), Rule())[0] == "pass"
    assert look(keys([0.03] * 4), Rule())[0] == "fail"
    assert look(keys([math.log1p(0.02)] * 4), Rule())[0] == "pass"


def test_two_wild_pairs_are_bounded_by_no_number():
    decided, (found,) = look(keys([-30.0, 30.0]), Rule())
    assert decided == found.verdict == "undecided"
    assert (found.high, found.detectable) == (None, None) and found.low >= 0


def test_the_errors_are_split_over_the_looks_evenly():
    means = np.linspace(0.02, 0.1, 400)

    def edge(rule):
        return next(mean for mean in means if look(keys(slower(mean)), rule)[0] == "fail")

    # R: qt(1 - 0.01/5, 3) is 8.053; at 1 % it is 4.5407; error 0.0057735.
    error = 0.01 / math.sqrt(3)
    assert edge(Rule(looks=(4,))) == pytest.approx(math.log(1.02) + T_99 * error, abs=3e-4)
    assert edge(Rule(looks=(4, 6, 8, 10, 12))) == pytest.approx(math.log(1.02) + 8.053 * error, abs=4e-4)


@pytest.mark.parametrize(("pairs", "delta"), [(4, 9.538920), (8, 2.662686), (12, 1.771621)])
def test_what_could_be_seen_is_that_of_rs_power_t_test(pairs, delta):
    # R: power.t.test(n = pairs, sd = 1, sig.level = 0.01/3/7, power = 0.9, type = "one.sample",
    # alternative = "one.sided")$delta, in standard deviations above the null.
    found = math.log1p(detectable(0.01, pairs, Rule(), 7)) - math.log(1.02)
    assert found / 0.01 == pytest.approx(delta, rel=1e-5)


def test_what_could_be_seen_is_seen_nine_times_in_ten():
    rng = np.random.default_rng(12)
    rule = Rule(looks=(8,))
    least = detectable(0.04, 8, rule, 3)
    rows = rng.normal(math.log1p(least), 0.04, (2_000, 8)).tolist()
    steady = [0.0, 0.001] * 4
    failed = sum(look(keys(row, steady, steady), rule)[0] == "fail" for row in rows) / 2_000
    # Four standard errors of 2,000 are 2.7 %.
    assert failed == pytest.approx(0.9, abs=0.027)


def test_what_can_be_seen_grows_with_pairs_and_shrinks_with_noise_and_metrics():
    rule = Rule()
    assert detectable(0.03, 12, rule, 7) < detectable(0.03, 8, rule, 7) < detectable(0.03, 4, rule, 7)
    assert detectable(0.02, 12, rule, 7) < detectable(0.03, 12, rule, 7) < detectable(0.03, 12, rule, 14)
    assert detectable(0.0, 12, rule, 7) == pytest.approx(0.02)
    assert detectable(0.0, 12, Rule(fail_on="limit"), 7) == pytest.approx(0.1)
    assert detectable(0.0, 12, Rule(fail_on="limit"), 7, 0.05) == pytest.approx(0.05)
    assert detectable(0.03, 1, rule, 7) == math.inf


@pytest.mark.parametrize(
    "odd",
    [
        {"tolerance": 0.2},
        {"looks": ()},
        {"looks": (4, 4)},
        {"looks": (3,)},
        {"looks": (8, 4)},
        {"looks": (0,)},
    ],
)
def test_rules_that_make_no_sense(odd):
    with pytest.raises(ValueError):
        Rule(**odd)
