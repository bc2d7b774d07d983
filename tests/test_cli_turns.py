"""What `ab` and `gate` refuse before anything is measured, and in which words."""

import json
from pathlib import Path

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.cli.run_options import typed
from benchsuite.differences import Difference, another
from benchsuite.simulator import SimConfig, running
from benchsuite.store.runs import Store
from benchsuite.types import Run

NOWHERE = "vllm@http://localhost:9"
"""Nobody is asked there: who contacts it says so instead."""


@pytest.fixture
def stored(tmp_path):
    """A store with a run."""
    run = msgspec.json.decode((Path(__file__).parent / "report" / "chat.json").read_bytes(), type=Run)
    Store(tmp_path).create(run.manifest).finish(run)


def test_options_of_an_arm_are_stored_without_its_secrets():
    words = ["local", "--b", "--url http://me:pass@host/ --header 'K: secret' --engine max-seqs=8"]
    shown = typed("ab", words)
    assert "pass" not in shown and "secret" not in shown
    assert "--engine max-seqs=8" in shown and "--header" in shown
    assert "…" in typed("ab", ["local", "--b=--model 'x"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--run", "latest", "--workload", "chat"], "--workload is for measuring"),
        (["--run", "latest", "--requests", "9"], "--requests is for measuring"),
        (["--run", "latest", "--pairs", "8"], "--pairs is for two arms"),
        ([NOWHERE, "--tolerance", "3%"], "--tolerance is for two arms"),
        ([NOWHERE, "--b", "--engine x=1"], "--b is for two arms"),
        ([NOWHERE, "--limit", "5%"], "--limit 5% is held against a second arm"),
        ([NOWHERE, "--limit", "tpot_p50=5%"], "--limit tpot_p50=5% is held against a second arm"),
        ([NOWHERE, "--against", NOWHERE, "--history-fails"], "--history-fails goes with --baseline"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(tmp_path, stored, capsys, words, said):
    kept = ["--limit", "ttft_p50<1s", "--store", str(tmp_path)]
    assert main(["gate", *words, *kept]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gate", "noise", NOWHERE, NOWHERE], "against itself; name no other"),
        (["gate", "noise", NOWHERE, "--against", NOWHERE], "leave --against out"),
        (["gate", "noise", NOWHERE, "--baseline", "latest"], "leave --baseline out"),
        (["gate", "noise", NOWHERE, "--run", "latest"], "leave --run out"),
        (["gate", "noise", NOWHERE, "--b", "--engine x=1"], "leave --b out"),
        (["gate", "noise", NOWHERE, "--json"], "has a table alone"),
        (["gate", NOWHERE, NOWHERE], "the base goes behind --against"),
        (["gate", NOWHERE, "--limit", "cost_per_1k<2"], "cost_per_1k<2 takes a price: --gpu NAME"),
        (
            ["gate", NOWHERE, "--against", NOWHERE, "--limit", "usd_per_1k_passed<2"],
            "usd_per_1k_passed<2 takes a price",
        ),
        (["gate", NOWHERE, "--limit", "ttft<800ms"], "did you mean ttft_p95?"),
        (["ab", NOWHERE, "--b", "--pairs 8"], "--b: --pairs isn't an option of one arm"),
        (["ab", NOWHERE, "--a", "--store elsewhere"], "--a: --store isn't an option of one arm"),
        (["ab", NOWHERE, "--b", "--margin 1%"], "--b: --margin isn't an option of one arm"),
        (["gate", NOWHERE, "--against", NOWHERE, "--b", "--limit 5%"], "--b: --limit isn't an option"),
    ],
)
def test_what_cant_be_asked_is_refused_before_anybody_is(tmp_path, capsys, words, said):
    assert main([*words, "--store", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "nothing answers" not in told


@pytest.mark.parametrize(
    "words",
    [
        ["ab", NOWHERE],
        ["gate", NOWHERE, "--against", NOWHERE],
        ["gate", NOWHERE, "--limit", "error_rate<1%"],
        ["gate", "noise", NOWHERE],
    ],
)
def test_a_file_that_cant_be_written_is_refused_before_anybody_is_asked(tmp_path, capsys, words):
    for path, why in ((tmp_path / "none" / "a.md", "No such file"), (tmp_path, "Is a directory")):
        assert main([*words, "-o", str(path), "--store", str(tmp_path / "store")]) == 2
        told = capsys.readouterr().err
        assert f"can't write {path} ({why}" in told
        assert "nothing answers" not in told


def test_an_option_of_the_engine_may_stand_in_one_arm(tmp_path, capsys):
    words = ["ab", "local", "--b", "--threads 1", "--dry-run", "--store", str(tmp_path)]
    assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [("requests", "other requests (4 and 8)"), ("concurrency", "another concurrency (4 and 8)")],
)
def test_a_reason_is_english(name, said):
    assert another(Difference(name=name, base="4", other="8")) == said


def test_latest_is_the_other_arm_whichever_was_up_first(tmp_path, capsys):
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0)) as base, running(SimConfig(ttft_ms=5.0)) as other:
        words = ["ab", f"sim@{base.url}", f"sim@{other.url}", "--pairs", "4", "--requests", "8"]
        asked = ["--concurrency", "1", "--output-tokens", "4", "--metric", "tpot_p50"]
        main([*words, *asked, "--store", str(tmp_path), "--json"])
    json.loads(capsys.readouterr().out)
    arms = [Store(tmp_path).select(name).run().manifest for name in ("latest~1", "latest")]
    assert [arm.url for arm in arms] == [base.url, other.url]
    assert [arm.pairing.arm for arm in arms] == ["A", "B"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sim@http://127.0.0.1:1", "--pairs", "5"], "--pairs goes by fours"),
        (["sim@http://127.0.0.1:1", "--trials", "3"], "--pairs says how many trials"),
        (["local", "sim", "openai@http://127.0.0.1:1"], "3 targets are named"),
        (["sim@http://127.0.0.1:1", "--b", "--model 'x"], "a quotation mark isn't closed"),
        (["sim@http://127.0.0.1:1", "--model", "a,b,c"], "3 targets are named"),
        (["sim@http://127.0.0.1:1", "--b", "--concurrency 7 --workload nope"], "nope"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(words, said, tmp_path, capsys):
    assert main(["ab", *words, "--store", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.strip().splitlines()) == 1


def test_trials_of_the_settings_file_are_for_a_gate_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchsuite.toml").write_text("[defaults]\ntrials = 5\nhistory-fails = true\n")
    kept = ["--limit", "ttft_p50<1s", "--dry-run", "--store", str(tmp_path / "store")]
    assert main(["gate", "local", *kept]) == 0
    assert "× 5 trials" in capsys.readouterr().err
    assert main(["gate", "local", "--against", "local", "--dry-run"]) == 0
    assert "4 to 12 pairs" in capsys.readouterr().err
    assert main(["gate", "local", "--against", "local", "--trials", "3"]) == 2
    assert "--pairs says how many trials" in capsys.readouterr().err
