"""Runs that were interrupted or killed go on: every trial is there once, and nothing is asked twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.cli.run_sweep import tell_forecast
from benchsuite.conclude import recover
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import StoreError, UsageError
from benchsuite.resume import done_trials, same_still, unfinished
from benchsuite.run import run
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.store.check import check
from benchsuite.store.names import place_of, stem_of
from benchsuite.store.runs import Store
from benchsuite.types import Lengths, Progress, Workload
from benchsuite.workload.order import blocks
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points

REQUESTS, TRIALS = 12, 2
BY_THEN = 2
"""So many answers of a trial are there before it is cut off."""
WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(40,),
    output_tokens=(8,),
    concurrency=(1, 3),
    requests=REQUESTS,
    trials=TRIALS,
)
PLACES = list(blocks((0, 1), TRIALS, order="blocks", seed=0))
"""(point, trial) in the order of measuring."""


class Stopped(Exception):
    """Ends a run as an error would: without a word in the store."""


@pytest.fixture
def simulator(tmp_path):
    config = SimConfig(
        ttft_ms=60.0,
        itl_ms=1.0,
        prefix_cache=True,
        cache_block_tokens=4,
        truth_path=str(tmp_path / "truth.jsonl"),
    )
    with running(config) as server:
        yield server


def asked(url, **changes):
    """By way of a dialect that can't tell the server to leave its cache alone."""
    return msgspec.structs.replace(Options(backend="openai", url=url, workload=WORKLOAD), **changes)


def measured(options, store, *, at=None, crash=False):
    """One run; in the midst of (point, trial) it is interrupted, or ends with an exception."""
    interrupt = Interrupt()

    def tell(told):
        here = isinstance(told, Progress) and (told.point.index, told.trial) == at
        if here and (told.done >= BY_THEN or not told.trial):
            if crash:
                raise Stopped
            interrupt.level = 1

    return run(options, store, tell=tell, interrupt=interrupt)


def complete(store, truth):
    """The only run of the store is whole: every (point, trial) once, its requests all sent and heard."""
    (run_dir,) = store.runs()
    found = run_dir.run()
    assert found.status == "finished"
    assert [(info.point, info.trial) for info in found.manifest.trials] == sorted(PLACES)
    assert check(run_dir) == []
    rows = run_dir.records().to_pylist()
    assert Counter((row["point"], row["trial"], row["index"]) for row in rows) == Counter(
        (point, trial, index) for point, trial in PLACES for index in range(REQUESTS)
    )
    assert {row["outcome"] for row in rows} == {"ok"}
    # A prompt that was sent before would be found in the server's cache; all begin with the template's 7.
    assert max(row["cached_tokens"] for row in rows) <= 8
    sent = Counter(entry.request_id for entry in read_truth(truth))
    assert all(sent[row["request_id"]] == 1 for row in rows)
    assert [summary.requests for summary in found.summaries] == [REQUESTS * TRIALS] * 2
    return found


def stems(truth, run_id):
    """(point, trial, again) → requests of the run that the server got."""
    ids = (entry.request_id for entry in read_truth(truth))
    own = (name.removeprefix(f"{run_id}-") for name in ids if name.startswith(run_id))
    return Counter(place_of(name.rpartition("-")[0]) for name in own)


@pytest.mark.parametrize(
    ("at", "crash"),
    [((PLACES[0][0], 0), False), (PLACES[2], False), (PLACES[3], True)],
    ids=["warm-up", "third trial", "last trial fails, recovered"],
)
def test_a_run_that_ended_early_goes_on_exactly_where_it_was(simulator, tmp_path, at, crash):
    store, truth = Store(tmp_path / "store"), simulator.truth_path
    if crash:
        with pytest.raises(Stopped):
            measured(asked(simulator.url), store, at=at, crash=True)
        assert [each.status for each in recover(store, lambda told: None)] == ["recovered"]
    else:
        assert measured(asked(simulator.url), store, at=at).status == "interrupted"
    (run_dir,) = store.runs()
    manifest = run_dir.plan()
    done = done_trials(run_dir, manifest)
    assert done == frozenset(PLACES[: PLACES.index(at)] if at in PLACES else ())
    measured(asked(simulator.url, resume=True), store)
    found = complete(store, truth)
    assert (found.manifest.nonce, found.manifest.lengths) == (manifest.nonce, manifest.lengths)
    assert len(found.manifest.resumed) == 1
    if at in PLACES:
        # Its prompts were in the server's cache when it was measured again.
        assert stems(truth, manifest.run_id)[*at, 0] >= BY_THEN
    for (point, trial, again), count in stems(truth, manifest.run_id).items():
        if trial:
            assert count == REQUESTS or again == 0
            assert again == int((point, trial) not in done) or (point, trial) == at


def test_a_run_that_is_interrupted_again_and_again_comes_to_its_end(simulator, tmp_path):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[1])
    assert measured(asked(simulator.url, resume=True), store, at=PLACES[1]).status == "interrupted"
    measured(asked(simulator.url, resume=True), store)
    assert len(complete(store, simulator.truth_path).manifest.resumed) == 2
    with pytest.raises(UsageError, match="nothing to resume"):
        measured(asked(simulator.url, resume=True), store)


def test_a_run_that_was_killed_goes_on(simulator, tmp_path):
    store, truth = Store(tmp_path / "store"), simulator.truth_path
    words = [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--url", simulator.url]
    words += ["--store", str(store.path), "--workload", str(tmp_path / "w.toml")]
    (tmp_path / "w.toml").write_text(
        'name = "w"\nversion = 1\ndescription = "d"\n[prompts]\ntokens = 40\ntext = "random"\n'
        f"[outputs]\ntokens = 8\n[load]\nconcurrency = [1, 3]\n[stop]\nrequests = {REQUESTS}\n"
        f"trials = {TRIALS}\n"
    )
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    point, trial = PLACES[1]
    begun = f"-{stem_of(point, trial)}-"
    deadline = time.monotonic() + 60
    while not any(begun in entry.request_id for entry in read_truth(truth)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (run_dir,) = store.runs()
    assert run_dir.partial
    went_on = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=120)
    assert went_on.returncode in {0, 3}, went_on.stderr
    assert f"going on with run {run_dir.run_id}: 1 of 4 trials are done" in went_on.stderr
    complete(store, truth)


def test_ctrl_c_says_how_to_go_on(simulator, tmp_path):
    words = [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--url", simulator.url]
    words += ["--prompt-tokens", "40", "--output-tokens", "8", "--requests", "400", "--concurrency", "1"]
    env = {**os.environ, "BENCHSUITE_STORE": str(tmp_path / "store")}
    process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any("-0-1-" in entry.request_id for entry in read_truth(simulator.truth_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "repeat the command with --resume to go on" in told
    assert "the same command with --resume does the rest" in " ".join(shown.split())


def test_only_a_run_that_was_asked_the_same_goes_on(simulator, tmp_path):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[0])
    other = msgspec.structs.replace(WORKLOAD, requests=REQUESTS + 1)
    for changes in (
        {"workload": other},
        {"model": "another"},
        {"options": {"endpoint": "completions"}},
        {"extra_body": {"top_k": 1}},
    ):
        with pytest.raises(UsageError, match="nothing to resume"):
            measured(asked(simulator.url, resume=True, **changes), store)
    assert len(store.runs()) == 1


def test_another_server_or_machine_is_refused_and_the_run_stays_as_it_was(simulator, tmp_path):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[1])
    (run_dir,) = store.runs()
    begun = run_dir.plan()
    same_still(begun, begun)
    longer = msgspec.structs.replace(begun.lengths, overhead=begun.lengths.overhead + 1)
    elsewhere = msgspec.structs.replace(begun.machine, id="another")
    for changes, said in (
        ({"lengths": longer}, "counts tokens otherwise"),
        ({"machine": elsewhere}, "from another machine"),
        ({"model": "b"}, "another model"),
        ({"points": begun.points[:1]}, "other points"),
    ):
        with pytest.raises(UsageError, match=said):
            same_still(begun, msgspec.structs.replace(begun, **changes))
    path = run_dir.path / "plan.json"
    path.write_text(path.read_text().replace(begun.machine.id, "0123456789abcdef"))
    before = sorted((p.name, p.stat().st_mtime_ns) for p in run_dir.path.rglob("*.*"))
    with pytest.raises(UsageError, match="from another machine"):
        measured(asked(simulator.url, resume=True), store)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in run_dir.path.rglob("*.*")) == before


def test_what_changed_since_is_told_and_kept(simulator, tmp_path):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[1])
    (run_dir,) = store.runs()
    path, version = run_dir.path / "plan.json", run_dir.plan().version
    path.write_text(path.read_text().replace(f'"version": "{version}"', '"version": "0.0.1"'))
    measured(asked(simulator.url, resume=True, seed=5), store)
    (note,) = run_dir.run().manifest.resumed
    assert f"benchsuite 0.0.1 → {version}" in note
    assert "seed 5 asked, 0 kept" in note
    assert run_dir.run().manifest.seed == 0


@pytest.mark.parametrize("text", ["random", "prose"])
def test_a_trial_that_is_sent_again_has_new_first_words_and_otherwise_the_same(text):
    lengths = Lengths(words=tuple(f"w{n}" for n in range(400)), overhead=5, source="usage")
    workload = msgspec.structs.replace(WORKLOAD, concurrency=(), rate=(5.0,), text=text)
    (point,) = points(workload)

    def sent(again):
        requests = plan(
            workload, point, phase="measure", trial=1, seed=3, nonce="n", lengths=lengths, again=again
        )
        return [(request.due_offset_ns, request.messages[0].content.split()) for request in requests]

    first, second = sent(0), sent(1)
    assert sent(1) == second
    assert [due for due, _ in first] == [due for due, _ in second]
    for (_, one), (_, other) in zip(first, second, strict=True):
        assert one[0] != other[0] or one[1] != other[1]
        assert one[8:] == other[8:]
    assert not {tuple(words[:6]) for _, words in first} & {tuple(words[:6]) for _, words in second}


def test_a_warm_prompt_stays_the_same_however_often_its_trial_is_sent():
    lengths = Lengths(words=tuple(f"w{n}" for n in range(400)), overhead=5, source="usage")
    workload = msgspec.structs.replace(WORKLOAD, cache=("warm",))
    point = points(workload)[0]
    texts = {
        request.messages[0].content
        for again in (0, 1, 3)
        for request in plan(
            workload, point, phase="measure", trial=1, seed=3, nonce="n", lengths=lengths, again=again
        )
    }
    assert len(texts) == 1


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 12, 0), (1, 2, 7)])
def test_a_trials_names_say_where_it_belongs(place):
    assert place_of(stem_of(*place)) == place
    with pytest.raises(ValueError, match="names no trial"):
        place_of(f"{stem_of(*place)}-0")


class Hasty(Store):
    """A store whose runs are recovered by somebody else before whoever made them holds them."""

    def create(self, manifest):
        run_dir = super().create(manifest)
        recover(self, lambda _told: None)
        return run_dir


def test_a_run_that_was_recovered_before_it_began_is_not_measured(simulator, tmp_path):
    with pytest.raises(StoreError, match="was recovered before it had begun"):
        measured(asked(simulator.url), Hasty(tmp_path / "store"))


def begun_with(store, tmp_path, content, *words):
    """What `run --dataset` says, of a file with this content, with further words."""
    data = tmp_path / "items.jsonl"
    data.write_text(content)
    command = [sys.executable, "-m", "benchsuite", "run", "--backend", "sim", "--dataset", str(data)]
    command += ["--output-tokens", "8", "--concurrency", "1,3", "--trials", "2", *words]
    return [*command, "--store", str(store.path)]


def test_a_file_that_was_edited_meanwhile_is_named_as_the_reason(simulator, tmp_path):
    store, items = Store(tmp_path / "store"), [f'{{"prompt": "say {n}"}}\n' for n in range(12)]
    words = begun_with(store, tmp_path, "".join(items), "--url", simulator.url)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any("-1-" in entry.request_id for entry in read_truth(simulator.truth_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (run_dir,) = store.runs()
    begun_with(store, tmp_path, "".join(items[:-1]))
    edited = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=60)
    assert edited.returncode == 2
    said = " ".join(edited.stderr.split())
    assert f"items.jsonl has other content than when run {run_dir.run_id} began" in said
    assert "leave --resume out" in said and "the very command" not in said
    other = subprocess.run([*words, "--resume", "--endpoint", "completions"], capture_output=True, text=True)
    assert other.returncode == 2 and "the very command" in " ".join(other.stderr.split())
    begun_with(store, tmp_path, "".join(items))
    went_on = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=120)
    assert went_on.returncode in {0, 3}, went_on.stderr
    # It is finished: that the file changed since is no reason for anything.
    begun_with(store, tmp_path, "".join(items[:-1]))
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "has other content" not in " ".join(done.stderr.split())


def test_what_is_still_to_do_counts_the_trials_that_are_left(simulator, tmp_path, capsys):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[2])
    tell_forecast([asked(simulator.url, resume=True)], store, yes=True, ask=False)
    assert capsys.readouterr().err.startswith("still to do: 2 of 4 trials, ")
    tell_forecast([asked(simulator.url)], store, yes=True, ask=False)
    assert capsys.readouterr().err.startswith("2 points × 2 trials, ")


def test_a_capacity_search_is_no_run_that_goes_on(simulator, tmp_path):
    store = Store(tmp_path / "store")
    measured(asked(simulator.url), store, at=PLACES[1])
    (run_dir,) = store.runs()
    options = asked(simulator.url, resume=True)
    assert unfinished(store, options) is not None
    path = run_dir.path / "plan.json"
    path.write_text(path.read_text().replace('"capacity": false', '"capacity": true'))
    assert run_dir.plan().capacity and unfinished(store, options) is None
