"""Two targets in turn: who comes when, what they are sent, when it ends, and that nothing is lost."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest
from click.testing import CliRunner

from benchsuite.ab import side, turns
from benchsuite.ab.ask import Ask
from benchsuite.ab.known import until_known
from benchsuite.ab.turns import SPARE, in_turn
from benchsuite.asked import Options
from benchsuite.cli.root import root
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import InvalidMeasurement, NotComparable, UsageError
from benchsuite.pairs import Arm, pairs_of
from benchsuite.simulator import read_truth
from benchsuite.store.check import check
from benchsuite.store.names import place_of
from benchsuite.store.runs import Store
from benchsuite.types import Progress, Warning, Workload

REQUESTS = 8
WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(40,),
    output_tokens=(4,),
    concurrency=(2,),
    requests=REQUESTS,
    trials=1,
)
OPEN = msgspec.structs.replace(WORKLOAD, concurrency=(), rate=(100.0,), arrivals="poisson")


class Stopped(Exception):
    """Ends it as an error would: without a word in the store."""


def arms(servers, workload=WORKLOAD, backend="openai"):
    one, other = (Options(backend=backend, url=server.url, workload=workload) for server in servers)
    return one, other


def measured(two, store, *, looks=(2, 4), look=lambda base, other, pairs: (False, None), at=None, **changes):
    """In the midst of (arm, trial) `at` it is interrupted (`crash`: ends with an exception)."""
    crash, interrupt = changes.pop("crash", False), Interrupt()

    def tell(told):
        if isinstance(told, Progress) and (told.arm, told.trial) == at and told.done >= 2:
            if crash:
                raise Stopped
            interrupt.level = 1

    ask = Ask(looks=looks, **changes)
    return in_turn(two, ask, store, ready=lambda base, other: "", look=look, tell=tell, interrupt=interrupt)


def rows_of(store, run):
    return store.select(run.manifest.run_id).records().to_pylist()


def complete(store, runs, pairs):
    """Both runs are whole: so many trials, each request of them sent once and answered."""
    for run in runs:
        assert run.status == "finished"
        assert check(store.select(run.manifest.run_id)) == []
        assert run.manifest.pairing.kept == tuple(range(1, pairs + 1))
        assert Counter((row["trial"], row["index"]) for row in rows_of(store, run)) == Counter(
            itertools.product(range(1, pairs + 1), range(REQUESTS))
        )
        assert {row["outcome"] for row in rows_of(store, run)} == {"ok"}
        # A prompt that was sent before would be found in the server's cache; all begin with the template's 7.
        assert max(row["cached_tokens"] for row in rows_of(store, run)) <= 8


def test_the_arms_take_turns_abba_and_are_stored_as_two_runs(servers, tmp_path):
    store = Store(tmp_path / "store")
    base, other = measured(arms(servers), store)
    complete(store, (base, other), 4)
    starts = [
        (info.start_ns, run.manifest.pairing.arm) for run in (base, other) for info in run.manifest.trials
    ]
    assert "".join(arm for _, arm in sorted(starts)) == "ABBAABBA"
    assert base.manifest.pairing.first == ("A", "B", "A", "B")
    assert base.manifest.pairing.id == other.manifest.pairing.id
    assert base.manifest.pairing.partner == other.manifest.run_id
    assert other.manifest.pairing.partner == base.manifest.run_id
    assert base.manifest.workload.trials == 4


def test_within_a_pair_both_are_sent_the_same_and_each_pair_has_its_own(servers, tmp_path):
    store = Store(tmp_path / "store")
    # To the same server: a cache finds nothing of what the other arm was sent.
    runs = measured(arms([servers[0]] * 2, OPEN), store)
    complete(store, runs, 4)
    due = {
        (run.manifest.pairing.arm, info.trial): [
            row["due_ns"] - info.start_ns for row in rows_of(store, run) if row["trial"] == info.trial
        ]
        for run in runs
        for info in run.manifest.trials
    }
    gaps = {place: [b - a for a, b in itertools.pairwise(sorted(found))] for place, found in due.items()}
    for trial in range(1, 5):
        assert gaps["A", trial] == gaps["B", trial]
    assert len({tuple(gaps["A", trial]) for trial in range(1, 5)}) == 4
    assert runs[0].manifest.seed == runs[1].manifest.seed
    assert runs[0].manifest.nonce != runs[1].manifest.nonce


def test_it_ends_as_soon_as_all_is_known(servers, tmp_path):
    store, asked = Store(tmp_path / "store"), []
    ready, look = until_known(["ttft_p50"], 0.05)

    def looked(base, other, pairs):
        asked.append(pairs)
        return look(base, other, pairs)

    runs = measured(arms(servers), store, looks=(4, 8, 12), look=looked)
    complete(store, runs, 4)
    assert asked == [4]
    ready(runs[0].manifest, runs[1].manifest)
    with pytest.raises(UsageError, match="no metric called"):
        until_known(["ttfx"], 0.05)[0](runs[0].manifest, runs[1].manifest)
    with pytest.raises(InvalidMeasurement, match="ttft_p90 takes 36 answered requests a trial"):
        until_known(["ttft_p90"], 0.05)[0](runs[0].manifest, runs[1].manifest)
    found = pairs_of(*(Arm(run_dir=store.select(run.manifest.run_id), manifest=run.manifest) for run in runs),
                     ("ttft_p50", "ttft_p90"))  # fmt: skip
    ours, theirs = found.pairs["ttft_p50", 0]
    assert len(ours) == len(theirs) == 4 and max(ours) < min(theirs)
    # Eight answers a trial aren't enough for a p90.
    assert found.few == {("ttft_p90", 0): (8, 36)}


def test_a_budget_of_time_ends_it_with_a_last_look_at_an_even_number(servers, tmp_path):
    store, looked = Store(tmp_path / "store"), []

    def look(base, other, pairs):
        looked.append((pairs, len(base.manifest.pairing.kept)))
        return False, None

    begun = time.monotonic()
    measured(arms(servers), store, looks=(2,))
    # Three or four pairs' worth of time.
    runs = measured(arms(servers), store, looks=(20,), look=look, seconds=2 * (time.monotonic() - begun))
    ((pairs, kept),) = looked
    assert pairs % 2 == 0 and pairs <= kept < 20
    complete(store, runs, kept)


def test_engines_that_are_started_are_never_loaded_at_once(tmp_path, monkeypatch):
    up, most, starts = [], [], []
    real = side.resolved

    @contextlib.contextmanager
    def watched(options, tell):
        with real(options, tell) as who:
            up.append(who)
            starts.append(who.target.url)
            most.append(len(up))
            try:
                yield who
            finally:
                up.remove(who)

    monkeypatch.setattr(side, "resolved", watched)
    two = tuple(Options(backend="sim", start="launch", workload=WORKLOAD) for _ in range(2))
    runs = measured(two, Store(tmp_path / "a"), looks=(2,))
    complete(Store(tmp_path / "a"), runs, 2)
    # B to be asked who it is, A for its trial, B for two, A again.
    assert max(most) == 1 and len(starts) == 4 and not up
    starts.clear()
    runs = measured(two, Store(tmp_path / "b"), looks=(2,), restarts=True)
    complete(Store(tmp_path / "b"), runs, 2)
    assert max(most) == 1 and len(starts) == 6 and not up
    assert runs[0].manifest.pairing.restarts


def test_a_pair_in_which_the_client_was_late_is_measured_again(servers, tmp_path, monkeypatch):
    store, real, calls = Store(tmp_path / "store"), turns.judged, []
    late = Warning(code="send_lag", level="invalid", message="late", advice="")

    def judged(run_dir, manifest, trial):
        found = real(run_dir, manifest, trial)
        calls.append(trial)
        if calls.count(2) == 1:
            found = tuple(msgspec.structs.replace(row, warnings=(late,)) for row in found)
        return found

    monkeypatch.setattr(turns, "judged", judged)
    runs = measured(arms(servers), store)
    complete(store, runs, 4)
    assert calls == [1, 1, 2, 2, 2, 2, 3, 3, 4, 4]
    first = f"{runs[0].manifest.run_id}-"
    own = (entry.request_id for entry in read_truth(servers[0].truth_path))
    mine = (name.removeprefix(first).rpartition("-")[0] for name in own if name.startswith(first))
    sent = Counter(map(place_of, mine))
    # Sent twice, the second time by another name and with prompts that a cache doesn't know.
    assert {place: sent[place] for place in sent if place[1] == 2} == {
        (0, 2, 0): REQUESTS,
        (0, 2, 1): REQUESTS,
    }


def test_what_is_late_again_and_again_is_kept_and_judged(servers, tmp_path, monkeypatch):
    store, calls = Store(tmp_path / "store"), []
    late = Warning(code="send_lag", level="invalid", message="late", advice="")
    real = turns.judged

    def judged(run_dir, manifest, trial):
        calls.append(trial)
        return tuple(msgspec.structs.replace(row, warnings=(late,)) for row in real(run_dir, manifest, trial))

    monkeypatch.setattr(turns, "judged", judged)
    complete(store, measured(arms(servers), store, looks=(2,)), 2)
    assert calls.count(1) == 2 * (SPARE + 1) and calls.count(2) == 2


def test_what_cannot_be_measured_in_turn_is_refused(servers, tmp_path):
    store = Store(tmp_path / "store")
    one, other = arms(servers)
    longer = msgspec.structs.replace(WORKLOAD, same="text", text="prose")
    with pytest.raises(NotComparable, match="can't be compared"):
        measured((one, msgspec.structs.replace(other, workload=longer)), store)
    batch = msgspec.structs.replace(WORKLOAD, batch=True, concurrency=())
    with pytest.raises(UsageError, match="batch API"):
        measured((one, msgspec.structs.replace(other, workload=batch)), store)
    with pytest.raises(UsageError, match="--restart is for engines that benchsuite starts"):
        measured((one, other), store, restarts=True)
    with pytest.raises(UsageError, match="--budget takes a price of both"):
        measured((one, other), store, usd=1.0)
    assert store.runs() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"concurrency": (3,)}, r"another concurrency \(2 and 3\)"),
        ({"requests": REQUESTS + 1}, r"other requests \(8 and 9\)"),
        ({"warm_up_seconds": 1.0}, "other warm up seconds"),
        ({"seed": 7}, r"another seed \(0 and 7\)"),
        ({"cache": ("cold", "shared")}, "other points"),
    ],
    ids=str,
)
def test_arms_that_would_be_sent_something_else_are_refused(servers, tmp_path, changes, said):
    store = Store(tmp_path / "store")
    one, other = arms(servers)
    other = msgspec.structs.replace(other, workload=msgspec.structs.replace(WORKLOAD, **changes))
    with pytest.raises(NotComparable, match=said):
        measured((one, other), store)
    assert store.runs() == []


def test_what_can_never_be_told_ends_it_and_is_stored_as_it_was_measured(servers, tmp_path):
    def look(base, other, pairs):
        raise InvalidMeasurement("too few answers")

    store = Store(tmp_path / "store")
    with pytest.raises(InvalidMeasurement, match="too few answers"):
        measured(arms(servers), store, look=look)
    runs = [run_dir.run() for run_dir in store.runs()]
    complete(store, runs, 2)
    assert {run.decision for run in runs} == {None}


def test_the_command_shows_the_difference_and_goes_on_after_ctrl_c(servers, tmp_path):
    words = [sys.executable, "-m", "benchsuite", "ab", f"sim@{servers[0].url}", f"sim@{servers[1].url}"]
    words += ["--prompt-tokens", "40", "--output-tokens", "4", "--concurrency", "2", "--requests", "40"]
    words += ["--metric", "ttft_p50", "--pairs", "4"]
    env = {**os.environ, "BENCHSUITE_STORE": str(tmp_path / "store")}
    process = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any("-0-2-" in entry.request_id for entry in read_truth(servers[0].truth_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "repeat the command with --resume to go on" in told
    done = subprocess.run([*words, "--resume"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode in {0, 3}, done.stderr
    assert "pairs are done" in done.stderr and "A [1/1] 2 in flight, trial 4 of 4" in done.stderr
    shown = " ".join(done.stdout.split())
    assert "worse in TTFT p50" in shown and "TTFT p50" in shown


def test_one_pair_decides_nothing(servers, tmp_path):
    words = ["ab", *(f"sim@{one.url}" for one in servers), "--store", str(tmp_path), "--metric", "ttft_p50"]
    words += ["--prompt-tokens", "40", "--output-tokens", "4", "--concurrency", "2", "--requests", "40"]
    done = CliRunner().invoke(root, [*words, "--time", "0.1s"])
    # 3: the client was late in this very pair.
    assert done.exit_code in {5, 3}, done.output
    shown = " ".join(done.output.split())
    assert "undecided" in shown and "one pair gives no interval" in shown


def test_what_has_no_number_at_all_decides_nothing(servers, tmp_path):
    words = ["ab", *(f"sim@{one.url}" for one in servers), "--store", str(tmp_path), "--metric", "tpot_p50"]
    words += ["--prompt-tokens", "40", "--output-tokens", "1", "--concurrency", "1", "--requests", "8"]
    done = CliRunner().invoke(root, [*words, "--pairs", "4"])
    # 3: the client was late; of answers of one token nothing is known either way.
    assert done.exit_code in {5, 3}, done.output
    assert "undecided in TPOT p50" in " ".join(done.output.split())
