"""What requests and tokens cost: on hardware paid by the hour, at the load measured, or by the token."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchsuite.types import CapacityCost, Estimate, Price

_SECONDS_PER_HOUR = 3600.0
_UTILISATIONS = (1.0, 0.5, 0.25)


class Counted(NamedTuple):
    """A trial's answered requests, and all their tokens."""

    answered: int
    prompt_tokens: int
    output_tokens: int


def usd_per_s(price: Price) -> float:
    """What all of the hardware costs in a second."""
    return price.count * price.usd_per_gpu_hour / _SECONDS_PER_HOUR


def load_costs(
    rates: Mapping[str, Estimate], prompt_tokens: float | None, price: Price | None
) -> dict[str, Estimate]:
    """Dollars per 1,000 answered requests, per million tokens (prompt + output) and per million output ones.

    They hold at this load only: the hour costs the same however much is served in it. `prompt_tokens`
    is the mean of a request's; where it is unknown there is no cost per million of all tokens. Empty
    without a price.
    """
    if price is None:
        return {}
    per_s = usd_per_s(price)
    requests, output = rates["requests_per_s"], rates["output_tokens_per_s"]
    costs = {"cost_per_1k_usd": requests.under(1e3 * per_s)}
    if prompt_tokens is not None:
        everything = _sum(output, requests.times(prompt_tokens))
        costs["cost_per_m_tokens_usd"] = everything.under(1e6 * per_s)
    costs["cost_per_m_output_tokens_usd"] = output.under(1e6 * per_s)
    return costs


def token_costs(costs_usd: Sequence[float], counts: Sequence[Counted]) -> dict[str, tuple[float, ...]]:
    """The same where tokens are billed: one number a trial, for trials with answered requests.

    `costs_usd[i]` is what trial i's requests cost, failed ones that were billed among them.
    """
    trials = [(usd, each) for usd, each in zip(costs_usd, counts, strict=True) if each.answered]
    prompts_known = all(each.prompt_tokens for _, each in trials)
    outputs_known = all(each.output_tokens for _, each in trials)
    found = {"cost_per_1k_usd": tuple(1e3 * usd / each.answered for usd, each in trials)}
    if prompts_known and outputs_known:
        found["cost_per_m_tokens_usd"] = tuple(
            1e6 * usd / (each.prompt_tokens + each.output_tokens) for usd, each in trials
        )
    if outputs_known:
        found["cost_per_m_output_tokens_usd"] = tuple(1e6 * usd / each.output_tokens for usd, each in trials)
    return found if trials else {}


def _sum(one: Estimate, other: Estimate) -> Estimate:
    """Both rates rise and fall with the requests served, so their intervals add up."""

    def added(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a + b

    return Estimate(
        value=added(one.value, other.value),
        low=added(one.low, other.low),
        high=added(one.high, other.high),
        n=min(one.n, other.n),
        needs=max(one.needs, other.needs),
        basis=one.basis,
    )


def capacity_costs(
    goodput_per_s: float | None, tokens: tuple[float | None, float | None], price: Price | None
) -> tuple[CapacityCost, ...]:
    """What a good request costs at capacity, and where only half or a quarter of it is used.

    `tokens`: a request's mean prompt and output tokens. Empty without a price or without good requests.
    """
    if price is None or not goodput_per_s:
        return ()
    prompt, output = tokens
    usd = price.count * price.usd_per_gpu_hour / _SECONDS_PER_HOUR / goodput_per_s
    return tuple(
        CapacityCost(
            utilisation=used,
            usd_per_1k=1e3 * usd / used,
            usd_per_m_tokens=1e6 * usd / used / (prompt + output) if prompt and output else None,
            usd_per_m_output_tokens=1e6 * usd / used / output if output else None,
        )
        for used in _UTILISATIONS
    )
