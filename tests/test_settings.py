"""benchsuite.toml: where it is found, what may stand in it, and what it does to a command."""

import json
import re
import shlex
import string
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from benchsuite.cli import main
from benchsuite.cli.root import root
from benchsuite.cli.run_asked import options_of
from benchsuite.cli.run_options import TYPED, typed
from benchsuite.cli.settings import _known, given_for, in_force
from benchsuite.cli.targets import named_targets
from benchsuite.driver import backends
from benchsuite.errors import UsageError
from benchsuite.settings import NAME, Settings, find, parsed, texts

HERE = Path("/project") / NAME
GUIDE = Path(__file__).parent.parent / "docs" / "guide" / "settings.md"
OPTIONS = frozenset(
    {"backend", "url", "model", "gpu", "trials", "label", "engine", "api-key-env", "workload"}
)


def read(text, options=OPTIONS, taken=("sim", "vllm")):
    return parsed(text, HERE, options, taken)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that is worked in, with whatever file is written there."""
    monkeypatch.delenv("BENCHSUITE_STORE", raising=False)
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".git").mkdir()
    monkeypatch.chdir(folder)

    def write(text):
        (folder / NAME).write_text(text, encoding="utf-8")
        return folder

    return write


def made(name, *words):
    """A command's context as it is when the command begins."""
    command = root.get_command(click.Context(root), name)
    return command.make_context(name, list(words), parent=click.Context(root))


def asked(*words):
    """The options that `run` asks of the library, and the command that is stored."""
    context = made("run", *words)
    options = options_of(context.params, typed("run", context.meta[TYPED]))
    return options, named_targets(context.params)


# ---------------------------------------------------------------- finding


def test_the_nearest_file_upwards_is_found_and_a_repository_ends_the_search(tmp_path):
    deep = tmp_path / "repo" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / NAME).touch()
    assert find(deep) == tmp_path / NAME
    (tmp_path / "repo" / ".git").mkdir()
    assert find(deep) is None
    (tmp_path / "repo" / NAME).touch()
    assert find(deep) == tmp_path / "repo" / NAME
    (deep / NAME).touch()
    assert find(deep) == deep / NAME


# ---------------------------------------------------------------- reading


def test_the_example_of_the_guide_is_understood(project):
    (text,) = [
        text for text in re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.S) if "[targets]" in text
    ]
    project(text)
    found = in_force(click.Context(root))
    assert found.targets and found.defaults and found.limits and found.store
    for name in found.targets:
        made("run", name)


def test_a_file_says_targets_defaults_limits_and_a_store():
    found = read(
        """
        store = "results"
        [targets]
        prod = "vllm:llama@http://10.0.0.5:8000"
        tuned = { backend = "vllm", url = "http://h:1", model = "m", engine = { tp = 2 }, gpu = "H100" }
        [defaults]
        trials = 5
        api_key_env = "KEY"
        [limits]
        tolerance = "2%"
        ttft_p95 = "<800ms"
        cost_per_1k = "<2.50"
        """
    )
    assert found.store == Path("/project/results")
    assert found.targets["prod"].word == "vllm:llama@http://10.0.0.5:8000"
    assert found.targets["tuned"].word == "vllm:m@http://h:1"
    assert found.targets["tuned"].options == {"engine": {"tp": 2}, "gpu": "H100"}
    assert found.defaults == {"trials": 5, "api-key-env": "KEY"}
    assert found.limits == {"tolerance": "2%", "ttft_p95": "<800ms", "cost_per_1k": "<2.50"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\ntrails = 3", r"\[defaults\]: there is no 'trails'; did you mean trials\?"),
        ("[default]\ntrials = 3", r"there is no 'default'; did you mean defaults\?"),
        ('[defaults]\napi-key = "sk-1"', "api-key-env names the variable"),
        ('[defaults]\nheader = "K: V"', "header-env"),
        ('[defaults]\ntoken-command = "print"', "runs no command"),
        ("[defaults]\nyes = true", "type it"),
        ('[defaults]\nlimit = "5%"', r"stands in \[limits\]"),
        ('[defaults]\nurl = "http://me:secret@host"', "holds no password"),
        ('[targets]\na = "vllm@http://me:secret@host"', "holds no password"),
        ('[targets]\nvllm = "vllm"', "is a backend's name"),
        ('[targets]\n"a b" = "vllm"', "can't be typed"),
        ('[targets]\na = { url = "http://h" }', "needs a backend"),
        ('[targets]\na = { backend = "vllm", url = "h:1" }', "begins with http"),
        (
            '[targets]\na = { backend = "vllm", gqu = "H100" }',
            r"\[targets\] a: there is no 'gqu'; did you mean gpu",
        ),
        ("[targets]\na = 3", "is a table"),
        ("[defaults]\ntrials = 2026-01-01", "takes a text, a number"),
        ("[limits]\nlimit = true", "is a text"),
        ("store = 3", "store is a path"),
        ("trials =", "is no TOML"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file_and_holds_no_secret(text, said):
    with pytest.raises(UsageError, match=said) as error:
        read(text)
    assert str(HERE) in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value).replace("a secret", "")
    assert "sk-1" not in str(error.value)


VALUES = st.recursive(
    st.text(max_size=8) | st.integers() | st.floats(allow_nan=False) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def toml(value):
    """A value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(sign):08X}" for sign in value) + '"'
    return repr(value)


@cases(
    table=st.sampled_from(["targets", "defaults", "limits"]),
    key=st.sampled_from(sorted(OPTIONS)),
    value=VALUES,
)
def test_odd_values_are_read_or_refused_in_a_line(table, key, value):
    try:
        found = read(f"[{table}]\n{key} = {toml(value)}")
    except UsageError as error:
        assert "\n" not in str(error).replace(repr(value), "")
    else:
        assert isinstance(found, Settings)
        for option in found.defaults.values():
            assert all(isinstance(text, str) for text in texts(option))


@cases(st.text(max_size=60))
def test_any_text_is_settings_or_a_usage_error(text):
    try:
        read(text)
    except UsageError as error:
        assert str(HERE) in str(error)


def test_every_option_that_may_stand_in_a_file_is_one_that_can_be_typed():
    known = _known(click.Context(root))
    assert {"workload", "trials", "gpu", "label", "engine", "pairs", "fail-on", "slo", "share"} <= known
    assert not known & {"yes", "store", "resume", "json", "dry-run", "nonce", "burstiness", "output"}


# ---------------------------------------------------------------- in a command


def test_defaults_hold_where_nothing_is_typed_and_what_is_typed_wins(project):
    project('[defaults]\ntrials = 5\nconcurrency = [1, 8]\ngpu = "H100"\nkeep-text = true')
    options, _ = asked("sim")
    assert (options.workload.trials, options.workload.concurrency) == (5, (1, 8))
    assert (options.gpu, options.keep_text) == ("H100", True)
    options, _ = asked("sim", "--trials", "2", "--seed", "0")
    assert (options.workload.trials, options.workload.concurrency) == (2, (1, 8))


def test_a_default_is_no_typed_word(project):
    project("[defaults]\ntrials = 5")
    assert made("run").meta[TYPED] == ()


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (("--rate", "4"), "concurrency"),
        (("--gpu", "L4"), "gpu_price"),
        (("--token-price", "1,2"), "gpu"),
        (("--url", "http://h:1"), "backend"),
        (("sim",), "model"),
    ],
)
def test_what_is_typed_shuts_out_other_answers_to_the_same_question(project, words, without):
    project('[defaults]\nconcurrency = 8\ngpu = "H100"\ngpu-price = 3.0\nbackend = "vllm"\nmodel = "m"')
    assert made("run").params[without] is not None
    assert made("run", *words).params[without] is None


def test_labels_and_engine_settings_of_a_file_stay_beside_those_typed(project):
    project('[defaults]\nlabel = { team = "a", site = "b" }')
    options, _ = asked("sim", "--label", "team=mine")
    assert options.labels == {"team": "mine", "site": "b"}


def test_a_targets_labels_win_over_the_defaults(project):
    project(
        '[targets]\nprod = { backend = "sim", label = { team = "its" } }\n'
        '[defaults]\nlabel = { team = "a", site = "b" }'
    )
    options, _ = asked("prod")
    assert options.labels == {"team": "its", "site": "b"}


def test_a_name_stands_for_its_target_with_its_options(project):
    project(
        '[targets]\nprod = { backend = "vllm", url = "http://h:1", model = "m", gpu = "H100", trials = 7 }\n'
        "[defaults]\ntrials = 5\nrequests = 9"
    )
    options, targets = asked("prod")
    assert targets == [("vllm", "http://h:1", "m")]
    assert (options.gpu, options.workload.trials, options.workload.requests) == ("H100", 7, 9)
    assert asked("prod", "--trials", "2")[0].workload.trials == 2
    assert asked("sim")[0].workload.trials == 5


def test_several_names_have_options_of_their_own(project):
    project('[targets]\na = { backend = "sim", gpu = "L4" }\nb = { backend = "sim", seed = 7 }')
    context = made("run", "a", "b")
    first, second = (given_for(context.params, word) for word in ("a", "b"))
    assert (first["gpu"], first["seed"]) == ("L4", None)
    assert (second["gpu"], second["seed"]) == (None, 7)


def test_a_gates_base_has_none_of_its_targets_options(project):
    project('[targets]\nold = "sim"\nnew = { backend = "sim", gpu = "L4" }')
    from benchsuite.cli.turns import arms

    context = made("gate", "new", "--against", "old")
    base, other = arms(context, context.params, "gate", against="old")
    assert (base.gpu, other.gpu) == ("", "L4")


def test_an_unknown_name_hints_at_the_nearest(project, capsys):
    project('[targets]\nprod = "sim"')
    assert main(["run", "prdo", "--dry-run"]) == 2
    assert "did you mean prod?" in capsys.readouterr().err


def test_the_stored_command_does_the_same_without_the_file(project):
    project(
        '[targets]\nprod = { backend = "sim", seed = 7 }\n'
        '[defaults]\nworkload = "chat"\nconcurrency = [1, 2]\nlabel = { team = "a b", prod = "prod" }'
    )
    with_file, targets = asked("prod", "--nonce", "prod", "--slo", "ttft=1s")
    (Path.cwd() / NAME).unlink()
    command, *words = shlex.split(with_file.command)
    assert (command, words[0]) == ("benchsuite", "run")
    assert words.count("prod") == 1 and words[words.index("prod") - 1] == "--nonce"
    without, same = asked(*words[1:])
    assert same == targets
    assert msgspec.structs.replace(without, command="") == msgspec.structs.replace(with_file, command="")


def test_a_file_of_the_file_counts_from_its_folder(project, monkeypatch):
    folder = project('[defaults]\nworkload = "mine.toml"')
    (folder / "mine.toml").write_text((Path(__file__).parent / "none").name, encoding="utf-8")
    monkeypatch.chdir(folder / "deep" / "er")
    assert made("run").params["workload"] == "../../mine.toml"


def test_capacity_takes_what_it_has_a_use_for(project):
    project("[defaults]\ntrials = 5\nconcurrency = 8\nworkload = 'chat'\nshare = '95%'")
    found = made("capacity").params
    assert (found["trials"], found["concurrency"], found["workload"], found["share"]) == (
        None,
        None,
        "chat",
        0.95,
    )


def test_a_bad_value_names_the_file_and_the_option(project, capsys):
    folder = project('[defaults]\ntrials = "many"')
    assert main(["run", "sim", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert str(folder / NAME) in error and "trials" in error


# ---------------------------------------------------------------- the store, doctor, start-up


def test_the_store_is_typed_or_in_the_environment_or_in_the_file(project, monkeypatch):
    folder = project('store = "kept"')
    monkeypatch.chdir(folder / "deep" / "er")
    for name in ("results", "show", "run", "compare", "trend", "doctor"):
        assert made(name).params["store_path"] == str(folder / "kept"), name
    assert made("results", "--store", "x").params["store_path"] == "x"
    monkeypatch.setenv("BENCHSUITE_STORE", "y")
    assert made("results").params["store_path"] is None


def test_results_are_looked_for_in_the_files_store(project, capsys):
    folder = project('store = "kept"')
    assert main(["results"]) == 0
    assert str(folder / "kept") in capsys.readouterr().out.replace("~", str(Path.home()))


def test_doctor_says_which_file_is_in_force(project, monkeypatch):
    from benchsuite.cli.doctor import _settings

    folder = project('[targets]\nprod = "sim"\n[limits]\nlimit = "5%"')
    with click.Context(root):
        (finding,) = _settings()
    assert finding.found == f"{folder / NAME}: 1 target, 1 limit".replace(str(Path.home()) + "/", "~/")


def test_help_reads_no_file_and_no_toml(project):
    project("this is no toml")
    for words in (["--help"], ["run", "--help"], ["results", "--help"]):
        code = f"import sys; from benchsuite.cli import main; code = main({words!r}); "
        code += "print('tomllib' in sys.modules, 'benchsuite.settings' in sys.modules, code, file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.split() == ["False", "False", "0"], words


def test_the_names_of_backends_are_taken(project, capsys):
    name = next(iter(backends()))
    project(f'[targets]\n{name} = "sim"')
    assert main(["results", "--json"]) == 2
    assert json.dumps(name).strip('"') in capsys.readouterr().err
