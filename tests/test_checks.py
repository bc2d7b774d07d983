"""Checks: what passes, what doesn't, and what is refused because it could never tell."""

import json
import subprocess
import sys
import unicodedata

import pytest

from benchsuite.cli.run_checks import check_of
from benchsuite.errors import UsageError
from benchsuite.types import Check
from benchsuite.workload import checks, schema
from benchsuite.workload.draw import Item
from benchsuite.workload.load import load, overridden

PERSON = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {"name": {"type": "string"}, "age": {"type": "number", "minimum": 0}},
    "additionalProperties": False,
}
RIGHT = '{"name": "Ada", "age": 36}'


def passes(check, answer, expected=""):
    return checks.judge_of(check)(answer, expected)


def by(kind, **more):
    return Check(kind=kind, **more)


@pytest.mark.parametrize(
    ("check", "answer", "expected", "right"),
    [
        (by("exact"), "Paris", "Paris", True),
        (by("exact"), "  Paris\n", "Paris ", True),
        (by("exact"), "paris", "Paris", False),
        (by("exact"), "Paris.", "Paris", False),
        (by("exact"), unicodedata.normalize("NFD", "Zürich"), "Zürich", True),
        (by("exact"), "", "Paris", False),
        (by("exact", expected="42"), " 42", "", True),
        (by("contains"), "It is Paris, of course.", "Paris", True),
        (by("contains"), "It is Lyon.", "Paris", False),
        (by("contains"), f"In {unicodedata.normalize('NFD', 'Zürich')}.", "Zürich", True),
        (by("contains", expected="東京"), "それは東京です", "", True),
        (by("regex", expected=r"\b\d{4}-\d\d\b"), "on 2026-03, say", "", True),
        (by("regex", expected=r"\b\d{4}-\d\d\b"), "in March", "", False),
        (by("regex", expected=r"^yes$"), "no\nyes", "", False),
        (by("choice", choices=("yes", "no")), "Yes.", "yes", True),
        (by("choice", choices=("yes", "no")), "yes, yes, YES", "yes", True),
        (by("choice", choices=("yes", "no")), "yes and no", "yes", False),
        (by("choice", choices=("yes", "no")), "no", "yes", False),
        (by("choice", choices=("yes", "no")), "I know that", "no", False),
        (by("choice", choices=("yes", "no")), "maybe", "no", False),
        (by("choice", choices=("A", "B", "C")), "The answer is (B).", "B", True),
        (by("choice", choices=("A", "B", "C")), "It is a bit of B", "B", True),
        (by("choice", choices=("A", "B", "C")), "A or B", "B", False),
        (by("choice", choices=("spam", "not spam")), "This is not spam.", "not spam", True),
        (by("choice", choices=("spam", "not spam")), "This is not spam.", "spam", False),
        (by("choice", choices=("yes", "no"), expected="no"), "No!", "", True),
        (by("regex", expected="Zürich"), f"In {unicodedata.normalize('NFD', 'Zürich')}.", "", True),
        (by("regex", expected=unicodedata.normalize("NFD", "Zürich")), "In Zürich.", "", True),
    ],
)
def test_texts(check, answer, expected, right):
    assert passes(check, answer, expected) is right


MOODS = ("positive", "negative")
NUMBERS = ("1", "2", "3")


@pytest.mark.parametrize(
    ("choices", "answer", "named"),
    [
        (MOODS, "_positive_", "positive"),
        (MOODS, "__Positive__.", "positive"),
        (MOODS, "**positive**", "positive"),
        (MOODS, "- positive", "positive"),
        (MOODS, "-positive", "positive"),
        (MOODS, "positive - it praises", "positive"),
        (MOODS, "positive—it praises", "positive"),
        (MOODS, "non-positive", None),
        (MOODS, "non\u2011positive", None),
        (MOODS, "positive-ish", None),
        (MOODS, "non_positive", None),
        (MOODS, "positively", None),
        (("spam", "not-spam"), "not-spam", "not-spam"),
        (("spam", "not_spam"), "_not_spam_", "not_spam"),
        (("中国", "日本"), "答案是中国。", "中国"),
        (("中国", "日本"), "中国和日本", None),
        (("可能", "不可能"), "我想这不可能。", "不可能"),
        (("東京", "ロンドン"), "それは東京です", "東京"),
        (("서울", "부산"), "답은 서울입니다.", "서울"),
        (("ใช่", "ไม่ใช่"), "คำตอบคือใช่ครับ", "ใช่"),
        (("yes", "no"), "答案是yes。", "yes"),
        (("yes", "no"), "答案是yesterday。", None),
        (("1月", "2月"), "它在1月。", "1月"),
        (("1月", "2月"), "它在11月。", None),
        (NUMBERS, "1", "1"),
        (NUMBERS, "1.", "1"),
        (NUMBERS, "The answer is 1, I think.", "1"),
        (NUMBERS, "**1**: it", "1"),
        (NUMBERS, "_1_", "1"),
        (NUMBERS, "- 1", "1"),
        (NUMBERS, "No.1", "1"),
        (NUMBERS, "答案是1。", "1"),
        (NUMBERS, "-1", None),
        (NUMBERS, "It is \u22121.", None),
        (NUMBERS, "+1", None),
        (NUMBERS, "1.5", None),
        (NUMBERS, "0.1", None),
        (NUMBERS, ".1", None),
        (NUMBERS, "1,000", None),
        (NUMBERS, "1\u202f000", None),
        (NUMBERS, "1'000", None),
        (NUMBERS, "1_000", None),
        (NUMBERS, "1+", None),
        (NUMBERS, "1\u20132", None),
        (NUMBERS, "12", None),
        (("-1", "0", "1"), "-1", "-1"),
        (("-1", "0", "1"), "It is 1.", "1"),
        (("1.5", "5"), "1.5", "1.5"),
    ],
)
def test_a_choice_is_named_by_a_word_of_its_own(choices, answer, named):
    check = by("choice", choices=choices)
    assert [each for each in choices if passes(check, answer, each)] == ([named] if named else [])


WITH_SCHEMA = by("json-schema", json_schema=json.dumps(PERSON))


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (RIGHT, True),
        (f"\n {RIGHT} \n", True),
        ('{"age": 36.0, "name": "Ada"}', True),
        ('{"age": 3.6e1, "name": "\\u0041da"}', True),
        (f"```json\n{RIGHT}\n```", True),
        (f"```\n{RIGHT}\n```", True),
        (f"Here you are:\n\n```json\n{RIGHT}\n```\nAnything else?", True),
        (f"~~~json\n{RIGHT}\n~~~", True),
        (f"```json\n{RIGHT}\n```\nor\n```json\n{RIGHT}\n```", False),
        (f"```json\n{RIGHT}", False),
        (f"Sure: {RIGHT}", False),
        ('{"name": "Ada", "age": 37}', False),
        ('{"name": "ada", "age": 36}', False),
        ('{"name": "Ada", "age": "36"}', False),
        ('{"name": "Ada", "age": true}', False),
        ('{"name": "Ada", "age": 36, "more": null}', False),
        ('{"name": "Ada"}', False),
        ('{"name": "Ada", "age": -1}', False),
        ('{"name": "Ada", "age": NaN}', False),
        (f"[{RIGHT}]", False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_valid_by_its_schema_and_equal_to_what_is_expected(answer, right):
    assert passes(WITH_SCHEMA, answer, RIGHT) is right


def test_json_without_anything_expected_has_to_be_valid_only_and_without_a_schema_equal_only():
    assert passes(WITH_SCHEMA, '{"name": "Bo", "age": 1}')
    assert not passes(WITH_SCHEMA, '{"name": "Bo"}')
    free = by("json-schema")
    assert passes(free, '[1, {"b": [true, null], "a": 2.50}]', '[1.0, {"a": 2.5, "b": [true, null]}]')
    assert not passes(free, "[1, 2]", "[2, 1]")
    assert not passes(free, "0", "false")
    assert passes(free, '"Z\\u00fcrich"', json.dumps(unicodedata.normalize("NFD", "Zürich")))


@pytest.mark.parametrize(
    ("answer", "right", "same"),
    [
        ("4111111111111112", "4111111111111111", False),
        ("1700000000001", "1700000000000", False),
        ("1700000000001", "1700000000000.0", False),
        ("1.7e12", "1700000000000", True),
        ("4111111111111111.0", "4111111111111111", True),
        ("1e23", f"1{'0' * 23}", True),
        ("1" * 320, "1" * 320, True),
        (f"{'1' * 319}2", "1" * 320, False),
        ("1" * 320, "184.5", False),
        ("184.5", "1" * 320, False),
        ("0.30000000000000004", "0.3", True),
        ("0.3000001", "0.3", False),
    ],
)
def test_whole_numbers_are_the_same_exactly_and_others_but_for_the_last_digits(answer, right, same):
    assert passes(by("json-schema"), answer, right) is same


DEEP = f"{'[' * 900}1{']' * 900}"


@pytest.mark.parametrize(
    ("schema", "answer", "right"),
    [
        ({"multipleOf": 0.01}, "1" * 320, ""),
        ({"multipleOf": 0.01}, "1e400", ""),
        ({"type": "array", "items": {"$ref": "#"}}, DEEP, ""),
        (None, DEEP, DEEP.replace("1", "2")),
        (None, f'{{"amount": {"1" * 320}}}', '{"amount": 184.5}'),
        (None, f'{{"amount": {"1" * 5000}}}', '{"amount": 184.5}'),
        (None, '"\\ud800"', '"x"'),
        (None, "\ud800", '"x"'),
    ],
)
def test_an_answer_that_cannot_be_judged_did_not_pass(schema, answer, right):
    check = by("json-schema", json_schema=json.dumps(schema) if schema else "")
    passed = checks.judging(
        overridden(load("task"), check=check), [Item(messages=(), expected=right)], {0: 0}.get
    )
    assert passed(0, answer) is False


@pytest.mark.parametrize("kind", ["exact", "contains", "regex", "choice", "json-schema"])
def test_whatever_a_judge_raises_the_answer_did_not_pass(monkeypatch, kind):
    def broken(answer, expected):
        raise MemoryError

    monkeypatch.setattr(checks, "_JUDGES", {kind: lambda check: broken})
    assert passes(by(kind), "x", "x") is False


def test_nothing_is_fetched_for_a_reference_out_of_the_schema():
    for reference in ("http://127.0.0.1:1/schema.json", "#/$defs/missing", "other.json"):
        asked = by("json-schema", json_schema=json.dumps({"$ref": reference}))
        with pytest.raises(UsageError, match="nothing is fetched"):
            overridden(load("quick"), check=asked)
    inside = {"$defs": {"n": {"type": "number"}}, "$ref": "#/$defs/n"}
    check = overridden(load("quick"), check=by("json-schema", json_schema=json.dumps(inside))).check
    assert passes(check, "7") and not passes(check, '"7"')


@pytest.mark.parametrize(
    ("check", "what"),
    [
        (by("exact"), "nothing says what answer is right"),
        (by("contains"), "nothing says what answer is right"),
        (by("regex"), "takes the pattern"),
        (by("choice", expected="yes"), "two or more"),
        (by("choice", choices=("yes", "no")), "nothing says what answer is right"),
        (by("choice", choices=("yes", "no"), expected="perhaps"), "must be one of the choices"),
        (by("contains", expected="x", choices=("a", "b")), "choices go with"),
        (by("contains", expected="x", json_schema="{}"), "a schema goes with"),
        (by("json-schema"), "takes a schema, or a dataset"),
        (by("json-schema", json_schema='{"type": "thing"}'), "isn't one: see type"),
    ],
)
def test_a_check_that_could_never_tell_is_refused(check, what):
    with pytest.raises(UsageError, match=what):
        overridden(load("quick"), check=check)


def test_a_dataset_has_to_have_the_right_answers():
    def ready(check, *expected):
        checks.ready(check, [Item(messages=(), expected=one) for one in expected], "a.jsonl")

    with pytest.raises(UsageError, match=r"a\.jsonl, row 2 has no expected answer"):
        ready(by("exact"), "x", "")
    with pytest.raises(UsageError, match="row 2 expects an answer that isn't one of"):
        ready(by("choice", choices=("yes", "no")), "yes", "maybe")
    with pytest.raises(UsageError, match="row 1 expects an answer that isn't JSON"):
        ready(by("json-schema"), "{")
    ready(WITH_SCHEMA, "", RIGHT)
    ready(by("regex", expected="x"), "")


def test_an_answer_whose_right_one_is_not_at_hand_is_not_judged():
    task = load("task")
    items = [Item(messages=(), expected=RIGHT)]
    free = overridden(task, check=by("json-schema"))
    passed = checks.judging(free, items, {0: 0, 1: 5}.get)
    assert [passed(index, RIGHT) for index in (0, 1, 2)] == [True, None, None]
    assert checks.judging(free, (), {0: 0}.get)(0, RIGHT) is None
    assert checks.judging(overridden(load("quick"), check=by("contains", expected="A")), (), {}.get)(0, "A")
    assert checks.judging(load("quick"), (), {}.get) is None


def test_the_command_line_and_a_file_say_the_same(tmp_path):
    (tmp_path / "person.json").write_text(json.dumps(PERSON))
    said = {
        "contains:a:b": by("contains", expected="a:b"),
        "exact": by("exact"),
        "choice:yes| no": by("choice", choices=("yes", "no")),
        f"json-schema:{tmp_path / 'person.json'}": by(
            "json-schema", json_schema=json.dumps(PERSON, separators=(",", ":"))
        ),
        'json-schema:{"type": "array"}': by("json-schema", json_schema='{"type":"array"}'),
    }
    for word, check in said.items():
        assert check_of({"check": word}) == check
    for word in ("like:x", "contains:", "regex:(", "json-schema:none.json"):
        with pytest.raises(UsageError, match="--check"):
            check_of({"check": word})
    text = """
        name = "w"
        version = 1
        description = "d"
        prompts.tokens = 10
        outputs.tokens = 10
        load.concurrency = 1
        stop.requests = 1
        check = { kind = "contains", expected = "a:b" }
    """
    assert schema.parsed(text, "w.toml").check == said["contains:a:b"]


def test_jsonschema_is_loaded_only_for_a_check_of_it():
    code = (
        "import sys; from benchsuite.workload.load import load; load('chat'); "
        "print('jsonschema' in sys.modules); load('task'); print('jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
