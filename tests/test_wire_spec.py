"""Specifications of APIs: what is refused, in which words, and paths, placeholders and any framing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.errors import UsageError
from benchsuite.testing import tape
from benchsuite.wire import paths, template
from benchsuite.wire.custom import Dialect
from benchsuite.wire.spec import MOST_CHARS, parse

GOOD = """name = "mine"
[request]
path = "/generate"
[request.body]
input = "{prompt}"
force = true
[answer]
framing = "sse"
text = "t"
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("text =", "txt =", "unknown key answer.txt; did you mean text?"),
        ("[request.body]", "bdy = 1\n[request.body]", "unknown key request.bdy; did you mean body?"),
        ("[answer]", "[antwort]", "unknown key antwort; did you mean answer?"),
        ("text =", 'output = "n"\ntext =', "unknown key answer.output; it belongs into [usage]"),
        ("text =", 'done = { pth = "x" }\ntext =', "unknown key answer.done.pth; did you mean path?"),
        ('"/generate"', '"generate"', "[request] path has to begin with /"),
        ('"/generate"', "7", "request.path: Expected `str`, got `int`"),
        ('"sse"', '"sss"', "answer.framing: Invalid enum value 'sss'"),
        (
            '"{prompt}"',
            '"{promt}"',
            "[request] body input: unknown placeholder {promt}; did you mean {prompt}?",
        ),
        ('"{prompt}"', '"{key} {prompt}"', "unknown placeholder {key}"),
        ('"{prompt}"', '"hello"', "never says what is asked"),
        ('"{prompt}"', '"so: {messages}"', "{messages} is a list"),
        ('text = "t"', "", "[answer] text is missing"),
        ('text = "t"', 'text = "a..b"', "the path 'a..b' has an empty step"),
        ("[answer]", '[capabilities]\nexact_output = "forse"\n[answer]', "exact_output names 'forse'"),
        ("[answer]", '[usage]\noutput = "n"\ncount = "events"\n[answer]', "leave output out"),
        ("[answer]", '[usage]\ncount = "sum"\n[answer]', "say with output"),
        ("[answer]", '[identify]\npath = "health"\n[answer]', "[identify] path has to begin with /"),
        ("[answer]", '[timings]\nx = { pat = "n" }\n[answer]', "timings.x.pat; did you mean path?"),
        ('"sse"', '"sse"\nprefix = "data:"', "prefix goes with lines"),
        ('"sse"', '"ndjson"\ndata = "text"', 'data = "text" goes with'),
        ('name = "mine"', 'name = "/home/me"', "name is up to 60 letters"),
        ('name = "mine"', "", "missing required field `name`"),
        ('name = "mine"', 'name = "mine', "line 1"),
        ('path = "/generate"', 'path = "/generate"\nmethod = "GET"', "a GET has no body"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(old, new, told):
    assert old in GOOD
    with pytest.raises(UsageError) as error:
        parse(GOOD.replace(old, new, 1))
    message = str(error.value)
    assert message.startswith("--spec: ") and told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"input": {prompt}}', "placeholders stand in quotes"),
        ('["{prompt}"]', "has to be a JSON object"),
        ('{"input": "{prompd}"}', "did you mean {prompt}?"),
    ],
)
def test_a_body_of_text_has_to_be_json(body, told):
    text = f"name = 'a'\n[answer]\nframing = 'sse'\ntext = 't'\n[request]\npath = '/'\nbody = '''{body}'''"
    with pytest.raises(UsageError, match=told):
        parse(text)


def test_the_request_is_needed_and_a_huge_file_is_refused_unread():
    with pytest.raises(UsageError, match=r"\[request\] is missing"):
        parse('name = "a"\n[answer]\nframing = "sse"\ntext = "t"')
    with pytest.raises(UsageError, match="right file"):
        parse("#" * (MOST_CHARS + 1))


def test_paths():
    value = {"a": [{"b": "x"}, {"b": "y", "c": None}], "d.e": 1, "f": {"g": True, "h": 2.5}}

    def at(path):
        return list(paths.found(value, paths.steps(path)))

    assert at("a.0.b") == ["x"] and at("a.-1.b") == ["y"] and at("a.*.b") == ["x", "y"]
    assert at("a.2.b") == at("a.b") == at("a.1.c") == at("d.e") == at("a.0.b.c") == []
    assert at(r"d\.e") == [1] and at(".") == [value]
    assert paths.number(value, paths.steps("f.*")) == 2.5
    assert paths.text(value, [paths.steps("a.1.b"), paths.steps("a.0.b"), paths.steps("f.g")]) == "yx"


@given(
    st.recursive(
        st.text() | st.integers() | st.none() | st.booleans(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_a_value_without_placeholders_stays_as_it_is(value):
    if not list(template.placeholders(value)) and "{{" not in json.dumps(value):
        assert template.filled(value, {}) == value


@given(st.text(), st.text())
def test_whatever_the_prompt_holds_it_arrives_as_it_is(prompt, key):
    made = template.filled({"a": "{prompt}", "b": "<{prompt}>"}, {"prompt": prompt, "key": key})
    assert made == {"a": prompt, "b": f"<{prompt}>"}


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), max_size=8)
SHAPES = {
    "sse": ('framing = "sse"\ntext = "t"', b"data: %b\n\n"),
    "ndjson": ('framing = "ndjson"\ntext = "t"', b"%b\n"),
    "cumulative": ('framing = "ndjson"\ntext = "t"\ncumulative = true', b"%b\n"),
    "sloppy": ('framing = "lines"\ndata = "json"\nprefix = "data:"\ntext = "t"', b"data: %b\n"),
}


@pytest.mark.parametrize("shape", SHAPES)
@given(texts=TEXTS, cut=st.integers(0, 2**16), size=st.integers(1, 9), crlf=st.booleans())
def test_any_cut_and_any_reads_give_the_leading_events(shape, texts, cut, size, crlf):
    answer, frame = SHAPES[shape]
    head = GOOD[: GOOD.index("[answer]")]
    dialect = Dialect(parse(f"{head}[answer]\n{answer}\n"))
    said = ["".join(texts[: at + 1]) for at in range(len(texts))] if shape == "cumulative" else texts
    body = b"".join(frame % json.dumps({"t": text}).encode() for text in said)
    if crlf:
        body = body.replace(b"\n", b"\r\n")
    ends = [*range(size, len(body), size), len(body)] if body else []
    whole = dialect.decode(tape(body, ends=ends))
    assert list(whole.texts) == texts
    assert whole.complete == bool(texts) and not whole.error_kind
    part = dialect.decode(tape(body[: cut % (len(body) + 1)]))
    assert list(part.texts) == texts[: len(part.texts)]
    assert not part.error_kind


def test_a_growing_text_whose_last_letters_change_counts_what_is_new():
    head = GOOD[: GOOD.index("[answer]")]
    dialect = Dialect(parse(f'{head}[answer]\nframing = "ndjson"\ntext = "t"\ncumulative = true\n'))
    body = b"".join(json.dumps({"t": text}).encode() + b"\n" for text in ("a\ufffd", "aü", "aü", "aü b"))
    assert list(dialect.decode(tape(body)).texts) == ["a\ufffd", "ü", " b"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["t", "u", "e", "d", "*", "0"]), inner)
    ),
    max_leaves=8,
)
EVERYTHING = """
text = ["t", "t.*", "*.t"]
reasoning = "u.t"
finish = "d"
error = ["e", "e.e"]
done = { path = "d.0", equals = 1 }
[usage]
prompt = "u"
output = "u.0"
cached = "u.*"
count = "sum"
[timings]
x = "t"
y = "."
"""


@pytest.mark.parametrize("framing", ["sse", "ndjson", "lines", "json"])
@given(junk=st.lists(JUNK, max_size=4), raw=st.binary(max_size=40), cumulative=st.booleans())
def test_no_body_whatever_raises(framing, junk, raw, cumulative):
    head = GOOD[: GOOD.index("[answer]")]
    data = "" if framing != "lines" else 'data = "json"\n'
    text = (
        f'{head}[answer]\nframing = "{framing}"\n{data}cumulative = {str(cumulative).lower()}\n{EVERYTHING}'
    )
    dialect = Dialect(parse(text))
    frame = SHAPES[framing if framing == "sse" else "ndjson"][1]
    body = b"".join(frame % json.dumps(one).encode() for one in junk)
    for heard in (body, raw, body + raw, raw + body):
        for status in (200, 500):
            reply = dialect.decode(tape(heard, status=status))
            assert len(reply.texts) == len(reply.kind) == len(reply.arrival_ns) and all(reply.texts)
            counts = (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens)
            assert all(count is None or 0 <= count < 2**60 for count in counts)


def test_json_that_is_nested_too_deep_is_unreadable():
    dialect = Dialect(parse(GOOD))
    deep = b"[" * 100_000 + b"]" * 100_000
    assert dialect.decode(tape(b"data: %b\n\n" % deep)).error_kind == "protocol"
    assert dialect.decode(tape(deep, status=500)).error_kind == "server_error"
