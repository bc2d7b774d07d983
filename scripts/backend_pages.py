"""docs/reference/backends.md: what each of our backends can do, as its conformance tests observe it.

A backend without a conformance class under tests/drivers stops this script, and so does a capability that is
not what its class observes: the page can't say what nobody has seen.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchsuite import driver
from benchsuite.driver import Driver
from benchsuite.observed import COMPARED, lies
from benchsuite.report.listing import capability_rows, option_rows
from benchsuite.testing import DriverConformance

ROOT: Final = Path(__file__).resolve().parent.parent
COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("started", "benchsuite can start it", "launch"),
    ("exact length", "answers of exactly the asked length", "exact_output"),
    ("cache off", "prefix cache can be switched off per request", "cache_off"),
    ("cache emptied", "prefix cache can be emptied", ""),
    ("cached tokens", "reports cached tokens", "cached_tokens"),
    ("timings", "reports its own timings", "server_timings"),
    ("sampling", "sampling parameters", "sampling"),
    ("reasoning", "reasoning effort", "reasoning"),
    ("JSON schema", "JSON schema of the answer", ""),
    ("tools", "tools", ""),
    ("images", "images", ""),
    ("one piece", "answers in one piece", ""),
    ("token ids", "prompts as token ids", ""),
    ("counts tokens", "counts tokens by itself", ""),
    ("metrics", "metrics for Prometheus", ""),
    ("batches", "batch API", ""),
)
"""Heading, what `benchsuite backends NAME` calls it, and the capability whose footnotes belong there."""
DIFFERS: Final = "as described"
"""Where several descriptions of one backend say different things."""


def backends_page() -> list[str]:
    """The page's paragraphs, without its heading."""
    ours = {
        name: entry.load()()
        for name, entry in driver.backends().items()
        if "benchsuite_backends" in entry.value
    }
    classes = conformance_classes()
    missing = [name for name in ours if name not in classes]
    if missing:
        sys.exit(f"no conformance class under tests/drivers for: {', '.join(missing)}")
    notes: dict[str, int] = {}
    rows = [[f"[`{name}`](#{name})", *_cells(one, classes[name], notes)] for name, one in ours.items()]
    head = ["backend", *(heading for heading, _, _ in COLUMNS)]
    table = [head, ["---"] * len(head), *rows]
    legend = [f"- {heading}: {words}" for heading, words, _ in COLUMNS if heading != words]
    footnotes = "\n".join(f"{number}. {text}" for text, number in notes.items())
    details = [part for name, one in ours.items() for part in _details(name, one)]
    return [
        "\n".join(f"| {' | '.join(row)} |" for row in table),
        "A `no` means that not every server behind this driver can do it. All but token ids was observed: "
        "tests compare what each driver sends and reads with what it says of itself.",
        *([f"Numbers in parentheses:\n\n{footnotes}"] if footnotes else []),
        "The columns:\n\n" + "\n".join(legend),
        *details,
        "Another backend takes one module: [write a driver](../../backends/README.md), or a file without any "
        "code: `benchsuite backends http`.",
    ]


def conformance_classes() -> Mapping[str, list[type[DriverConformance]]]:
    """Backend → the classes that test its driver, of all modules in tests/drivers."""
    sys.path[:0] = [str(ROOT)]
    found: dict[str, list[type[DriverConformance]]] = {}
    for path in sorted((ROOT / "tests" / "drivers").glob("test_*.py")):
        module = importlib.import_module(f"tests.drivers.{path.stem}")
        for one in _classes_of(module):
            found.setdefault(one.driver.name, []).append(one)
    return found


def _classes_of(module: object) -> Iterator[type[DriverConformance]]:
    for name, one in sorted(vars(module).items()):
        if name.startswith("Test") and inspect.isclass(one) and issubclass(one, DriverConformance):
            yield one


def _cells(one: Driver, classes: list[type[DriverConformance]], notes: dict[str, int]) -> list[str]:
    """A row without its name; `notes` numbers the explanations of the whole page."""
    for tests in classes:
        if told := lies(tests().observed(), tests.driver.capabilities, tests.unobserved):
            sys.exit(f"{one.name}: {'; '.join(told)}")
    said = [dict(capability_rows(tests.driver)) for tests in classes]
    own = dict(capability_rows(one))
    cells: list[str] = []
    for _, words, capability in COLUMNS:
        values = {row[words] for row in said}
        cell = own[words] if values <= {own[words]} else DIFFERS
        texts = {tests.unobserved[capability] for tests in classes if capability in tests.unobserved}
        numbers = sorted(notes.setdefault(text, len(notes) + 1) for text in texts)
        cells.append(f"{cell} ({', '.join(map(str, numbers))})" if numbers else cell)
    return cells


def _details(name: str, one: Driver) -> list[str]:
    """What a table has no room for."""
    keys = " or ".join(f"`{variable}`" for variable in one.key_variables)
    facts = [
        ("what", one.title),
        ("usually at", f"`{one.default_url}`" if one.default_url else "a URL has to be given"),
        ("key from", keys or "no key"),
        ("`--endpoint`", ", ".join(f"`{door}`" for door in one.capabilities.endpoints)),
        *((f"cache `{word}`", text) for word, text in one.capabilities.caching.items()),
        ("at once", _slots(one)),
        ("`--option`", "; ".join(f"`{name}`: {text}" for name, text in option_rows(one)) or "none"),
        ("`--engine`", ", ".join(f"`{setting}`" for setting in one.settings)),
    ]
    return [f"## {name}", "\n".join(f"- {label}: {text}" for label, text in facts if text)]


def _slots(one: Driver) -> str:
    slots = one.capabilities.default_slots
    return f"{slots} request{'s' * (slots != 1)}, unless the server was started for more" if slots else ""


assert {capability for _, _, capability in COLUMNS if capability} <= set(COMPARED)
