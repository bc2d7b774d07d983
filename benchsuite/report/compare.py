"""Comparisons as text: who is better in what, what the runs differ in, a table, and what to know."""

import csv
import io
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from benchsuite.compare import MORE_TRIALS, ONE_PAIR, Comparison, Row, Side
from benchsuite.report.definitions import METRICS, RATES
from benchsuite.report.markdown import escaped, markdown_row
from benchsuite.report.points import Column
from benchsuite.report.render import table, words
from benchsuite.report.screen import short_id
from benchsuite.report.units import NOTHING, dollars, number, rounded, several
from benchsuite.stats.compare import Finding
from benchsuite.stats.series import MEASURES
from benchsuite.types import Estimate, Point
from benchsuite.workload.places import in_full, place_of

_VERDICTS: Final[tuple[tuple[Finding, str], ...]] = (
    ("better", "better in"),
    ("worse", "worse in"),
    ("same", "the same in"),
    ("undecided", "undecided in"),
)
_SIGNS: Final = MappingProxyType({"better": "✓", "worse": "✗", "same": "=", "undecided": "?"})
_BESIDE = "All runs side by side, each against A: ✓ better, ✗ worse, = the same, ? undecided"
_DIGEST_SHOWN = 12
_SMALL_RATIO = 0.3
_NARROW = 0.02
_LEAST_PERCENT = 0.1
_BLIND = "Intervals know how much the trials of a run differ, not what changed between the runs."
_IN_TURN = (
    "Intervals are of the pairs, with 95 % over all looks at them: what changed slowly while both were "
    "measured falls out of them."
)
_NO_ROWS = "none of these metrics is known of both runs; $ needs a price, such as --gpu H100"
_CSV = (
    *("base_run", "other_run", "prompt_tokens", "output_tokens", "concurrency", "rate", "metric", "unit"),
    *("better", "base", "other", "base_trials", "other_trials", "ratio", "low", "high", "detectable"),
    *("verdict", "note", "paired", "base_group", "other_group", "cache", "hit_ratio", "stream"),
)


def compared_screen(comparisons: Sequence[Comparison], *, width: int, styled: bool = False) -> str:
    """Each comparison for a terminal, one below the other, several after a table of all runs.

    Ends without a line feed.
    """
    parts = []
    if len(comparisons) > 1:
        parts.append(_beside_screen(comparisons, width=width, styled=styled))
    for at, found in enumerate(comparisons, 1):
        letters = ("A", letter(at))
        lines = [words(sentence(found, letters), width=width, styled=styled, style="bold"), ""]
        lines += [words(f" {line}", width=width, indent=3) for line in _who(found, letters)]
        lines += [words(f" {line}", width=width, indent=3) for line in _differences(found, letters)]
        lines += ["", _tables(found, letters, width=width, styled=styled), ""]
        lines += [words(f" {line}", width=width, indent=3) for line in _notes(found, letters)]
        parts.append("\n".join(lines))
    return "\n\n\n".join(parts)


def compared_markdown(comparisons: Sequence[Comparison]) -> str:
    """The same to paste into an issue; ends with a line feed."""
    parts = []
    if len(comparisons) > 1:
        rows = [markdown_row([place, *cells]) for place, cells in _beside(comparisons)]
        names = [letter(at) for at in range(len(comparisons) + 1)]
        head = [markdown_row(["at", "metric", *names]), markdown_row([":--", ":--", *["--:"] * len(names)])]
        told = [f"- {escaped(line)}" for line in _all_names(comparisons)]
        parts.append("\n".join([f"**{_BESIDE}**", "", *told, "", *head, *rows]))
    for at, found in enumerate(comparisons, 1):
        letters = ("A", letter(at))
        headings = ["at", "metric", *letters, f"{letters[1]}/A", "95 %", "verdict", "smallest seen"]
        lines = [f"**{escaped(sentence(found, letters))}**", ""]
        lines += [f"- {escaped(line)}" for line in (*_who(found, letters), *_differences(found, letters))]
        if any(pair.rows for pair in found.points):
            lines += ["", markdown_row(headings), markdown_row([":--", ":--", *["--:"] * 4, ":--", "--:"])]
        else:
            lines += ["", _NO_ROWS]
        for pair in found.points:
            for row in pair.rows:
                lines.append(markdown_row([place_of(pair.point, _points(found)), *_cells(row)]))
        lines += ["", *(f"- {escaped(line)}" for line in _notes(found, letters))]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def compared_csv(comparisons: Sequence[Comparison]) -> str:
    """One row a metric and point, numbers as they are; what there isn't is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for found in comparisons:
        for pair in found.points:
            point = pair.point
            for row in pair.rows:
                effect = row.effect
                writer.writerow(
                    [
                        *(found.base.run_id, found.other.run_id, point.prompt_tokens, point.output_tokens),
                        *(point.concurrency, point.rate, row.metric, row.unit, row.better),
                        *(row.base, row.other, *row.trials, effect.ratio, effect.low, effect.high),
                        *(effect.detectable, effect.verdict, row.note, row.paired),
                        *(found.base.group, found.other.group, point.cache, point.hit_ratio, point.stream),
                    ]
                )
    return text.getvalue()


def letter(at: int) -> str:
    """How the run at this place is called: A, B… Z, then R26."""
    return chr(ord("A") + at) if at < 26 else f"R{at}"


def sentence(found: Comparison, letters: tuple[str, str] = ("A", "B")) -> str:
    """Who is better in what. A metric whose verdict isn't the same at all points is named with its points."""
    verdicts: dict[str, dict[Finding, list[str]]] = {}
    for pair in found.points:
        for row in pair.rows:
            places = verdicts.setdefault(row.metric, {})
            places.setdefault(row.effect.verdict, []).append(place_of(pair.point, _points(found)))
    clauses = []
    for verdict, words_for_it in _VERDICTS:
        names = [
            title(metric) if len(places) == 1 else f"{title(metric)} ({'; '.join(places[verdict])})"
            for metric, places in verdicts.items()
            if verdict in places
        ]
        if names:
            all_of_it = len(names) == len(verdicts) > 1 and all(len(each) == 1 for each in verdicts.values())
            clauses.append(f"{words_for_it} {'all of ' if all_of_it else ''}{several(names)}")
    a, b = letters
    said = "; ".join(clauses) or "no metric in common"
    return f"{_name(found.other)} ({b}) against {_name(found.base)} ({a}): {said}."


def title(metric: str) -> str:
    """A metric's name for people."""
    if metric in RATES:
        return RATES[metric][0]
    name, _, q = metric.rpartition("_")
    return f"{METRICS[name][0]} {q}"


def _name(side: Side) -> str:
    model = side.model.rstrip("/").rsplit("/", 1)[-1] or "the model"
    return f"{model} on {side.server}"


def _who(found: Comparison, letters: tuple[str, str]) -> Iterator[str]:
    """Which runs, and how sound they are."""
    for name, side in zip(letters, (found.base, found.other), strict=True):
        status = "" if side.status == "finished" else f", {side.status}"
        when = side.started[:16].replace("T", " ")
        yield f"{_marked(name, side)}: run {short_id(side.run_id)}, {when} UTC, {side.verdict}{status}"
    if found.paired:
        pairs = "1 pair" if found.paired == 1 else f"{found.paired} pairs"
        a, b = letters
        yield f"{pairs} measured in turn: each trial of {a} is compared with the trial of {b} beside it"


def _marked(name: str, side: Side) -> str:
    return f"{name} ({side.group})" if side.group else name


def _differences(found: Comparison, letters: tuple[str, str]) -> Iterator[str]:
    """What differs, and what was the same."""
    for each in found.differs_in:
        yield f"differs in {each.name}: {each.base} → {each.other}"
    if not found.differs_in:
        yield f"differs in nothing {'else ' if found.also_changed else ''}that was recorded"
    if found.also_changed:
        own = "; ".join(f"{each.name} {each.base} → {each.other}" for each in found.also_changed)
        days = [side.started[:10] for side in (found.base, found.other)]
        when = f"both of {days[0]}" if days[0] == days[1] else f"{days[0]} → {days[1]}"
        yield f"also changed, without being asked for ({when}): {own}"
    asked = f"the same workload {found.workload}"
    if found.digest_equal:
        asked += f" (digest {found.workload_digest[:_DIGEST_SHOWN]})"
    elif found.asked_differently:
        changed = [f"{each.name} ({each.base} → {each.other})" for each in found.asked_differently]
        asked += f" but for {several(changed)}"
    yield f"equal: {asked}; {_prompts(found, letters)}, {found.cache} cache; metrics {found.metrics_version}"
    if found.other_digest and not found.digest_equal:
        digests = [each[:_DIGEST_SHOWN] for each in (found.workload_digest, found.other_digest)]
        yield f"not equal: the workload's digests, {digests[0]} and {digests[1]}"
    alike, both = found.plans
    if both and not alike:
        where = "the one trial that both have" if both == 1 else f"each of {both} trials"
        yield f"sent: other bytes in {where}, by plan digest (first words, seed or model differ)"
    elif both:
        count = "all" if alike == both else alike
        where = "the one trial that both have" if both == 1 else f"{count} of {both} trials"
        yield f"sent: the very same bytes in {where}, by plan digest"


def _prompts(found: Comparison, letters: tuple[str, str]) -> str:
    """In what the prompts were equal, as far as that is known."""
    if found.same == "text":
        return "prompts of the same text"
    sides = zip(letters, (found.base, found.other), strict=True)
    guessed = " and ".join(name for name, side in sides if side.assumed_lengths)
    alike = "prompts of the same number of tokens"
    return f"{alike} as far as known (those of {guessed} are assumed)" if guessed else alike


def _tables(found: Comparison, letters: tuple[str, str], *, width: int, styled: bool) -> str:
    """One table, with a line of its own above each point's rows."""
    rows = [row for pair in found.points for row in pair.rows]
    if not rows:
        return words(f" {_NO_ROWS}", width=width, indent=3)
    headings: tuple[tuple[str, ...], ...] = (
        *((" ",), (letters[0],), (letters[1],), (f"{letters[1]}/A",), ("95 %",), ("verdict",)),
        ("smallest", "seen"),
    )
    cells = zip(*map(_cells, rows), strict=True)
    columns = [
        Column(heading=heading, cells=tuple(column), left=at in {0, 5}, whole=True)
        for at, (heading, column) in enumerate(zip(headings, cells, strict=True))
        if at < len(headings) - 1 or any(column)
    ]
    places = [place_of(pair.point, _points(found)) for pair in found.points for _ in pair.rows]
    return _placed(columns, places, width=width, styled=styled)


def _placed(columns: Sequence[Column], places: Sequence[str], *, width: int, styled: bool) -> str:
    """A table with a line of its own above the rows of each place; `places` has one for each row."""
    lines = table(columns, width=width, styled=styled).split("\n")
    head = len(lines) - len(places)
    shown, last = lines[:head], ""
    for place, line in zip(places, lines[head:], strict=True):
        if place != last:
            shown.append(words(f" At {place}", width=width, styled=styled, style="bold"))
        shown.append(line)
        last = place
    return "\n".join(shown)


def _beside_screen(comparisons: Sequence[Comparison], *, width: int, styled: bool) -> str:
    """All runs in one table; where they need more room than there is, in several that all begin with A."""
    lines = [words(_BESIDE, width=width, styled=styled, style="bold"), ""]
    lines += [words(f" {line}", width=width, indent=3) for line in _all_names(comparisons)]
    rows = list(_beside(comparisons))
    if not rows:
        return "\n".join([*lines, "", words(f" {_NO_ROWS}", width=width, indent=3)])
    metrics, base, *others = (
        Column(heading=(heading,), cells=cells, left=not at, whole=True)
        for at, (heading, cells) in enumerate(
            zip(
                (" ", *(letter(at) for at in range(len(comparisons) + 1))),
                zip(*(cells for _, cells in rows), strict=True),
                strict=True,
            )
        )
    )
    places = [place for place, _ in rows]
    room = width - _room(metrics) - _room(base)
    shown: list[Column] = []
    for column in [*others, None]:
        if column is None or (shown and sum(map(_room, [*shown, column])) > room):
            lines += ["", _placed([metrics, base, *shown], places, width=width, styled=styled)]
            shown = []
        if column is not None:
            shown.append(column)
    return "\n".join(lines)


def _room(column: Column) -> int:
    """How wide a column is, with the space beside it."""
    return max(map(len, (*column.heading, *column.cells))) + 2


def _all_names(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Which letter is which run."""
    sides = [comparisons[0].base, *(found.other for found in comparisons)]
    for at, side in enumerate(sides):
        yield f"{_marked(letter(at), side)}: run {short_id(side.run_id)}, {_name(side)}, {side.verdict}"


def _beside(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A row a metric and point: where, and the cells of the metric, of the base and of each other run."""
    found = {pair.point.index: pair.point for each in comparisons for pair in each.points}
    points = [found[index] for index in sorted(found)]
    rows = [
        {(pair.point.index, row.metric): row for pair in each.points for row in pair.rows}
        for each in comparisons
    ]
    for point in points:
        for metric in MEASURES:
            there = [each.get((point.index, metric)) for each in rows]
            known = [row for row in there if row is not None]
            if known:
                base = next((row for row in known if row.base is not None), known[0])
                cells = (title(metric), _value(base, base.base), *map(_signed, there))
                yield place_of(point, points), cells


def _signed(row: Row | None) -> str:
    """A run's number, and what it is against the base."""
    if row is None:
        return NOTHING
    if row.other is None:
        return row.note or NOTHING
    return f"{_value(row, row.other)} {_SIGNS[row.effect.verdict]}"


def _cells(row: Row) -> tuple[str, ...]:
    """Metric, both values, ratio, interval, verdict, and what could have been seen."""
    effect = row.effect
    ratio = NOTHING if effect.ratio is None else f"×{_ratio(effect.ratio, row)}"
    interval = row.note or NOTHING
    if effect.low is not None and effect.high is not None:
        interval = f"{_ratio(effect.low, row)} to {_ratio(effect.high, row)}"
    unseen = effect.detectable is not None and effect.verdict in {"same", "undecided"}
    percent = 100 * (effect.detectable or 0)
    least = "<0.1" if percent < _LEAST_PERCENT else rounded(percent, digits=2, decimals=1)
    seen = f"{least} %" if unseen else ""
    return (
        title(row.metric),
        _value(row, row.base),
        _value(row, row.other),
        ratio,
        interval,
        effect.verdict,
        seen,
    )


def _ratio(value: float, row: Row) -> str:
    """In two or three decimals, the same for the ratio and its interval: those that tell them apart."""
    effect = row.effect
    least = min(each for each in (effect.low, effect.ratio) if each is not None)
    fine = least < _SMALL_RATIO or (effect.detectable is not None and effect.detectable < _NARROW)
    return rounded(value, digits=4 if fine else 3, decimals=3 if fine else 2)


def _value(row: Row, value: float | None) -> str:
    estimate = Estimate(value=value)
    if row.unit.startswith("$"):
        return dollars(estimate)
    return number(estimate, unit="ms" if row.unit == "ms" else "")


def _points(found: Comparison) -> list[Point]:
    return [pair.point for pair in found.points]


def _notes(found: Comparison, letters: tuple[str, str]) -> Iterator[str]:
    """What to know of these numbers, and what to do about it."""
    a, b = letters
    for name, side in zip(letters, (found.base, found.other), strict=True):
        for reason in side.reasons:
            yield f"{name} {reason}"
    for name, points in ((a, found.only_base), (b, found.only_other)):
        if points:
            yield f"not compared, as only {name} has them: {'; '.join(map(in_full, points))}"
    rows = [row for pair in found.points for row in pair.rows]
    each = "trial" if found.paired else "run"
    for few in sorted({row.note for row in rows if row.note.startswith("n<")}):
        yield f"{few}: this quantile takes {few[2:]} answered requests in each {each} → longer trials"
    if any(row.note == ONE_PAIR for row in rows):
        yield "one pair gives no interval, so nothing is decided → measure more --pairs"
    if any(row.note == MORE_TRIALS for row in rows):
        yield "fewer than two trials give no interval, so nothing is decided → measure with --trials 3"
    if any(row.effect.verdict == "undecided" and not row.note for row in rows):
        more = (
            "more pairs, or longer trials,"
            if found.paired
            else "longer trials, or more of them (--trials 6),"
        )
        yield (
            f"undecided: the interval holds no difference as well as one beyond ±{100 * found.margin:g} % "
            f"→ {more} narrow it"
        )
    if any(pair.point.load == "open" for pair in found.points):
        yield "at a given rate, tok/s and req/s follow the schedule as long as the server keeps up"
    if any(_cells(row)[-1] for row in rows):
        yield "smallest seen: a smaller effect could not have been seen"
    if rows:
        holds = _IN_TURN if found.paired else _BLIND
        yield f"{a} and {b} are geometric means of the trials' numbers, {b}/{a} their ratio. {holds}"
