"""`scripts/engines.py`: environments of real engines lie where launching looks, and are made once."""

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchsuite.driver import load
from benchsuite.servers import interpreter
from benchsuite.servers.model import cache_folder
from benchsuite.types import Target

SCRIPT = Path(__file__).parent.parent / "scripts" / "engines.py"
PIN = re.compile(r"[a-z0-9-]+(?:\[[a-z]+\])?==[0-9a-z.]+")


@pytest.fixture(scope="module")
def engines():
    spec = importlib.util.spec_from_file_location("scripts_engines", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(engines, monkeypatch):
    """What would have been run; each command succeeds, except those that hold a word of `refused`."""
    heard, refused = [], []

    def run(command, log_path, fresh):
        heard.append(command)
        log_path.write_text("the log's last words\n")
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "python").touch()
        return not any(word in " ".join(command) for word in refused)

    monkeypatch.setattr(engines, "_run", run)
    return heard, refused


@pytest.mark.parametrize("cache", ["", "/somewhere/else"])
def test_they_lie_in_benchsuites_cache(engines, monkeypatch, cache):
    monkeypatch.setenv("BENCHSUITE_CACHE", cache)
    assert engines.engines_folder() == cache_folder() / "engines"


def test_each_is_found_by_the_driver_of_its_name(engines, commands, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path))
    for recipe in engines.RECIPES:
        assert engines.make(recipe, engines.engines_folder())
        launch = load(recipe.name).launch(Target(backend=recipe.name, url=""))
        assert launch.module.partition(".")[0] == recipe.proof.partition(".")[0]
    assert list(interpreter.engine_environments()) == [recipe.name for recipe in engines.RECIPES]


def test_pins_are_names_and_versions_only(engines):
    for file in sorted(engines.REQUIREMENTS.iterdir()):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert lines, file.name
        assert all(PIN.fullmatch(line) for line in lines), file.name
    used = {file for recipe in engines.RECIPES for file, *_ in recipe.steps}
    assert used == {file.name for file in engines.REQUIREMENTS.iterdir()}


def test_a_complete_one_is_reused_and_another_recipe_makes_it_anew(engines, commands, tmp_path, capsys):
    heard, _ = commands
    recipe = engines.RECIPES[0]
    assert engines.make(recipe, tmp_path)
    made = len(heard)
    assert made == 2 + len(recipe.steps)
    assert engines.make(recipe, tmp_path)
    assert len(heard) == made
    assert engines.make(replace(recipe, steps=(*recipe.steps, ("vllm-itself.txt", "--no-deps"))), tmp_path)
    assert len(heard) == 2 * made + 1
    assert f"ready in {tmp_path / recipe.name}" in capsys.readouterr().out


def test_other_pins_are_another_recipe(engines, tmp_path, monkeypatch):
    recipe = engines.RECIPES[0]
    before = recipe.digest
    (tmp_path / recipe.steps[0][0]).write_text("something==1\n")
    monkeypatch.setattr(engines, "REQUIREMENTS", tmp_path)
    assert recipe.digest != before


def test_one_that_failed_is_not_complete_and_its_log_is_shown(engines, commands, tmp_path, capsys):
    _, refused = commands
    refused.append("pip install")
    recipe = engines.RECIPES[0]
    assert not engines.make(recipe, tmp_path)
    assert not engines.is_complete(recipe, tmp_path / recipe.name)
    said = capsys.readouterr().out
    assert "step 2 failed" in said
    assert "the log's last words" in said
    refused.clear()
    assert engines.make(recipe, tmp_path)


def test_one_whose_python_is_gone_is_made_anew(engines, commands, tmp_path):
    recipe = engines.RECIPES[0]
    assert engines.make(recipe, tmp_path)
    (tmp_path / recipe.name / "bin" / "python").unlink()
    assert not engines.is_complete(recipe, tmp_path / recipe.name)


def test_an_unknown_name_is_told_with_the_known_ones(engines, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["engines.py", "vlm"])
    with pytest.raises(SystemExit) as ended:
        engines.main()
    assert ended.value.code == 2
    assert "no engine 'vlm'; there are: mlx, transformers, vllm" in capsys.readouterr().err
