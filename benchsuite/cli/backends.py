"""`benchsuite backends`: what can be measured."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from benchsuite.driver import Driver


SHOWN: Final = MappingProxyType(
    {
        "can\nstart it": "benchsuite can start it",
        "exact\noutput": "answers of exactly the asked length",
        "cache\noff": "prefix cache can be switched off per request",
        "cached\ntokens": "reports cached tokens",
        "server\ntimings": "reports its own timings",
        "batch\nAPI": "batch API",
    }
)
"""The columns of the table of all backends, each with the row of a backend's own page that it shows."""


@click.command()
@click.argument("name", required=False)
def backends(name: str | None) -> None:
    """What can be measured, and what each backend can and can't do.

    NAME explains one of them.
    """
    from benchsuite import driver
    from benchsuite.cli import output
    from benchsuite.errors import UsageError
    from benchsuite.report.listing import KINDS, backend_kind, capability_rows, grouped
    from benchsuite.report.render import listing

    if name is not None:
        _one(driver.load(name))
        return
    rows = []
    unusable = []
    for known in driver.backends():
        try:
            found = driver.load(known)
            can = dict(capability_rows(found))
            rows.append([backend_kind(found), known, found.title, *(can[text] for text in SHOWN.values())])
        except UsageError as error:
            unusable.append(str(error))
        except AttributeError as error:
            unusable.append(f"the backend {known!r} was made for another benchsuite ({error}); update it")
    headings = ("", "backend", "what", *SHOWN)
    table = grouped(rows, KINDS)
    click.echo(listing(headings, table, width=output.width(), styled=output.styled()))
    click.echo("`benchsuite backends NAME` explains one; `benchsuite run --backend NAME` measures it.")
    for line in unusable:
        click.echo(line, err=True)


def _one(found: "Driver") -> None:
    """One backend in full."""
    from benchsuite.driver import ShowsExample
    from benchsuite.report.listing import capability_rows, option_rows, setting_rows

    if isinstance(found, ShowsExample):
        # Nothing else on stdout, so that `benchsuite backends NAME > FILE` begins a file.
        click.echo(found.example(), nl=False)
        return

    click.echo(f"{found.name}: {found.title}")
    click.echo(f"  usually listens at {found.default_url}" if found.default_url else "  needs --url")
    keys = " or ".join(found.key_variables)
    click.echo(f"  key from {keys} or --api-key-env" if keys else "  needs no key; --api-key-env names one")
    if page := getattr(found, "key_page", ""):
        click.echo(f"  where to get one: {page}")
    rows = [
        (can, text) if can in {"yes", "no"} else ("", f"{text}: {can}")
        for text, can in capability_rows(found)
    ]
    rows += [("", f"{word} cache: {how}") for word, how in found.capabilities.caching.items()]
    _rows(rows)
    if options := option_rows(found):
        click.echo("\nOptions (--option NAME=VALUE, as often as needed):")
        _rows(options)
    if settings := setting_rows(found.settings):
        click.echo("\nSettings where benchsuite starts it (--engine NAME=VALUE,NAME=VALUE):")
        _rows(settings)
        click.echo(
            "Anything else of its own as --engine-args '…'; --launch starts it even if one is running."
        )


def _rows(rows: "Iterable[tuple[str, str]]") -> None:
    """Names or answers, and what they mean, wrapped beside them."""
    from benchsuite.cli import output
    from benchsuite.report.render import words

    rows = list(rows)
    widest = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(words(f"  {name:{widest}}  {text}", width=output.width(), indent=widest + 4))
