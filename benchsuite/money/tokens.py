"""What hosted models bill by the token: list prices from genai-prices, or prices that were stated.

The catalogue ships inside the package genai-prices and is read offline. Each request is priced alone, since
some prices depend on the size of a single request's input.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from benchsuite.money.gpus import AS_STATED
from benchsuite.types import Record, TokenPrice

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

_PER_MILLION: Final = 1e-6
_CACHED_COUNTS = 4096
Counts = tuple[int, int, int, int, int]
"""Prompt, output, cached, cache-write and one-hour cache-write tokens of a request."""


def stated_price(usd_per_m: tuple[float, ...]) -> TokenPrice:
    """The user's own prices: input, output and, if there is a third, cached input; $ per million tokens."""
    return TokenPrice(
        source=AS_STATED,
        usd_per_m_input=usd_per_m[0],
        usd_per_m_output=usd_per_m[1],
        usd_per_m_cached=usd_per_m[2] if len(usd_per_m) > 2 else None,
    )


def listed_price(
    model: str, *, url: str = "", provider: str = "", batch: bool = False, when: datetime | None = None
) -> TokenPrice | None:
    """The list price of a provider's model on a day (default: now); None: the catalogue doesn't know it.

    The provider is known by its name in the catalogue or by the URL that it answers at.
    """
    from importlib.metadata import version

    day = when or datetime.now(UTC)
    some = (1_000, 1_000, 0, 0, 0)
    found = _calculated(model, url, provider, some, day=day, batch=batch)
    if found is None:
        return None
    if batch:
        standard = _calculated(model, url, provider, some, day=day, batch=False)
        # Where the catalogue has no price for batches it gives the standard one without a word.
        if standard is None or found.total_price >= standard.total_price:
            return None
    cached = _calculated(model, url, provider, (1_000, 0, 1_000, 0, 0), day=day, batch=batch)
    has_cached = getattr(found.model_price, "cache_read_mtok", None) is not None
    return TokenPrice(
        provider=found.provider.id,
        model=found.model.id,
        source=f"genai-prices {version('genai-prices')}",
        date=day.date().isoformat(),
        batch=batch,
        usd_per_m_input=float(found.input_price * 1_000),
        usd_per_m_output=float(found.output_price * 1_000),
        usd_per_m_cached=float(cached.input_price * 1_000) if cached and has_cached else None,
    )


def meter(price: TokenPrice) -> Callable[[Record], float | None]:
    """A function from a record to its dollars; None where its tokens aren't known, or the price any more.

    A failed request costs what its tokens cost, where the server counted some: providers bill them.
    """
    per_counts = pricer(price)

    def usd(record: Record) -> float | None:
        if record.prompt_tokens is None or record.output_tokens is None:
            return None
        return per_counts(
            record.prompt_tokens,
            record.output_tokens,
            record.cached_tokens or 0,
            record.cache_write_tokens or 0,
            record.cache_write_1h_tokens or 0,
        )

    return usd


def pricer(price: TokenPrice) -> Callable[[int, int, int, int, int], float | None]:
    """A function from `Counts` to dollars. Reasoning tokens are output tokens and billed like them."""
    if price.source == AS_STATED:
        cached_usd = price.usd_per_m_input if price.usd_per_m_cached is None else price.usd_per_m_cached

        def stated(prompt: int, output: int, cached: int, _write: int, _write_1h: int) -> float | None:
            fresh = (prompt - cached) * price.usd_per_m_input
            return _PER_MILLION * (fresh + cached * cached_usd + output * price.usd_per_m_output)

        return stated
    day = datetime.fromisoformat(price.date).replace(tzinfo=UTC)

    @lru_cache(maxsize=_CACHED_COUNTS)
    def listed(*counts: int) -> float | None:
        found = _calculated(price.model, "", price.provider, counts, day=day, batch=price.batch)
        return None if found is None else float(found.total_price)

    return listed


def _calculated(
    model: str, url: str, provider: str, counts: tuple[int, ...], *, day: datetime, batch: bool
) -> "PriceCalculation | None":
    """The catalogue's calculation; None: it knows no such provider or model."""
    from genai_prices import Usage, calc_price

    prompt, output, cached, write, write_1h = counts
    usage = Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=write,
        # Counted within the writes; models without such a price have none to count.
        **({"cache_write_1h_tokens": write_1h} if write_1h else {}),
    )
    where: dict[str, Any] = {"provider_id": provider} if provider else {"provider_api_url": url}
    if batch:
        where["price_context"] = {"processing": "batch"}
    try:
        return calc_price(usage, model.rpartition("models/")[2], genai_request_timestamp=day, **where)
    except (LookupError, ValueError):
        return None
