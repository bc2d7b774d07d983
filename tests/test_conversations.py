"""Conversations as they are planned: turns in a row, prompts that grow as asked, the same for everybody."""

import json
from itertools import groupby, islice, pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Spread, Workload
from benchsuite.workload.agent import first_tool
from benchsuite.workload.card import card
from benchsuite.workload.conversations import WARM_UP_THINK_S, WARM_UP_TURNS, probe
from benchsuite.workload.fit import words
from benchsuite.workload.load import load, overridden
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points
from benchsuite.workload.schema import parsed

LENGTHS = Lengths(words=words(), overhead=9, source="usage", turn_overhead=6)
TALK = Workload(
    name="talk",
    version=1,
    description="talk",
    prompt_tokens=(60,),
    output_tokens=(12,),
    concurrency=(4,),
    requests=40,
    turns=5,
    user_tokens=20,
    think_s=0.5,
)
DRAWN = {
    "turns": Spread(kind="uniform", low=1, high=9),
    "prompt_tokens": (Spread(kind="uniform", low=40, high=90),),
    "output_tokens": (Spread(kind="lognormal", mean=12, sd=6, high=40),),
    "user_tokens": Spread(kind="normal", mean=20, sd=6, low=8),
    "think_s": Spread(kind="uniform", low=0.1, high=2.0),
}


def planned(workload=TALK, *, phase="measure", trial=1, seed=0, nonce="n", lengths=LENGTHS, point=0):
    at = points(workload)[point]
    return plan(workload, at, phase=phase, trial=trial, seed=seed, nonce=nonce, lengths=lengths)


def changed(**changes):
    return msgspec.structs.replace(TALK, **changes)


def conversations(requests):
    return [list(turns) for _, turns in groupby(requests, lambda request: request.conversation)]


def spent(request):
    """Words of a prompt, and what the template adds."""
    count = 0
    for message in request.messages:
        texts = [message.content, *(call["query"] for call in calls(message))]
        count += sum(len(text.split(" ")) for text in texts if text)
    return count + LENGTHS.overhead + LENGTHS.turn_overhead * request.turn


def calls(message):
    found = json.loads(message.tool_calls) if message.tool_calls else []
    return [json.loads(call["function"]["arguments"]) for call in found]


@pytest.mark.parametrize("changes", [{}, DRAWN, {"tool_turns": True}, DRAWN | {"tool_turns": True}])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), requests=st.integers(1, 70))
def test_turns_follow_one_another_and_prompts_grow_as_asked(changes, seed, requests):
    workload = changed(requests=requests, **changes)
    found = list(planned(workload, seed=seed))
    assert [request.index for request in found] == list(range(requests))
    assert found == list(planned(workload, seed=seed))
    for number, turns in enumerate(conversations(found)):
        assert [request.conversation for request in turns] == [number] * len(turns)
        assert [request.turn for request in turns] == list(range(len(turns)))
        assert {request.turns for request in turns} == {len(turns)}
        assert turns[0].after_ns == 0
        assert all(request.after_ns > 0 for request in turns[1:])
        for request in turns:
            assert spent(request) == request.prompt_tokens
        for before, request in pairwise(turns):
            assert request.messages[: len(before.messages)] == before.messages
            assert len(request.messages) == len(before.messages) + 2
            assert request.reusable_tokens == before.prompt_tokens
            # The planned answer has the length that was asked of the real one.
            answer = request.messages[-2]
            texts = [answer.content, *(call["query"] for call in calls(answer))]
            assert sum(len(text.split(" ")) for text in texts if text) == before.max_output_tokens


def test_a_fixed_conversation_adds_the_answer_and_what_the_user_says():
    lengths = [request.prompt_tokens for request in islice(planned(), 5)]
    assert lengths == [60, 92, 124, 156, 188]


def test_a_user_says_at_least_a_word_beyond_the_template():
    (_, second) = islice(planned(changed(user_tokens=1)), 2)
    assert second.prompt_tokens == 60 + 12 + LENGTHS.turn_overhead + 1 == spent(second)


def test_conversations_begin_with_words_of_their_own_and_only_those_depend_on_the_nonce():
    found, other = list(planned()), list(planned(nonce="m"))
    firsts = [turns[0].messages[0].content for turns in conversations(found)]
    assert len({text[:20] for text in firsts}) == len(firsts) == 8
    for one, two in zip(found, other, strict=True):
        assert one.messages[1:] == two.messages[1:]
        assert one.messages[0] != two.messages[0]
        assert one.messages[0].content.split(" ")[20:] == two.messages[0].content.split(" ")[20:]
        assert (one.prompt_tokens, one.after_ns) == (two.prompt_tokens, two.after_ns)
    # A server may keep a conversation, though none is known to it.
    assert {request.cache for request in found} == {"warm"}
    assert {request.messages for request in found}.isdisjoint(
        request.messages for request in planned(trial=2)
    )


def test_only_first_turns_of_an_open_loop_have_an_instant():
    workload = overridden(changed(requests=None, seconds=30.0), rate=2.0, seconds=30.0)
    found = list(planned(workload))
    arrivals = [request.due_offset_ns for request in found if not request.turn]
    assert arrivals == sorted(arrivals)
    assert 35 < len(arrivals) < 90
    assert len(found) == 5 * len(arrivals)
    assert all(request.due_offset_ns is None for request in found if request.turn)
    assert points(workload)[0].label == "2 conversations/s"


def test_a_closed_loop_by_seconds_has_no_end():
    workload = overridden(TALK, seconds=5)
    assert [request.index for request in islice(planned(workload), 400)] == list(range(400))


def test_real_replies_leave_room_for_what_the_server_says():
    found = list(planned(changed(replies="real")))
    for turns in conversations(found):
        for request in turns:
            answers = [message for message in request.messages if message.role == "assistant"]
            assert [answer.content for answer in answers] == [""] * request.turn
        assert [request.prompt_tokens for request in turns] == [60, 0, 0, 0, 0]
    # What the user says is the same either way.
    fixed = list(planned())
    for one, two in zip(found, fixed, strict=True):
        assert [m for m in one.messages if m.role == "user"] == [m for m in two.messages if m.role == "user"]


def test_an_agents_turns_are_calls_and_their_results():
    found = list(islice(planned(changed(tool_turns=True)), 3))
    tools = json.loads(found[0].tools)
    roles = [message.role for message in found[2].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]
    for asked, answered in zip(found[2].messages[1::2], found[2].messages[2::2], strict=True):
        (call,) = json.loads(asked.tool_calls)
        assert call["id"] == answered.tool_call_id
        assert call["function"]["name"] == tools[0]["function"]["name"]
    ids = [message.tool_call_id for message in found[2].messages if message.role == "tool"]
    assert len(set(ids)) == 2


def test_an_agent_calls_the_first_of_the_workloads_own_tools():
    assert first_tool("") == ("look_up", "query")
    found = list(islice(planned(load("agent")), 2))
    (call,) = json.loads(found[1].messages[1].tool_calls)
    assert call["function"]["name"] == "search" == json.loads(found[1].tools)[0]["function"]["name"]
    assert [*json.loads(call["function"]["arguments"])] == ["query"]
    own = [{"name": "run", "input_schema": {"properties": {"code": {"type": "string"}}}}]
    assert first_tool(json.dumps(own)) == ("run", "code")


def test_a_warm_up_talks_shortly():
    workload = changed(turns=9, think_s=30.0)
    found = list(planned(workload, phase="warm_up", trial=0))
    assert len(found) == 8
    assert [request.turn for request in found] == [0, 1] * 4
    assert {request.turns for request in found} == {WARM_UP_TURNS}
    assert max(request.after_ns for request in found) == WARM_UP_THINK_S * 1e9


def test_warm_conversations_are_one_and_the_same():
    for drawn in ({}, {"requests": 40, **DRAWN}):
        workload = changed(cache=("warm",), **drawn)
        # The last one may be cut short.
        found = conversations(planned(workload))[:-1] or conversations(planned(workload))
        assert len({tuple(request.messages for request in turns) for turns in found}) == 1
        first = next(iter(found))
        assert [one.messages for one in next(iter(conversations(planned(workload, trial=2))))] == [
            one.messages for one in first
        ]


def test_shared_conversations_begin_alike_and_go_on_by_themselves():
    found = conversations(planned(changed(cache=("shared",), shared_tokens=40)))
    firsts = [turns[0] for turns in found]
    assert len({request.messages[0].content[: request.shared_chars] for request in firsts}) == 1
    assert len({request.messages[0].content for request in firsts}) == len(firsts)
    assert {request.reusable_tokens for request in firsts} == {40}
    assert [request.reusable_tokens for request in found[0]] == [40, 60, 92, 124, 156]


def test_a_models_share_is_a_conversations_not_a_turns():
    from benchsuite.types import Share

    workload = changed(mix=(Share(model="a"), Share(model="b")), requests=200)
    found = conversations(planned(workload))
    assert all(len({request.model for request in turns}) == 1 for turns in found)
    assert {turns[0].model for turns in found} == {"a", "b"}


def test_a_probe_is_a_short_conversation_of_known_words():
    for tool_turns in (False, True):
        messages, count = probe(LENGTHS, first_tool("") if tool_turns else None)
        texts = [text for message in messages for text in (message.content, *_queries(message)) if text]
        assert count == sum(len(text.split(" ")) for text in texts) == 24


def _queries(message):
    return [call["query"] for call in calls(message)]


def test_the_longest_prompt_of_a_conversation_has_to_fit():
    (point,) = points(TALK)
    assert point.grows_tokens == 4 * (12 + 20)
    assert points(changed(turns=1, user_tokens=0, think_s=0.0))[0].grows_tokens == 0


FILE = """
name = "t"
version = 1
description = "d"
prompts = { tokens = 100 }
outputs = { tokens = 10 }
load = { concurrency = 2 }
stop = { requests = 10 }
"""


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        (
            "turns = 4",
            r"t.toml: \[conversation\] turns go with user_tokens: say how many each later turn adds",
        ),
        ("user_tokens = 4", r"t.toml: \[conversation\] user_tokens goes with turns"),
        ("think_seconds = 4", r"t.toml: \[conversation\] think_seconds goes with turns"),
        ('replies = "real"', r"t.toml: \[conversation\] replies goes with turns"),
        ("tool_turns = true", r"t.toml: \[conversation\] tool_turns goes with turns"),
        (
            'turns = 2\nuser_tokens = 9\ntool_turns = true\nreplies = "real"',
            r't.toml: \[conversation\] tool_turns plan .* "fixed"',
        ),
    ],
)
def test_what_makes_no_sense_is_refused(section, complaint):
    with pytest.raises(UsageError, match=complaint):
        parsed(f"{FILE}\n[conversation]\n{section}\n", "t.toml")


def test_options_make_a_conversation_of_any_workload_and_undo_it():
    talk = overridden(load("quick"), turns=4)
    assert (talk.turns, talk.user_tokens) == (4, 64)
    assert overridden(talk, turns=3, user_tokens=9).user_tokens == 9
    alone = overridden(changed(replies="real"), turns=1)
    assert (alone.turns, alone.user_tokens, alone.think_s, alone.replies) == (1, 0, 0.0, "fixed")
    told = dict(card(overridden(talk, think_s=2.0)))["Conversation"]
    assert told.startswith("4 turns, each later one with 64 tokens more after 2 s of thinking")
    assert "Conversation" not in dict(card(alone))
