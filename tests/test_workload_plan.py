import itertools
import math
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Workload
from benchsuite.workload.fit import words
from benchsuite.workload.load import overridden
from benchsuite.workload.plan import new_nonce, plan, warm_up_count
from benchsuite.workload.points import points

LENGTHS = Lengths(words=words(), overhead=11, source="usage")
CLOSED = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(64,),
    output_tokens=(16,),
    concurrency=(4,),
    requests=40,
)


def planned(workload=CLOSED, *, point=0, phase="measure", trial=0, seed=0, nonce="n", lengths=LENGTHS):
    at = points(workload)[point]
    return plan(workload, at, phase=phase, trial=trial, seed=seed, nonce=nonce, lengths=lengths)


def prompts(*args, **kwargs):
    return [request.messages[0].content for request in planned(*args, **kwargs)]


def offsets_ns(*args, **kwargs):
    return [request.due_offset_ns for request in planned(*args, **kwargs)]


@given(
    tokens=st.integers(12, 700),
    known=st.integers(1, 512),
    seed=st.integers(0, 2**63),
    nonce=st.text(max_size=20),
    cache=st.sampled_from(["cold", "warm"]),
)
def test_prompts_have_the_asked_length_and_repeat_to_the_byte(tokens, known, seed, nonce, cache):
    lengths = msgspec.structs.replace(LENGTHS, words=words()[:known])
    workload = overridden(CLOSED, prompt_tokens=tokens, requests=3, cache=cache)
    requests = list(planned(workload, seed=seed, nonce=nonce, lengths=lengths))
    assert requests == list(planned(workload, seed=seed, nonce=nonce, lengths=lengths))
    for request in requests:
        (message,) = request.messages
        parts = message.content.split(" ")
        assert len(parts) + lengths.overhead == tokens
        assert set(parts) <= set(lengths.words)


def test_requests_carry_what_the_point_asks():
    requests = list(planned())
    assert [request.index for request in requests] == list(range(40))
    for request in requests:
        assert request.max_output_tokens == request.min_output_tokens == 16
        assert request.messages[0].role == "user"
        assert (request.phase, request.cache, request.due_offset_ns) == ("measure", "cold", None)


@pytest.mark.parametrize("known", [16, 128, 512])
def test_every_cold_prompt_begins_with_a_salt_of_its_own(known):
    lengths = msgspec.structs.replace(LENGTHS, words=words()[:known])
    workload = overridden(CLOSED, concurrency=[4, 8])
    texts = [
        text
        for point, phase, trial, seed, nonce in itertools.product(
            (0, 1), ("warm_up", "measure"), (0, 1), (0, 1), ("n", "m")
        )
        for text in prompts(
            workload, point=point, phase=phase, trial=trial, seed=seed, nonce=nonce, lengths=lengths
        )
    ]
    # 32 of these bits are enough to tell this many prompts apart at their very beginning.
    few = math.ceil(32 / math.log2(known))
    assert len({tuple(text.split(" ")[:few]) for text in texts}) == len(texts)


def test_only_the_salt_depends_on_the_nonce():
    salt_size = math.ceil(60 / math.log2(512))
    one, other = (prompts(overridden(CLOSED, prompt_tokens=200), nonce=nonce) for nonce in "nm")
    for left, right in zip(one, other, strict=True):
        assert left.split(" ")[:salt_size] != right.split(" ")[:salt_size]
        assert left.split(" ")[salt_size:] == right.split(" ")[salt_size:]


def test_a_warm_point_repeats_one_text_through_warm_up_and_trials():
    workload = overridden(CLOSED, cache=("warm",), concurrency=[4, 8])
    texts = {
        text
        for phase in ("warm_up", "measure")
        for trial in (0, 1)
        for text in prompts(workload, phase=phase, trial=trial)
    }
    assert len(texts) == 1
    assert not texts & set(prompts(workload, point=1))
    assert not texts & set(prompts(workload, nonce="m"))


def test_same_text_ignores_what_words_cost_here():
    workload = msgspec.structs.replace(CLOSED, same="text")
    other = Lengths(words=words()[:20], overhead=50, source="usage")
    assert prompts(workload) == prompts(workload, lengths=other)
    assert all(len(text.split(" ")) == 64 for text in prompts(workload))


def test_a_prompt_shorter_than_the_template_is_refused_at_once():
    with pytest.raises(UsageError, match="ask for 12 or more"):
        planned(overridden(CLOSED, prompt_tokens=11))
    assert len(prompts(overridden(CLOSED, prompt_tokens=12))[0].split(" ")) == 1


def test_a_closed_loop_by_seconds_has_no_end():
    requests = planned(overridden(CLOSED, seconds=1))
    assert len(list(itertools.islice(requests, 5000))) == 5000


def test_constant_arrivals_are_evenly_spaced_and_end_with_the_trial():
    workload = overridden(CLOSED, rate=8, arrivals="constant", seconds=2)
    assert offsets_ns(workload) == [index * 125_000_000 for index in range(16)]
    assert len(offsets_ns(overridden(workload, requests=50))) == 50


def test_poisson_arrivals_have_the_asked_mean_and_spread():
    workload = overridden(CLOSED, rate=20, requests=20_000)
    due = offsets_ns(workload)
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    mean = statistics.fmean(gaps)
    assert mean == pytest.approx(1e9 / 20, rel=0.03)
    assert statistics.pstdev(gaps) / mean == pytest.approx(1, abs=0.05)
    within = offsets_ns(overridden(workload, seconds=100))
    assert within == [offset for offset in due if offset < 100e9]


def test_arrivals_follow_seed_point_and_trial_but_not_the_nonce():
    workload = overridden(CLOSED, rate=20, concurrency=[4, 8])
    same = offsets_ns(workload)
    assert offsets_ns(workload, nonce="m") == same
    for change in ({"seed": 1}, {"trial": 1}, {"point": 1}, {"phase": "warm_up"}):
        assert offsets_ns(workload, **change)[:4] != same[:4]


def test_offline_sends_everything_at_once():
    assert offsets_ns(overridden(CLOSED, rate=math.inf)) == [0] * 40


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"concurrency": 4}, 8),
        ({"concurrency": 100}, 200),
        ({"concurrency": 200}, 256),
        ({"concurrency": 500}, 500),
        ({"rate": 10}, 20),
        ({"rate": 0.5}, 4),
        ({"rate": 1000}, 256),
        ({"rate": math.inf}, 8),
        ({"rate": math.inf, "requests": 3}, 3),
        ({"rate": math.inf, "concurrency": 6}, 12),
    ],
)
def test_warm_up_is_as_long_as_the_load_needs(changes, wanted):
    workload = overridden(CLOSED, **changes)
    assert warm_up_count(workload, points(workload)[0]) == wanted
    requests = list(planned(workload, phase="warm_up"))
    assert len(requests) == wanted
    assert {request.phase for request in requests} == {"warm_up"}


def test_warm_up_seconds_lengthen_it_up_to_the_cap():
    longer = msgspec.structs.replace(CLOSED, warm_up_seconds=5.0, warm_up_max_requests=100)
    assert len(list(planned(longer, phase="warm_up"))) == 100
    assert warm_up_count(longer, points(longer)[0]) == 8
    assert len(list(planned(overridden(longer, rate=10), phase="warm_up"))) == 50


def test_nonces_are_new():
    assert len({new_nonce() for _ in range(100)}) == 100


def shared(**changes):
    return msgspec.structs.replace(CLOSED, cache=("shared",), **changes)


def test_shared_prompts_begin_alike_and_go_on_by_themselves():
    requests = list(planned(shared(shared_tokens=40)))
    prefixes = {request.messages[0].content[: request.shared_chars] for request in requests}
    rests = {request.messages[0].content[request.shared_chars :] for request in requests}
    assert len(prefixes) == 1 and len(rests) == len(requests)
    (prefix,) = prefixes
    assert prefix.endswith(" ") and len(prefix.split()) + LENGTHS.overhead == 40
    assert {len(request.messages[0].content.split()) for request in requests} == {64 - LENGTHS.overhead}
    assert len({rest.split()[0] for rest in rests}) > 1, "a rest begins with words of its own"


def test_a_shared_prefix_is_half_the_prompt_the_same_in_all_trials_and_new_in_each_run():
    first = planned(shared())
    request = next(first)
    prefix = request.messages[0].content[: request.shared_chars]
    assert len(prefix.split()) + LENGTHS.overhead == 32
    for other, same in (
        (planned(shared(), trial=2, phase="warm_up"), True),
        (planned(shared(), nonce="m"), False),
    ):
        assert next(other).messages[0].content.startswith(prefix) == same
    assert next(planned(CLOSED)).shared_chars == 0


def test_a_shared_prefix_leaves_room_for_words_of_ones_own():
    with pytest.raises(UsageError, match="ask for 13 or more"):
        next(planned(shared(prompt_tokens=(12,))))
    (word,) = {
        len(r.messages[0].content[r.shared_chars :].split()) for r in planned(shared(prompt_tokens=(13,)))
    }
    assert word == 1
