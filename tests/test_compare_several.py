"""Arms compared pair by pair, runs side by side, and the newest run of each backend, model or GPU."""

import csv
import io
import json

import pytest

from benchsuite.cli import main
from benchsuite.compare import compare
from benchsuite.differences import Difference
from benchsuite.groups import comparable_runs, group_of, newest_of_each
from benchsuite.report.compare import compared_csv, compared_markdown, compared_screen
from benchsuite.stats.paired import paired_effect
from benchsuite.types import Pairing, TrialInfo
from tests.test_compare import BASE, OTHER, THIRD, Stored, manifest_of, replaced, rows_of, workload_of

FOURTH = "01k9" + "3" * 22
DRIFTING = ((50, 10), (60, 12), (70, 14), (80, 16))
SLOWER = tuple((1.1 * ttft, 1.1 * tpot) for ttft, tpot in DRIFTING)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    return Stored(tmp_path / "store")


def pairing(arm, kept=(1, 2, 3, 4), name="one"):
    return Pairing(id=name, arm=arm, partner="", purpose="ab", kept=kept, first=("A", "B") * (len(kept) // 2))


def arms(stored, requests=12, **changes):
    return [
        stored(BASE, DRIFTING, requests=requests, pairing=pairing("A", **changes)),
        stored(OTHER, SLOWER, requests=requests, pairing=pairing("B", **changes)),
    ]


# ---------------------------------------------------------------- arms


def test_arms_are_compared_pair_by_pair(stored):
    (found,) = compare(arms(stored))
    row = rows_of(found)["tpot_p50"]
    base, other = zip(
        *((ours[1], theirs[1]) for ours, theirs in zip(DRIFTING, SLOWER, strict=True)), strict=True
    )
    expected = paired_effect(base, other, better="lower", margin=0.05)
    assert (found.paired, row.paired, row.trials) == (4, 4, (4, 4))
    assert row.effect.ratio == pytest.approx(expected.ratio) == pytest.approx(1.1)
    # The drift of 60 % is the same in both arms of a pair, and no noise.
    assert row.effect.verdict == "worse" and row.effect.high < 1.11
    assert row.base == pytest.approx((10 * 12 * 14 * 16) ** 0.25)


def test_runs_that_are_no_arms_of_each_other_are_compared_as_ever(stored):
    one, two = arms(stored)
    alone = stored(THIRD, SLOWER)
    elsewhere = stored(FOURTH, SLOWER, pairing=pairing("B", name="two"))
    paired, *rest = compare([one, two, alone, elsewhere])
    assert paired.paired == 4
    for found in rest:
        row = rows_of(found)["tpot_p50"]
        assert (found.paired, row.paired) == (0, 0)
        # Drift is noise here.
        assert row.effect.verdict == "undecided" and row.effect.high > 1.3


def test_the_base_is_the_arm_that_is_named_first(stored):
    one, two = arms(stored)
    (found,) = compare([two, one])
    row = rows_of(found)["tpot_p50"]
    assert row.effect.ratio == pytest.approx(1 / 1.1) and row.effect.verdict == "better"


def test_only_pairs_that_were_kept_count(stored):
    (found,) = compare(arms(stored, kept=(1, 3)))
    row = rows_of(found)["tpot_p50"]
    assert (found.paired, row.paired) == (2, 2)
    assert row.base == pytest.approx((10 * 14) ** 0.5)
    with_less = stored("01k9" + "6" * 22, SLOWER, pairing=pairing("B", kept=(1, 2)))
    (common,) = compare([stored("01k9" + "5" * 22, DRIFTING, pairing=pairing("A")), with_less])
    assert (common.paired, rows_of(common)["tpot_p50"].paired) == (2, 2)
    (single,) = compare([replaced_kept(stored, run_id, arm) for run_id, arm in ((THIRD, "A"), (FOURTH, "B"))])
    row = rows_of(single)["tpot_p50"]
    assert (row.paired, row.effect.low, row.note) == (1, None, "one pair")
    assert "one pair gives no interval" in compared_screen([single], width=100)


def replaced_kept(stored, run_id, arm):
    return stored(run_id, DRIFTING, pairing=pairing(arm, kept=(2,), name="single"))


def test_a_quantile_of_a_pair_needs_its_requests_in_each_trial(stored):
    # 48 requests a run are enough for a pooled p90, 12 a trial aren't.
    (found,) = compare(arms(stored))
    row = rows_of(found)["ttft_p90"]
    assert (row.note, row.paired, row.base, row.effect.verdict) == ("n<36", 0, None, "undecided")
    assert "36 answered requests in each trial" in compared_screen([found], width=100)


def test_that_they_were_paired_is_said_everywhere(stored, capsys):
    arms(stored)
    for words in ([], ["--format", "md"]):
        assert main(["compare", BASE, OTHER, *words]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "4 pairs measured in turn: each trial of A is compared with the trial of B beside it" in out
        assert "Intervals are of the pairs" in out and "what changed between the runs" not in out
    assert main(["compare", BASE, OTHER, "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["paired"] == found["points"][0]["rows"][0]["paired"] == 4
    assert main(["compare", BASE, OTHER, "--format", "csv"]) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert row["paired"] == "4"


# ---------------------------------------------------------------- digests


def test_which_digests_are_equal_is_said(stored):
    def infos(digests):
        known = dict(start_ns=0, last_send_ns=0, end_ns=0, workers=())
        return tuple(
            TrialInfo(point=0, trial=trial, plan_digest=digest, **known)
            for trial, digest in enumerate(digests, 1)
        )

    runs = [
        stored(BASE, trials=((50, 10),) * 3),
        stored(OTHER, trials=((50, 10),) * 3),
    ]
    (unknown,) = compare(runs)
    assert unknown.plans == (0, 0) and "sent:" not in compared_screen([unknown], width=100)
    for alike, digests, said in (
        (3, ("a", "b", "c"), "sent: the very same bytes in all of 3 trials, by plan digest"),
        (1, ("a", "x", "y"), "sent: the very same bytes in 1 of 3 trials"),
        (0, ("x", "y", "z"), "sent: other bytes in each of 3 trials"),
    ):
        ours, theirs = (
            (run_dir, replaced(run_dir.run(), manifest=replaced(run_dir.run().manifest, trials=infos(each))))
            for run_dir, each in zip(runs, (("a", "b", "c"), digests), strict=True)
        )
        for run_dir, run in (ours, theirs):
            run_dir.finish(run)
        (found,) = compare(runs)
        assert found.plans == (alike, 3)
        assert said in " ".join(compared_screen([found], width=100).split())
    for alike, said in ((0, "other bytes in the one trial"), (1, "the very same bytes in the one trial")):
        single = replaced(found, plans=(alike, 1))
        assert f"sent: {said} that both have, by" in " ".join(compared_screen([single], width=100).split())


def test_other_digests_of_a_workload_are_shown(stored):
    one = stored(BASE, workload_digest="a" * 64)
    two = stored(OTHER, workload_digest="b" * 64, workload=workload_of(trials=9).workload)
    (found,) = compare([one, two])
    assert not found.digest_equal
    assert f"not equal: the workload's digests, {'a' * 12} and {'b' * 12}" in compared_screen(
        [found], width=100
    )


# ---------------------------------------------------------------- what changed besides


def test_what_nobody_asked_for_is_told_once_with_dates(stored):
    newer = dict(version="0.2.0", started="2026-12-24T10:00:00+00:00", model="other/model")
    (found,) = compare([stored(BASE), stored(OTHER, **newer)])
    assert [each.name for each in found.differs_in] == ["model"]
    assert found.also_changed == (Difference(name="benchsuite", base="0.1.0", other="0.2.0"),)
    text = " ".join(compared_screen([found], width=100).split())
    said = "also changed, without being asked for (2026-11-20 → 2026-12-24): benchsuite 0.1.0 → 0.2.0"
    assert said in text and text.count("0.2.0") == 1
    assert said in compared_markdown([found])


# ---------------------------------------------------------------- side by side


def test_three_runs_stand_side_by_side(stored):
    fast = tuple((ttft / 2, tpot / 2) for ttft, tpot in ((50, 10), (50.5, 10.1), (51, 9.9)))
    slow = ((50.2, 12), (50.4, 12.1), (50.9, 11.9))
    found = compare([stored(BASE), stored(OTHER, slow), stored(THIRD, fast)])
    lines = compared_screen(found, width=100).splitlines()
    assert lines[0].startswith("All runs side by side, each against A: ")
    tpot = next(line for line in lines if line.startswith(" TPOT p50"))
    assert tpot.split() == ["TPOT", "p50", "10.0", "ms", "12.0", "ms", "✗", "5.00", "ms", "✓"]
    assert "| 1 in flight | TPOT p50 | 10.0 ms | 12.0 ms ✗ | 5.00 ms ✓ |" in compared_markdown(found)
    rows = list(csv.DictReader(io.StringIO(compared_csv(found))))
    assert [row["other_run"] for row in rows if row["metric"] == "tpot_p50"] == [OTHER, THIRD]
    assert "side by side" not in compared_screen(found[:1], width=100)
    assert "side by side" not in compared_markdown(found[:1])


def test_a_point_that_one_run_lacks_is_empty_there(stored):
    found = compare([stored(BASE, rows=(0, 1)), stored(OTHER, rows=(1,)), stored(THIRD, rows=(0,))])
    tables = compared_markdown(found).split("\n\n")
    rows = [line.split(" | ") for line in tables[2].splitlines() if "TPOT p50" in line]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("| 1 in flight", "–", "10.0 ms = |"),
        ("| 8 in flight", "10.0 ms =", "– |"),
    ]


@pytest.mark.parametrize("width", [80, 100])
def test_many_runs_fit_the_screen_in_several_tables_that_begin_with_the_base(stored, width):
    runs = [stored("01k9" + f"{at:02}" * 11) for at in range(12)]
    text = compared_screen(compare(runs), width=width)
    beside = text.split("\n\n\n")[0]
    assert max(map(len, beside.splitlines())) <= width
    heads = [line.split() for line in beside.splitlines() if line.split()[:1] == ["A"]]
    assert len(heads) > 1 and [name for head in heads for name in head if name != "A"] == list("BCDEFGHIJKL")


# ---------------------------------------------------------------- by


def test_the_newest_run_of_each_group_is_compared(stored):
    for run_id, model in ((BASE, "a"), (OTHER, "b"), (THIRD, "a"), (FOURTH, "c")):
        stored(run_id, model=model)
    runs, left_out = comparable_runs(stored.store, lambda run: True)
    assert left_out == ""
    found = newest_of_each(runs, "model")
    assert [(each.name, each.run_dir.run_id) for each in found] == [("c", FOURTH), ("a", THIRD), ("b", OTHER)]
    named = [(run_dir, run_dir.run()) for run_dir in map(stored.store.select, (BASE, OTHER))]
    assert [each.name for each in newest_of_each(named, "model")] == ["a", "b"]


def test_runs_are_grouped_by_what_was_stated(stored):
    manifest = manifest_of(engine={"tp": "2"}, labels={"branch": "fix"}, gpu="L4")
    groups = [group_of(manifest, by) for by in ("backend", "model", "gpu", "label:branch", "engine:tp")]
    assert groups == ["openai", "meta-llama/Llama-3.1-8B-Instruct", "L4", "fix", "2"]
    assert group_of(manifest, "label:none") == group_of(manifest_of(gpu=""), "gpu") == "none"


def test_runs_that_cant_be_compared_with_the_newest_are_passed_over(stored):
    stored(BASE, model="another workload", workload=workload_of(name="code").workload)
    stored(OTHER, model="other points", at={"concurrency": 3})
    stored(THIRD, model="searched", capacity=True)
    stored("01k9" + "4" * 22, model="invalid", verdict="invalid")
    stored(FOURTH, model="fits")
    stored("01k9" + "5" * 22)
    runs, left_out = comparable_runs(stored.store, lambda run: True)
    assert [run.manifest.model for _, run in runs][1:] == ["fits"]
    assert left_out.startswith("4 runs are left out, as not to be compared with the newest one: ")
    for reason in ("invalid (1)", "a capacity search (1)", "no load and lengths in common (1)"):
        assert reason in left_out
    assert left_out.endswith("; …")
    allowed, _ = comparable_runs(stored.store, lambda run: True, allow_invalid=True)
    assert [run.manifest.model for _, run in allowed][1:] == ["invalid", "fits"]
    none = comparable_runs(stored.store, lambda run: run.manifest.model == "nothing")
    assert none == ([], "")


def test_runs_that_are_left_out_are_counted_with_the_reason(stored, capsys):
    for at, rev in enumerate("abc"):
        stored("01k9" + f"{at}" * 22, labels={"rev": rev}, workload=workload_of(name="code").workload)
    stored("01k9" + "5" * 22)
    assert main(["compare", "--by", "label:rev"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "they all have label:rev none" in said
    left_out = "3 runs are left out, as not to be compared with the newest one: workloads"
    assert left_out in said and "code@" in said and "--where chooses others" in said
    stored("01k9" + "6" * 22, labels={"rev": "d"})
    assert main(["compare", "--by", "label:rev", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert left_out in " ".join(shown.err.split())
    assert json.loads(shown.out)[0]["by"] == "label rev"


def test_the_command_compares_by_something_and_says_what_else_differs(stored, capsys):
    stored(BASE, gpu="L4")
    stored(OTHER, gpu="H100", model="other/model", labels={"team": "x"})
    stored(THIRD, gpu="A100", labels={"team": "x"})
    assert main(["compare", "--by", "gpu"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "A (A100): run" in out and "B (H100): run" in out and "C (L4): run" in out
    assert "differs in GPU: A100 → H100" in out
    assert "also changed, without being asked for (both of 2026-11-20): model meta-llama" in out
    assert main(["compare", "--by", "gpu", "--where", "team=x", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["by"], found["base"]["group"], found["other"]["group"]) == ("GPU", "A100", "H100")
    assert main(["compare", BASE, OTHER, "--by", "gpu", "--format", "csv"]) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["base_group"], row["other_group"]) == ("L4", "H100")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "size"], "backend, model, gpu, label:NAME or engine:SETTING"),
        (["--by", "label:"], "there are: backend, model"),
        (["--by", "backend"], "they all have backend openai"),
        (["--by", "model", "--where", "gpu=none"], "there is none"),
        (["--where", "gpu=H100"], "give it with --by"),
        ([BASE, OTHER, "--by", "model", "--where", "gpu=H100"], "name no runs"),
    ],
)
def test_what_cant_be_compared_by_is_a_usage_error(stored, capsys, words, said):
    stored(BASE)
    stored(OTHER, model="other")
    assert main(["compare", *words]) == 2
    assert said in capsys.readouterr().err
