"""Gates as text: what each verdict says, and that its bounds are those that decided."""

import json
from pathlib import Path

import msgspec
import pytest

from benchsuite.gate.baseline import Aged
from benchsuite.gate.decide import Verdict
from benchsuite.gate.limits import Checked, parse_limits
from benchsuite.report.gate import gate_json, gate_markdown, gate_screen, sentence
from benchsuite.report.units import rounded
from benchsuite.stats.gate import Rule, look
from benchsuite.types import Decision, Estimate, Run

CHAT = Path(__file__).parent / "report" / "chat.json"
STEADY = (0.001, -0.001, 0.002, -0.002)


@pytest.fixture
def run():
    return msgspec.json.decode(CHAT.read_bytes(), type=Run)


def verdict(run, slower, *, limit=0.1, point=0):
    """What follows from log slowdowns by metric."""
    rule = Rule(limit=limit)
    said, judged = look({(name, point): values for name, values in slower.items()}, rule)
    decision = Decision(
        verdict=said, pairs=4, tolerance=rule.tolerance, limit=rule.limit, fail_on=rule.fail_on,
        looks=rule.looks, judged=judged,
    )  # fmt: skip
    other = msgspec.structs.replace(run, decision=decision)
    return Verdict(verdict=said, base=run, other=other, decision=decision)


def words(text):
    return " ".join(text.split())


def test_a_failure_names_what_is_slower_by_how_much_and_what_it_exceeds(run):
    far = tuple(0.4 + each for each in STEADY)
    # It may be above the limit as well, but that isn't shown.
    near = tuple(0.09 + 4 * each for each in STEADY)
    found = verdict(run, {"ttft_p50": far, "tpot_p50": near, "e2e_p50": STEADY})
    said = sentence(found)
    assert said.startswith("FAIL: ") and "slower in TTFT p50" in said
    assert "TTFT p50 at " in said and " by 49 % (at least 4" in said and "above the limit)" in said
    assert "by 9.4 % (at least " in said and "above the tolerance)" in said and "E2E" not in said
    shown = gate_screen(found, width=100)
    assert max(map(len, shown.splitlines())) <= 100
    assert "+49 %" in shown and shown.count("  fail") == 2 and shown.count("  pass") == 1


def test_a_pass_and_what_is_undecided_say_what_could_have_been_seen(run):
    found = verdict(run, {"ttft_p50": STEADY})
    assert "every metric is less slow than its limit, after 4 pairs" in sentence(found)
    assert "would have failed a slowdown of" in words(gate_screen(found, width=100))
    noisy = verdict(run, {"ttft_p50": (0.3, -0.3, 0.2, -0.2)})
    assert noisy.verdict == "undecided"
    said = words(gate_screen(noisy, width=100))
    assert "UNDECIDED: " in said and "slower." in said and "or more of them (--pairs 24)" in said
    high = rounded(100 * (noisy.decision.judged[0].high - 1), digits=2, decimals=1)
    assert f"may be {high} % slower" in said


def test_a_gain_has_a_minus_and_nothing_has_none(run):
    found = verdict(run, {"ttft_p50": tuple(each - 0.1 for each in STEADY), "tpot_p50": (0.0, 0.0, 0.0, 0.0)})
    row = next(line for line in gate_screen(found, width=100).splitlines() if "TPOT p50" in line)
    assert "+0.0 %" in row and "−" not in row
    assert "−9.5 %" in gate_screen(found, width=100)


def test_limits_and_histories_have_tables_of_their_own(run):
    (limit,) = parse_limits(["ttft_p95<800ms"]).absolute
    point = run.manifest.points[0]
    broken = Checked(
        limit=limit, point=point, estimate=Estimate(value=900.0, low=850.0, high=950.0), verdict="fail"
    )
    aged = Aged(
        metric="tpot_p50", point=0, value=12.0, median=10.0, half=0.05, runs=10, ratio=1.2, alarm=True
    )
    found = Verdict(verdict="fail", base=None, other=run, checked=(broken,), aged=(aged,))
    said = sentence(found)
    assert "ttft_p95<800ms is broken" in said and "slower than the last 10 runs in TPOT p50 by 20 %" in said
    shown = gate_screen(found, width=100)
    assert "850 ms to 950 ms" in shown and "alarm" in shown and "A:" not in shown


def test_markdown_and_json_say_the_same(run):
    found = verdict(run, {"ttft_p50": tuple(0.4 + each for each in STEADY)})
    text = gate_markdown(found)
    assert text.startswith("**FAIL: ") and text.endswith("\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 3 and len({line.count("|") for line in table}) == 1
    fields = json.loads(gate_json(found))
    assert fields["verdict"] == "fail" and fields["other"] == run.manifest.run_id
    assert fields["decision"]["judged"][0]["low"] == found.decision.judged[0].low
