"""Recovering what was cut off: one run's damage is its own, and what ran to its end is left alone."""

import fcntl

import msgspec
import pytest

from benchsuite import conclude as module
from benchsuite.conclude import conclude, owned, recover
from benchsuite.errors import StoreError
from benchsuite.store import Store
from benchsuite.testing import record
from benchsuite.types import (
    Identity,
    Machine,
    Manifest,
    Point,
    Price,
    Selftest,
    SelftestLevel,
    Workload,
)

MS = 1_000_000
POINT = Point(index=0, prompt_tokens=9, output_tokens=1, concurrency=1)


def answered(sent_ms):
    at = {"due_ns": 0, "sent_ns": 0, "first_token_ns": 50, "first_output_ns": 50, "last_token_ns": 50}
    instants = {name: (sent_ms + later + 1) * MS for name, later in (at | {"end_ns": 100}).items()}
    return record(index=sent_ms, prompt_tokens=9, cached_tokens=0, first_byte_ns=None, **instants)


def cut_off(store, number, **changes):
    """A run with twenty answers and without run.json; higher numbers are newer."""
    known = dict(
        run_id=f"01{number:024}",
        started="2026-11-23T12:00:00Z",
        version="0.1.0",
        command="run",
        backend="sim",
        url="http://127.0.0.1:1",
        model="m",
        attached=True,
        identity=Identity(server="sim"),
        workload=Workload(name="w", version=1, description="", prompt_tokens=(9,), output_tokens=(1,)),
        workload_digest="d",
        seed=0,
        nonce="n",
        lengths=None,
        points=(POINT,),
        workers=1,
        machine=Machine(id="a", os="", cpu="", cores=2, memory_gib=8.0, python="3.11"),
    )
    run_dir = store.create(Manifest(**known | changes))
    with run_dir.writer(0, 1) as writer:
        for turn in range(20):
            writer.write(answered(100 * turn))
    return run_dir


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_a_damaged_run_stops_no_other(store):
    sound, damaged, older = (cut_off(store, number) for number in (3, 2, 1))
    (damaged.path / "plan.json").write_text("{")
    told = []
    found = recover(store, told.append)
    assert [run.manifest.run_id for run in found] == [sound.run_id, older.run_id]
    assert sound.run().status == "recovered" and sound.run().summaries[0].outcomes == {"ok": 20}
    (reason,) = [stage.text for stage in told if damaged.run_id in stage.text]
    assert "can't be recovered" in reason and "damaged" in reason
    with pytest.raises(StoreError, match=damaged.run_id):
        recover(store, told.append)


def test_a_run_that_ended_after_it_was_listed_is_left_alone(store, monkeypatch):
    run_dir = cut_off(store, 1)
    listed = store.partial_runs()
    conclude(run_dir, run_dir.plan(), "finished")
    monkeypatch.setattr(Store, "partial_runs", lambda store: listed)
    told = []
    assert recover(store, told.append) == told == []
    assert run_dir.run().status == "finished"


def test_a_run_that_is_being_measured_is_left_alone(store):
    run_dir = cut_off(store, 1)
    told = []
    with (run_dir.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert recover(store, told.append) == []
    assert run_dir.partial and "still being measured" in told[0].text


def test_what_the_manifest_knows_of_server_and_machine_is_judged(store):
    level = SelftestLevel(
        load="1 stream",
        streams=1,
        rate=None,
        **dict.fromkeys(SelftestLevel.__struct_fields__[3:], 100.0) | {"requests": 1},
    )
    tested = Selftest(time="", version="", machine_id="a", kernel_stamps=True, levels=(level,))
    other = Identity(server="sim", models=("other",))
    run_dir = cut_off(store, 1, identity=other, selftest=tested)

    def codes(manifest):
        return {each.code for each in conclude(run_dir, manifest, "finished").summaries[0].warnings}

    assert codes(run_dir.plan()) == {"wrong_model", "own_error"}
    ours = msgspec.structs.replace(run_dir.plan(), attached=False, selftest=None)
    assert codes(ours) == set()


def test_the_price_and_the_gpus_of_the_manifest_are_used(store):
    price = Price(gpu="H100 SXM", count=2, usd_per_gpu_hour=1.8, source="as stated")
    run_dir = cut_off(store, 1, gpu="H100x2", price=price, gpus=("NVIDIA H100 80GB HBM3",))
    run = conclude(run_dir, run_dir.plan(), "finished")
    (row,) = run.summaries
    # $0.001 a second; one request takes 101 ms and the next begins 100 ms after it.
    per_s = row.rates["requests_per_s"].value
    assert per_s == pytest.approx(10, rel=0.06)
    assert row.rates["cost_per_1k_usd"].value == pytest.approx(1000 * 2 * 1.8 / (3600 * per_s))
    assert row.rates["cost_per_m_tokens_usd"].value == pytest.approx(
        1e6 * 0.001 / (per_s * (9 + 1)), rel=0.06
    )
    assert [warning.code for warning in row.warnings] == ["gpu_contradicted"]
    said = msgspec.structs.replace(
        run.manifest, gpus=None, identity=Identity(server="sim", details={"gpu": "NVIDIA L4"})
    )
    (row,) = conclude(run_dir, said, "finished").summaries
    assert "the server says NVIDIA L4" in row.warnings[0].message
    unpriced = msgspec.structs.replace(run.manifest, price=None, gpus=None)
    (row,) = conclude(run_dir, unpriced, "finished").summaries
    assert not [name for name in row.rates if name.startswith("cost")] and not row.warnings


def test_the_gpus_in_use_and_the_card_priced_are_held_against_the_one_stated(store):
    listed = Price(gpu="H100 SXM", usd_per_gpu_hour=3.99, source="RunPod secure", date="2026-11-09")
    run_dir = cut_off(store, 1, gpu="H100", price=listed, attached=False, engine={"tp": "4", "dp": "2"})

    def told(**changes):
        run = conclude(run_dir, msgspec.structs.replace(run_dir.plan(), **changes), "finished")
        return [(warning.code, warning.message) for warning in run.summaries[0].warnings]

    code, message = told()[0]
    assert code == "gpu_contradicted" and message.endswith("the server uses 8 GPUs (tp 4 × dp 2)")
    assert told(gpu="H100x8") == []
    attached = {"attached": True, "engine": {}}
    parallel = Identity(server="sim", details={"tensor_parallel": "8"})
    assert told(**attached, identity=parallel)[0][1].endswith("the server uses 8 GPUs (tp 8)")
    assert told(**attached, identity=Identity(server="sim")) == []
    pcie = ("NVIDIA H100 PCIe",)
    assert (
        told(**attached, gpus=pcie)[0][1] == "the price of H100 SXM was used, but the machine has H100 PCIe"
    )
    stated = msgspec.structs.replace(listed, source="as stated", date="")
    assert told(**attached, gpus=pcie, price=stated) == []


@pytest.mark.parametrize("third", [False, True])
def test_the_lock_of_who_has_just_left_is_no_lock(tmp_path, monkeypatch, third):
    run_dir = cut_off(Store(tmp_path), 1)
    path, others, real = run_dir.path / "lock", [], fcntl.flock

    def slow(file, how):
        if not others:
            # Between our opening the file and our locking it, its owner leaves and perhaps a third one comes.
            others.append(None)
            path.unlink()
            if third:
                others.append(path.open("w", encoding="utf-8"))
                real(others[-1], fcntl.LOCK_EX)
        real(file, how)

    monkeypatch.setattr(module.fcntl, "flock", slow)
    with owned(run_dir) as mine:
        assert mine is not third
        assert path.exists()
    assert path.exists() is third
    for file in filter(None, others):
        file.close()
