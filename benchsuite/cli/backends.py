"""`benchsuite backends`: what can be measured."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from benchsuite.driver import Driver


@click.command()
@click.argument("name", required=False)
def backends(name: str | None) -> None:
    """What can be measured, and what each backend can and can't do.

    NAME explains one of them.
    """
    from benchsuite import driver
    from benchsuite.cli import output
    from benchsuite.report.listing import capability_rows
    from benchsuite.report.render import listing

    if name is not None:
        _one(driver.load(name))
        return
    rows = []
    for known in driver.backends():
        found = driver.load(known)
        can = dict(capability_rows(found.capabilities))
        rows.append([known, found.title, *("yes" if yes else "no" for yes in can.values())])
    can_do = (
        "can\nstart it",
        "exact\noutput",
        "cache\noff",
        "cached\ntokens",
        "server\ntimings",
        "plain\ncompletions",
    )
    headings = ("backend", "what", *can_do)
    click.echo(listing(headings, rows, width=output.width(), styled=output.styled()))
    click.echo("`benchsuite backends NAME` explains one; `benchsuite run --backend NAME` measures it.")


def _one(found: "Driver") -> None:
    """One backend in full."""
    from benchsuite.report.listing import capability_rows, setting_rows

    click.echo(f"{found.name}: {found.title}")
    click.echo(f"  usually listens at {found.default_url or 'no fixed address: give --url'}")
    keys = " or ".join(found.key_variables)
    click.echo(f"  key from {keys} or --api-key-env" if keys else "  needs no key; --api-key-env names one")
    for text, can in capability_rows(found.capabilities):
        click.echo(f"  {'yes' if can else 'no ':3}  {text}")
    if rows := setting_rows(found.settings):
        width = max(len(setting) for setting, _ in rows)
        click.echo("\nSettings where benchsuite starts it (--engine NAME=VALUE,NAME=VALUE):")
        for setting, text in rows:
            click.echo(f"  {setting:{width}}  {text}")
        click.echo(
            "Anything else of its own as --engine-args '…'; --launch starts it even if one is running."
        )
