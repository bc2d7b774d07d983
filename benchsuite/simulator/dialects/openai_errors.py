"""Errors of the servers that speak OpenAI's dialect, each in its own shape."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from benchsuite.simulator.asked import Refused
from benchsuite.simulator.config import SimConfig
from benchsuite.simulator.dialect import encode
from benchsuite.simulator.http import Page

_OPENAI: Final[Mapping[str, tuple[str, str | None]]] = MappingProxyType(
    {
        "invalid": ("invalid_request_error", None),
        "context": ("invalid_request_error", "context_length_exceeded"),
        "key": ("invalid_request_error", "invalid_api_key"),
        "model": ("invalid_request_error", "model_not_found"),
        "path": ("not_found_error", "not_found"),
        "method": ("invalid_request_error", None),
        "rate_limit": ("rate_limit_exceeded", "rate_limit_exceeded"),
        "failed": ("server_error", None),
        "overloaded": ("overloaded", None),
    }
)
_VLLM: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"invalid": "BadRequestError", "context": "BadRequestError", "key": "Unauthorized"},
        **{"model": "NotFoundError", "path": "NotFoundError", "method": "BadRequestError"},
        **{"rate_limit": "RateLimitError", "failed": "InternalServerError"},
        "overloaded": "ServiceUnavailableError",
    }
)
_LLAMACPP: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"invalid": "invalid_request_error", "context": "exceed_context_size_error"},
        **{"key": "authentication_error", "model": "not_found_error", "path": "not_found_error"},
        **{"method": "not_found_error", "rate_limit": "unavailable_error", "failed": "server_error"},
        "overloaded": "unavailable_error",
    }
)
_TGI: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{"invalid": "validation", "context": "validation", "key": "authentication", "model": "validation"},
        **{
            "path": "not_found",
            "method": "not_found",
            "rate_limit": "overloaded",
            "failed": "incomplete_generation",
        },
        "overloaded": "unhealthy",
    }
)


def retry_after(config: SimConfig, *, ms: bool = False) -> str:
    """The header lines that say when to come back."""
    lines = f"Retry-After: {math.ceil(config.retry_after_s)}\r\n"
    return f"{lines}retry-after-ms: {round(config.retry_after_s * 1000)}\r\n" if ms else lines


def refusal(shape: str, refused: Refused, config: SimConfig) -> Page:
    """An error answer in one of the shapes; a 429 says when to come back."""
    reason, message, status = refused.reason, refused.message, refused.status
    headers = retry_after(config, ms=config.engine == "openai") if reason == "rate_limit" else ""
    body: object
    if shape == "tgi":
        return tgi(refused, config)
    if shape == "vllm":
        if refused.room:
            message = (
                f"This model's maximum context length is {refused.room} tokens. However, your prompt "
                f"contains {refused.tokens} input tokens. Please reduce the length of the input prompt."
            )
        body = {"error": {"message": message, "type": _VLLM[reason], "param": None, "code": status}}
    elif shape == "flat":
        if reason == "overloaded":
            message = "The request queue is full."
        body = {"object": "error", "message": message, "type": _VLLM[reason], "param": None, "code": status}
    elif shape == "llamacpp":
        error: dict[str, object] = {"code": status, "message": message, "type": _LLAMACPP[reason]}
        if refused.room:
            error["message"] = (
                f"request ({refused.tokens} tokens) exceeds the available context size "
                f"({refused.room} tokens), try increasing it"
            )
            error |= {"n_prompt_tokens": refused.tokens, "n_ctx": refused.room}
        body = {"error": error}
    elif shape == "text":
        body = {"error": message}
    elif shape == "detail":
        body = {"detail": message}
    else:
        kind, code = _OPENAI[reason]
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Page(status=status, body=encode(body), headers=headers)


def tgi(refused: Refused, config: SimConfig) -> Page:
    """TGI's: what can't be right is 422."""
    reason = refused.reason
    status = {"invalid": 422, "context": 422, "model": 422}.get(reason, refused.status)
    message = refused.message
    if refused.room:
        message = (
            f"Input validation error: `inputs` must have less than {refused.room} tokens. "
            f"Given: {refused.tokens}"
        )
    elif reason == "rate_limit":
        message = "Model is overloaded"
    return Page(status=status, body=encode({"error": message, "error_type": _TGI[reason]}))


def midstream(shape: str) -> bytes:
    """The data of an error in the middle of a stream."""
    if shape == "tgi":
        return b'{"error":{"message":"simulated error","http_status_code":422}}'
    if shape in ("text", "detail"):
        return b'{"error":"simulated error"}'
    if shape in ("vllm", "flat"):
        return b'{"error":{"message":"simulated error","type":"InternalServerError","param":null,"code":500}}'
    return b'{"error":{"message":"simulated error","type":"server_error","param":null,"code":500}}'
