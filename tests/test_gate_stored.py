"""Gates of stored runs: against their history, and against limits of their own; each exit code."""

import json
import re
import shutil

import msgspec
import pytest

from benchsuite.ab.ask import Ask
from benchsuite.asked import Options
from benchsuite.cli import main
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import NotComparable, StoreError, UsageError
from benchsuite.gate import decide as gate
from benchsuite.gate.baseline import against_history, check_trials, earlier_runs, numbers_of
from benchsuite.gate.decide import Gate, Noise
from benchsuite.gate.limits import parse_limits
from benchsuite.pairs import Arm, Numbers
from benchsuite.run import run
from benchsuite.store.runs import Store, as_json, new_run_id
from benchsuite.telemetry.machine import fingerprint
from benchsuite.types import Estimate, Pairing, Warning, Workload

PASSES, FAILS, USAGE, INVALID, NOTHING, UNDECIDED, BUG = 0, 1, 2, 3, 4, 5, 70
REQUESTS = 40
ASKED = ["--prompt-tokens", "64", "--output-tokens", "6", "--concurrency", "8", "--requests", str(REQUESTS)]
WORKLOAD = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(40,),
    output_tokens=(4,),
    concurrency=(4,),
    requests=REQUESTS,
    trials=3,
)


@pytest.fixture
def measured(server, tmp_path):
    """A store with one valid run, and a way to copy it with another id."""
    store = Store(tmp_path / "store")
    url = server().partition("@")[2]
    options = Options(backend="sim", url=url, workload=WORKLOAD)
    done = run(options, store, tell=lambda told: None, interrupt=Interrupt())
    run_dir = store.select(done.manifest.run_id)
    # Whether the client was late this time isn't what is tested with it.
    (run_dir.path / "run.json").write_bytes(as_json(msgspec.structs.replace(done, verdict="valid")))
    return store, run_dir


def copied(store, run_dir, *, slower=1.0, verdict=None, **changes):
    """The same run once more, newest of all."""
    name = new_run_id()
    path = store.path / name
    shutil.copytree(run_dir.path, path)
    known = run_dir.run()
    manifest = msgspec.structs.replace(known.manifest, run_id=name, **changes)
    found = msgspec.structs.replace(known, manifest=manifest, verdict=verdict or known.verdict)
    (path / "run.json").write_bytes(as_json(found))
    plan = json.loads((path / "plan.json").read_text())
    plan["manifest"] = json.loads(as_json(manifest))
    (path / "plan.json").write_text(json.dumps(plan))
    if slower != 1.0:
        _slow(path, slower)
    return store.select(name)


def _slow(path, factor):
    """Every answer took so much longer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in (path / "trials").glob("*.parquet"):
        table = pq.read_table(file)
        sent = table.column("sent_ns").to_pylist()
        for name in ("first_token_ns", "last_token_ns", "end_ns"):
            later = [
                start + round((at - start) * factor)
                for start, at in zip(sent, table.column(name).to_pylist(), strict=True)
            ]
            index = table.schema.get_field_index(name)
            table = table.set_column(index, table.schema.field(name), pa.array(later, pa.int64()))
        pq.write_table(table, file)


def test_a_run_within_the_band_of_its_history_passes_and_one_beyond_is_an_alarm(measured, capsys):
    store, first = measured
    for _ in range(9):
        copied(store, first)
    same, slow = copied(store, first), copied(store, first, slower=1.3)
    words = ["--store", str(store.path), "--baseline", "latest"]
    assert main(["gate", "--run", same.run_id, *words]) == PASSES
    assert "within the band of the last 10 runs" in " ".join(capsys.readouterr().out.split())
    assert main(["gate", "--run", slow.run_id, *words]) == UNDECIDED
    shown = " ".join(capsys.readouterr().out.split())
    assert "UNDECIDED" in shown and "worse than the last 10 runs in TTFT p50 by 30 %" in shown
    assert main(["gate", "--run", slow.run_id, *words, "--history-fails"]) == FAILS
    assert main(["gate", "--run", slow.run_id, *words, "--undecided", "pass"]) == PASSES
    assert main(["gate", "--run", slow.run_id, *words, "--undecided", "fail"]) == FAILS


def test_a_history_of_nine_or_of_another_workload_is_none(measured, capsys):
    store, first = measured
    for _ in range(8):
        copied(store, first)
    last = copied(store, first)
    words = ["gate", "--run", last.run_id, "--store", str(store.path), "--baseline", "latest"]
    assert main(words) == NOTHING
    assert "holds 9 comparable runs and it takes 10" in capsys.readouterr().err
    other = msgspec.structs.replace(WORKLOAD, name="another")
    copied(store, first, workload=other)
    newest = copied(store, first)
    # Ten with the one before; the other workload's doesn't count.
    assert main([*words[:2], newest.run_id, *words[3:]]) == PASSES
    lone = copied(store, first, workload=msgspec.structs.replace(WORKLOAD, name="third"))
    capsys.readouterr()
    assert main([*words[:2], lone.run_id, *words[3:]]) == NOTHING
    told = capsys.readouterr().err
    assert "holds 0 comparable runs" in told and "workloads w@1 and third@1" in told


def test_another_store_of_this_machine_is_a_history_and_one_of_another_machine_is_none(
    measured, tmp_path, capsys
):
    store, first = measured
    for _ in range(9):
        copied(store, first)
    shutil.copytree(store.path, tmp_path / "cache")
    # A store of its own, which calls this machine something else.
    fresh = Store(tmp_path / "fresh")
    fresh.prepare()
    machine = fingerprint(fresh.path)
    assert machine.id != first.run().manifest.machine.id
    shutil.copytree(first.path, fresh.path / first.run_id)
    mine = copied(fresh, fresh.select(first.run_id), machine=machine)
    shutil.rmtree(fresh.path / first.run_id)
    words = ["gate", "--run", mine.run_id, "--store", str(fresh.path), "--baseline", str(tmp_path / "cache")]
    assert main(words) == PASSES
    (tmp_path / "cache" / ".salt").write_bytes(b"somebody else's")
    capsys.readouterr()
    assert main(words) == NOTHING
    assert "another client machine" in capsys.readouterr().err


def test_arms_of_an_ab_are_no_history(measured):
    store, first = measured
    pairing = Pairing(id="x", arm="A", partner="y", purpose="gate")
    for _ in range(12):
        copied(store, first, pairing=pairing)
    last = copied(store, first)
    assert main(["gate", "--run", last.run_id, "--store", str(store.path), "--baseline", "latest"]) == NOTHING


def test_fewer_than_three_trials_fail_nothing_against_a_history(measured, capsys, monkeypatch):
    store, first = measured
    for _ in range(9):
        copied(store, first)
    slow = copied(store, first, slower=1.3)
    for trial in (slow.path / "trials").glob("*-[23].parquet"):
        trial.unlink()
    known = slow.run()
    words = ["gate", "--run", slow.run_id, "--store", str(store.path), "--baseline", "latest"]
    aged = against_history(slow, earlier_runs(store, "latest"), ("ttft_p50",), named=True)
    assert [row.trials for row in aged] == [1] and known.verdict == "valid"
    assert main([*words, "--history-fails"]) == NOTHING
    told = capsys.readouterr().err
    assert "--history-fails takes three trials" in told and "this run has 1" in told
    # Without it, an alarm is told with what it's worth.
    assert main(words) == UNDECIDED
    shown = " ".join(capsys.readouterr().out.split())
    assert "fewer than three trials" in shown and "3 to 6 %" not in shown
    # Of a run that isn't measured yet it's said before.
    monkeypatch.setattr("benchsuite.cli.gate.measured_run", None)
    live = ["gate", "sim@http://127.0.0.1:1", *ASKED, "--trials", "2", *words[3:], "--history-fails"]
    assert main(live) == NOTHING
    assert "--history-fails takes three trials" in capsys.readouterr().err


def test_the_fewest_trials_of_any_row_are_what_an_alarm_is_worth():
    check_trials([3, 4])
    for numbers in ([3, 1], [1, 3], []):
        with pytest.raises(NotComparable, match=f"this run has {min(numbers, default=0)}"):
            check_trials(numbers)


def test_a_metric_that_would_not_be_looked_at_is_refused(measured, capsys, monkeypatch):
    store, _ = measured
    monkeypatch.setattr("benchsuite.cli.gate.measured_run", None)
    kept = ["--store", str(store.path), "--limit", "ttft_p50<10s", "--metric"]
    for target in (["sim@http://127.0.0.1:1", *ASKED], ["--run", "latest"]):
        for metric in ("tpot_p99", "bogus"):
            assert main(["gate", *target, *kept, metric]) == USAGE
            told = capsys.readouterr().err
            assert "no metric called 'bogus'" in told if metric == "bogus" else "--metric" in told
        assert main(["gate", *target, "--baseline", "latest", *kept, "bogus"]) == USAGE
        assert "no metric called 'bogus'" in capsys.readouterr().err


def test_all_limits_that_cannot_be_seen_are_raised_in_one_command(measured, monkeypatch):
    store, first = measured
    manifest = first.run().manifest
    points = (*manifest.points, msgspec.structs.replace(manifest.points[0], index=1, concurrency=8))
    manifest = msgspec.structs.replace(manifest, points=points)
    sd = {("ttft_p50", 0): 0.8, ("ttft_p50", 1): 0.5, ("tpot_p90", 0): 1, ("e2e_p50", 0): 0.001}
    noise = Noise(run_id="x", pairs=4, sd=sd)
    metrics = ("ttft_p50", "tpot_p90", "e2e_p50")
    monkeypatch.setattr(gate, "known_noise", lambda *_, **__: noise)

    def told(*limits):
        asked = Gate(limits=parse_limits(limits), metrics=metrics)
        return gate.watching(asked, store, Ask(purpose="gate"))[0](manifest, manifest)

    with pytest.raises(UsageError) as error:
        told()
    said = str(error.value)
    (raised,) = re.findall(r"--limit (\S+)\)", said)
    assert [word.partition("=")[0] for word in raised.split(",")] == ["ttft_p50", "tpot_p90"]
    assert "e2e_p50" not in said and len(said.splitlines()) == 1
    # What is proposed is taken, though it's more than 100 %.
    assert all(float(each) > 100 for each in re.findall(r"([\d.]+)%", raised))
    assert "can be seen" in told(raised)


def test_an_invalid_run_is_refused_whatever_it_is_held_against(measured, capsys):
    store, first = measured
    bad = copied(store, first, verdict="invalid")
    words = ["gate", "--run", bad.run_id, "--store", str(store.path)]
    assert main([*words, "--limit", "ttft_p50<10s"]) == INVALID
    assert f"run {bad.run_id} is invalid" in capsys.readouterr().err
    # Failed requests alone speak against it, fewer than the limit; but the history can't be asked.
    few = Warning(code="errors", level="invalid", message="2 of 40 requests failed", advice="look")
    rows = tuple(msgspec.structs.replace(row, warnings=(few,)) for row in first.run().summaries)
    (bad.path / "run.json").write_bytes(as_json(msgspec.structs.replace(bad.run(), summaries=rows)))
    words = [*words, "--limit", "error_rate<10%"]
    assert main(words) == PASSES
    assert main([*words, "--baseline", "latest"]) == INVALID


def test_limits_of_its_own_judge_a_stored_run(measured, capsys):
    store, first = measured
    words = ["gate", "--run", "latest", "--store", str(store.path), "--limit"]
    assert main([*words, "ttft_p50<10s,error_rate<1%"]) == PASSES
    assert main([*words, "ttft_p50<1ms"]) == FAILS
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAIL" in shown and "ttft_p50<1ms is broken" in shown
    low, high = _interval(first, "ttft", "p50")
    assert main([*words, f"ttft_p50<{(low + high) / 2}ms"]) == UNDECIDED
    assert main([*words, "ttft_p99<1s"]) == INVALID
    assert "ttft_p99 takes 368 answered requests, and there are 120" in capsys.readouterr().err
    assert main([*words, "cost_per_1k<2"]) == USAGE


def _interval(run_dir, metric, q):
    found = run_dir.run().summaries[0].metrics[metric].quantiles[q]
    return found.low, found.high


def test_baselines_are_named_by_run_label_folder_and_file(measured, tmp_path, monkeypatch):
    store, first = measured
    labelled = [copied(store, first, labels={"branch": "main"}) for _ in range(3)]
    last = copied(store, first, labels={"branch": "feature/x"})

    def ids(selector):
        return [getattr(each, "run_id", "") or each.manifest.run_id for each in earlier_runs(store, selector)]

    whole = [last.run_id, *(each.run_id for each in labelled[::-1]), first.run_id]
    assert ids("latest") == whole and ids("latest~1") == whole[1:]
    assert ids(labelled[0].run_id) == [labelled[0].run_id, first.run_id]
    assert ids("branch:main") == whole[1:4] and ids("branch:main~1") == whole[2:4]
    assert ids("branch:feature/x") == [last.run_id]
    assert ids(str(store.path)) == whole and ids(str(first.path)) == [first.run_id]
    folder = tmp_path / "kept"
    folder.mkdir()
    for number, each in enumerate((first, last)):
        words = ["show", each.run_id, "--format", "json", "-o", str(folder / f"{number}.json")]
        assert main([*words, "--store", str(store.path)]) == 0
    assert ids(str(folder)) == [last.run_id, first.run_id]
    assert ids(str(folder / "0.json")) == [first.run_id]
    # A folder of the working directory needs no slash, and hides no run, label or word.
    monkeypatch.chdir(tmp_path)
    assert ids("kept") == ids("kept/") == [last.run_id, first.run_id]
    for name in ("latest", "branch:main"):
        (tmp_path / name).mkdir()
    assert ids("latest") == whole and ids("branch:main") == whole[1:4]
    for nothing in ("branch:nope", "zzz"):
        with pytest.raises(StoreError):
            earlier_runs(store, nothing)


def test_what_has_no_number_is_never_passed_over(measured, capsys, monkeypatch):
    _, first = measured
    arm = Arm(run_dir=first, manifest=first.run().manifest)
    same = {("ttft_p50", 0): ((10.0, 10.1, 10.2, 10.3), (10.0, 10.1, 10.2, 10.3))}
    monkeypatch.setattr(gate, "pairs_of", lambda *_: Numbers(pairs=same, few={}, alpha=0.05))
    assert gate.decided(Gate(metrics=("ttft_p50",)), arm, arm, 4).verdict == "pass"
    found = gate.decided(Gate(metrics=("ttft_p50", "tpot_p50")), arm, arm, 4)
    assert [(row.metric, row.verdict) for row in found.judged] == [
        ("ttft_p50", "pass"),
        ("tpot_p50", "undecided"),
    ]
    assert found.verdict == "undecided"


def test_a_run_is_held_against_what_was_before_it(measured, capsys):
    store, first = measured
    runs = [copied(store, first) for _ in range(11)]
    words = ["--store", str(store.path), "--baseline", "latest"]
    assert main(["gate", "--run", runs[8].run_id, *words]) == NOTHING
    assert "holds 9 comparable runs" in capsys.readouterr().err
    assert main(["gate", "--run", runs[9].run_id, *words]) == PASSES


def test_a_history_lacks_a_metric_where_a_run_of_it_has_no_number(measured, capsys):
    store, first = measured
    known = first.run()
    rates = {**known.summaries[0].rates, "requests_per_s": Estimate(value=0.0, n=1)}
    none = msgspec.structs.replace(known.summaries[0], rates=rates)
    names = ("requests_per_s", "output_tokens_per_s")
    assert set(numbers_of(msgspec.structs.replace(known, summaries=(none,)), names)) == {(names[1], 0)}
    history = [each.run() for each in (copied(store, first) for _ in range(9))]
    last = copied(store, first)
    history.append(msgspec.structs.replace(known, summaries=(none,)))
    assert {row.metric for row in against_history(last, history, names[1:], named=True)} == {names[1]}
    with pytest.raises(NotComparable, match="requests_per_s isn't known"):
        against_history(last, history, names, named=True)


def test_a_limit_on_what_is_not_looked_at_is_told(measured, tmp_path):
    manifest, store = measured[1].run().manifest, Store(tmp_path / "empty")

    def told(limit, *metrics):
        asked = Gate(limits=parse_limits([limit]), metrics=metrics)
        return gate.watching(asked, store, Ask(purpose="gate"))[0](manifest, manifest)

    # Not told: `ttft` is on its p50 and p90, which are looked at.
    assert "has no effect" not in told("ttft=5%") and "has no effect" not in told("tpot_p50=5%")
    assert "the limit on requests_per_s has no effect" in told("requests_per_s=5%")
    assert "the limit on ttft_p90 has no effect" in told("ttft_p90=5%", "ttft_p50")


def test_only_a_failing_verdict_exits_1(measured, capsys, monkeypatch):
    store, _ = measured
    kept = ["--store", str(store.path)]
    nobody = "sim@http://127.0.0.1:1"
    assert main(["gate", "--run", "latest", *kept]) == USAGE
    assert "say what it is held against" in capsys.readouterr().err
    assert main(["gate", "--run", "nope", "--limit", "ttft_p50<1s", *kept]) == USAGE
    assert main(["gate", "--run", "latest", "--baseline", "nope", *kept]) == USAGE
    assert main(["gate", nobody, "--against", nobody, *kept]) == USAGE
    assert main(["gate", "--run", "latest", "--against", nobody, *kept]) == USAGE
    assert main(["gate", nobody, "--limit", "ttft_p50<1s", "--limit", "nope<1", *kept]) == USAGE
    assert main(["gate", nobody, "--tolerance", "20%", "--against", nobody, *kept]) == USAGE
    assert main(["gate", nobody, "--against", nobody, "--pairs", "6", *kept]) == USAGE

    def broken(*_args, **_named):
        raise RuntimeError("a bug")

    monkeypatch.setattr(gate, "checked", broken)
    assert main(["gate", "--run", "latest", "--limit", "ttft_p50<1s", *kept]) == BUG


def test_the_history_stands_in_for_a_base_that_cannot_be_reached(server, measured, capsys):
    store, _ = measured
    words = ["gate", server(), "--against", "sim@http://127.0.0.1:1", "--store", str(store.path)]
    assert main([*words, "--baseline", "latest", *ASKED]) == NOTHING
    assert "held against stored runs instead" in capsys.readouterr().err
