"""`benchsuite backends`: what can be measured."""

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
    from benchsuite.report.listing import capability_rows, setting_rows

    if isinstance(found, ShowsExample):
        # Nothing else on stdout, so that `benchsuite backends NAME > FILE` begins a file.
        click.echo(found.example(), nl=False)
        return

    click.echo(f"{found.name}: {found.title}")
    click.echo(f"  usually listens at {found.default_url or 'no fixed address: give --url'}")
    keys = " or ".join(found.key_variables)
    click.echo(f"  key from {keys} or --api-key-env" if keys else "  needs no key; --api-key-env names one")
    for text, can in capability_rows(found):
        click.echo(f"  {can:3}  {text}" if can in {"yes", "no"} else f"       {text}: {can}")
    for word, how in found.capabilities.caching.items():
        click.echo(f"       {word} cache: {how}")
    if rows := setting_rows(found.settings):
        width = max(len(setting) for setting, _ in rows)
        click.echo("\nSettings where benchsuite starts it (--engine NAME=VALUE,NAME=VALUE):")
        for setting, text in rows:
            click.echo(f"  {setting:{width}}  {text}")
        click.echo(
            "Anything else of its own as --engine-args '…'; --launch starts it even if one is running."
        )
