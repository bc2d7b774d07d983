"""In what order trials are measured: blocks that a drift can't make look like an effect."""

from collections import Counter
from itertools import pairwise
from statistics import mean

import msgspec
import pytest

from benchsuite.measure import first_of
from benchsuite.replay import placeholder
from benchsuite.workload.order import blocks, steps

TRIALS = 5
POINTS = (0, 1, 2, 3)


def placed(seed, order="blocks", points=POINTS, trials=TRIALS):
    return list(blocks(points, trials, order=order, seed=seed))


def test_each_block_has_every_point_once_with_the_trial_of_its_number():
    order = placed(seed=3)
    for number in range(TRIALS):
        block = order[number * len(POINTS) : (number + 1) * len(POINTS)]
        assert sorted(point for point, _ in block) == list(POINTS)
        assert {trial for _, trial in block} == {number + 1}


def test_the_seed_decides_the_order_and_blocks_differ():
    assert placed(seed=1) == placed(seed=1) != placed(seed=2)
    order = [tuple(point for point, _ in placed(1)[i : i + 4]) for i in range(0, 20, 4)]
    assert len(set(order)) > 2


def test_every_point_comes_first_about_as_often_as_any_other():
    firsts = Counter(placed(seed)[0][0] for seed in range(2000))
    assert set(firsts) == set(POINTS)
    # 500 each: a standard deviation is 19.
    assert max(abs(count - 500) for count in firsts.values()) < 4 * 19.4


def test_listed_measures_one_point_after_the_other():
    assert placed(0, "listed", points=(0, 1), trials=2) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def drifted(order):
    """The difference between two equal points where each trial is 1 % slower than the one before."""
    seen = {0: [], 1: []}
    for place, (point, _) in enumerate(order):
        seen[point].append(1.01**place)
    return mean(seen[1]) / mean(seen[0]) - 1


def test_a_drift_shows_as_an_effect_where_points_are_listed_and_not_in_blocks():
    found = [drifted(placed(seed, points=(0, 1))) for seed in range(400)]
    listed = drifted(placed(0, "listed", points=(0, 1)))
    assert listed > 0.045
    assert abs(mean(found)) < 0.001
    assert max(map(abs, found)) < listed / 3


@pytest.mark.parametrize("order", ["blocks", "listed"])
def test_a_point_is_warmed_up_before_its_first_trial_and_briefly_wherever_it_returns(order):
    found = list(steps(placed(7, order), trials=TRIALS))
    assert [(step.point, step.trial) for step in found if step.trial] == placed(7, order)
    warmed = set()
    for before, step in pairwise([None, *found]):
        if step.trial:
            assert before is not None and before.point == step.point
        else:
            assert step.short == (step.point in warmed)
            warmed.add(step.point)
    assert len(warmed) == len(POINTS)
    if order == "listed":
        assert not any(step.short for step in found)


def test_one_point_is_warmed_up_once():
    found = list(steps(placed(0, points=(0,)), trials=TRIALS))
    assert [step.trial for step in found] == [0, 1, 2, 3, 4, 5]


def test_what_is_done_is_left_out_and_no_warm_up_is_numbered_like_one_before():
    first = list(steps(placed(1), trials=TRIALS))
    done = {(step.point, step.trial) for step in first[:15] if step.trial}
    again = list(steps(placed(1), trials=TRIALS, done=done, resumed=1))
    assert {(s.point, s.trial) for s in again if s.trial} | done == set(placed(1))
    assert not {(s.point, s.trial) for s in again} & done
    assert all(step.again == 1 for step in again if step.trial)
    numbers = Counter((s.point, s.again) for s in (*first, *again) if not s.trial)
    assert set(numbers.values()) == {1}


@pytest.mark.parametrize(("asked", "sent"), [(1, 3), (3, 3), (4, 4), (5, 7), (7, 7), (99, 7)])
def test_a_short_warm_up_cuts_no_conversation(asked, sent):
    """Turns of 3, 1 and 3: what is left of the last one is sent as well, since a worker waits for it."""
    turns = [(turn, size) for size in (3, 1, 3) for turn in range(size)]
    requests = (
        msgspec.structs.replace(placeholder(), index=index, conversation=0, turn=turn, turns=size)
        for index, (turn, size) in enumerate(turns)
    )
    assert len(list(first_of(requests, asked))) == sent
