"""Datasets: what is read of each kind of file, which item is asked when, and what is refused."""

import json
import re
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchsuite.errors import UsageError
from benchsuite.types import Message, Source
from benchsuite.workload import datasets, schema
from benchsuite.workload.datasets.files import hub_rows
from benchsuite.workload.datasets.language import items_of
from benchsuite.workload.load import load, overridden, workload_digest
from benchsuite.workload.material import found_again, opened
from benchsuite.workload.plan import plan
from benchsuite.workload.points import points

DATA = Path(__file__).parent / "data" / "datasets"
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "checks.md"
SECRET = "sentinel-of-somebody"


def read(name, folder=DATA, **about):
    return datasets.read(Source(file=name, **about), folder)


def user(text):
    return Message(role="user", content=text)


def system(text):
    return Message(role="system", content=text)


def test_json_lines_have_their_prompt_in_one_of_the_known_columns():
    source, items = read("questions.jsonl")
    assert [item.messages for item in items] == [
        (user("Which city lies on the Limmat?"),),
        (system("Answer with a number."), user("What is 6 × 7?")),
        (user("Make it a list.\n\na, b"),),
        (user("Say nothing."),),
    ]
    assert [item.expected for item in items] == ["Zürich", "42", '["a","b"]', ""]
    assert [item.output_tokens for item in items] == [12, 4, 8, 1]
    assert [item.prompt_tokens for item in items] == [9, 0, 0, 0]
    assert (source.file, source.number, source.longest_output) == ("questions.jsonl", 4, 12)
    assert re.fullmatch("[0-9a-f]{64}", source.sha256)
    # 19 + 15 bytes of prompt and a few more: never fewer tokens than two bytes make.
    assert source.longest_prompt == (len("Answer with a number.") + len("What is 6 × 7?".encode())) // 2


def test_csv_has_fields_of_several_lines():
    source, items = read("questions.csv")
    assert [item.messages for item in items] == [
        (user("Two lines,\nand a comma"),),
        (system("Be brief."), user("Plain")),
    ]
    assert [item.expected for item in items] == ["yes", "no"]
    assert source.longest_output == 6


def test_parquet_is_read_like_json_lines_and_null_members_of_its_structs_are_none(tmp_path):
    lines = [json.loads(line) for line in (DATA / "messages.jsonl").read_text().splitlines()]
    for line in lines:
        line.setdefault("tools", None)
        # Arrow has one type a column: every content is a list of parts there.
        for message in line["messages"]:
            if isinstance(message["content"], str):
                message["content"] = [{"type": "text", "text": message["content"]}]
    pq.write_table(pa.Table.from_pylist(lines), tmp_path / "some.parquet", row_group_size=1)
    _, items = read("some.parquet", tmp_path)
    assert items == read("messages.jsonl")[1]


def test_sharegpt_asks_the_humans_first_turn_and_takes_its_answer_for_a_hint_of_the_length():
    source, items = read("sharegpt.json")
    assert [item.messages for item in items] == [(user("Name a tree."),), (system("Be kind."), user("Hi."))]
    assert [item.expected for item in items] == ["A birch is a tree.", "Good day to you."]
    assert [item.output_tokens for item in items] == [5, 4]
    assert source.longest_output == 5


def test_sharegpt_as_json_lines_is_the_same(tmp_path):
    rows = json.loads((DATA / "sharegpt.json").read_text())
    (tmp_path / "lines.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert read("lines.jsonl", tmp_path)[1] == read("sharegpt.json")[1]


def test_conversations_without_a_prompt_are_left_out_and_counted(tmp_path):
    said = [{"from": "gpt", "value": "Hello?"}]
    asked = [*said, {"from": "human", "value": "Hi."}, {"from": "bing", "value": "Good day."}]
    rows = [{"id": "a", "conversations": one} for one in ([], said, asked)]
    (tmp_path / "some.json").write_text(json.dumps(rows))
    source, items = read("some.json", tmp_path)
    assert (source.number, source.dropped) == (1, 2)
    assert items_of(source) == "the 1 item of some.json (2 more without a prompt)"
    assert [(item.messages, item.expected) for item in items] == [((user("Hi."),), "Good day.")]
    (tmp_path / "none.json").write_text(json.dumps(rows[:2]))
    with pytest.raises(UsageError, match=r"none\.json has no row with a prompt"):
        read("none.json", tmp_path)


def test_openai_messages_pass_images_tools_and_calls_through():
    _, (image, tool) = read("messages.jsonl")
    assert image.messages[0] == system("You see.")
    assert len(image.messages) == 2
    assert json.loads(image.messages[1].parts) == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    ]
    assert image.expected == "A dot."
    asked, call, answer = tool.messages
    assert asked == user("Weather in Bern?")
    assert json.loads(call.tool_calls)[0]["function"]["arguments"] == '{"city":"Bern"}'
    assert (answer.role, answer.content, answer.tool_call_id) == ("tool", "sunny", "c1")
    assert json.loads(tool.tools)[0]["function"]["name"] == "weather"
    assert tool.expected == ""


def test_a_format_that_is_named_wins_over_other_columns(tmp_path):
    row = {
        "conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Good day."}],
        "messages": [{"role": "user", "content": "Bye."}],
    }
    (tmp_path / "both.jsonl").write_text(json.dumps(row))
    _, (turns,) = read("both.jsonl", tmp_path, format="sharegpt")
    assert (turns.messages, turns.expected) == ((user("Hi."),), "Good day.")
    for named in ("openai", ""):
        _, (found,) = read("both.jsonl", tmp_path, format=named)
        assert found.messages == (user("Bye."),)


def test_a_named_column_holds_the_prompt_and_right_answers_are_kept_only_for_a_check(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "no", "body": "yes", "answer": "x"}\n')
    _, (item,) = read("a.jsonl", tmp_path, column="body")
    assert item.messages == (user("yes"),)
    _, (without,) = datasets.read(Source(file="a.jsonl"), tmp_path, answers=False)
    assert without.expected == ""


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        ("a.jsonl", '{"prompt": "ok"}\n{"prompt": "%s"\n', "a.jsonl, line 2", "isn't JSON"),
        ("a.jsonl", '{"prompt": "ok"}\n["%s"]\n', "a.jsonl, line 2", "isn't a JSON object"),
        ("a.jsonl", '\n{"prompt": "ok"}\n{"words": "%s"}\n', "a.jsonl, line 3", "has no prompt"),
        ("a.jsonl", '{"prompt": ["%s"]}\n', "a.jsonl, line 1", "must be text"),
        ("a.jsonl", '{"prompt": "%s", "output_tokens": 0}\n', "a.jsonl, line 1", "whole number"),
        ("a.jsonl", '{"prompt": "%s", "output_tokens": "few"}\n', "a.jsonl, line 1", "whole number"),
        ("a.jsonl", '{"prompt": "%s", "output_tokens": 2.5}\n', "a.jsonl, line 1", "whole number"),
        ("a.jsonl", '{"prompt": "%s", "system": 3}\n', "a.jsonl, line 1", "system must be text"),
        ("a.jsonl", '{"messages": "%s"}\n', "a.jsonl, line 1", "list of objects"),
        ("a.jsonl", '{"messages": ["%s"]}\n', "a.jsonl, line 1", "list of objects"),
        ("a.jsonl", '{"messages": [{"role": "%s"}]}\n', "a.jsonl, line 1", "role must be"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": {"%s": 1}}]}\n', "line 1", "must be text or"),
        ("a.jsonl", '{"messages": [{"role": "assistant", "content": "%s"}]}\n', "line 1", "has no prompt"),
        ("a.json", '[{"prompt": "ok"}, {"x": "%s"}]', "a.json, row 2", "has no prompt"),
        ("a.json", '[{"prompt": "ok"}, {"%s"]', "a.json", "isn't JSON"),
        ("a.json", '[{"conversations": [{"from": "%s", "value": "x"}]}]', "a.json, row 1", "from (human"),
        ("a.csv", "prompt,expected\nok,1\n%s,1,2\n", "a.csv, line 3", "as many fields"),
        ("a.csv", 'prompt\n"%s\n', "a.csv, after line 1", "isn't CSV"),
        ("a.csv", "words\n%s\n", "a.csv, line 2", "has no prompt"),
        ("a.parquet", "%s", "a.parquet", "Parquet"),
        ("a.jsonl", "\n\n", "a.jsonl", "has no row"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_and_nothing_of_it_is_quoted(tmp_path, name, text, where, what):
    (tmp_path / name).write_text(text.replace("%s", SECRET))
    with pytest.raises(UsageError) as caught:
        read(name, tmp_path)
    said = str(caught.value)
    assert where in said and what in said
    assert SECRET not in said and "\n" not in said
    assert str(tmp_path) not in said


def test_text_that_is_no_utf_8_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    (tmp_path / "a.csv").write_bytes(b"prompt\n\xff\n")
    for name in ("a.jsonl", "a.csv"):
        with pytest.raises(UsageError, match="isn't UTF-8"):
            read(name, tmp_path)


def test_a_missing_file_a_wrong_digest_and_an_unknown_format_are_refused():
    with pytest.raises(UsageError, match=r"can't read none.jsonl: No such file"):
        read("none.jsonl")
    with pytest.raises(UsageError, match="isn't the file that the workload was made with"):
        read("questions.jsonl", sha256="0" * 64)
    with pytest.raises(UsageError, match="no format 'xml'"):
        read("questions.jsonl", format="xml")


def test_hugging_face_says_what_to_install_where_its_package_is_missing():
    pytest.importorskip("msgspec")
    try:
        import datasets as package  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="pip install datasets"):
            next(hub_rows("owner/name", ""))
        with pytest.raises(UsageError, match="pip install datasets"):
            read("owner/name", format="hf")
    else:
        pytest.skip("the package is installed here")


def test_rows_of_the_hugging_face_package_are_read_like_others(monkeypatch):
    """A stand-in for the package: nothing may be downloaded by a test."""
    import sys
    import types

    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return [{"question": "Why?", "answer": "Because.", "output_tokens": 3}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    source, (item,) = read("hf:owner/name", split="test")
    assert asked == [("owner/name", "test")]
    assert (item.messages, item.expected) == ((user("Why?"),), "Because.")
    assert (source.file, source.number, len(source.sha256)) == ("hf:owner/name", 1, 64)


# ---------------------------------------------------------------- which item when


def workload_of(count=10, **changes):
    text = "\n".join(
        [
            'name = "w"\nversion = 1\ndescription = "d"',
            '[prompts]\ndataset = "some.jsonl"',
            "[outputs]\ntokens = 20",
            f"[load]\nconcurrency = {changes.pop('concurrency', 2)}",
            f"[stop]\nrequests = {count}\ntrials = 3",
            *changes.pop("more", ()),
        ]
    )
    assert not changes
    return schema.parsed(text, "w.toml")


def requests(workload, folder, *, trial=1, seed=5, nonce="n", point=0):
    workload, material = opened(workload, folder)
    phase = "measure" if trial else "warm_up"
    return list(
        plan(
            workload,
            points(workload)[point],
            phase=phase,
            trial=trial,
            seed=seed,
            nonce=nonce,
            lengths=None,
            material=material,
        )
    )


@pytest.fixture
def some(tmp_path):
    rows = [{"prompt": f"prompt {number}", "output_tokens": number + 1} for number in range(10)]
    (tmp_path / "some.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return tmp_path


def asked(found):
    return [request.item for request in found]


def test_each_item_is_asked_once_before_any_comes_again_and_a_trial_goes_on_where_the_last_one_ended(some):
    workload = workload_of(count=4)
    trials = [asked(requests(workload, some, trial=trial)) for trial in (1, 2, 3)]
    together = [item for trial in trials for item in trial]
    assert sorted(together[:10]) == list(range(10))
    assert len(set(together[10:])) == 2
    assert together[:10] != list(range(10))


def test_with_as_many_requests_as_items_each_trial_asks_all_of_them_in_an_order_of_its_own(some):
    orders = [asked(requests(workload_of(), some, trial=trial)) for trial in (1, 2, 3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_seed_decides_the_order_and_points_have_the_same(some):
    workload = workload_of(concurrency="[2, 4]")
    first = asked(requests(workload, some))
    assert first == asked(requests(workload, some, nonce="another"))
    assert first == asked(requests(workload, some, point=1))
    assert first != asked(requests(workload, some, seed=6))


def test_prompts_are_word_for_word_unless_a_cold_cache_is_asked_for(some):
    plain = requests(workload_of(), some)
    assert all(one.messages == (user(f"prompt {one.item}"),) for one in plain)
    assert all((one.max_output_tokens, one.min_output_tokens) == (20, 1) for one in plain)
    cold = workload_of(more=['[cache]\nmode = "cold"'])
    one, other = (requests(cold, some, nonce=nonce) for nonce in ("a", "b"))
    salts = set()
    for mine, theirs in zip(one, other, strict=True):
        salt, _, rest = mine.messages[0].content.partition("\n")
        assert rest == f"prompt {mine.item}" == theirs.messages[0].content.partition("\n")[2]
        assert len(salt.split()) == 7 and "a line of seven words" in GUIDE.read_text()
        salts |= {salt, theirs.messages[0].content.partition("\n")[0]}
    assert len(salts) == 20
    assert workload_digest(cold) != workload_digest(workload_of())


def test_a_cold_prompt_that_begins_with_an_image_gets_a_text_before_it(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    row = {"messages": [{"role": "user", "content": [image, image]}], "output_tokens": 1}
    (tmp_path / "some.jsonl").write_text(json.dumps(row))
    (found,) = requests(workload_of(count=1, more=['[cache]\nmode = "cold"']), tmp_path)
    first, *others = json.loads(found.messages[0].parts)
    assert first["type"] == "text" and first["text"].endswith("\n")
    assert others == [image, image]


def test_answers_are_as_long_as_their_row_says_where_the_workload_says_nothing(some):
    workload = msgspec.structs.replace(workload_of(), output_tokens=(0,))
    assert all(one.max_output_tokens == one.item + 1 for one in requests(workload, some))
    (some / "some.jsonl").write_text('{"prompt": "x", "output_tokens": 1}\n{"prompt": "y"}\n')
    with pytest.raises(UsageError, match="--output-tokens N"):
        requests(workload, some)


def test_without_an_end_each_item_is_asked_once(some):
    workload = overridden(load("quick"), dataset=Source(file="some.jsonl"))
    workload, material = opened(workload, some)
    assert (workload.requests, workload.seconds) == (10, None)
    assert len(material.items) == 10


# ---------------------------------------------------------------- what may be said beside


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('[cache]\nmode = "warm"', "share what they share"),
        ("[conversation]\nturns = 2", "leave turns out"),
    ],
)
def test_what_makes_no_sense_beside_a_dataset_is_refused(more, what):
    with pytest.raises(UsageError, match=what):
        workload_of(more=[more])


def test_prompt_tokens_beside_a_dataset_are_refused():
    with pytest.raises(UsageError, match="leave the prompt tokens out"):
        overridden(load("quick"), dataset=Source(file="some.jsonl"), prompt_tokens=100)
    with pytest.raises(UsageError, match="one number"):
        overridden(
            load("task"), output_tokens=[schema.readers.spread({"kind": "uniform", "low": 1, "high": 9})]
        )


def test_a_kind_of_text_beside_a_dataset_is_refused():
    with pytest.raises(UsageError, match="leave text out"):
        overridden(load("quick"), dataset=Source(file="some.jsonl"), text="code")
    with pytest.raises(UsageError, match="leave text out"):
        overridden(load("task"), text="code")
    # A trace has lengths and no text: what it is made of may be said.
    assert overridden(load("task"), trace=Source(file="some.csv"), text="code").text == "code"


def test_the_task_that_ships_is_found_wherever_one_is_and_its_digest_is_that_of_its_content(
    tmp_path, monkeypatch
):
    from benchsuite.workload.load import folder_of

    monkeypatch.chdir(tmp_path)
    asked = load("task")
    workload, material = opened(asked, folder_of("task"))
    assert workload_digest(workload) == workload_digest(asked)
    assert len(material.items) == workload.requests == 50
    assert found_again(workload).items == material.items
    assert {one.messages[0].role for one in material.items} == {"system"}
    assert "/" not in workload.dataset.file


def test_a_dataset_is_found_again_only_if_it_is_the_same_file(some, tmp_path_factory):
    workload, material = opened(workload_of(), some)
    assert found_again(workload).items == ()
    assert found_again(workload, str(some / "some.jsonl")).items == material.items
    other = tmp_path_factory.mktemp("other") / "some.jsonl"
    other.write_text('{"prompt": "another"}')
    with pytest.raises(UsageError, match="isn't the file"):
        found_again(workload, str(other))
    renamed = msgspec.structs.replace(
        workload, dataset=msgspec.structs.replace(workload.dataset, file="task@1.jsonl")
    )
    assert found_again(renamed).items == ()
