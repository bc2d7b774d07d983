"""`make prove`: do comparisons err as seldom as they say? Simulated with the library's own functions.

Prints what was asked and what was found, and writes it as docs/statistics.md. Seeded: the same figures
each time. A single number of a trial is a logarithm with normal noise; a trial of requests is a queue.
"""

import argparse
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, ndtr
from statistics_page import Row, introduction, mark, page

from benchsuite.stats.changes import FRESH, changes, fresh
from benchsuite.stats.gate import Rule, look
from benchsuite.stats.history import HISTORY, band, beyond
from benchsuite.stats.quantiles import trial_estimate

Floats = NDArray[np.float64]

SEED = 20261128
JOBS = 4_000
RULE = Rule()
QUEUES = 1_000
NOISES = ("iid", "AR(1) 0.5", "drift 1 %", "outliers 10 %")
SHARED = 0.8
"""The correlation of metrics that depend on each other."""
UTILISATION, REQUESTS = 0.8, 1_000


def noise(
    rng: np.random.Generator, kind: str, shape: tuple[int, int, int], cv: float, shared: float
) -> Floats:
    """Noise of trials in the order in which they're measured: jobs × metrics × trials, in logarithms."""
    jobs, _, trials = shape
    values = math.sqrt(1 - shared) * rng.normal(size=shape)
    values += math.sqrt(shared) * rng.normal(size=(jobs, 1, trials))
    if kind == "AR(1) 0.5":
        for at in range(1, trials):
            values[..., at] = 0.5 * values[..., at - 1] + math.sqrt(0.75) * values[..., at]
    values *= cv
    if kind == "drift 1 %":
        values += math.log(1.01) * np.arange(trials)
    if kind == "outliers 10 %":
        # A trial that met something is 20 % slower in all its metrics.
        values += math.log(1.2) * (rng.random((jobs, 1, trials)) < 0.1)
    return values


def pairs_of(values: Floats, order: str) -> Floats:
    """Log slowdowns of B against A, from trials in time: ABBA, or four of one and then four of the other."""
    trials = np.arange(values.shape[-1])
    if order == "ABBA":
        first, second = values[..., 0::2], values[..., 1::2]
        sign = np.where(np.arange(first.shape[-1]) % 2 == 0, 1.0, -1.0)
        return np.asarray(sign * (second - first))
    a, b = trials[trials % 8 < 4], trials[trials % 8 >= 4]
    return np.asarray(values[..., b] - values[..., a])


def decide(slower: Floats, rule: Rule) -> tuple[str, int]:
    """One job, look by look, as a gate goes on: what it said and after how many pairs. Metrics × pairs."""
    said, pairs = "undecided", 0
    for pairs in rule.looks:
        seen = {(f"m{at}", 0): row[:pairs] for at, row in enumerate(slower.tolist())}
        said, _ = look(seen, rule)
        if said != "undecided":
            break
    return said, pairs


class Rates(NamedTuple):
    """Shares of jobs that failed and passed, and how many pairs they took on the mean."""

    fails: float
    passes: float
    pairs: float


def gates(
    rng: np.random.Generator,
    *,
    true: Sequence[float],
    rule: Rule = RULE,
    kind: str = "iid",
    cv: float = 0.03,
    shared: float = 0.0,
    order: str = "ABBA",
    jobs: int = JOBS,
) -> Rates:
    """Many gates, of metrics whose true slowdowns are `true`; `cv` is a single trial's, in each arm."""
    trials = 2 * rule.looks[-1]
    slower = pairs_of(noise(rng, kind, (jobs, len(true), trials), cv, shared), order)
    slower = slower + np.log1p(np.asarray(true))[:, None]
    said = [decide(job, rule) for job in slower]
    return Rates(
        fails=sum(one == "fail" for one, _ in said) / jobs,
        passes=sum(one == "pass" for one, _ in said) / jobs,
        pairs=sum(pairs for _, pairs in said) / jobs,
    )


def queue(rng: np.random.Generator, trials: int, *, service: str = "exponential", slots: int = 1) -> Floats:
    """Response times in an M/M/c or M/D/c queue at that utilisation: trials × requests, after a warm-up.

    In units of the mean service.
    """
    shape = (2 * REQUESTS, trials)
    gaps = rng.exponential(1 / (UTILISATION * slots), shape)
    services = rng.exponential(size=shape) if service == "exponential" else np.ones(shape)
    return responses(gaps, services, slots)[:, REQUESTS:]


def responses(gaps: Floats, services: Floats, slots: int = 1) -> Floats:
    """What each waits and is served, first come first served: requests × trials to trials × requests."""
    trials = np.arange(gaps.shape[1])
    now, free, found = np.zeros(len(trials)), np.zeros((slots, len(trials))), np.empty_like(gaps)
    for at, (gap, service) in enumerate(zip(gaps, services, strict=True)):
        now += gap
        slot = free.argmin(axis=0)
        end = np.maximum(now, free[slot, trials]) + service
        free[slot, trials] = end
        found[at] = end - now
    return found.T


def coverage(found: Sequence[Floats], trials: int, q: float, truth: float) -> float:
    """How often the library's interval of the pooled quantile holds the truth; a job is trials × requests."""
    held = 0
    for job in found:
        estimate = trial_estimate(list(job[:trials]), q)
        assert estimate.low is not None and estimate.high is not None
        held += estimate.low <= truth <= estimate.high
    return held / len(found)


def within_one_trial(trials: Floats, q: float, truth: float) -> float:
    """How often a distribution-free 95 % interval that takes requests as independent holds the truth."""
    n = trials.shape[1]
    low, high = (int(bdtrik(share, n, q)) for share in (0.025, 0.975))
    ordered = np.sort(trials, axis=1)
    return float(((ordered[:, low] <= truth) & (truth <= ordered[:, high])).mean())


def mann_whitney(one: Floats, other: Floats) -> float:
    """Two-sided p of Mann and Whitney's test on all requests pooled, without ties."""
    n, m = one.size, other.size
    ranks = np.empty(n + m)
    ranks[np.argsort(np.concatenate([one.ravel(), other.ravel()]))] = np.arange(1, n + m + 1)
    u = ranks[:n].sum() - n * (n + 1) / 2
    return float(2 * ndtr(-abs(u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)))


def common_numbers(rng: np.random.Generator, pairs: int, same: bool, slots: int = 1) -> float:
    """The standard deviation of the pairs' log-ratio of p99, with the same arrivals and requests or new ones.

    Each arm's server takes 2 % more or less for a request, and a trial of it 1 %, on its own account.
    """
    shape = (2 * REQUESTS, pairs)
    p99 = []
    gaps = services = np.empty(shape)
    for arm in range(2):
        if arm == 0 or not same:
            gaps = rng.exponential(1 / (UTILISATION * slots), shape)
            services = rng.exponential(size=shape)
        own = np.exp(rng.normal(0, 0.02, shape) + rng.normal(0, 0.01, pairs))
        p99.append(np.quantile(responses(gaps, services * own, slots)[:, REQUESTS:], 0.99, axis=1))
    return float(np.log(p99[1] / p99[0]).std(ddof=1))


def history_alarms(rng: np.random.Generator, cv: float, metrics: int = 7, jobs: int = JOBS) -> float:
    """How often an unchanged build is alarmed about, in any metric; each number varies by `cv`."""
    values = np.exp(rng.normal(0, cv, (jobs, metrics, HISTORY + 3))).tolist()
    alarms = (
        any(beyond(row[HISTORY:], band(row[:HISTORY], "lower"), "lower") for row in job) for job in values
    )
    return sum(alarms) / jobs


def share(value: float, jobs: int) -> str:
    """A share with its Monte-Carlo standard error; none seen is below 3 in so many jobs, at 95 %."""
    if value in {0.0, 1.0}:
        return f"{100 * value:.0f} % (± {300 / jobs:.2f})"
    return f"{100 * value:.2f} % ± {100 * math.sqrt(value * (1 - value) / jobs):.2f}"


def false_fails(jobs: int) -> Iterator[Row]:
    """A/A, and at the null's edge."""
    part = "Failing wrongly"
    for number, kind in enumerate(NOISES):
        for metrics in (5, 7):
            for shared in (0.0, SHARED):
                for edge, rule in ((0.02, Rule()), (0.0, Rule(tolerance=0.0))):
                    rng = np.random.default_rng(
                        [SEED, 1, number, metrics, round(10 * shared), round(100 * edge)]
                    )
                    rates = gates(rng, true=[edge] * metrics, rule=rule, kind=kind, shared=shared, jobs=jobs)
                    how = "independent" if not shared else f"correlated {shared:g}"
                    where = "true slowdown 2 % = tolerance" if edge else "tolerance 0, no slowdown"
                    setting = f"{kind}; {metrics} metrics, {how}; {where}"
                    yield Row(
                        part, "fails", setting, "≤ 1.5 %", share(rates.fails, jobs), rates.fails <= 0.015
                    )
    for order, asked in (("ABBA", "≤ 1.5 %"), ("AAAA BBBB", "> 1.5 %")):
        rng = np.random.default_rng([SEED, 2])
        rates = gates(rng, true=[0.0] * 5, kind="drift 1 %", order=order, jobs=jobs)
        holds = (rates.fails <= 0.015) == (order == "ABBA")
        setting = f"{order}; drift 1 % per trial; 5 metrics; no slowdown, tolerance 2 %"
        yield Row(part, "fails", setting, asked, share(rates.fails, jobs), holds)


def power(jobs: int) -> Iterator[Row]:
    """What is caught, what passes, and after how many pairs."""
    part, setting = (
        "Catching, passing, pairs",
        "trial cv 3 % per arm, independent; 5 metrics, one slower by {:g} %",
    )
    rng = np.random.default_rng([SEED, 3])
    for slowdown, asked in ((0.10, "≥ 90 %"), (0.05, "printed")):
        rates = gates(rng, true=[slowdown, 0, 0, 0, 0], jobs=jobs)
        holds = rates.fails >= 0.9 if slowdown == 0.10 else None
        text = setting.format(100 * slowdown)
        yield Row(part, "fails", text, asked, share(rates.fails, jobs), holds)
        yield Row(part, "passes", text, "printed", share(rates.passes, jobs), None)
        yield Row(part, "pairs on the mean", text, "printed", f"{rates.pairs:.1f}", None)
    for cv in (0.01, 0.02, 0.03, 0.05):
        rates = gates(rng, true=[0.0] * 5, cv=cv, jobs=jobs)
        text = f"nothing slower; trial cv {100 * cv:g} % per arm, independent; 5 metrics"
        yield Row(part, "passes", text, "printed", share(rates.passes, jobs), None)
        yield Row(part, "pairs on the mean", text, "printed", f"{rates.pairs:.1f}", None)
    for cv, metrics in ((0.03, 1), (0.03, 5), (0.01, 5)):
        # Failing on the limit, or it would fail long before it could pass.
        for fail_on in ("tolerance", "limit"):
            rates = gates(
                rng, true=[0.1, *[0.0] * (metrics - 1)], cv=cv, rule=Rule(fail_on=fail_on), jobs=jobs
            )
            text = f"one of {metrics} slower by 10 % = limit; trial cv {100 * cv:g} %; fail on the {fail_on}"
            yield Row(part, "passes", text, "≤ 2.5 %", share(rates.passes, jobs), rates.passes <= 0.025)


def intervals(jobs: int) -> Iterator[Row]:
    """Coverage of the interval of a pooled quantile, and of those that know a single trial."""
    part, levels = "Intervals of quantiles", (0.5, 0.9, 0.99)
    queues = (("M/M/1", "exponential", 1), ("M/D/1", "constant", 1), ("M/M/8", "exponential", 8))
    for number, (name, service, slots) in enumerate(queues):
        every = queue(np.random.default_rng([SEED, 4, number]), 10 * jobs, service=service, slots=slots)
        found = [every[10 * at : 10 * at + 10] for at in range(jobs)]
        # M/M/1's are exponential of rate 1 − utilisation; of the others, all requests together say it.
        truth = dict(zip(levels, np.quantile(every, levels).tolist(), strict=True))
        if name == "M/M/1":
            truth = {q: -math.log(1 - q) / (1 - UTILISATION) for q in levels}
        for q, trials in ((q, trials) for q in levels for trials in (3, 5, 10) if q < 0.99 or trials > 3):
            held = coverage(found, trials, q, truth[q])
            least, most = (0.9, 1.0) if q < 0.99 else labelled(found[0][:trials], q)
            asked = "≥ 90 %" if q < 0.99 else f"{100 * least:g} to {100 * most:g} %"
            text = f"{name} at 0.8, {trials} trials of 1,000 requests, p{100 * q:g}"
            yield Row(part, "covers", text, asked, share(held, jobs), least <= held <= most)
        for q in levels:
            held = within_one_trial(every, q, truth[q])
            text = f"{name} at 0.8, within one trial of 1,000, requests as if independent, p{100 * q:g}"
            holds = 0.05 <= held <= 0.34
            yield Row(part, "covers", text, "5 to 34 %", share(held, 10 * jobs), holds, False)
        held = coverage(found, 1, 0.5, truth[0.5])
        text = f"{name} at 0.8, one trial of 1,000 cut in ten (“this trial only”), p50"
        yield Row(part, "covers", text, "printed", share(held, jobs), None)


def labelled(trials: Floats, q: float) -> tuple[float, float]:
    """Which coverage the library itself prints beside such an interval."""
    said = re.search(r"(\d+) to (\d+) %", trial_estimate(list(trials), q).basis)
    assert said is not None
    return int(said[1]) / 100, int(said[2]) / 100


def trends(jobs: int) -> Iterator[Row]:
    """Steps of a series: warned of where there is none, seen, and put where they are."""
    part, rng = "Steps of a trend", np.random.default_rng([SEED, 6])
    for numbers in (12, 16, 19, 40, 100, 200):
        rows = rng.normal(size=(jobs, numbers)).tolist()
        old, young = [bool(changes(row)) for row in rows], [fresh(row) is not None for row in rows]
        text = f"{numbers} independent numbers without a step"
        rate = sum(young) / jobs
        held = rate <= FRESH + 3 * math.sqrt(FRESH / jobs)
        yield Row(part, "fresh (◁)", text, f"≤ {100 * FRESH:g} %", share(rate, jobs), held)
        rate = sum(map(any, zip(old, young, strict=True))) / jobs
        yield Row(part, "a step (◀) or fresh", text, "≤ 1 %", share(rate, jobs), rate <= 0.01)
    for numbers in (19, 40):
        rows = noise(rng, "AR(1) 0.5", (jobs, 1, numbers), cv=1.0, shared=0.0)[:, 0].tolist()
        rate = sum(bool(changes(row)) or fresh(row) is not None for row in rows) / jobs
        text = f"{numbers} numbers like their neighbours (AR(1) 0.5) without a step: not what is assumed"
        yield Row(part, "a step (◀) or fresh", text, "printed", share(rate, jobs), None)
    for numbers, at, size in ((19, 11, 3), (19, 11, 5), (40, 30, 5), (40, 38, 5), (40, 35, 5)):
        rows = rng.normal(size=(jobs, numbers)) + size * (np.arange(numbers) >= at)
        found = [changes(row) for row in rows.tolist()]
        seen = [steps for steps in found if steps]
        text = f"a step of {size} standard deviations after {at} of {numbers} numbers"
        yield Row(part, "seen (◀)", text, "printed", share(len(seen) / jobs, jobs), None)
        if len(seen) > jobs / 2:
            right = sum(at in [step.at for step in steps] for steps in seen) / len(seen)
            yield Row(part, "in its place, of those seen", text, "printed", share(right, len(seen)), None)
        else:
            young = sum(fresh(row) is not None for row in rows.tolist()) / jobs
            yield Row(part, "fresh (◁)", text, "printed", share(young, jobs), None)


def others(jobs: int) -> Iterator[Row]:
    """What other ways of comparing say of an unchanged server."""
    part, rng = "Other ways", np.random.default_rng([SEED, 5])
    fifth = max(jobs // 5, 100)
    for slots, trials in ((1, 1), (1, 3), (8, 1), (8, 3)):
        both = queue(rng, 2 * trials * fifth, slots=slots).reshape(fifth, 2, trials, REQUESTS)
        alarms = sum(mann_whitney(one, other) < 0.05 for one, other in both) / fifth
        text = f"Mann-Whitney at 5 % on pooled requests, {trials} × 1,000 in each arm, M/M/{slots} at 0.8"
        yield Row(part, "false alarms", text, "up to 39 %", share(alarms, fifth), alarms <= 0.39, False)
    for cv in (0.05, 0.08):
        ratios = np.exp(rng.normal(0, cv, (10 * jobs, 2)) @ np.array([1.0, -1.0]))
        alarms = float((ratios > 1.1).mean())
        text = f"slower by more than 10 %, one run against one, cv {100 * cv:g} % each"
        holds = 0.085 <= alarms <= 0.205
        yield Row(part, "false alarms", text, "9 to 20 %", share(alarms, 10 * jobs), holds, False)
    for slots in (1, 8):
        for same, asked in ((False, 0.22), (True, 0.06)):
            sd = common_numbers(rng, jobs, same, slots)
            which = "the same" if same else "new"
            text = f"{which} arrivals and requests in both arms, M/M/{slots} at 0.8, 1,000 requests"
            found = f"{sd:.3f} ± {sd / math.sqrt(2 * jobs):.4f}"
            holds = abs(sd - asked) <= 0.01
            yield Row(part, "sd of the pair's log p99 ratio", text, f"{asked:g}", found, holds, False)
    for cv, metrics, asked in ((0.03, 4, 0.016), (0.05, 4, 0.037), (0.03, 7, None), (0.05, 7, None)):
        alarms = history_alarms(rng, cv, metrics, jobs)
        text = f"history of ten, three new trials, {metrics} independent metrics, cv {100 * cv:g} %"
        told, holds = "printed", None
        if asked is not None:
            told, holds = f"{100 * asked:g} %", abs(alarms - asked) <= 4 * math.sqrt(asked / jobs)
        yield Row(part, "false alarms", text, told, share(alarms, jobs), holds, False)


PARTS = ((false_fails, JOBS), (power, JOBS), (intervals, QUEUES), (trends, JOBS), (others, JOBS))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 if every promise holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, help="Fewer simulations, for trying.")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/statistics.md"))
    asked = parser.parse_args(argv)
    rows: list[Row] = []
    for part, jobs in PARTS:
        begun = time.process_time()
        for row in part(asked.jobs or jobs):
            rows.append(row)
            print("  ".join((mark(row), row.claim, row.found, f"({row.asked})", row.setting)), flush=True)
        print(f"{part.__name__}: {time.process_time() - begun:.0f} s of CPU", file=sys.stderr)
    asked.output.write_text(page(rows, introduction(SEED, JOBS, QUEUES)))
    return 0 if all(row.holds is not False for row in rows if row.promised) else 1


if __name__ == "__main__":
    raise SystemExit(main())
