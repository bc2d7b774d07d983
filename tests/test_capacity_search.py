"""The search for the highest load, as a pure function, on queues whose capacity is computed another way."""

import heapq
import math
import random

import pytest

from benchsuite.stats import edge


def ladder(base=10.0, within=0.05):
    return edge.rates(base, within)


def searched(true, start=10.0, factor=2.0, tried=None):
    """A search where every load up to `true` meets the limits, and no other."""

    def met(load, rough):
        if tried is not None:
            tried.append((load, rough))
        return load <= true

    return edge.search(met, ladder(), start, factor)


@pytest.mark.parametrize("true", [0.5, 3.3, 9.99, 10.0, 17.0, 333.3])
@pytest.mark.parametrize("factor", [1.1, 2.0])
def test_it_ends_between_two_neighbouring_loads(true, factor):
    found = searched(true, factor=factor)
    assert found.met <= true < found.missed
    assert found.missed / found.met <= 1.05


def test_it_says_where_nothing_met_and_where_nothing_missed():
    assert searched(0.0).met is None
    assert searched(0.0).missed == ladder()[0]
    assert searched(math.inf).missed is None
    assert searched(math.inf).met == ladder()[-1]


def test_what_was_only_roughly_met_is_tried_in_full_before_it_counts():
    tried = []
    found = searched(20.0, tried=tried)
    assert (found.met, True) in tried and (found.met, False) in tried

    def optimist(load, rough):
        return load <= 20 if rough else load <= 8

    found = edge.search(optimist, ladder(), 10.0, 2.0)
    assert found.met <= 8 < found.missed


def test_numbers_in_flight_are_whole_and_none_is_passed_over_where_they_are_few():
    found = edge.whole_numbers(0.05)
    assert found[:20] == tuple(map(float, range(1, 21)))
    assert all(each == round(each) for each in found)
    assert edge.search(lambda load, _: load <= 11, found, 1.0, 2.0).met == 11


def test_a_level_has_requests_enough_for_twenty_misses():
    assert edge.requests_needed(0.5) == 1000
    assert edge.requests_needed(0.95) == 1000
    assert edge.requests_needed(0.99) == 2000


def test_only_what_is_clear_is_decided_early():
    assert not edge.failed(250, 1000, 0.95) and edge.failed(251, 1000, 0.95)
    assert not edge.clearly_met(0, 60, 0.95) and edge.clearly_met(0, 80, 0.95)
    draw = random.Random(1)
    wrong = 0
    for _ in range(1000):
        missed = 0
        for seen in range(1, 1001):
            missed += draw.random() < 0.05
            if edge.clearly_met(missed, seen, 0.95):
                wrong += 1
                break
    assert wrong / 1000 <= 0.05


def waits(rate, requests, draw, slots=1, service=0.1):
    """How long each customer of an M/D/c queue was there, and how many were there on the mean."""
    free, at, found = [0.0] * slots, 0.0, []
    for _ in range(requests):
        at += draw.expovariate(rate)
        begins = max(at, heapq.heappop(free))
        heapq.heappush(free, begins + service)
        found.append(begins + service - at)
    return found, rate * sorted(found)[len(found) // 2]


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.25, 2.5])
def test_a_tight_limit_on_one_slot_is_not_given_up(rate):
    """95 % within 105 ms of which service takes 100: met below 5 % of the slot's time, so at 0.5/s."""
    for seed in range(20):
        found, busy = waits(rate, 1000, random.Random(seed))
        assert not edge.hopeless(sum(each > 0.105 for each in found), 1000, 0.95, busy)


@pytest.mark.parametrize("rate", [0.5, 1.25, 4.0])
def test_a_limit_below_what_service_takes_is_given_up_at_any_low_load(rate):
    found, busy = waits(rate, 200, random.Random(1))
    assert edge.hopeless(sum(each > 0.09 for each in found), 200, 0.95, busy)
    assert not edge.hopeless(0, 0, 0.95, busy)


def test_the_edge_is_where_the_share_of_misses_passes_what_is_allowed():
    def tries(share_at):
        return [edge.Try(load=x, requests=10**6, missed=round(1e6 * share_at(x))) for x in (95, 100, 105)]

    def misses(at, slope):
        return lambda load: 0.05 * (load / at) ** slope

    found = edge.edge([tries(misses(101.0, 20))], [0.95], 100.0, ladder())
    assert found == pytest.approx(101.0, rel=1e-3)
    strict = [tries(misses(101.0, 20)), tries(misses(98.0, 20))]
    assert edge.edge(strict, [0.95, 0.95], 100.0, ladder()) == pytest.approx(98.0, rel=1e-3)


SLOTS, SERVICE, LIMIT, SHARE = 4, 1.0, 4.0, 0.9


def in_time(rate, requests, draw):
    """Of an M/D/c queue's customers: was each served within the limit?"""
    free, at, found = [0.0] * SLOTS, 0.0, []
    for _ in range(requests):
        at += draw.expovariate(rate)
        begins = max(at, heapq.heappop(free))
        heapq.heappush(free, begins + SERVICE)
        found.append(begins + SERVICE - at <= LIMIT)
    return found


def true_capacity():
    low, high = 2.0, 4.0
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        good = in_time(middle, 60_000, random.Random(7))[2000:]
        low, high = (middle, high) if sum(good) / len(good) >= SHARE else (low, middle)
    return low


def three_searches(seed):
    draw, tries, middles = random.Random(seed), [], []
    rungs = edge.rates(draw.uniform(0.5, 1.0), 0.05)

    def met(load, rough):
        good = in_time(load, 1100, draw)[100:]
        tries.append(edge.Try(load=load, requests=len(good), missed=len(good) - sum(good)))
        return sum(good) >= SHARE * len(good)

    for number in range(3):
        start, factor = (middles[0], 1.05**2) if number else (rungs[128], 2.0)
        middles.append(edge.search(met, rungs, start, factor).middle)
    return edge.edge([tries], [SHARE], sorted(middles)[1], rungs)


def test_on_a_queue_it_lies_near_the_true_capacity_nine_times_in_ten_and_without_bias():
    true = true_capacity()
    errors = [three_searches(seed) / true - 1 for seed in range(60)]
    near = sum(abs(error) <= 0.05 for error in errors)
    assert near >= 54, errors
    assert abs(sum(errors) / len(errors)) < 0.02
