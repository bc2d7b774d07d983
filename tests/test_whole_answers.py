"""Answers in one piece, of a given form, or after tools and images: asked for and read at every door."""

import contextlib
import functools
import json

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner

from benchsuite.cli.root import root
from benchsuite.driver import load
from benchsuite.engine.endpoint import resolve
from benchsuite.engine.exchange import ask
from benchsuite.simulator import SimConfig, read_truth, running
from benchsuite.simulator.dialect import WORDS
from benchsuite.testing import request
from benchsuite.types import Connection, Message, Slo, Target
from tests import trials

DOORS = [
    *(("sim", "", "chat"), ("sim", "", "completions"), ("openai", "openai", "responses")),
    *(("vllm", "vllm", "chat"), ("sglang", "sglang", "chat"), ("sglang", "sglang", "native")),
    *(("anthropic", "", ""), ("gemini", "", ""), ("ollama", "ollama", "native")),
    *(("ollama", "ollama", "generate"), ("lmstudio", "lmstudio", "native"), ("tgi", "tgi", "native")),
]
FORMED = [one for one in DOORS if one[2] not in ("completions",) and one[0] != "lmstudio"]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 18},
        "share": {"type": "number"},
        "well": {"type": "boolean"},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
    },
    "required": ["name", "age", "share", "well", "kind", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string"}},
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
PARTS = [
    {"type": "text", "text": "a b c"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
]
FAST = SimConfig(ttft_ms=2.0, itl_ms=0.5)


@pytest.fixture(scope="module")
def simulators():
    """One simulator for each configuration, started when it is first needed."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda setup: stack.enter_context(running(setup)))


@pytest.fixture
def answered(simulators):
    """A function that asks a simulator that sounds like `engine`, through a driver's door: its replies."""

    def ask_all(backend, engine, door, *requests, **config):
        simulator = simulators(msgspec.structs.replace(FAST, engine=engine, **config))
        target = Target(
            backend=backend,
            url=simulator.url,
            model="sim-model",
            options={"endpoint": door} if door else {},
        )
        driver = load(backend)
        calls = [driver.encode(one, target) for one in requests]
        tapes = ask(resolve(target, Connection()), target, calls)
        return [driver.decode(tape) for tape in tapes]

    return ask_all


def asking(**asks):
    return msgspec.structs.replace(request("a b c", output_tokens=8), **asks)


@pytest.mark.parametrize(("backend", "engine", "door"), DOORS)
def test_every_door_answers_in_one_piece_what_it_streams_otherwise(answered, backend, engine, door):
    whole, streamed = answered(backend, engine, door, asking(stream=False), asking())
    assert whole.complete
    assert not whole.error_kind
    assert not whole.arrival_ns
    assert whole.said == streamed.said == "".join(f" {word}" for word in WORDS[:8])
    assert (whole.output_tokens, whole.prompt_tokens) == (8, streamed.prompt_tokens)
    assert len(streamed.arrival_ns) == 8


@pytest.mark.parametrize(("backend", "engine", "door"), FORMED)
def test_an_answer_of_a_schema_fits_it_streamed_or_not(answered, backend, engine, door):
    asked = asking(json_schema=json.dumps(SCHEMA), max_output_tokens=200, min_output_tokens=1)
    cut = msgspec.structs.replace(asked, max_output_tokens=3, stream=False)
    for reply in (*answered(backend, engine, door, asked, msgspec.structs.replace(asked, stream=False)),):
        jsonschema.validate(json.loads(reply.said), SCHEMA)
        assert reply.output_tokens < 200
        assert reply.finish_reason not in ("length", "max_tokens", "MAX_TOKENS", "incomplete")
    (short,) = answered(backend, engine, door, cut)
    assert short.output_tokens == 3
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(short.said)


@pytest.mark.parametrize(
    ("backend", "door", "finish"), [("sim", "chat", "tool_calls"), ("anthropic", "", "tool_use")]
)
def test_a_tool_that_is_called_comes_as_tool_events_and_whole(answered, backend, door, finish):
    asked = asking(tools=json.dumps(TOOLS), max_output_tokens=200, min_output_tokens=1)
    streamed, whole, silent = (
        *answered(backend, "", door, asked, msgspec.structs.replace(asked, stream=False), tool_calls=True),
        *answered(backend, "", door, asked),
    )
    assert set(streamed.kind) == {ord("t")}
    assert streamed.finish_reason == whole.finish_reason == finish
    called = "".join(streamed.texts)
    jsonschema.validate(json.loads(called[called.index("{") :]), SCHEMA)
    jsonschema.validate(json.loads(whole.whole.removeprefix("weather")), SCHEMA)
    assert streamed.said == ""
    # Offered tools and no wish to call one, it talks; the tools cost prompt tokens all the same.
    assert set(silent.kind) == {ord("c")}
    assert silent.prompt_tokens > 20


@pytest.mark.parametrize(
    ("backend", "engine", "door"),
    [
        *(("sim", "", "chat"), ("openai", "openai", "responses"), ("anthropic", "", "")),
        *(("gemini", "", ""), ("ollama", "ollama", "native")),
    ],
)
def test_an_image_costs_prompt_tokens_at_every_door_that_takes_one(answered, backend, engine, door):
    looking = asking(messages=(Message(role="user", content="", parts=json.dumps(PARTS)),))
    plain, seen = answered(backend, engine, door, asking(), looking)
    assert seen.prompt_tokens - plain.prompt_tokens == 85


# ---------------------------------------------------------------- a run of them


def run(tmp_path, url, *words):
    args = ["run", "--backend", "sim", "--url", url, "--store", str(tmp_path / "store"), *words]
    done = CliRunner().invoke(root, args, env={"COLUMNS": "130"})
    return done.exit_code, done.output


def sound(screen):
    """Was nothing blamed but how late the client itself was, or how soon it filled a slot again?"""
    blamed = [line.strip() for line in screen.splitlines()]
    blamed = [line for line in blamed if line.startswith(("suspect", "invalid"))]
    return all("late (p99)" in line or "in flight on average" in line for line in blamed)


def records(tmp_path):
    words = ["show", "latest", "--store", str(tmp_path / "store"), "--format", "jsonl"]
    return [json.loads(line) for line in CliRunner().invoke(root, words).stdout.splitlines()]


def test_a_run_with_and_without_streaming_tells_the_first_token_from_the_whole(tmp_path):
    truth = tmp_path / "truth.jsonl"
    setup = SimConfig(ttft_ms=20.0, itl_ms=4.0, truth_path=str(truth))
    with running(setup) as simulator:
        code, screen = run(
            tmp_path,
            simulator.url,
            *("--stream", "on,off", "--concurrency", "2", "--requests", "12", "--trials", "2"),
            *("--prompt-tokens", "40", "--output-tokens", "16"),
        )
    assert code in (0, 3) and sound(screen), screen
    by_id = {entry.request_id: entry for entry in read_truth(truth)}
    found = records(tmp_path)
    for record in found:
        true = by_id[record["request_id"]]
        assert record["outcome"] == "ok"
        assert record["output_tokens"] == 16
        assert record["sent_ns"] <= true.received_ns < true.end_ns <= record["end_ns"]
        if record["point"] == 0:
            assert record["first_token_ns"] >= true.events_ns[0]
        else:
            assert not true.events_ns
            assert record["first_token_ns"] is record["last_token_ns"] is None
            assert record["first_byte_ns"] >= true.end_ns, "nothing comes before the whole"
    medians = [
        sorted(one["end_ns"] - one["sent_ns"] for one in found if one["point"] == point)[12]
        for point in (0, 1)
    ]
    assert 0.8 < medians[0] / medians[1] < 1.25
    assert "streamed" in screen
    assert "whole" in screen
    assert "E2E p50" in screen
    assert "note (2 in flight, not streamed): answers came in one piece" in screen


def test_a_run_with_a_schema_a_mix_and_tools_is_valid_and_goes_to_all_its_models(tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    with running(
        # Long enough that what lies between two answers of a slot doesn't count.
        SimConfig(ttft_ms=30.0, itl_ms=3.0, strict=True, model="base", adapters=("lora-a", "lora-b"))
    ) as simulator:
        code, screen = run(
            tmp_path,
            simulator.url,
            *("--json-schema", str(tmp_path / "schema.json"), "--tools", str(tmp_path / "tools.json")),
            *("--mix", "lora-a=3,lora-b=1", "--concurrency", "2", "--requests", "12", "--trials", "2"),
            *("--prompt-tokens", "200", "--output-tokens", "120"),
        )
        assert code in (0, 3) and sound(screen), screen
        found = records(tmp_path)
        assert {one["outcome"] for one in found} == {"ok"}
        assert {one["finish_reason"] for one in found} == {"stop"}
        # The tools' own tokens were found out beforehand, so prompts are as long as asked.
        assert {one["prompt_tokens"] for one in found} <= {199, 200, 201}
        assert "ends by itself" in " ".join(screen.split())
        said = " ".join(screen.split())
        assert "JSON of a schema, tools weather, lora-a 75 %, lora-b 25 %" in said
        # A model that the server hasn't got would be noticed.
        code, screen = run(
            tmp_path,
            simulator.url,
            *("--mix", "lora-a=1,nope=1", "--concurrency", "2", "--requests", "12", "--trials", "2"),
        )
        assert code == 3, screen
        assert "not_found" in screen


# ---------------------------------------------------------------- judging

WHOLE = msgspec.structs.replace(trials.CLOSED, stream=False)


def in_one_piece(sent):
    """One request whose answer comes whole 100 ms after it."""
    unseen = dict.fromkeys(("first_token_ns", "first_output_ns", "last_token_ns"))
    end_ns = trials.START + (sent + 100) * trials.MS
    return trials.request(sent, **unseen, first_byte_ns=end_ns, end_ns=end_ns, gaps_us=[], reads=0)


def in_turn(number=40):
    return [in_one_piece(100 * i) for i in range(number)]


def summary(requests, point=WHOLE, **changes):
    return trials.summary(requests, point=point, infos=[trials.trial_info(last_send=3900)], **changes)


def test_whole_answers_that_were_asked_for_are_told_and_valid():
    found = summary(in_turn())
    assert found.verdict == "valid"
    assert trials.codes(found)["whole_answers"] == "told"
    assert found.metrics["ttft"].n == found.metrics["tpot"].n == 0
    assert found.metrics["e2e"].quantiles["p50"].value == pytest.approx(100)


def test_whole_answers_where_a_stream_was_asked_for_are_suspect_and_the_other_way_round():
    unasked = summary(in_turn(), point=trials.CLOSED)
    assert trials.codes(unasked)["whole_answers"] == "suspect"
    ignored = summary(trials.in_turn(40))
    assert trials.codes(ignored)["whole_answers"] == "suspect"
    assert "whole_answers" not in trials.codes(summary(trials.in_turn(40), point=trials.CLOSED))


@pytest.mark.parametrize(("ttft_ms", "meets"), [(99, False), (101, True)])
def test_the_first_thing_seen_of_a_whole_answer_is_all_of_it(ttft_ms, meets):
    goodput = summary(in_turn(), slo=Slo(ttft_ms=ttft_ms)).rates["goodput_per_s"].value
    assert goodput == pytest.approx(10 if meets else 0, rel=0.05)


def test_points_that_stream_and_those_that_dont_are_told_apart_by_name():
    assert WHOLE.label == "1 in flight, not streamed"
    assert trials.CLOSED.label == "1 in flight"


def test_answers_of_a_given_form_may_be_shorter_than_asked():
    short = [trials.request(100 * i, gaps=(10,), tail=10) for i in range(40)]
    formed = msgspec.structs.replace(trials.WORKLOAD, json_schema="{}")
    infos = [trials.trial_info(last_send=3900)]
    known = trials.KNOWN | {"workload": formed}
    found = trials.summarise(trials.CLOSED, trials.table(short), infos, **known)
    assert trials.codes(found)["output_tokens"] == "told"
    assert trials.codes(trials.summary(short, infos=infos))["output_tokens"] == "invalid"
