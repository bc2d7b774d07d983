"""Comparisons as text: the whole screen as it was, and what its parts say in other cases."""

from pathlib import Path

import msgspec
import pytest

from benchsuite.compare import Comparison, Pair, Row, Side
from benchsuite.differences import Difference
from benchsuite.report.compare import compared_csv, compared_markdown, compared_screen, letter, sentence
from benchsuite.stats.compare import effect
from benchsuite.stats.series import MEASURES
from benchsuite.types import Point

FILES = Path(__file__).parent / "report"
ALONE = Point(index=0, prompt_tokens=512, output_tokens=128, concurrency=1)
EIGHT = Point(index=1, prompt_tokens=512, output_tokens=128, concurrency=8)
MANY = Point(index=2, prompt_tokens=512, output_tokens=128, concurrency=64)
DUE = Point(index=0, prompt_tokens=512, output_tokens=128, concurrency=64, rate=4.0)


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


def row(metric, base, other, note=""):
    """As it follows from one number a trial."""
    measure = MEASURES[metric]
    found = effect(base, other, better=measure.better, margin=0.05)
    return Row(
        metric=metric,
        unit=measure.unit,
        better=measure.better,
        base=base[len(base) // 2] if base else None,
        other=other[len(other) // 2] if other else None,
        trials=(len(base), len(other)),
        effect=found,
        note=note,
    )


def side(run_id, model, **changes):
    known = dict(
        started="2026-11-20T10:00:00+00:00",
        status="finished",
        verdict="valid",
        backend="openai",
        server="vLLM 0.33.0",
        gpu="H100",
        reasons=(),
    )
    return Side(run_id=run_id, model=model, **known | changes)


@pytest.fixture
def found():
    suspect = ("suspect (8 in flight): 2 of 240 requests failed (2 × timeout_silence)",)
    return Comparison(
        base=side("01k9zq3m5t8x2b7c4d6e8f0g1h", "meta-llama/Llama-3.1-8B-Instruct"),
        other=side("01k9zr3m5t8x2b7c4d6e8f0g2j", "Qwen3-8B", verdict="suspect", reasons=suspect),
        workload="chat@1",
        workload_digest="8458b426ed65b2d5a9c70c54e1af5144b6f3130e310e27e1a993a5fe70d20073",
        digest_equal=True,
        same="tokens",
        cache="cold",
        metrics_version=1,
        margin=0.05,
        differs_in=(
            Difference(name="model", base="meta-llama/Llama-3.1-8B-Instruct", other="Qwen3-8B"),
            Difference(name="price", base="1 × H100 at $3.99 an hour", other="–"),
        ),
        asked_differently=(),
        points=(
            Pair(
                point=ALONE,
                rows=(
                    row("ttft_p50", (20.9, 21.0, 21.2), (24.9, 25.1, 25.4)),
                    row("ttft_p90", (25.1, 25.2, 25.4), (), note="n<36"),
                    row("tpot_p50", (6.88, 6.91, 6.93), (6.89, 6.93, 6.95)),
                    row("output_tokens_per_s", (141.0, 141.2, 141.9), (120.1, 121.0, 121.4)),
                ),
            ),
            Pair(
                point=EIGHT,
                rows=(
                    row("ttft_p50", (34.0, 34.3, 34.9), (30.0, 30.2, 30.9)),
                    row("ttft_p90", (41.0, 41.2, 41.7), (38.0, 41.0, 47.0)),
                    row("tpot_p50", (7.60, 7.62, 7.64), (7.61, 7.63, 7.66)),
                    row("output_tokens_per_s", (1018.0, 1021.0, 1024.0), (910.0, 915.0, 921.0)),
                ),
            ),
        ),
        only_base=(MANY,),
        only_other=(),
    )


@pytest.mark.parametrize("width", [100, 80])
def test_the_screen_is_what_it_was(found, width):
    text = compared_screen([found], width=width) + "\n"
    assert text == (FILES / f"compare-{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width


def test_markdown_is_what_it_was(found):
    assert compared_markdown([found]) == (FILES / "compare.md").read_text(encoding="utf-8")


def test_colour_adds_nothing_to_the_words(found):
    styled = compared_screen([found], width=100, styled=True)
    plain = "".join(part.partition("m")[2] for part in ("m" + styled).split("\x1b["))
    assert "\x1b[" in styled
    assert [line.rstrip() for line in plain.splitlines()] == compared_screen([found], width=100).splitlines()


def test_the_sentence_names_points_only_where_verdicts_differ(found):
    assert sentence(found) == (
        "Qwen3-8B on vLLM 0.33.0 (B) against Llama-3.1-8B-Instruct on vLLM 0.33.0 (A): better in TTFT p50 "
        "(8 in flight); worse in TTFT p50 (1 in flight) and tok/s total; the same in TPOT p50; undecided "
        "in TTFT p90."
    )
    one = replaced(found, points=(Pair(point=ALONE, rows=found.points[0].rows[:1]),))
    assert sentence(one, ("A", "C")).endswith("(A): worse in TTFT p50.")
    assert "Qwen3-8B on vLLM 0.33.0 (C)" in sentence(one, ("A", "C"))
    both = replaced(one, points=(Pair(point=ALONE, rows=found.points[0].rows[:4:3]),))
    assert sentence(both).endswith(": worse in all of TTFT p50 and tok/s total.")


def test_lengths_are_named_where_they_vary(found):
    longer = Pair(point=replaced(ALONE, prompt_tokens=2048), rows=found.points[1].rows)
    text = compared_screen([replaced(found, points=(found.points[0], longer))], width=100)
    assert "\n At 1 in flight, 512 in\n" in text and "\n At 1 in flight, 2,048 in\n" in text


def test_every_run_against_the_first_has_its_letter(found):
    text = compared_screen([found, found], width=100)
    assert text.count("(A)") == 2 and " C/A " in text and "\n C: run 01k9…0g2j" in text
    assert [letter(0), letter(2), letter(26)] == ["A", "C", "R26"]


def test_what_was_equal_is_said(found):
    flat = " ".join(compared_screen([found], width=100).split())
    assert (
        "equal: the same workload chat@1 (digest 8458b426ed65); prompts of the same number of tokens" in flat
    )
    changed = (
        Difference(name="trials", base="3", other="5"),
        Difference(name="seconds", base="25", other="10"),
    )
    other = replaced(found, digest_equal=False, asked_differently=changed, same="text", differs_in=())
    flat = " ".join(compared_screen([other], width=100).split())
    assert (
        "the same workload chat@1 but for trials (3 → 5) and seconds (25 → 10); prompts of the same text"
        in flat
    )
    assert "differs in nothing that was recorded" in flat


def test_only_one_trial_says_how_to_get_an_interval(found):
    alone = row("ttft_p50", (20.0,), (30.0, 31.0), note="--trials 3")
    text = compared_screen([replaced(found, points=(Pair(point=ALONE, rows=(alone,)),))], width=100)
    assert "→ measure with --trials 3" in text and "×1.52" in text
    assert "smallest" not in text and "→ longer trials" not in text


def test_an_interrupted_run_is_called_so(found):
    other = replaced(found, other=replaced(found.other, status="interrupted"))
    assert "10:00 UTC, suspect, interrupted" in compared_screen([other], width=100)


def test_an_open_loop_fits_80_columns(found):
    rows = tuple(row(metric, (1234.0, 1250.0, 1261.0), (1229.0, 1251.0, 1290.0)) for metric in MEASURES)
    pair = Pair(point=DUE, rows=rows)
    text = compared_screen([replaced(found, points=(pair,))], width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "\n At 4 req/s, at most 64 in flight\n" in text
    assert "TTFT from due p90" in text and "$1,250" in text
    assert "follow the schedule" in text


def test_what_is_seen_is_never_nothing(found):
    exact = row("ttft_p50", (50.0, 50.001, 50.0), (50.001, 50.0, 50.0))
    text = compared_screen([replaced(found, points=(Pair(point=ALONE, rows=(exact,)),))], width=80)
    assert " same " in text and " <0.1 %\n" in text


def test_csv_has_a_row_a_metric_and_point_and_nothing_where_there_is_nothing(found):
    header, *lines = [line.split(",") for line in compared_csv([found]).splitlines()]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert len(rows) == 8
    assert (rows[0]["concurrency"], rows[0]["rate"], rows[0]["verdict"]) == ("1", "", "worse")
    assert float(rows[0]["low"]) == found.points[0].rows[0].effect.low
    assert (rows[1]["other"], rows[1]["ratio"], rows[1]["note"]) == ("", "", "n<36")
    assert rows[4]["concurrency"] == "8"


def test_runs_without_a_common_metric_say_so(found):
    none = replaced(found, points=(Pair(point=ALONE, rows=()),))
    assert sentence(none).endswith("(A): no metric in common.")
    for text in (compared_screen([none, found], width=80), compared_markdown([none])):
        assert "none of these metrics is known of both runs" in text
    assert "| :--" not in compared_markdown([none]) and "geometric" not in compared_markdown([none])


def test_assumed_lengths_are_no_equal_lengths(found):
    guessed = replaced(found, other=replaced(found.other, assumed_lengths=True))
    flat = " ".join(compared_screen([guessed], width=100).split())
    assert "number of tokens as far as known (those of B are assumed), cold cache" in flat
    both = replaced(guessed, base=replaced(found.base, assumed_lengths=True))
    assert "(those of A and B are assumed)" in compared_markdown([both])
    assert "assumed" not in compared_screen([replaced(both, same="text")], width=100)
