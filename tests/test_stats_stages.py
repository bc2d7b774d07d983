"""An intended ramp is no fault: the rules for staged trials, and their numbers by stage, counted by hand."""

import re
from pathlib import Path

import msgspec
import pytest

from benchsuite.report.how import how
from benchsuite.report.markdown import markdown
from benchsuite.report.screen import screen
from benchsuite.stats import rates
from benchsuite.stats.columns import trials_of
from benchsuite.stats.staged import all_by_stage, by_stage
from benchsuite.types import Run
from benchsuite.workload.stages import expected, instants_s, parse_stages
from tests.trials import CLOSED, OPEN, START, codes, failed, request, summary, table, trial_info

CHAT = Path(__file__).parent / "report" / "chat.json"
RAMP = parse_stages("10s@1-41,2s@41")
SLOTS = parse_stages("2s@c1-c4,1s@c4,1s@c1")


def ramp_point(stages=RAMP):
    return msgspec.structs.replace(OPEN, rate=expected(stages, 1e9) / 12, stages=stages)


def slots_point(stages=SLOTS):
    return msgspec.structs.replace(CLOSED, concurrency=4, stages=stages)


def growing(stages=RAMP, per_s=20.0, **changes):
    """Evenly spaced arrivals of a ramp; TTFT grows with the rate, as on any server."""
    due = [at * 1000 for at in instants_s(stages, map(float, range(10_000)))]
    return [request(at, first=50 + per_s * at / 1000, **changes) for at in due]


def slot_requests(stop_ms=4000, e2e=100):
    """What an engine does with `SLOTS`: each slot asks again at once as long as it is there."""
    begins = {0: 0.0, 1: 333.0, 2: 1000.0, 3: 1667.0}
    ends = {0: 4000.0, 1: 3000.0, 2: 3000.0, 3: 3000.0}
    sent = sorted(
        at + begins[slot]
        for slot in begins
        for at in range(0, 4000, e2e)
        if at + begins[slot] < min(ends[slot], stop_ms)
    )
    return [request(at) for at in sent]


def test_a_steep_ramp_on_a_server_that_slows_down_is_valid():
    trials = [growing() for _ in range(3)]
    infos = [trial_info(trial) for trial in (1, 2, 3)]
    found = summary(*trials, point=ramp_point(), infos=infos)
    assert (found.verdict, codes(found)) == ("valid", {})
    # The same records of a load that should have stayed the same are drifting.
    held = summary(*trials, point=msgspec.structs.replace(OPEN, rate=24.0), infos=infos)
    assert codes(held)["steadiness"] == "suspect"


def test_a_ramp_of_slots_is_valid_and_missing_slots_are_told():
    infos = [trial_info(trial, last_send=3990) for trial in (1, 2, 3)]
    full = summary(*[slot_requests()] * 3, point=slots_point(), infos=infos)
    assert (full.verdict, codes(full)) == ("valid", {})
    lazy = [each for each in slot_requests() if (each.sent_ns - START) % 7]
    less = summary(lazy, point=slots_point(), infos=[trial_info(1, last_send=3990)])
    assert codes(less)["delivered"] == "invalid"
    assert "of the slots that the stages ask for were taken" in str(less.warnings)


def test_requests_that_outlive_their_slot_make_no_excess_and_hide_no_lack():
    """Half of the slots' time is missing, long answers after the slots went away are as much again."""
    stages = parse_stages("1s@c2,1s@c0")
    point = msgspec.structs.replace(CLOSED, concurrency=2, stages=stages)
    records = [request(0, first=1900), request(500, first=1400)]
    ((info, columns),) = trials_of(table(records), [trial_info()])
    window = rates.window_of(point, info, columns)
    assert (window.start_ns, window.seconds, window.whole) == (START, 2.0, False)
    assert rates.delivered_share(point, columns, window) == pytest.approx(0.75)


def test_the_window_is_the_whole_schedule_and_late_sends_lower_the_pace():
    ((info, columns),) = trials_of(table(growing()), [trial_info()])
    window = rates.window_of(ramp_point(), info, columns)
    assert window.start_ns == START
    assert window.seconds == 12.0
    assert rates.delivered_share(ramp_point(), columns, window) == pytest.approx(1.0)
    late = [request((each.due_ns - START) / 1e6 * 1.1, due=(each.due_ns - START) / 1e6) for each in growing()]
    found = summary(late, point=ramp_point(), infos=[trial_info()])
    assert codes(found)["delivered"] == "invalid"
    assert "of the pace of 1 → 41 req/s in stages" in str(found.warnings)


def test_each_stage_has_its_own_requests_by_when_they_were_due():
    """A request due in the first stage and answered in the second is the first's; its answer counts there."""
    stages = parse_stages("1s@10,1s@0,2s@5-15")
    records = [
        *(request(at) for at in range(0, 900, 100)),
        request(1100, due=950, first=200),
        failed(2500, 2600, due_ns=START + 2_000_000_000),
        *(request(at, gaps=(20,) * 4) for at in range(3000, 3900, 100)),
    ]
    point = msgspec.structs.replace(OPEN, stages=stages)
    first, idle, last = by_stage(point, table(records), [trial_info()])
    assert (first.requests, first.errors, first.requests_per_s.value) == (10, 0, 9.0)
    assert first.in_flight.value == pytest.approx(0.9)
    assert (idle.requests, idle.requests_per_s.value, idle.ttft_p50_ms.value) == (0, 1.0, None)
    assert (last.requests, last.errors, last.requests_per_s.value) == (10, 1, 4.5)
    assert (first.tpot_p50_ms.value, last.tpot_p50_ms.value) == (10.0, 20.0)
    # From due: nine of 50 ms and one of 350.
    assert first.ttft_p50_ms.value == 50.0
    assert first.ttft_p95_ms.needs == 72
    assert by_stage(OPEN, table(records), [trial_info()]) == ()


def test_trials_are_pooled_and_each_counts_from_its_own_start():
    stages = parse_stages("1s@20,1s@20")
    point = msgspec.structs.replace(OPEN, stages=stages)
    later = msgspec.structs.replace(trial_info(2), start_ns=START + 10_000_000_000)
    one = [request(at) for at in range(0, 2000, 50)]
    two = [request(10_000 + at, first=70) for at in range(0, 1000, 50)]
    first, second = by_stage(point, table(one, two), [trial_info(1), later])
    assert (first.requests, second.requests) == (40, 20)
    assert (first.ttft_p50_ms.value, second.ttft_p50_ms.value) == (60.0, 50.0)
    # Answers take 100 ms, in the second trial 120.
    assert first.requests_per_s.value == pytest.approx((19 + 18) / 2)


def test_a_trial_that_was_cut_short_counts_for_as_long_as_it_went():
    stages = parse_stages("10s@10,10s@20")
    point = msgspec.structs.replace(OPEN, stages=stages)
    records = table([request(at) for at in range(0, 2000, 100)])
    stopped, recovered = trial_info(stopped=True), msgspec.structs.replace(trial_info(), workers=())
    for info in (stopped, recovered):
        first, second = by_stage(point, records, [info])
        assert first.requests_per_s.value == 10.0
        assert (second.requests_per_s.value, second.in_flight.value) == (None, None)
    assert by_stage(point, records, [trial_info()])[0].requests_per_s.value == 2.0


def staged_run():
    """The stored run of the report tests, with a ramp as its only point."""
    run = msgspec.json.decode(CHAT.read_bytes(), type=Run)
    trials = [growing(per_s=2.0) for _ in range(3)]
    infos = tuple(trial_info(number) for number in (1, 2, 3))
    row = summary(*trials, point=ramp_point(), infos=infos)
    workload = msgspec.structs.replace(
        run.manifest.workload, concurrency=(), rate=(), requests=None, seconds=None, stages=RAMP
    )
    manifest = msgspec.structs.replace(
        run.manifest, workload=workload, points=(row.point,), trials=infos, price=None, gpu=""
    )
    return msgspec.structs.replace(run, manifest=manifest, summaries=(row,)), table(*trials)


def test_the_screen_and_markdown_have_a_row_a_stage():
    run, records = staged_run()
    stages = all_by_stage(run, lambda _index: records)
    shown = screen(run, store="s", width=100, stages=stages)
    rows = re.findall(r"^ +(\d+ s) +(1 → 41|41) +([\d.]+) .* (\d+/\d+)$", shown, re.M)
    assert rows == [("10 s", "1 → 41", "20.6", "630/630"), ("2 s", "41", "40.5", "246/246")]
    assert "at 1 → 41 req/s in stages" in " ".join(shown.split())
    assert "1 to 41" in shown
    assert "1 point × 3 trials of 12 s each" in shown
    text = markdown(run, stages=stages)
    assert "| time | req/s asked | req/s done |" in text
    assert "| 2 s | 41 |" in text
    assert "By stage" not in markdown(run)
    assert "Throughput's window: all stages" in how(run, width=200)
