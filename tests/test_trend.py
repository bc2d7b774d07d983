"""Trends: which runs are set in a row, in which order, and where a level changed."""

import csv
import io
import json
import math
import random
from pathlib import Path

import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.errors import NotComparable, UsageError
from benchsuite.report.figures.paper import image
from benchsuite.report.figures.trend import trend_figure
from benchsuite.report.trend import sentence, sparkline, trend_csv, trend_markdown, trend_screen
from benchsuite.store.runs import Store
from benchsuite.testing import record
from benchsuite.trend import trend
from benchsuite.types import Price, Run, TrialInfo

MS = 1_000_000
CHAT = Path(__file__).parent / "report" / "chat.json"
SAMPLE = msgspec.json.decode(CHAT.read_bytes(), type=Run)
REQUESTS = 6


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def answered(index, start_ms, ttft_ms, tpot_ms=10.0):
    """One answer of five tokens."""
    sent, gap_us = round(start_ms * MS), round(tpot_ms * 1000)
    first = sent + round(ttft_ms * MS)
    last = first + 4 * gap_us * 1000
    return record(
        request_id=f"r{index}",
        index=index,
        due_ns=sent,
        sent_ns=sent,
        sent_all_ns=sent,
        first_byte_ns=first,
        first_token_ns=first,
        first_output_ns=first,
        last_token_ns=last,
        end_ns=last,
        gaps_us=[gap_us] * 4,
        prompt_tokens=512,
        output_tokens=5,
        cached_tokens=0,
        reads=5,
    )


class Stored:
    """Makes finished runs, each with the TTFTs (ms) of its trials."""

    def __init__(self, path):
        self.store, self.made = Store(path), 0

    def __call__(self, *ttfts, verdict="valid", version="1.0", **changes):
        at = self.made
        self.made += 1
        row = SAMPLE.summaries[0]
        infos = tuple(
            TrialInfo(point=0, trial=trial, start_ns=0, last_send_ns=0, end_ns=0, plan_digest="", workers=())
            for trial in range(1, len(ttfts) + 1)
        )
        known = dict(
            run_id=f"01k9{at:022d}",
            started=f"2026-{1 + at // 28:02d}-{1 + at % 28:02d}T10:00:00Z",
            points=(row.point,),
            trials=infos,
            price=None,
            identity=replaced(SAMPLE.manifest.identity, version=version),
        )
        manifest = replaced(SAMPLE.manifest, **known | changes)
        run_dir = self.store.create(manifest)
        for trial, ttft_ms in enumerate(ttfts, 1):
            with run_dir.writer(0, trial) as writer:
                for index in range(REQUESTS):
                    writer.write(answered(index, 1_000 + index * (ttft_ms + 40), ttft_ms))
        run_dir.finish(Run(status="finished", manifest=manifest, summaries=(row,), verdict=verdict))
        return run_dir

    def trend(self, **asked):
        runs = self.store.runs()
        return trend(asked.pop("like", None), runs, **{"metrics": ["ttft_p50"]} | asked)


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path / "store")


def values(found):
    (line,) = found.lines
    return [round(spot.value, 6) for spot in line.spots]


def stepped(stored, before=50.0, after=60.0, each=9, **changes):
    draw = random.Random(1)
    counts = each if isinstance(each, tuple) else (each, each)
    for level, count in zip((before, after), counts, strict=True):
        for _ in range(count):
            stored(level * math.exp(draw.gauss(0, 0.01)), **changes)


def test_a_run_is_the_median_of_its_trials_oldest_first(stored):
    stored(50, 80, 52)
    stored(60, 61, 40)
    found = stored.trend()
    assert values(found) == [52, 60]
    first, second = found.lines[0].spots
    assert (first.change, second.change) == (None, pytest.approx(60 / 52))
    assert first.when < second.when


def test_a_step_is_marked_where_it_is_and_its_size_told(stored):
    stepped(stored)
    found = stored.trend()
    (step,) = found.lines[0].steps
    assert step.at == 9
    assert (step.before, step.after) == pytest.approx((50, 60), rel=0.01)
    assert [spot.step for spot in found.lines[0].spots].index(True) == 9
    assert "TTFT p50 worse by" in sentence(found)


def test_steps_are_found_on_logarithms_and_a_steady_series_has_none(stored):
    draw = random.Random(2)
    for _ in range(18):
        stored(50 * math.exp(draw.gauss(0, 0.02)))
    found = stored.trend()
    assert found.lines[0].steps == ()
    # 18 numbers: with 3 at the end, 2 / 816 + 2 / 3060 + … = 0.36 %; with 4, 0.11 %.
    assert (
        sentence(found)
        == "No lasting step seen in any metric; one that begins in the newest 3 numbers can't be seen yet."
    )


def test_few_runs_are_said_to_be_too_few_for_a_step(stored):
    stored(50)
    stored(90)
    assert sentence(stored.trend()) == "Too few numbers to tell a step from chance: that takes 12."


def test_a_large_step_near_the_end_is_told_and_not_denied(stored):
    stepped(stored, each=(11, 5))
    found = stored.trend()
    (line,) = found.lines
    assert line.steps == ()
    assert (line.fresh.at, line.fresh.before, line.fresh.after) == (11, *map(within, (50, 60)))
    (newer,) = [spot for at, spot in enumerate(line.spots) if at == 11]
    told = sentence(found)
    assert told.startswith("TTFT p50 worse by ") and "No step" not in told
    assert "in the newest 5 numbers, from 2026-01-12 10:00 (run " in told
    assert "a step if they stay" in told
    for width in (80, 100):
        text = trend_screen(found, width=width)
        (marked,) = [row for row in text.splitlines() if "◁ worse" in row]
        assert newer.when[:10] in marked and max(map(len, text.splitlines())) <= width
        assert "a step that begins in the newest 3 numbers can't be seen yet" in " ".join(text.split())
    assert [row["step"] for row in csv.DictReader(io.StringIO(trend_csv(found)))].index("fresh") == 11
    assert "◁ worse" in trend_markdown(found)


def within(value):
    return pytest.approx(value, rel=0.02)


def test_after_a_step_none_is_seen_in_the_few_numbers_since(stored):
    stepped(stored)
    assert "a step that begins in the newest 9 numbers can't be seen yet" in " ".join(
        trend_screen(stored.trend(), width=300).split()
    )


def test_a_young_step_is_counted_from_the_first_number_of_all(stored):
    stepped(stored)
    draw = random.Random(3)
    for _ in range(5):
        stored(80 * math.exp(draw.gauss(0, 0.01)))
    (line,) = stored.trend().lines
    assert [step.at for step in line.steps] == [9] and line.fresh.at == 18


def test_runs_of_one_minute_are_told_apart(stored):
    draw = random.Random(1)
    for level in (50, 60):
        for _ in range(9):
            stored(level * math.exp(draw.gauss(0, 0.01)), started="2026-01-01T10:00:00Z")
    found = stored.trend()
    (line,) = found.lines
    changed = line.spots[9].runs[0]
    assert f"at 2026-01-01 10:00 (run {changed[:4]}…{changed[-4:]})" in sentence(found)
    assert f"{changed[:4]}…{changed[-4:]}" in trend_screen(found, width=80)
    assert f"{changed[:4]}…{changed[-4:]}" in trend_markdown(found)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "another"}, "another model"),
        ({"gpu": "B200"}, "another GPU"),
        ({"workload": replaced(SAMPLE.manifest.workload, version=2)}, "workloads chat@"),
        ({"verdict": "invalid"}, "is invalid"),
        ({"capacity": True}, "is a capacity search"),
    ],
)
def test_runs_that_measured_something_else_are_counted_and_told(stored, changes, why):
    stored(50)
    stored(77, **changes)
    stored(77, **changes)
    stored(52)
    found = stored.trend()
    assert values(found) == [50, 52]
    assert found.left_out == 2
    assert why in found.why
    assert why in trend_screen(found, width=300)


def test_another_version_of_the_server_is_what_a_trend_is_about(stored):
    stored(50, version="1.0")
    stored(60, version="2.0")
    assert [spot.server[-3:] for spot in stored.trend().lines[0].spots] == ["1.0", "2.0"]


def test_runs_are_like_the_one_that_is_named(stored):
    first = stored(50, model="small")
    stored(51, model="small")
    stored(99, model="large")
    with pytest.raises(NotComparable, match="takes 2 comparable runs, and there is 1"):
        stored.trend()
    assert values(stored.trend(like=first)) == [50, 51]


def test_the_newest_are_kept_under_a_limit(stored):
    for ttft_ms in (50, 51, 52, 53):
        stored(ttft_ms)
    assert values(stored.trend(limit=2)) == [52, 53]


def test_dollars_of_another_price_are_no_step(stored):
    def priced(usd):
        return Price(gpu="H100", usd_per_gpu_hour=usd, source="stated")

    for usd in (1.0, 2.0, 2.0):
        stored(50, price=priced(usd))
    found = stored.trend(metrics=())
    lengths = {line.metric: len(line.spots) for line in found.lines}
    assert lengths["ttft_p50"] == 3
    assert lengths["cost_per_1k_usd"] == 2


# ---------------------------------------------------------------- over labels and commits


def test_runs_of_one_commit_are_pooled_in_the_order_of_commits(stored):
    order = ["aaaa" * 10, "bbbb" * 10, "cccc" * 10]
    for name, ttft_ms in (("bbbb", 60), ("aaaa", 50), ("cccc", 70), ("bbbb", 62), ("bbbb", 90), ("dddd", 1)):
        stored(ttft_ms, labels={"commit": name * 3})
    stored(99)
    found = stored.trend(over="commit", commits=order)
    assert values(found) == [50, 62, 70]
    assert [len(spot.runs) for spot in found.lines[0].spots] == [1, 3, 1]
    assert [spot.at for spot in found.lines[0].spots] == order
    assert found.unlabelled == 2


def test_over_a_label_as_its_values_first_came(stored):
    for name, ttft_ms in (("2", 50), ("10", 60), ("2", 54)):
        stored(ttft_ms, labels={"release": name})
    found = stored.trend(over="release")
    assert [spot.at for spot in found.lines[0].spots] == ["2", "10"]
    assert values(found) == [52, 60]


def test_runs_of_one_commit_alone_are_no_trend(stored):
    for ttft_ms in (50, 51):
        stored(ttft_ms, labels={"commit": "aaaa"})
    with pytest.raises(NotComparable, match="all 2 comparable runs are of aaaa"):
        stored.trend(over="commit", commits=["aaaa" * 10])


def test_the_newest_run_that_can_be_in_a_trend_says_what_is_comparable(stored):
    stored(50)
    stored(51)
    stored(99, capacity=True)
    stored(98, verdict="invalid", model="another")
    assert values(stored.trend()) == [50, 51]


def test_runs_without_the_label_say_how_to_give_it(stored):
    stored(50)
    stored(51)
    with pytest.raises(UsageError, match="--label commit=git"):
        stored.trend(over="commit", commits=["aaaa" * 10])
    with pytest.raises(UsageError, match="--label release=…"):
        stored.trend(over="release")


# ---------------------------------------------------------------- screens, files, the command


def test_a_sparkline_goes_from_the_lowest_to_the_highest(stored):
    for ttft_ms in (50, 52, 57):
        stored(ttft_ms)
    (line,) = stored.trend().lines
    assert sparkline(line) == "▁▃█"
    flat = replaced(line, spots=(msgspec.structs.replace(line.spots[0], value=50.0),) * 3)
    assert sparkline(flat) == "▁▁▁"
    noise = [msgspec.structs.replace(line.spots[0], value=value) for value in (10.0, 10.01, 10.03)]
    assert sparkline(replaced(line, spots=tuple(noise))) == "▁▁▁"


@pytest.mark.parametrize(
    ("lacking", "takes"),
    [
        ("cost_per_1k_usd", "a price, such as --gpu"),
        ("ttft_p99", "ttft_p99 takes 368 requests"),
        ("ttft_from_due", "--rate"),
        ("pass_rate", "checks answers"),
    ],
)
def test_a_metric_that_was_asked_for_doesnt_vanish(stored, capsys, lacking, takes):
    stored(50)
    stored(51)
    where = ["--store", str(stored.store.path)]
    assert main(["trend", "ttft_p50", lacking, *where]) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert f"no two runs here both have {lacking}" in said and takes in said
    assert main(["trend", "ttft,requests_per_s", "--format", "csv", *where]) == 0


@pytest.mark.parametrize("width", [80, 100])
def test_the_screen_fits_and_marks_the_step(stored, width):
    stepped(stored)
    text = trend_screen(stored.trend(), width=width)
    assert max(map(len, text.splitlines())) <= width
    (marked,) = [line for line in text.splitlines() if "◀" in line]
    assert marked.lstrip().startswith("2026-01-10")
    assert "worse by" in marked


def test_markdown_and_csv_hold_every_number(stored):
    stepped(stored)
    found = stored.trend()
    assert trend_markdown(found).count("\n| 2026-") == 18
    rows = list(csv.DictReader(io.StringIO(trend_csv(found))))
    assert {(row["cache"], row["hit_ratio"], row["stream"]) for row in rows} == {("cold", "", "True")}
    assert [float(row["value"]) for row in rows] == [spot.value for spot in found.lines[0].spots]
    assert [row["step"] for row in rows].index("yes") == 9


def test_a_figure_marks_each_step_and_each_level(stored):
    stepped(stored)
    svg = image(trend_figure(stored.trend()), "svg").decode()
    assert svg.count("trend-ttft_p50-0-step") == 1
    assert svg.count("trend-ttft_p50-0-level") == 2


def test_the_command_exits_with_0_whatever_moved(stored, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stepped(stored)
    where = ["--store", str(stored.store.path)]
    assert main(["trend", "ttft_p50", *where]) == 0
    assert "worse by" in capsys.readouterr().out
    assert main(["trend", "ttft_p50", "--format", "json", *where]) == 0
    assert len(json.loads(capsys.readouterr().out)["lines"][0]["steps"]) == 1
    assert main(["trend", "-o", "trend.png", *where]) == 0
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_is_missing(stored, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ["--store", str(stored.store.path)]
    assert main(["trend", *where]) == 4
    stored(50)
    assert main(["trend", *where]) == 4
    stored(51)
    assert main(["trend", "ttfx", *where]) == 2
    assert main(["trend", "--format", "csv", "-o", "trend.png", *where]) == 2
    assert not (tmp_path / "trend.png").exists()
    assert main(["trend", "--where", "model=none", *where]) == 4
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["trend", "--over", "commit", *where]) == 2
    assert "--over time" in capsys.readouterr().err
