"""What a capacity search found, in words: one sentence, each load's share, how sure it is, what it costs."""

from collections.abc import Iterator

from benchsuite.report.units import NOTHING, dollars, rounded
from benchsuite.stats.edge import LEAST_REQUESTS, SLOT_FILLS, filling
from benchsuite.types import Capacity, CapacityCost, Estimate, Manifest, Run, Summary
from benchsuite.workload.slo import limits_text


def capacity_sentence(run: Run, who: str) -> str:
    """The result in one sentence."""
    found = run.capacity
    assert found is not None
    limits = limits_text(run.manifest.workload.slo)
    if found.value is not None:
        return f"{who}: up to {load_text(found, found.value)} with {limits} ({run.verdict})."
    if not found.levels:
        return f"{who}: interrupted before any load was tried ({run.verdict})."
    if run.status == "interrupted":
        return f"{who}: interrupted; {_bracket(found)} ({run.verdict})."
    if found.met is None:
        lowest = min(level.load for level in found.levels)
        return (
            f"{who}: no load meets {limits}: even {load_text(found, lowest)} misses it. "
            "A looser --slo, or a faster server."
        )
    return f"{who}: more than {load_text(found, found.met)} with {limits}: nothing tried was too much."


def tries_told(manifest: Manifest) -> str:
    """How much was tried: `6 loads tried, 1,000 requests a try after a warm-up of 100`."""
    number = len(manifest.points)
    loads = f"{number} load{'s' * (number != 1)} tried"
    if not number:
        return loads
    point = max(manifest.points, key=lambda point: point.rate or point.concurrency or 0.0)
    warm_up = filling(point, manifest.identity.slots)
    told = f"{warm_up:,}"
    if point.rate is None:
        told = f"{SLOT_FILLS} for each in flight ({warm_up:,} at {point.concurrency or 1:,})"
    return f"{loads}, {manifest.workload.requests:,} requests a try after a warm-up of {told}"


def capacity_lines(run: Run) -> Iterator[str]:
    """How sure it is, and what it costs."""
    found = run.capacity
    if found is None or not found.levels:
        return
    if found.value is not None:
        count = len(found.searches)
        ends = [load_text(found, end).partition(" ")[0] for end in (min(found.searches), max(found.searches))]
        each = f"{ends[0]} to {ends[1]}" if ends[0] != ends[1] else ends[0]
        yield (
            f"{count} search{'es' * (count != 1)}, each alone: {each} {_unit(found)}; {_bracket(found)}. "
            f"The result is estimated from all of their levels near the edge."
        )
        if found.requests < LEAST_REQUESTS:
            yield (
                f"note: levels of {found.requests:,} requests find too high a load, as misses come in bursts "
                f"→ --requests {LEAST_REQUESTS}"
            )
        if count < 3:
            yield "note: too few searches to show how much they differ → --searches 3"
    if found.goodput_per_s is not None:
        yield f"Goodput there: {_number(found.goodput_per_s)} requests/s that meet every limit."
    for cost in found.costs:
        yield _cost(cost)
    if found.value is not None and run.manifest.price is None and run.manifest.token_price is None:
        yield "$ at capacity: name what serves with --gpu NAME, or --gpu-price USD."


def met_cell(run: Run, row: Summary) -> str:
    """The least share of a load's requests that met a need, all its tries together: `99.4 % of 3,000`."""
    if run.capacity is None:
        return NOTHING
    levels = [level for level in run.capacity.levels if level.point == row.point.index]
    total = sum(level.requests for level in levels)
    if not total:
        return NOTHING
    names = levels[0].shares
    shares = (sum(level.shares[name] * level.requests for level in levels) / total for name in names)
    tries = f"{sum(level.met for level in levels)}/{len(levels)}"
    return f"{100 * min(shares):.1f} % {tries}"


def load_text(found: Capacity, load: float) -> str:
    """`8.4 req/s`, `12 in flight`."""
    return f"{_number(load) if found.by == 'rate' else f'{load:.0f}'} {_unit(found)}"


def _unit(found: Capacity) -> str:
    return "req/s" if found.by == "rate" else "in flight"


def _bracket(found: Capacity) -> str:
    """The highest load that met the limits and the lowest that missed them."""
    met = "nothing met the limits" if found.met is None else f"met at {load_text(found, found.met)}"
    missed = "missed nowhere" if found.missed is None else f"missed at {load_text(found, found.missed)}"
    return f"{met}, {missed}"


def _cost(cost: CapacityCost) -> str:
    parts = [f"{dollars(Estimate(value=cost.usd_per_1k))} per 1,000 requests"]
    if cost.usd_per_m_tokens is not None:
        parts.append(f"{dollars(Estimate(value=cost.usd_per_m_tokens))} per M tokens")
    if cost.usd_per_m_output_tokens is not None:
        parts.append(f"{dollars(Estimate(value=cost.usd_per_m_output_tokens))} per M output tokens")
    where = "at capacity" if cost.utilisation == 1 else f"at {100 * cost.utilisation:.0f} % of it"
    return f"{where}: {', '.join(parts)}"


def _number(value: float) -> str:
    return rounded(value, digits=3)
