"""What a request asks besides text, in the words of each dialect; what a door can't say is refused."""

import json

import pytest

from benchsuite.errors import UsageError
from tests.passed_on import (
    CALLS,
    ELSEWHERE,
    FUNCTION,
    LOOKING,
    LOOSE,
    OPENAI_SHAPED,
    PARTS,
    PICTURE,
    SCHEMA,
    TALK,
    TOOLS,
    body,
    call,
    target,
)

# ---------------------------------------------------------------- in one piece


@pytest.mark.parametrize(
    ("backend", "door", "path"),
    [
        ("vllm", "chat", "/v1/chat/completions"),
        ("vllm", "completions", "/v1/completions"),
        ("openai", "chat", "/chat/completions"),
        ("openai", "responses", "/responses"),
        ("tensorrt", "chat", "/v1/chat/completions"),
        ("anthropic", "", "/v1/messages"),
        ("gemini", "", "/v1beta/models/org/base:generateContent"),
        ("ollama", "native", "/api/chat"),
        ("ollama", "generate", "/api/generate"),
        ("lmstudio", "native", "/api/v1/chat"),
        ("tgi", "native", "/generate"),
        ("sglang", "native", "/generate"),
    ],
)
def test_an_answer_in_one_piece_is_asked_for_at_every_door(backend, door, path):
    whole, streamed = call(backend, door, stream=False), call(backend, door)
    assert whole.path == path
    assert whole.headers["Accept"] == "application/json"
    said, before = json.loads(whole.body), json.loads(streamed.body)
    by_path = backend == "gemini" or (backend, door) == ("tgi", "native")
    assert said.get("stream") is (None if by_path else False)
    assert "stream_options" not in said
    if by_path:
        assert whole.path != streamed.path
    else:
        assert before["stream"] is True


# ---------------------------------------------------------------- the form of an answer


@pytest.mark.parametrize("backend", [one for one in OPENAI_SHAPED if one != "tgi"])
def test_a_schema_is_a_response_format_in_the_openai_dialect(backend):
    said = body(backend, "chat", json_schema=json.dumps(SCHEMA), min_output_tokens=1)
    form = {"name": "answer", "schema": SCHEMA, "strict": True}
    assert said["response_format"] == {"type": "json_schema", "json_schema": form}


def test_a_schema_is_strict_only_where_it_fixes_every_member():
    for schema, strict in ((LOOSE, False), ({**SCHEMA, "properties": {"age": LOOSE}}, False), (SCHEMA, True)):
        said = body("vllm", json_schema=json.dumps(schema))
        assert said["response_format"]["json_schema"]["strict"] is strict


@pytest.mark.parametrize(
    ("backend", "door", "where"),
    [
        ("openai", "responses", ("text", "format", "schema")),
        ("anthropic", "", ("output_config", "format", "schema")),
        ("gemini", "", ("generationConfig", "responseJsonSchema")),
        ("ollama", "native", ("format",)),
        ("ollama", "generate", ("format",)),
        ("tgi", "native", ("parameters", "grammar", "value")),
        ("tgi", "chat", ("response_format", "value")),
    ],
)
def test_a_schema_stands_where_each_dialect_wants_it(backend, door, where):
    found = body(backend, door, json_schema=json.dumps(SCHEMA))
    for step in where:
        found = found[step]
    assert found == SCHEMA


def test_a_schema_of_sglangs_own_door_is_text_and_anthropics_stands_beside_the_effort():
    said = body("sglang", "native", json_schema=json.dumps(SCHEMA))
    assert json.loads(said["sampling_params"]["json_schema"]) == SCHEMA
    said = body("anthropic", json_schema=json.dumps(SCHEMA), reasoning="low")
    assert said["output_config"]["effort"] == "low"
    assert said["output_config"]["format"]["schema"] == SCHEMA


@pytest.mark.parametrize("backend", ["vllm", "sglang", "llamacpp", "sim", "tensorrt", "transformers"])
def test_only_an_answer_that_may_not_end_before_is_held_to_its_length(backend):
    held = b"ignore_eos", b"min_new_tokens"
    assert any(word in call(backend).body for word in held)
    assert not any(word in call(backend, min_output_tokens=1).body for word in held)


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize("backend", OPENAI_SHAPED)
def test_tools_and_their_turns_are_sent_as_they_are_in_the_openai_dialect(backend):
    said = body(backend, "chat", tools=TOOLS, messages=TALK)
    assert said["tools"] == json.loads(TOOLS)
    assert "tool_choice" not in said
    assert said["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "how is it?"},
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "content": '{"sky":"blue"}', "tool_call_id": "c0"},
        {"role": "tool", "content": "low", "tool_call_id": "c1"},
    ]


def test_tools_in_the_responses_dialect_are_flat_and_calls_are_items():
    said = body("openai", "responses", tools=TOOLS, messages=TALK)
    assert said["tools"] == [{"type": "function", "strict": False, **FUNCTION}]
    assert said["input"][2:] == [
        {"type": "function_call", "call_id": "c0", "name": "weather", "arguments": '{"town": "Ulm"}'},
        {"type": "function_call", "call_id": "c1", "name": "tide", "arguments": '{"town": "Kiel"}'},
        {"type": "function_call_output", "call_id": "c0", "output": '{"sky":"blue"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "low"},
    ]


def test_tools_in_anthropics_dialect_are_blocks_and_results_are_one_message_of_the_user():
    said = body("anthropic", tools=TOOLS, messages=TALK)
    name, description, schema = FUNCTION.values()
    assert said["tools"] == [{"name": name, "description": description, "input_schema": schema}]
    assert said["system"] == "be brief"
    assert said["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c0", "name": "weather", "input": {"town": "Ulm"}},
                {"type": "tool_use", "id": "c1", "name": "tide", "input": {"town": "Kiel"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c0", "content": '{"sky":"blue"}'},
                {"type": "tool_result", "tool_use_id": "c1", "content": "low"},
            ],
        },
    ]


def test_anthropics_cache_mark_stands_on_the_last_block_of_a_warm_prompt():
    said = body("anthropic", messages=TALK, cache="warm")
    assert said["messages"][-1]["content"][-1]["cache_control"]["type"] == "ephemeral"
    assert json.dumps(said).count("cache_control") == 1


def test_tools_in_geminis_dialect_are_functions_answered_by_their_names():
    said = body("gemini", tools=TOOLS, messages=TALK)
    name, description, schema = FUNCTION.values()
    declared = {"name": name, "description": description, "parametersJsonSchema": schema}
    assert said["tools"] == [{"functionDeclarations": [declared]}]
    assert said["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "weather", "args": {"town": "Ulm"}}},
                {"functionCall": {"name": "tide", "args": {"town": "Kiel"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"sky": "blue"}}},
                {"functionResponse": {"name": "tide", "response": {"result": "low"}}},
            ],
        },
    ]


def test_tools_in_ollamas_own_dialect_have_arguments_that_are_objects():
    said = body("ollama", "native", tools=TOOLS, messages=TALK)
    assert said["tools"] == json.loads(TOOLS)
    assert said["messages"][2]["tool_calls"][0] == {
        "function": {"name": "weather", "arguments": {"town": "Ulm"}}
    }
    assert said["messages"][4] == {"role": "tool", "content": "low", "tool_name": "tide"}


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("backend", OPENAI_SHAPED)
def test_parts_are_sent_untouched_in_the_openai_dialect(backend):
    assert body(backend, "chat", messages=LOOKING)["messages"] == [{"role": "user", "content": PARTS}]


@pytest.mark.parametrize(
    ("backend", "door", "found"),
    [
        (
            "openai",
            "responses",
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is this?"},
                    {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
                ],
            },
        ),
        (
            "anthropic",
            "",
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="},
                    },
                ],
            },
        ),
        (
            "gemini",
            "",
            {
                "role": "user",
                "parts": [
                    {"text": "what is this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "aGVsbG8="}},
                ],
            },
        ),
        ("ollama", "native", {"role": "user", "content": "what is this?", "images": ["aGVsbG8="]}),
    ],
)
def test_images_are_in_each_dialects_own_form(backend, door, found):
    said = body(backend, door, messages=LOOKING)
    assert (said.get("messages") or said.get("input") or said.get("contents")) == [found]


def test_an_address_of_an_image_goes_only_where_it_is_followed():
    said = body("anthropic", messages=ELSEWHERE)["messages"][0]["content"]
    assert said == [{"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}]
    for backend, door in (("gemini", ""), ("ollama", "native")):
        with pytest.raises(UsageError, match="data URLs"):
            body(backend, door, messages=ELSEWHERE)


# ---------------------------------------------------------------- model and further members


def test_a_request_has_a_model_of_its_own_and_an_adapter_where_that_has_another_name():
    for backend in ("vllm", "anthropic", "ollama", "mlx", "transformers", "lmstudio", "openai"):
        assert body(backend, model="adapter-a")["model"] == "adapter-a", backend
    assert call("gemini", model="tuned").path.startswith("/v1beta/models/tuned:")
    assert body("tgi", "native", model="adapter-a")["parameters"]["adapter_id"] == "adapter-a"
    assert body("tgi", "chat", model="adapter-a")["model"] == "adapter-a"
    assert body("sglang", "native", model="adapter-a")["lora_path"] == "adapter-a"


@pytest.mark.parametrize(
    ("backend", "door"),
    [
        *(("vllm", "chat"), ("vllm", "completions"), ("openai", "responses"), ("anthropic", "")),
        *(("gemini", ""), ("ollama", "native"), ("lmstudio", "native"), ("tgi", "native")),
        *(("sglang", "native"), ("groq", "chat")),
    ],
)
def test_a_requests_members_win_over_the_drivers_and_the_targets_over_both(backend, door):
    extra = json.dumps({"priority": 3, "nested": {"a": 1, "b": 2}, "stream": None})
    to = target(backend, door, extra_body={"nested": {"b": 5, "c": None}})
    said = json.loads(call(backend, door, to=to, extra=extra).body)
    assert said["priority"] == 3
    assert said["nested"]["a"] == 1
    assert said["nested"]["b"] == 5
    assert "stream" not in said, "null takes a member of the driver's away"
