"""What a door can't pass on is refused before anything starts; what comes back whole is read."""

import json

import msgspec
import pytest

from benchsuite.asked import Options, check_asked
from benchsuite.driver import load
from benchsuite.errors import UsageError
from benchsuite.observed import passes
from benchsuite.testing import request, tape
from benchsuite.types import Message
from benchsuite.wire.passing import SPOKEN
from benchsuite.workload.draw import Item, Material
from benchsuite.workload.load import load as workload
from benchsuite.workload.load import overridden
from tests.passed_on import (
    LOOKING,
    PARTS,
    SCHEMA,
    TOOLS,
    body,
    target,
)

# ---------------------------------------------------------------- refused


REFUSED = {
    "vllm": {"completions": {"json_schema", "tools", "images"}},
    "ollama": {"generate": {"tools", "images"}, "completions": {"json_schema", "tools", "images"}},
    "lmstudio": {"native": {"json_schema", "tools", "images"}},
    "tgi": {"native": {"tools", "images"}},
    "sglang": {"native": {"tools", "images"}},
    "mlx": {"chat": {"json_schema", "images"}},
    "transformers": {"chat": {"json_schema"}},
    "anthropic": {"messages": set()},
}


@pytest.mark.parametrize("backend", REFUSED)
def test_what_a_door_passes_on_is_seen_from_its_calls(backend):
    for door, refused in REFUSED[backend].items():
        assert passes(load(backend), target(backend, door)) == set(SPOKEN) - refused, door


def options(backend, *, door="", material=None, **asks):
    asked = msgspec.structs.replace(workload("quick"), **asks)
    given = {"endpoint": door} if door else {}
    return Options(backend=backend, workload=asked, options=given, material=material or Material())


@pytest.mark.parametrize(
    ("backend", "door", "asks", "said"),
    [
        ("vllm", "completions", {"tools": TOOLS}, "--endpoint chat does"),
        ("tgi", "", {"tools": TOOLS}, "native endpoint takes no tools; --endpoint chat does"),
        (
            "ollama",
            "completions",
            {"json_schema": json.dumps(SCHEMA)},
            "--endpoint native or generate or chat",
        ),
        ("mlx", "", {"json_schema": json.dumps(SCHEMA)}, "takes no JSON schema; leave it out"),
        ("lmstudio", "", {"tool_turns": True}, "--endpoint chat does"),
    ],
)
def test_what_a_door_cant_pass_on_is_refused_before_anything_is_started(backend, door, asks, said):
    with pytest.raises(UsageError, match=said) as refused:
        check_asked(load(backend), options(backend, door=door, **asks))
    assert "\n" not in str(refused.value)
    check_asked(load("llamacpp"), options("llamacpp", **asks))


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "look", "input_schema": {"type": "object"}},
        {"type": "function", "function": {}},
        {"type": "function", "function": {"name": 7}},
        {"type": "function"},
        {"type": ["x"]},
        {"type": {}},
        {"type": None},
    ],
)
def test_tools_of_another_form_go_only_to_an_api_that_is_described(tool):
    asked = {"tools": json.dumps([{"type": "function", "function": {"name": "f"}}, tool])}
    for backend in ("openai", "anthropic"):
        with pytest.raises(UsageError, match="tools must be a list in the OpenAI form") as refused:
            check_asked(load(backend), options(backend, **asked))
        assert "\n" not in str(refused.value)
    described = options("http", **asked)
    described = msgspec.structs.replace(described, options={"spec": SPEC})
    check_asked(load("http", {"spec": SPEC}), described)
    said = json.loads(
        load("http", {"spec": SPEC})
        .encode(msgspec.structs.replace(request("a"), **asked), target("http", options={"spec": SPEC}))
        .body
    )
    assert said["offered"][1] == tool


def test_what_a_server_knows_by_its_type_needs_no_function():
    for tool in ({"type": "web_search"}, {"type": "custom", "function": "x"}, {"function": {"name": "f"}}):
        check_asked(load("vllm"), options("vllm", tools=json.dumps([tool])))


def test_images_of_a_dataset_are_refused_where_no_door_takes_them():
    material = Material(items=(Item(messages=LOOKING),))
    with pytest.raises(UsageError, match="takes no images"):
        check_asked(load("mlx"), options("mlx", material=material))
    check_asked(load("vllm"), options("vllm", material=material))


def test_a_driver_that_ignores_what_is_asked_is_found_out():
    class Deaf:
        name = title = "deaf"

        def encode(self, asked, target):
            plain = msgspec.structs.replace(asked, stream=True, json_schema="", tools="")
            return load("sim").encode(plain, target)

    assert passes(Deaf(), target("sim")) == {"images", "model", "extra"}


def test_a_mix_and_whole_answers_dont_go_into_a_batch():
    for asks, name in (({"mix": ("a", "b")}, "--mix"), ({"stream": (False,)}, "--stream off")):
        batch = overridden(workload("quick"), batch=True, requests=4)
        with pytest.raises(UsageError, match=name):
            check_asked(
                load("openai"),
                Options(
                    backend="openai",
                    workload=msgspec.structs.replace(batch, **asks),
                    url="http://127.0.0.1:1",
                ),
            )


def test_parts_of_another_type_are_refused_and_repeat_nothing():
    parts = json.dumps([{"type": "input_audio", "input_audio": {"data": "secret"}}])
    with pytest.raises(UsageError) as refused:
        body("anthropic", messages=(Message(role="user", content="", parts=parts),))
    assert "input_audio" in str(refused.value)
    assert "secret" not in str(refused.value)


SPEC = """
name = "mine"
[request]
path = "/ask"
body = { talk = "{messages}", form = "{json_schema}", offered = "{tools}", model = "{model}" }
[answer]
framing = "sse"
text = "say"
"""


def test_a_described_api_passes_on_what_its_body_has_a_place_for():
    driver = load("http", {"spec": SPEC})
    to = target("http", options={"spec": SPEC})
    assert passes(driver, to) == set(SPOKEN) - {"stream_off"}
    asked = msgspec.structs.replace(
        request("a"), json_schema=json.dumps(SCHEMA), tools=TOOLS, messages=LOOKING
    )
    said = json.loads(driver.encode(asked, to).body)
    assert (said["form"], said["offered"]) == (SCHEMA, json.loads(TOOLS))
    assert said["talk"] == [{"role": "user", "content": PARTS}]
    # What isn't asked is left out.
    assert json.loads(driver.encode(request("a"), to).body).keys() == {"talk", "model"}


def test_a_described_api_refuses_what_its_body_has_no_place_for():
    spec = SPEC.replace('form = "{json_schema}", offered = "{tools}", ', "").replace("{messages}", "{prompt}")
    driver, to = load("http", {"spec": spec}), target("http", options={"spec": spec})
    assert passes(driver, to) == {"model", "extra"}
    for asks in ({"tools": TOOLS}, {"json_schema": "{}"}, {"messages": LOOKING}, {"stream": False}):
        with pytest.raises(UsageError, match="mine"):
            driver.encode(msgspec.structs.replace(request("a"), **asks), to)


def test_a_list_of_tools_cant_stand_within_a_text():
    with pytest.raises(UsageError, match="is a list: it has to stand alone"):
        load("http", {"spec": SPEC.replace('"{tools}"', '"all of {tools}"')})


# ---------------------------------------------------------------- whole answers, read


WHOLE = [
    ("vllm", '{"choices":[{"message":{"content":"yes","reasoning":"hm"},"finish_reason":"stop"}]}'),
    ("vllm", '{"choices":[{"text":"yes","finish_reason":"stop"}]}'),
    (
        "openai",
        '{"object":"response","status":"completed","output":[{"type":"reasoning","content":[{"text":"hm"}]},'
        '{"type":"message","content":[{"type":"output_text","text":"yes"}]}]}',
    ),
    (
        "anthropic",
        '{"type":"message","stop_reason":"end_turn","content":[{"type":"thinking","thinking":"hm"},'
        '{"type":"text","text":"yes"}]}',
    ),
    (
        "gemini",
        '{"candidates":[{"finishReason":"STOP","content":{"parts":[{"text":"hm","thought":true},'
        '{"text":"yes"}]}}]}',
    ),
    ("ollama", '{"message":{"content":"yes","thinking":"hm"},"done":true}'),
    ("ollama", '{"response":"yes","thinking":"hm","done":true}'),
    (
        "lmstudio",
        '{"output":[{"type":"reasoning","content":"hm"},{"type":"message","content":"yes"}],"stats":{}}',
    ),
    ("tgi", '{"generated_text":"yes","details":{"finish_reason":"length"}}'),
    ("sglang", '{"text":"yes","meta_info":{"finish_reason":{"type":"stop"}}}'),
]


@pytest.mark.parametrize(("backend", "answer"), WHOLE)
def test_a_whole_answers_text_is_kept_without_its_reasoning_and_has_no_first_token(backend, answer):
    reply = load(backend).decode(tape(answer.encode(), headers=[("content-type", "application/json")]))
    assert reply.said == reply.whole == "yes"
    assert reply.complete
    assert not reply.arrival_ns


def test_what_is_said_of_a_stream_leaves_reasoning_out():
    stream = (
        b'data: {"choices":[{"delta":{"reasoning":"hm"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"yes"}}]}\n\n'
    )
    assert load("vllm").decode(tape(stream)).said == "yes"
