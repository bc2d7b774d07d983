"""Where an engine's Python is found: every way that commands are installed, and none that only looks so."""

import os
import sys
from pathlib import Path

import pytest

from benchsuite.errors import UsageError
from benchsuite.servers.interpreter import COMPLETE, engine_environments, interpreter

MODULE = "engine_for_this_test"


class Place:
    """Makes Pythons that have the module, commands that lie on the PATH, and environments."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "path"
        self.bin.mkdir()

    def python(self, name, has_module=True):
        """An interpreter: this one, with the module's folder in its path or without it."""
        modules = self.folder / "modules"
        (modules / MODULE).mkdir(parents=True, exist_ok=True)
        (modules / MODULE / "__init__.py").touch()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        where = modules if has_module else ""
        path.write_text(f'#!/bin/sh\nPYTHONPATH="{where}" exec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    def command(self, text, name="engine-command", folder=None):
        path = (folder or self.bin) / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def environment(self, name, complete=True):
        python = self.python(f"cache/engines/{name}/bin/python")
        if complete:
            (self.folder / "cache" / "engines" / name / COMPLETE).touch()
        return python


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = Place(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("BENCHSUITE_CACHE", str(tmp_path / "cache"))
    return made


def find(module=MODULE, chosen=""):
    return interpreter(module, "engine-command", "an-engine", chosen)


def test_this_environment_goes_first(place):
    place.environment("an-engine")
    assert find("json") == sys.executable


def test_nowhere_is_none(place):
    assert find() is None


def test_a_command_on_the_path_names_its_python_in_the_first_line(place):
    place.environment("an-engine")
    python = place.python("env/bin/python3.12")
    place.command(f"#!{python}\nimport sys\n")
    assert find() == python


def test_a_command_may_name_a_python_of_the_path(place):
    python = place.python("path/python3.99")
    for first in ("#!/usr/bin/env python3.99", "#!/usr/bin/env -S python3.99 -u"):
        place.command(f"{first}\n")
        assert find() == python


def test_pips_form_for_paths_that_are_too_long_or_have_spaces(place):
    for folder in ("a folder", "d" * 200):
        python = place.python(f"{folder}/python3")
        shown = f'"{python}"' if " " in python else python
        place.command(f"#!/bin/sh\n'''exec' {shown} \"$0\" \"$@\"\n' '''\nimport sys\n")
        assert find() == python


def test_a_command_of_an_environment_that_may_be_moved(place):
    python = place.python("movable/bin/python")
    text = """#!/bin/sh\n'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"\n' '''\n"""
    path = place.command(text, folder=Path(python).parent)
    (place.bin / path.name).symlink_to(path)
    assert find() == python


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x7fELF\x00\xff",
        "#!\n",
        "#!/bin/sh\nexec engine\n",
        "#!/nowhere/python3\n",
        "#!/bin/sh\n'''exec'\n",
        "#!/usr/bin/env node\n",
        "#!/usr/bin/env\n",
        "#!/bin/sh\n'''exec' \"/unclosed\n",
    ],
)
def test_a_command_that_names_no_python_leaves_benchsuites_environment(place, text):
    place.command(text)
    assert find() is None
    python = place.environment("an-engine")
    assert find() == python


def test_a_command_whose_python_has_lost_the_module_counts_for_nothing(place):
    place.command(f"#!{place.python('env/bin/python', has_module=False)}\n")
    python = place.environment("an-engine")
    assert find() == python


def test_an_environment_that_is_half_made_is_none(place):
    place.environment("an-engine", complete=False)
    assert find() is None
    python = place.environment("other")
    assert engine_environments() == {"other": Path(python)}


def test_the_users_choice_wins_and_must_have_the_module(place, monkeypatch):
    place.environment("an-engine")
    python = place.python("chosen/python")
    assert find(chosen=python) == python
    monkeypatch.setenv("HOME", str(place.folder))
    assert find(chosen="~/chosen/python") == python
    for wrong in (sys.executable, "/nowhere/python", str(place.folder)):
        with pytest.raises(UsageError, match=rf"--engine-python: .* module {MODULE}"):
            find(chosen=wrong)
