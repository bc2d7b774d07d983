"""Hosted backends at the command line: keys, lists that are too long for a question, and where they are."""

import shlex

import pytest

from benchsuite.asked import Options
from benchsuite.cli import main
from benchsuite.cli.run import MOST_CHOICES
from benchsuite.errors import ChoiceNeeded

QUICK = "--requests 1 --trials 1 --concurrency 1"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The library, which notes what it was asked for and raises what it is told to."""
    asked = []

    def run(options: Options, *_, **__):
        asked.append(options)
        raise library.raises

    library = run
    library.raises = KeyboardInterrupt
    library.asked = asked
    monkeypatch.setenv("BENCHSUITE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("benchsuite.run.run", run)
    monkeypatch.setattr("benchsuite.cli.run.may_ask", lambda: True)
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    return library


def run(words):
    return main(["run", *shlex.split(words)])


def test_without_a_key_the_library_is_not_even_asked(library, capsys):
    assert run(f"--backend groq {QUICK}") == 2
    assert library.asked == []
    assert "--backend groq needs a key: set GROQ_API_KEY (https://" in capsys.readouterr().err


def test_a_token_command_arrives_and_is_hidden_where_it_is_kept(library):
    run(f"--backend groq --token-command 'print-token --secret canary' --model m {QUICK}")
    (options,) = library.asked
    assert options.token_command == "print-token --secret canary"
    assert "canary" not in options.command and "--token-command" in options.command


@pytest.mark.parametrize(("count", "questions"), [(MOST_CHOICES, 1), (MOST_CHOICES + 1, 0)])
def test_a_long_list_of_models_is_no_question(library, monkeypatch, capsys, count, questions):
    put = []
    monkeypatch.setattr("benchsuite.cli.run.chosen", lambda needed: put.append(needed) or "m-1")
    library.raises = ChoiceNeeded("which", "--model", tuple(f"m-{i}" for i in range(count)))
    assert run(f"--backend groq --token-command x {QUICK}") == 2
    assert len(put) == questions
    assert len(capsys.readouterr().err) < 400


def test_a_vendors_host_is_public_wherever_its_options_put_it(library, capsys, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "x")
    assert run("--backend bedrock --option region=eu-west-1 --model m --concurrency 100") == 2
    assert "bedrock-runtime.eu-west-1.amazonaws.com is a public host" in capsys.readouterr().err
