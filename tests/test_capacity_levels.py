"""What a level of a capacity search sends, what of it counts, and what is said of that beforehand."""

import heapq
import random

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.capacity.outlook import in_words, outlook
from benchsuite.capacity.search import Ask, checked
from benchsuite.cli import main
from benchsuite.conclude import _fillers, conclude, keep_info, recover
from benchsuite.report.capacity import tries_told
from benchsuite.report.listing import unfinished_lines
from benchsuite.report.screen import workload_line
from benchsuite.stats.edge import filling
from benchsuite.store import Store
from benchsuite.store.check import check
from benchsuite.testing import record
from benchsuite.types import Identity, Machine, Manifest, Point, Slo, TrialInfo, Workload

MS = 1_000_000
SKIPPED, JUDGED, SLOW_MS, FAST_MS = 30, 80, 900, 100
WORKLOAD = Workload(
    name="w",
    version=1,
    description="",
    prompt_tokens=(9,),
    output_tokens=(1,),
    rate=(10.0,),
    requests=JUDGED,
    slo=Slo(ttft_ms=500.0),
)


def manifest(**changes):
    known = dict(
        run_id=f"01{7:024}",
        started="2026-11-23T12:00:00Z",
        version="0.1.0",
        command="capacity",
        backend="sim",
        url="http://127.0.0.1:1",
        model="m",
        attached=True,
        identity=Identity(server="sim", slots=10),
        workload=WORKLOAD,
        workload_digest="d",
        seed=0,
        nonce="n",
        lengths=None,
        points=(Point(index=0, prompt_tokens=9, output_tokens=1, concurrency=None, rate=10.0),),
        workers=1,
        machine=Machine(id="a", os="", cpu="", cores=2, memory_gib=8.0, python="3.11"),
        capacity=True,
    )
    return Manifest(**known | changes)


def answered(index):
    """One every 100 ms; the first ones, which warm the server up, take nine times as long."""
    took_ms = SLOW_MS if index < SKIPPED else FAST_MS
    sent, end = 100 * index * MS, (100 * index + took_ms) * MS
    instants = {name: end - MS for name in ("first_token_ns", "first_output_ns", "last_token_ns")}
    return record(
        index=index,
        request_id=f"r-{index}",
        due_ns=sent,
        sent_ns=sent,
        end_ns=end,
        first_byte_ns=None,
        prompt_tokens=9,
        cached_tokens=0,
        **instants,
    )


def load_of(index, rate=None, concurrency=None):
    return Point(index=index, prompt_tokens=9, output_tokens=1, concurrency=concurrency, rate=rate)


def phase(index):
    return "warm_up" if index < SKIPPED else "measure"


@pytest.fixture
def level(tmp_path):
    """A level's records as its workers left them, in two files."""
    run_dir = Store(tmp_path).create(manifest())
    for part in (0, 1):
        with run_dir.writer(0, 1, part or None) as writer:
            for index in range(part, SKIPPED + JUDGED, 2):
                writer.write(msgspec.structs.replace(answered(index), phase=phase(index)))
    return run_dir


def test_what_fills_the_server_counts_in_no_number_of_a_level(level):
    (row,) = conclude(level, manifest(), "finished").summaries
    assert row.requests == JUDGED and row.outcomes == {"ok": JUDGED}
    assert row.means["ttft_ms"] == pytest.approx(FAST_MS - 1)
    assert row.metrics["ttft"].quantiles["p95"].value == pytest.approx(FAST_MS - 1)
    # From the first judged to the last due, 7.9 s: 79 of them are answered, and the last eight before them.
    assert row.rates["requests_per_s"].value == pytest.approx((79 + 8) / 7.9)
    assert row.means["in_flight"] == pytest.approx(1 + sum(range(1, 9)) / 79)
    assert check(level) == []


def test_what_fills_the_server_is_shown_as_warm_up(level):
    every = level.records(include_warm_up=True).to_pylist()
    assert sorted(row["index"] for row in every) == list(range(SKIPPED + JUDGED))
    assert {row["trial"] for row in every} == {1}
    assert {row["index"] for row in every if row["phase"] == "warm_up"} == set(range(SKIPPED))
    shown = level.records(columns=["index"])
    assert sorted(shown.column("index").to_pylist()) == list(range(SKIPPED, SKIPPED + JUDGED))
    assert shown.column_names == ["index", "point", "trial"]


def test_a_level_that_ended_while_the_server_was_filled_has_no_numbers(tmp_path):
    run_dir = Store(tmp_path).create(manifest())
    with run_dir.writer(0, 1) as writer:
        for index in range(SKIPPED):
            writer.write(msgspec.structs.replace(answered(index), phase="warm_up"))
    (row,) = conclude(run_dir, manifest(), "finished").summaries
    assert row.requests == 0 and row.outcomes == {} and row.rates["requests_per_s"].value is None


def closed_level(tmp_path, slots, requests, fillers, seed=1):
    """A level of a closed loop whose server answers each slot after an exponential time of a second."""
    draw = random.Random(seed)
    point = Point(index=0, prompt_tokens=9, output_tokens=1, concurrency=slots)
    run_dir = Store(tmp_path).create(manifest(points=(point,)))
    free = [0] * slots
    with run_dir.writer(0, 1) as writer:
        for index in range(fillers + requests):
            due = heapq.heappop(free)
            end = due + round(draw.expovariate(1) * 1e9) + 2 * MS
            heapq.heappush(free, end)
            at = {name: end - MS for name in ("first_token_ns", "first_output_ns", "last_token_ns")}
            how = "warm_up" if index < fillers else "measure"
            writer.write(record(index=index, phase=how, due_ns=due, sent_ns=due, end_ns=end, **at))
    info = TrialInfo(point=0, trial=1, start_ns=0, last_send_ns=0, end_ns=2, plan_digest="", workers=())
    keep_info(run_dir, info)
    (row,) = conclude(run_dir, manifest(points=(point,)), "finished").summaries
    return row


@pytest.mark.parametrize(("slots", "requests"), [(10, 200), (256, 1000), (512, 1000)])
def test_of_a_closed_loop_throughput_is_that_of_full_slots(tmp_path, slots, requests):
    """However few requests are judged for each slot: what fills the server is answered beside them."""
    row = closed_level(tmp_path, slots, requests, 3 * slots)
    assert row.means["in_flight"] == pytest.approx(slots, rel=1e-3)
    assert row.rates["requests_per_s"].value == pytest.approx(slots / 1.002, rel=0.1)
    assert row.requests == requests
    assert "delivered" not in {warning.code for warning in row.warnings}


def test_the_phase_is_written_with_the_records_of_a_search_alone():
    """By index, for the point of that index: points of a search stand in the order of their loads."""
    rates = [load_of(index, rate=rate) for index, rate in ((1, 5.0), (0, 9.0))]
    search = manifest(points=tuple(rates))
    assert [_fillers(search, point) for point in (0, 1, 2)] == [100, 100, 0]
    slots = [load_of(index, concurrency=n) for index, n in ((1, 4), (0, 32))]
    assert [_fillers(manifest(points=tuple(slots)), point) for point in (0, 1)] == [96, 12]
    assert _fillers(manifest(points=tuple(slots), capacity=False), 0) == 0


def test_a_higher_number_in_flight_takes_more_to_fill_a_rate_what_the_servers_slots_take():
    assert [filling(load_of(0, concurrency=slots), 8) for slots in (1, 4096)] == [3, 12_288]
    assert [filling(load_of(0, rate=rate), None) for rate in (0.5, 900.0)] == [100, 100]
    assert filling(load_of(0, rate=900.0), 64) == 192


def test_the_header_says_how_many_requests_a_try_sends():
    assert workload_line(manifest()).endswith("1 load tried, 80 requests a try after a warm-up of 100")
    slots = [Point(index=i, prompt_tokens=9, output_tokens=1, concurrency=n) for i, n in enumerate((1, 4096))]
    assert tries_told(manifest(points=tuple(slots))) == (
        "2 loads tried, 80 requests a try after a warm-up of 3 for each in flight (12,288 at 4,096)"
    )
    assert tries_told(manifest(points=())) == "0 loads tried"


def foretold(price="", **asked):
    ask = Ask(requests=1000, **asked)
    options = checked(Options(backend="openai", workload=WORKLOAD, token_price=price), ask)
    return outlook(options, ask), in_words(outlook(options, ask), ask)


def test_before_a_search_by_rate_its_tokens_and_a_bound_of_its_time_are_told():
    found, (level, whole) = foretold(start=40.0, price=(100.0, 100.0))
    assert "1,000 requests after a warm-up of 100 (3 for each of the server's slots, if" in level
    # About sixteen levels of 1,100 requests with nine tokens and one.
    assert found.requests == (17_600, 17_600) and found.fast.prompt_tokens == 9 * 17_600
    assert found.fast.tokens_usd == pytest.approx(17_600 * 10 * 100 / 1e6)
    assert "17,600 requests, 0.16 M tokens in, 17,600 out, about $17.60" in whole
    assert "at most about 7 min if 40 req/s is met" in whole


def test_a_time_that_hangs_on_the_server_is_a_range():
    found, (_, whole) = foretold()
    assert found.slow.seconds > 20 * found.fast.seconds
    assert found.requests == (17_600, 17_600) and "by how many the server answers at once" in whole


def test_before_a_search_by_concurrency_it_is_told_that_high_loads_send_more():
    found, (level, whole) = foretold(by="concurrency", price=(100.0, 100.0))
    assert "1,003 at the lowest load, 1,192 at 64 in flight" in level
    assert found.requests == (16 * 1003, 16 * 1192)
    assert found.fast.prompt_tokens == 9 * 16 * 1192 and found.slow.prompt_tokens == 9 * 16 * 1003
    assert whole.endswith("by how many the server answers at once, more above 64 in flight")
    assert "16,048 to 19,072 requests" in whole and "about $16.05 to $19.07" in whole
    assert found.fast.tokens_usd == pytest.approx(19.072)


CAPACITY = ("capacity", "--backend", "openai", "--slo", "ttft_p95=100ms", "--model", "m")


def test_a_dry_run_tells_it_and_a_dear_search_of_a_public_host_needs_a_yes(capsys, tmp_path):
    local = (*CAPACITY, "--url", "http://127.0.0.1:1/v1", "--token-price", "100,100", "--dry-run")
    assert main(list(local)) == 0
    told = capsys.readouterr().err
    assert "17,600 requests" in told and "tokens in" in told and "about $" in told
    public = (*CAPACITY, "--url", "https://example.com/v1", "--token-price", "100,100")
    assert main([*public, "--store", str(tmp_path / "store")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "would be pressed until it misses the limits, for about $" in told and "add --yes" in told
    assert not (tmp_path / "store").exists()


def test_a_search_that_was_cut_off_is_not_said_to_go_on(level):
    (line,) = unfinished_lines([level])
    assert line.startswith(f"1 capacity search was cut off ({level.run_id}): `benchsuite store recover`")
    assert "--resume" not in line and "begins anew" in line


def test_resuming_a_search_is_refused_for_what_it_is(capsys):
    assert main([*CAPACITY, "--resume"]) == 2
    assert "goes on where it was interrupted: leave --resume out" in capsys.readouterr().err


def test_recovering_a_search_keeps_whole_levels_alone(level, tmp_path):
    info = TrialInfo(point=0, trial=1, start_ns=0, last_send_ns=1, end_ns=2, plan_digest="", workers=())
    keep_info(level, info)
    with level.writer(0, 2) as writer:
        writer.write(answered(0))
    (run,) = recover(Store(tmp_path), lambda told: None)
    assert [(info.point, info.trial) for info in run.manifest.trials] == [(0, 1)]
    assert run.summaries[0].requests == JUDGED and run.summaries[0].means["ttft_ms"] == FAST_MS - 1
