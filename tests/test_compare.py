"""Stored runs side by side: which are compared, at which points, in what, and what is refused."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.compare import chosen_metrics, compare
from benchsuite.differences import obstacles
from benchsuite.errors import InvalidMeasurement, NotComparable, StoreError, UsageError
from benchsuite.report.compare import sentence
from benchsuite.simulator import SimConfig, running
from benchsuite.store.runs import Store
from benchsuite.testing import record
from benchsuite.types import Price, Run, TrialInfo, Warning

CHAT = Path(__file__).parent / "report" / "chat.json"
MS = 1_000_000
SAMPLE = msgspec.json.decode(CHAT.read_bytes(), type=Run)
RUN = msgspec.structs.replace(SAMPLE, manifest=msgspec.structs.replace(SAMPLE.manifest, price=None))
BASE, OTHER, THIRD = ("01k9" + digit * 22 for digit in "012")


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def manifest_of(**changes):
    return replaced(RUN.manifest, **changes)


def workload_of(**changes):
    return manifest_of(workload=replaced(RUN.manifest.workload, **changes))


def answered(index, start_ms, ttft_ms, tpot_ms, late_ms=0.0, tokens=5):
    """One answer of `tokens` tokens, sent when the one before ended."""
    sent = round(start_ms * MS)
    first = sent + round(ttft_ms * MS)
    gap_us = round(tpot_ms * 1000)
    last = first + (tokens - 1) * gap_us * 1000
    return record(
        request_id=f"r{index}",
        index=index,
        due_ns=sent - round(late_ms * MS),
        sent_ns=sent,
        sent_all_ns=sent,
        first_byte_ns=first,
        first_token_ns=first,
        first_output_ns=first,
        last_token_ns=last,
        end_ns=last,
        gaps_us=[gap_us] * (tokens - 1),
        prompt_tokens=512,
        output_tokens=tokens,
        cached_tokens=0,
        reads=tokens,
    )


class Stored:
    """Makes finished runs out of a few numbers."""

    def __init__(self, path):
        self.store = Store(path)

    def __call__(
        self,
        run_id,
        trials=((50, 10), (50.5, 10.1), (51, 9.9)),
        *,
        requests=12,
        late_ms=0.0,
        rows=(0,),
        at=None,
        warnings=None,
        verdict="valid",
        **changes,
    ):
        """`trials`: TTFT and TPOT (ms) of all requests of each; `rows`: which of the sample's points.

        `at` changes the points, `warnings` replaces theirs, `changes` are of the manifest.
        """
        summaries = []
        for row in (RUN.summaries[index] for index in rows):
            told = row.warnings if warnings is None else warnings
            summaries.append(replaced(row, point=replaced(row.point, **at or {}), warnings=told))
        points = tuple(row.point for row in summaries)
        infos = trial_infos(points, len(trials))
        manifest = manifest_of(**{"run_id": run_id, "points": points, "trials": infos} | changes)
        run_dir = self.store.create(manifest)
        for point in points:
            for trial, (ttft_ms, tpot_ms) in enumerate(trials, 1):
                with run_dir.writer(point.index, trial) as writer:
                    for index in range(requests):
                        start_ms = 1_000 + index * (ttft_ms + 4 * tpot_ms)
                        writer.write(answered(index, start_ms, ttft_ms, tpot_ms, late_ms))
        run = Run(status="finished", manifest=manifest, summaries=tuple(summaries), verdict=verdict)
        run_dir.finish(run)
        return run_dir


def trial_infos(points, trials):
    known = dict(start_ns=0, last_send_ns=0, end_ns=0, plan_digest="", workers=())
    return tuple(
        TrialInfo(point=point.index, trial=trial, **known)
        for point in points
        for trial in range(1, trials + 1)
    )


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path / "store")


def rows_of(comparison, at=0):
    return {row.metric: row for row in comparison.points[at].rows}


def test_each_metric_is_compared_trial_by_trial_in_its_own_direction(stored):
    slow = ((50.2, 12), (50.4, 12.1), (50.9, 11.9))
    (found,) = compare([stored(BASE), stored(OTHER, slow)])
    rows = rows_of(found)
    assert list(rows) == [
        *("ttft_p50", "ttft_p90", "tpot_p50", "tpot_p90", "e2e_p50", "e2e_p90"),
        *("output_tokens_per_s", "requests_per_s"),
    ]
    tpot = rows["tpot_p50"]
    # Geometric means of 10, 10.1, 9.9 and of 12, 12.1, 11.9.
    assert (tpot.base, tpot.other) == pytest.approx((9.99967, 11.99972), abs=1e-4)
    assert tpot.effect.ratio == pytest.approx(1.20001, abs=1e-4)
    assert (tpot.effect.verdict, tpot.trials, tpot.note) == ("worse", (3, 3), "")
    assert rows["ttft_p50"].effect.verdict == "same"
    # Each request takes TTFT + 4 TPOT and the next follows at once: 1000 / 90.5 a second, five tokens each.
    assert rows["e2e_p50"].effect.verdict == "worse"
    requests, tokens = rows["requests_per_s"], rows["output_tokens_per_s"]
    assert (requests.better, requests.effect.verdict) == ("higher", "worse")
    assert requests.base == pytest.approx(1000 / 90.5, rel=0.01)
    assert tokens.base == pytest.approx(5 * requests.base, rel=0.1)


def test_a_quantile_needs_as_many_requests_as_on_any_screen(stored):
    runs = [stored(BASE, requests=11), stored(OTHER, requests=12)]
    row = rows_of(*compare(runs))["ttft_p90"]
    assert (row.base, row.note, row.effect.verdict) == (None, "n<36", "undecided")
    assert rows_of(*compare([runs[1], stored(THIRD)]))["ttft_p90"].note == ""


def test_an_open_loop_leads_with_what_is_counted_from_due(stored):
    at = {"rate": 4.0, "concurrency": None}
    late = stored(OTHER, at=at, late_ms=30)
    (found,) = compare([stored(BASE, at=at), late])
    names = list(rows_of(found))
    assert names[:3] == ["ttft_from_due_p50", "ttft_from_due_p90", "ttft_p50"]
    rows = rows_of(found)
    assert rows["ttft_from_due_p50"].effect.verdict == rows["e2e_from_due_p50"].effect.verdict == "worse"
    assert rows["ttft_p50"].effect.verdict == rows["e2e_p50"].effect.verdict == "same"


def test_cost_follows_from_the_price_and_the_pace_of_each_trial(stored):
    h100 = Price(gpu="H100", count=2, usd_per_gpu_hour=3.6, source="list")
    cheap = replaced(h100, gpu="L4", count=1, usd_per_gpu_hour=0.9)
    (found,) = compare([stored(BASE, price=h100), stored(OTHER, price=cheap)])
    rows = rows_of(found)
    # 2 × $3.60 an hour is $0.002 a second.
    assert rows["cost_per_1k_usd"].base == pytest.approx(2.0 / rows["requests_per_s"].base)
    assert rows["cost_per_1k_usd"].effect.ratio == pytest.approx(1 / 8)
    assert rows["cost_per_1k_usd"].effect.verdict == "better"
    assert [each.name for each in found.differs_in] == ["price"]
    free = stored(THIRD, price=replaced(cheap, usd_per_gpu_hour=0.0))
    (without,) = compare([free, stored.store.select(BASE)])
    assert "cost_per_1k_usd" not in rows_of(without)
    runs = [stored.store.select(run_id) for run_id in (BASE, OTHER, THIRD)]
    priced, empty = compare(runs, metrics=["cost"])
    assert list(rows_of(priced)) == ["cost_per_1k_usd"] and rows_of(empty) == {}


def test_points_are_matched_by_load_and_lengths_and_the_others_are_listed(stored):
    # The same point has index 1 in one run and 0 in the other.
    one = stored(BASE, rows=(0, 1))
    two = stored(OTHER, rows=(1, 2))
    (found,) = compare([one, two])
    assert [pair.point.label for pair in found.points] == ["8 in flight"]
    assert [point.label for point in found.only_base] == ["1 in flight"]
    assert [point.label for point in found.only_other] == ["64 in flight"]
    longer = stored(THIRD, at={"prompt_tokens": 1024})
    with pytest.raises(NotComparable, match=r"share no load and lengths \(1 in flight, 512 in.*1,024 in"):
        compare([one, longer])


def test_every_further_run_is_compared_with_the_first(stored):
    runs = [stored(run_id) for run_id in (BASE, OTHER, THIRD)]
    assert [(each.base.run_id, each.other.run_id) for each in compare(runs)] == [
        (BASE, OTHER),
        (BASE, THIRD),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "code"}, "workloads chat@1 and code@1"),
        ({"version": 2}, "workloads chat@1 and chat@2"),
        ({"cache": ("warm",)}, "a cold and a warm cache"),
        ({"same": "text"}, "prompts of the same tokens and of the same text"),
        ({"rate": (4.0,), "arrivals": "constant"}, "Poisson arrivals and evenly spaced arrivals"),
    ],
)
def test_another_workload_is_refused(stored, changes, reason):
    rated = {"rate": (4.0,)} if "rate" in changes else {}
    base, other = workload_of(**rated), workload_of(**changes)
    assert obstacles(base, other) == (reason,)
    runs = [stored(BASE, workload=base.workload), stored(OTHER, workload=other.workload)]
    with pytest.raises(NotComparable, match=reason):
        compare(runs)


def test_other_metric_definitions_are_refused(stored):
    with pytest.raises(NotComparable, match="metric definitions 1 and 2"):
        compare([stored(BASE), stored(OTHER, metrics_version=2)])


def test_an_invalid_run_is_refused_unless_allowed(stored):
    bad = Warning(code="lag", level="invalid", message="sent 9 ms late", advice="")
    runs = [stored(BASE), stored(OTHER, verdict="invalid", warnings=(bad,))]
    with pytest.raises(InvalidMeasurement, match=f"{OTHER} is invalid: sent 9 ms late; .*--allow-invalid"):
        compare(runs)
    (found,) = compare(runs, allow_invalid=True)
    assert (found.base.verdict, found.other.verdict) == ("valid", "invalid")
    assert found.other.reasons == ("invalid (1 in flight): sent 9 ms late",)


def test_a_suspect_run_is_compared_and_says_why(stored):
    (found,) = compare([stored(BASE, rows=(0, 1), verdict="suspect"), stored(OTHER, rows=(1,))])
    assert found.base.reasons == ("suspect (8 in flight): 2 of 240 requests failed (2 × timeout_silence)",)


def test_what_makes_no_sense_is_refused(stored):
    one, two = stored(BASE), stored(OTHER)
    with pytest.raises(UsageError, match="two runs or more"):
        compare([one])
    with pytest.raises(UsageError, match="named twice"):
        compare([one, two, one])
    with pytest.raises(UsageError, match="no metric called 'tpto'; there are: ttft_from_due_p50"):
        compare([one, two], metrics=["tpto"])
    with pytest.raises(NotComparable, match=r"no two runs here both have cost_per_1k_usd; .* a price"):
        compare([one, two], metrics=["cost"])
    assert chosen_metrics(["tpot", "ttft_p90"]) == ("ttft_p90", "tpot_p50", "tpot_p90")
    assert chosen_metrics(["ttft_p99"]) == ("ttft_p99",)
    assert len(chosen_metrics([])) == 15


def test_one_trial_gives_a_ratio_and_says_how_to_get_more(stored):
    (found,) = compare([stored(BASE), stored(OTHER, ((100, 10),))], metrics=["ttft_p50"])
    (row,) = found.points[0].rows
    assert row.effect.ratio == pytest.approx(100 / 50.5, rel=0.01)
    assert (row.effect.low, row.effect.verdict, row.note) == (None, "undecided", "--trials 3")


def test_latest_1_is_the_finished_run_before_the_latest(stored):
    stored(BASE)
    stored(OTHER)
    stored.store.create(manifest_of(run_id=THIRD))
    assert stored.store.select("latest~1").run_id == BASE
    assert stored.store.select("latest~0").run_id == OTHER
    with pytest.raises(StoreError, match=r"no 'latest~2': .* has only 2 finished runs$"):
        stored.store.select("latest~2")


def test_what_makes_numbers_less_comparable_is_told_too(stored):
    codes = ("output_tokens", "missing_usage", "over_slots", "short_trial", "round_trip")
    told = tuple(Warning(code=code, level="told", message=code, advice="") for code in codes)
    guessed = replaced(RUN.manifest.lengths, source="assumed")
    (found,) = compare([stored(BASE), stored(OTHER, warnings=told, lengths=guessed)])
    assert found.other.reasons == tuple(f"note (1 in flight): {code}" for code in codes[:4])
    assert (found.base.assumed_lengths, found.other.assumed_lengths) == (False, True)


# ---------------------------------------------------------------- the command


@pytest.fixture
def two(stored, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(stored.store.path))
    stored(BASE)
    stored(OTHER, ((50, 12), (50.5, 12.1), (51, 11.9)), model="other/model")


def test_the_command_prints_the_table_and_exits_0_whatever_the_verdicts(two, capsys):
    assert main(["compare", "latest~1", "latest"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "model on vLLM 0.33.0 (B) against Llama-3.1-8B-Instruct on vLLM 0.33.0 (A): worse in "
    )
    assert "TPOT p50" in out and "differs in model: meta-llama/Llama-3.1-8B-Instruct → other/model" in out


@pytest.mark.parametrize("wanted", ["table", "md", "csv", "json"])
def test_a_metric_that_was_asked_for_doesnt_vanish(two, capsys, wanted):
    asked = ["compare", BASE, OTHER, "--format", wanted, "--metric"]
    assert main([*asked, "ttft,cost_per_1k_usd"]) == 4
    shown = capsys.readouterr()
    said = "no two runs here both have cost_per_1k_usd; $ needs a price, such as --gpu H100"
    assert said in " ".join(shown.err.split()) and not shown.out
    assert main([*asked, "ttft_p50,ttft_p99,tpot"]) == 0


def test_formats_and_files(two, tmp_path, capsys):
    path = tmp_path / "found.json"
    assert (
        main(["compare", BASE, OTHER, "--format", "json", "-o", str(path), "--metric", "tpot,ttft_p50"]) == 0
    )
    assert capsys.readouterr().out == ""
    (found,) = json.loads(path.read_text())
    assert [row["metric"] for row in found["points"][0]["rows"]] == ["ttft_p50", "tpot_p50", "tpot_p90"]
    assert found["points"][0]["rows"][1]["effect"]["verdict"] == "worse"
    assert main(["compare", BASE, OTHER, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("base_run,other_run,prompt_tokens") and len(lines) == 9
    assert main(["compare", BASE, OTHER, "-o", str(tmp_path / "no" / "file")]) == 2
    assert "can't write" in capsys.readouterr().err


def test_an_offline_load_stays_one_in_json(stored, monkeypatch, capsys):
    at = {"rate": math.inf, "concurrency": None}
    monkeypatch.setenv("BENCHSUITE_STORE", str(stored.store.path))
    stored(BASE, at=at)
    stored(OTHER, at=at)
    assert main(["compare", BASE, OTHER, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["points"][0]["point"]["rate"] == "inf"


def test_the_margin_decides_what_is_the_same(two, capsys):
    assert main(["compare", BASE, OTHER, "--metric", "ttft_p50", "--margin", "0.1%"]) == 0
    assert "undecided in TTFT p50" in capsys.readouterr().out
    assert main(["compare", BASE, OTHER, "--metric", "ttft_p50", "--margin", "0.05"]) == 0
    assert "the same in TTFT p50" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({"workload": replaced(RUN.manifest.workload, name="code")}, [], 4),
        ({"metrics_version": 2}, [], 4),
        ({"at": {"concurrency": 3}}, [], 4),
        ({"verdict": "invalid"}, [], 3),
        ({"verdict": "invalid"}, ["--allow-invalid"], 0),
        ({}, ["--metric", "nothing"], 2),
        ({}, ["nosuchrun"], 2),
    ],
)
def test_exit_codes_of_what_cant_be_compared(two, stored, changes, words, code, capsys):
    stored(THIRD, **changes)
    assert main(["compare", BASE, THIRD, *words]) == code
    assert len(capsys.readouterr().err.splitlines()) == (code != 0)


# ---------------------------------------------------------------- real runs


def measure(store, url):
    words = ["--backend", "sim", "--url", url, "--prompt-tokens", "40", "--output-tokens", "12"]
    load = ["--concurrency", "2", "--requests", "16", "--trials", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "benchsuite", "run", *words, *load],
        env={**os.environ, "BENCHSUITE_STORE": str(store)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in {0, 3}, done.stdout + done.stderr


def test_a_slower_simulator_is_worse_where_it_is_slower(tmp_path, monkeypatch, capsys):
    for itl_ms in (10.0, 12.0):
        with running(SimConfig(ttft_ms=20.0, itl_ms=itl_ms)) as simulator:
            measure(tmp_path, simulator.url)
    store = Store(tmp_path)
    # A busy machine may make a run invalid; what the simulator does is true all the same.
    (found,) = compare([store.select("latest~1"), store.select("latest")], allow_invalid=True)
    rows = rows_of(found)
    assert rows["tpot_p50"].effect.verdict == "worse"
    assert rows["tpot_p50"].effect.low < 1.2 < rows["tpot_p50"].effect.high * 1.02
    assert rows["tpot_p50"].effect.ratio == pytest.approx(1.2, rel=0.1)
    assert found.digest_equal and "worse in" in sentence(found)
    assert {each.name for each in found.differs_in} <= {"address"}
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path))
    assert main(["compare", "latest~1", "latest", "--allow-invalid"]) == 0
    assert "TPOT p50" in capsys.readouterr().out
