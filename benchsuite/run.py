"""The story of one run: resolve → launch → ready → fit → warm up → measure → decode → judge → save."""

import gc
import math
from datetime import UTC, datetime

from benchsuite import __version__, forecast
from benchsuite.asked import Options, check_chosen
from benchsuite.batch import runs as batch
from benchsuite.caches import uploaded
from benchsuite.conclude import conclude, owned
from benchsuite.driver import Driver, HidesOptions
from benchsuite.engine.trial import Interrupt, encoded, worker_count
from benchsuite.errors import StoreError, UsageError
from benchsuite.lengths import fitted, with_turns
from benchsuite.measure import Bench, measure, planned, steps_of
from benchsuite.money.gpus import price_of
from benchsuite.replay import fitting, own_words, tell_bodies, tell_dataset, tell_trace
from benchsuite.resume import Trials, finished, nothing_to_resume, reopened, unfinished
from benchsuite.shown import (
    connection_facts,
    masked_url,
    shown_body,
    shown_identity,
    shown_model,
    shown_settings,
    where_it_is,
)
from benchsuite.store.runs import RunDir, Store, new_run_id
from benchsuite.target import (
    Resolved,
    Tell,
    check_context,
    resolved,
)
from benchsuite.telemetry.gpu import gpus_here, serves_here
from benchsuite.telemetry.machine import fingerprint, package_versions
from benchsuite.types import Lengths, Manifest, Point, Run, Stage, TokenPrice, Workload
from benchsuite.workload import talk
from benchsuite.workload.load import workload_digest
from benchsuite.workload.mix import dressed
from benchsuite.workload.places import place_of
from benchsuite.workload.plan import new_nonce, warm_up_count
from benchsuite.workload.points import points
from benchsuite.workload.spreads import described
from benchsuite.workload.stages import peak


def run(options: Options, store: Store, *, tell: Tell, interrupt: Interrupt) -> Run:
    """Measure one target with one workload and store the result."""
    store.prepare()
    # What start-up made is never garbage, and looking through it again and again costs time.
    gc.freeze()
    check_chosen(options)
    begun = _to_go_on_with(options, store)
    with resolved(options, tell) as who:
        options = fitting(options, who)
        manifest = manifest_of(options, who, store, tell)
        tell_trace(manifest, options, who, tell)
        for point in manifest.points:
            check_context(point, who.identity)
            planned(manifest, options, point, "measure", 1)
        tell(Stage(name="measure", text=target_line(manifest)))
        done: Trials = frozenset()
        run_dir = begun or store.create(manifest)
        with owned(run_dir) as ours:
            if begun is not None:
                if not ours or finished(run_dir):
                    raise StoreError(f"another benchsuite goes on with run {run_dir.run_id}; let it")
                manifest, done = reopened(run_dir, manifest, tell)
            elif not ours or not run_dir.partial:
                raise StoreError(f"run {run_dir.run_id} was recovered before it had begun; run it again")
            if options.workload.batch:
                return batch.start(run_dir, manifest, options, who, tell, interrupt)
            with uploaded(options, manifest, who, tell) as ready:
                bench = Bench(
                    run_dir=run_dir,
                    manifest=manifest,
                    options=options,
                    who=ready,
                    tell=tell,
                    interrupt=interrupt,
                )
                whole = measure(bench, steps_of(manifest, done))
            return conclude(run_dir, manifest, "finished" if whole else "interrupted")


def _to_go_on_with(options: Options, store: Store) -> RunDir | None:
    """The run that is resumed; None: a new one is made. A UsageError where there is none to resume."""
    if not options.resume:
        return None
    run_dir = unfinished(store, options)
    # An arm of a sweep may not have been begun.
    if run_dir is None and not options.sweep:
        raise UsageError(nothing_to_resume([options], store))
    return run_dir


# ---------------------------------------------------------------- plan


def manifest_of(options: Options, who: Resolved, store: Store, tell: Tell) -> Manifest:
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
        caching="" if workload.bodies else own_words(_caching(who, workload), workload),
        reset_cache=options.reset_cache,
        gpu=options.gpu,
        price=price_of(options.gpu, options.gpu_price),
        token_price=tokens,
        gpus=_serving_gpus(who),
        labels=options.labels,
        sweep=options.sweep,
        axes=options.axes,
        machine=machine,
        packages=package_versions(),
        selftest=store.latest_selftest(machine.id),
    )


def token_price(options: Options, who: Resolved) -> TokenPrice | None:
    """What tokens cost here; a UsageError where they are to be priced as something that isn't listed."""
    stated = options.token_price or options.price_as
    if not (stated or who.attached):
        return None
    found = forecast.token_price(options, who.target.model, who.target.url)
    if found is None and options.price_as:
        raise UsageError(
            f"--price-as {options.price_as}: genai-prices knows no such provider or model; write "
            "PROVIDER/MODEL, such as openai/gpt-5-mini, or state prices with --token-price"
        )
    return found


def _stored_options(driver: Driver, options: dict[str, str]) -> dict[str, str]:
    """A driver's options as they may be stored, by its own word where it has one."""
    return driver.stored_options(options) if isinstance(driver, HidesOptions) else shown_settings(options)


def _lengths(options: Options, who: Resolved, tell: Tell) -> Lengths | None:
    """What words cost on this server; None: bodies or a dataset's prompts are sent as they are, and told."""
    if options.workload.dataset is not None:
        tell_dataset(options.workload, tell)
        return None
    if options.bodies is None:
        lengths = fitted(who, tell, dressed(options.workload), options.workload)
        return with_turns(who, lengths, options.workload, tell)
    tell_bodies(who, options.workload, options.bodies, tell)
    return None


def _caching(who: Resolved, workload: Workload) -> str:
    """How the workload's cache words come true on this backend."""
    ways = who.driver.capabilities.caching
    if workload.turns != 1 and "cold" in ways:
        ways = {**ways, "cold": talk.CACHING}
    said = [(mode, ways.get(mode, "")) for mode in dict.fromkeys(point.cache for point in points(workload))]
    return said[0][1] if len(said) == 1 else "; ".join(f"{mode}: {way}" for mode, way in said if way)


def _serving_gpus(who: Resolved) -> tuple[str, ...] | None:
    """NVIDIA GPUs of the machine that serves; None: it isn't this one, or they can't be known."""
    return None if who.attached and not serves_here(who.target.url) else gpus_here()


def _streams(point: Point) -> int:
    """Streams to be expected in flight, as far as the plan tells."""
    return point.concurrency or math.ceil(min(peak(point), 1024.0))


def target_line(manifest: Manifest) -> str:
    """One line that names who is measured."""
    identity = manifest.identity
    where = where_it_is(manifest.url, manifest.attached)
    version = f" {identity.version}" if identity.version else ""
    return f"{identity.server}{version} {where} · {manifest.model or 'its model'}"


def preview(options: Options, store: Store, tell: Tell) -> tuple[Manifest, tuple[str, ...]]:
    """What `run` would do, without a measured request: the manifest and lines of facts."""
    with resolved(options, tell) as who:
        options = fitting(options, who)
        manifest = manifest_of(options, who, store, tell)
        tell_trace(manifest, options, who, tell)
        lines = [target_line(manifest)]
        for point in manifest.points:
            check_context(point, who.identity)
            first = next(planned(manifest, options, point, "measure", 1), None)
            if first is None:
                lines.append(f"{place_of(point, manifest.points)}: nothing is due in so short a trial")
                continue
            call = encoded(who.driver, first, who.target)
            lines.append(
                f"{place_of(point, manifest.points)}: {call.method} {call.path}, {len(call.body):,} bytes, "
                f"{_lengths_of(point)}, "
                f"{warm_up_count(manifest.workload, point)} warm-up requests, "
                f"trials: {manifest.workload.trials}"
            )
        return manifest, tuple(lines)


def _lengths_of(point: Point) -> str:
    if not point.prompt_tokens:
        return "sent word for word"
    prompt, output = point.prompt_spread or point.prompt_tokens, point.output_spread or point.output_tokens
    return f"{described(prompt)} prompt tokens, {described(output)} output tokens"
