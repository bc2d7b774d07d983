"""A picture of a command in a terminal: `python scripts/screenshot.py OUT.svg COMMAND…` runs it in one.

What stays on the screen is drawn; lines that the command itself took back (its progress) are not.
"""

import io
import os
import pty
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100
NO_FONT = """\
<svg class="rich-terminal" viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#0c0c0c" x="1" y="1" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""As rich's own, without a title bar and without fonts fetched from anywhere."""


def heard(command: list[str]) -> str:
    """Everything that the command writes to a terminal of 100 columns, escapes and all."""
    data = io.BytesIO()

    def keep(fd: int) -> bytes:
        read = os.read(fd, 65536)
        data.write(read)
        return read

    os.environ |= {"COLUMNS": str(COLUMNS), "LINES": "50", "TERM": "xterm-256color"}
    pty.spawn(command, keep)
    return data.getvalue().decode()


def last_screen(text: str) -> str:
    """What is left when the progress display has been taken back: all after its last erased line."""
    return text.replace("\r\n", "\n").rpartition("\x1b[2K")[2].removeprefix("\x1b[?25h").lstrip("\r\n")


def main(out: str, *command: str) -> None:
    """Run, draw, write."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(command)}\n", style="bold"))
    console.print(Text.from_ansi(last_screen(heard(list(command)))))
    Path(out).write_text(console.export_svg(code_format=NO_FONT, unique_id="benchsuite"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
