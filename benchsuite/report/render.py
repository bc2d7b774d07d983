"""Text laid out for a width: tables through rich, with or without colour."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchsuite.report.points import Column

COLOURS: Final = MappingProxyType(
    {"valid": "green", "suspect": "yellow", "invalid": "bold red", "ok": "green", "problem": "bold red"}
    | {"better": "green", "worse": "red", "undecided": "yellow"}
)
"""Colour only supports what the words say."""

_UNBOUNDED: Final = 10_000


def table(columns: Sequence[Column], *, width: int, styled: bool = False) -> str:
    """Columns as lines of text; those that may be dropped are, as far as `width` needs it."""
    kept = list(columns)
    console = _console(width, styled)
    while True:
        laid_out = _laid_out(kept)
        most = max((column.drop for column in kept), default=0)
        # Measured in all the room there could be: a table never says that it wants more than it has.
        wanted = Measurement.get(console, console.options.update(width=_UNBOUNDED), laid_out).maximum
        if not most or wanted <= width:
            break
        kept = [column for column in kept if column.drop < most]
    # A number cut short would be another number: rather a table that is too wide.
    return printed(_console(max(width, sum(map(_least, kept))), styled), laid_out)


def _least(column: Column) -> int:
    """The narrowest a column may be, with the space beside it."""
    unbroken = (*column.heading, *(column.cells if _unbroken(column) else ()))
    return max(map(len, unbroken), default=0) + 2


def _unbroken(column: Column) -> bool:
    return column.whole or not column.left


def listing(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    width: int,
    styled: bool = False,
    right: Sequence[str] = (),
) -> str:
    """Rows of words as a table; the columns named in `right` hold numbers. A heading may have two lines."""
    cells = list(zip(*rows, strict=True)) or [() for _ in headings]
    columns = [
        Column(
            heading=tuple(heading.split("\n")),
            cells=tuple(column),
            left=heading not in right,
        )
        for heading, column in zip(headings, cells, strict=True)
    ]
    return table(columns, width=width, styled=styled)


def printed(console: Console, laid_out: Table | Text) -> str:
    """What the console would show, without spaces at the ends of lines."""
    with console.capture() as capture:
        console.print(laid_out)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def words(text: str, *, width: int, styled: bool = False, style: str = "", indent: int = 0) -> str:
    """Running text, wrapped between words, its further lines indented."""
    margin = " " * indent
    lines = textwrap.wrap(
        text, max(20, width), subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )
    console = _console(max(20, width, *map(len, lines)), styled)
    return "\n".join(printed(console, Text(line, style=style)) for line in lines)


def _console(width: int, styled: bool) -> Console:
    """A console that writes nowhere and asks no environment: the same values give the same text."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=styled,
        no_color=not styled,
        color_system="standard" if styled else None,
        legacy_windows=False,
        soft_wrap=False,
        highlight=False,
        _environ={},
    )


def _laid_out(columns: Sequence[Column]) -> Table:
    laid_out = Table(box=None, padding=(0, 1), header_style="bold")
    for column in columns:
        side: Literal["left", "right"] = "left" if column.left else "right"
        title = "\n".join(column.heading)
        laid_out.add_column(title, justify=side, no_wrap=_unbroken(column), overflow="fold")
    for row in zip(*(column.cells for column in columns), strict=True):
        laid_out.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return laid_out
