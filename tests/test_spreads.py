"""Lengths that are drawn: mean, deviation and bounds of each kind, against the exact distribution."""

import itertools
import math
import random
import statistics
from collections import Counter

import pytest
from click import BadParameter
from scipy.special import ndtr

from benchsuite.cli.lengths import lengths
from benchsuite.types import Spread
from benchsuite.workload.spreads import described, drawing, mean, most, whole

SPREADS = [
    Spread(kind="uniform", low=100, high=500),
    Spread(kind="normal", mean=512, sd=64),
    Spread(kind="normal", mean=100, sd=100),
    Spread(kind="normal", mean=100, sd=50, low=90, high=110),
    Spread(kind="lognormal", mean=512, sd=300),
    Spread(kind="lognormal", mean=512, sd=1000, low=100, high=4096),
    Spread(kind="lognormal", mean=512, sd=300, high=600),
    Spread(kind="quantiles", quantiles=((0, 10), (0.5, 200), (0.9, 1000), (1, 4000))),
]
NUMBER = 20_000


def values(spread, seed=0):
    one = drawing(spread, random.Random(seed))
    return [one() for _ in range(NUMBER)]


def distribution(spread):
    """The share of values up to x, by the definition of each kind."""
    if spread.kind == "uniform":
        return lambda x: (x - spread.low) / (spread.high - spread.low)
    if spread.kind == "quantiles":
        return lambda x: _share(spread.quantiles, x)
    mu, sigma, bend = spread.mean, spread.sd, float
    if spread.kind == "lognormal":
        sigma = math.sqrt(math.log(1 + (spread.sd / spread.mean) ** 2))
        mu, bend = math.log(spread.mean) - sigma**2 / 2, math.log

    def below(x):
        return float(ndtr((bend(x) - mu) / sigma)) if x > 0 or spread.kind == "normal" else 0.0

    low = below(spread.low)
    return lambda x: (below(x) - low) / (below(most(spread)) - low)


def _share(pairs, x):
    for (left, low), (right, high) in itertools.pairwise(pairs):
        if x <= high:
            return left + (right - left) * (x - low) / (high - low)
    return 1.0


@pytest.mark.parametrize("spread", SPREADS, ids=described)
def test_draws_follow_their_distribution(spread):
    found = sorted(values(spread))
    exact = distribution(spread)
    farthest = max(abs(exact(value) - (at + 0.5) / NUMBER) for at, value in enumerate(found))
    # Kolmogorov and Smirnov: beyond this once in a thousand times.
    assert farthest < 1.95 / math.sqrt(NUMBER)
    assert spread.low <= found[0] and found[-1] <= most(spread)
    error = statistics.stdev(found) / math.sqrt(NUMBER)
    assert abs(statistics.fmean(found) - mean(spread)) < 4 * error


def test_whole_numbers_of_a_uniform_length_are_all_alike():
    one = whole(Spread(kind="uniform", low=1, high=3), random.Random(0))
    shares = {value: count / NUMBER for value, count in Counter(one() for _ in range(NUMBER)).items()}
    assert shares == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 1 / 3}, abs=0.015)
    assert whole(7, random.Random(0))() == 7
    normal = whole(Spread(kind="normal", mean=100, sd=9), random.Random(0))
    assert {type(normal()) for _ in range(9)} == {int}


def test_means_and_deviations_are_those_of_the_values_themselves():
    for spread in (SPREADS[1], SPREADS[4]):
        found = values(spread)
        assert statistics.fmean(found) == pytest.approx(spread.mean, rel=0.02)
        assert statistics.stdev(found) == pytest.approx(spread.sd, rel=0.03)


def test_the_mean_of_what_is_cut_is_that_of_what_is_left():
    assert mean(Spread(kind="normal", mean=100, sd=100)) == pytest.approx(128.7, abs=0.2)
    assert mean(Spread(kind="lognormal", mean=512, sd=300, high=600)) == pytest.approx(364.6, abs=0.5)
    assert "365" in described(Spread(kind="lognormal", mean=512, sd=300, high=600))


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_distributions_of_a_single_value_end(kind):
    for spread in (
        Spread(kind=kind, mean=100, sd=10, low=100, high=100),
        Spread(kind=kind, mean=100, sd=0),
    ):
        assert {round(value, 6) for value in values(spread)[:50]} == {100}
        assert mean(spread) == pytest.approx(100)


def test_the_same_numbers_give_the_same_draws_one_number_each():
    for spread in SPREADS:
        used = random.Random(3)
        one = drawing(spread, used)
        first = [one() for _ in range(5)]
        again = drawing(spread, random.Random(3))
        assert first == [again() for _ in range(5)]
        by_hand = random.Random(3)
        for _ in range(5):
            by_hand.random()
        assert used.random() == by_hand.random()


# ---------------------------------------------------------------- as people type them


def test_lengths_are_numbers_or_distributions():
    assert lengths("128,512") == (128, 512)
    assert lengths("128;512") == (128, 512)
    assert lengths("uniform:100-500") == (Spread(kind="uniform", low=100, high=500),)
    assert lengths("normal:512,64") == (Spread(kind="normal", mean=512, sd=64),)
    assert lengths("2048; lognormal:512,300 ;lognormal:512,300,4096") == (
        2048,
        Spread(kind="lognormal", mean=512, sd=300),
        Spread(kind="lognormal", mean=512, sd=300, high=4096),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ten", "write 512, or 128,512"),
        ("128,normal:512,64", "a semicolon stands between several"),
        ("zipf:2", "uniform:100-500"),
        ("uniform:500-100", "low that isn't above its high"),
        ("lognormal:512", "lognormal:MEAN,SD"),
        ("normal:512,64,100", "mean between its low and its high"),
        ("64,64", "the same length twice"),
    ],
)
def test_what_is_no_length_is_told_how_to_write_one(text, said):
    with pytest.raises(BadParameter, match=said):
        lengths(text)
