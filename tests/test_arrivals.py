"""When an open loop's requests are due: mean, cv and distribution of each kind, ramps, seeds."""

import math
import statistics
from itertools import islice, pairwise

import numpy as np
import pytest
from scipy.special import gammainc, kolmogorov

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, LoadStage, Workload
from benchsuite.workload.arrivals import offsets_ns, warm_up_count
from benchsuite.workload.card import card
from benchsuite.workload.draw import Draw
from benchsuite.workload.load import overridden
from benchsuite.workload.points import points
from benchsuite.workload.stages import expected, instants_s, parse_stages, slot_times

BASE = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(16,),
    rate=(8.0,),
    requests=20_000,
)
RAMP = "10s@2-200,5s@200,5s@0,10s@40-0"


def due_s(workload, *, seed=0, trial=1, nonce="n", phase="measure"):
    """The arrivals of a trial, in seconds from its start."""
    draw = Draw(
        workload=workload,
        point=points(workload)[0],
        phase=phase,
        trial=trial,
        seed=seed,
        nonce=nonce,
        lengths=Lengths(words=("a",), overhead=0, source="usage"),
    )
    return np.array([offset_ns / 1e9 for offset_ns in offsets_ns(draw)])


def staged(text, **changes):
    return overridden(BASE, stages=parse_stages(text), **changes)


def ks_p(sample, cdf):
    """P of the Kolmogorov-Smirnov distance between a sample and its exact distribution."""
    ordered = np.sort(sample)
    n = len(ordered)
    below = cdf(ordered)
    distance = max(np.max(np.arange(1, n + 1) / n - below), np.max(below - np.arange(n) / n))
    return kolmogorov(distance * math.sqrt(n))


def gamma_gaps(cv, rate):
    shape = 1 / cv**2
    return lambda gaps: gammainc(shape, gaps * rate * shape)


def test_constant_arrivals_are_a_grid_that_never_drifts():
    hour = overridden(BASE, rate=10_000.0, seconds=3600.0, arrivals="constant")
    far = next(islice(offsets_of(hour), 1_000_003, None))
    assert far == 1_000_003 * 100_000
    assert due_s(overridden(BASE, arrivals="constant"))[:3].tolist() == [0.0, 0.125, 0.25]


def offsets_of(workload):
    at = points(workload)[0]
    return offsets_ns(
        Draw(workload=workload, point=at, phase="measure", trial=1, seed=0, nonce="", lengths=None)
    )


def test_an_hour_at_10_000_a_second_is_drawn_as_it_is_taken_and_holds_its_rate():
    hour = overridden(BASE, rate=10_000.0, seconds=3600.0, arrivals_cv=0.5)
    number = 500_000
    last_ns = next(islice(offsets_of(hour), number, None))
    # The standard deviation of that instant is cv·√n mean gaps.
    assert abs(last_ns / 1e5 - number) < 4 * 0.5 * math.sqrt(number)


@pytest.mark.parametrize("cv", [0.3, 1.0, 1.5])
def test_gaps_have_the_mean_the_cv_and_the_distribution_asked(cv):
    due = due_s(overridden(BASE, arrivals="gamma", arrivals_cv=cv))
    gaps = np.diff(due)
    error = cv / math.sqrt(len(gaps))
    assert statistics.mean(gaps) * 8 == pytest.approx(1, abs=4 * error)
    # The standard error of a gamma sample's cv: √((1 + 3·cv² …)/2n) · cv or less.
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(
        cv, rel=4 * math.sqrt((1 + 3 * cv**2) / 2 / len(gaps))
    )
    assert ks_p(gaps, gamma_gaps(cv, 8.0)) > 0.01
    assert ks_p(gaps, gamma_gaps(cv * 1.1, 8.0)) < 0.01


def test_very_bursty_gaps_too_have_their_distribution():
    """Some 4 % of the gaps are below the nanosecond that instants have: they are left out on both sides."""
    gaps = np.diff(due_s(overridden(BASE, arrivals="gamma", arrivals_cv=2.5)))
    cdf, least = gamma_gaps(2.5, 8.0), 1e-6
    there = gaps[gaps > least]
    assert len(there) / len(gaps) == pytest.approx(1 - cdf(least), abs=0.01)
    assert ks_p(there, lambda at: (cdf(at) - cdf(least)) / (1 - cdf(least))) > 0.01
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(2.5, rel=0.1)


def test_poisson_arrivals_are_gamma_arrivals_of_cv_1():
    poisson, gamma = BASE, overridden(BASE, arrivals="gamma", arrivals_cv=1.0)
    assert due_s(poisson).tolist() == due_s(gamma).tolist()
    assert ks_p(np.diff(due_s(poisson)), lambda gaps: 1 - np.exp(-8.0 * gaps)) > 0.01


def test_short_trials_of_bursty_arrivals_hold_the_rate_on_the_mean():
    """An ordinary renewal process of cv 3 would bring four requests too many in each trial."""
    short = overridden(BASE, arrivals="gamma", arrivals_cv=3.0, seconds=5.0)
    counts = [len(due_s(short, trial=trial)) for trial in range(1, 1201)]
    error = statistics.stdev(counts) / math.sqrt(len(counts))
    assert error < 0.6
    assert statistics.mean(counts) == pytest.approx(40, abs=3 * error)


@pytest.mark.parametrize("cv", [1.0, 0.2])
def test_bursts_come_together_at_the_same_rate(cv):
    due = due_s(overridden(BASE, burst_size=5, arrivals_cv=cv))
    bursts = due.reshape(-1, 5)
    assert (bursts == bursts[:, :1]).all()
    gaps = np.diff(bursts[:, 0])
    assert (gaps > 0).all()
    assert statistics.mean(gaps) * 8 / 5 == pytest.approx(1, abs=4 * cv / math.sqrt(len(gaps)))
    assert ks_p(gaps, gamma_gaps(cv, 8.0 / 5)) > 0.01


def test_arrivals_follow_seed_trial_and_phase_but_no_nonce():
    workload = overridden(BASE, arrivals="gamma", arrivals_cv=2.0, requests=50)
    same = due_s(workload).tolist()
    assert due_s(workload).tolist() == due_s(workload, nonce="m").tolist() == same
    for change in ({"seed": 1}, {"trial": 2}, {"phase": "warm_up"}):
        assert due_s(workload, **change)[:8].tolist() != same[:8]


def test_offline_everything_is_due_at_once():
    assert set(due_s(overridden(BASE, rate=math.inf, requests=5))) == {0.0}


# ---------------------------------------------------------------- stages


@pytest.mark.parametrize("arrivals", [{}, {"arrivals_cv": 2.0}, {"burst_size": 4}])
def test_each_slice_of_a_ramp_gets_the_arrivals_that_it_asks_for(arrivals):
    workload = staged(RAMP, **arrivals)
    trials, edges = 60, np.arange(0.0, 31.0, 2.5)
    counts = np.mean(
        [np.histogram(due_s(workload, trial=trial), edges)[0] for trial in range(1, trials + 1)], axis=0
    )
    stages = workload.stages
    wanted = np.array([expected(stages, b) - expected(stages, a) for a, b in pairwise(edges)])
    assert wanted.sum() == pytest.approx(1010 + 1000 + 200)
    spread = max(workload.arrivals_cv**2, workload.burst_size)
    assert (np.abs(counts - wanted) <= 4.5 * np.sqrt(spread * (wanted + 1) / trials)).all()
    assert counts[6] == counts[7] == 0


def test_a_ramp_is_a_poisson_process_of_changing_rate():
    """Through Λ its arrivals have the gaps of rate 1: the exact distribution, not counts alone."""
    workload = staged("20s@0-300,10s@300-30")
    positions = np.array([expected(workload.stages, at) for at in due_s(workload)])
    assert ks_p(np.diff(positions), lambda gaps: 1 - np.exp(-gaps)) > 0.01
    wrong = due_s(workload) * 155
    assert ks_p(np.diff(wrong), lambda gaps: 1 - np.exp(-gaps)) < 1e-6


def test_evenly_spaced_arrivals_on_a_ramp_are_where_it_reaches_whole_numbers():
    due = due_s(staged("4s@0-4,1s@0,1s@2", arrivals="constant"))
    assert due.tolist() == pytest.approx([math.sqrt(2 * n) for n in range(8)] + [5.0, 5.5], abs=1e-9)


def test_the_inverse_of_the_cumulative_rate_loses_no_digits():
    """An hour at 10,000 a second on a slope of next to nothing; the naive formula is off by ms."""
    stages = (LoadStage(seconds=3600.0, rate=(10_000.0, 10_000.000_001)),)
    (at,) = instants_s(stages, [35_999_000.0])
    assert at == pytest.approx(3599.9, abs=1e-6)
    assert list(instants_s(stages, [36_000_001.0])) == []


def test_staged_arrivals_are_new_in_each_trial_and_the_same_for_the_same_seed():
    workload = staged("5s@1-20")
    assert due_s(workload).tolist() == due_s(workload, nonce="m").tolist()
    assert due_s(workload)[:3].tolist() != due_s(workload, trial=2)[:3].tolist()


def test_slots_follow_a_straight_line_rounded():
    times = slot_times(parse_stages("4s@c0-c4,2s@c4,2s@c1-c3,1s@c3"))
    assert times == (
        (0, 0),
        (500_000_000, 1),
        (1_500_000_000, 2),
        (2_500_000_000, 3),
        (3_500_000_000, 4),
        (6_000_000_000, 1),
        (6_500_000_000, 2),
        (7_500_000_000, 3),
    )
    down = slot_times(parse_stages("63s@c64-c1"))
    area = sum(slots * (end - at) for (at, slots), (end, _) in pairwise([*down, (63_000_000_000, 0)]))
    assert area == pytest.approx(63e9 * 32.5)


@pytest.mark.parametrize(
    ("text", "warm_up", "rate", "in_flight"),
    [
        ("5s@3-40", 6, 21.5, None),
        ("5s@0-40", 40, 20.0, None),
        ("5s@c0-c9", 2, None, 9),
        ("5s@c3", 6, None, 3),
    ],
)
def test_a_staged_point_and_its_warm_up(text, warm_up, rate, in_flight):
    workload = staged(text)
    (point,) = points(workload)
    assert (point.rate, point.concurrency) == (rate, in_flight)
    assert point.load == ("open" if rate else "closed")
    assert warm_up_count(workload, point) == warm_up


# ---------------------------------------------------------------- the words for it


def test_stages_as_they_are_typed():
    assert parse_stages("30s@1-10, 1m@10,500ms@0.5") == (
        LoadStage(seconds=30.0, rate=(1.0, 10.0)),
        LoadStage(seconds=60.0, rate=(10.0, 10.0)),
        LoadStage(seconds=0.5, rate=(0.5, 0.5)),
    )
    slots = LoadStage(seconds=30.0, concurrency=(1, 64))
    assert parse_stages("30@c1-c64") == parse_stages("30s@c1-64") == (slots,)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(
            (bad, "isn't a stage")
            for bad in ("", "30s", "30s@", "30s@a", "30s@1-c4", "x@1", "3s@c1.5", "1.2.3s@1")
        ),
        ("0s@4", "lasts longer"),
        ("30s@0,2s@0", "can be 0"),
        ("30s@1,30s@c4", "either all"),
    ],
)
def test_what_is_no_stage_is_refused_in_one_line_that_shows_one(text, word):
    with pytest.raises(UsageError, match=word) as refused:
        parse_stages(text)
    message = str(refused.value)
    assert "\n" not in message
    assert "@" in message or "c10" in message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"concurrency": 4, "arrivals": "constant"}, "say a rate"),
        ({"arrivals": "constant", "arrivals_cv": 2.0}, "a cv goes with"),
        ({"arrivals": "gamma", "burst_size": 4}, "a burst size goes with"),
        ({"arrivals": "burst"}, "add --burst-size N"),
        ({"arrivals_cv": 1000.0}, "from 0.01 to 100"),
        ({"stages": parse_stages("3s@4"), "rate": 4.0}, "leave concurrency, rate"),
        ({"stages": parse_stages("3s@0-0.5")}, "less than one request"),
    ],
)
def test_options_that_would_do_nothing_are_refused(changes, word):
    with pytest.raises(UsageError, match=word):
        overridden(BASE, **changes)


def test_stages_and_other_loads_take_each_other_s_place():
    workload = staged("3s@4,5s@4-9")
    assert (workload.rate, workload.concurrency, workload.requests) == ((), (), None)
    closed = overridden(workload, concurrency=4)
    assert (closed.stages, closed.concurrency, closed.seconds) == ((), (4,), 8.0)
    assert overridden(workload, rate=4.0, requests=10).requests == 10


def test_flags_choose_the_kind_of_arrivals_that_they_belong_to():
    assert overridden(BASE, arrivals_cv=2.0).arrivals == "gamma"
    assert overridden(BASE, burst_size=3).arrivals == "burst"
    both = overridden(BASE, burst_size=3, arrivals_cv=2.0)
    assert (both.arrivals, both.arrivals_cv, both.burst_size) == ("burst", 2.0, 3)
    assert overridden(both, arrivals="constant").burst_size == 1
    closed = overridden(both, concurrency=4)
    assert (closed.arrivals, closed.burst_size) == ("poisson", 1)


def test_the_card_tells_arrivals_and_stages():
    def load(workload):
        return dict(card(workload))["Load"]

    assert load(overridden(BASE, arrivals_cv=2.0)) == "open loop with gamma arrivals (cv 2), 8 req/s"
    assert "in bursts of 4 (Poisson)" in load(overridden(BASE, burst_size=4))
    assert load(staged("3s@1-8,2s@8")).endswith("with Poisson arrivals, req/s: 1 → 8 for 3 s, 8 for 2 s")
    assert load(staged("3s@c1-c8")) == "closed loop in stages, in flight: 1 → 8 for 3 s"
    assert "after 5 s" in dict(card(staged("3s@1-8,2s@8")))["Stop"]
