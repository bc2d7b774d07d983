"""What a workload with a dataset may say, what a dataset takes the place of, and what comes of reading it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchsuite.errors import UsageError
from benchsuite.types import Source, Spread, Workload
from benchsuite.workload import checks
from benchsuite.workload.draw import Item
from benchsuite.workload.faults import at


def refuse(workload: Workload, where: str) -> None:
    """What makes no sense beside a dataset is a UsageError; `where` begins it."""
    if workload.dataset is None:
        return
    where = at(where, "[prompts] dataset:")
    if workload.trace is not None:
        raise UsageError(f"{where}prompts are a dataset's or as long as a trace's: name one of them")
    lengths = [*workload.prompt_tokens, *(one.prompt_tokens for one in workload.listed)]
    if any(length not in {0, None} for length in lengths if not isinstance(length, Spread)) or any(
        isinstance(length, Spread) for length in lengths
    ):
        raise UsageError(f"{where}a dataset's prompts are as long as they are: leave the prompt tokens out")
    outputs = [*workload.output_tokens, *(one.output_tokens for one in workload.listed)]
    if any(isinstance(length, Spread) for length in outputs):
        raise UsageError(f"{where}output tokens are the most that a dataset's answers may have: one number")
    if {*workload.cache, *(one.cache for one in workload.listed)} - {"cold", None}:
        raise UsageError(
            f"{where}a dataset's prompts share what they share: leave the cache mode out (word for word), "
            'or say "cold" (a line of new words in front of each)'
        )
    if workload.turns != 1:
        raise UsageError(f"{where}a dataset's prompts are no conversations to go on with: leave turns out")


def exchanged(source: Source | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in a workload that gets a dataset in place of its prompts, but for what was `given`.

    Each item is asked once a trial unless requests or a duration are given.
    """
    if source is None:
        return {}
    changes: dict[str, Any] = {
        "dataset": source,
        "trace": None,
        "prompt_tokens": (0,),
        "output_tokens": (0,),
        "salted": "cache" in given,
        "cache": ("cold",),
        "shared_tokens": 0,
        "groups": 1,
        "zipf": 0.0,
        "hit_ratio": (),
        "turns": 1,
        "user_tokens": 0,
        "think_s": 0.0,
        "replies": "fixed",
        "tool_turns": False,
    }
    if "stages" not in given:
        changes |= {"requests": None, "seconds": None}
    return {name: value for name, value in changes.items() if name == "salted" or given.get(name) is None}


def opened(workload: Workload, source: Source, items: Sequence[Item]) -> Workload:
    """The workload with what its dataset turned out to be; a UsageError where that isn't enough for it."""
    outputs = [*workload.output_tokens, *(one.output_tokens for one in workload.listed)]
    if 0 in outputs and not source.longest_output:
        raise UsageError(
            f"not every row of {source.file} has output_tokens: say how long an answer may get, "
            "--output-tokens N or [outputs] tokens"
        )
    checks.ready(workload.check, items, source.file)
    number = workload.requests
    if number is None and workload.seconds is None and not workload.stages:
        number = source.number
    return msgspec.structs.replace(workload, dataset=source, requests=number)


def named(path: str, format: str = "") -> Source:
    """A file as the command line names it, which counts from the current folder."""
    if path.startswith("hf:"):
        return Source(file=path, format=format)
    return Source(file=str(Path(path).expanduser().absolute()), format=format)


def asked_of(source: Source) -> dict[str, str]:
    """What of a dataset is part of the question: its content, whatever it is called, once that is known."""
    content = {"sha256": source.sha256} if source.sha256 else {"file": source.file, "format": source.format}
    return content | {"column": source.column, "split": source.split}


def items_of(source: Source) -> str:
    """`the 50 items of task@1.jsonl`, or the file alone before it was read."""
    several = "item" if source.number == 1 else "items"
    number = f"the {source.number:,} {several}" if source.number else "the items"
    dropped = f" ({source.dropped:,} more without a prompt)" if source.dropped else ""
    name = source.file if source.file.startswith("hf:") else Path(source.file).name
    return f"{number} of {name}{dropped}"


def card_rows(workload: Workload) -> dict[str, str]:
    """What `workloads show` says of a dataset in place of made-up prompts; empty without one."""
    source = workload.dataset
    if source is None:
        return {}
    most = [f"{length}" for length in workload.output_tokens if length]
    thinks = f", reasoning {workload.reasoning}" if workload.reasoning else ""
    salted = "a line of new words stands before each prompt, so no prefix cache can help"
    return {
        "Prompt": f"{items_of(source)}, each once before any comes again",
        "Output": (f"at most {' or '.join(most)} tokens" if most else "as long as its rows say") + thinks,
        "Cache": salted if workload.salted else "word for word: a prefix cache may know what comes again",
    }
