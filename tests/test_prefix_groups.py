"""Prefix groups: which prompts begin alike, how often, and what a server's cache finds of them."""

from collections import Counter
from itertools import islice

import msgspec
import numpy as np
import pytest
from scipy.special import chdtrc

from benchsuite.asked import Options
from benchsuite.engine.trial import Interrupt
from benchsuite.errors import UsageError
from benchsuite.report.how import how
from benchsuite.report.screen import screen
from benchsuite.run import run
from benchsuite.simulator import SimConfig, running
from benchsuite.stats import hits
from benchsuite.stats.columns import ABSENT, trials_of
from benchsuite.store.runs import Store
from benchsuite.types import Lengths, Spread, Workload
from benchsuite.workload.fit import words
from benchsuite.workload.load import load, overridden
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.replaying import sharing
from tests.trials import request, table, trial_info

CACHING = SimConfig(ttft_ms=1.0, itl_ms=0.2, prefix_cache=True, context_tokens=8192)
LENGTHS = Lengths(words=words(), overhead=7, source="usage")
SHARED = Workload(
    name="w",
    version=1,
    description="d",
    prompt_tokens=(512,),
    output_tokens=(4,),
    cache=("shared",),
    hit_ratio=(0.5,),
    groups=4,
    concurrency=(4,),
    requests=40,
    trials=1,
)


def with_(**changes):
    return msgspec.structs.replace(SHARED, **changes)


def planned(workload, *, phase="measure", trial=1, nonce="n"):
    (at,) = points(workload)
    return list(
        plan(workload, at, phase=phase, trial=trial, seed=workload.seed, nonce=nonce, lengths=LENGTHS)
    )


def prefixes(requests):
    return {one.group: one.messages[0].content[: one.shared_chars] for one in requests}


def measured(workload, url, store, **changes):
    options = Options(backend="sim", url=url, workload=workload, **changes)
    return run(options, Store(store), tell=lambda _: None, interrupt=Interrupt())


@pytest.mark.parametrize("text", ["random", "prose"])
def test_the_simulators_cache_finds_what_was_asked_within_two_points(tmp_path, text):
    ratios = (0.0, 0.25, 0.5, 0.75, 0.9)
    workload = with_(hit_ratio=ratios, text=text, zipf=1.0, prompt_tokens=(640,))
    with running(CACHING) as simulator:
        found = measured(workload, simulator.url, tmp_path)
    for asked, row in zip(ratios, found.summaries, strict=True):
        assert row.point.hit_ratio == asked
        assert row.means["hit_ratio"] == pytest.approx(asked, abs=0.02)
        assert row.means["hit_ratio_asked"] == pytest.approx(asked, abs=0.02)
        assert "cache_shared" not in {warning.code for warning in row.warnings}
    shown = screen(found, store="", width=140)
    assert "90 %" in shown and "cached" in shown
    half = found.summaries[2].means
    said = f"cache hits {100 * half['hit_ratio']:.1f} % of prompt tokens, asked"
    assert said in " ".join(how(found, width=140).split())


def test_prompts_of_drawn_lengths_share_their_part_too(tmp_path):
    drawn = Spread(kind="uniform", low=400, high=1600)
    workload = with_(prompt_tokens=(drawn,), hit_ratio=(0.6,), groups=2, requests=80)
    with running(CACHING) as simulator:
        (row,) = measured(workload, simulator.url, tmp_path).summaries
    # Warm-up shares all it can, so hardly a longer prompt finds less than it shares.
    assert row.means["hit_ratio"] == pytest.approx(row.means["hit_ratio_asked"], abs=0.01)
    assert row.means["hit_ratio"] == pytest.approx(0.6, abs=0.02)
    requests = planned(workload)
    longest = max(requests, key=lambda one: one.shared_chars)
    same = [one for one in requests if one.group == longest.group]
    assert len({one.shared_chars for one in same}) > 3
    for one in same:
        assert longest.messages[0].content.startswith(one.messages[0].content[: one.shared_chars])


@pytest.mark.parametrize(
    ("drawn", "ratio"),
    [
        (Spread(kind="uniform", low=32, high=128), 0.25),
        (Spread(kind="uniform", low=32, high=128), 0.5),
        (Spread(kind="uniform", low=64, high=256), 0.25),
        (Spread(kind="lognormal", mean=512, sd=300, high=4096), 0.1),
        (Spread(kind="lognormal", mean=512, sd=300, high=4096), 0.05),
        (Spread(kind="lognormal", mean=512, sd=300, high=4096), 0.9),
    ],
)
def test_what_rounding_to_steps_leaves_is_made_up_for_by_later_prompts(drawn, ratio):
    requests = planned(with_(prompt_tokens=(drawn,), hit_ratio=(ratio,), requests=100))
    shared = sum(one.reusable_tokens for one in requests)
    # Never more than a step is owed.
    assert abs(shared - ratio * sum(one.prompt_tokens for one in requests)) <= 64
    assert all(one.reusable_tokens % 64 == 0 and one.reusable_tokens < one.prompt_tokens for one in requests)


def test_short_prompts_share_what_they_can_where_more_is_asked():
    drawn = Spread(kind="uniform", low=32, high=128)
    requests = planned(with_(prompt_tokens=(drawn,), hit_ratio=(0.9,), requests=100))
    assert all(one.reusable_tokens == (one.prompt_tokens - 1) // 64 * 64 for one in requests)


def test_a_second_run_of_the_same_seed_finds_a_cold_cache(tmp_path):
    def first_finds(nonce):
        found = measured(SHARED, simulator.url, tmp_path, nonce=nonce)
        run_dir = Store(tmp_path).select(found.manifest.run_id)
        warm_up = run_dir.records(0, include_warm_up=True).to_pylist()
        return [one["cached_tokens"] for one in warm_up if not one["trial"] and one["index"] < SHARED.groups]

    with running(CACHING) as simulator:
        assert first_finds("a") == [0] * SHARED.groups
        assert first_finds("b") == [0] * SHARED.groups
        assert min(first_finds("a")) > 200, "the same nonce repeats the same prompts"


def test_prefixes_are_the_same_in_warm_up_and_trials_and_new_for_each_nonce():
    first = prefixes(planned(SHARED))
    assert len(set(first.values())) == SHARED.groups == len(first)
    assert prefixes(planned(SHARED, trial=2)) == first
    assert prefixes(planned(SHARED, phase="warm_up", trial=0)) == first
    assert not set(prefixes(planned(SHARED, nonce="other")).values()) & set(first.values())
    own = [one.messages[0].content[one.shared_chars :] for one in planned(SHARED)]
    assert len(set(own)) == len(own)


def test_warm_up_begins_with_each_group_once_as_far_as_it_may():
    many = with_(groups=30, zipf=1.0)
    warm_up = planned(many, phase="warm_up", trial=0)
    assert [one.group for one in warm_up[:30]] == list(range(30))
    few = with_(groups=30, warm_up_max_requests=10)
    assert [one.group for one in planned(few, phase="warm_up", trial=0)] == list(range(10))


def test_a_prefix_of_one_length_is_one_text_wherever_prompts_differ_in_length():
    workload = load("rag")
    drawn = next(iter(points(workload)))
    requests = plan(workload, drawn, phase="measure", trial=1, seed=0, nonce="n", lengths=LENGTHS)
    for prefix in prefixes(islice(requests, 20)).values():
        said = prefix.split()
        runs = Counter(tuple(said[at : at + 6]) for at in range(len(said) - 5))
        # Words that come again in a row help a server that guesses by looking back.
        assert sum(runs.values()) - len(runs) < 0.05 * sum(runs.values())


@pytest.mark.parametrize("rate", [None, 2.0])
def test_a_warm_up_of_conversations_begins_with_each_group_once_as_far_as_it_may(rate):
    load = {"rate": (rate,), "concurrency": ()} if rate else {}
    many = with_(groups=20, turns=4, user_tokens=16, **load)
    firsts = [one for one in planned(many, phase="warm_up", trial=0) if not one.turn]
    assert [one.group for one in firsts[:20]] == list(range(20))
    assert {one.turns for one in firsts[:20]} == {2}
    # Where not all can go on, each begins.
    for most in (30, 20, 12):
        few = msgspec.structs.replace(many, warm_up_max_requests=most)
        warm_up = planned(few, phase="warm_up", trial=0)
        assert len(warm_up) == most
        assert [one.group for one in warm_up if not one.turn][:20] == list(range(min(most, 20)))


@pytest.mark.parametrize("zipf", [0.0, 0.8, 1.5])
def test_groups_are_as_popular_as_zipf_says(zipf):
    count, groups = 4000, 12
    got = Counter(one.group for one in planned(with_(groups=groups, zipf=zipf, requests=count)))
    weights = np.arange(1, groups + 1) ** -zipf
    expected = count * weights / weights.sum()
    off = sum((got[group] - expected[group]) ** 2 / expected[group] for group in range(groups))
    assert chdtrc(groups - 1, off) > 0.001
    # The test can tell: the next popularity is another.
    other = np.arange(1, groups + 1) ** -(zipf + 0.3)
    wrong = count * other / other.sum()
    assert chdtrc(groups - 1, sum((got[g] - wrong[g]) ** 2 / wrong[g] for g in range(groups))) < 0.001


def test_what_no_request_had_before_was_not_asked_of_the_cache():
    def one(at, group, **changes):
        known = {"asked_cached_tokens": 60, "cached_tokens": 50, "prompt_tokens": 100}
        return request(at, group=group, **known | changes)

    records = table([one(0, 0), one(200, 1), one(400, 1), one(600, 1, asked_cached_tokens=90)])
    ((_, columns),) = trials_of(records, [trial_info()])
    found = hits.shares(records, [columns], reset=False)
    # The first of each group finds nothing, and a longer prefix only what there was of it.
    assert found == {"hit_ratio": 0.5, "hit_ratio_asked": (60 + 60) / 400}
    warm = records.set_column(records.column_names.index("trial"), "trial", [[0, 1, 1, 1]]).cast(
        records.schema
    )
    ((_, columns),) = trials_of(warm, [trial_info()])
    assert hits.shares(warm, [columns], reset=False)["hit_ratio_asked"] == (60 + 60) / 300
    ((_, columns),) = trials_of(warm.slice(1), [trial_info()])
    assert (columns.group != ABSENT).all()


def test_nothing_is_said_of_hits_where_none_were_planned():
    records = table([request(0, prompt_tokens=100, cached_tokens=None)])
    ((_, columns),) = trials_of(records, [trial_info()])
    assert hits.shares(records, [columns], reset=False) == {"hit_ratio": None, "hit_ratio_asked": None}


def test_a_hit_ratio_goes_only_with_the_cache_mode_that_shares():
    found = points(overridden(load("quick"), hit_ratio=(0.25, 0.5), cache=("cold", "shared"), concurrency=1))
    assert [(one.cache, one.hit_ratio) for one in found] == [
        ("cold", None),
        ("shared", 0.25),
        ("shared", 0.5),
    ]
    assert overridden(load("quick"), hit_ratio=0.5).cache == ("shared",)
    assert overridden(SHARED, shared_tokens=64).hit_ratio == ()
    with pytest.raises(UsageError, match="zipf goes with groups"):
        overridden(load("quick"), zipf=1.0)


def test_of_conversations_it_is_said_that_first_prompts_share():
    assert sharing(SHARED) == "50 % of it, that of one of 4 groups"
    talk = overridden(load("quick"), hit_ratio=0.5, turns=3)
    assert sharing(talk) == "50 % of a conversation's first prompt"
