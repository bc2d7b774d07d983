"""The language of workload files as a whole: what is written is read again, and what is wrong is named."""

import json
import subprocess
import sys
import tomllib

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchsuite.errors import UsageError
from benchsuite.workload.editor import json_schema
from benchsuite.workload.load import load, shipped
from benchsuite.workload.schema import FIELDS, SECTIONS, label, parsed
from benchsuite.workload.written import written

GENTLE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ONES = st.integers(1, 5000)
SPREADS = st.one_of(
    st.builds(
        lambda low, more: f'{{ kind = "uniform", low = {low}, high = {low + more} }}',
        ONES,
        st.integers(0, 99),
    ),
    st.builds(lambda mean, sd: f'{{ kind = "normal", mean = {mean}, sd = {sd} }}', ONES, ONES),
    st.builds(
        lambda mean, sd: f'{{ kind = "lognormal", mean = {mean}, sd = {sd}, low = 1, high = {mean * 9} }}',
        *(ONES, ONES),
    ),
    st.builds(
        lambda low, mid, high: (
            f'{{ kind = "quantiles", quantiles = [[0, {low}], [0.5, {low + mid}],'
            f" [1.0, {low + mid + high}]] }}"
        ),
        *(ONES, ONES, ONES),
    ),
)
LENGTHS = st.one_of(ONES.map(str), SPREADS)
AXES = st.one_of(LENGTHS, st.lists(ONES, min_size=1, max_size=4, unique=True).map(str))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text.strip()
)
STAGES = st.lists(
    st.builds(lambda s, a, b: f"{{ seconds = {s}, rate = [{a}, {b}] }}", *(st.integers(1, 60),), ONES, ONES),
    min_size=1,
    max_size=3,
).map(lambda stages: f"[{', '.join(stages)}]")


def quoted(text):
    return json.dumps(text.strip(), ensure_ascii=False).replace("\x7f", "\\u007f")


def section(**keys):
    return st.fixed_dictionaries({}, optional=keys)


LOADS = st.one_of(
    st.fixed_dictionaries({"concurrency": AXES.filter(lambda text: "kind" not in text)}),
    st.fixed_dictionaries({"rate": st.sampled_from(["4", "[1.5, 20]", '"inf"'])}),
    st.fixed_dictionaries(
        {"rate": st.just("8"), "arrivals": st.just('"gamma"'), "cv": st.sampled_from(["0.5", "3"])}
    ),
    st.fixed_dictionaries({"rate": st.just("8"), "arrivals": st.just('"burst"'), "burst_size": st.just("4")}),
    st.fixed_dictionaries({"stages": STAGES}),
)
FILES = st.fixed_dictionaries(
    {
        "": st.fixed_dictionaries(
            {
                "name": st.sampled_from(['"mine"', '"a.b-c_9"']),
                "version": ONES.map(str),
                "description": TEXTS.map(quoted),
            },
            optional={"seed": ONES.map(str)},
        ),
        "prompts": st.fixed_dictionaries(
            {"tokens": AXES},
            optional={
                "text": st.sampled_from(['"prose"', '"code"', '"random"']),
                "same": st.sampled_from(['"tokens"', '"text"']),
            },
        ),
        "outputs": st.fixed_dictionaries(
            {"tokens": AXES},
            optional={
                "stream": st.sampled_from(["true", "false", "[true, false]"]),
                "json_schema": st.just('{ type = "object" }'),
                "reasoning": st.sampled_from(['"off"', '"low"', '"high"']),
            },
        ),
        "load": LOADS,
        "sweep": section(
            models=st.just('["a", "b/c"]'),
            engine=st.just('{ max-seqs = [4, 16], "odd key" = true }'),
            combine=st.just('"grid"'),
            order=st.sampled_from(['"blocks"', '"listed"']),
        ),
        "request": section(
            extra=st.just('{ user = "u", nested = { on = [true, 1, 0.5] } }'),
            mix=st.sampled_from(['{ a = 3, "b/c" = 1 }', '["a", "b"]']),
        ),
        "warm_up": section(seconds=ONES.map(str), max_requests=ONES.map(str)),
        "check": st.sampled_from(
            [{}, {"kind": '"contains"', "expected": '"Paris"'}, {"kind": '"regex"', "expected": "'^\\d+$'"}]
        ),
        "slo": section(
            ttft_ms=ONES.map(str), e2e_ms=ONES.map(str), limits=st.just("{ ttft_p95 = 500, itl_p99.9 = 9.5 }")
        ).map(lambda keys: {key: value.replace("itl_p99.9", '"itl_p99.9"') for key, value in keys.items()}),
    }
)


def text_of(file):
    load = file["load"]
    stop = {} if "stages" in load else {"requests": "1000"}
    lines = [f"{key} = {value}" for key, value in file[""].items()]
    for name, keys in {**file, "stop": stop}.items():
        if name and keys:
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]
    return "\n".join(lines)


@GENTLE
@given(FILES)
def test_what_is_written_is_read_again_and_fits_the_editors_schema(file):
    workload = parsed(text_of(file), "my.toml")
    again = written(workload)
    assert parsed(again, "my.toml") == workload
    for text in (text_of(file), again):
        jsonschema.validate(tomllib.loads(text), json_schema())


ODD = st.recursive(
    st.one_of(
        st.none().map(lambda _: "[]"),
        st.booleans().map(lambda truth: str(truth).lower()),
        st.integers(-(2**70), 2**70).filter(lambda n: abs(n) < 2**63).map(str),
        st.floats().map(repr),
        TEXTS.map(quoted),
        st.just("1979-05-27T07:32:00Z"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda all: f"[{', '.join(all)}]"),
        st.dictionaries(st.sampled_from(["kind", "seconds", "rate", "mean", "x"]), inner, max_size=3).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(FIELDS)), ODD)
def test_any_fault_is_one_line_that_names_the_file_and_the_key(key, value):
    """Whatever stands at any key: it is taken, or refused by the names of file and key."""
    tables = {
        "": {"name": '"w"', "version": "1", "description": '"d"'},
        "prompts": {"tokens": "64"},
        "outputs": {"tokens": "8"},
        "load": {"concurrency": "2"},
        "stop": {"requests": "10"},
    }
    name, _, leaf = key.rpartition(".")
    tables.setdefault(name, {})[leaf] = value
    lines = [f"{key} = {value}" for key, value in tables.pop("").items()]
    for section_name, keys in tables.items():
        lines += [f"[{section_name}]", *(f"{key} = {value}" for key, value in keys.items())]
    try:
        parsed("\n".join(lines), "my.toml")
    except UsageError as error:
        said = str(error)
        assert said.startswith("my.toml: ") and len(said.splitlines()) == 1
        # What doesn't go together is named by its words, what is wrong by itself by its place.
        assert label(key) in said or leaf.split("_")[0] in said or name in said, said


def test_an_unknown_key_is_answered_with_the_nearest_known_one():
    for key in FIELDS:
        section_name, _, leaf = key.rpartition(".")
        wrong = f"{leaf}x" if len(leaf) > 3 else f"{leaf}xyz"
        text = f"[{section_name}]\n{wrong} = 1" if section_name else f"{wrong} = 1"
        with pytest.raises(UsageError, match="unknown") as caught:
            parsed(text, "my.toml")
        near = str(caught.value).rpartition("did you mean ")[2]
        assert near == f"{label(key)}?", (wrong, near)


@pytest.mark.parametrize(
    "lines",
    [
        ["[prompts]", 'dataset = "d.jsonl"', "[cache]", 'mode = "cold"', "[load]", "concurrency = 1"],
        ["[prompts]", "tokens = 9", "[outputs]", "tokens = 9", "[load]", "batch = true"],
    ],
    ids=["dataset", "batch"],
)
def test_what_has_another_default_there_is_written_too(lines):
    head = ['name = "t"', "version = 1", 'description = "d"']
    stop = ["[stop]", "requests = 9", "trials = 3"]
    workload = parsed("\n".join([*head, *lines, *stop]), "my.toml")
    assert parsed(written(workload), "my.toml") == workload


def test_every_shipped_workload_is_written_and_read_again():
    for name in shipped():
        workload = load(name)
        assert parsed(written(workload), name) == workload
        jsonschema.validate(tomllib.loads(written(workload)), json_schema())


def test_the_editors_schema_knows_each_key_and_refuses_others():
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    file = {"name": "w", "version": 1, "description": "d", "prompts": {"tokens": 1}, "outputs": {"tokens": 1}}
    jsonschema.validate(file, schema)
    for place in ("", *SECTIONS):
        wrong = json.loads(json.dumps(file))
        (wrong.setdefault(place, {}) if place else wrong)["nonsense"] = 1
        with pytest.raises(jsonschema.ValidationError, match="nonsense"):
            jsonschema.validate(wrong, schema)


def test_the_commands_print_a_file_and_the_schema():
    def said(*words):
        command = [sys.executable, "-m", "benchsuite", "workloads", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert parsed(said("show", "chat", "--toml"), "chat") == load("chat")
    assert json.loads(said("schema"))["title"] == "benchsuite workload"
