"""Is the GPU that was stated the one that serves? What the machine and the server say to it."""

from collections import Counter
from collections.abc import Sequence

from benchsuite.money.gpus import as_typed, book, find
from benchsuite.money.names import contradict


def contradiction(stated: str, here: Sequence[str] | None, said: str) -> str | None:
    """What speaks against the GPU stated (`H100x8`), as the end of a sentence; None: nothing does.

    `here`: NVML's names of all NVIDIA GPUs of the serving machine, None where that can't be known.
    `said`: the server's own word, empty where it has none. Names that the book doesn't have are never
    contradicted, nor is another maker's GPU by what NVML sees.
    """
    if not stated:
        return None
    name, count = as_typed(stated)
    gpu = find(name)
    if gpu is None:
        return None
    # A word like `cuda` names no GPU and contradicts none.
    if said and contradict(name, said) and any(not contradict(known.name, said) for known in book()):
        return f"the server says {said}"
    if here is None or gpu.maker != "NVIDIA":
        return None
    if not here:
        return "this machine has no NVIDIA GPU"
    fitting = [each for each in here if not contradict(name, each)]
    if not fitting:
        return f"this machine has {_counted(here)}"
    if len(fitting) < count:
        return f"this machine has only {len(fitting)} × {fitting[0]}"
    return None


def _counted(names: Sequence[str]) -> str:
    """`NVIDIA L4`, or `2 × NVIDIA L4 and 1 × …` where there are several."""
    if len(names) == 1:
        return names[0]
    return " and ".join(f"{count} × {name}" for name, count in Counter(names).items())
