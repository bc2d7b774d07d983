"""`show --how`: each number explained, from its definition to how it can be made again."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from benchsuite.report.batches import batch_lines
from benchsuite.report.checks import (
    PASS_RATE,
    PASSED_COST,
    answer_words,
    check_words,
    share_words,
)
from benchsuite.report.definitions import METRICS, RATES, WINDOWS
from benchsuite.report.hits import hit_words
from benchsuite.report.identity import identity_words
from benchsuite.report.lengths import fitted_lines
from benchsuite.report.money import price_lines
from benchsuite.report.render import listing, words
from benchsuite.report.screen import error_line, point_name, target_line, workload_line
from benchsuite.report.timing import split_line
from benchsuite.report.units import NOTHING, dollars, half_width, number, rounded, several, spread
from benchsuite.types import Decision, Estimate, Manifest, Pairing, Run, Source, Summary, WorkerHealth
from benchsuite.workload.datasets.language import items_of

_QUANTILES = ("mean", "p50", "p90", "p95", "p99", "p99.9")
_DIGEST_SHOWN = 12


def how(run: Run, *, width: int, styled: bool = False, now: datetime | None = None) -> str:
    """Everything a reader needs to believe or repeat a run, in sections."""
    manifest = run.manifest
    sections: list[tuple[str, Iterable[str]]] = [
        (f"Run {manifest.run_id} ({run.status}, {run.verdict})", _who(run)),
        ("What was sent", _sent(manifest)),
    ]
    lines: list[str] = []
    for title, rows in sections:
        lines += [_title(title, styled), *_wrapped(rows, width), ""]
    for row in run.summaries:
        lines += [
            _title(f"At {point_name(run, row)}: {row.verdict}", styled),
            *_point(row, width, styled),
            "",
        ]
    costs = list(price_lines(manifest))
    for title, rows in (
        *((("What it costs", costs),) if costs else ()),
        ("What the numbers mean", _definitions(run)),
        ("What is left out", _excluded(run)),
        ("How exact the client was", _client(run, now or datetime.now(UTC))),
        ("To measure it again", _again(manifest)),
    ):
        lines += [_title(title, styled), *_wrapped(rows, width), ""]
    return "\n".join(lines).rstrip()


def _title(text: str, styled: bool) -> str:
    return words(text, width=max(20, len(text)), styled=styled, style="bold")


def _wrapped(rows: Iterable[str], width: int) -> Iterator[str]:
    for row in rows:
        yield words(f"  {row}", width=width, indent=4)


def _who(run: Run) -> Iterator[str]:
    manifest, identity = run.manifest, run.manifest.identity
    yield target_line(manifest)
    if facts := identity_words(identity):
        yield f"The server: {', '.join(facts)}."
    if manifest.launch_command:
        took = "" if manifest.launch_seconds is None else f", ready after {manifest.launch_seconds:.2f} s"
        if manifest.load_seconds is not None:
            took += f"; loading the model took {manifest.load_seconds:.2f} s"
        yield f"Started with: {manifest.launch_command}{took}"
    elif manifest.load_seconds is not None:
        yield f"Before the clock the model was loaded, in {manifest.load_seconds:.2f} s."
    yield from _engine(manifest)
    machine = manifest.machine
    yield (
        f"Client: benchsuite {manifest.version}, metrics {manifest.metrics_version}, Python {machine.python} "
        f"on {machine.os}, {machine.cpu or 'unknown CPU'}, {machine.cores} cores, {machine.memory_gib:g} GiB."
    )
    yield f"Started {manifest.started}." + (f" Labels: {_pairs(manifest.labels)}." if manifest.labels else "")
    for note in manifest.resumed:
        when, _, changed = note.partition("; ")
        yield f"Gone on with at {when}, after an interruption{f': {changed}' if changed else ''}."
    if manifest.sweep:
        yield f"Of the sweep {manifest.sweep} this is the run with {_pairs(manifest.axes)}."
    if manifest.pairing is not None:
        yield from _in_turn(manifest.pairing, run.decision)
    if manifest.connection:
        yield f"Connection: {_pairs(manifest.connection)}."


def _in_turn(pairing: Pairing, decision: Decision | None) -> Iterator[str]:
    """With what it was measured in turn, and what a gate made of it."""
    order = " ".join("AB" if first == "A" else "BA" for first in pairing.first)
    anew = ", the engine started anew for each trial" if pairing.restarts else ""
    yield (
        f"Arm {pairing.arm} of two that were measured in turn ({order or 'nothing yet'}{anew}); the other is "
        f"run {pairing.partner}. Trial k of both was sent the same, with other first words."
    )
    if pairing.purpose == "noise":
        yield "Both arms are of the same target, so that how much its pairs differ is noise (`gate noise`)."
    if decision is not None and pairing.purpose == "gate":
        yield (
            f"The gate said {decision.verdict} after {decision.pairs} pairs (looks after "
            f"{several(list(map(str, decision.looks)))}; tolerance {100 * decision.tolerance:g} %, limit "
            f"{100 * decision.limit:g} %, fails on the {decision.fail_on})."
        )


def _engine(manifest: Manifest) -> Iterator[str]:
    """Settings of the engine, and its batch told apart from what the client keeps in flight."""
    slots = manifest.engine.get("max-seqs") or manifest.identity.slots
    settings = f"Settings of the engine: {_pairs(manifest.engine)}." if manifest.engine else ""
    batch = f"It works on {slots} at most at once; in flight is what the client keeps going." if slots else ""
    if settings or batch:
        yield f"{settings} {batch}".strip()


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _sent(manifest: Manifest) -> Iterator[str]:
    workload, lengths = manifest.workload, manifest.lengths
    yield f"{workload_line(manifest)}."
    yield f"Endpoint: {manifest.endpoint or 'chat'}. Seed {manifest.seed}, nonce {manifest.nonce}."
    if workload.reasoning:
        yield f"Reasoning: {workload.reasoning}, as asked with --reasoning."
    if manifest.reset_cache:
        yield "The server was asked to empty its prefix cache before the warm-up and before each trial."
    yield f"Workload digest {manifest.workload_digest[:_DIGEST_SHOWN]}: the same digest asks the same."
    digests = [trial for trial in manifest.trials if trial.plan_digest]
    if digests:
        shown = ", ".join(
            f"{trial.point}-{trial.trial} {trial.plan_digest[:_DIGEST_SHOWN]}" for trial in digests
        )
        yield f"Plan digests (point-trial), over all bodies sent: {shown}."
    if workload.bodies is not None:
        yield (
            f"Bodies: {workload.bodies.number:,} lines of {workload.bodies.name} (SHA-256 "
            f"{workload.bodies.sha256[:_DIGEST_SHOWN]}), word for word and in order. Each trial goes on "
            "where the one before ended, or begins at its share of the file; warm-up sends its last lines."
        )
        return
    if workload.dataset is not None:
        yield from _dataset(manifest, workload.dataset)
        return
    yield from fitted_lines(workload, lengths)
    equal = "text" if workload.same == "text" else "number of tokens"
    how = f": {manifest.caching}" if manifest.caching else ""
    modes = dict.fromkeys(point.cache for point in manifest.points) or workload.cache
    yield f"Prompts have the same {equal} on every server. Cache {' and '.join(modes)}{how}."


def _dataset(manifest: Manifest, source: Source) -> Iterator[str]:
    """Which prompts, in which order, and how their answers were judged."""
    workload = manifest.workload
    how = "each after a line of new words" if workload.salted else "word for word"
    yield (
        f"Prompts: {items_of(source)} (SHA-256 {source.sha256[:_DIGEST_SHOWN]}), {how}, in an order "
        "that the seed decides, each once before any comes again. Each trial goes on where the one before "
        f"ended; {answer_words(workload)}, and they end by themselves."
    )
    if workload.check is not None:
        yield f"Checked: {check_words(workload.check)}."
    if manifest.caching:
        yield f"Cache: {manifest.caching}."


def _point(row: Summary, width: int, styled: bool) -> Iterator[str]:
    """One point: distributions, rates, means, and where the intervals come from."""
    table = [
        [
            METRICS.get(name, (name, ""))[0],
            f"{metric.n:,}",
            *(_cell(metric.quantiles.get(quantile)) for quantile in _QUANTILES),
        ]
        for name, metric in row.metrics.items()
    ]
    headings = ["ms", "n", *_QUANTILES]
    if table:
        yield listing(headings, table, width=width, styled=styled, right=headings[1:])
    for name, estimate in row.rates.items():
        if estimate.value is not None:
            basis = f" ({estimate.basis})" if estimate.basis else ""
            if name == PASS_RATE:
                yield words(f"  {RATES[name][0]}: {share_words(estimate)}", width=width, indent=4)
                continue
            money = name.endswith("_usd") or name == PASSED_COST
            shown = dollars(estimate, interval=True) if money else _cell(estimate)
            yield words(f"  {RATES.get(name, (name, ''))[0]}: {shown}{basis}", width=width, indent=4)
    bases = dict.fromkeys(
        estimate.basis
        for metric in row.metrics.values()
        for estimate in metric.quantiles.values()
        if estimate.basis and estimate.low is not None
    )
    if bases:
        yield words(f"  Intervals (±) are 95 %, from: {'; '.join(bases)}.", width=width, indent=4)
    yield words(f"  {_means(row)}", width=width, indent=4)
    if split := split_line(row):
        yield words(f"  {split}.", width=width, indent=4)
    window = WINDOWS["stages" if row.point.stages else row.point.load]
    yield words(f"  Throughput's window: {window}.", width=width, indent=4)


def _cell(estimate: Estimate | None) -> str:
    """A number with its interval, without a unit."""
    if estimate is None or estimate.value is None:
        return number(estimate)
    half = half_width(estimate)
    text = rounded(estimate.value, half)
    return text if half is None else f"{text} {spread(estimate.value, half)}"


def _means(row: Summary) -> str:
    """What the answers were like on average, as far as the server tells."""
    names = (
        ("prompt_tokens", "prompt tokens"),
        ("asked_prompt_tokens", "asked"),
        ("output_tokens", "output tokens"),
        ("asked_output_tokens", "asked"),
        ("cached_tokens", "cached tokens"),
        ("reasoning_tokens", "reasoning tokens"),
        ("tokens_per_event", "tokens an event"),
        ("in_flight", "in flight"),
    )
    parts = []
    for key, title in names:
        value = row.means.get(key)
        if value is not None:
            parts.append(f"{title} {rounded(value, digits=4)}")
        elif key == "cached_tokens":
            parts.append("cached tokens unknown")
    if hits := hit_words(row):
        parts.append(hits)
    stalls = row.means.get("stall_share")
    if stalls is not None:
        parts.append(f"stalls {rounded(100 * stalls)} % of gaps")
    return f"On average: {', '.join(parts)}."


def _definitions(run: Run) -> Iterator[str]:
    metrics = dict.fromkeys(name for row in run.summaries for name in row.metrics)
    rates = dict.fromkeys(name for row in run.summaries for name in row.rates)
    for names, known in ((metrics, METRICS), (rates, RATES)):
        for name in names:
            if name in known:
                yield f"{known[name][0]}: {known[name][1]}."
    yield "Quantiles are of all trials' requests pooled, never averaged; an interval's unit is the trial."
    yield "n<368 means that fewer requests than that can't tell this quantile."


def _excluded(run: Run) -> Iterator[str]:
    workload = run.manifest.workload
    least = f", at least {workload.warm_up_seconds:g} s" if workload.warm_up_seconds else ""
    if not workload.batch:
        yield f"Warm-up before each point (trial 0{least}): kept in the store, in none of the numbers."
        if len(run.manifest.points) > 1 and workload.order == "blocks":
            yield (
                "Trials went in blocks: each point once, in an order that the seed decides, so that a drift "
                "meets all alike; a point that has its turn again gets half a warm-up."
            )
    for row in run.summaries:
        failed = {name: count for name, count in row.outcomes.items() if name != "ok" and count}
        if failed:
            kinds = [f"{count} {name}" for name, count in failed.items()]
            why = ", ".join(f"{count} {kind}" for kind, count in row.error_kinds.items())
            yield (
                f"{point_name(run, row)}: {several(kinds)}{f' ({why})' if why else ''}; "
                "latencies are of answered requests only."
            )
    if not any(count for row in run.summaries for name, count in row.outcomes.items() if name != "ok"):
        yield "No request failed; nothing was trimmed."


def _client(run: Run, now: datetime) -> Iterator[str]:
    manifest = run.manifest
    if manifest.workload.batch:
        yield from batch_lines(run)
        return
    workers = [worker for trial in manifest.trials for worker in trial.workers]
    yield _stamps(workers)
    for row in run.summaries:
        parts = []
        for metric in ("send_lag", "reader_lag"):
            if metric in row.metrics:
                quantiles = row.metrics[metric].quantiles
                p50, p99 = (number(quantiles.get(name), unit="ms") for name in ("p50", "p99"))
                parts.append(f"{METRICS[metric][0]} p50 {p50}, p99 {p99}")
        share = row.means.get("coalesced_share")
        coalesced = NOTHING if share is None else f"{rounded(100 * share)} %"
        parts.append(f"tokens read together with later ones {coalesced}")
        yield f"{point_name(run, row)}: {'; '.join(parts)}."
    if workers:
        busiest = max((worker.cpu_s / worker.wall_s for worker in workers if worker.wall_s), default=0.0)
        processes = max(len(trial.workers) for trial in manifest.trials)
        steps = sum(worker.clock_steps for worker in workers)
        yield (
            f"Client processes: {processes}, {_priority(workers)}, the busiest used "
            f"{rounded(100 * busiest)} % of a core; "
            f"steps of the clock: {steps}."
        )
        yield _reuse(workers, closed=all(point.load == "closed" for point in manifest.points))
    yield error_line(manifest, now)


def _priority(workers: list[WorkerHealth]) -> str:
    realtime = all(worker.realtime for worker in workers)
    return "at real-time priority" if realtime else "without real-time priority"


def _stamps(workers: list[WorkerHealth]) -> str:
    if not workers:
        return "What the client's processes reported of themselves wasn't kept (recovered run)."
    if all(worker.kernel_stamps for worker in workers):
        return "Arrivals were stamped by the kernel, so that a busy client doesn't lengthen them."
    return "Arrivals were stamped by the client itself: reader lag counts into every latency."


def _reuse(workers: list[WorkerHealth], *, closed: bool) -> str:
    """What was learned about connections; connecting is never part of TTFT."""
    found = {worker.reuse for worker in workers if worker.reuse is not None}
    if found == {True}:
        return "Connections were reused: the server keeps them open."
    if found == {False}:
        when = "as soon as its slot was free" if closed else "before it was due"
        return f"Each request had a connection of its own, opened {when}: the server closes them."
    return "Whether the server keeps connections open wasn't found out."


def _again(manifest: Manifest) -> Iterator[str]:
    """The command, with what was drawn by chance made fixed."""
    command = manifest.command or f"benchsuite run --backend {shlex.quote(manifest.backend)}"
    given = {word.partition("=")[0] for word in command.split()}
    for option, value in (("--seed", str(manifest.seed)), ("--nonce", manifest.nonce)):
        if option not in given:
            command += f" {option} {shlex.quote(value)}"
    yield command
    yield "The nonce repeats the very prompts, so a prefix cache may know them; without it they are new."
