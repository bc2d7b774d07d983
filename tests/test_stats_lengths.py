"""Lengths are judged request by request, by what the plan asked of each."""

from types import SimpleNamespace

import msgspec

from benchsuite.report.lengths import asked_words, reached_lines
from benchsuite.types import Lengths, Spread
from tests.trials import CLOSED, WORKLOAD, codes, request, summary

SPREAD = Spread(kind="uniform", low=50, high=150)
DRAWN = msgspec.structs.replace(CLOSED, prompt_spread=SPREAD, output_spread=SPREAD)
FITTED = Lengths(words=("a",), overhead=8, source="usage")


def asked(index, prompt, output, *, reached=None, answered=None):
    """A request of drawn lengths; by default it reached them."""
    output_tokens = output if answered is None else answered
    return request(
        100 * index,
        asked_prompt_tokens=prompt,
        asked_output_tokens=output,
        prompt_tokens=prompt if reached is None else reached,
        output_tokens=output_tokens,
    )


LENGTHS = [(60 + 4 * number, 3 + number % 5) for number in range(20)]


def judged(*records, **known):
    return summary(list(records), point=DRAWN, **{"lengths": FITTED} | known)


def about_lengths(found):
    return {
        code for code in codes(found) if code in {"prompt_tokens", "output_tokens", "prompt_cut", "raised"}
    }


def test_drawn_lengths_that_are_reached_are_what_was_asked():
    found = judged(*(asked(at, prompt, output) for at, (prompt, output) in enumerate(LENGTHS)))
    assert not about_lengths(found)
    assert found.means["asked_prompt_tokens"] == found.means["prompt_tokens"] == 98


def test_lengths_that_are_off_one_by_one_dont_cancel_out():
    reached = [prompt + (20 if at % 2 else -1) for at, (prompt, _) in enumerate(LENGTHS)]
    even = [prompt + (2 if at % 2 else -2) for at, (prompt, _) in enumerate(LENGTHS)]
    for lengths, expected in ((reached, {"prompt_tokens"}), (even, {"prompt_tokens"})):
        records = [
            asked(at, prompt, output, reached=lengths[at]) for at, (prompt, output) in enumerate(LENGTHS)
        ]
        assert about_lengths(judged(*records)) >= expected


def test_answers_shorter_than_their_own_ask_are_told():
    records = [asked(at, prompt, 8, answered=3) for at, (prompt, _) in enumerate(LENGTHS)]
    assert "output_tokens" in about_lengths(judged(*records))
    told = judged(*records, capabilities_exact_output=False)
    (found,) = (each for each in told.warnings if each.code == "output_tokens")
    assert found.level == "told" and "8 were asked for" in found.message


def test_a_prompt_is_cut_by_its_own_length_not_by_the_mean():
    sound = [asked(at, prompt, output) for at, (prompt, output) in enumerate(LENGTHS)]
    assert "prompt_cut" not in codes(judged(*sound)), "the shortest are far below the mean, as asked"
    cut = [*sound[:-1], asked(19, 136, 4, reached=100)]
    (found,) = (each for each in judged(*cut).warnings if each.code == "prompt_cut")
    assert "1 of 20" in found.message and "100 of 136" in found.message


def test_lengths_raised_to_the_least_are_counted():
    raised = [asked(at, 9, 4) for at in range(3)]
    rest = [asked(at + 3, prompt, output) for at, (prompt, output) in enumerate(LENGTHS)]
    (found,) = (each for each in judged(*raised, *rest).warnings if each.code == "raised")
    assert found.level == "suspect" and "3 of 23" in found.message and "low of 10" in found.advice


def test_records_of_earlier_versions_are_judged_by_their_point():
    old = [request(100 * at, prompt_tokens=100, output_tokens=5) for at in range(10)]
    found = summary(old, lengths=FITTED)
    assert not about_lengths(found) and "asked_prompt_tokens" not in found.means
    off = [request(100 * at, prompt_tokens=150, output_tokens=5) for at in range(10)]
    assert "prompt_tokens" in about_lengths(summary(off, lengths=FITTED))


def test_speculation_after_real_text_is_told_without_blame():
    records = [
        request(100 * at, server_timings='{"draft_n": 100, "draft_n_accepted": 62}') for at in range(9)
    ]
    for text, advice in (("random", "--text prose"), ("prose", "other text"), ("code", "other text")):
        workload = msgspec.structs.replace(WORKLOAD, text=text)
        found = summary(records, workload=workload)
        (told,) = (each for each in found.warnings if each.code == "speculation")
        assert told.level == "told" and advice in told.advice
        assert ("random words" in told.message) == (text == "random")


def test_a_screen_names_the_text_and_the_distribution():
    workload = msgspec.structs.replace(WORKLOAD, text="prose", prompt_tokens=(SPREAD,))
    assert asked_words(workload) == "prose, 50 to 150 (uniform) in, 5 out"
    assert asked_words(WORKLOAD) == "about 100 in, 5 out"


def test_asked_stands_beside_reached():
    found = judged(*(asked(at, prompt, 8, answered=4) for at, (prompt, _) in enumerate(LENGTHS)))
    (line,) = reached_lines(SimpleNamespace(summaries=(found,)))
    assert "prompt 98.0 of 98.0 asked" in line and "output 4.0 of 8.0 asked" in line


def test_fixed_lengths_stay_out_of_the_means():
    found = summary([request(100 * at, asked_prompt_tokens=100, asked_output_tokens=5) for at in range(9)])
    assert "asked_prompt_tokens" not in found.means
