"""The timing model: pure draws, repeatable from the seed and the number of the request."""

import math
from random import Random

from benchsuite.simulator.config import SimConfig


def request_rng(seed: int, number: int) -> Random:
    """The randomness of the `number`th completion request, whatever else the server does."""
    return Random(f"{seed}/{number}")


def lognormal(rng: Random, mean: float, cv: float) -> float:
    """One draw with that mean and coefficient of variation; exactly the mean, undrawn, if `cv` is 0."""
    if not cv or not mean:
        return mean
    variance = math.log1p(cv * cv)
    return mean * math.exp(rng.gauss(-variance / 2, math.sqrt(variance)))


def draw_fault(rng: Random, rates: dict[str, float]) -> str:
    """The fault that a request gets, empty for none; takes exactly one draw."""
    drawn = rng.random()
    for fault, rate in rates.items():
        if drawn < rate:
            return fault
        drawn -= rate
    return ""


def first_token_ns(rng: Random, config: SimConfig, computed_tokens: int) -> int:
    """From the begin of service to the first token, with `computed_tokens` of the prompt uncached."""
    drawn_ms = lognormal(rng, config.ttft_ms, config.ttft_cv)
    return round(drawn_ms * 1e6 + computed_tokens * config.prefill_us_per_token * 1e3)


def gap_ns(rng: Random, config: SimConfig, tokens: int, in_service: int) -> int:
    """From one event to the next, which carries `tokens` tokens, with `in_service` answers under way."""
    cv = config.itl_cv
    drawn_ms = sum(lognormal(rng, config.itl_ms, cv) for _ in range(tokens)) if cv else config.itl_ms * tokens
    return round(drawn_ms * 1e6 * (1 + config.batch_slowdown * (in_service - 1)))


def steady_itl_ns(config: SimConfig) -> int:
    """The ITL where it is always the same, whatever is drawn and whoever else is served; else 0."""
    return 0 if config.itl_cv or config.batch_slowdown else round(config.itl_ms * 1e6)
