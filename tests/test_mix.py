"""A mix of models: each request's model by its share, seeded, and what the workload asks of every request."""

from collections import Counter
from itertools import islice, pairwise

import msgspec
import pytest
from scipy.stats import chisquare

from benchsuite.errors import UsageError
from benchsuite.types import Lengths, Message, Point, Request, Share, Workload
from benchsuite.workload import readers
from benchsuite.workload.agent import first_tool
from benchsuite.workload.draw import Draw
from benchsuite.workload.mix import mixed, told
from benchsuite.workload.plan import plan

LENGTHS = Lengths(words=("a", "b", "c", "d"), overhead=3, source="usage")
SHARES = (Share(model="big", share=6), Share(model="mid", share=3), Share(model="small", share=1))
SCHEMA = '{"type":"object"}'
TOOL = {"type": "function", "function": {"name": "f"}}
TOOLS = '[{"type":"function","function":{"name":"f"}}]'


def workload(**changes):
    known = {
        "name": "w",
        "version": 1,
        "description": "d",
        "prompt_tokens": (64,),
        "output_tokens": (8,),
        "concurrency": (4,),
        "requests": 3000,
        "mix": SHARES,
    }
    return Workload(**known | changes)


def point(**changes):
    known = {"index": 0, "prompt_tokens": 64, "output_tokens": 8, "concurrency": 4}
    return Point(**known | changes)


def planned(asked, *, seed=1, nonce="n", trial=1, at=None):
    return list(
        plan(
            asked,
            at or point(),
            phase="measure",
            trial=trial,
            seed=seed,
            nonce=nonce,
            lengths=LENGTHS,
        )
    )


def models(asked, **changes):
    return [request.model for request in planned(asked, **changes)]


def test_each_model_gets_its_share_of_the_requests():
    counts = Counter(models(workload()))
    found = [counts[one.model] for one in SHARES]
    assert sum(found) == 3000
    assert chisquare(found, [1800, 900, 300]).pvalue > 0.01
    # A mix of equal parts would be far from it.
    assert chisquare(found, [1000, 1000, 1000]).pvalue < 1e-9


def test_the_choice_follows_from_the_seed_and_the_trial_and_from_nothing_else():
    first = models(workload())
    assert first == models(workload(), nonce="another")
    assert first != models(workload(), seed=2)
    assert first != models(workload(), trial=2)
    # It is drawn, not dealt in turns, and neighbours are independent of each other.
    pairs = Counter(pairwise(first))
    assert 0.3 < pairs["big", "big"] / 2999 < 0.42


def test_a_longer_trial_begins_with_the_same_models():
    assert models(workload(requests=50)) == models(workload())[:50]


def test_turns_of_a_conversation_go_to_one_model():
    draw = Draw(
        workload=workload(), point=point(), phase="measure", trial=1, seed=1, nonce="n", lengths=LENGTHS
    )
    turns = (
        Request(
            index=index,
            phase="measure",
            messages=(Message(role="user", content="a"),),
            max_output_tokens=8,
            min_output_tokens=8,
            cache="cold",
            conversation=index // 5,
            turn=index % 5,
            turns=5,
        )
        for index in range(500)
    )
    found = [request.model for request in mixed(draw, turns)]
    talks = [set(found[start : start + 5]) for start in range(0, 500, 5)]
    assert all(len(talk) == 1 for talk in talks)
    assert len(set().union(*talks)) == 3


def test_without_a_mix_the_model_is_the_targets():
    assert {request.model for request in planned(workload(mix=(), requests=5))} == {""}


def test_what_the_workload_asks_stands_in_every_request():
    asked = workload(mix=(), requests=3, json_schema=SCHEMA, extra='{"priority":1}', reasoning="low")
    for request in planned(asked, at=point(stream=False)):
        assert request.json_schema == SCHEMA
        assert request.extra == '{"priority":1}'
        assert request.reasoning == "low"
        assert not request.stream


@pytest.mark.parametrize(("changes", "least"), [({"json_schema": SCHEMA}, 1), ({"tools": TOOLS}, 1), ({}, 8)])
def test_an_answer_with_an_end_of_its_own_isnt_held_to_a_length(changes, least):
    (request,) = planned(workload(requests=1, **changes))
    assert (request.min_output_tokens, request.max_output_tokens) == (least, 8)


def test_a_mix_takes_nothing_ahead():
    taken = iter(
        plan(
            workload(requests=None, seconds=1.0),
            point(),
            phase="measure",
            trial=1,
            seed=1,
            nonce="n",
            lengths=LENGTHS,
        )
    )
    assert len(list(islice(taken, 10))) == 10


def test_a_mix_is_read_as_a_table_or_a_list():
    assert readers.mix({"a": 3, "b": 1}) == (Share(model="a", share=3.0), Share(model="b", share=1.0))
    assert readers.mix(["a", "b"]) == (Share(model="a"), Share(model="b"))
    for wrong in ({}, {"a": 0}, {"a": "x"}, "a", 3):
        with pytest.raises(ValueError, match="must be"):
            readers.mix(wrong)


def test_tools_are_a_list_of_tables_whose_form_is_the_backends_affair():
    for bad in ([7], ["f"], [TOOL, None], {"type": "function"}, []):
        with pytest.raises(ValueError, match="must be a list of tools as tables"):
            readers.tools(bad)
    assert readers.tools(TOOLS) == TOOLS
    assert readers.tools("tools.json") == "tools.json"
    assert readers.tools([{"name": "look", "input_schema": {}}]) == '[{"name":"look","input_schema":{}}]'


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (TOOL, "f"),
        ({"type": "web_search"}, "web_search"),
        ({"name": "look", "input_schema": {}}, "look"),
        ({"type": "custom", "function": "x"}, "custom"),
        ({"type": "function", "function": None}, "function"),
        ({"type": ["x"]}, "without a name"),
        ({"type": {}}, "without a name"),
        ({"name": 7}, "without a name"),
        ({}, "without a name"),
    ],
)
def test_tools_of_any_form_are_told_by_name_or_type(tool, said):
    asked = workload(tools=readers.tools([tool]))
    assert told(asked)[0] == f"tools {said}"
    name, called_with = first_tool(asked.tools)
    assert name and isinstance(name, str) and called_with == "query"


def test_a_schema_may_be_a_file_beside_the_workload(tmp_path):
    from benchsuite.workload.load import folder_of, load
    from benchsuite.workload.material import opened

    text = """
name = "w"
version = 1
description = "d"
[prompts]
tokens = 64
[outputs]
tokens = 8
json_schema = "answer.json"
tools = "tools.json"
[load]
concurrency = 1
[stop]
requests = 2
"""
    (tmp_path / "w.toml").write_text(text)
    (tmp_path / "answer.json").write_text('{\n  "type": "object"\n}')
    (tmp_path / "tools.json").write_text(TOOLS)
    path = str(tmp_path / "w.toml")
    found, _ = opened(load(path), folder_of(path))
    assert (found.json_schema, found.tools) == (SCHEMA, TOOLS)
    for broken, said in (
        ("[1]", r"\[outputs\] json_schema must be"),
        ("{", "isn't JSON"),
        (None, "can't read"),
    ):
        if broken is None:
            (tmp_path / "answer.json").unlink()
        else:
            (tmp_path / "answer.json").write_text(broken)
        with pytest.raises(UsageError, match=said) as error:
            opened(load(path), folder_of(path))
        assert "\n" not in str(error.value)


def test_a_workload_that_asks_so_has_another_digest():
    from benchsuite.workload.load import workload_digest

    plain = workload(mix=())
    others = [
        msgspec.structs.replace(plain, **change)
        for change in ({"mix": SHARES}, {"json_schema": SCHEMA}, {"tools": TOOLS}, {"stream": (True, False)})
    ]
    assert len({workload_digest(one) for one in (plain, *others)}) == 5
