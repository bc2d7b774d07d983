"""Gates as text: what each verdict says, and that its bounds are those that decided."""

import json
import math
import re
from pathlib import Path

import msgspec
import pytest

from benchsuite.gate.baseline import Aged
from benchsuite.gate.decide import Noise, Verdict, seen_as
from benchsuite.gate.limits import Checked, parse_limits
from benchsuite.report.gate import gate_json, gate_markdown, gate_screen, noise_screen, sentence
from benchsuite.report.how import how
from benchsuite.report.units import rounded
from benchsuite.stats.gate import Rule, look
from benchsuite.types import Decision, Estimate, Pairing, Run

CHAT = Path(__file__).parent / "report" / "chat.json"
STEADY = (0.001, -0.001, 0.002, -0.002)


@pytest.fixture
def run():
    return msgspec.json.decode(CHAT.read_bytes(), type=Run)


def verdict(run, slower, *, limit=0.1, point=0, fail_on="tolerance", limits=None):
    """What follows from log slowdowns by metric; `limits`: of single metrics."""
    rule = Rule(limit=limit, fail_on=fail_on)
    own = {(name, point): share for name, share in (limits or {}).items()}
    said, judged = look({(name, point): values for name, values in slower.items()}, rule, own)
    decision = Decision(
        verdict=said, pairs=4, tolerance=rule.tolerance, limit=rule.limit, fail_on=rule.fail_on,
        looks=rule.looks, judged=judged,
    )  # fmt: skip
    other = msgspec.structs.replace(run, decision=decision)
    return Verdict(verdict=said, base=run, other=other, decision=decision)


def words(text):
    return " ".join(text.split())


def at(run, url, *, attached=True):
    """The same run of a server somewhere else."""
    manifest = msgspec.structs.replace(run.manifest, url=url, attached=attached)
    return msgspec.structs.replace(run, manifest=manifest)


def checked_alone(run, text, estimate, verdict="undecided"):
    """A gate with one absolute limit and no second arm."""
    (limit,) = parse_limits([text]).absolute
    row = Checked(limit=limit, point=run.manifest.points[0], estimate=estimate, verdict=verdict)
    return Verdict(verdict=verdict, base=None, other=run, checked=(row,))


def test_a_failure_names_what_is_slower_by_how_much_and_what_it_exceeds(run):
    far = tuple(0.4 + each for each in STEADY)
    # It may be above the limit as well, but that isn't shown.
    near = tuple(0.09 + 4 * each for each in STEADY)
    found = verdict(run, {"ttft_p50": far, "tpot_p50": near, "e2e_p50": STEADY})
    said = sentence(found)
    assert said.startswith("FAIL: ") and "worse in TTFT p50" in said
    assert "TTFT p50 at " in said and " by 49 % (at least 4" in said and "above the limit)" in said
    assert "by 9.4 % (at least " in said and "above the tolerance)" in said and "E2E" not in said
    shown = gate_screen(found, width=100)
    assert max(map(len, shown.splitlines())) <= 100
    assert "+49 %" in shown and shown.count("  fail") == 2 and shown.count("  pass") == 1


def test_a_pass_and_what_is_undecided_say_what_could_have_been_seen(run):
    found = verdict(run, {"ttft_p50": STEADY})
    assert "no metric is worse by as much as its limit, after 4 pairs" in sentence(found)
    assert "would have failed a slowdown of" in words(gate_screen(found, width=100))
    noisy = verdict(run, {"ttft_p50": (0.3, -0.3, 0.2, -0.2)})
    assert noisy.verdict == "undecided"
    said = words(gate_screen(noisy, width=100))
    assert "UNDECIDED: " in said and "or more of them (--pairs 24)" in said
    high = rounded(100 * (noisy.decision.judged[0].high - 1), digits=2, decimals=1)
    assert f"may be worse by {high} %" in said


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
    assert "ttft_p95<800ms is broken" in said and "worse than the last 10 runs in TPOT p50 by 20 %" in said
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


def test_shares_are_told_in_whole_percent_up_to_all_of_them(run):
    found = checked_alone(run, "pass_rate>90%", Estimate(value=1.0, low=0.969, high=1.0), "pass")
    row = next(line for line in gate_screen(found, width=100).splitlines() if "pass_rate>90%" in line)
    assert words(row).endswith("100 % 96.9 % to 100 % pass") and "e+" not in row
    noise = Noise(run_id=run.manifest.run_id, pairs=8, sd={("ttft_p50", 0): 1.042})
    shown = noise_screen(
        noise, {("ttft_p50", 0): 1.113}, run.manifest.points[:1], pairs=12, cost="10 s", width=100
    )
    # Rounded up: what is told to be seen isn't refused as too small to be seen.
    assert "104 %" in shown and "a slowdown of 111.3 % in any" in shown and "e+" not in shown


@pytest.mark.parametrize(
    ("share", "told"),
    # 1.02 as a logarithm and back is 2e-16 more; what is really above a tenth of a percent is told as more.
    [
        *((1.113, "111.3 %"), (0.1131, "11.4 %"), (0.02, "2 %"), (math.inf, "nothing")),
        *((math.exp(math.log1p(0.02)) - 1, "2 %"), (0.0200001, "2.1 %")),
    ],
)
def test_what_can_be_seen_is_rounded_up(share, told):
    assert seen_as(share) == told


@pytest.mark.parametrize(
    ("ratio", "told"), [(1.0996, "+9.96 %"), (1.1049, "+10.5 %"), (1.10004, "+10.004 %"), (1.1, "+10 %")]
)
def test_no_bound_is_rounded_to_the_limit_that_it_misses(run, ratio, told):
    found = verdict(run, {"ttft_p50": STEADY})
    (row,) = found.decision.judged
    judged = (msgspec.structs.replace(row, high=ratio),)
    found = msgspec.structs.replace(found, decision=msgspec.structs.replace(found.decision, judged=judged))
    shown = next(line for line in gate_screen(found, width=100).splitlines() if "TTFT p50" in line)
    assert re.search(rf" {re.escape(told)} +10 % ", shown)


@pytest.mark.parametrize(
    ("half", "ratio", "told"),
    [
        *((0.05, 1.0496, "+4.96 % 5 %"), (0.05, 1.0504, "+5.04 % 5 %"), (0.0734, 1.0731, "+7.31 % 7.34 %")),
        (0.05004, 1.04996, "+4.996 % 5.004 %"),
    ],
)
def test_no_run_is_rounded_to_the_edge_of_its_band(run, half, ratio, told):
    aged = Aged(
        metric="tpot_p50", point=0, value=10.5, median=10.0, half=half, runs=10, ratio=ratio,
        alarm=ratio > 1 + half,
    )  # fmt: skip
    found = Verdict(verdict="undecided" if aged.alarm else "pass", base=None, other=run, aged=(aged,))
    assert told in words(gate_screen(found, width=100))
    if aged.alarm:
        assert "worse than the last 10 runs in TPOT p50 by 5.04 %" in words(sentence(found))


@pytest.mark.parametrize(
    ("limit", "ends", "told"),
    [
        ("tpot_p50<2.00ms", (1.9981, 2.0023), "1.998 ms to 2.002 ms"),
        ("tpot_p50<2.00ms", (1.9, 2.1), "1.90 ms to 2.10 ms"),
        ("e2e_p50<12s", (11_999.2, 12_001.0), "11.999 s to 12.001 s"),
        ("pass_rate>90%", (0.9002, 0.95), "90.02 % to 95 %"),
        ("cost_per_1k<2.50", (2.4981, 2.52), "$2.498 to $2.52"),
    ],
)
def test_no_interval_is_rounded_to_its_limit(run, limit, ends, told):
    low, high = ends
    found = checked_alone(run, limit, Estimate(value=(low + high) / 2, low=low, high=high))
    assert told in words(gate_screen(found, width=100))


def test_two_servers_that_differ_in_address_alone_are_told_apart_by_it(run):
    base, other = at(run, "http://127.0.0.1:8101"), at(run, "http://127.0.0.1:8102")
    found = verdict(run, {"ttft_p50": tuple(0.4 + each for each in STEADY)})
    found = msgspec.structs.replace(found, base=base, other=other)
    text = words(gate_screen(found, width=100))
    assert "at http://127.0.0.1:8102 (B) against " in text and "at http://127.0.0.1:8101 (A): " in text
    assert "B differs from A in address (http://127.0.0.1:8101 → http://127.0.0.1:8102)" in text
    assert "nothing that was recorded" not in text
    targets = json.loads(gate_json(found))["targets"]
    assert [targets[arm]["url"] for arm in "AB"] == ["http://127.0.0.1:8101", "http://127.0.0.1:8102"]
    assert targets["B"]["model"] == run.manifest.model
    # Where the names tell them apart already, the sentence stays short, and the note has the addresses.
    identity = msgspec.structs.replace(run.manifest.identity, version="99")
    newer = msgspec.structs.replace(
        other, manifest=msgspec.structs.replace(other.manifest, identity=identity)
    )
    found = msgspec.structs.replace(found, other=newer)
    assert "http" not in sentence(found) and "8102)" in words(gate_markdown(found))
    # One server with itself is called the same; free ports of two that were started here tell nothing.
    mine = [at(run, run_at.manifest.url, attached=False) for run_at in (base, other)]
    for ours, theirs in ((base, base), mine):
        same = msgspec.structs.replace(found, base=ours, other=theirs)
        assert "http" not in sentence(same)
        assert "in nothing that was recorded" in words(gate_screen(same, width=100))
    mixed = sentence(msgspec.structs.replace(found, base=mine[0], other=other))
    assert "at http://127.0.0.1:8102 (B) against " in mixed and "started here (A): " in mixed


def test_worse_is_a_ratio_and_what_that_means_for_rates_is_told(run):
    far = tuple(0.4 + each for each in STEADY)
    found = verdict(run, {"output_tokens_per_s": far, "cost_per_1k_usd": far})
    text = words(gate_screen(found, width=100))
    assert "B worse by" in text and "slower" not in text.replace("a slowdown", "")
    assert "where more is better, worse by 10 % means that A has 1.1 times as much: B has 9.1 % less" in text
    found = verdict(run, {"ttft_p50": far})
    assert "where more is better" not in words(gate_screen(found, width=100))
    aged = Aged(
        metric="output_tokens_per_s", point=0, value=90.0, median=100.0, half=0.05, runs=10, ratio=1.111,
        alarm=True,
    )  # fmt: skip
    found = Verdict(verdict="undecided", base=None, other=run, aged=(aged,))
    text = words(gate_screen(found, width=100))
    assert "worse by 5 % means that the median has 1.05 times as much: this run has 4.8 % less" in text


def test_where_limits_fail_each_metric_is_held_against_its_own(run):
    slow = tuple(0.4 + each for each in STEADY)
    found = verdict(run, {"tpot_p50": slow}, fail_on="limit", limits={"tpot_p50": 0.6})
    assert found.verdict == "pass"
    text = words(gate_screen(found, width=100))
    assert "fails where a metric is shown worse by more than its limit, passes where" in text
    assert "above 10 %" not in text and "than 10 %" not in text
    usual = words(gate_screen(verdict(run, {"tpot_p50": slow}), width=100))
    assert "fails where a metric is shown worse by more than 2 %, passes where" in usual


@pytest.mark.parametrize(("purpose", "gated"), [("gate", True), ("noise", False), ("ab", False)])
def test_how_a_run_was_measured_tells_of_a_gate_only_where_one_was_asked(run, purpose, gated):
    pairing = Pairing(id="pair", arm="A", partner="other", purpose=purpose, first="AB")
    decision = verdict(run, {"ttft_p50": STEADY}).decision
    manifest = msgspec.structs.replace(run.manifest, pairing=pairing)
    text = words(how(msgspec.structs.replace(run, manifest=manifest, decision=decision), width=100))
    assert (
        "The gate said pass after 4 pairs" in text
    ) == gated and "of two that were measured in turn" in text
    assert ("of the same target, so that how much its pairs differ is noise" in text) == (purpose == "noise")


def test_a_search_that_ended_before_its_first_level_had_the_cache_that_was_asked(run):
    manifest = msgspec.structs.replace(run.manifest, points=())
    empty = msgspec.structs.replace(run, manifest=manifest, summaries=())
    assert f"Cache {run.manifest.workload.cache[0]}" in words(how(empty, width=100))


def test_a_noise_that_hides_any_slowdown_lets_none_be_seen(run):
    noise = Noise(run_id=run.manifest.run_id, pairs=8, sd={("ttft_p50", 0): 900.0})
    least = {("ttft_p50", 0): math.inf}
    shown = noise_screen(noise, least, run.manifest.points[:1], pairs=12, cost="10 s", width=100)
    assert "A gate sees no slowdown in any of these" in words(shown) and "inf" not in shown
