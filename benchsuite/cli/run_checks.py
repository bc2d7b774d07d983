"""The options of `run` about datasets and checks."""

from pathlib import Path
from typing import Any, Final

import click

check_options: Final = (
    click.option(
        "--dataset", metavar="FILE", help="Prompts of a file: JSON lines, CSV, Parquet, ShareGPT, OpenAI."
    ),
    click.option(
        "--check",
        metavar="KIND[:TEXT]",
        help="What is right: exact, contains, regex:…, choice:a|b, json-schema[:FILE].",
    ),
)
"""For the section on prompts."""


def dataset_of(given: dict[str, Any]) -> Any:
    """The dataset named; None: none."""
    from benchsuite.errors import UsageError
    from benchsuite.workload.datasets.language import named

    if not given["dataset"]:
        return None
    for option in ("bodies", "trace"):
        if given[option]:
            raise UsageError(f"--dataset and --{option} are both what is sent: give one of them")
    return named(given["dataset"])


def check_of(given: dict[str, Any]) -> Any:
    """The check, as `KIND` or `KIND:TEXT`; None: none."""
    from typing import get_args

    from benchsuite.errors import UsageError
    from benchsuite.types import Check
    from benchsuite.types.workload import CheckKind
    from benchsuite.workload.readers import check

    if not given["check"]:
        return None
    kind, colon, text = given["check"].partition(":")
    if kind not in get_args(CheckKind) or (colon and not text):
        raise UsageError(
            f"--check must be one of {', '.join(get_args(CheckKind))}, with a text after a colon where it "
            'takes one: --check "contains:Paris"'
        )
    fields: dict[str, Any] = {"kind": kind}
    if kind == "choice" and text:
        fields["choices"] = [one.strip() for one in text.split("|")]
    elif kind == "json-schema" and text:
        fields["schema"] = text if text.lstrip().startswith("{") else _schema_text(text)
    elif text:
        fields["expected"] = text
    try:
        found: Check = check(fields)
    except ValueError as error:
        raise UsageError(f"--check {error}") from None
    return found


def _schema_text(path: str) -> str:
    from benchsuite.errors import UsageError

    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
        raise UsageError(f"--check json-schema: can't read {path}: {reason}") from None
