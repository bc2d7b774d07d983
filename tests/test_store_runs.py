"""Run directories: complete or visibly not, found by what people type, refused when too new."""

import fcntl
import json
import math
import shutil
import subprocess
import sys

import msgspec
import pytest

from benchsuite import conclude
from benchsuite.conclude import owned
from benchsuite.errors import StoreError
from benchsuite.store import Store, default_store, new_run_id
from benchsuite.store import runs as runs_module
from benchsuite.store.check import check
from benchsuite.testing import record
from benchsuite.types import (
    Identity,
    Machine,
    Manifest,
    Point,
    Run,
    Selftest,
    Summary,
    TrialInfo,
    Workload,
)

RECORD = record(
    sent_all_ns=0,
    first_byte_ns=1000,
    first_token_ns=1000,
    first_output_ns=1000,
    last_token_ns=4000,
    end_ns=5000,
    gaps_us=[1, 2],
    output_tokens=3,
    finish_reason="stop",
    reads=3,
)
OFFLINE = Point(index=0, prompt_tokens=1, output_tokens=3, concurrency=None, rate=math.inf)


def manifest(run_id=None, **changes):
    known = dict(
        run_id=run_id or new_run_id(),
        started="2026-11-23T12:00:00Z",
        version="0.1.0",
        command="run",
        backend="sim",
        url="http://127.0.0.1:1",
        model="m",
        attached=True,
        identity=Identity(server="sim"),
        workload=Workload(
            name="w",
            version=1,
            description="",
            prompt_tokens=(1,),
            output_tokens=(3,),
            rate=(math.inf, 2.0),
        ),
        workload_digest="d",
        seed=0,
        nonce="n",
        lengths=None,
        points=(OFFLINE,),
        workers=1,
        labels={"rate": "inf"},
        machine=Machine(id="a", os="", cpu="", cores=2, memory_gib=8.0, python="3.11"),
        trials=(
            TrialInfo(point=0, trial=1, start_ns=0, last_send_ns=0, end_ns=5000, plan_digest="", workers=()),
        ),
    )
    return Manifest(**known | changes)


def finished(store, run_id=None, requests=2, records=2):
    run_dir = store.create(manifest(run_id))
    for trial in (0, 1):
        with run_dir.writer(0, trial) as writer:
            for _ in range(records):
                writer.write(RECORD)
    summary = Summary(
        point=OFFLINE,
        requests=requests,
        outcomes={"ok": requests},
        error_kinds={},
        metrics={},
        rates={},
        means={},
        verdict="valid",
        warnings=(),
    )
    run = Run(status="finished", manifest=run_dir.plan(), summaries=(summary,), verdict="valid")
    run_dir.finish(run)
    return run_dir, run


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_run_comes_back_as_it_was_infinite_rates_too(store):
    run_dir, run = finished(store)
    assert run_dir.run() == run
    assert run_dir.run().summaries[0].point.load == "offline"
    assert run_dir.plan() == run.manifest


def test_a_run_is_partial_until_it_is_finished(store):
    run_dir = store.create(manifest())
    (run_dir.spool_dir / "left").write_bytes(b"an answer")
    assert run_dir.spool_dir.stat().st_mode & 0o777 == run_dir.path.stat().st_mode & 0o777 == 0o700
    assert run_dir.partial and store.partial_runs()[0].path == run_dir.path
    assert run_dir.plan().backend == "sim"
    with pytest.raises(StoreError, match="was cut off; `benchsuite store recover`"):
        run_dir.run()
    run_dir.finish(Run(status="finished", manifest=run_dir.plan(), summaries=(), verdict="valid"))
    assert not run_dir.partial and not store.partial_runs()
    assert not run_dir.spool_dir.exists()


def test_a_run_whose_lock_is_held_is_live_and_probing_leaves_the_lock(store):
    run_dir, _ = finished(store)
    (run_dir.path / "run.json").unlink()
    lock = run_dir.path / "lock"
    assert not run_dir.live and not lock.exists()
    with pytest.raises(StoreError, match="benchsuite store recover"):
        store.select("latest")
    with owned(run_dir) as mine:
        assert mine and run_dir.live and lock.exists() and store.cut_off_runs() == []
        with pytest.raises(StoreError, match="is being measured"):
            run_dir.run()
        with pytest.raises(StoreError, match="is being measured"):
            store.select("latest")
    lock.touch()
    assert not run_dir.live
    with owned(run_dir) as mine:
        assert mine
    assert [found.run_id for found in store.cut_off_runs()] == [run_dir.run_id]


def test_who_only_asks_whether_a_run_is_live_keeps_nobody_from_owning_it(store, monkeypatch):
    run_dir = store.create(manifest())
    (run_dir.path / "lock").touch()
    with (run_dir.path / "lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(conclude.time, "sleep", lambda _s: fcntl.flock(asking, fcntl.LOCK_UN))
        with owned(run_dir) as mine:
            assert mine and run_dir.live


def test_a_run_is_reopened_where_a_process_that_outlived_it_still_writes(store, monkeypatch):
    run_dir = store.create(manifest())
    monkeypatch.setattr(runs_module.shutil, "rmtree", lambda *_, **__: None)
    run_dir.reopen(manifest())
    assert run_dir.spool_dir.is_dir() and run_dir.partial


def test_records_say_where_they_belong_and_leave_the_warm_up_out(store):
    run_dir = store.create(manifest())
    for point, trial, part in (
        (0, 0, None),
        (0, 1, None),
        (0, 10, None),
        (0, 2, 1),
        (0, 2, None),
        (1, 1, None),
    ):
        with run_dir.writer(point, trial, part) as writer:
            writer.write(msgspec.structs.replace(RECORD, index=part or 0))
    columns = run_dir.records(0).select(["point", "trial", "index"]).to_pydict()
    assert columns == {"point": [0] * 4, "trial": [1, 2, 2, 10], "index": [0, 0, 1, 0]}
    assert run_dir.records().column("point").to_pylist() == [0, 0, 0, 0, 1]
    assert run_dir.records(0, include_warm_up=True).column("trial").to_pylist() == [0, 1, 2, 2, 10]
    assert run_dir.records(7).num_rows == 0 and "trial" in run_dir.records(7).column_names


def test_an_unfinished_trial_file_is_not_read(store):
    run_dir = store.create(manifest())
    run_dir.trial_path(0, 1).with_name("0-1.parquet.tmp").write_bytes(b"half")
    assert run_dir.records().num_rows == 0
    assert any("never completed" in problem for problem in check(run_dir))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: run | {"schema": 2, "later": 1}, "takes benchsuite 0.1.0 or newer"),
        (lambda run: run | {"later": 1}, "is damaged"),
        (lambda run: {"schema": 1}, "is damaged"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_one_line(store, change, says):
    run_dir, _ = finished(store)
    path = run_dir.path / "run.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(StoreError, match=says) as refused:
        run_dir.run()
    assert "\n" not in str(refused.value)


def test_a_truncated_run_is_damaged(store):
    run_dir, _ = finished(store)
    path = run_dir.path / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="is damaged"):
        run_dir.run()


def test_selecting(store):
    with pytest.raises(StoreError, match="no runs in"):
        store.select("latest")
    old, new, newest = "01k9a" + "0" * 21, "01k9a" + "1" * 21, "01k9b" + "0" * 21
    for run_id in (new, old):
        finished(store, run_id)
    store.create(manifest(newest))
    assert [run_dir.run_id for run_dir in store.runs()] == [newest, new, old]
    assert store.select("latest").run_id == new
    assert store.select("01K9A1").run_id == new
    assert store.select(newest).run_id == newest
    with pytest.raises(StoreError, match=f"2 runs start with '01k9a': {new}, {old};"):
        store.select("01k9a")
    for unknown in ("zzz", ""):
        with pytest.raises(StoreError, match=f"there are: {newest}"):
            store.select(unknown)


def test_other_things_in_a_store_are_no_runs(store):
    run_dir, _ = finished(store)
    (store.path / "notes").mkdir()
    (store.path / new_run_id()).mkdir()
    assert [found.path for found in store.runs()] == [run_dir.path]


def test_merging_is_copying(store, tmp_path):
    run_dir, run = finished(store)
    other = Store(tmp_path / "other")
    shutil.copytree(run_dir.path, other.path / run_dir.run_id)
    assert other.select("latest").run() == run


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--store"):
        Store(tmp_path / "file").create(manifest())


def test_run_ids_sort_by_time(monkeypatch):
    # Example of the ULID specification: 01ARYZ6S41 is 1469918176385 ms.
    monkeypatch.setattr(runs_module.time, "time_ns", lambda: 1469918176385 * 10**6)
    first = new_run_id()
    assert first.startswith("01aryz6s41") and len(first) == 26
    assert len({new_run_id() for _ in range(100)}) == 100
    monkeypatch.setattr(runs_module.time, "time_ns", lambda: 1469918176386 * 10**6)
    assert new_run_id() > first


def test_where_the_store_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    assert default_store(None, {}) == tmp_path / "home/.local/share/benchsuite"
    assert default_store(None, {"XDG_DATA_HOME": "relative"}) == tmp_path / "home/.local/share/benchsuite"
    assert default_store(None, data) == tmp_path / "data/benchsuite"
    (tmp_path / "results").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"')
    assert default_store(None, data) == tmp_path / "data/benchsuite"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "benchsuite"')
    assert default_store(None, data) == tmp_path / "results"
    assert default_store(None, {"BENCHSUITE_STORE": "~/kept"}) == tmp_path / "home/kept"
    assert str(default_store("here", {"BENCHSUITE_STORE": "/kept"})) == "here"


def test_the_latest_selftest_of_this_machine(store, monkeypatch):
    assert store.latest_selftest("a") is None
    for ms, (machine, time) in enumerate((("a", "1"), ("a", "2"), ("b", "3"))):
        monkeypatch.setattr(runs_module.time, "time_ns", lambda ms=ms: (10**12 + ms) * 10**6)
        store.save_selftest(
            Selftest(time=time, version="0", machine_id=machine, kernel_stamps=True, levels=())
        )
    (store.path / ".selftest" / "zzz.json").write_text("{")
    assert store.latest_selftest("a").time == "2"
    assert store.runs() == []


def test_a_sound_run_has_no_problems(store):
    run_dir, _ = finished(store)
    assert check(run_dir) == []


def test_check_finds_what_is_wrong(store):
    run_dir, _ = finished(store, requests=3)
    assert check(run_dir) == ["point 0: the summary counts 3 requests, the records 2"]
    run_dir, _ = finished(store)
    with run_dir.writer(0, 1) as writer:
        writer.write(RECORD)
        writer.write(msgspec.structs.replace(RECORD, outcome="timeout", gaps_us=[1, 9]))
    gaps, outcomes = check(run_dir)
    assert "gaps of 1 records" in gaps and "'timeout': 1" in outcomes
    run_dir.trial_path(0, 1).write_bytes(b"PAR1")
    assert "is damaged" in check(run_dir)[0]
    run_dir.trial_path(0, 1).unlink()
    assert "trial 1 of point 0 has no records" in check(run_dir)[0]
    moved = run_dir.path.rename(store.path / new_run_id())
    assert "plan.json belongs to run" in check(runs_module.RunDir(moved))[0]


def test_looking_at_runs_needs_no_arrow():
    code = "import sys, benchsuite.store; print('pyarrow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
