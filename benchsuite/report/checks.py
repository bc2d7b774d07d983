"""What passed a workload's check, and what a dataset is, in words and cells."""

from collections.abc import Iterator
from typing import Final

from benchsuite.report.units import NOTHING, dollars, number, rounded
from benchsuite.types import Check, Estimate, Run, Summary, Workload
from benchsuite.workload.spreads import described

PASS_RATE: Final = "pass_rate"
PASSED_COST: Final = "usd_per_1k_passed"

_KINDS: Final = {
    "exact": "exactly the expected answer",
    "contains": "the expected answer is in it",
    "regex": "it matches a pattern",
    "json-schema": "JSON of the schema, equal to what is expected",
    "choice": "it names the expected choice and no other",
}


def check_words(check: Check) -> str:
    """`contains: the expected answer is in it`."""
    return f"{check.kind}: {_KINDS[check.kind]}"


def answer_words(workload: Workload) -> str:
    """How long a dataset's answers may be: `answers of at most 200 tokens`."""
    most = [described(length) for length in workload.output_tokens if length != 0]
    return f"answers of at most {' or '.join(most)} tokens" if most else "answers as long as its rows say"


def pass_cell(row: Summary) -> str:
    """`76 %`."""
    found = row.rates.get(PASS_RATE)
    return NOTHING if found is None or found.value is None else percent_of(found.value)


def passed_cost_cell(row: Summary) -> str:
    """`$0.12`; `none passed` where no number is enough."""
    found = row.rates.get(PASSED_COST)
    return NOTHING if found is None else _cost(found)


def passed_lines(run: Run) -> Iterator[str]:
    """A line for a run of one point: how many passed, the interval, what a thousand of them cost."""
    check, rows = run.manifest.workload.check, run.summaries
    if check is None or len(rows) != 1 or PASS_RATE not in rows[0].rates:
        return
    found, cost = rows[0].rates[PASS_RATE], rows[0].rates.get(PASSED_COST)
    if found.value is None:
        return
    text = (
        f"Passed the check ({check.kind}): {round(found.value * found.n):,} of {found.n:,} requests, "
        f"{share_words(found)}"
    )
    if cost is not None:
        text += f"; {_cost(cost)} per 1,000 passed" if cost.value is not None else ""
    yield f"{text}."


def percent_of(share: float) -> str:
    """`76 %`, `99.3 %`."""
    return f"{rounded(100 * share, decimals=1).removesuffix('.0')} %"


def share_words(found: Estimate) -> str:
    """`76 % (63 to 86 %; Wilson, 50 items)`."""
    if found.value is None:
        return number(found)
    text = percent_of(found.value)
    if found.low is None or found.high is None:
        return text
    low, high = (
        rounded(100 * end, digits=2, decimals=1).removesuffix(".0") for end in (found.low, found.high)
    )
    ends = f"{low} to {high} %"
    return f"{text} ({ends}; {found.basis})"


def _cost(found: Estimate) -> str:
    return dollars(found) if found.value is not None else found.basis or NOTHING
