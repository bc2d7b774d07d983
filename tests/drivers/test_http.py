"""The driver of any API, with specifications of several shapes, against the conformance kit."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from benchsuite.driver import Configurable, HidesOptions, load
from benchsuite.errors import UsageError
from benchsuite.testing import KEY, DriverConformance, Recording, load_tape, request, tape
from benchsuite.types import Target
from benchsuite.wire import openai
from benchsuite_backends.http import Http

URL = "http://127.0.0.1:8000"
REQUEST = """
[request]
path = "/generate"
headers = { X-Key = "{key}" }
[request.body]
input = "{prompt}"
limit = "{max_tokens}"
"""
IDENTIFY = """
[identify]
path = "/about"
field = "service"
version = "service.version"
models = "models.*.id"
"""
ABOUT = tape(b'{"service":{"version":"2"},"models":[{"id":"a"},{"id":"b"}]}')


def driver(answer, name="mine", sent=REQUEST, more=""):
    return load("http", {"spec": f'name = "{name}"\n{sent}[answer]\n{answer}\n{IDENTIFY}{more}'})


def target(backend="http", **more):
    return Target(backend=backend, url=URL, **({"model": "m", "key": KEY} | more))


def sse(*events):
    return b"".join(
        b"data: %b\n\n" % (one if isinstance(one, bytes) else json.dumps(one).encode()) for one in events
    )


def lines(*events):
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


WORDS = ["Once", " upon", " a", " time", "."]
FACTS = {"events": 5, "first_text": "Once", "last_text": ".", "prompt_tokens": 7, "output_tokens": 5}


class TestNdjson(DriverConformance):
    """Lines with a token each, and one of statistics at the end."""

    driver = driver(
        'framing = "ndjson"\ntext = "tok"\ndone.path = "stats"\nfinish = "stats.why"',
        more="""
[usage]
prompt = "stats.in"
output = "stats.out"
cached = "stats.cached"
[timings]
queue_ms = "stats.queue"
""",
    )
    target = target()
    usage_field = b'"stats"'
    error_event = b'\n{"error":{"message":"it broke"}}\n'
    identity_tapes = (ABOUT,)
    recordings = (
        Recording(
            name="stream",
            tape=tape(
                lines(
                    {"tok": ""},
                    *({"tok": word, "n": at, "error": None} for at, word in enumerate(WORDS)),
                    {"stats": {"in": 7, "out": 5, "cached": 3, "why": "stop", "queue": 1.5}},
                )
            ),
            **FACTS,
            cached_tokens=3,
            finish_reason="stop",
        ),
        Recording(
            name="refused",
            tape=tape(b'{"error":"no such model"}', status=404),
            complete=False,
            error_kind="not_found",
        ),
    )


class TestCumulativeSse(DriverConformance):
    """Events that repeat the text so far, as Gradio-like doors do."""

    driver = driver(
        'framing = "sse"\ntext = "text"\ncumulative = true\ndone = { path = "state", equals = "end" }\n',
        more="""
[usage]
prompt = "counts.0"
output = "counts.1"
""",
    )
    target = target()
    usage_field = b'"counts"'
    identity_tapes = (ABOUT,)
    recordings = (
        Recording(
            name="stream",
            tape=tape(
                sse(
                    {"text": ""},
                    *({"text": "".join(WORDS[: at + 1])} for at in range(5)),
                    {"text": "".join(WORDS), "state": "end", "counts": [7, 5]},
                )
            ),
            **FACTS,
        ),
    )


class TestTyped(DriverConformance):
    """Events of several kinds, reasoning among them, a number of tokens each, and the usual marker."""

    driver = driver(
        """
framing = "sse"
text = "v"
text_if = { path = "type", equals = "token" }
reasoning = "v"
reasoning_if = { path = "type", equals = "thought" }
done = "[DONE]"
error = ["problem.text", "error"]
""",
        more='[usage]\noutput = "n"\ncount = "sum"\n',
    )
    target = target()
    usage_field = b'"n"'
    error_event = b'data: {"problem": {"text": "overloaded"}}\n\n'
    identity_tapes = (ABOUT,)
    recordings = (
        Recording(
            name="stream",
            tape=tape(
                sse(
                    {"type": "status", "v": "queued"},
                    {"type": "thought", "v": "hm", "n": 2},
                    {"type": "token", "v": "Yes", "n": 1},
                    {"type": "token", "v": ", no", "n": 3},
                    b"[DONE]",
                )
            ),
            events=3,
            first_text="hm",
            last_text=", no",
            output_tokens=6,
        ),
    )


class TestTextLines(DriverConformance):
    """Lines of text, nothing else."""

    driver = driver('framing = "lines"\ndone = "<end>"')
    target = target()
    usage_field = b""
    error_event = b""
    identity_tapes = (ABOUT,)
    recordings = (
        Recording(
            name="stream",
            tape=tape(b"Once\r\n upon\n\n a\n<end>\n"),
            events=3,
            first_text="Once",
            last_text=" a",
        ),
    )


class TestSloppyEvents(DriverConformance):
    """`data:` on each line but no blank lines between, and the answer ends with its body."""

    driver = driver('framing = "lines"\ndata = "json"\nprefix = "data: "\ntext = "t.*.x"')
    target = target()
    usage_field = b""
    error_event = b'\ndata: {"error": "it broke"}\n'
    identity_tapes = (ABOUT,)
    recordings = (
        Recording(
            name="stream",
            tape=tape(b': hello\ndata: {"t":[{"x":"a"},{"x":"b"}]}\ndata: {"t":[{"x":"c"}]}'),
            events=2,
            first_text="ab",
            last_text="c",
        ),
    )

    def test_framing_may_differ(self):
        """Its lines only look like an event stream."""


OPENAI = """
framing = "sse"
text = ["choices.0.delta.content", "choices.0.text"]
reasoning = ["choices.0.delta.reasoning_content", "choices.0.delta.reasoning"]
done = "[DONE]"
finish = "choices.0.finish_reason"
"""
OPENAI_USAGE = """
[usage]
prompt = "usage.prompt_tokens"
output = "usage.completion_tokens"
cached = "usage.prompt_tokens_details.cached_tokens"
reasoning = "usage.completion_tokens_details.reasoning_tokens"
"""
RECORDED = sorted((Path(__file__).parent / "recordings").glob("*/*_stream*.http"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_openai_dialect_as_a_specification_reads_what_its_own_decoder_reads(path):
    heard = load_tape(path)
    if heard.status != 200 or (b"chat.completion" not in heard.body and b"text_completion" not in heard.body):
        pytest.skip("not of the OpenAI dialect")
    ours, theirs = driver(OPENAI, more=OPENAI_USAGE).decode(heard), openai.decode(heard)
    # The server's own timings stand under other names there.
    theirs = msgspec.structs.replace(theirs, server_timings={})
    assert msgspec.to_builtins(ours) == msgspec.to_builtins(theirs)


def test_a_whole_answer_has_counts_but_no_events():
    one = driver('framing = "json"\nfinish = "why"', more='[usage]\noutput = "n"\n')
    reply = one.decode(tape(b' {"text":"a b","why":"length","n":2}\n'))
    assert (reply.complete, reply.output_tokens, reply.finish_reason, list(reply.texts)) == (
        True,
        2,
        "length",
        [],
    )
    assert not one.decode(tape(b'{"text":"a b","why":"len')).complete


def test_timings_may_be_scaled():
    more = '[timings]\nqueue_ms = "q"\ntotal_ms = { path = "s", times = 1000 }\n'
    one = driver('framing = "ndjson"\ntext = "t"', more=more)
    assert one.decode(tape(lines({"t": "a", "q": 3}, {"s": 0.5}))).server_timings == {
        "queue_ms": 3,
        "total_ms": 500,
    }
    assert one.capabilities.server_timings
    again = load("http", one.stored_options({}))
    assert again.decode(tape(lines({"s": 2}))).server_timings == {"total_ms": 2000}


def test_an_error_object_where_a_stream_was_expected():
    reply = driver('framing = "sse"\ntext = "t"').decode(tape(b'{"error": "the model is overloaded"}'))
    assert (reply.error_kind, reply.complete) == ("overloaded", False)


def test_what_cannot_be_read_is_told():
    one = driver('framing = "ndjson"\ntext = "t"')
    assert one.decode(tape(b'{"t":"a"}\n<html>\n{"t":"b"}\n')).error_kind == "protocol"
    assert one.decode(tape(b'{"t":"a"}\n<html>\n')).error_kind == "protocol"
    assert one.decode(tape(b'{"t":"a"}\n{"t":"b')).error_kind == ""


def test_the_body_is_filled_in_as_json_and_quoted_right():
    sent = """
[request]
path = "/v2/{model}/run"
headers = { Authorization = "Token {key}", "X-Team" = "a" }
body = '''{"a": ["{messages}", "{max_tokens}", "say: {prompt} ({max_tokens})"], "think": "{reasoning}",
 "{prompt}": "{{prompt}}", "reuse": "{cache}", "seed": "{seed}", "braces": "{\\"x\\": 1}"}'''
"""
    one = driver('framing = "sse"\ntext = "t"', sent=sent)
    text = 'say "x"\n{model} \\ ü'
    call = one.encode(request(text, cache="warm"), target(model="org/m 1", extra_body={"a2": 1}))
    assert call.path == "/v2/org%2Fm%201/run"
    assert json.loads(call.body) == {
        "a": [[{"role": "user", "content": text}], 16, f"say: {text} (16)"],
        "{prompt}": "{prompt}",
        "reuse": True,
        "seed": 0,
        "braces": '{"x": 1}',
        "a2": 1,
    }
    assert call.headers["Authorization"] == f"Token {KEY}"
    assert call.headers["Accept"] == "text/event-stream"
    asked = msgspec.structs.replace(request("x"), reasoning="low")
    assert json.loads(one.encode(asked, target()).body)["think"] == "low"
    assert one.capabilities.reasoning and one.capabilities.cache_off and not one.capabilities.exact_output


def test_the_key_goes_where_the_specification_places_it_and_nowhere_else():
    one = driver('framing = "sse"\ntext = "t"')
    for call in (one.encode(request(), target()), *one.identify(target())):
        assert [name for name, value in call.headers.items() if KEY in value] == ["X-Key"]
    mine = one.encode(request(), target(headers={"x-key": "own"})).headers
    assert KEY not in mine.values()
    with pytest.raises(UsageError, match="--api-key-env"):
        one.encode(request(), target(key=None))
    unplaced = driver('framing = "sse"\ntext = "t"', sent=REQUEST.replace('{ X-Key = "{key}" }', "{}"))
    assert unplaced.encode(request(), target()).headers["Authorization"] == f"Bearer {KEY}"


def test_a_get_carries_the_prompt_in_its_path():
    one = driver(
        'framing = "sse"\ntext = "t"',
        sent='[request]\nmethod = "GET"\npath = "/ask?q={prompt}&n={max_tokens}"\n',
    )
    call = one.encode(request("a b&c"), target())
    assert (call.method, call.path, call.body) == ("GET", "/ask?q=a%20b%26c&n=16", b"")


def test_a_model_is_asked_for_only_where_the_request_names_one():
    sent = REQUEST.replace("limit =", 'model = "{model}"\nlimit =')
    with pytest.raises(UsageError, match="--model"):
        driver('framing = "sse"\ntext = "t"', sent=sent).encode(request(), target(model=""))
    driver('framing = "sse"\ntext = "t"').encode(request(), target(model=""))


def test_without_a_word_on_it_whoever_refuses_a_get_is_there():
    one = load("http", {"spec": f'name = "mine"\n{REQUEST}[answer]\nframing = "sse"\ntext = "t"'})
    assert one.identify(target())[0].path == "/generate"
    found = {
        status: one.identity((tape(b"", status=status),)) for status in (0, 200, 401, 403, 404, 405, 422, 502)
    }
    assert [status for status, who in found.items() if who] == [200, 404, 405, 422]
    assert found[405].server == "mine"


def test_who_it_is():
    one = driver('framing = "sse"\ntext = "t"')
    who = one.identity((ABOUT,))
    assert (who.server, who.models) == ("mine", ("a", "b"))
    assert re.fullmatch(r"[0-9a-f]{12}", who.details["spec"])


def test_what_is_stored_reads_answers_and_holds_nothing_that_is_sent():
    body = 'input = "a secret system prompt {prompt}"\nforce = true\nlimit'
    sent = REQUEST.replace('"{key}"', '"literal-secret"').replace('input = "{prompt}"\nlimit', body)
    answer = '[answer]\nframing = "ndjson"\ntext = "tok"\n'
    spec = f'name = "mine"\n{sent}{answer}{IDENTIFY}[capabilities]\nexact_output = "force"'
    one = load("http", {"spec": spec, "endpoint": "spec"})
    assert isinstance(one, Configurable) and isinstance(one, HidesOptions)
    kept = one.stored_options({"spec": spec, "endpoint": "spec"})
    assert kept["endpoint"] == "spec"
    assert not any(word in kept["spec"] for word in ("secret", "/generate", "/about", "{prompt}"))
    again = load("http", kept)
    heard = tape(lines({"tok": "a"}, {"tok": "b"}))
    assert again.decode(heard) == one.decode(heard)
    assert again.capabilities.exact_output
    assert again.stored_options(kept) == kept
    with pytest.raises(UsageError, match="--spec"):
        again.encode(request(), target())


def test_without_a_specification_it_says_how_to_get_one():
    for fault in (lambda: Http().configured({}), lambda: Http().encode(request(), target())):
        with pytest.raises(UsageError, match="`benchsuite backends http`"):
            fault()


def test_the_example_is_complete_and_works():
    from benchsuite.wire.spec import Answer, Asked, Claims, Identify, Spec, Usage

    one = load("http", {"spec": Http().example()})
    sent = json.loads(one.encode(request("hi"), target()).body)
    assert sent == {"model": "m", "input": "hi", "max_new_tokens": 16, "stream": True}
    heard = tape(
        sse({"choices": [{"text": "a"}]}, {"usage": {"input_tokens": 2, "output_tokens": 1}}, b"[DONE]")
    )
    reply = one.decode(heard)
    assert (reply.texts, reply.prompt_tokens, reply.output_tokens, reply.complete) == (["a"], 2, 1, True)
    uncommented = re.sub(r"(?m)^# (?=\[|\w+ = )", "", Http().example())
    assert load("http", {"spec": uncommented.replace("stream = true", "stream = true\nignore_eos = true")})
    for table in (Spec, Asked, Answer, Usage, Identify, Claims):
        for key in table.__struct_fields__:
            assert key in {"digest", "data", "prefix"} or re.search(rf"\b{key}\b", Http().example()), key
