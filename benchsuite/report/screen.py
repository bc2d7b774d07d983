"""A run in a terminal: who, what, one sentence, the table, what to know, what to type next."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from benchsuite.errors import UsageError
from benchsuite.report.batches import completion_lines, in_words
from benchsuite.report.capacity import capacity_lines, capacity_sentence, tries_told
from benchsuite.report.checks import answer_words, passed_lines
from benchsuite.report.lengths import asked_words, reached_lines
from benchsuite.report.money import cost_clause, price_note
from benchsuite.report.points import point_columns, quantile
from benchsuite.report.render import COLOURS, table, words
from benchsuite.report.slo import slo_lines
from benchsuite.report.stages import Staged, stage_columns, stage_title
from benchsuite.report.timing import split_lines
from benchsuite.report.turns import Talked, turn_columns, turn_title
from benchsuite.report.units import duration, error_ms, number, several
from benchsuite.shown import where_it_is
from benchsuite.types import Manifest, Point, Run, SelftestLevel, Summary, Warning, Workload
from benchsuite.workload import mix, replaying, talk
from benchsuite.workload.arrivals import spaced
from benchsuite.workload.datasets.language import items_of
from benchsuite.workload.load import load, workload_digest
from benchsuite.workload.places import beside_load, place_of
from benchsuite.workload.stages import length_s

FEWEST_TRIALS = 3
"""With fewer, nothing says how much a repeated trial would differ."""


def screen(
    run: Run,
    *,
    store: str,
    width: int,
    styled: bool = False,
    selector: str = "latest",
    now: datetime | None = None,
    stages: Staged = (),
    turns: Talked = (),
) -> str:
    """The whole screen after a run; `store` is the path as it may be shown, `selector` finds the run."""
    manifest = run.manifest
    parts = [
        words(target_line(manifest), width=width),
        words(workload_line(manifest), width=width),
        "",
        words(sentence(run), width=width, styled=styled, style="bold"),
        "",
    ]
    if run.summaries:
        parts += [table(point_columns(run), width=width, styled=styled), ""]
    for point, rows in stages:
        title = words(f" {stage_title(point, [one for one, _ in stages])}", width=width, indent=1)
        parts += [title, table(stage_columns(rows), width=width, styled=styled), ""]
    for point, spoken in turns:
        title = words(f" {turn_title(point, [one for one, _ in turns])}", width=width, indent=1)
        parts += [title, table(turn_columns(spoken), width=width, styled=styled), ""]
    # Of a search the loads are many, and what counts is where they end: `--how` has each one's split.
    lines = (*reached_lines(run), *_limits(run), *(() if run.capacity else split_lines(run)))
    split = [words(f" {line}", width=width, indent=3) for line in lines]
    parts += [*split, ""] if split else []
    parts += [words(f" {line}", width=width, indent=3) + "\n" for line in passed_lines(run)]
    told = list(warning_lines(run))
    parts += [
        words(f" {line}", width=width, styled=styled, style=COLOURS.get(level, ""), indent=3)
        for level, line in told
    ]
    parts += [""] if told else []
    if manifest.workload.batch:
        last = list(completion_lines(run))
    else:
        last = [error_line(manifest, now or datetime.now(UTC))]
    parts += [words(f" {line}", width=width, indent=1) for line in last]
    kept = f" Run {short_id(manifest.run_id)} kept in {store} · show {selector} --how"
    parts.append(words(kept, width=width, indent=1))
    return "\n".join(parts)


def _limits(run: Run) -> Iterable[str]:
    """What became of the workload's limits, or of the search for the load that meets them."""
    return slo_lines(run) if run.capacity is None else capacity_lines(run)


def target_line(manifest: Manifest) -> str:
    """Who was measured, and where."""
    identity = manifest.identity
    server = f"{identity.server} {identity.version}".strip()
    where = where_it_is(manifest.url, manifest.attached)
    parts = [f"{server} {where}", manifest.model or "its model"]
    if quantization := identity.details.get("quantization"):
        parts[1] += f", {quantization}"
    if manifest.engine:
        parts.append(f"engine {', '.join(f'{name} {value}' for name, value in manifest.engine.items())}")
    if "endpoint" in manifest.options:
        parts.append(f"endpoint {manifest.endpoint}")
    if manifest.gpu:
        parts.append(f"{manifest.gpu} as stated")
    return " · ".join(parts)


def workload_line(manifest: Manifest) -> str:
    """What was asked, and how much of it."""
    workload, points = manifest.workload, len(manifest.points)
    modes: list[str] = list(dict.fromkeys(point.cache for point in manifest.points)) or [*workload.cache]
    cache = f"{several(modes)} cache"
    lengths = f"{asked_words(workload)}, {cache}"
    if conversation := talk.told(workload):
        lengths += f", {conversation}"
    if workload.bodies is not None:
        lengths = f"the {workload.bodies.number:,} bodies of {workload.bodies.name}, word for word"
    if workload.dataset is not None:
        how = "a new line before each" if workload.salted else "word for word"
        lengths = f"{items_of(workload.dataset)}, {how}, {answer_words(workload)}"
    if workload.trace is not None:
        lengths = f"{replaying.described(workload)}, {cache}"
    if "shared" in modes and (workload.hit_ratio or workload.groups > 1):
        lengths += f", shared: {replaying.sharing(workload)}"
    if workload.bodies is None:
        lengths += "".join(f", {one}" for one in _further(workload))
    if manifest.capacity:
        return f"{workload_name(manifest)}: {lengths} · {tries_told(manifest)}"
    trials = f"{points} point{'s' * (points != 1)} × {workload.trials} trial{'s' * (workload.trials != 1)}"
    if workload.stages:
        length = f"{length_s(workload.stages):g} s each"
    elif workload.trace is not None and workload.requests is None and workload.seconds is None:
        length = f"{workload.trace.used:,} requests each"
    elif workload.requests is not None:
        length = f"{workload.requests:,} requests each"
    else:
        length = f"{workload.seconds:g} s each"
    if workload.arrivals != "poisson":
        length += f", {spaced(workload)}"
    name = workload_name(manifest)
    return f"{name}: {lengths} · {trials} of {length}"


def _further(workload: Workload) -> tuple[str, ...]:
    """What each request asks besides its text."""
    reasoning = (f"reasoning {workload.reasoning}",) if workload.reasoning else ()
    return *reasoning, *mix.told(workload)


def workload_name(manifest: Manifest) -> str:
    """`chat@1`, and whether it is the standard one or was changed on the way."""
    name = f"{manifest.workload.name}@{manifest.workload.version}"
    try:
        changed = workload_digest(_with_file(load(name), manifest)) != manifest.workload_digest
    except UsageError:
        return name
    return f"{name} (changed)" if changed else name


def _with_file(standard: Workload, manifest: Manifest) -> Workload:
    """A standard workload that replays whatever trace one names, with the one that was named."""
    trace, cache = manifest.workload.trace, manifest.workload.cache
    if trace is None or standard.trace is None or standard.trace.file != "?":
        return standard
    # Without block ids nothing is shared.
    cache = cache if not trace.blocks and cache == ("cold",) else standard.cache
    return msgspec.structs.replace(standard, trace=trace, cache=cache)


def short_model(manifest: Manifest) -> str:
    """The model without the folders or the organisation in front."""
    return manifest.model.rstrip("/").rsplit("/", 1)[-1] or "the model"


def short_id(run_id: str) -> str:
    """Enough of a run's id to tell it apart by eye."""
    return run_id if len(run_id) <= 8 else f"{run_id[:4]}…{run_id[-4:]}"


def sentence(run: Run) -> str:
    """The result in one sentence, in tokens/s, and what the last load that it names costs."""
    manifest = run.manifest
    where = f"{manifest.identity.server} {manifest.identity.version}".strip()
    own = [f"{name} {value}" for name, value in manifest.axes.items() if name in manifest.engine]
    who = f"{short_model(manifest)} on {', '.join([where, *own])}"
    if run.capacity is not None:
        return capacity_sentence(run, who)
    answered = [row for row in run.summaries if row.outcomes.get("ok", 0)]
    asked = sum(row.requests for row in run.summaries)
    if not asked and run.status == "interrupted":
        return f"{who}: interrupted before anything was measured ({run.verdict})."
    if not answered:
        return f"{who}: none of {asked:,} requests was answered ({run.verdict})."
    first = answered[0]
    points = [row.point for row in run.summaries]
    text = _first(who, first, points)
    best = max(answered, key=lambda row: _value(row, "output_tokens_per_s"))
    cost = f" {clause}." if (clause := cost_clause(manifest, best)) else ""
    if len(run.summaries) > 1:
        if best is not first:
            text += f"; {number(best.rates['output_tokens_per_s'])} tokens/s {_with(best, points)}"
        return f"{text} ({run.verdict}).{cost}"
    ok = sum(row.outcomes.get("ok", 0) for row in run.summaries)
    return f"{text}, {ok:,} of {asked:,} requests ok ({run.verdict}).{cost}"


def _first(who: str, row: Summary, points: Sequence[Point]) -> str:
    if row.point.batch:
        return f"{who}: {in_words(row)}"
    lead = "ttft" if row.point.load == "closed" else "ttft_from_due"
    ttft = quantile(row, lead, "p50")
    per_user, total = row.rates.get("tokens_per_s_per_user"), row.rates.get("output_tokens_per_s")
    text = f"{who}:"
    e2e = quantile(row, "e2e" if lead == "ttft" else "e2e_from_due", "p50")
    if ttft is not None and ttft.value is not None:
        text += f" first token after {duration(ttft.value)},"
    elif not row.point.stream and e2e is not None and e2e.value is not None:
        text += f" whole answers after {duration(e2e.value)},"
    if per_user is not None and per_user.value is not None:
        alone = row.point.concurrency == 1 and row.point.rate is None
        return f"{text} {number(per_user)} tokens/s for {'one' if alone else 'each'} user" + (
            _beside(row, points) if alone else f" {_with(row, points)}"
        )
    return f"{text} {number(total)} tokens/s {_with(row, points)}"


def _with(row: Summary, points: Sequence[Point]) -> str:
    """The load in running text, and what else tells the point apart."""
    load = _load(row)
    return f"{load}{_beside(row, points, load)}"


def _beside(row: Summary, points: Sequence[Point], load: str = "") -> str:
    """`, not streamed, 512 in`: what tells a point from others besides its load, as said; empty: nothing."""
    unsaid = not row.point.stream and not load.endswith("not streamed")
    whole = unsaid and any(point.stream for point in points)
    return "".join(f", {one}" for one in (*["not streamed"] * whole, *beside_load(row.point, points)))


def _load(row: Summary) -> str:
    if row.point.stages:
        return f"{'with' if row.point.load == 'closed' else 'at'} {row.point.label}"
    if row.point.load == "closed":
        return f"with {row.point.label}" if row.point.talks else f"with {row.point.concurrency:,} in flight"
    if row.point.batch:
        return "in a batch"
    return row.point.label if row.point.load == "offline" else f"at {row.point.label}"


def _value(row: Summary, rate: str) -> float:
    found = row.rates.get(rate)
    return found.value or 0.0 if found is not None else 0.0


def warning_lines(run: Run) -> Iterable[tuple[str, str]]:
    """(level, line) of each warning, worst first; the same one at several points is said once."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in run.summaries:
        for warning in row.warnings:
            found.setdefault(_said(warning), []).append(point_name(run, row))
    levels = ("invalid", "suspect", "told")
    for (level, message, advice), names in sorted(found.items(), key=lambda item: levels.index(item[0][0])):
        where = f" ({'; '.join(names)})" if names and len(run.summaries) > 1 else ""
        word = "note" if level == "told" else level
        yield level, f"{word}{where}: {message}" + (f" → {advice}" if advice else "")
    # Runs of before had no rule for it.
    unseen = [
        row
        for row in run.summaries
        if "ttfo" in row.metrics
        and not row.metrics["ttfo"].n
        and all(warning.code != "no_visible_answer" for warning in row.warnings)
    ]
    if unseen:
        at = "; ".join(point_name(run, row) for row in unseen)
        where = f" ({at})" if len(run.summaries) > 1 else ""
        yield "told", f"note{where}: no TTFO, as no answer got past its reasoning → raise --output-tokens"
    if note := price_note(run.manifest.gpu, run.manifest.price):
        yield "told", f"note: {note}"
    if run.manifest.workload.trials < FEWEST_TRIALS and not run.manifest.workload.batch:
        yield "told", "note: too few trials for intervals that hold → --trials 3"


def _said(warning: Warning) -> tuple[str, str, str]:
    return warning.level, warning.message.rstrip("."), warning.advice


def point_name(run: Run, row: Summary) -> str:
    """A point's load, and its lengths and cache where they vary: `8 in flight, 512 in`."""
    return place_of(row.point, run.manifest.points)


def error_line(manifest: Manifest, now: datetime) -> str:
    """How far off this machine's own measurements are, from its last selftest."""
    level = nearest_level(manifest)
    if level is None or manifest.selftest is None:
        return "This machine's own error isn't known yet: benchsuite selftest measures it."
    return (
        f"This machine's own error at {level.load}: {error_ms(level.ttft_error_p50_ms)} ms p50, "
        f"{error_ms(level.ttft_error_p99_ms)} ms p99 (selftest, {age(manifest.selftest.time, now)})."
    )


def nearest_level(manifest: Manifest) -> SelftestLevel | None:
    """The selftest's level that stands for this run: the lightest that is no lighter than its load."""
    if manifest.selftest is None or not manifest.selftest.levels:
        return None
    streams = max((point.concurrency or 0 for point in manifest.points), default=0)
    levels = manifest.selftest.levels
    if not streams:
        open_levels = [level for level in levels if level.rate is not None]
        return (open_levels or list(levels))[-1]
    closed = sorted((level for level in levels if level.streams), key=lambda level: level.streams or 0)
    return next((level for level in closed if (level.streams or 0) >= streams), (closed or [*levels])[-1])


def age(time: str, now: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = (now - datetime.fromisoformat(time)).total_seconds()
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count != 1)} ago"
    return "just now"
