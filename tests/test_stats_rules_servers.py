"""Rules for what differs from backend to backend: cut prompts, caches, refusals, reasoning, drafts, slots."""

import msgspec
import pytest

from benchsuite.stats.warned import percent
from tests.judged import SOUND as ALL_SOUND
from tests.judged import judged as judged_with

SOUND = msgspec.structs.replace(ALL_SOUND, exact_output=False, slots=None)
SHARED = msgspec.structs.replace(SOUND.workload, cache=("shared",))
"""Half of 512 tokens is shared; 10 of them may be the template's, behind the prompt."""


def judged(**changes):
    return judged_with(**({"exact_output": False, "slots": None} | changes))


def only(code, **changes):
    (found,) = judged(**changes)
    assert found.code == code and found.message and found.advice
    return found


def levels(**changes):
    return {each.code: each.level for each in judged(**changes)}


def test_nothing_is_said_of_a_sound_point():
    assert judged() == ()


# ---------------------------------------------------------------- prompts and caches


def test_a_cut_prompt_is_invalid_with_its_count_and_told_once():
    cut = dict(prompts_cut=40, least_prompt=256, prompt_tokens=501.8)
    found = only("prompt_cut", **cut)
    assert found.level == "invalid"
    assert found.message == (
        "the server cut the prompt of 40 of 1000 requests: as few as 256 of 512 tokens were read"
    )
    assert "a context of 640 tokens or more per slot; or" in found.advice
    assert "slot, it says 4,096;" in only("prompt_cut", **cut, context_tokens=4096).advice
    # The mean is off too, but on the other side: that is another finding.
    assert levels(**cut | {"prompt_tokens": 540.0}) == {"prompt_cut": "invalid", "prompt_tokens": "invalid"}
    assert levels(prompt_tokens=501.0) == {"prompt_tokens": "invalid"}


@pytest.mark.parametrize(
    ("hit", "best", "level"),
    [
        (0.50, 0.50, None),
        # A template that follows the prompt and a block that isn't full: what the best request found counts.
        (0.42, 0.42, "told"),
        (0.40, 0.425, "suspect"),
        (0.36, 0.42, "invalid"),
        # Nothing explains this one.
        (0.30, 0.30, "invalid"),
        (0.00, 0.00, "invalid"),
        (0.481, 0.50, None),
        (0.47, 0.50, "suspect"),
        (0.44, 0.50, "invalid"),
        # More than what is shared: the rest isn't new.
        (0.53, 0.60, "suspect"),
        (0.90, 0.90, "invalid"),
    ],
)
def test_a_shared_prefix_is_held_against_what_was_asked(hit, best, level):
    found = levels(workload=SHARED, hit_ratio=hit, best_hit_ratio=best)
    assert found.get("cache_shared") == level and len(found) == (level is not None)


def test_a_shared_prefix_may_be_named_in_tokens():
    named = msgspec.structs.replace(SHARED, shared_tokens=400)
    assert levels(workload=named, hit_ratio=0.78, best_hit_ratio=0.78) == {}
    found = only("cache_shared", workload=named, hit_ratio=0.5, best_hit_ratio=0.5)
    assert found.message == "50 % of prompt tokens came from the cache, 78.1 % are shared"
    more = only("cache_shared", workload=SHARED, hit_ratio=0.9, best_hit_ratio=0.9)
    assert "--nonce" in more.advice and "--nonce" not in found.advice


@pytest.mark.parametrize(
    ("asked", "planned", "hit", "level"),
    [
        (0.50, 0.49, 0.485, None),
        (0.50, 0.47, 0.47, "suspect"),
        (0.50, 0.44, 0.44, "invalid"),
        (0.25, 0.74, 0.74, "invalid"),
        # Each by itself is near enough, both together aren't.
        (0.50, 0.485, 0.47, "suspect"),
    ],
)
def test_a_plan_is_held_against_the_hit_ratio_that_was_asked(asked, planned, hit, level):
    point = msgspec.structs.replace(SOUND.point, cache="shared", hit_ratio=asked)
    facts = dict(workload=SHARED, point=point, hits_asked=planned, hits_reached=hit, best_hit_ratio=hit)
    assert levels(**facts) == ({} if level is None else {"cache_shared": level})
    if level is not None:
        found = only("cache_shared", **facts)
        assert f"{percent(asked)} were asked for: these lengths" in found.message
        assert found.message.endswith(f"allow no nearer share than {percent(planned)}")
        assert "server" not in found.message + found.advice
    unasked = msgspec.structs.replace(point, hit_ratio=None)
    assert "cache_shared" not in levels(**facts | {"point": unasked})


def test_the_worse_of_server_and_plan_is_told():
    point = msgspec.structs.replace(SOUND.point, cache="shared", hit_ratio=0.5)
    facts = dict(workload=SHARED, point=point, best_hit_ratio=0.6)
    server = only("cache_shared", **facts, hits_asked=0.47, hits_reached=0.30)
    assert server.level == "invalid" and "give the server more cache" in server.advice
    plan = only("cache_shared", **facts, hits_asked=0.40, hits_reached=0.37)
    assert plan.level == "invalid" and "no nearer share than 40 %" in plan.message


def test_large_blocks_and_a_cache_that_was_emptied_explain_what_is_missing():
    named = msgspec.structs.replace(SHARED, shared_tokens=380)
    # Two blocks of 128 of the 380 tokens that are shared.
    assert levels(workload=named, hit_ratio=0.5, best_hit_ratio=0.5) == {"cache_shared": "told"}
    assert levels(workload=named, hit_ratio=0.4, best_hit_ratio=0.5)["cache_shared"] == "invalid"
    # 8 in flight and 3 trials of 240 requests in all: each tenth finds nothing.
    emptied = {"workload": named, "best_hit_ratio": 0.5, "ok": 240, "in_flight": 8, "cache_reset": True}
    assert levels(hit_ratio=0.45, **emptied)["cache_shared"] == "told"
    assert levels(hit_ratio=0.35, **emptied)["cache_shared"] == "invalid"


@pytest.mark.parametrize(
    ("prompt", "planned", "hit", "said", "needed"),
    [
        # 16 of the 21 that are shared, 48 of 63; two of 128 of 380; nothing known that fits.
        (42, 21 / 42, 16 / 42, "blocks of 16 tokens allow no more of such prompts", "800 tokens"),
        (64, 63 / 64, 48 / 64, "blocks of 16 tokens allow no more", "800 tokens"),
        (512, 380 / 512, 256 / 512, "blocks of 128 tokens allow no more", "6,400 tokens"),
        (512, 256 / 512, 215 / 512, "whole blocks, and the chat template's end, allow", "2,100 tokens"),
    ],
)
def test_what_blocks_explain_is_told_with_how_long_prompts_must_be(prompt, planned, hit, said, needed):
    point = msgspec.structs.replace(SOUND.point, prompt_tokens=prompt, cache="shared")
    facts = dict(workload=SHARED, point=point, prompt_tokens=float(prompt))
    found = only("cache_shared", **facts, hits_asked=planned, hits_reached=hit, best_hit_ratio=hit)
    assert found.level == "told" and said in found.message
    assert f"prompts of {needed} or more" in found.advice


def test_a_hit_ratio_of_conversations_is_that_of_their_first_turns():
    point = msgspec.structs.replace(SOUND.point, cache="shared", hit_ratio=0.5, turns=3.0)
    talk = msgspec.structs.replace(SHARED, turns=3, user_tokens=20)
    facts = dict(workload=talk, point=point, hits_asked=0.772, hits_reached=0.767, best_hit_ratio=0.95)
    assert levels(**facts, first_hits_asked=0.5, first_hits_reached=0.49) == {}
    found = only("cache_shared", **facts, first_hits_asked=0.42, first_hits_reached=0.42)
    assert found.level == "invalid" and found.message.startswith("42 % of first turns' prompt tokens came")
    # What a server forgets of later turns counts as it does without a ratio.
    forgot = facts | {"hits_reached": 0.4}
    assert only("cache_shared", **forgot, first_hits_asked=0.5, first_hits_reached=0.49).level == "invalid"


def test_blocks_of_conversations_are_held_against_the_prompts_that_the_ratio_is_of():
    point = msgspec.structs.replace(SOUND.point, prompt_tokens=512, cache="shared", turns=3.0)
    facts = dict(
        workload=SHARED, point=point, prompt_tokens=800.0, asked_prompt_tokens=800.0, best_hit_ratio=0.1
    )
    # Of 800 tokens a block and the template are 5 points; of the first prompts' 512 they would be 8.
    found = only("cache_shared", **facts, hits_asked=0.5, hits_reached=0.42)
    assert found.level == "suspect" and found.message.endswith("50 % are shared")
    firsts = dict(first_hits_asked=0.5, first_hits_reached=0.42)
    found = only("cache_shared", **facts, hits_asked=0.5, hits_reached=0.42, **firsts)
    assert found.level == "told" and "first turns' prompt tokens" in found.message


def test_a_batch_is_held_against_the_ratio_asked_as_its_records_have_no_plan():
    point = msgspec.structs.replace(SOUND.point, concurrency=None, batch=True, cache="shared", hit_ratio=0.2)
    facts = dict(workload=SHARED, point=point, hits_reached=0.199)
    assert "cache_shared" not in levels(**facts, hit_ratio=0.199, best_hit_ratio=0.2)
    found = only("cache_shared", **facts, hit_ratio=0.1, best_hit_ratio=0.2)
    assert found.level == "invalid" and found.message.endswith("20 % are shared")


def test_no_blocks_are_blamed_for_what_an_emptied_cache_explains():
    named = msgspec.structs.replace(SHARED, shared_tokens=256)
    # 24 of 240 find nothing: 45 % is all that the 50 % that are shared can give.
    emptied = {"workload": named, "best_hit_ratio": 0.5, "ok": 240, "in_flight": 8, "cache_reset": True}
    assert "cache_shared" not in levels(hit_ratio=0.45, **emptied)
    assert levels(hit_ratio=0.45, **emptied | {"in_flight": 1})["cache_shared"] == "suspect"


def test_what_nobody_counts_is_unknown_and_not_nothing():
    found = only(
        "cache_cold", hit_ratio=None, best_hit_ratio=None, cached_excess=None, caching="a salt of its own"
    )
    assert found.level == "told" and "unknown, not 0" in found.message and "a salt of its own" in found.advice
    assert only("cache_shared", workload=SHARED, hit_ratio=None).level == "told"
    failed = levels(hit_ratio=None, ok=0)
    assert "cache_cold" not in failed


# ---------------------------------------------------------------- refusals


def test_a_shared_prefix_too_short_for_any_cache_is_told():
    short = msgspec.structs.replace(SOUND.point, prompt_tokens=64, cache="shared")
    told = judged(workload=SHARED, point=short, hit_ratio=0.0, best_hit_ratio=0.0)
    found = next(each for each in told if each.code == "cache_shared")
    assert found.level == "suspect" and "--prompt-tokens" in found.advice
    long = only("cache_shared", workload=SHARED, hit_ratio=0.0, best_hit_ratio=0.0)
    assert long.level == "invalid" and "--prompt-tokens" in long.advice


def test_a_rate_limit_says_what_it_allows_and_what_to_ask():
    limited = dict(ok=800, error_kinds={"rate_limited": 200}, answered_per_s=4.44)
    found = only("errors", **limited)
    assert found.message == "429: 200 of 1000 requests; the server allows about 4.4 req/s"
    assert found.advice == "measure at what it allows: --rate 4" and found.level == "invalid"
    waits = only("errors", **limited, retry_after_s=20.0)
    assert waits.advice.endswith("--rate 4; it asked to be left alone for 20 s (Retry-After)")
    mixed = only("errors", **limited | {"error_kinds": {"rate_limited": 150, "overloaded": 50}})
    assert mixed.message == "200 of 1000 requests failed (150 × rate_limited, 50 × overloaded)"
    assert "--rate 4" in mixed.advice


def test_no_rate_is_proposed_above_the_one_that_was_refused():
    point = msgspec.structs.replace(SOUND.point, concurrency=None, rate=4.0)
    refused = {"ok": 900, "error_kinds": {"rate_limited": 100}, "answered_per_s": 5.0}
    assert only("errors", point=point, **refused).advice == "measure at what it allows: --rate 3.6"


def test_a_batchs_failures_are_looked_up_in_the_run_not_in_a_vendors_log():
    failed = {"ok": 900, "error_kinds": {"bad_request": 100}}
    batch = msgspec.structs.replace(SOUND.point, concurrency=None, batch=True)
    told = {each.code: each.advice for each in judged(point=batch, **failed)}
    assert "show RUN --format jsonl" in told["errors"]
    assert only("errors", **failed).advice == "look at the server's log"


def test_nobody_answered_is_no_rate_to_propose():
    found = only(
        "no_answers", ok=0, error_kinds={"rate_limited": 1000}, answered_per_s=0.0, retry_after_s=1.0
    )
    assert "lower --concurrency or --rate" in found.advice and "for 1 s (Retry-After)" in found.advice


def test_a_model_that_goes_in_circles_has_advice_of_its_own():
    assert "--output-tokens" in only("errors", ok=990, error_kinds={"repetition": 10}).advice


# ---------------------------------------------------------------- answers


def test_answers_that_were_all_reasoning():
    found = only("no_visible_answer", unseen=1000)
    assert found.message == "no visible answer in 128 output tokens: all were reasoning"
    assert found.advice == "ask for more --output-tokens, or --reasoning off"
    some = only("no_visible_answer", unseen=3)
    assert some.message == "no visible answer in 128 output tokens for 3 of 1000 requests: all were reasoning"


def test_an_upper_bound_on_the_output_is_only_told():
    assert only("output_tokens", output_tokens=64.0).level == "told"


@pytest.mark.parametrize(
    ("held", "told"), [(1.0, False), (1.5, False), (1.51, True), (12.0, True), (None, False)]
)
def test_events_of_several_tokens(held, told):
    found = judged(tokens_per_event=held)
    assert [each.code for each in found] == ["several_tokens"] * told
    assert all("ITL counts events" in each.message for each in found)


def test_drafts_of_random_words_are_no_measure():
    found = only("speculation", acceptance=0.62)
    assert found.level == "told" and "62 %" in found.message
    # That none was kept is known as well.
    assert only("speculation", acceptance=0.0).message.startswith("the server speculates: 0 %")


# ---------------------------------------------------------------- slots


def test_slots_that_nobody_told_are_said_to_be_the_usual_ones():
    known = only("over_slots", slots=1)
    assert known.message == "7 of 8 wait in the server's queue, which has 1 slot"
    usual = only("over_slots", slots=1, slots_assumed=True)
    assert "may wait" in usual.message and "work on one at a time unless" in usual.message
    assert levels(slots=8, slots_assumed=True) == {}
