"""Loads that change within a trial: what is sent when, by the records and by the simulator's truth."""

import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest

from benchsuite.engine.clock import Alarm
from benchsuite.engine.loop import Loop
from benchsuite.engine.schedule import Schedule
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.workload.stages import parse_stages, slot_times

MS = 1_000_000
S = 1_000_000_000


def measured(tmp_path: Any, simulator: Any, *words: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run through the command line: what it found, and its records."""
    env = {**os.environ, "BENCHSUITE_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-m", "benchsuite"]
    asked = ["run", "--backend", "sim", "--url", simulator.url, "--json", "--yes", "--prompt-tokens", "40"]
    done = subprocess.run([*command, *asked, *words], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    shown = subprocess.run(
        [*command, "show", "--format", "jsonl"],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout), [json.loads(line) for line in shown.stdout.splitlines()]


def start_of(run: dict[str, Any], trial: int = 1) -> int:
    (info,) = (each for each in run["manifest"]["trials"] if each["trial"] == trial)
    return int(info["start_ns"])


# ---------------------------------------------------------------- a schedule's slots


def schedule(drive: Any, serve: Any, text: str) -> Schedule:
    endpoint = drive.endpoint(serve(lambda peer: None))
    times = slot_times(parse_stages(text))
    spec = endpoint.spec(loop="closed", slots=max(n for _, n in times), seconds=60.0, slot_times=times)
    made = Schedule(spec)
    made.calls.extend((index, -1, b"") for index in range(100))
    return made


def taken(made: Schedule, now_ns: int) -> list[int]:
    """Everything that may go at an instant: when each was due."""
    made.approach(now_ns)
    found = []
    while (call := made.take(now_ns)) is not None:
        found.append(call[2])
    return found


def test_slots_come_when_the_stages_say_and_are_due_then(drive: Any, serve: Any) -> None:
    made = schedule(drive, serve, "4s@c1-c3")
    assert made.wanted_at_start() == 1
    made.begin(S)
    assert taken(made, S) == [S]
    assert made.next_ns(0) == 2 * S
    assert taken(made, 2 * S - 1) == []
    assert taken(made, 5 * S) == [2 * S, 4 * S]
    assert made.next_ns(4 * S) == 0


def test_a_slot_that_goes_away_finishes_its_request(drive: Any, serve: Any) -> None:
    made = schedule(drive, serve, "2s@c3,2s@c1,2s@c2")
    made.begin(0)
    assert len(taken(made, 0)) == 3
    made.free(1 * S)
    assert taken(made, 1 * S) == [1 * S]
    for at_ns in (2 * S + 1, 2 * S + 2):
        made.free(at_ns)
        assert made.take(at_ns) is None
    assert taken(made, 2 * S + 3) == []
    made.free(3 * S)
    assert taken(made, 3 * S) == [3 * S]
    assert taken(made, 4 * S) == [4 * S]


def test_a_slot_wanted_again_before_its_request_ended_is_the_same_one(drive: Any, serve: Any) -> None:
    made = schedule(drive, serve, "1s@c2,1s@c1,1s@c2")
    made.begin(0)
    assert len(taken(made, 0)) == 2
    assert taken(made, 1 * S) == taken(made, 2 * S) == []
    made.free(2 * S + 5)
    made.free(2 * S + 6)
    assert taken(made, 3 * S) == [2 * S + 5, 2 * S + 6]


def test_a_free_slot_goes_away_at_once_and_none_may_be_left(drive: Any, serve: Any) -> None:
    made = schedule(drive, serve, "1s@c2,1s@c0,1s@c1")
    made.begin(0)
    made.follow(1 * S)
    assert taken(made, 1 * S) == []
    assert not made.exhausted(1 * S)
    assert taken(made, 2 * S) == [2 * S]


# ---------------------------------------------------------------- the engine


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_an_open_loop_of_stages_is_the_same_over_any_number_of_workers(
    serve: Any, wire: Any, drive: Any, workers: int
) -> None:
    def script(peer: Any) -> None:
        while peer.request() is not None:
            peer.answer(wire.sized())

    # A ramp from 20 to 100 a second, as a plan has it.
    offsets_ns = [round(at * MS) for at in (0, 48, 92, 133, 171, 207, 241, 273, 304, 333, 361, 388, 414, 440)]
    trial = drive.trial(serve(script), closed=False, slots=None, workers=workers)
    done = drive.run(trial, drive.requests(len(offsets_ns), offsets_ns))
    assert [record.due_ns - done.run.start_ns for record in done.records] == offsets_ns
    assert all(record.sent_ns >= record.due_ns for record in done.records)
    assert [worker.sent for worker in done.run.workers] == [
        len(range(k, 14, workers)) for k in range(workers)
    ]


def test_what_is_in_flight_follows_the_ramp(tmp_path: Any) -> None:
    """By the server's word: never more than the slots that were there, and nearly all of them."""
    text = "1.6s@c1-c9,0.8s@c9,1.2s@c3"
    truth = tmp_path / "truth.jsonl"
    with running(SimConfig(ttft_ms=60.0, itl_ms=4.0, truth_path=str(truth))) as simulator:
        run, records = measured(
            tmp_path, simulator, "--stages", text, "--trials", "1", "--output-tokens", "6", "--workers", "2"
        )
    start_ns, times = start_of(run), slot_times(parse_stages(text))
    ids = {record["request_id"] for record in records}
    spans = [(one.received_ns, one.end_ns) for one in read_truth(truth) if one.request_id in ids]
    assert len(spans) == len(records)
    assert all(record["due_ns"] < start_ns + 3.6 * S for record in records)

    def slots(at_ns: int) -> int:
        return [count for offset_ns, count in times if start_ns + offset_ns <= at_ns][-1]

    # A request belongs to a slot that was there when it was sent.
    longest = max(record["end_ns"] - record["sent_ns"] for record in records)
    for begin, _ in spans:
        there = sum(a <= begin < b for a, b in spans)
        since = [slots(begin), *(n for at, n in times if begin - longest - 20 * MS <= start_ns + at <= begin)]
        before = slots(max(start_ns, begin - longest - 20 * MS))
        assert there <= max(before, *since)
    in_flight = asked = 0.0
    for (at, count), (end, _) in pairwise([*times, (round(3.6 * S), 0)]):
        a, b = start_ns + at, start_ns + end
        in_flight += sum(min(count * (b - a), max(0, min(y, b) - max(x, a))) for x, y in spans)
        asked += count * (b - a)
    assert 0.8 * asked < in_flight
    # Each slot that comes asks at once: its request is due then, or when its connection is open. It may take
    # the connection of a slot that has just become free, which then is the one that waits for the new one.
    growth = [start_ns + b[0] for a, b in pairwise(times) if b[1] > a[1]]
    ends = {record["end_ns"] for record in records}
    first, *later = sorted(record["due_ns"] for record in records if record["due_ns"] not in ends)
    assert 8 == len(growth) <= len(later) <= 2 * len(growth)
    assert first >= start_ns and later[0] >= growth[0]
    opening = [min(due - at for due in later if due >= at) for at in growth]
    assert statistics.median(opening) < 0.25 * (growth[1] - growth[0])


def test_the_server_hears_a_ramp_as_it_was_planned(tmp_path: Any) -> None:
    """Two runs of one seed ask at the same instants, a second trial at others; the server hears them then."""
    truth = tmp_path / "truth.jsonl"
    words = ("--stages", "1.5s@5-60", "--output-tokens", "2", "--trials", "2", "--seed", "4")
    with running(SimConfig(ttft_ms=5.0, itl_ms=1.0, truth_path=str(truth))) as simulator:
        (one, first), (two, second) = (measured(tmp_path, simulator, *words) for _ in range(2))

    def offsets(run: dict[str, Any], records: list[dict[str, Any]], trial: int) -> list[int]:
        return sorted(r["due_ns"] - start_of(run, trial) for r in records if r["trial"] == trial)

    assert offsets(one, first, 1) == offsets(two, second, 1)
    assert offsets(one, first, 2) == offsets(two, second, 2)
    assert one["manifest"]["nonce"] != two["manifest"]["nonce"]
    assert not set(offsets(one, first, 1)) & set(offsets(one, first, 2))
    heard = {entry.request_id: entry.received_ns for entry in read_truth(truth)}
    late = [heard[record["request_id"]] - record["due_ns"] for record in first + second]
    mean_gap = 1.5 * S / 49
    assert min(late) >= 0
    assert statistics.median(late) < mean_gap / 2
    # More in the ramp's second half than in its first, by about 35 to 14.
    counts = [sum(at >= 0.75 * S for at in offsets(one, first, trial)) for trial in (1, 2)]
    assert sum(counts) > 1.5 * (len(first) - sum(counts))
    (summary,) = one["summaries"]
    assert not {"steadiness", "short_trial"} & {each["code"] for each in summary["warnings"]}


def test_behind_a_cap_waiting_counts_from_due(tmp_path: Any) -> None:
    """One at a time of some 50 ms, forty asked a second: each is sent later than the one before."""
    with running(SimConfig(ttft_ms=40.0, itl_ms=5.0)) as simulator:
        run, records = measured(
            tmp_path,
            simulator,
            *("--rate", "40", "--arrivals", "constant", "--concurrency", "1", "--duration", "0.6s"),
            *("--trials", "1", "--output-tokens", "3"),
        )
    due = sorted(record["due_ns"] - start_of(run) for record in records)
    assert due == [index * 25 * MS for index in range(24)]
    waits = [record["sent_ns"] - record["due_ns"] for record in sorted(records, key=lambda r: r["index"])]
    assert all(later > earlier for earlier, later in pairwise(waits[1:]))
    (summary,) = run["summaries"]
    found = {
        name: summary["metrics"][name]["quantiles"]["p50"]["value"] for name in ("ttft", "ttft_from_due")
    }
    assert found["ttft_from_due"] > 5 * found["ttft"]
    assert "delivered" in {each["code"] for each in summary["warnings"]}


class NoTimer(Alarm):
    """Where the system has no timerfd."""

    def __init__(self) -> None:
        self.fd = -1


def test_slots_come_in_time_without_a_timer(serve: Any, drive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop wakes by itself just before a slot comes, not at its next round of housekeeping."""
    monkeypatch.setattr("benchsuite.engine.loop.Alarm", NoTimer)
    endpoint = drive.endpoint(serve(lambda peer: None))
    times = ((0, 1), (30 * MS, 2))
    loop = Loop(endpoint.spec(loop="closed", slots=2, seconds=1.0, slot_times=times), lambda ended: None)
    loop.start_ns = time.monotonic_ns()
    loop.schedule.begin(loop.start_ns)
    assert not loop.schedule.take(loop.start_ns)
    loop.fill(time.monotonic_ns())
    assert loop.housekeep_ns <= loop.start_ns + 30 * MS
    assert loop.patience_s(0.05) < 0.03
    loop.schedule.follow(loop.start_ns + 30 * MS)
    loop.housekeep_ns = time.monotonic_ns() + 100 * MS
    assert loop.patience_s(0.05) == 0.05
    loop.close()
