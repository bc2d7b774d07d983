"""Two targets in turn that were interrupted: what goes on, what counts, what is left alone."""

import time

import msgspec
import pytest

from benchsuite.ab import turns
from benchsuite.conclude import recover
from benchsuite.errors import StoreError, UsageError
from benchsuite.resume import found, unfinished
from benchsuite.simulator import read_truth
from benchsuite.store.runs import Store
from benchsuite.types import Warning
from tests.test_ab import REQUESTS, WORKLOAD, Stopped, arms, complete, measured


def test_what_was_measured_again_and_before_an_interruption_counts_as_spent(servers, tmp_path, monkeypatch):
    store, real, calls = Store(tmp_path / "store"), turns.judged, []
    late = Warning(code="send_lag", level="invalid", message="late", advice="")

    def judged(run_dir, manifest, trial):
        calls.append(trial)
        found = real(run_dir, manifest, trial)
        first = len(calls) == 1
        return tuple(msgspec.structs.replace(row, warnings=(late,)) for row in found) if first else found

    monkeypatch.setattr(turns, "judged", judged)
    price = (1000.0, 3000.0)
    two = tuple(msgspec.structs.replace(arm, token_price=price) for arm in arms(servers))
    begun = time.monotonic()
    # A comes first there: wherever in its trial it ends, the pair isn't whole.
    before = measured(two, store, at=("A", 3), usd=1e6)
    gone_s = time.monotonic() - begun
    assert before[0].manifest.pairing.kept == (1, 2) and 0 < before[0].manifest.pairing.spent_s <= gone_s
    runs = measured(two, store, resume=True, usd=1e6)
    complete(store, runs, 4)
    for run, server in zip(runs, servers, strict=True):
        # What the servers know of the run: pair 1 twice, what came before the interruption, warm-ups.
        name = f"{run.manifest.run_id}-"
        truth = [one for one in read_truth(server.truth_path) if one.request_id.startswith(name)]
        billed = sum(price[0] * one.prompt_tokens + price[1] * one.output_tokens for one in truth) / 1e6
        assert len(truth) > 5 * REQUESTS
        assert run.manifest.pairing.spent_usd == pytest.approx(billed, rel=1e-9)
        assert before[0].manifest.pairing.spent_s < run.manifest.pairing.spent_s <= time.monotonic() - begun


def test_a_budget_that_was_spent_before_an_interruption_stays_spent(servers, tmp_path):
    store, looked = Store(tmp_path / "store"), []

    def look(base, other, pairs):
        looked.append(pairs)
        return False, None

    begun = time.monotonic()
    measured(arms(servers), store, looks=(2, 20), look=look, at=("B", 4))
    runs = measured(
        arms(servers), store, looks=(2, 20), look=look, resume=True, seconds=time.monotonic() - begun
    )
    complete(store, runs, 3)
    # Looked at again, as what it said isn't stored before the end.
    assert looked == [2, 2]


@pytest.mark.parametrize("crash", [False, True], ids=["Ctrl-C", "failure"])
@pytest.mark.parametrize("at", [("A", 1), ("A", 2), ("B", 3)], ids=str)
def test_what_ended_early_goes_on_with_the_pair_that_it_was_at(servers, tmp_path, at, crash):
    store = Store(tmp_path / "store")
    if crash:
        with pytest.raises(Stopped):
            measured(arms(servers), store, at=at, crash=True)
    else:
        found = measured(arms(servers), store, at=at)
        assert [run.status for run in found] == ["interrupted"] * 2
    before = {run_dir.run_id for run_dir in store.runs()}
    plans = [run_dir.plan() for run_dir in store.runs()]
    (kept,) = {plan.pairing.kept for plan in plans}
    # A pair is whole if its last request had been sent by then.
    assert kept == tuple(range(1, at[1])) or (not crash and at[0] == "AB"[at[1] % 2] and len(kept) == at[1])
    if not crash:
        # Half a pair says nothing.
        trials = [[info.trial for info in run.manifest.trials] for run in found]
        assert trials == [list(kept)] * 2
    runs = measured(arms(servers), store, resume=True)
    complete(store, runs, 4)
    assert {run.manifest.run_id for run in runs} == before
    assert all(len(run.manifest.resumed) == 1 for run in runs)
    starts = [(info.start_ns, run.manifest.pairing.arm) for run in runs for info in run.manifest.trials]
    assert "".join(arm for _, arm in sorted(starts)) == "ABBAABBA"
    with pytest.raises(UsageError, match="nothing to resume"):
        measured(arms(servers), store, resume=True)


def test_what_is_recovered_of_two_arms_is_whole_pairs(servers, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(Stopped):
        measured(arms(servers), store, at=("B", 3), crash=True)
    found = recover(store, lambda told: None)
    assert [run.status for run in found] == ["recovered"] * 2
    assert all({info.trial for info in run.manifest.trials} == {1, 2} for run in found)


def test_only_the_very_same_question_is_gone_on_with(servers, tmp_path):
    store, two = Store(tmp_path / "store"), arms(servers)
    measured(two, store, at=("B", 2), purpose="noise")
    for changes in ({}, {"purpose": "gate"}, {"purpose": "noise", "looks": (4,)}):
        with pytest.raises(UsageError, match="nothing to resume"):
            measured(two, store, resume=True, **changes)
    # An arm is no run that could be gone on with alone.
    alone = msgspec.structs.replace(two[0], workload=msgspec.structs.replace(WORKLOAD, trials=4))
    assert len(list(found(store, alone))) == 1 and unfinished(store, alone) is None
    runs = measured(two, store, resume=True, purpose="noise")
    complete(store, runs, 4)


def test_an_arm_that_has_become_another_build_is_not_gone_on_with(servers, tmp_path):
    store, two = Store(tmp_path / "store"), arms(servers)
    other = store.select(measured(two, store, at=("B", 2))[1].manifest.run_id)
    plan = other.plan()
    older = msgspec.structs.replace(plan.identity, version="0.0.1")
    other.replan(msgspec.structs.replace(plan, identity=older))
    with pytest.raises(
        UsageError, match=rf"run {other.run_id} was begun with another server \(.* 0\.0\.1, now"
    ):
        measured(two, store, resume=True)
    # Nothing was touched: it goes on with the build that it was begun with.
    other.replan(plan)
    complete(store, measured(two, store, resume=True), 4)


def test_what_another_has_finished_meanwhile_is_left_as_it_is(servers, tmp_path, monkeypatch):
    store, two = Store(tmp_path / "store"), arms(servers)
    first = measured(two, store, at=("B", 2))
    which = tuple(store.select(run.manifest.run_id) for run in first)
    complete(store, measured(two, store, resume=True), 4)
    monkeypatch.setattr(turns, "begun", lambda *_: which)
    with pytest.raises(StoreError, match="has just finished"):
        measured(two, store, resume=True)
    complete(store, [run_dir.run() for run_dir in which], 4)
