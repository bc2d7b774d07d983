"""Gemini's dialect, composed after google-genai's types (3.6) and wire facts: nothing of it was recorded."""

import msgspec
import pytest

from benchsuite.driver import KnowsPlace, PreparesCache, load
from benchsuite.engine.decode import retry_after_s
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, request, tape
from benchsuite.types import Target
from benchsuite.wire import gemini as dialect
from benchsuite_backends.gemini import Gemini

TARGET = Target(
    backend="gemini", url="https://generativelanguage.googleapis.com", model="gemini-3.8-flash", key=KEY
)
LOCATION = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
VERTEX = msgspec.structs.replace(TARGET, url=f"{LOCATION}/publishers/google")


def chunk(*parts, stop="", **usage):
    candidate = {"content": {"parts": list(parts), "role": "model"}} | (
        {"finishReason": stop} if stop else {}
    )
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 30, **usage},
        "modelVersion": "m",
    }


CHUNKS = (
    chunk({"text": "hm", "thought": True}, thoughtsTokenCount=4),
    chunk({"text": "Hello "}, thoughtsTokenCount=4, candidatesTokenCount=2),
    chunk({"text": "you"}, {"text": " there"}, thoughtsTokenCount=4, candidatesTokenCount=6),
    {"candidates": [{"index": 1, "content": {"parts": [{"text": "other"}]}}]},
    chunk(
        stop="MAX_TOKENS",
        thoughtsTokenCount=4,
        candidatesTokenCount=12,
        cachedContentTokenCount=20,
        totalTokenCount=46,
    ),
)
STREAM = b"".join(b"data: %b\n\n" % msgspec.json.encode(one) for one in CHUNKS)
# The kit finds an event complete with the first half of a CRLF, so its stream has plain line ends.
SENT = STREAM.replace(b"\n", b"\r\n")
ARRAY = b"[" + b",\r\n".join(msgspec.json.format(msgspec.json.encode(one)) for one in CHUNKS) + b"]"
FACTS = {
    "events": 3,
    "first_text": "hm",
    "last_text": "you there",
    "prompt_tokens": 30,
    "output_tokens": 16,
    "cached_tokens": 20,
    "reasoning_tokens": 4,
    "finish_reason": "MAX_TOKENS",
}
MODELS = {
    "models": [
        {"name": "models/gemini-3.8-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/text-embedding-005", "supportedGenerationMethods": ["embedContent"]},
    ]
}
BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}


class TestGemini(DriverConformance):
    driver = Gemini()
    target = TARGET
    recordings = (
        Recording(name="stream", tape=tape(STREAM), **FACTS),
        Recording(name="array", tape=tape(ARRAY), **FACTS),
        Recording(
            name="whole",
            tape=tape(msgspec.json.encode(CHUNKS[-1])),
            prompt_tokens=30,
            output_tokens=16,
            cached_tokens=20,
            reasoning_tokens=4,
            finish_reason="MAX_TOKENS",
        ),
        Recording(
            name="blocked",
            tape=tape(b"data: " + msgspec.json.encode(BLOCKED) + b"\r\n\r\n"),
            prompt_tokens=3,
            cached_tokens=0,
            complete=False,
            error_kind="content_filter",
        ),
    )
    identity_tapes = (tape(msgspec.json.encode(MODELS)),)
    error_event = b""
    usage_field = b'"usageMetadata"'


def body(asked, target=TARGET):
    return msgspec.json.decode(dialect.call(asked, target).body)


def test_google_ends_lines_with_crlf() -> None:
    assert dialect.decode(tape(SENT)) == dialect.decode(tape(STREAM))
    assert len(dialect.decode(tape(SENT[: len(SENT) // 2])).texts) == 2


def test_an_error_inside_a_stream_or_an_array() -> None:
    error = {"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}}
    event = b"data: " + msgspec.json.encode(error) + b"\r\n\r\n"
    for heard in (SENT + event, ARRAY[:-1] + b"," + msgspec.json.encode(error) + b"]"):
        reply = dialect.decode(tape(heard))
        assert (reply.error_kind, len(reply.texts)) == ("rate_limited", 3)


def test_an_arrays_object_arrives_with_its_last_brace() -> None:
    first = len(msgspec.json.format(msgspec.json.encode(CHUNKS[0]))) + 1
    brace = chunk({"text": 'a } "{ \\'})
    assert dialect.decode(tape(b"[" + msgspec.json.encode(brace) + b"]")).texts == ['a } "{ \\']
    heard = tape(ARRAY, ends=[first - 1, first, len(ARRAY)])
    assert list(dialect.decode(heard).arrival_ns) == [heard.read_ns[1], heard.read_ns[2], heard.read_ns[2]]


@pytest.mark.parametrize(
    ("status", "word", "message", "expected"),
    [
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            1,
        ),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "auth"),
        (400, "INVALID_ARGUMENT", "Unknown name", "bad_request"),
        (403, "PERMISSION_DENIED", "no", "auth"),
        (404, "NOT_FOUND", "no", "not_found"),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", "rate_limited"),
        (500, "INTERNAL", "no", "server_error"),
        (503, "UNAVAILABLE", "The model is overloaded.", "overloaded"),
    ],
)
def test_errors_have_their_kinds(status, word, message, expected) -> None:
    error = {"error": {"code": status, "message": message, "status": word, "details": []}}
    reply = dialect.decode(tape(msgspec.json.encode(error), status=status))
    assert reply.error_kind == ("context_length" if expected == 1 else expected)


def test_a_request_at_googles_own_address() -> None:
    call = dialect.call(request("hi"), msgspec.structs.replace(TARGET, model="models/gemini-3.8-flash"))
    assert call.path == "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert call.headers["x-goog-api-key"] == KEY and "Authorization" not in call.headers
    assert msgspec.json.decode(call.body) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"maxOutputTokens": 16, "temperature": 0},
    }


def test_a_url_with_a_version_keeps_it() -> None:
    target = msgspec.structs.replace(TARGET, url=f"{TARGET.url}/v1")
    assert dialect.call(request(), target).path.startswith("/models/gemini-3.8-flash:")
    assert dialect.models_call(target).path == "/models?pageSize=1000"


@pytest.mark.parametrize("tail", ["/publishers/google", ""])
def test_vertex_is_known_by_its_host(tail) -> None:
    target = msgspec.structs.replace(VERTEX, url=LOCATION + tail)
    call = dialect.call(request("hi"), target)
    publisher = "" if tail else "/publishers/google"
    assert call.path == f"{publisher}/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert call.headers["Authorization"] == f"Bearer {KEY}" and "x-goog-api-key" not in call.headers
    (asked,) = Gemini().identify(target)
    assert asked.path == f"{publisher}/models/gemini-3.8-flash:countTokens"
    found = Gemini().identity((tape(b'{"totalTokens": 1}'),))
    assert found is not None and found.server == "Vertex AI"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (LOCATION, "europe-west4"),
        ("https://aiplatform.googleapis.com/v1/projects/p/locations/global", "global"),
        ("https://us-central1-aiplatform.googleapis.com", "us-central1"),
        ("http://proxy:4000/v1/projects/p/locations/us-east5", "us-east5"),
        ("https://aiplatform.googleapis.com", ""),
        (TARGET.url, ""),
    ],
)
def test_the_location_is_read_from_a_vertex_url(url, place) -> None:
    driver = Gemini()
    assert isinstance(driver, KnowsPlace)
    assert driver.place(msgspec.structs.replace(TARGET, url=url)) == place


@pytest.mark.parametrize(("name", "value"), [("auth", "basic"), ("cache", "implicit")])
def test_words_that_mean_nothing_are_refused(name, value) -> None:
    with pytest.raises(UsageError, match=f"--option {name} is (bearer|explicit), not '{value}'"):
        load("gemini", {name: value})
    assert load("gemini", {"auth": "bearer", "cache": "explicit"})


def test_vertex_needs_a_model() -> None:
    with pytest.raises(UsageError, match="--model"):
        Gemini().identify(msgspec.structs.replace(VERTEX, model=""))


def test_reasoning_words() -> None:
    def asked(word, model):
        sent = body(
            msgspec.structs.replace(request(), reasoning=word), msgspec.structs.replace(TARGET, model=model)
        )
        return sent["generationConfig"].get("thinkingConfig")

    assert asked("", "gemini-3.8-flash") is None
    assert asked("off", "gemini-3.8-flash") == {"thinkingLevel": "MINIMAL"}
    assert asked("high", "gemini-3.8-flash") == {"thinkingLevel": "HIGH", "includeThoughts": True}
    assert asked("off", "models/gemini-2.5-flash") == {"thinkingBudget": 0}
    assert asked("low", "gemini-2.5-pro") == {"thinkingBudget": 1024, "includeThoughts": True}


def explicit(target=TARGET):
    return msgspec.structs.replace(target, options={"cache": "explicit"}, extra_body={"labels": {"a": "b"}})


def test_an_uploaded_prefix_is_named_instead_of_sent() -> None:
    driver = Gemini()
    assert isinstance(driver, PreparesCache)
    assert driver.cache_call("shared words ", TARGET) is None
    call = driver.cache_call("shared words ", explicit())
    assert call is not None and (call.method, call.path) == ("POST", "/v1beta/cachedContents")
    assert msgspec.json.decode(call.body) == {
        "model": "models/gemini-3.8-flash",
        "contents": [{"role": "user", "parts": [{"text": "shared words "}]}],
        "ttl": f"{dialect.CACHE_TTL_S}s",
    }
    name = driver.cache_name(tape(b'{"name": "cachedContents/abc", "model": "models/m"}'))
    assert name == "cachedContents/abc"
    target = msgspec.structs.replace(explicit(), caches={"shared words ": name})
    asked = msgspec.structs.replace(request("shared words then own", cache="shared"), shared_chars=13)
    sent = body(asked, target)
    assert (sent["cachedContent"], sent["contents"][0]["parts"]) == (name, [{"text": "then own"}])
    assert "cachedContent" not in body(asked)
    gone = driver.uncache_call(name, target)
    assert (gone.method, gone.path, gone.body) == ("DELETE", "/v1beta/cachedContents/abc", b"")
    assert gone.headers["x-goog-api-key"] == KEY


def test_on_vertex_uploads_belong_to_the_location() -> None:
    target = explicit(msgspec.structs.replace(VERTEX, url=LOCATION))
    call = dialect.cache_call("words ", target)
    assert call.path == "/cachedContents"
    model = "projects/p/locations/europe-west4/publishers/google/models/gemini-3.8-flash"
    assert msgspec.json.decode(call.body)["model"] == model
    name = "projects/1/locations/europe-west4/cachedContents/7"
    assert dialect.uncache_call(name, target).path == "/cachedContents/7"
    with pytest.raises(UsageError, match="without /publishers/google"):
        dialect.cache_call("words ", explicit(VERTEX))


def test_only_models_that_generate_are_listed() -> None:
    found = Gemini().identity((tape(msgspec.json.encode(MODELS)),))
    assert found is not None and found.models == ("gemini-3.8-flash",)
    assert Gemini().identity((tape(b'{"models": [{"name": "llama3:latest"}]}'),)) is None


def test_tokens_are_counted() -> None:
    call = Gemini().tokenize("a b", explicit())
    assert call.path == "/v1beta/models/gemini-3.8-flash:countTokens"
    assert msgspec.json.decode(call.body) == {"contents": [{"role": "user", "parts": [{"text": "a b"}]}]}
    assert Gemini().token_count(tape(b'{"totalTokens": 9}')) == 9


def test_a_refusal_says_when_to_ask_again() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    error = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    told = msgspec.json.encode(error)
    assert retry_after_s(tape(told, status=429)) == 34.5
    assert retry_after_s(tape(told, status=429, headers=[("retry-after", "2")])) == 2
    assert retry_after_s(tape(told, status=200)) is None
