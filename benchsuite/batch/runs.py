"""Runs over a batch API: all requests handed over at once, fetched when they are done, through any crash.

Every step is written down before it is taken (`store/batches.py`). Whoever comes back after a crash goes on
where the file says; where a create call was under way, the server is asked for its batches before another
one is sent.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from benchsuite.asked import Options, key_of
from benchsuite.batch.records import Answers, custom_id, keep
from benchsuite.batch.session import Pace, Session
from benchsuite.conclude import conclude, owned
from benchsuite.driver import BatchApi, BatchState, Driver, UploadsBatches, load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.trial import Interrupt, encoded
from benchsuite.errors import StillRunning, StoreError, TargetError, UsageError
from benchsuite.shown import shown_body
from benchsuite.store.batches import (
    Batch,
    Batches,
    ResumeTarget,
    read_batches,
    read_target,
    write_batches,
    write_target,
)
from benchsuite.store.runs import RunDir
from benchsuite.target import Resolved, Tell
from benchsuite.types import BatchPoll, Manifest, Request, Run, Stage, Target
from benchsuite.workload.draw import Material
from benchsuite.workload.plan import plan

_DIGEST_BYTES = 16


def start(
    run_dir: RunDir, manifest: Manifest, options: Options, who: Resolved, tell: Tell, interrupt: Interrupt
) -> Run:
    """Submit a batch for each trial, wait for all of them, keep their answers: the finished run.

    StillRunning where it is interrupted. Where the server takes no batch at all, nothing is left behind.
    """
    workload = manifest.workload
    batches = Batches(
        batches=tuple(
            Batch(
                point=point.index,
                trial=trial,
                label=f"{manifest.run_id}-{point.index}-{trial}",
                requests=workload.requests or 0,
            )
            for point in manifest.points
            for trial in range(1, workload.trials + 1)
        )
    )
    write_target(run_dir, _to_resume(options, who.target))
    write_batches(run_dir, batches)
    pace, again = Pace(first_s=options.batch_poll_s), _key_again(options, who.driver)
    session = Session(who.driver, who.target, who.endpoint, pace, interrupt, again)
    job = _Job(run_dir, manifest, session, tell, options.material)
    try:
        return job.done()
    except (TargetError, UsageError):
        if not job.submitted:
            shutil.rmtree(run_dir.path)
        raise


def resume(run_dir: RunDir, given: Options, *, tell: Tell, interrupt: Interrupt) -> Run:
    """Go on with a run that was left: the finished run.

    `given` holds what isn't stored of its target, such as secret headers, and its material what its dataset
    holds; its workload is the run's own.
    StoreError where there is nothing to go on with.
    """
    with owned(run_dir) as free:
        if not free:
            raise StoreError(f"another benchsuite is waiting for run {run_dir.run_id}; let it")
        if not run_dir.partial:
            raise StoreError(f"run {run_dir.run_id} is finished: `benchsuite show {run_dir.run_id}`")
        manifest = run_dir.plan()
        session = _session(run_dir, manifest, given, interrupt)
        return _Job(run_dir, manifest, session, tell, given.material).done()


def states(run_dir: RunDir, given: Options) -> list[tuple[Batch, BatchState | None]]:
    """Each batch of a run as it was written down, and as its server says now (None: it isn't there yet)."""
    batches = read_batches(run_dir).batches
    if all(batch.step in {"planned", "uploaded", "creating", "kept"} for batch in batches):
        return [(batch, None) for batch in batches]
    session = _session(run_dir, run_dir.plan(), given, Interrupt())
    return [(batch, session.state(batch.id) if batch.id else None) for batch in batches]


def cancel(run_dir: RunDir, given: Options, tell: Tell) -> None:
    """Ask for the end of a run's batches, and never submit those that weren't.

    What was answered by then is fetched when the run is resumed.
    """
    batches = read_batches(run_dir)
    if not run_dir.partial:
        raise StoreError(f"run {run_dir.run_id} is finished: there is nothing to cancel")
    manifest = run_dir.plan()
    session = _session(run_dir, manifest, given, Interrupt())
    with owned(run_dir) as free:
        job = _Job(run_dir, manifest, session, tell, Material())
        if free:
            job.call_off()
        elif any(batch.step in {"planned", "uploaded", "creating"} for batch in batches.batches):
            raise StoreError(
                f"another benchsuite is just submitting run {run_dir.run_id}; stop it with Ctrl-C"
            )
        for batch in read_batches(run_dir).batches:
            if batch.step == "created":
                session.cancel(batch.id)
                tell(Stage(name="measure", text=f"{batch.id}: its end was asked for"))


# ---------------------------------------------------------------- whom to ask


def _to_resume(options: Options, target: Target) -> ResumeTarget:
    """What is needed to go on, without anything secret."""
    proxy, extra = options.connection.proxy, options.extra_body
    secret_proxy = proxy is not None and "@" in proxy
    # The same test that decides what of it a manifest may show.
    secret_body = bool(extra) and shown_body(extra) != msgspec.json.encode(extra).decode()
    hidden = {"--header": bool(options.headers), "--proxy": secret_proxy, "--extra-body": secret_body}
    hidden["--token-command"] = bool(options.token_command)
    connection = options.connection
    return ResumeTarget(
        url=target.url,
        model=target.model,
        key_variable=options.key_variable,
        options=target.options,
        extra_body={} if secret_body else extra,
        context_tokens=target.context_tokens,
        connection=msgspec.structs.replace(connection, proxy=None) if secret_proxy else connection,
        given_again=tuple(name for name, needed in hidden.items() if needed),
    )


def _session(run_dir: RunDir, manifest: Manifest, given: Options, interrupt: Interrupt) -> Session:
    """The connection to a run's server; UsageError where a secret has to be given again."""
    kept = read_target(run_dir)
    had: Mapping[str, Any] = {
        "--header": given.headers,
        "--proxy": given.connection.proxy,
        "--extra-body": given.extra_body,
        "--token-command": given.token_command,
    }
    missing = [name for name in kept.given_again if not had[name]]
    if missing:
        raise UsageError(f"run {run_dir.run_id} was started with {' and '.join(missing)}: give it again")
    driver = load(manifest.backend, kept.options)
    if not isinstance(driver, BatchApi):
        raise UsageError(f"{driver.title} has no batch API any more; install the version that made the run")
    connection = kept.connection
    if given.connection.proxy is not None:
        connection = msgspec.structs.replace(connection, proxy=given.connection.proxy)
    asked = msgspec.structs.replace(given, key_variable=given.key_variable or kept.key_variable)
    target = Target(
        backend=manifest.backend,
        url=kept.url,
        model=kept.model,
        key=key_of(asked, driver),
        headers=given.headers,
        options=kept.options,
        extra_body=given.extra_body or kept.extra_body,
        context_tokens=kept.context_tokens,
    )
    endpoint, pace = resolve(target, connection), Pace(first_s=given.batch_poll_s)
    return Session(driver, target, endpoint, pace, interrupt, _key_again(asked, driver))


def _key_again(options: Options, driver: Driver) -> Callable[[], str | None] | None:
    """How to get a new key while a batch goes on; None: it is the same all the time."""
    return (lambda: key_of(options, driver)) if options.token_command else None


# ---------------------------------------------------------------- the steps


class _Job:
    """A run's batches on their way from plan to records; what it knows is on disk before it acts on it."""

    def __init__(
        self,
        run_dir: RunDir,
        manifest: Manifest,
        session: Session,
        tell: Tell,
        material: Material,
    ) -> None:
        self._material = material
        self._run_dir, self._manifest, self._session, self._tell = run_dir, manifest, session, tell
        self._batches = read_batches(run_dir)
        self._told = ""

    @property
    def submitted(self) -> bool:
        """There is, or may be, a batch at the server."""
        return any(batch.step not in {"planned", "uploaded"} for batch in self._batches.batches)

    def done(self) -> Run:
        """All steps that are left."""
        try:
            for batch in self._batches.batches:
                self._submit(batch)
            self._wait()
            for batch in self._batches.batches:
                self._keep(batch)
        except StillRunning:
            raise self._still_running() from None
        return conclude(self._run_dir, self._manifest, "finished")

    def call_off(self) -> None:
        """Batches that aren't at the server never will be."""
        for batch in self._batches.batches:
            now = self._found(batch) if batch.step == "creating" else batch
            if now.step in {"planned", "uploaded"}:
                self._write(now, step="over", state="cancelled", seen_over_ns=time.time_ns())

    def _write(self, batch: Batch, **changes: Any) -> Batch:
        changed = msgspec.structs.replace(batch, **changes)
        self._batches = self._batches.with_one(changed)
        write_batches(self._run_dir, self._batches)
        return changed

    def _submit(self, batch: Batch) -> None:
        """Hand it over, exactly once."""
        if batch.step == "creating":
            batch = self._found(batch)
        if batch.step not in {"planned", "uploaded"}:
            return
        session = self._session
        requests = [(custom_id(batch, request.index), request) for request in self._requests(batch)]
        upload = batch.upload
        if not upload and isinstance(session.driver, UploadsBatches):
            self._say(f"uploading {batch.requests:,} requests")
            upload = session.uploaded(session.driver.batch_upload(requests, session.target))
        digest = self._digest(request for _, request in requests)
        batch = self._write(batch, step="uploaded", upload=upload, plan_digest=digest)
        call = session.driver.batch_create(requests, upload, batch.label, session.target)
        # A batch that is found may be over by then: only one that isn't there is asked for again.
        while batch.step == "uploaded":
            session.check_interrupt()
            batch = self._write(batch, step="creating", sent_ns=time.time_ns())
            created = session.created(call)
            if created is not None:
                self._created(batch, created)
                return
            batch = self._write(batch, step="uploaded") if session.refused else self._found(batch)
            if batch.step == "uploaded":
                session.wait_or_give_up()

    def _found(self, batch: Batch) -> Batch:
        """A create call was under way: its batch, if the server has one, else as it was before the call."""
        self._say("asking the server whether the batch was made")
        known = {one.id for one in self._batches.batches if one.id}
        found = self._session.find(batch, known)
        return self._write(batch, step="uploaded") if found is None else self._created(batch, found)

    def _created(self, batch: Batch, state: BatchState) -> Batch:
        batch = self._write(batch, step="created", id=state.id)
        return self._seen(batch, state)

    def _wait(self) -> None:
        """Ask how far they are, less and less often, until all are over."""
        pause_s = 0.0
        while True:
            for batch in self._batches.batches:
                if batch.step == "created":
                    self._seen(batch, self._session.state(batch.id))
            if all(batch.over for batch in self._batches.batches):
                return
            pause_s = self._session.pace.after(pause_s)
            self._session.pause(pause_s)

    def _seen(self, batch: Batch, state: BatchState) -> Batch:
        """Write down how far it is, where that is news."""
        now_ns = time.time_ns()
        poll = BatchPoll(
            seconds=round((now_ns - batch.sent_ns) / 1e9, 3),
            done=state.done,
            failed=state.failed,
            total=state.total,
        )
        last = batch.polls[-1] if batch.polls else None
        same = last is not None and msgspec.structs.replace(last, seconds=poll.seconds) == poll
        if same and not state.over and state.state == batch.state:
            return batch
        self._say(_progress(state))
        over = {"step": "over", "seen_over_ns": now_ns, "took_s": state.took_s} if state.over else {}
        return self._write(
            batch, state=state.state, message=state.message, polls=(*batch.polls, poll), **over
        )

    def _keep(self, batch: Batch) -> None:
        """Fetch its answers and make records of them."""
        if batch.step == "kept":
            return
        answers = Answers(batch)
        session = self._session
        for call in session.state(batch.id).results if batch.id else ():
            for name, status, reply in session.driver.batch_replies(session.result(call)):
                answers.add(name, status, reply)
        if answers.strangers:
            self._say(f"{answers.strangers:,} answers were for requests that weren't ours, or came twice")
        # Which item each of them asked is in the plan, which takes the dataset.
        requests = self._requests(batch) if self._material.items else ()
        keep(self._run_dir, self._manifest, batch, answers, requests, self._material.items)
        self._write(batch, step="kept")

    def _requests(self, batch: Batch) -> Iterator[Request]:
        manifest = self._manifest
        if manifest.workload.dataset is not None and not self._material.items:
            raise UsageError(
                f"run {manifest.run_id} asks the items of {manifest.workload.dataset.file}: "
                "give it again with --dataset FILE"
            )
        return plan(
            manifest.workload,
            manifest.points[batch.point],
            phase="measure",
            trial=batch.trial,
            seed=manifest.seed,
            nonce=manifest.nonce,
            lengths=manifest.lengths,
            material=self._material,
        )

    def _digest(self, requests: Iterator[Request]) -> str:
        """SHA-256 over the bodies, as live calls would have them: equal digests ask the same."""
        digest, session = hashlib.sha256(), self._session
        for request in requests:
            body = encoded(session.driver, request, session.target).body
            digest.update(hashlib.sha256(body).digest()[:_DIGEST_BYTES])
        return digest.hexdigest()

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(Stage(name="measure", text=text))

    def _still_running(self) -> StillRunning:
        run_id = self._run_dir.run_id
        what = "the batch goes on at its server" if self.submitted else "nothing was submitted yet"
        return StillRunning(
            f"{what}\n"
            f"  `benchsuite batch resume {run_id}` goes on with it\n"
            f"  `benchsuite batch cancel {run_id}` ends it"
        )


def _progress(state: BatchState) -> str:
    """How far a batch is, in a line."""
    word = f"{state.state} ({state.message})" if state.message else state.state
    if state.total is None:
        return f"batch {word}"
    done = f"{(state.done or 0):,} of {state.total:,} done"
    return f"batch {word}: {done}{f', {state.failed:,} failed' if state.failed else ''}"
