"""A gate as text: the verdict in one sentence, a table of what it rests on, and what to do about it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from benchsuite.differences import differs_in
from benchsuite.gate.baseline import TRIALS, Aged
from benchsuite.gate.decide import Noise, Verdict, seen_as, slowdown_seen
from benchsuite.gate.limits import Checked
from benchsuite.report.compare import title
from benchsuite.report.markdown import escaped, markdown_row
from benchsuite.report.points import Column
from benchsuite.report.render import table, words
from benchsuite.report.screen import short_id
from benchsuite.report.units import NOTHING, dollars, number, rounded, several
from benchsuite.stats.gate import POWER, uncertainty
from benchsuite.stats.series import MEASURES
from benchsuite.store.runs import as_json
from benchsuite.types import Decided, Estimate, Judged, Point, Run
from benchsuite.workload.places import place_of

_WORDS: Final[Mapping[Decided, str]] = MappingProxyType(
    {"pass": "PASS", "fail": "FAIL", "undecided": "UNDECIDED"}
)
_LIVE = ("metric", "A", "B", "B worse by", "at least", "at most", "limit", "verdict")
_AGED = ("metric", "median of 10 runs", "this run", "worse by", "band", "verdict")
_CHECKED = ("limit", "this run", "interval", "verdict")
_MORE_DIGITS = 6
_Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def gate_screen(found: Verdict, *, width: int, styled: bool = False) -> str:
    """A gate for a terminal; ends without a line feed."""
    lines = [words(sentence(found), width=width, styled=styled, style="bold"), ""]
    for heading, rows in _tables(found):
        columns = [
            Column(heading=(name,), cells=tuple(cells), left=at in {0, len(heading) - 1}, whole=True)
            for at, (name, cells) in enumerate(zip(heading, zip(*rows, strict=True), strict=True))
        ]
        lines += [table(columns, width=width, styled=styled), ""]
    lines += [words(f" {line}", width=width, indent=3) for line in _notes(found)]
    return "\n".join(lines)


def gate_markdown(found: Verdict) -> str:
    """The same to paste into an issue or a build's summary; ends with a line feed."""
    lines = [f"**{escaped(sentence(found))}**", ""]
    for heading, rows in _tables(found):
        lines += [markdown_row(heading), markdown_row([":--"] + ["--:"] * (len(heading) - 2) + [":--"])]
        lines += [*(markdown_row(row) for row in rows), ""]
    return "\n".join([*lines, *(f"- {escaped(line)}" for line in _notes(found))]) + "\n"


def gate_json(found: Verdict) -> str:
    """All of it but the runs, which are in the store by their ids."""
    fields = {
        "verdict": found.verdict,
        "base": found.base.manifest.run_id if found.base else None,
        "other": found.other.manifest.run_id,
        "targets": {letter: _target(run) for letter, run in (("A", found.base), ("B", found.other)) if run},
        "decision": found.decision,
        "checked": found.checked,
        "history": found.aged,
    }
    return as_json(fields).decode()


def sentence(found: Verdict) -> str:
    """What was decided, and why."""
    reasons = list(_reasons(found))
    said = "; ".join(reasons) if reasons else "every limit is kept"
    return f"{_WORDS[found.verdict]}: {_who(found)}: {said}."


def _who(found: Verdict) -> str:
    """Who was judged; two of one name are told apart by where they are."""
    other = _name(found.other)
    if found.base is None:
        return other
    base, where, base_where = _name(found.base), _where(found.other), _where(found.base)
    if other == base and where != base_where:
        other, base = f"{other} {where}", f"{base} {base_where}"
    return f"{other} (B) against {base} (A)"


def _name(run: Run) -> str:
    manifest = run.manifest
    model = manifest.model.rstrip("/").rsplit("/", 1)[-1] or "its model"
    return f"{model} on {manifest.identity.server} {manifest.identity.version}".rstrip()


def _where(run: Run) -> str:
    """A server that is started here has any free port, which tells nothing."""
    return f"at {run.manifest.url}" if run.manifest.attached else "started here"


def _target(run: Run) -> dict[str, str]:
    manifest = run.manifest
    server = f"{manifest.identity.server} {manifest.identity.version}".rstrip()
    return {"server": server, "model": manifest.model, "url": manifest.url}


def _reasons(found: Verdict) -> Iterator[str]:
    """What speaks for the verdict: failures if it failed, what is open if it is undecided."""
    wanted = found.verdict
    if found.decision is not None:
        judged = [row for row in found.decision.judged if row.verdict == wanted]
        if wanted == "fail" and judged:
            least = found.decision.tolerance
            parts = [
                f"{_at(found, row)} by {_worse(row.ratio, least, row.limit)} "
                f"(at least {_worse(row.low, least, row.limit)}, {_exceeded(row)})"
                for row in judged
            ]
            yield f"worse in {several(parts)} after {found.decision.pairs} pairs"
        elif wanted == "undecided" and found.decision.verdict == "undecided":
            open_ones = [row for row in judged if row.high is not None]
            parts = [f"{_at(found, row)} may be worse by {_worse(row.high, row.limit)}" for row in open_ones]
            after = f"after {found.decision.pairs} pairs"
            yield f"{after} {several(parts)}" if parts else f"{after} nothing can be said"
        elif wanted == "pass":
            yield f"no metric is worse by as much as its limit, after {found.decision.pairs} pairs"
    elif found.base is not None and wanted == "undecided":
        yield "it ended before two pairs were measured"
    for row in found.checked:
        if row.verdict == wanted and wanted != "pass":
            word = "is broken" if wanted == "fail" else "is neither shown kept nor broken"
            yield f"{row.limit.text} {word}{_place(found, row.point)}"
    alarms = [row for row in found.aged if row.alarm]
    if alarms and wanted != "pass":
        parts = [f"{title(row.metric)} by {_worse(row.ratio, row.half)}" for row in alarms]
        yield f"worse than the last {alarms[0].runs} runs in {several(parts)}"
    elif found.aged and wanted == "pass":
        yield f"within the band of the last {found.aged[0].runs} runs"


def _exceeded(row: Judged) -> str:
    """What the lower bound of a slowdown that failed is above."""
    beyond = row.low is not None and row.low > 1 + row.limit
    return "above the limit" if beyond else "above the tolerance"


def _at(found: Verdict, row: Judged | Aged) -> str:
    return title(row.metric) + _place(found, found.other.manifest.points[row.point])


def _place(found: Verdict, point: Point) -> str:
    points = found.other.manifest.points
    return f" at {place_of(point, points)}" if len(points) > 1 else ""


def _apart(show: Callable[[float, int], str], value: float, edges: Iterable[float]) -> str:
    """`value` as `show` has it, in as many digits as tell it from the edges that it isn't.

    `show`: a number in words, with so many digits more than usual.
    """
    others = [edge for edge in edges if not math.isclose(value, edge, rel_tol=1e-6, abs_tol=1e-9)]
    for more in range(_MORE_DIGITS):
        text = show(value, more)
        if text not in {show(edge, more) for edge in others}:
            return text
    return show(value, 0)


def _percent(ratio: float | None, *edges: float) -> str:
    """How much worse, as a signed share: `+2.1 %`; told from the `edges`, which are shares."""
    if ratio is None:
        return NOTHING
    return _apart(_signed, 100 * (ratio - 1), [100 * edge for edge in edges])


def _signed(percent: float, more: int) -> str:
    text = rounded(abs(percent), digits=2 + more, decimals=1 + more)
    return f"{'−' if percent < 0 and float(text.replace(',', '')) else '+'}{text} %"


def _worse(ratio: float | None, *edges: float) -> str:
    """The same in running text, where a loss has no sign."""
    return _percent(ratio, *edges).removeprefix("+")


def _share(share: float, more: int = 0) -> str:
    """`97.3 %`, `100 %`."""
    text = rounded(100 * share, digits=3 + more, decimals=3 + more)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _tables(found: Verdict) -> Iterator[_Table]:
    if found.decision is not None and found.base is not None:
        yield _LIVE, [_live_row(found, found.base, row) for row in found.decision.judged]
    if found.aged:
        yield _AGED, [_aged_row(found, row) for row in found.aged]
    if found.checked:
        yield _CHECKED, [_checked_row(found, row) for row in found.checked]


def _live_row(found: Verdict, base: Run, row: Judged) -> tuple[str, ...]:
    ours, theirs = (_shown(row.metric, _number(run, row)) for run in (base, found.other))
    limit = f"{100 * row.limit:g} %"
    edges = (found.decision.tolerance, row.limit) if found.decision is not None else ()
    worse = tuple(_percent(each, *edges) for each in (row.ratio, row.low, row.high))
    return (_at(found, row), ours, theirs, *worse, limit, row.verdict)


def _aged_row(found: Verdict, row: Aged) -> tuple[str, ...]:
    median, value = (_shown(row.metric, number) for number in (row.median, row.value))
    verdict = "alarm" if row.alarm else "pass"
    band = _apart(_share, row.half, [row.ratio - 1])
    return (_at(found, row), median, value, _percent(row.ratio, row.half), band, verdict)


def _checked_row(found: Verdict, row: Checked) -> tuple[str, ...]:
    limit, estimate = row.limit, row.estimate

    def told(value: float | None, *edges: float) -> str:
        if value is None:
            return NOTHING
        return _apart(lambda one, more: _shown(limit.name, one, more), value, edges)

    if estimate.low is None:
        # Where it is decided, the number itself is held against the limit.
        value, interval = told(estimate.value, limit.value), NOTHING
    else:
        value = told(estimate.value)
        interval = " to ".join(told(end, limit.value) for end in (estimate.low, estimate.high))
    return (limit.text + _place(found, row.point), value, interval, row.verdict)


def _number(run: Run, row: Judged) -> float | None:
    """A metric's number over all trials, as the run's own screen has it."""
    summary = next((one for one in run.summaries if one.point.index == row.point), None)
    found = summary.estimate(row.metric) if summary is not None else None
    return found.value if found is not None else None


def _shown(metric: str, value: float | None, more: int = 0) -> str:
    """A metric's number with its unit, in so many digits more than usual."""
    estimate = Estimate(value=value)
    if "usd" in metric or "cost" in metric:
        return dollars(estimate, more=more)
    if metric in {"error_rate", "pass_rate"} and value is not None:
        return _share(value, more)
    latency = metric.rpartition("_")[2].startswith("p") and metric != "pass_rate"
    unit = MEASURES[metric].unit if metric in MEASURES else "ms" if latency else ""
    return number(estimate, unit="ms" if unit == "ms" else "", more=more)


def _notes(found: Verdict) -> Iterator[str]:
    """What to know of it, and what to do."""
    decision = found.decision
    if decision is not None:
        looks = ", ".join(map(str, decision.looks))
        null = f"{100 * decision.tolerance:g} %" if decision.fail_on == "tolerance" else "its limit"
        yield (
            f"fails where a metric is shown worse by more than {null}, passes where worse by its limit is "
            "ruled out for each; of unchanged builds at most 1 % fail, of those as slow as a limit at most "
            f"2.5 % pass (looked at after {looks} pairs)"
        )
        yield from _of_rates({row.metric: row.limit for row in decision.judged}, "A has", "B has")
        seen = [row.detectable for row in decision.judged if row.detectable is not None]
        if seen:
            yield (
                f"would have failed {slowdown_seen(max(seen))} in any of these {100 * POWER:.0f} times in 100"
            )
        if found.verdict == "undecided" and decision.verdict == "undecided":
            more = 2 * decision.looks[-1]
            yield f"undecided → longer trials (--requests, --duration) or more of them (--pairs {more})"
    if found.aged:
        few = min(row.trials for row in found.aged) < TRIALS
        rate = "about 3 to 6 % are alarmed"
        rate = "more are alarmed with fewer than three trials than with three (--trials 3)" if few else rate
        yield (
            "a history is weaker than two arms in turn: what the machine does differently counts as the "
            f"build's. Of unchanged builds {rate} → --against TARGET measures both"
        )
        yield from _of_rates({row.metric: row.half for row in found.aged}, "the median has", "this run has")
    yield from dict.fromkeys(row.note for row in found.checked if row.note)
    if found.base is not None:
        differs = differs_in(found.base.manifest, found.other.manifest)
        elsewhere = _where(found.base) != _where(found.other)
        told = [
            f"{each.name} ({each.base} → {each.other})"
            for each in differs
            if each.name != "address" or elsewhere
        ]
        yield (
            f"B differs from A in {several(told)}"
            if told
            else "B differs from A in nothing that was recorded"
        )
    for letter, run in (("A", found.base), ("B", found.other)):
        if run is not None:
            name = f"{letter}: " if found.base is not None else ""
            yield f"{name}run {short_id(run.manifest.run_id)}, {run.verdict}"
            for reason in dict.fromkeys(
                warning.message.rstrip(".")
                for row in run.summaries
                for warning in row.warnings
                if warning.level == "suspect"
            ):
                yield f"{name}suspect: {reason}"


def _of_rates(shares: Mapping[str, float], base: str, other: str) -> Iterator[str]:
    """What worse means where more is better: a ratio, so that the loss is smaller than the share of it.

    `shares`: what each metric is held against.
    """
    for share in dict.fromkeys(share for name, share in shares.items() if MEASURES[name].better == "higher"):
        less = rounded(100 * share / (1 + share), digits=2, decimals=1)
        yield (
            f"where more is better, worse by {_share(share)} means that {base} {1 + share:.4g} times as "
            f"much: {other} {less} % less"
        )


# ---------------------------------------------------------------- noise


def noise_screen(
    noise: Noise,
    least: Mapping[tuple[str, int], float],
    points: Sequence[Point],
    *,
    pairs: int,
    cost: str,
    width: int,
    styled: bool = False,
) -> str:
    """How much a server's pairs differ, and the smallest slowdown that a gate of so many pairs sees.

    `cost`: what such a gate takes, in words.
    """
    heading = ("metric", "sd of a pair", f"seen in {pairs} pairs")
    several_points = len(points) > 1
    rows = []
    for key, share in least.items():
        place = f" at {place_of(points[key[1]], points)}" if several_points else ""
        cells = (_share(noise.sd[key]), seen_as(share))
        rows.append((title(key[0]) + place, *cells))
    worst = max(least.values(), default=0.0)
    said = (
        f"A gate sees {slowdown_seen(worst)} in any of these here, "
        f"9 times in 10 and in at most {pairs} pairs."
    )
    columns = [
        Column(heading=(name,), cells=tuple(cells), left=not at, whole=True)
        for at, (name, cells) in enumerate(zip(heading, zip(*rows, strict=True), strict=True))
    ]
    fewest, most = uncertainty(noise.pairs)
    notes = [
        f"from {noise.pairs} pairs of the same server against itself (run {short_id(noise.run_id)}); with so "
        f"many, a true sd may be {fewest:.1f} to {most:.1f} times the one found",
        f"such a gate takes {cost}",
        "a gate of this target and workload refuses limits below these",
    ]
    lines = [words(said, width=width, styled=styled, style="bold"), ""]
    lines += [table(columns, width=width, styled=styled), ""]
    return "\n".join([*lines, *(words(f" {note}", width=width, indent=3) for note in notes)])
