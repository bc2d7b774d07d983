"""Is the GPU that was stated, and priced, the one that serves? What the machine and the server say to it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from benchsuite.money.gpus import as_typed, book, find
from benchsuite.money.names import contradict
from benchsuite.types import Noun

_SHARED_BY: Final = (
    ("tp", "tensor_parallel"),
    ("pp", "pipeline_parallel"),
    ("dp", "data_parallel"),
)
"""How a model is laid out over GPUs: the setting's name, and what a server's own details call it."""


class Use(Noun, frozen=True, kw_only=True):
    """How many GPUs a server uses, and by what: `tp 4 × dp 2`; not `exact`: these or more."""

    count: int
    by: str
    exact: bool


class Doubt(Noun, frozen=True, kw_only=True):
    """What speaks against the GPU stated, and what to do."""

    message: str
    advice: str


def gpus_used(engine: Mapping[str, str], details: Mapping[str, str]) -> Use | None:
    """GPUs that a server uses by its settings (of an engine of ours) and by its own word; None: unknown.

    Settings that were left out are 1. A server's word goes before them; where it tells only some, the
    others may be more than 1.
    """
    factors = {
        setting: factor
        for setting, detail in _SHARED_BY
        if (factor := _whole(details.get(detail, "")) or _whole(engine.get(setting, "")))
    }
    if not factors:
        return None
    count = math.prod(factors.values())
    by = {setting: factor for setting, factor in factors.items() if factor > 1} or factors
    return Use(
        count=count,
        by=" × ".join(f"{setting} {factor}" for setting, factor in by.items()),
        exact=len(factors) == len(_SHARED_BY) or any(setting in engine for setting, _ in _SHARED_BY),
    )


def contradiction(
    stated: str, here: Sequence[str] | None, said: str, used: Use | None = None, priced: str = ""
) -> Doubt | None:
    """What speaks against the GPU stated (`H100x8`); None: nothing does.

    `here`: NVML's names of all NVIDIA GPUs of the serving machine, None where that can't be known.
    `said`: the server's own word, empty where it has none. `priced`: the card whose listed price was
    used, empty where none was. Names that the book doesn't have are never contradicted, nor is another
    maker's GPU by what NVML sees.
    """
    if not stated:
        return None
    name, count = as_typed(stated)
    gpu = find(name)
    if gpu is not None and gpu.maker != "NVIDIA":
        here = None
    other = _other_card(name, count, here, said) if gpu is not None else None
    if other is not None:
        return Doubt(
            message=f"{stated} was stated, but {other}", advice="leave --gpu out, or state what serves"
        )
    return _other_count(name, count, used) or _other_price(name, count, here, said, priced)


def _other_card(name: str, count: int, here: Sequence[str] | None, said: str) -> str | None:
    # A word like `cuda` names no GPU and contradicts none.
    if said and contradict(name, said) and any(not contradict(known.name, said) for known in book()):
        return f"the server says {said}"
    if here is None:
        return None
    if not here:
        return "this machine has no NVIDIA GPU"
    fitting = [each for each in here if not contradict(name, each)]
    if not fitting:
        return f"this machine has {_counted(here)}"
    if len(fitting) < count:
        return f"this machine has only {len(fitting)} × {fitting[0]}"
    return None


def _other_count(name: str, count: int, used: Use | None) -> Doubt | None:
    if used is None or used.count == count or (used.count < count and not used.exact):
        return None
    were, gpus = "were" if count > 1 else "was", "GPUs" if used.count > 1 else "GPU"
    return Doubt(
        message=f"{count} × {name} {were} stated, but the server uses {used.count} {gpus} ({used.by})",
        advice=f"state {_typed(name, used.count)}",
    )


def _other_price(name: str, count: int, here: Sequence[str] | None, said: str, priced: str) -> Doubt | None:
    """The name stated fits the card that is there, but means another one in the price book."""
    heard = [each for each in (here or ()) if not contradict(name, each)] if priced else []
    others = [each for each in heard if contradict(priced, each)]
    if others and len(heard) - len(others) < count:
        who = "the machine"
    elif priced and said and not contradict(name, said) and contradict(priced, said):
        who, others = "the server", [said]
    else:
        return None
    cards = [each if (gpu := find(each)) is None else gpu.name for each in others]
    known = len(set(cards)) == 1 and find(cards[0]) is not None
    return Doubt(
        message=f"the price of {priced} was used, but {who} has {' and '.join(dict.fromkeys(cards))}",
        advice=f"state {_typed(cards[0], count)}" if known else "state the price: --gpu-price USD",
    )


def _counted(names: Sequence[str]) -> str:
    """`NVIDIA L4`, or `2 × NVIDIA L4 and 1 × …` where there are several."""
    if len(names) == 1:
        return names[0]
    return " and ".join(f"{count} × {name}" for name, count in Counter(names).items())


def _typed(name: str, count: int) -> str:
    """The option as it is typed: `--gpu H100x8`, `--gpu 'H100 PCIe x8'`."""
    if " " not in name:
        return f"--gpu {name}x{count}" if count > 1 else f"--gpu {name}"
    return f"--gpu '{name} x{count}'" if count > 1 else f"--gpu '{name}'"


def _whole(text: str) -> int | None:
    """A count of 1 or more; None: it is none."""
    return int(text) or None if text.isascii() and text.isdigit() else None
