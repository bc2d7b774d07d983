"""Live gates: two arms on the simulator, what fails, what passes, and what is refused before it begins."""

import json

import msgspec
import pytest

from benchsuite.ab.ask import Ask
from benchsuite.cli import main
from benchsuite.gate import decide as gate
from benchsuite.gate.decide import Gate
from benchsuite.gate.limits import Limits
from benchsuite.simulator import SimConfig, running
from benchsuite.store.runs import Store, as_json

PASSES, FAILS, USAGE, INVALID, NOTHING, UNDECIDED, BUG = 0, 1, 2, 3, 4, 5, 70
REQUESTS = 40
ASKED = ["--prompt-tokens", "64", "--output-tokens", "6", "--concurrency", "8", "--requests", str(REQUESTS)]


def gated(capsys, *words, tries=3):
    """The exit code of a gate; where it says that the client was late, it's asked again as a user would.

    What the last one printed is left in `capsys`.
    """
    for _ in range(tries):
        capsys.readouterr()
        code = main(["gate", *words])
        if code != INVALID:
            return code
    return INVALID


@pytest.mark.parametrize("number", [1, 2])
def test_an_unchanged_server_never_fails(server, tmp_path, capsys, number):
    base = server()
    code = gated(capsys, base, "--against", base, *ASKED, "--store", str(tmp_path), "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert code in {PASSES, UNDECIDED}
    assert found["verdict"] == {PASSES: "pass", UNDECIDED: "undecided"}[code]
    judged = found["decision"]["judged"]
    assert [row["metric"] for row in judged] == [
        *("ttft_p50", "ttft_p90", "tpot_p50", "tpot_p90", "e2e_p50", "e2e_p90", "output_tokens_per_s"),
    ]
    assert all(row["low"] < row["ratio"] < row["high"] for row in judged)


@pytest.mark.parametrize("number", [1, 2])
def test_a_server_that_is_ten_percent_slower_fails(server, tmp_path, capsys, number):
    base, slower = server(), server(1.1)
    assert gated(capsys, slower, "--against", base, *ASKED, "--store", str(tmp_path)) == FAILS
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAIL: sim-model on benchsuite-sim" in shown and "worse in " in shown
    # Ten percent are above the tolerance, and just at the limit.
    assert "above the tolerance)" in shown
    runs = [run_dir.run() for run_dir in Store(tmp_path).runs()]
    assert {one.decision.verdict for one in runs if one.verdict != "invalid"} == {"fail"}
    # Stored, it says the same, and how it was measured.
    assert main(["show", runs[-1].manifest.run_id, "--how", "--store", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "of two that were measured in turn (AB BA AB BA" in shown and "The gate said fail" in shown


def test_too_few_requests_for_a_quantile_are_refused_before_anything_is_measured(server, tmp_path, capsys):
    base = server()
    words = [base, "--against", base, *ASKED[:-1], "20", "--store", str(tmp_path)]
    assert main(["gate", *words]) == INVALID
    assert "ttft_p90 takes 36 answered requests a trial, and there are 20" in capsys.readouterr().err
    assert Store(tmp_path).runs() == []


def test_noise_is_known_afterwards_and_limits_below_it_are_refused(server, tmp_path, capsys):
    base = server()
    words = [base, *ASKED, "--store", str(tmp_path)]
    assert gated(capsys, "noise", *words, "--pairs", "4") == PASSES
    shown = " ".join(capsys.readouterr().out.split())
    assert "A gate sees a slowdown of" in shown and "from 4 pairs of the same server against itself" in shown
    assert "such a gate takes at most" in shown
    # The tolerance alone is 2 %: nothing as small as that can be shown.
    assert main(["gate", *words, "--against", base, "--limit", "2%"]) == USAGE
    told = capsys.readouterr().err
    assert "a limit of 2 % on ttft_p50 is below the" in told and "raise them (--limit ttft_p50=" in told
    assert told.partition("raise them")[2].count("%") == 7
    # Other requests, or engines that are started anew, have noise of their own.
    store = Store(tmp_path)
    manifest = next(run_dir.run() for run_dir in store.runs() if not run_dir.partial).manifest
    longer = msgspec.structs.replace(manifest.workload, requests=REQUESTS + 1)
    assert gate.known_noise(store, manifest, restarts=False).pairs == 4
    assert gate.known_noise(store, manifest, restarts=True) is None
    other = msgspec.structs.replace(manifest, workload=longer)
    assert gate.known_noise(store, other, restarts=False) is None
    # Where the limit itself must be shown exceeded to fail, no limit is too low to be seen.
    asked = Gate(limits=Limits(fail_on="limit"))
    ready, _ = gate.watching(asked, store, Ask(purpose="gate"))
    assert "can be seen here" in ready(manifest, manifest)
    # What was interrupted, or isn't sound, tells nothing of the noise.
    for changes in ({"verdict": "invalid"}, {"status": "interrupted"}):
        for run_dir in store.runs():
            known = msgspec.structs.replace(run_dir.run(), **changes)
            (run_dir.path / "run.json").write_bytes(as_json(known))
            break
        assert gate.known_noise(store, manifest, restarts=False) is None
        known = msgspec.structs.replace(known, verdict="valid", status="finished")
        (run_dir.path / "run.json").write_bytes(as_json(known))
        assert gate.known_noise(store, manifest, restarts=False) is not None


def test_a_budget_that_ends_before_two_pairs_decides_nothing(server, tmp_path, capsys):
    base = server()
    assert (
        gated(capsys, "noise", base, *ASKED, "--store", str(tmp_path / "noise"), "--time", "0.1s") == INVALID
    )
    assert "before two pairs were measured" in capsys.readouterr().err
    words = [base, "--against", base, *ASKED, "--store", str(tmp_path), "--time", "0.1s"]
    assert gated(capsys, *words, "--limit", "error_rate<1%") == UNDECIDED
    shown = " ".join(capsys.readouterr().out.split())
    assert "it ended before two pairs were measured" in shown


@pytest.mark.parametrize("how", ["stored", "live"])
def test_a_server_that_answers_nothing_breaks_a_limit_on_errors(server, tmp_path, capsys, how):
    with running(SimConfig(error_500_rate=1.0)) as dead:
        if how == "live":
            words = [f"sim@{dead.url}", "--against", server(), *ASKED, "--store", str(tmp_path)]
        else:
            asked = ["--backend", "sim", "--url", dead.url, "--trials", "1", *ASKED]
            assert main(["run", *asked, "--store", str(tmp_path)]) == INVALID
            words = ["--run", "latest", "--store", str(tmp_path)]
        assert gated(capsys, *words, "--limit", "error_rate<1%") == FAILS
        assert "error_rate<1% is broken" in " ".join(capsys.readouterr().out.split())
        # A limit that isn't asked breaks nothing: what is wrong is said.
        assert main(["gate", *words, *([] if how == "live" else ["--limit", "e2e_p50<1s"])]) == INVALID
        assert "no request was answered" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("ttft_p50,cost_per_1k_usd", "a price takes --gpu"),
        ("ttft_from_due_p50", "when requests are due"),
        ("pass_rate", "checks no answer"),
    ],
)
def test_a_metric_that_such_runs_lack_is_refused_before_anything_is_measured(
    server, tmp_path, capsys, metric, said
):
    base = server()
    words = [base, "--against", base, *ASKED, "--store", str(tmp_path), "--metric", metric]
    assert main(["gate", *words]) == USAGE
    assert said in capsys.readouterr().err and Store(tmp_path).runs() == []
