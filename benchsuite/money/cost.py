"""What requests and tokens cost on hardware that is paid by the hour, at the load that was measured."""

from collections.abc import Mapping

from benchsuite.types import Estimate, Price

_SECONDS_PER_HOUR = 3600.0


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
    usd_per_s = price.count * price.usd_per_gpu_hour / _SECONDS_PER_HOUR
    requests, output = rates["requests_per_s"], rates["output_tokens_per_s"]
    costs = {"cost_per_1k_usd": requests.under(1e3 * usd_per_s)}
    if prompt_tokens is not None:
        everything = _sum(output, requests.times(prompt_tokens))
        costs["cost_per_m_tokens_usd"] = everything.under(1e6 * usd_per_s)
    costs["cost_per_m_output_tokens_usd"] = output.under(1e6 * usd_per_s)
    return costs


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
