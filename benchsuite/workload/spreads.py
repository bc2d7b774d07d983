"""Lengths that are drawn: what a distribution's mean and most are, and its draws."""

import math
import random
from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist

from benchsuite.types import Spread

_NORMAL = NormalDist()
_LEAST_SHARE = 1e-16
_SAME = 0.02
"""A mean that cutting moves by no more is still called what was asked."""
_FAR = 4.0
"""Standard deviations beyond which an unbounded distribution is cut."""


def mean(length: float | Spread) -> float:
    """The mean of a length as it is drawn, cut where it is cut."""
    if not isinstance(length, Spread):
        return length
    if length.kind == "uniform":
        return (length.low + length.high) / 2
    if length.kind == "quantiles":
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(length.quantiles))
    mu, sigma, low, high = _standard(length)
    share = _NORMAL.cdf(high) - _NORMAL.cdf(low)
    if not share:
        # Nothing is left to draw from but the bounds, or nothing varies.
        return min(max(length.mean, length.low), most(length))
    if length.kind == "normal":
        return mu + sigma * (_NORMAL.pdf(low) - _NORMAL.pdf(high)) / share
    return length.mean * (_NORMAL.cdf(high - sigma) - _NORMAL.cdf(low - sigma)) / share


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


def least(length: float | Spread) -> float:
    """The shortest that it can be."""
    if not isinstance(length, Spread):
        return length
    return length.quantiles[0][1] if length.kind == "quantiles" else length.low


def described(length: float | Spread) -> str:
    """A length in a few words: `512`, `100 to 500 (uniform)`, `about 512 (lognormal, sd 300)`."""
    if not isinstance(length, Spread):
        return f"{length:g}"
    if length.kind == "uniform":
        return f"{length.low:g} to {length.high:g} (uniform)"
    if length.kind == "quantiles":
        return f"{length.quantiles[0][1]:g} to {most(length):g} (quantiles, mean {_short(mean(length))})"
    bounds = f", at least {length.low:g}" if length.low else ""
    bounds += f", at most {most(length):.0f}"
    true = mean(length)
    if abs(true - length.mean) <= _SAME * length.mean:
        return f"about {length.mean:g} ({length.kind}, sd {length.sd:g}{bounds})"
    return f"about {_short(true)} ({length.kind} of mean {length.mean:g} and sd {length.sd:g}, cut{bounds})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def drawing(length: float | Spread, draw: random.Random) -> Callable[[], float]:
    """A function whose calls give one draw after another, by `draw`; a fixed length takes no number."""
    if not isinstance(length, Spread):
        return lambda: length
    if length.kind == "uniform":
        return lambda: draw.uniform(length.low, length.high)
    if length.kind == "quantiles":
        return lambda: _between(length, draw.random())
    mu, sigma, low, high = _standard(length)
    first, last = _NORMAL.cdf(low), _NORMAL.cdf(high)
    least, longest = length.low, most(length)
    bend = math.exp if length.kind == "lognormal" else float

    def cut() -> float:
        # By the inverse of the distribution: one number a draw, however narrow what is left of it.
        share = first + (last - first) * draw.random()
        value = bend(mu + sigma * _NORMAL.inv_cdf(min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)))
        return min(max(value, least), longest)

    return cut


def whole(length: float | Spread, draw: random.Random) -> Callable[[], int]:
    """The same as whole numbers; those of a uniform length are all alike, its bounds included."""
    if isinstance(length, Spread) and length.kind == "uniform":
        low, high = round(length.low), round(length.high)
        return lambda: draw.randint(low, high)
    one = drawing(length, draw)
    return lambda: round(one())


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


def _standard(length: Spread) -> tuple[float, float, float, float]:
    """A normal or lognormal distribution as mean and deviation of a normal one, and its bounds in those."""
    low, high = length.low, most(length)
    mu, sigma = length.mean, length.sd
    if length.kind == "lognormal":
        mu, sigma = _logarithmic(length)
        low, high = (math.log(low) if low else -math.inf), math.log(high)
    if not sigma:
        return mu, sigma, 0.0, 0.0
    return mu, sigma, (low - mu) / sigma, (high - mu) / sigma
