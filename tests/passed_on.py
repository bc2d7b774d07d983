"""What requests can carry besides a prompt, and the bodies that drivers make of them."""

import json

import msgspec

from benchsuite.driver import load
from benchsuite.testing import request
from benchsuite.types import Message, Target

URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
LOOSE = {"type": "object", "properties": {"age": {"type": "integer"}}}
FUNCTION = {
    "name": "weather",
    "description": "of a town",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
}
TOOLS = json.dumps([{"type": "function", "function": FUNCTION}])
CALLS = [
    {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": json.dumps({"town": town})}}
    for i, (name, town) in enumerate((("weather", "Ulm"), ("tide", "Kiel")))
]
TALK = (
    Message(role="system", content="be brief"),
    Message(role="user", content="how is it?"),
    Message(role="assistant", content="", tool_calls=json.dumps(CALLS)),
    Message(role="tool", content='{"sky":"blue"}', tool_call_id="c0"),
    Message(role="tool", content="low", tool_call_id="c1"),
)
PICTURE = "data:image/png;base64,aGVsbG8="
PARTS = [
    {"type": "text", "text": "what is this?"},
    {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
]
LOOKING = (Message(role="user", content="", parts=json.dumps(PARTS)),)
ELSEWHERE = (
    Message(
        role="user",
        content="",
        parts=json.dumps([{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]),
    ),
)
OPENAI_SHAPED = (
    *("vllm", "sglang", "llamacpp", "local", "tensorrt", "openai", "sim", "groq", "openrouter"),
    *("lmstudio", "ollama", "tgi"),
)


def target(backend, door="", **changes):
    options = {"endpoint": door} if door else {}
    known = {"url": URLS.get(backend, "http://127.0.0.1:1"), "model": "org/base", "key": "k"}
    return Target(**{"backend": backend, "options": options, **known, **changes})


def call(backend, door="", *, to=None, **asks):
    asked = msgspec.structs.replace(request("a b c"), **asks)
    return load(backend).encode(asked, to or target(backend, door))


def body(backend, door="", **asks):
    return json.loads(call(backend, door, **asks).body)
