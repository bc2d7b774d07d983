"""Server errors as a closed set of kinds, with a message cut where the server begins to quote the request.

Read from what vLLM, SGLang, llama.cpp, TGI, Ollama, MLX, transformers, OpenAI, Anthropic and Google answer.
"""

import re

import msgspec

KINDS: tuple[str, ...] = (
    "auth",
    "not_found",
    "bad_request",
    "context_length",
    "content_filter",
    "rate_limited",
    "quota",
    "overloaded",
    "server_error",
    "protocol",
)
"""Every kind that `error_kind` and `read_error` give."""

MESSAGE_CHARS = 200

BY_STATUS = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
BY_WORDS = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        (
            "context_length",
            r"context_length_exceeded|exceed_context_size|context (?:length|size|window)"
            r"|must have less than \d+ tokens|tokens.{0,40} must be <= \d+|prompt is too long: \d+ tokens"
            r"|token count.{0,20} exceeds the maximum number of tokens",
        ),
        ("content_filter", r"content_filter|content_policy|content management policy"),
        ("quota", r"insufficient_quota|billing_(?:error|not_active|hard_limit)|credit balance is too low"),
        # LM Studio.
        ("not_found", r"\bmodel_not_found\b"),
        # Gemini: HTTP 400.
        ("auth", r"API_KEY_INVALID|api key not valid"),
    )
)
BY_TYPE = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        ("rate_limited", r"rate_?limit|RESOURCE_EXHAUSTED"),
        ("overloaded", r"overloaded|unavailable|queue is full|server busy"),
        ("auth", r"authentication|permission|invalid_api_key|UNAUTHENTICATED"),
        ("not_found", r"not_?found"),
        ("bad_request", r"bad_?request|invalid_request|invalid_argument|validation"),
    )
)
ECHO = re.compile(r"\binput(?:_value)?['\"]?\s*[:=]|\n|traceback", re.IGNORECASE)
"""Where a server begins to quote what it was sent, or to show its insides."""
QUOTED = re.compile(r"(?<!\w)(['\"`])[^'\"`]{49,}(?:\1|$)")


def error_kind(status: int, body: bytes) -> tuple[str, str]:
    """Kind and message of an answer with an error status; two empty texts below 400.

    The message is the server's own, at most 200 characters, and empty where the body is not JSON.
    """
    if status < 400:
        return "", ""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    return read_error(status, answer)


def read_error(status: int, error: object) -> tuple[str, str]:
    """Kind and message of a decoded error, as the whole answer or as its `error` field.

    `status` under 400: the error came inside a stream; its own code or type then decides.
    """
    words, code, message = _facts(error)
    if status < 400:
        status = code
    kind = _kind(status, words, message)
    return kind, _safe(message, kind)


def _facts(error: object) -> tuple[str, int, str]:
    """Its type and code as words, its code as a number (0: none), and its message."""
    nested = error.get("error") if isinstance(error, dict) else None
    if isinstance(nested, str) and isinstance(error, dict):
        return str(error.get("error_type", "")), 0, nested
    fields = nested if isinstance(nested, dict) else error
    if isinstance(fields, str):
        return "", 0, fields
    if not isinstance(fields, dict):
        return "", 0, ""
    code = next(
        (value for name in ("code", "http_status_code", "status") if type(value := fields.get(name)) is int),
        0,
    )
    message = fields.get("message", fields.get("detail"))
    words = " ".join(str(fields.get(name)) for name in ("type", "code", "status"))
    return words, code, message if isinstance(message, str) else ""


def _kind(status: int, words: str, message: str) -> str:
    if status in (0, 400, 413, 422, 429):
        for kind, pattern in BY_WORDS:
            if pattern.search(words) or pattern.search(message):
                return kind
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return "server_error"
    if status >= 400:
        return "bad_request"
    return next((kind for kind, pattern in BY_TYPE if pattern.search(f"{words} {message}")), "server_error")


def _safe(message: str, kind: str) -> str:
    """The message without what may be the request's text or key."""
    if kind == "auth":
        message = message.partition(":")[0]
    echo = ECHO.search(message)
    if echo is not None:
        message = message[: echo.start()].rstrip(" {,:'\"")
    return QUOTED.sub("…", message)[:MESSAGE_CHARS]
