"""A small part of `make prove`: the gate's errors, simulated with the functions of docs/statistics.md.

Bounds are wide enough for their numbers of jobs: three standard errors and more beyond what is promised.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from benchsuite.stats.gate import Rule, look

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
prove = importlib.import_module("prove_statistics")
sys.path.pop(0)

JOBS = 600


def rng(*numbers):
    return np.random.default_rng([20_26, *numbers])


@pytest.mark.parametrize("kind", prove.NOISES)
@pytest.mark.parametrize("edge", [0.0, 0.02])
def test_a_build_within_the_tolerance_seldom_fails(kind, edge):
    # Promised at most 1.5 % of jobs; with 600 of them three standard errors are 1.5 % more.
    rates = prove.gates(rng(1), true=[edge] * 5, rule=Rule(tolerance=edge), kind=kind, jobs=JOBS)
    assert rates.fails <= 0.03


def test_metrics_that_go_together_dont_fail_more_often():
    rates = prove.gates(rng(2), true=[0.02] * 7, shared=prove.SHARED, jobs=JOBS)
    assert rates.fails <= 0.03


def test_ten_percent_on_one_of_five_metrics_is_caught():
    rates = prove.gates(rng(3), true=[0.1, 0, 0, 0, 0], jobs=JOBS)
    assert rates.fails >= 0.9
    assert 4 < rates.pairs <= 12


def test_a_build_as_slow_as_the_limit_seldom_passes():
    # Failing on the limit, so that it isn't stopped by failing first. Promised 2.5 %.
    rates = prove.gates(rng(4), true=[0.1], cv=0.01, rule=Rule(fail_on="limit"), jobs=JOBS)
    assert rates.passes <= 0.045


def test_steady_trials_pass_soon_and_wild_ones_are_undecided():
    steady = prove.gates(rng(5), true=[0.0] * 5, cv=0.01, jobs=200)
    wild = prove.gates(rng(5), true=[0.0] * 5, cv=0.1, jobs=200)
    assert steady.passes >= 0.99 and steady.pairs < 5
    assert wild.passes + wild.fails < 0.2 and wild.pairs > 11


def test_unless_the_arms_are_measured_in_turn_a_drift_fails_the_gate():
    # The same seed, the same noise; only the order differs.
    rates = {
        order: prove.gates(rng(6), true=[0.0] * 5, kind="drift 1 %", order=order, jobs=JOBS)
        for order in ("ABBA", "AAAA BBBB")
    }
    assert rates["ABBA"].fails <= 0.03
    assert rates["AAAA BBBB"].fails > 0.045


def test_the_order_is_abba():
    times = np.arange(8.0)
    assert prove.pairs_of(times, "ABBA").tolist() == [1, -1, 1, -1]
    assert prove.pairs_of(times, "AAAA BBBB").tolist() == [4, 4, 4, 4]


def test_intervals_of_pooled_quantiles_cover_where_those_of_one_trial_dont():
    # M/M/1 at 0.8: response times are exponential of rate 0.2. 200 jobs: three standard errors 6.4 %.
    trials = prove.queue(rng(7), 5 * 200)
    jobs = [trials[5 * at : 5 * at + 5] for at in range(200)]
    for q in (0.5, 0.9):
        truth = -np.log(1 - q) / 0.2
        assert prove.coverage(jobs, 5, q, truth) >= 0.84
        assert prove.within_one_trial(trials, q, truth) < 0.4


def test_the_queue_is_that_of_the_textbook():
    # M/M/1: mean response 1 / (1 - 0.8) = 5; M/D/1: 1 + 0.8 / (2 * 0.2) = 3 (Pollaczek and Khinchin). M/M/8
    # at 0.8: Erlang's C is 0.4576 (offered 6.4), 1 + C / (8 * 0.2) = 1.286.
    for service, slots, mean in (("exponential", 1, 5.0), ("constant", 1, 3.0), ("exponential", 8, 1.286)):
        found = prove.queue(rng(8), 400, service=service, slots=slots).mean()
        assert found == pytest.approx(mean, rel=0.05)


def test_a_history_alarms_more_often_than_pairs_and_about_as_often_as_it_says():
    alarms = [prove.history_alarms(rng(9), cv, jobs=1_000) for cv in (0.03, 0.05)]
    assert alarms[0] < alarms[1] < 0.08


def test_the_page_has_every_claim_and_says_first_what_doesnt_hold():
    rows = [
        prove.Row("Failing wrongly", "fails", "s", "≤ 1.5 %", "1 %", True),
        prove.Row("Other ways", "sd", "s", "0.22", "0.4", False, False),
    ]
    text = prove.page(rows, "# How often")
    assert text.startswith("# How often\n")
    assert "| fails | s | ≤ 1.5 % | 1 % | yes |" in text and "| sd | s | 0.22 | 0.4 | **no** |" in text
    assert "don't hold here: none" in text
    rows.append(prove.Row("Failing wrongly", "fails", "t", "≤ 1.5 %", "2 %", False))
    assert "don't hold here: 1.\n- t: fails 2 %, promised ≤ 1.5 %" in prove.page(rows, "")


def test_intervals_are_asked_for_what_the_library_prints_beside_them():
    least, most = prove.labelled(prove.queue(rng(10), 5), 0.99)
    assert 0.5 < least < most < 0.95


def _ended_by_a_clock(draw, rule, cv, time):
    """One gate whose pairs take as long as its trials are slow, of B almost alone, and that a clock ends."""
    ours, theirs = 0.2 * draw.normal(0.0, cv, 12), draw.normal(np.log(1 + rule.tolerance), cv, 12)
    slower, spent, decided = list(theirs - ours), 0.0, "undecided"
    for pairs, took in enumerate((np.exp(ours) + np.exp(theirs)) / 2, 1):
        spent += took
        over = pairs < 12 and spent * (1 + 1 / pairs) > time
        at = pairs // 2 * 2 if over else pairs
        if pairs in rule.looks or (over and at and at not in rule.looks):
            decided, _ = look({("ttft_p50", 0): slower[:at]}, rule)
        if over or decided != "undecided":
            break
    return decided


@pytest.mark.parametrize("cv", [0.03, 0.3])
def test_a_clock_that_slow_pairs_end_sooner_makes_none_fail_more_often(cv):
    # What ends it isn't independent of what the pairs say. With no share a look it is 1.2 % and more.
    draw, rule = rng(9), Rule()
    found = [_ended_by_a_clock(draw, rule, cv, time) for time in (7.0, 9.0, 10.2) for _ in range(1000)]
    assert found.count("fail") / len(found) <= rule.fails
