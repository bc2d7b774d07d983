"""`scripts/sdks.py`: environments of official SDKs lie beside the engines', pinned to the last package."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from benchsuite.servers.model import cache_folder

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"([a-z0-9-]+)==[0-9a-z.]+")


@pytest.fixture
def sdks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delitem(sys.modules, "engines", raising=False)
    monkeypatch.delitem(sys.modules, "sdks", raising=False)
    return importlib.import_module("sdks")


def pinned(sdks, recipe):
    found = {}
    for file, *_ in recipe.steps:
        for line in (recipe.requirements / file).read_text().splitlines():
            found[PIN.fullmatch(line)[1]] = line.partition("==")[2]
    return found


@pytest.mark.parametrize("cache", ["", "/somewhere/else"])
def test_they_lie_beside_the_engines(sdks, monkeypatch, cache):
    monkeypatch.setenv("BENCHSUITE_CACHE", cache)
    assert sdks.sdks_folder() == cache_folder() / "sdks"


def test_each_sdk_is_pinned_in_the_environment_that_tests_ask(sdks):
    hosted, native = sdks.RECIPES
    assert (hosted.name, native.name) == ("hosted", "text-generation")
    assert pinned(sdks, hosted).keys() >= {"anthropic", "google-genai", "huggingface-hub", "ollama", "openai"}
    assert "text-generation" in pinned(sdks, native)
    # Why there are two: no version of the hub's client suits both.
    assert pinned(sdks, native)["huggingface-hub"].startswith("0.")
    assert not pinned(sdks, hosted)["huggingface-hub"].startswith("0.")


def test_no_file_of_requirements_is_left_over(sdks):
    used = {file for recipe in sdks.RECIPES for file, *_ in recipe.steps}
    assert used == {file.name for file in sdks.REQUIREMENTS.iterdir()}


def test_only_a_complete_environment_is_used(sdks, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path))
    assert sdks.python_of("hosted") is None
    folder = tmp_path / "sdks" / "hosted"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    assert sdks.python_of("hosted") is None
    (folder / "benchsuite-engine.txt").write_text(sdks.RECIPES[0].digest)
    assert sdks.python_of("hosted") == folder / "bin" / "python"


def test_other_pins_are_another_recipe(sdks, tmp_path):
    hosted = sdks.RECIPES[0]
    (tmp_path / "hosted.txt").write_text("openai==1\n")
    other = type(hosted)(**{**vars(hosted), "folder": tmp_path})
    assert other.digest != hosted.digest
