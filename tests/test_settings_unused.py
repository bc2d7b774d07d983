"""What of benchsuite.toml a command has no use for: it is neither judged nor stored."""

import shlex

import pytest

from benchsuite.cli import main
from benchsuite.errors import UsageError
from benchsuite.settings import NAME
from tests.test_settings import asked, made

NOBODY = 'backend = "sim", url = "http://127.0.0.1:9"'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that is worked in, with whatever file is written there."""
    monkeypatch.delenv("BENCHSUITE_STORE", raising=False)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / NAME).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_options_that_no_target_uses_are_not_judged(project, capsys):
    project(
        f'[defaults]\nconcurrency = "1,2"\n[targets]\na = {{ {NOBODY}, prompt-tokens = [64, 128] }}\n'
        f"b = {{ {NOBODY}, prompt-tokens = [64, 256] }}\nc = {{ {NOBODY}, seed = 7 }}"
    )
    nowhere = ("--attach", "--dry-run", "--sweep", "zip")
    # What is refused then is that nothing answers, and not the lists of neither.
    assert main(["run", "a", "b", *nowhere]) == 2
    assert "side by side" not in capsys.readouterr().err
    assert main(["run", "a", "c", *nowhere]) == 2
    assert "only one, of concurrency" in capsys.readouterr().err


def test_bodies_are_held_against_what_each_target_asks_itself(project, capsys):
    folder = project(
        f'[defaults]\ncache = "warm"\nbodies = "lines.jsonl"\n'
        f'[targets]\na = {{ {NOBODY}, bodies = "lines.jsonl" }}\n'
        f'b = {{ {NOBODY}, bodies = "lines.jsonl", seed = 7 }}\nc = {{ {NOBODY}, seed = 7 }}'
    )
    (folder / "lines.jsonl").write_text('{"prompt": "a"}\n')
    assert main(["run", "a", "b", "--attach", "--dry-run"]) == 2
    assert "leave --cache out" not in capsys.readouterr().err
    assert main(["run", "a", "c", "--attach", "--dry-run"]) == 2
    assert "leave --cache out" in capsys.readouterr().err


DATASET = ("--dataset", "some.jsonl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[defaults]\ntext = "code"', ("sim", "--workload", "task")),
        ('[defaults]\ntext = "code"', ("sim", *DATASET)),
        ('[defaults]\ntext = "code"\nworkload = "task"', ("sim",)),
        ('[targets]\nprod = { backend = "sim", text = "code" }', ("prod", "--workload", "task")),
        ('[targets]\nprod = { backend = "sim", text = "code" }\n[defaults]\nworkload = "task"', ("prod",)),
    ],
)
def test_a_files_text_gives_way_to_a_datasets_and_a_typed_one_is_refused(project, text, words):
    folder = project(text)
    (folder / "some.jsonl").write_text('{"prompt": "a", "output_tokens": 4}\n')
    with_file, targets = asked(*words)
    assert with_file.workload.dataset is not None and "--text" not in with_file.command
    with pytest.raises(UsageError, match="leave text out"):
        asked(*words, "--text", "code")
    (folder / NAME).unlink()
    without, same = asked(*shlex.split(with_file.command)[2:])
    assert (without.workload, same) == (with_file.workload, targets)


def test_a_files_text_is_that_of_prompts_made_up(project):
    folder = project('[defaults]\ntext = "code"')
    (folder / "some.csv").write_text("timestamp,input_length,output_length\n0,9,9\n")
    assert asked("sim")[0].workload.text == "code"
    replayed, _ = asked("sim", "--workload", "task", "--trace", "some.csv")
    assert replayed.workload.text == "code" and "--text code" in replayed.command


def test_two_measured_in_turn_leave_a_files_text_to_the_dataset(project):
    from benchsuite.cli.turns import arms

    project('[defaults]\ntext = "code"\nworkload = "task"')
    context = made("ab", "sim", "vllm")
    assert [arm.workload.text for arm in arms(context, context.params, "ab")] == ["prose", "prose"]
    with pytest.raises(UsageError, match="leave text out"):
        context = made("ab", "sim", "vllm", "--b", "--text code")
        arms(context, context.params, "ab")
