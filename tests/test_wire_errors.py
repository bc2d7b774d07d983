"""Every way that servers say no, and that a quoted request does not come back with it."""

from typing import Any

import msgspec
import pytest

from benchsuite.wire.errors import KINDS, error_kind, read_error


def openai(message: str, type_: str = "x", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def tgi(message: str) -> dict[str, Any]:
    return {"error": f"Input validation error: {message}", "error_type": "validation"}


def sglang(message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (400, openai("This model's maximum context length is 4096 tokens. However, …"), "context_length"),
        (400, openai("Input length (9) exceeds model's maximum context length (4)."), "context_length"),
        (400, openai("request too large", "exceed_context_size_error", 400), "context_length"),
        (400, openai("Please shorten.", "x", "context_length_exceeded"), "context_length"),
        (422, tgi("`inputs` must have less than 1024 tokens. Given: 2000"), "context_length"),
        (422, tgi("`inputs` tokens + `max_new_tokens` must be <= 4096."), "context_length"),
        (400, sglang("The input (9 tokens) is longer than the model's context length"), "context_length"),
        (400, openai("flagged", "x", "content_filter"), "content_filter"),
        (400, openai("min_tokens must be less than max_tokens"), "bad_request"),
        (422, {"detail": [{"loc": ["body"], "msg": "missing"}]}, "bad_request"),
        (401, openai("Incorrect API key provided: sk-secret"), "auth"),
        (403, openai("no"), "auth"),
        (404, openai("The model `m` does not exist."), "not_found"),
        (429, openai("slow down", "requests", "rate_limit_exceeded"), "rate_limited"),
        (429, openai("no money left", "insufficient_quota", "insufficient_quota"), "quota"),
        (503, openai("Loading model", "unavailable_error", 503), "overloaded"),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "overloaded",
        ),
        (500, openai("boom"), "server_error"),
        (502, None, "server_error"),
        (418, None, "bad_request"),
    ],
)
def test_every_status_has_its_kind(status: int, answer: Any, kind: str) -> None:
    found, message = error_kind(status, msgspec.json.encode(answer))
    assert (found, "secret" in message) == (kind, False)
    assert kind in KINDS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "engine died", "type": "InternalServerError", "code": 500}, "server_error"),
        ({"message": "Template error", "http_status_code": 422}, "bad_request"),
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded"),
        ({"message": "later", "type": "rate_limit_error", "code": None}, "rate_limited"),
        ({"message": "the available context size is exceeded", "code": 400}, "context_length"),
        ("an error was encountered while running the model", "server_error"),
        (None, "server_error"),
    ],
)
def test_inside_a_stream_code_or_type_decides(error: Any, kind: str) -> None:
    assert read_error(200, error)[0] == kind


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("1 validation error:\n  {'type': 'list_type', 'input': 'my prompt'}", "1 validation error"),
        ("Field required, input_value='my prompt', input_type=str", "Field required"),
        ("bad {'loc': 'x', 'input': 'my prompt'}", "bad {'loc': 'x"),
        (f'can\'t parse "my prompt {"x" * 60}" as JSON', "can't parse … as JSON"),
        (f"can't parse 'my prompt {'x' * 60}", "can't parse …"),
        ("The model `m` doesn't exist", "The model `m` doesn't exist"),
        (f"This model's limit {'is low ' * 10}", f"This model's limit {'is low ' * 10}"),
        ("y" * 300, "y" * 200),
    ],
)
def test_a_message_never_repeats_the_request(sent: str, shown: str) -> None:
    assert error_kind(400, msgspec.json.encode(openai(sent))) == ("bad_request", shown)


def test_bodies_that_are_no_json_are_not_shown() -> None:
    assert error_kind(500, b"<html>my prompt</html>") == ("server_error", "")
    assert error_kind(400, b'{"error": {"mess') == ("bad_request", "")
    assert error_kind(200, b'{"error": "x"}') == ("", "")
