"""Where a command's text goes: how wide it may be, whether with colour, which file, and paths as shown."""

import errno
import os
import shutil
import sys
from pathlib import Path

import click

PIPED_WIDTH = 100


def width() -> int:
    """Columns of the terminal; 100 where there is none."""
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if sys.stdout.isatty() else PIPED_WIDTH


def styled() -> bool:
    """Colour only for a terminal whose user didn't forbid it."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shown(path: Path) -> str:
    """A path with the home folder as `~`."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path != home and path.is_relative_to(home) else str(path)


def write(text: str, path: str | None) -> None:
    """To a file, or to stdout if `path` is None."""
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None


def check_writable(path: str | None) -> None:
    """Refuse a file whose folder isn't there, or that is one, before anything is measured for it."""
    if path is None:
        return
    folder = Path(path).parent
    number = errno.EISDIR if Path(path).is_dir() else 0 if folder.is_dir() else errno.ENOENT
    if not number and not os.access(path if Path(path).exists() else folder, os.W_OK):
        number = errno.EACCES
    if number:
        raise unwritable(path, OSError(number, os.strerror(number)))


def unwritable(path: str, error: OSError) -> click.UsageError:
    """What to say of a file that can't be written."""
    return click.UsageError(f"can't write {path} ({error.strerror}); name another file with -o")
