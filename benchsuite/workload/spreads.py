"""Lengths that are drawn: what a distribution's mean and most are, and its draws."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

from benchsuite.types import Spread

_FAR = 4.0
"""Standard deviations beyond which an unbounded distribution is cut."""


def mean(length: float | Spread) -> float:
    """The mean of a length; that of a normal or lognormal one before it is cut."""
    if not isinstance(length, Spread):
        return length
    if length.kind == "uniform":
        return (length.low + length.high) / 2
    if length.kind == "quantiles":
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(length.quantiles))
    return length.mean


def most(length: float | Spread) -> float:
    """The longest that it can be."""
    if not isinstance(length, Spread):
        return length
    if length.kind == "quantiles":
        return length.quantiles[-1][1]
    if length.high or length.kind == "uniform":
        return length.high
    if length.kind == "normal":
        return length.mean + _FAR * length.sd
    mu, sigma = _logarithmic(length)
    return math.exp(mu + _FAR * sigma)


def described(length: float | Spread) -> str:
    """A length in a few words: `512`, `100 to 500 (uniform)`, `about 512 (lognormal, sd 300)`."""
    if not isinstance(length, Spread):
        return f"{length:g}"
    if length.kind == "uniform":
        return f"{length.low:g} to {length.high:g} (uniform)"
    if length.kind == "quantiles":
        return f"{length.quantiles[0][1]:g} to {most(length):g} (quantiles, mean {mean(length):.4g})"
    return f"about {length.mean:g} ({length.kind}, sd {length.sd:g})"


def drawing(length: float | Spread, draw: random.Random) -> Callable[[], float]:
    """A function whose calls give one draw after another, by `draw`; a fixed length takes no number."""
    if not isinstance(length, Spread):
        return lambda: length
    if length.kind == "uniform":
        return lambda: draw.uniform(length.low, length.high)
    if length.kind == "quantiles":
        return lambda: _between(length, draw.random())
    high = most(length)
    if length.kind == "normal":
        return _cut(lambda: draw.gauss(length.mean, length.sd), length.low, high)
    mu, sigma = _logarithmic(length)
    return _cut(lambda: draw.lognormvariate(mu, sigma), length.low, high)


def _cut(one: Callable[[], float], low: float, high: float) -> Callable[[], float]:
    def draw() -> float:
        while not low <= (value := one()) <= high:
            pass
        return value

    return draw


def _between(length: Spread, share: float) -> float:
    """The value at a share of a quantile table."""
    for (left, low), (right, high) in pairwise(length.quantiles):
        if share <= right:
            return low + (high - low) * (share - left) / (right - left)
    return length.quantiles[-1][1]


def _logarithmic(length: Spread) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of a lognormal distribution."""
    variance = math.log1p((length.sd / length.mean) ** 2)
    return math.log(length.mean) - variance / 2, math.sqrt(variance)
