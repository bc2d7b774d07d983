"""What a run's point costs, in words: cells, a clause of the result's sentence, and how it came about."""

from collections.abc import Iterator

from benchsuite.money.gpus import AS_STATED, as_typed, find, nearest, price_of
from benchsuite.report.units import dollars
from benchsuite.types import Manifest, Price, Summary, TokenPrice
from benchsuite.workload.places import place_of

UNKNOWN = "unknown"
COST = "cost_per_1k_usd"


def cost_cell(manifest: Manifest, row: Summary) -> str:
    """`$2.10`; `unknown` where a GPU was named whose price isn't known, empty where none was."""
    if manifest.price is None and manifest.token_price is None:
        return UNKNOWN if manifest.gpu else ""
    return dollars(row.rates.get(COST))


def cost_clause(manifest: Manifest, row: Summary) -> str:
    """`$2.10 per 1,000 requests at 8 in flight; not at capacity`, or nothing without a cost."""
    cost = row.rates.get(COST)
    if cost is None or cost.value is None:
        return ""
    if manifest.price is None:
        batch = " in batches" if manifest.token_price and manifest.token_price.batch else ""
        return f"{dollars(cost)} per 1,000 requests{batch}"
    load = place_of(row.point, manifest.points)
    load = load if row.point.load == "offline" else f"at {load}"
    return f"{dollars(cost)} per 1,000 requests {load}; not at capacity"


def price_note(gpu: str, price: Price | None) -> str | None:
    """Why $ is unknown and what to do, where a GPU was named (as on the command line) without a price."""
    if not gpu or price is not None:
        return None
    name, _ = as_typed(gpu)
    if price_of(gpu, None) is not None:
        return f"this run was stored without the price of {name}, so $ is {UNKNOWN} → measure again"
    near = nearest(name) if find(name) is None else None
    hint = f"did you mean {near}? Or " if near else ""
    return f"the price of {name} isn't known, so $ is {UNKNOWN} → {hint}--gpu-price USD"


def price_lines(manifest: Manifest) -> Iterator[str]:
    """How dollars came about, for `show --how`."""
    price = manifest.price
    if price is None and manifest.token_price is not None:
        yield from _token_lines(manifest.token_price)
        return
    if price is None:
        note = price_note(manifest.gpu, price)
        if note:
            yield f"{note[0].upper()}{note[1:]}."
        return
    count = f"{price.count} GPU{'s' * (price.count != 1)}"
    what = f"{price.count} × {price.gpu}" if price.gpu else count
    where = price.source if price.source == AS_STATED else f"{price.source}, on demand, {price.date}"
    hour = f", {usd(price.count * price.usd_per_gpu_hour)} an hour in all" if price.count > 1 else ""
    yield f"Price: {what} at {usd(price.usd_per_gpu_hour)} per GPU and hour ({where}){hour}."
    yield (
        f"$/1k requests = 1000 × {count} × {usd(price.usd_per_gpu_hour)} / (3600 × req/s), with req/s of "
        "answered requests; $/M tokens likewise from tokens/s."
    )
    yield (
        "It is the cost at this load only: the hour costs the same however much is served in it. At capacity "
        "a request costs least, with hours of little load it costs more."
    )
    if price.source != AS_STATED:
        yield f"Prices change: --gpu-price USD states yours, `benchsuite cost gpus {price.gpu}` shows others."


def _token_lines(price: TokenPrice) -> Iterator[str]:
    """How dollars came about where tokens are billed."""
    cached = "" if price.usd_per_m_cached is None else f", {usd(price.usd_per_m_cached)} cached input"
    whose = f"{price.provider}'s {price.model}" if price.provider else "tokens"
    where = price.source if price.source == AS_STATED else f"{price.source}, {price.date}"
    batch = " in batches" if price.batch else ""
    yield (
        f"Price of {whose}{batch}: {usd(price.usd_per_m_input)} input{cached}, "
        f"{usd(price.usd_per_m_output)} output per million tokens ({where})."
    )
    yield (
        "Each request is priced alone, by the tokens that the server counted: cached ones at their own "
        "price, reasoning ones as output. $/1k requests = 1000 × all that was billed / answered requests."
    )
    if price.source != AS_STATED:
        yield (
            "These are list prices of small requests; large ones and cache writes are priced as the "
            "catalogue says. --token-price IN,OUT[,CACHED] states yours."
        )


def usd(amount: float) -> str:
    """A price from a list, in the digits that it has there, two decimals at least: `$3.99`, `$1.006`."""
    text = f"{amount:.4f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"${int(whole):,}.{cents.ljust(2, '0')}"
