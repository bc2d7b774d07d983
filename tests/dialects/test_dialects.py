"""Every dialect against streams that were drawn from the protocol's facts: the truth, and nothing but.

10,000 streams a dialect, each heard in reads that were cut anywhere, and each broken off anywhere. A stream
that fails is named by its seed: `GENERATORS[dialect](Random(seed))` gives it again.
"""

import re
from bisect import bisect_left
from random import Random

import pytest

from benchsuite.driver import backends, load
from benchsuite.testing import tape
from tests.dialects import anthropic, gemini, lmstudio, ollama, openai, responses, sglang, tgi
from tests.dialects.streams import ANY

GENERATORS = {
    "openai chat": ("openai", openai.chat),
    "openai completions": ("openai", openai.completions),
    "openai responses": ("openai", responses.responses),
    "anthropic": ("anthropic", anthropic.anthropic),
    "gemini": ("gemini", gemini.gemini),
    "ollama chat": ("ollama", ollama.ollama_chat),
    "ollama generate": ("ollama", ollama.ollama_generate),
    "tgi": ("tgi", tgi.tgi),
    "lmstudio": ("lmstudio", lmstudio.lmstudio),
    "sglang": ("sglang", sglang.sglang),
}
STREAMS = 10_000
COUNTS = {
    "prompt": "prompt_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
    "reasoning": "reasoning_tokens",
    "written": "cache_write_tokens",
    "written_1h": "cache_write_1h_tokens",
}


def cuts(draw, size):
    """Where reads end: once, a few times, or after each byte."""
    count = draw.choice((0, 1, 3, 12)) if draw.random() < 0.97 else size
    return sorted({*(draw.randrange(1, size + 1) for _ in range(count)), size}) if size else []


def heard(body, ends):
    return tape(body, ends=ends, read_ns=[10 + end for end in ends])


def check_whole(driver, truth, ends):
    reply = driver.decode(heard(truth.body, ends))
    assert list(reply.texts) == truth.texts
    assert reply.kind == bytes(truth.kinds)
    assert list(reply.arrival_ns) == [10 + ends[bisect_left(ends, end)] for end in truth.ends]
    assert bool(reply.error_kind) == truth.error, reply.error_message
    if truth.error:
        return
    assert (reply.complete, reply.finish_reason) == (truth.complete, truth.finish)
    expected = {name: getattr(truth, name) for name in COUNTS if getattr(truth, name) != ANY}
    assert {name: getattr(reply, COUNTS[name]) for name in expected} == expected


def check_broken_off(driver, truth, at):
    reply = driver.decode(heard(truth.body[:at], [at] if at else []))
    events = sum(end <= at for end in truth.ends)
    # The first half of a CRLF ends a line by itself.
    halved = truth.crlf and at + 1 in truth.ends
    assert len(reply.texts) in {events, events + halved}
    assert list(reply.texts) == truth.texts[: len(reply.texts)]
    assert reply.kind == bytes(truth.kinds[: len(reply.texts)])
    assert truth.error or not reply.error_kind, reply.error_message


def check(driver, generator, seed):
    truth = generator(Random(seed))
    draw = Random(seed)
    size = len(truth.body)
    try:
        check_whole(driver, truth, cuts(draw, size))
        check_broken_off(driver, truth, draw.randrange(size + 1))
        # Around the end of an event, where off-by-one errors live.
        near = draw.choice(truth.ends or [0]) + draw.randrange(-2, 3)
        check_broken_off(driver, truth, min(max(near, 0), size))
    except Exception as error:
        error.add_note(f"seed {seed}: {truth.body!r}")
        raise


@pytest.mark.parametrize("dialect", GENERATORS)
def test_streams_decode_to_their_truth(dialect):
    name, generator = GENERATORS[dialect]
    driver = load(name)
    for seed in range(STREAMS):
        check(driver, generator, seed)


def speakers(door):
    """Drivers with this door of the OpenAI dialect, whatever else they speak."""
    return [name for name in backends() if name != "http" and door in load(name).capabilities.endpoints]


@pytest.mark.parametrize(
    ("door", "name"), [(door, name) for door in ("chat", "completions") for name in speakers(door)]
)
def test_whoever_speaks_openais_dialect_reads_all_of_it(door, name):
    driver, generator = load(name), GENERATORS[f"openai {door}"][1]
    for seed in range(STREAMS, STREAMS + 500):
        check(driver, generator, seed)


def damaged(draw, body):
    """The body with some of it lost, doubled, changed, or of another type than it should be."""
    for _ in range(draw.choice((1, 1, 3))):
        at, size = draw.randrange(len(body) + 1), draw.choice((1, 1, 5, 60))
        piece = body[at : at + size]
        instead = (b"", piece * 2, bytes(draw.randrange(256) for _ in piece), b"\n", b"\n\n", b'"', b"\xff")
        body = body[:at] + draw.choice(instead) + body[at + size :]
    if draw.random() < 0.5:
        values = list(re.finditer(rb'(?<=":)(?:\d+|null|true|false|"[^"\\]*"|\{|\[)', body))
        if values:
            found = draw.choice(values)
            other = draw.choice(
                (b"-1", b"1e400", b"[]", b"{}", b'"x"', b"null", b"[1]", b'{"a":{}}', b"true")
            )
            body = body[: found.start()] + other + body[found.end() :]
    return body


@pytest.mark.parametrize("name", sorted({*backends()} - {"http"}))
def test_damaged_streams_are_never_an_exception(name):
    """Of any dialect, its own or not, and what comes out has the shape of a reply."""
    driver = load(name)
    for dialect, (_, generator) in GENERATORS.items():
        for seed in range(150):
            draw = Random(seed)
            body = damaged(draw, generator(draw).body)
            try:
                reply = driver.decode(heard(body, cuts(draw, len(body))))
                assert len(reply.arrival_ns) == len(reply.kind) == len(reply.texts)
                assert all(isinstance(one, str) and one for one in reply.texts)
                assert list(reply.arrival_ns) == sorted(reply.arrival_ns)
                counts = [getattr(reply, field) for field in COUNTS.values()]
                assert all(count is None or type(count) is int for count in counts)
                assert reply.finish_reason is None or isinstance(reply.finish_reason, str)
                assert all(type(value) is float for value in reply.server_timings.values())
            except Exception as error:
                error.add_note(f"{dialect}, seed {seed}: {body!r}")
                raise


@pytest.mark.parametrize("dialect", GENERATORS)
def test_the_generator_draws_what_the_test_claims(dialect):
    """Each peculiarity occurs in some stream: a generator that became tame would prove nothing."""
    truths = [GENERATORS[dialect][1](Random(seed)) for seed in range(1000)]
    assert len({truth.body for truth in truths}) > 950
    assert {truth.error for truth in truths} == {truth.complete for truth in truths} == {True, False}
    assert {truth.prompt is None for truth in truths} >= {False}
    assert any("😀" in "".join(truth.texts) for truth in truths)
    assert any("שלום".encode() in truth.body for truth in truths)
    assert any(b"\\ud83d\\ude00" in truth.body for truth in truths)
    assert any(b"zz_new" in truth.body for truth in truths)
    assert any(b"\r\n" in truth.body for truth in truths)
    if not dialect.startswith("ollama"):
        assert any(b"\n" not in truth.body and b"\r\r" in truth.body for truth in truths)
        assert any(b": keep-alive" in truth.body for truth in truths)
        assert {b"data: {" in truth.body for truth in truths} == {True, False}
    else:
        assert {truth.body.endswith(b"\n") for truth in truths} == {True, False}
