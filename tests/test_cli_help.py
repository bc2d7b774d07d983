"""Help screens: complete, and quick since they load nothing."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from benchsuite.cli import main
from benchsuite.cli.root import COMMANDS, root


def loaded_after(*words):
    code = f"import sys; from benchsuite.cli import main; main({list(words)!r}); print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    heavy = {
        "numpy",
        "pyarrow",
        "scipy",
        "rich",
        "aiohttp",
        "ssl",
        "asyncio",
        "httptools",
        "msgspec",
        "psutil",
        "matplotlib",
    }
    loaded = loaded_after("--help")
    assert "click" in loaded and not heavy & loaded
    assert not {module for module in loaded if module.startswith("benchsuite.cli.")} - {"benchsuite.cli.root"}


def test_help_of_run_loads_nothing_heavy():
    assert not {"numpy", "pyarrow", "scipy", "aiohttp", "matplotlib"} & loaded_after("run", "--help")


def test_the_help_screen_shows_every_command_that_works(capsys):
    assert main([]) == 0
    bare = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == bare
    assert all(f"\n  {name} " in bare and entry.help in bare for name, entry in COMMANDS.items())
    assert bare.startswith("Usage: benchsuite COMMAND [OPTIONS]") and "\nSet up:\n" in bare


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name):
    shown = CliRunner().invoke(root, [name, "--help"])
    assert shown.exit_code == 0
    assert COMMANDS[name].help.split(";")[0] in " ".join(shown.output.split())
