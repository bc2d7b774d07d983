"""Drivers that anybody publishes: found once installed, tested by the kit, harmless when they are broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchsuite import driver
from benchsuite.cli import main
from benchsuite.errors import UsageError

EXAMPLE = Path(__file__).parent / "third_party" / "benchsuite-example"


def ran(*words, where, folder, expect=0):
    path = os.pathsep.join(filter(None, (str(where), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", *words], env=env, capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example package, built and installed without a network, in a folder that nobody else has."""
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "site"
    shutil.copytree(EXAMPLE, source)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    ran("pip", "install", *options, "--target", str(target), str(source), where="", folder=folder)
    return folder


def test_an_installed_driver_is_found_and_explained(installed):
    listed = ran("benchsuite", "backends", where=installed / "site", folder=installed)
    assert [line for line in listed.stdout.splitlines() if line.split()[-8:-6] == ["example", "Example"]]
    assert "vllm" in listed.stdout and not listed.stderr
    one = ran("benchsuite", "backends", "example", where=installed / "site", folder=installed)
    assert "EXAMPLE_KEY" in one.stdout and "http://127.0.0.1:7000" in one.stdout


def test_it_passes_the_kit_from_its_own_folder(installed):
    words = (
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(installed / "source"),
    )
    done = ran(*words, str(installed / "source" / "tests"), where=installed / "site", folder=installed)
    assert "passed" in done.stdout and "failed" not in done.stdout


def test_it_can_be_asked_for_by_name(installed):
    words = ("run", "--backend", "example", "--url", "http://127.0.0.1:1", "--endpoint", "chat")
    done = ran("benchsuite", *words, where=installed / "site", folder=installed, expect=2)
    assert "--backend example has no endpoint 'chat'; it has: say" in done.stderr


@pytest.fixture
def broken(tmp_path):
    """Two installed packages that do no good: one can't be imported, one's driver can't be made."""
    (tmp_path / "benchsuite_broken.py").write_text("import nobody_has_this\n")
    (tmp_path / "benchsuite_angry.py").write_text(
        "class Angry:\n    def __init__(self):\n        raise OSError('no')\n"
    )
    (tmp_path / "benchsuite_old.py").write_text("class Old:\n    name = 'old'\n")
    for name, entry in (("broken", "Broken"), ("angry", "Angry"), ("old", "Old")):
        info = tmp_path / f"benchsuite_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: benchsuite-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[benchsuite.backends]\n{name} = benchsuite_{name}:{entry}\n")
    return tmp_path


def test_broken_drivers_are_named_in_a_line_and_hurt_nobody(broken):
    done = ran("benchsuite", "backends", where=broken, folder=broken)
    assert "vllm" in done.stdout and "llamacpp" in done.stdout
    lines = sorted(done.stderr.splitlines())
    assert len(lines) == 3
    assert "'angry' of benchsuite-angry can't be loaded (OSError: no)" in lines[0]
    assert "'broken' of benchsuite-broken can't be loaded (ModuleNotFoundError" in lines[1]
    assert "'old' was made for another benchsuite" in lines[2]
    words = ("run", "--backend", "broken", "--url", "http://127.0.0.1:1")
    named = ran("benchsuite", *words, where=broken, folder=broken, expect=2)
    assert "can't be loaded" in named.stderr and "Traceback" not in named.stderr
    other = ran("benchsuite", "backends", "openai", where=broken, folder=broken)
    assert "OPENAI_API_KEY" in other.stdout and not other.stderr


def test_a_driver_that_fails_when_it_is_made_is_a_usage_error(monkeypatch):
    class Entry:
        name, dist = "bad", None

        def load(self):
            raise ImportError("line one\nline two")

    monkeypatch.setattr("benchsuite.driver.found.backends", lambda: {"bad": Entry()})
    with pytest.raises(UsageError, match=r"'bad' can't be loaded \(ImportError: line one line two\)"):
        driver.load("bad")


def test_the_example_of_a_specification_can_be_copied_from_the_screen(capsys, tmp_path):
    assert main(["backends", "http"]) == 0
    printed = capsys.readouterr().out
    assert driver.load("http", {"spec": printed}).title == "my-api"
