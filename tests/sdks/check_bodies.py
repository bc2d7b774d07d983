"""Run in the SDKs' environment: stdin holds bodies by dialect, stdout says what their types refuse."""

import json
import sys

import pydantic
from anthropic.types import message_create_params as messages
from google.genai import types
from openai.types.chat import completion_create_params as chats
from openai.types.responses import response_create_params as responses

KINDS = {
    "chat": (chats.CompletionCreateParamsNonStreaming, chats.CompletionCreateParamsStreaming),
    "responses": (responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
    "anthropic": (messages.MessageCreateParamsNonStreaming, messages.MessageCreateParamsStreaming),
}


def check(dialect, body):
    if dialect == "gemini":
        for content in body["contents"]:
            types.Content.model_validate(content)
        for tool in body.get("tools", ()):
            types.Tool.model_validate(tool)
        types.GenerationConfig.model_validate(body["generationConfig"])
        return
    kept = pydantic.TypeAdapter(KINDS[dialect][body["stream"]]).validate_python(body)
    assert set(body) == set(kept), f"unknown: {sorted(set(body) - set(kept))}"


faults = []
for dialect, bodies in json.load(sys.stdin).items():
    for number, body in enumerate(bodies):
        try:
            check(dialect, body)
        except (AssertionError, pydantic.ValidationError) as error:
            faults.append(f"{dialect} {number}: {error}")
print(json.dumps(faults))
