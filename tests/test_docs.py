"""What the documentation shows exists and is accepted: links, command lines, workload files."""

import re
import shlex
from pathlib import Path

import click
import pytest

from benchsuite.cli.root import root
from benchsuite.cli.run_asked import workload_of
from benchsuite.workload import schema

ROOT = Path(__file__).parent.parent
PLACES = ("*.md", "docs/**/*.md", "backends/*.md", "workloads/*.md", "notebooks/*.md", "results/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*benchsuite( .*)?$")


def blocks(page, language=None):
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    return [text for its_language, text in found if language is None or its_language == language]


def anchors(page):
    """Headings as GitHub makes links of them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown_commands():
    for page in PAGES:
        for text in blocks(page):
            for line in text.replace("\\\n", " ").splitlines():
                if match := COMMAND.match(line):
                    yield pytest.param(match[1] or "", id=f"{page.relative_to(ROOT)}: {line.strip()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


@pytest.mark.parametrize("words", list(shown_commands()))
def test_every_command_line_is_understood(words):
    args = shlex.split(re.split(r" (?:[|>&]|2>)", words)[0], comments=True)
    command, context, name = root, None, "benchsuite"
    while isinstance(command, click.Group) and args and args[0] != "--help":
        context = click.Context(command, parent=context, info_name=name)
        name, command, args = command.resolve_command(context, args)
    if "--help" in args or isinstance(command, click.Group):
        return
    made = command.make_context(name, list(args), parent=context)
    if name == "run" and not str(made.params["workload"]).endswith(".toml"):
        workload_of(made.params)


@pytest.mark.parametrize(
    "text",
    [text for page in PAGES for text in blocks(page, "toml") if text.startswith("name = ")],
    ids=lambda text: text.partition("\n")[0],
)
def test_every_workload_shown_can_be_read(text):
    assert schema.parsed(text, "shown").name


def test_the_guide_explains_every_warning():
    files = (ROOT / "benchsuite" / "stats").glob("rules*.py")
    rules = "".join(path.read_text(encoding="utf-8") for path in files)
    codes = set(re.findall(r'\b(?:warning|_untold)\(\s*"(\w+)"', rules))
    assert len(codes) > 20
    explained = anchors(ROOT / "docs" / "guide" / "trouble.md")
    assert codes <= explained
