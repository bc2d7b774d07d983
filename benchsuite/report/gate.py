"""A gate as text: the verdict in one sentence, a table of what it rests on, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from benchsuite.differences import differs_in
from benchsuite.gate.baseline import Aged
from benchsuite.gate.decide import Noise, Verdict
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

_WORDS: Final[Mapping[Decided, str]] = MappingProxyType(
    {"pass": "PASS", "fail": "FAIL", "undecided": "UNDECIDED"}
)
_LIVE = ("metric", "A", "B", "B slower by", "at least", "at most", "limit", "verdict")
_AGED = ("metric", "median of 10 runs", "this run", "slower by", "band", "verdict")
_CHECKED = ("limit", "this run", "interval", "verdict")
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
    other = _name(found.other)
    return other if found.base is None else f"{other} (B) against {_name(found.base)} (A)"


def _name(run: Run) -> str:
    manifest = run.manifest
    model = manifest.model.rstrip("/").rsplit("/", 1)[-1] or "its model"
    return f"{model} on {manifest.identity.server} {manifest.identity.version}".rstrip()


def _reasons(found: Verdict) -> Iterator[str]:
    """What speaks for the verdict: failures if it failed, what is open if it is undecided."""
    wanted = found.verdict
    if found.decision is not None:
        judged = [row for row in found.decision.judged if row.verdict == wanted]
        if wanted == "fail" and judged:
            parts = [
                f"{_at(found, row)} by {_slower(row.ratio)} (at least {_slower(row.low)}, {_exceeded(row)})"
                for row in judged
            ]
            yield f"slower in {several(parts)} after {found.decision.pairs} pairs"
        elif wanted == "undecided" and found.decision.verdict == "undecided":
            open_ones = [row for row in judged if row.high is not None]
            parts = [f"{_at(found, row)} may be {_slower(row.high)} slower" for row in open_ones]
            after = f"after {found.decision.pairs} pairs"
            yield f"{after} {several(parts)}" if parts else f"{after} nothing can be said"
        elif wanted == "pass":
            yield f"every metric is less slow than its limit, after {found.decision.pairs} pairs"
    elif found.base is not None and wanted == "undecided":
        yield "it ended before two pairs were measured"
    for row in found.checked:
        if row.verdict == wanted and wanted != "pass":
            word = "is broken" if wanted == "fail" else "is neither shown kept nor broken"
            yield f"{row.limit.text} {word}{_place(found, row.point)}"
    alarms = [row for row in found.aged if row.alarm]
    if alarms and wanted != "pass":
        parts = [f"{title(row.metric)} by {_slower(row.ratio)}" for row in alarms]
        yield f"slower than the last {alarms[0].runs} runs in {several(parts)}"
    elif found.aged and wanted == "pass":
        yield f"within the band of the last {found.aged[0].runs} runs"


def _exceeded(row: Judged) -> str:
    """What the lower bound of a slowdown that failed is above."""
    beyond = row.low is not None and row.low > 1 + row.limit
    return "above the limit" if beyond else "above the tolerance"


def _at(found: Verdict, row: Judged | Aged) -> str:
    return title(row.metric) + _place(found, found.other.manifest.points[row.point])


def _place(found: Verdict, point: Point) -> str:
    return f" at {point.label}" if len(found.other.manifest.points) > 1 else ""


def _percent(ratio: float | None) -> str:
    """A slowdown as a signed share: `+2.1 %`."""
    if ratio is None:
        return NOTHING
    percent = 100 * (ratio - 1)
    text = rounded(abs(percent), digits=2, decimals=1)
    return f"{'−' if percent < 0 and float(text.replace(',', '')) else '+'}{text} %"


def _slower(ratio: float | None) -> str:
    """The same in running text, where a slowdown has no sign."""
    return _percent(ratio).removeprefix("+")


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
    bounds = (_percent(row.low), _percent(row.high))
    return (_at(found, row), ours, theirs, _percent(row.ratio), *bounds, limit, row.verdict)


def _aged_row(found: Verdict, row: Aged) -> tuple[str, ...]:
    median, value = (_shown(row.metric, number) for number in (row.median, row.value))
    verdict = "alarm" if row.alarm else "pass"
    return (_at(found, row), median, value, _percent(row.ratio), f"{100 * row.half:.2g} %", verdict)


def _checked_row(found: Verdict, row: Checked) -> tuple[str, ...]:
    name, estimate = row.limit.name, row.estimate
    if name in {"error_rate", "pass_rate"}:
        value = f"{100 * (estimate.value or 0):.2g} %"
        ends = (
            []
            if estimate.low is None
            else [f"{100 * (end or 0):.2g} %" for end in (estimate.low, estimate.high)]
        )
    else:
        known = "cost_per_1k_usd" if "cost" in name or "usd" in name else name
        value = _shown(known, estimate.value)
        ends = [] if estimate.low is None else [_shown(known, end) for end in (estimate.low, estimate.high)]
    interval = " to ".join(ends) or NOTHING
    return (row.limit.text + _place(found, row.point), value, interval, row.verdict)


def _number(run: Run, row: Judged) -> float | None:
    """A metric's number over all trials, as the run's own screen has it."""
    summary = next((one for one in run.summaries if one.point.index == row.point), None)
    found = summary.estimate(row.metric) if summary is not None else None
    return found.value if found is not None else None


def _shown(metric: str, value: float | None) -> str:
    estimate = Estimate(value=value)
    if "usd" in metric:
        return dollars(estimate)
    latency = metric.rpartition("_")[2].startswith("p") and metric != "pass_rate"
    unit = MEASURES[metric].unit if metric in MEASURES else "ms" if latency else ""
    return number(estimate, unit="ms" if unit == "ms" else "")


def _notes(found: Verdict) -> Iterator[str]:
    """What to know of it, and what to do."""
    decision = found.decision
    if decision is not None:
        looks = ", ".join(map(str, decision.looks))
        null = decision.tolerance if decision.fail_on == "tolerance" else decision.limit
        yield (
            f"fails where a slowdown above {100 * null:g} % is shown, passes where one of the limit is ruled "
            "out; "
            f"of unchanged builds at most 1 % fail, of those as slow as a limit at most 2.5 % pass "
            f"(looked at after {looks} pairs)"
        )
        seen = [row.detectable for row in decision.judged if row.detectable is not None]
        if seen:
            least = f"{rounded(100 * max(seen), digits=2, decimals=1)} %"
            yield f"would have failed a slowdown of {least} in any of these {100 * POWER:.0f} times in 100"
        if found.verdict == "undecided" and decision.verdict == "undecided":
            more = 2 * decision.looks[-1]
            yield f"undecided → longer trials (--requests, --duration) or more of them (--pairs {more})"
    if found.aged:
        yield (
            "a history is weaker than two arms in turn: what the machine does differently counts as the "
            "build's. Of unchanged builds about 3 to 6 % are alarmed → --against TARGET measures both"
        )
    yield from dict.fromkeys(row.note for row in found.checked if row.note)
    if found.base is not None:
        differs = differs_in(found.base.manifest, found.other.manifest)
        told = [f"{each.name} ({each.base} → {each.other})" for each in differs if each.name != "address"]
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
        place = f" at {points[key[1]].label}" if several_points else ""
        cells = (f"{100 * noise.sd[key]:.2g} %", f"{rounded(100 * share, digits=2, decimals=1)} %")
        rows.append((title(key[0]) + place, *cells))
    worst = max(least.values(), default=0.0)
    said = (
        f"A gate sees a slowdown of {rounded(100 * worst, digits=2, decimals=1)} % in any of these here, "
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
