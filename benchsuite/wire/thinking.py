"""How much a model may think, for servers that hand such words on to the model's chat template.

A template takes the words that it knows: `enable_thinking` (Qwen, GLM), `thinking` (DeepSeek, Kimi),
`reasoning_effort` (gpt-oss); the others it doesn't see. A model that always thinks can't be stopped.
"""

from typing import Any

from benchsuite.errors import UsageError
from benchsuite.types import Request, Target


def template_fields(request: Request, target: Target, *, effort_field: bool = False) -> dict[str, Any]:
    """Fields of a chat request for its `reasoning`; none where the model is to do as it likes.

    `effort_field`: the server itself understands `reasoning_effort` beside the template's words. A
    UsageError for completions, which have no template.
    """
    if not request.reasoning:
        return {}
    if target.options.get("endpoint", "chat") != "chat":
        raise UsageError("--reasoning goes through the chat template; leave it out, or use --endpoint chat")
    thinks = request.reasoning != "off"
    words: dict[str, Any] = {"enable_thinking": thinks, "thinking": thinks}
    if not thinks:
        return {"chat_template_kwargs": words}
    beside = {"reasoning_effort": request.reasoning} if effort_field else {}
    return {"chat_template_kwargs": words | {"reasoning_effort": request.reasoning}, **beside}
