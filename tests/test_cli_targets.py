"""Which targets a command line names, what is asked in a terminal, and how several runs end."""

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec
import pytest

from benchsuite.cli import main
from benchsuite.cli.run_options import typed
from benchsuite.cli.targets import named_targets, parse_target, shown_target
from benchsuite.discovery import Found
from benchsuite.errors import ChoiceNeeded, InvalidMeasurement, TargetError, UsageError
from benchsuite.store.runs import Store, new_run_id
from benchsuite.types import Identity, Run, Stage

CHAT = Path(__file__).parent / "report" / "chat.json"
NOTHING = {"target": (), "backend": None, "url": None, "model": None}
QWEN = Identity(server="MLX", version="0.30", models=("/srv/ann/qwen",))
MLX = Found(backend="mlx", title="MLX", url="http://localhost:8080", identity=QWEN)
TWO = Identity(server="vLLM", models=("a", "b"))
VLLM = Found(backend="vllm", title="vLLM", url="http://localhost:8000", identity=TWO)


class Library:
    """Stands for `run.run`: stores a run for each target, or ends as `ends` says for its backend."""

    def __init__(self):
        self.asked, self.ends = [], {}

    def __call__(self, options, store, *, tell, interrupt):
        self.asked.append(options)
        tell(Stage(name="model", text="looking"))
        end = self.ends.get(options.backend, {})
        if callable(end):
            end = end(options)
        if isinstance(end, BaseException):
            raise end
        run = msgspec.json.decode(CHAT.read_bytes(), type=Run)
        manifest = msgspec.structs.replace(
            run.manifest,
            run_id=new_run_id(),
            backend=options.backend,
            model=options.model or "m",
            identity=Identity(server=options.backend),
        )
        run = msgspec.structs.replace(run, manifest=manifest, **end)
        store.create(manifest).finish(run)
        return run

    @property
    def targets(self):
        return [(options.backend, options.url, options.model) for options in self.asked]


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    found = Library()
    monkeypatch.setattr("benchsuite.run.run", found)
    monkeypatch.setattr("benchsuite.discovery.discover", tuple)
    return found


@pytest.fixture
def at_terminal(monkeypatch):
    """`at_terminal(*answers)`: stdin and stderr are a terminal, whose user says this."""

    def sit(*answers):
        left = list(answers)
        monkeypatch.setattr("benchsuite.cli.targets.may_ask", lambda: True)
        monkeypatch.setattr("benchsuite.cli.run.may_ask", lambda: True)
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: left.pop(0))
        return left

    return sit


def run(words):
    return main(["run", *shlex.split(words)])


# ---------------------------------------------------------------- naming


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("vllm", ("vllm", "", "")),
        ("vllm:org/model", ("vllm", "", "org/model")),
        ("local:shape:5m", ("local", "", "shape:5m")),
        ("vllm@http://h:1", ("vllm", "http://h:1", "")),
        ("openai:gpt@https://h/v1", ("openai", "https://h/v1", "gpt")),
        ("openai:user@model@https://h/v1", ("openai", "https://h/v1", "user@model")),
    ],
)
def test_a_word_names_a_target(word, target):
    assert parse_target(word) == target


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("vlm:m", "did you mean vllm?"),
        ("nonsense", "there are: anthropic"),
        ("http://ann:sk-canary@h:1", "such as openai@URL"),
        ("openai@http://h:1/v1?key=sk-canary", "--header-env"),
        ("openai@http://ann:sk-canary@h:99999", "can't be read"),
    ],
)
def test_a_word_that_names_none_is_told_in_a_line_without_what_it_may_hold(library, capsys, word, hint):
    assert main(["run", word]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and hint in told[0] and "sk-canary" not in told[0]
    assert library.asked == []


@pytest.mark.parametrize(
    ("given", "targets"),
    [
        ({}, [("local", "", "")]),
        ({"url": "http://h"}, [("openai", "http://h", "")]),
        ({"model": "a,b"}, [("local", "", "a"), ("local", "", "b")]),
        ({"backend": "vllm, mlx"}, [("vllm", "", ""), ("mlx", "", "")]),
        (
            {"backend": "vllm,mlx", "model": "a,b"},
            [("vllm", "", "a"), ("vllm", "", "b"), ("mlx", "", "a"), ("mlx", "", "b")],
        ),
        ({"backend": "vllm", "url": "http://h", "model": "a"}, [("vllm", "http://h", "a")]),
        (
            {"target": ("vllm:x", "mlx"), "model": "a,b"},
            [("vllm", "", "x"), ("mlx", "", "a"), ("mlx", "", "b")],
        ),
        # Again, to see how far the server drifts meanwhile.
        ({"backend": "vllm", "model": "a,b,a"}, [("vllm", "", "a"), ("vllm", "", "b"), ("vllm", "", "a")]),
    ],
)
def test_options_and_words_name_targets_in_order(given, targets):
    assert named_targets(NOTHING | given) == targets


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"target": ("vllm",), "backend": "mlx"}, "not both"),
        ({"target": ("vllm",), "url": "http://h"}, "not both"),
        ({"backend": "vllm,mlx", "url": "http://h"}, "BACKEND@URL BACKEND@URL"),
    ],
)
def test_ambiguous_targets_are_refused(given, hint):
    with pytest.raises(UsageError, match=hint):
        named_targets(NOTHING | given)


def test_a_target_is_shown_without_secrets_and_folders():
    named = ("openai", "https://ann:sk@api.example.com/v1?key=sk", "/srv/ann/m")
    assert shown_target(named) == "openai:m@https://api.example.com/v1"
    assert shown_target(("vllm", "", "org/m")) == "vllm:org/m"


def test_the_kept_command_holds_no_key_of_an_engine_or_an_address(library, capsys):
    words = ["--engine-args", "--api-key sk-canary sk-canary2 --seed 7 --hf-token=sk-canary", "vllm"]
    assert typed("run", words) == (
        "benchsuite run --engine-args '--api-key *** *** --seed 7 --hf-token=***' vllm"
    )
    assert "canary" not in typed("run", ["--engine-args=--api-key 'sk-canary"])
    assert "canary" not in typed("run", ["openai@http://ann:sk-canary@h:99999/v1?k=sk-canary"])
    assert run('--engine-args "--api-key \'sk-canary" vllm') == 2
    told = capsys.readouterr().err
    assert "a quotation mark isn't closed" in told and "canary" not in told


# ---------------------------------------------------------------- engines


def test_settings_are_checked_for_every_target_before_any_is_measured(library, capsys):
    assert run("--engine tp=2,max-sqs=8 vllm") == 2
    assert (
        "--backend vllm: this engine has no setting 'max-sqs'; did you mean max-seqs?"
        in capsys.readouterr().err
    )
    assert run("--engine tp=2 vllm local") == 2
    assert "--backend local: this engine has no setting 'tp'" in capsys.readouterr().err
    assert run("--engine-args '--port 1' vllm") == 2
    assert "benchsuite chooses --port itself" in capsys.readouterr().err
    assert run("--launch --attach vllm") == 2
    assert "give one of them" in capsys.readouterr().err
    assert library.asked == []


def test_what_sets_up_an_engine_arrives(library):
    words = (
        "--launch --engine tp=2,ep=on --engine dtype=half --engine-args '--seed 7' --engine-python /p vllm"
    )
    assert run(words) == 0
    options = library.asked[0]
    assert options.engine == {"tp": "2", "ep": "on", "dtype": "half"}
    assert (options.engine_args, options.engine_python) == (("--seed", "7"), "/p")
    assert options.start == "launch"
    assert run("--attach vllm") == 0 and library.asked[1].start == "attach"
    assert run("vllm") == 0 and library.asked[2].start == "auto"


# ---------------------------------------------------------------- alone


def test_alone_without_a_terminal_what_answers_is_hinted_at_and_not_loaded(library, monkeypatch, capsys):
    monkeypatch.setattr("benchsuite.discovery.discover", lambda: (MLX, VLLM))
    assert run("") == 0
    assert library.targets == [("local", "", "")]
    hint = " MLX 0.30 answers at http://localhost:8080 with qwen loaded: "
    assert capsys.readouterr().out.splitlines()[-1] == f"{hint}benchsuite run --backend mlx measures it"


@pytest.mark.parametrize(
    ("answers", "target"),
    [
        (["y"], ("mlx", MLX.url, "")),
        (["n", ""], ("vllm", VLLM.url, "")),
        (["n", "n"], ("local", "", "")),
    ],
)
def test_alone_in_a_terminal_what_answers_is_offered(
    library, monkeypatch, capsys, at_terminal, answers, target
):
    monkeypatch.setattr("benchsuite.discovery.discover", lambda: (MLX, VLLM))
    left = at_terminal(*answers)
    assert run("") == 0
    assert library.targets == [target] and left == []


@pytest.mark.parametrize(
    "words", ["vllm", "--backend vllm", "--url http://localhost:1", "--model x", "--launch"]
)
def test_nothing_is_looked_for_where_it_is_said_what_to_measure(library, monkeypatch, words):
    monkeypatch.setattr("benchsuite.discovery.discover", lambda: 1 / 0)
    assert run(words) == 0 and len(library.asked) == 1


# ---------------------------------------------------------------- choosing


def choose(options):
    choices = ("one", "two", "three"), ("1 GB", "", "")
    needed = ChoiceNeeded("which model should vLLM serve?", "--model", *choices)
    return {} if options.model else needed


def test_a_model_to_choose_is_a_numbered_list_in_a_terminal(library, capsys, at_terminal):
    library.ends = {"vllm": choose}
    at_terminal("2")
    assert run("vllm") == 0
    assert [options.model for options in library.asked] == ["", "two"]
    assert "Which model should vLLM serve?\n  1  one  (1 GB)\n  2  two\n" in capsys.readouterr().err


def test_without_a_terminal_the_list_is_an_error(library, capsys):
    library.ends = {"vllm": choose}
    assert run("vllm") == 2
    assert "choose with --model: one, two, three" in capsys.readouterr().err


# ---------------------------------------------------------------- several


def test_several_targets_make_one_table(library, capsys, tmp_path):
    assert run("vllm mlx:org/m") == 0
    out = capsys.readouterr().out
    assert out.count("verdict") == 1 and "vllm" in out and "mlx" in out
    ids = [run.run_id for run in Store(tmp_path / "store").runs()]
    assert all(run_id[:10] in out for run_id in ids)


def test_one_that_fails_is_told_and_the_others_go_on(library, capsys):
    library.ends = {"mlx": TargetError("nothing answers"), "sim": InvalidMeasurement("too noisy")}
    assert run("mlx@http://ann:sk-canary@localhost:1 vllm") == 2
    told = capsys.readouterr()
    assert "mlx@http://localhost:1: nothing answers\n" in told.err and "sk-canary" not in told.err
    assert "verdict" in told.out
    assert [options.backend for options in library.asked] == ["mlx", "vllm"]
    assert run("vllm sim") == 3
    capsys.readouterr()
    library.ends["vllm"] = {"verdict": "invalid"}
    assert run("vllm mlx") == 2, "the failure goes before the verdict"
    assert run("vllm local") == 3


def test_where_all_fail_nothing_is_shown_but_why(library, capsys):
    library.ends = {"mlx": TargetError("nobody"), "vllm": TargetError("no weights")}
    assert run("mlx vllm") == 2
    told = capsys.readouterr()
    assert told.out == "" and "mlx: nobody" in told.err and "vllm: no weights" in told.err


def test_an_interrupted_run_ends_them_all(library, capsys):
    library.ends = {"mlx": {"status": "interrupted", "summaries": ()}}
    assert run("vllm mlx sim") == 130
    assert [options.backend for options in library.asked] == ["vllm", "mlx"]
    told = capsys.readouterr()
    assert "is kept" in told.err and told.out.count("verdict") == 1
    assert "show 01" in " ".join(told.out.split()), "`latest` would be another run"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_while_the_next_one_starts_keeps_what_is_done(library, capsys, interrupt):
    library.ends = {"mlx": interrupt}
    assert run("vllm mlx sim") == 130
    told = capsys.readouterr()
    assert "interrupted before the next target was measured" in told.err
    assert "first token after" in told.out
    assert [options.backend for options in library.asked] == ["vllm", "mlx"]
    library.ends = {"vllm": KeyboardInterrupt()}
    assert run("vllm mlx") == 130, "nothing is done yet"
    assert capsys.readouterr().out == ""


def test_json_of_several_is_a_line_for_each(library, capsys):
    assert run("vllm mlx --json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [msgspec.json.decode(line)["manifest"]["backend"] for line in lines] == ["vllm", "mlx"]


# ---------------------------------------------------------------- a terminal


class Terminal:
    """A command in a pseudo terminal: what it shows, and what is typed."""

    def __init__(self, words, env):
        self.fd, child = pty.openpty()
        command = [sys.executable, "-m", "benchsuite", *words]
        self.process = subprocess.Popen(
            command, stdin=child, stdout=subprocess.PIPE, stderr=child, env=env, start_new_session=True
        )
        os.close(child)
        self.shown = ""

    def until(self, text, within_s=60.0):
        end = time.monotonic() + within_s
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.fd], [], [], 0.1)[0]:
                self.shown += os.read(self.fd, 4096).decode(errors="replace")

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)
        os.close(self.fd)


def test_a_dialogue_in_a_real_terminal(tmp_path):
    for name in ("org--one", "org--two"):
        snapshot = tmp_path / "hub" / f"models--{name}" / "snapshots" / "0"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors").write_bytes(b"x")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/modules" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "modules" / "vllm").mkdir(parents=True)
    (tmp_path / "modules" / "vllm" / "__init__.py").touch()
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "BENCHSUITE_STORE": str(tmp_path / "store")}
    terminal = Terminal(["run", "--backend", "vllm", "--launch", "--engine-python", str(python)], env)
    try:
        terminal.until("Which model should vLLM serve?")
        terminal.until("Number")
        assert "1  org/" in terminal.shown and "2  org/" in terminal.shown
        terminal.type("9\n")
        terminal.until("9 is not in the range")
        terminal.type("2\n")
        # This vLLM is an empty package: it ends at once, and says so.
        terminal.until("the engine ended with code 1")
        terminal.until("No module named")
        assert terminal.process.wait(timeout=30) == 2
    finally:
        terminal.close()
