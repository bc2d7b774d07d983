"""docs/statistics.md: claims of how often comparisons err as a page of tables."""

from collections.abc import Sequence
from typing import NamedTuple

COMMAND = "python scripts/prove_statistics.py"


class Row(NamedTuple):
    """A claim: what was asked of it, what was found, and its Monte-Carlo standard error, as text.

    `promised`: a claim of ours; what isn't is a figure told of other ways, and may come out differently.
    """

    part: str
    claim: str
    setting: str
    asked: str
    found: str
    holds: bool | None
    promised: bool = True


def mark(row: Row) -> str:
    """Whether what was asked was found; nothing was asked of what is only printed."""
    return {True: "yes", False: "**no**", None: "–"}[row.holds]


def page(rows: Sequence[Row], introduction: str) -> str:
    """The page: a table for each part, what it means above it."""
    parts = dict.fromkeys(row.part for row in rows)
    broken = [row for row in rows if row.promised and row.holds is False]
    text = [introduction, "", f"Promises that don't hold here: {len(broken) or 'none'}."]
    text += [f"- {row.setting}: {row.claim} {row.found}, promised {row.asked}" for row in broken]
    for part in parts:
        text += [f"\n## {part}\n\n{PROSE[part]}\n\n{HEAD}"]
        text += [
            f"| {row.claim} | {row.setting} | {row.asked} | {row.found} | {mark(row)} |"
            for row in rows
            if row.part == part
        ]
    return "\n".join(text) + "\n"


def introduction(seed: int, jobs: int, queues: int) -> str:
    """How it was made: the seed, and how many jobs a row of gates and one of intervals are."""
    return f"""# How often comparisons err

Simulated with the functions that decide in earnest. `{COMMAND}` makes this
page, from the same seed ({seed}) always the same; a part of it runs in the tests. After ± stands the
simulation's own standard error; “0 % (± 0.08)” says that none was seen, and that the true share is below
0.08 % with 95 %. A row of gates is {jobs:,} gates, a row of intervals {queues:,} jobs. A “cv” is that of a
single trial in one arm, before pairing; noise is normal in logarithms. “Printed” isn't promised."""


HEAD = "| what | setting | asked | found | holds |\n| --- | --- | --- | --- | --- |"

PROSE = {
    "Failing wrongly": """A gate with looks after 4, 8 and 12 pairs, which by construction fails wrongly in at
most 1 % of cases. At the edge, every metric is just as much slower as the tolerance allows. Outliers: one
trial in ten is 20 % slower in all its metrics. Measured in turn (ABBA), a drift falls out; with four trials
of one arm and then four of the other, it is taken for a slowdown.""",
    "Catching, passing, pairs": """A slowdown of 10 % must be caught; how often one of 5 % is, is printed and
not promised: it lies between what never fails and what must be caught, and mostly passes. A build just as
slow as the limit passes in at most 2.5 % of cases.""",
    "Intervals of quantiles": """The quantile of all trials pooled, its standard error from leaving out one
trial at a time. Response times in a queue are like their neighbours', so an interval from within one trial
that takes its requests as independent seldom holds the truth (5 to 34 % was told of them, from a queue that
wasn't stated; it isn't a promise). The p99's is labelled with what it covers: the label is what is asked.""",
    "Steps of a trend": """A step is one of Pettitt's test at 1 %; fresh are the newest numbers where all of
them lie beyond all before. Each metric has these rates of its own, each time that it is asked.""",
    "Other ways": """What other ways of comparing say of a server that hasn't changed. “Asked” is here the
figure told of them elsewhere, from a setting that wasn't stated: “no” says that it is another in this one.
For the common random numbers, each arm's server varies on its own by 2 % a request and 1 % a trial.""",
}
