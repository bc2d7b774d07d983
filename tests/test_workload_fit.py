import random

import pytest

from benchsuite.workload.fit import FEWEST_WORDS, fit, words

WORDS = words()


def server(costs, *, overhead=11, first_extra=0, context=10_000):
    """A server that counts a text's words by `costs` (default 1) and refuses what exceeds its context."""

    def count(text):
        parts = text.split(" ")
        tokens = overhead + first_extra + sum(costs.get(part, 1) for part in parts)
        return tokens if tokens <= context else None

    return count


def fitted(count, candidates=WORDS):
    """What `fit` found, and how many probes each of its batches had."""
    conversation = fit(candidates)
    batches = []
    probes = next(conversation)
    while True:
        batches.append(len(probes))
        try:
            probes = conversation.send(tuple(count(text) for text in probes))
        except StopIteration as stop:
            return stop.value, batches


def costly(share, most, seed=1):
    """Costs of two to `most` tokens for a `share` of the words."""
    draw = random.Random(seed)
    return {word: draw.randint(2, most) for word in WORDS if draw.random() < share}


def test_word_list_is_512_different_plain_words():
    assert len(set(WORDS)) == len(WORDS) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize("first_extra", [0, 1])
def test_one_batch_suffices_where_every_word_is_one_token(first_extra):
    lengths, batches = fitted(server({}, first_extra=first_extra))
    assert lengths.words == WORDS
    assert lengths.overhead == 11 + first_extra
    assert lengths.source == "usage"
    assert batches == [6]


@pytest.mark.parametrize(("share", "least"), [(0.002, 120), (0.1, 100), (0.4, 64), (0.75, FEWEST_WORDS)])
@pytest.mark.parametrize("most", [2, 4])
def test_only_single_token_words_are_kept(share, least, most):
    costs = costly(share, most)
    lengths, batches = fitted(server(costs))
    assert lengths.source == "usage"
    assert not set(lengths.words) & set(costs)
    assert len(lengths.words) >= least
    assert lengths.overhead == 11
    assert sum(batches) <= 47
    assert len(batches) <= 4


def test_words_that_cost_more_than_a_probe_can_tell_are_found_out_by_counting():
    costs = {word: 9 for word in costly(0.1, 2)}
    lengths, batches = fitted(server(costs))
    assert lengths.source == "usage"
    assert not set(lengths.words) & set(costs)
    assert len(batches) == 4


def test_overhead_is_that_of_the_usual_first_word():
    first = min(WORDS, key=len)
    lengths, _ = fitted(lambda text: server({})(text) + (2 if text.split(" ")[0] == first else 0))
    assert lengths.overhead == 11


def test_a_small_context_that_refuses_the_large_probe_is_fitted_in_smaller_ones():
    lengths, _ = fitted(server({}, context=256))
    assert len(lengths.words) == 128
    assert lengths.source == "usage"


def test_refused_probes_prove_nothing():
    costs = costly(0.1, 3)
    lengths, _ = fitted(server(costs, context=100))
    assert lengths.source == "usage"
    assert not set(lengths.words) & set(costs)


@pytest.mark.parametrize(("cut", "source"), [(200, "usage"), (81, "assumed")])
def test_a_server_that_cuts_long_prompts_isnt_believed(cut, source):
    costs = costly(0.3, 3)
    lengths, _ = fitted(lambda text: min(cut, server(costs)(text)))
    assert lengths.source == source
    assert source == "assumed" or not set(lengths.words) & set(costs)


def test_a_server_that_counts_nothing_gets_assumed_lengths():
    lengths, batches = fitted(lambda text: None)
    assert (lengths.source, lengths.overhead, lengths.words) == ("assumed", 0, WORDS)
    assert len(batches) == 1


def test_a_server_that_counts_letters_gets_assumed_lengths():
    lengths, _ = fitted(lambda text: 3 + len(text))
    assert lengths.source == "assumed"
    assert lengths.words == WORDS
