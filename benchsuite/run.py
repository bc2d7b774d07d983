"""The story of one run: resolve → launch → ready → fit → warm up → measure → decode → judge → save."""

import gc
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from benchsuite import __version__
from benchsuite.asked import Options
from benchsuite.batch import runs as batch
from benchsuite.caches import uploaded
from benchsuite.conclude import conclude, decode_segment, keep_trial, owned
from benchsuite.driver import Driver, HidesOptions, ResetsCache
from benchsuite.engine.exchange import ask
from benchsuite.engine.progress import Sampler
from benchsuite.engine.refusal import granted_s
from benchsuite.engine.trial import (
    Interrupt,
    Status,
    Trial,
    TrialRun,
    encoded,
    run_trial,
    segments,
    superseded,
    worker_count,
)
from benchsuite.errors import TargetError, UsageError
from benchsuite.lengths import fitted
from benchsuite.money.gpus import price_of
from benchsuite.money.tokens import listed_price, stated_price
from benchsuite.replay import tell_bodies
from benchsuite.shown import (
    connection_facts,
    masked_url,
    shown_body,
    shown_identity,
    shown_model,
    shown_settings,
    where_it_is,
)
from benchsuite.store.records import read_records
from benchsuite.store.runs import RunDir, Store, new_run_id
from benchsuite.target import (
    Resolved,
    Tell,
    check_context,
    resolved,
    with_fresh_key,
)
from benchsuite.telemetry.gpu import gpus_here, serves_here
from benchsuite.telemetry.machine import fingerprint, package_versions
from benchsuite.types import Lengths, Manifest, Phase, Point, Request, Run, Stage, TokenPrice, Workload
from benchsuite.workload.load import workload_digest
from benchsuite.workload.plan import new_nonce, plan, warm_up_count
from benchsuite.workload.points import points

LIVE_DECODE_CORES = 4
"""With fewer cores nothing is decoded while anything is measured."""
_TICK_S = 0.1


def run(options: Options, store: Store, *, tell: Tell, interrupt: Interrupt) -> Run:
    """Measure one target with one workload and store the result."""
    store.prepare()
    # What start-up made is never garbage, and looking through it again and again costs time.
    gc.freeze()
    with resolved(options, tell) as who:
        manifest = _manifest(options, who, store, tell)
        for point in manifest.points:
            check_context(point, who.identity)
            _requests(manifest, options, point, "measure", 1)
        tell(Stage(name="measure", text=target_line(manifest)))
        run_dir = store.create(manifest)
        with owned(run_dir):
            if options.workload.batch:
                return batch.start(run_dir, manifest, options, who, tell, interrupt)
            with uploaded(options, manifest, who, tell) as ready:
                whole = _measure(run_dir, manifest, options, ready, tell, interrupt)
            return conclude(run_dir, manifest, "finished" if whole else "interrupted")


# ---------------------------------------------------------------- plan


def _manifest(options: Options, who: Resolved, store: Store, tell: Tell) -> Manifest:
    """All that is known before the first measured request."""
    workload = options.workload
    machine = fingerprint(store.path)
    tokens = token_price(options, who)
    return Manifest(
        run_id=new_run_id(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        command=options.command,
        backend=options.backend,
        url=masked_url(who.target.url) if who.attached else "",
        model=shown_model(who.target.model),
        attached=who.attached,
        identity=shown_identity(who.identity),
        launch_command=who.launch_command,
        launch_seconds=who.launch_seconds,
        load_seconds=who.load_seconds,
        engine={} if who.attached else shown_settings(options.engine),
        workload=workload,
        workload_digest=workload_digest(workload),
        endpoint=who.target.options.get("endpoint", who.driver.capabilities.endpoints[0]),
        options=_stored_options(who.driver, options.options),
        extra_body=shown_body(options.extra_body) if options.extra_body else "",
        seed=workload.seed if options.seed is None else options.seed,
        nonce=options.nonce or new_nonce(),
        lengths=_lengths(options, who, tell),
        points=points(workload),
        workers=max(worker_count(options.workers, _streams(point)) for point in points(workload)),
        connection=connection_facts(options.connection),
        caching="" if workload.bodies else _caching(who, workload),
        reset_cache=options.reset_cache,
        gpu=options.gpu,
        price=price_of(options.gpu, options.gpu_price),
        token_price=tokens,
        gpus=_serving_gpus(who),
        labels=options.labels,
        machine=machine,
        packages=package_versions(),
        selftest=store.latest_selftest(machine.id),
    )


def token_price(options: Options, who: Resolved) -> TokenPrice | None:
    """What tokens cost here: as stated, as listed under another name, or as listed for a hosted model."""
    if options.token_price:
        return stated_price(options.token_price)
    if options.price_as:
        provider, _, model = options.price_as.partition("/")
        found = listed_price(model or who.target.model, provider=provider, batch=options.workload.batch)
        if found is None:
            raise UsageError(
                f"--price-as {options.price_as}: genai-prices knows no such provider or model; write "
                "PROVIDER/MODEL, such as openai/gpt-5-mini, or state prices with --token-price"
            )
        return found
    if options.gpu or options.gpu_price or not who.attached or not who.target.url.startswith("https://"):
        return None
    found = listed_price(who.target.model, url=who.target.url, batch=options.workload.batch)
    if found is None and who.target.url == who.driver.default_url:
        found = listed_price(who.target.model, provider=options.backend, batch=options.workload.batch)
    return found


def _stored_options(driver: Driver, options: dict[str, str]) -> dict[str, str]:
    """A driver's options as they may be stored, by its own word where it has one."""
    return driver.stored_options(options) if isinstance(driver, HidesOptions) else shown_settings(options)


def _lengths(options: Options, who: Resolved, tell: Tell) -> Lengths | None:
    """What words cost on this server; None: bodies are sent as they are, and that is told."""
    if options.bodies is None:
        return fitted(who, tell)
    tell_bodies(who, options.workload, options.bodies, tell)
    return None


def _caching(who: Resolved, workload: Workload) -> str:
    """How the workload's cache words come true on this backend."""
    ways = who.driver.capabilities.caching
    said = [(mode, ways.get(mode, "")) for mode in dict.fromkeys(point.cache for point in points(workload))]
    return said[0][1] if len(said) == 1 else "; ".join(f"{mode}: {way}" for mode, way in said if way)


def _serving_gpus(who: Resolved) -> tuple[str, ...] | None:
    """NVIDIA GPUs of the machine that serves; None: it isn't this one, or they can't be known."""
    return None if who.attached and not serves_here(who.target.url) else gpus_here()


def _streams(point: Point) -> int:
    """Streams to be expected in flight, as far as the plan tells."""
    return point.concurrency or math.ceil(min(point.rate or 1.0, 1024.0))


def target_line(manifest: Manifest) -> str:
    """One line that names who is measured."""
    identity = manifest.identity
    where = where_it_is(manifest.url, manifest.attached)
    version = f" {identity.version}" if identity.version else ""
    return f"{identity.server}{version} {where} · {manifest.model or 'its model'}"


def preview(options: Options, store: Store, tell: Tell) -> tuple[Manifest, tuple[str, ...]]:
    """What `run` would do, without a measured request: the manifest and lines of facts."""
    with resolved(options, tell) as who:
        manifest = _manifest(options, who, store, tell)
        lines = [target_line(manifest)]
        for point in manifest.points:
            check_context(point, who.identity)
            first = next(_requests(manifest, options, point, "measure", 1))
            call = encoded(who.driver, first, who.target)
            lines.append(
                f"{point.label}: {call.method} {call.path}, {len(call.body):,} bytes, "
                f"{_lengths_of(point)}, "
                f"{warm_up_count(manifest.workload, point)} warm-up requests, "
                f"trials: {manifest.workload.trials}"
            )
        return manifest, tuple(lines)


def _lengths_of(point: Point) -> str:
    if not point.prompt_tokens:
        return "sent word for word"
    return f"{point.prompt_tokens} prompt tokens, {point.output_tokens} output tokens"


# ---------------------------------------------------------------- warm up, measure, decode


def _measure(
    run_dir: RunDir, manifest: Manifest, options: Options, who: Resolved, tell: Tell, interrupt: Interrupt
) -> bool:
    """Every point: once warm-up (trial 0), then its trials, each decoded at its end; False: interrupted."""
    for point in manifest.points:
        reuse: bool | None = None
        for trial in range(manifest.workload.trials + 1):
            who = with_fresh_key(options, who)
            if options.reset_cache:
                _reset_cache(who)
            done = _trial(run_dir, manifest, options, who, point, trial, reuse, tell, interrupt)
            if any(worker.stopped for worker in done.workers) or not done.workers:
                return False
            reuse = done.reuse if done.reuse is not None else reuse
            if not trial:
                _wait_as_asked(run_dir, point, tell, interrupt)
    return True


def _wait_as_asked(run_dir: RunDir, point: Point, tell: Tell, interrupt: Interrupt) -> None:
    """After a warm-up, wait until no refusal of it asks to be left alone any more, but not for the user."""
    paths = [path for path, place in run_dir.trial_files().items() if place == (point.index, 0)]
    records = read_records(paths, ["http_status", "end_ns", "retry_after_s"]).to_pylist()
    asked = [(one["end_ns"], granted_s(one["http_status"], one["retry_after_s"])) for one in records]
    until_ns = max((end_ns + int(wait_s * 1e9) for end_ns, wait_s in asked if wait_s is not None), default=0)
    left_s = (until_ns - time.monotonic_ns()) / 1e9
    if left_s > 0:
        text = f"warm-up was refused: waiting {left_s:.3g} s as the server asks (Retry-After), then measuring"
        tell(Stage(name="warm_up", text=text))
    while left_s > 0 and not interrupt.level:
        time.sleep(min(_TICK_S, left_s))
        left_s = (until_ns - time.monotonic_ns()) / 1e9


def _reset_cache(who: Resolved) -> None:
    """Have the server forget its prefix cache; TargetError where it doesn't."""
    assert isinstance(who.driver, ResetsCache)
    (tape,) = ask(who.endpoint, who.target, (who.driver.reset_cache(who.target),))
    if not 200 <= tape.status < 300:
        heard = f"HTTP {tape.status}" if tape.status else tape.error or "no answer"
        raise TargetError(
            f"{who.driver.title} didn't empty its cache ({heard}); leave --reset-cache out, "
            "or see `benchsuite backends` for what it needs"
        )


def _trial(
    run_dir: RunDir,
    manifest: Manifest,
    options: Options,
    who: Resolved,
    point: Point,
    number: int,
    reuse: bool | None,
    tell: Tell,
    interrupt: Interrupt,
) -> TrialRun:
    """One trial, from the first request to its records on disk."""
    workload, phase = manifest.workload, _phase(number)
    stem = f"{point.index}-{number}"
    closed = point.load == "closed"
    seconds = (workload.seconds if number else workload.warm_up_seconds or None) if closed else None
    total = workload.requests if number else None if seconds else warm_up_count(workload, point)
    trial = Trial(
        endpoint=who.endpoint,
        target=who.target,
        driver=who.driver,
        id_prefix=f"{manifest.run_id}-{stem}-",
        stem=str(run_dir.spool_dir / stem),
        point=point.index,
        trial=number,
        closed=closed,
        slots=point.concurrency,
        seconds=seconds,
        least=0 if number else warm_up_count(workload, point),
        waits=not number,
        workers=min(manifest.workers, point.concurrency or manifest.workers),
        reuse=reuse,
        kernel_stamps=options.kernel_stamps,
    )
    sampler = Sampler(
        who.driver,
        run_dir.spool_dir,
        stem,
        point=point,
        points=len(manifest.points),
        phase=phase,
        trial=number,
        trials=workload.trials,
        total=total,
        total_s=seconds,
    )

    def on_tick(status: Status) -> None:
        tell(sampler.progress(status))
        if (os.cpu_count() or 1) >= LIVE_DECODE_CORES:
            for segment in superseded(run_dir.spool_dir, stem):
                decode_segment(run_dir, segment, who.driver, manifest, options.keep_text)

    requests = _requests(manifest, options, point, phase, number)
    done = run_trial(trial, requests, interrupt=interrupt, on_tick=on_tick)
    for segment in segments(run_dir.spool_dir, stem):
        decode_segment(run_dir, segment, who.driver, manifest, options.keep_text)
    keep_trial(run_dir, point.index, number, done)
    return done


def _phase(trial: int) -> Phase:
    return "measure" if trial else "warm_up"


def _requests(
    manifest: Manifest, options: Options, point: Point, phase: Phase, trial: int
) -> Iterator[Request]:
    return plan(
        manifest.workload,
        point,
        phase=phase,
        trial=trial,
        seed=manifest.seed,
        nonce=manifest.nonce,
        lengths=manifest.lengths,
        material=msgspec.structs.replace(options.material, bodies=options.bodies or ()),
    )
