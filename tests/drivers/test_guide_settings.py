"""The guide's own tables of settings say what the drivers make of them."""

import re
from pathlib import Path

import pytest

from benchsuite.driver import backends, load
from benchsuite.types import Target

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "engines.md"


@pytest.mark.parametrize(
    ("backend", "title"), [("sglang", "SGLang"), ("tgi", "TGI"), ("tensorrt", "TensorRT-LLM")]
)
def test_the_guide_lists_every_setting_with_its_arguments(backend, title):
    section = GUIDE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z][a-z-]*)` \| (.*) \| (.*) \|$", section, re.MULTILINE)
    settings = load(backend).settings
    assert [name for name, _, _ in rows] == list(settings)
    for name, text, shown in rows:
        assert text == settings[name].help
        words = [word for each in settings[name].arguments.values() for word in each]
        assert all(word.replace("{value}", "…").removesuffix("…") in shown for word in words), name


def test_the_guide_names_every_image():
    section = GUIDE.read_text(encoding="utf-8").partition("\n## From a Docker image\n")[2]
    rows = dict(re.findall(r"^\| `([a-z]+)` \| `([^`]+)`", section.partition("\n## ")[0], re.MULTILINE))

    found = {}
    for name in backends():
        if load(name).capabilities.launch:
            launch = load(name).launch(Target(backend=name, url="", model="org/m"))
            if launch is not None and launch.image:
                found[name] = launch.image
    assert rows == found
