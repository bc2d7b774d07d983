"""Traces, played again as they were recorded."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from benchsuite.asked import Options
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import UsageError
from benchsuite.report.screen import screen
from benchsuite.run import run
from benchsuite.simulator import SimConfig, running
from benchsuite.store.export import export_records
from benchsuite.store.runs import Store
from benchsuite.types import Lengths, Source
from benchsuite.workload.arrivals import warm_up_count
from benchsuite.workload.card import card
from benchsuite.workload.draw import Row
from benchsuite.workload.fit import words
from benchsuite.workload.load import load, overridden, workload_digest
from benchsuite.workload.material import opened
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.trace_files import rows_of
from benchsuite.workload.traces import ideal_hits, ideal_share
from tests.test_trace_files import FILES, S, plain, written

PUBLIC = Path(os.environ.get("BENCHSUITE_TRACES", Path(__file__).parents[2] / "shared" / "traces"))
HEAD = 'name = "mine"\nversion = 1\ndescription = "d"'
LENGTHS = Lengths(words=words(), overhead=7, source="usage")
CACHING = SimConfig(ttft_ms=1.0, itl_ms=0.1, prefix_cache=True)


def replaying(path, **changes):
    return opened(overridden(load("trace"), trace=Source(file=str(path)), **changes), Path())


def planned(workload, material, *, trial=1, phase="measure", nonce="n", lengths=LENGTHS):
    (at,) = points(workload)
    asked = {"seed": 0, "nonce": nonce, "lengths": lengths, "material": material}
    return list(plan(workload, at, phase=phase, trial=trial, **asked))


def measured(opening, url, store, told=None, backend="sim"):
    workload, material = opening
    options = Options(backend=backend, url=url, workload=workload, material=material)
    tell = (lambda _: None) if told is None else lambda one: told.append(getattr(one, "text", ""))
    return run(options, Store(store), tell=tell, interrupt=Interrupt())


# ---------------------------------------------------------------- replay


def test_rows_are_due_as_recorded_divided_by_the_time_scale(tmp_path):
    path = written(tmp_path, FILES["azure"])
    workload, material = replaying(path, time_scale=10)
    (at,) = points(workload)
    assert at.load == "open" and at.rate == pytest.approx(3 / 0.4314579) and at.prompt_tokens == 263
    first = planned(workload, material)
    assert [one.due_offset_ns for one in first] == [0, 10, 431_457_900]
    assert [(one.prompt_tokens, one.max_output_tokens, one.min_output_tokens) for one in first] == [
        (20, 1, 1),
        (374, 44, 44),
        (396, 109, 109),
    ]
    assert [
        len(one.messages[0].content.split()) + 7
        for one in planned(msgspec.structs.replace(workload, text="random"), material)
    ] == [20, 374, 396]
    # Each trial sends the same rows, with text of its own.
    second = planned(workload, material, trial=2)
    assert [one.due_offset_ns for one in second] == [one.due_offset_ns for one in first]
    assert not {one.messages for one in first} & {one.messages for one in second}


def test_requests_and_seconds_cut_the_replay(tmp_path):
    text = "timestamp,prompt_tokens,output_tokens\n" + "".join(
        f"{second},30,{second + 1}\n" for second in range(20)
    )
    path = written(tmp_path, text)
    for changes, number, rate in (
        ({}, 20, 20 / 19),
        ({"requests": 5}, 5, 5 / 4),
        ({"seconds": 8}, 8, 1.0),
        ({"seconds": 2, "time_scale": 4}, 8, 4.0),
    ):
        workload, material = replaying(path, **changes)
        assert (
            workload.trace.used == number == len(planned(workload, material)) and workload.trace.number == 20
        )
        assert points(workload)[0].rate == pytest.approx(rate, rel=1e-5)
        assert workload.trace.longest_output == number
    with pytest.raises(UsageError, match="time_scale goes with a trace"):
        overridden(load("quick"), time_scale=2.0)


def test_a_trace_is_warmed_up_with_no_more_requests_than_it_has_rows(tmp_path):
    text = "timestamp,prompt_tokens,output_tokens\n0,9,1\n0.007,9,1\n"
    workload, _ = replaying(written(tmp_path, text))
    assert [warm_up_count(workload, one) for one in points(workload)] == [4], "the least of any open loop"
    # A rate of its own begins the rows again.
    workload, _ = replaying(written(tmp_path, text), rate=100.0, requests=9)
    assert [warm_up_count(workload, one) for one in points(workload)] == [200]


def test_a_load_of_its_own_takes_the_lengths_alone_and_begins_again(tmp_path):
    path = written(tmp_path, FILES["mooncake"])
    workload, material = replaying(path, concurrency=2, requests=5)
    assert points(workload)[0].load == "closed"
    requests = planned(workload, material)
    assert [one.prompt_tokens for one in requests] == [600, 1024, 600, 1024, 600]
    assert {one.due_offset_ns for one in requests} == {None}
    assert len({one.messages[0].content[:40] for one in requests}) == 3, "each round has text of its own"
    workload, material = replaying(path, rate=10.0, arrivals="constant")
    assert [one.due_offset_ns for one in planned(workload, material)] == [0, S // 10]
    with pytest.raises(UsageError, match="time_scale is for a trace's own instants"):
        replaying(path, rate=10.0, time_scale=2.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt_tokens": 10}, "says itself how long"),
        ({"output_tokens": 10}, "says itself how long"),
        ({"cache": "warm"}, 'can be "cold" or "shared"'),
        ({"batch": True, "requests": 2}, "can't be handed to a batch API"),
    ],
)
def test_what_does_not_go_with_a_trace_is_refused(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        replaying(written(tmp_path, FILES["azure"]), **changes)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('{ cache = "warm" }', 'can be "cold" or "shared"'),
        ("{ prompt_tokens = 10 }", "says itself how long"),
        ("{ output_tokens = 10 }", "says itself how long"),
        ("{ rate = 3 }, { rate = 1 }]\n[load]\ntime_scale = 2 #", "a trace's own instants"),
    ],
)
def test_nor_do_points_of_such_a_kind(tmp_path, asked, said):
    path = tmp_path / "mine.toml"
    trace = written(tmp_path, FILES["azure"])
    path.write_text(f'{HEAD}\n[prompts]\ntrace = "{trace}"\n[sweep]\npoints = [{asked}, {{}}]\n')
    with pytest.raises(UsageError, match=said):
        load(str(path))


def test_points_of_a_trace_have_its_load_or_their_own(tmp_path):
    path = tmp_path / "mine.toml"
    trace = written(tmp_path, FILES["azure"])
    sweep = 'points = [{ cache = "cold" }, { rate = 2 }, { concurrency = 3 }]'
    path.write_text(f'{HEAD}\n[prompts]\ntrace = "{trace}"\n[sweep]\n{sweep}\n')
    workload = load(str(path))
    assert [one.load for one in points(workload)] == ["open", "open", "closed"]
    said = dict(card(workload))
    assert said["Load"] == (
        "as each point says, open loops with Poisson arrivals; else when the trace's requests came"
    )
    # One of its points has the trace's instants, and each is warmed up as its load is.
    assert "lengths only" not in said["Prompt"]
    assert said["Warm-up"].startswith("two requests for each in flight, or those of two seconds")
    path.write_text(path.read_text() + "[load]\ntime_scale = 4\n")
    assert dict(card(load(str(path))))["Load"].endswith("when the trace's requests came, 4 times as fast")
    path.write_text(path.read_text().replace("[load]\ntime_scale = 4\n", "").replace("{ rate = 2 }, ", ""))
    said = dict(card(load(str(path))))
    assert said["Load"] == "as each point says; else when the trace's requests came"
    path.write_text(path.read_text().replace("{ concurrency = 3 }", '{ cache = "shared" }'))
    assert dict(card(load(str(path))))["Load"] == "open loop, when the trace's requests came"
    path.write_text(path.read_text().replace('{ cache = "shared" }', "{ rate = 2 }, { concurrency = 3 }"))
    path.write_text(path.read_text().replace('{ cache = "cold" }, ', ""))
    workload = load(str(path))
    assert dict(card(workload))["Load"] == "as each point says, open loops with Poisson arrivals"
    assert "lengths only" in dict(card(workload))["Prompt"]


def test_the_standard_workload_asks_for_a_file():
    with pytest.raises(UsageError, match="trace replays a trace of yours: say which with --trace FILE"):
        opened(load("trace"), Path())
    said = dict(card(load("trace")))
    assert "--trace FILE" in said["Prompt"] and said["Stop"] == "a trial ends with the trace"


def test_the_digest_is_that_of_the_rows_not_of_the_files_name(tmp_path):
    one, _ = replaying(written(tmp_path, FILES["azure"], "a"))
    same, _ = replaying(written(tmp_path, FILES["azure"], "b"))
    other, _ = replaying(written(tmp_path, FILES["azure"].replace("396", "397"), "a"))
    assert workload_digest(one) == workload_digest(same) != workload_digest(other)
    assert one.trace.file == "a" and str(tmp_path) not in str(one)


# ---------------------------------------------------------------- blocks


def row(tokens, *blocks):
    return Row(at_ns=0, prompt_tokens=tokens, output_tokens=1, blocks=blocks, block_tokens=512)


def test_an_ideal_cache_holds_the_blocks_that_stand_before():
    rows = [row(1100, 1, 2, 3), row(1100, 1, 2, 4), row(1024, 1, 2), row(1100, 9, 2, 3), row(1090, 1, 2, 3)]
    # Of the last: its third block is shorter than the one known.
    assert list(ideal_hits(rows)) == [0, 1024, 1023, 0, 1024]
    assert ideal_share(rows) == (1024 + 1023 + 1024) / (1100 * 3 + 1024 + 1090)


@pytest.mark.parametrize("text", ["random", "prose"])
def test_blocks_become_prefixes_that_a_cache_really_shares(tmp_path, text):
    trace = "".join(
        json.dumps({"timestamp": 40 * i, "input_length": tokens, "output_length": 2, "hash_ids": ids}) + "\n"
        for i, (tokens, ids) in enumerate(
            [
                (1000, [1, 2]),
                (1500, [1, 3, 4]),
                (1536, [1, 3, 5]),
                (700, [6, 7]),
                (1100, [1, 3, 8]),
                (700, [6, 9]),
            ]
        )
    )
    opening = replaying(written(tmp_path, trace), trials=2)
    opening = msgspec.structs.replace(opening[0], text=text), opening[1]
    told = []
    with running(CACHING) as simulator:
        found = measured(opening, simulator.url, tmp_path / "store", told)
    ideal = (512 + 1024 + 1024 + 512) / 6536
    assert f"a cache that forgets nothing would hold {100 * ideal:.1f} % of its prompt tokens" in told
    (summary,) = found.summaries
    assert summary.means["hit_ratio_asked"] == pytest.approx(ideal, abs=0.002)
    assert summary.means["hit_ratio"] == pytest.approx(ideal, abs=0.01)
    records = Store(tmp_path / "store").select(found.manifest.run_id).records().to_pylist()
    by_index = sorted((one["index"], one["cached_tokens"]) for one in records if one["trial"] == 2)
    for (_, cached), held in zip(by_index, [0, 512, 1024, 0, 1024, 512], strict=True):
        assert held - 16 <= cached <= held + 16
    assert "of its prompt tokens" in " ".join(told) and "cached" in screen(found, store="", width=160)


def test_rows_without_blocks_are_new_prompts_even_where_sharing_is_allowed(tmp_path):
    workload, _ = replaying(written(tmp_path, FILES["azure"]))
    assert workload.cache == ("cold",) and not workload.trace.blocks
    workload, material = replaying(written(tmp_path, FILES["azure"]), hit_ratio=0.5)
    assert workload.cache == ("shared",)
    assert [one.reusable_tokens for one in planned(workload, material)] == [0, 192, 192]


def test_blocks_can_be_left_out(tmp_path):
    workload, material = replaying(written(tmp_path, FILES["mooncake"]), cache="cold")
    first, second = planned(workload, material)
    assert first.messages[0].content[:20] != second.messages[0].content[:20]
    assert first.reusable_tokens is None


@pytest.mark.parametrize("changes", [{}, {"groups": 2}])
def test_a_trace_of_prompts_shorter_than_the_template_is_made_as_short_as_can_be(tmp_path, changes):
    rows = "".join(f"{i / 100},{tokens},2\n" for i, tokens in enumerate((3, 5, 4, 9)))
    path = written(tmp_path, f"timestamp,prompt_tokens,output_tokens\n{rows}")
    workload, material = replaying(path, **changes)
    least = LENGTHS.overhead + (2 if changes else 1)
    assert [one.prompt_tokens for one in planned(workload, material)] == [least, least, least, 9]


# ---------------------------------------------------------------- against a server


def test_our_own_records_can_be_replayed(tmp_path):
    trace = written(tmp_path, FILES["lengths"].replace("1.5", "1.75"))
    with running(CACHING) as simulator:
        found = measured(replaying(trace), simulator.url, tmp_path / "store")
    table = Store(tmp_path / "store").select(found.manifest.run_id).records(include_warm_up=True)
    for format in ("jsonl", "csv", "parquet"):
        export_records(table, format, tmp_path / "records")
        rows, seen, _ = rows_of(tmp_path / "records")
        assert seen == "records" and plain(rows) == [(0, 11, 4), (500_000_000, 10, 3)], (
            "no row of the warm-up"
        )


def test_rows_that_the_server_cannot_hold_are_left_out_and_told(tmp_path):
    text = "timestamp,prompt_tokens,output_tokens\n0,3,4\n0.05,900,4\n0.1,900,200\n0.15,40,5\n"
    path, told = written(tmp_path, text), []
    with running(SimConfig(ttft_ms=1.0, itl_ms=0.1, context_tokens=1000)) as simulator:
        found = measured(replaying(path), simulator.url, tmp_path / "store", told, "openai")
        assert "1 of its 4 rows are longer than the server's context of 1,000 tokens and are left out" in told
        assert "1 prompt is shorter than the server's chat template allows: as short as can be" in told
        trace = found.manifest.workload.trace
        assert (trace.used, trace.dropped, trace.number) == (3, 1, 4)
        records = Store(tmp_path / "store").select(found.manifest.run_id).records().to_pylist()
        assert [one["asked_output_tokens"] for one in sorted(records, key=lambda r: r["index"])] == [4, 4, 5]
    with (
        running(SimConfig(context_tokens=4)) as tiny,
        pytest.raises(UsageError, match=r"no row of t\.txt fits the server's context of 4 tokens"),
    ):
        measured(replaying(path), tiny.url, tmp_path / "store", backend="openai")
