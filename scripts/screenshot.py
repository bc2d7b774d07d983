"""A picture of benchsuite in a terminal: `python scripts/screenshot.py OUT.png run --backend vllm …`.

What stays on the screen is drawn; lines that the command itself took back (its progress) are not.
"""

import io
import os
import pty
import sys

from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 100
SIZE_PX = 24
BACKGROUND, PLAIN = "#0c0c0c", "#d0d0d0"


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


def drawn(lines: list[list[Segment]]) -> Image.Image:
    """The lines as a picture, each letter in a cell of the same size."""
    fonts = {bold: _font(bold) for bold in (False, True)}
    width = round(fonts[False].getlength("M"))
    height = round(1.35 * SIZE_PX)
    picture = Image.new("RGB", (width * (COLUMNS + 2), height * (len(lines) + 2)), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(lines, 1):
        column = 1
        for segment in line:
            style = segment.style or Style()
            colour = style.color.get_truecolor(MONOKAI).hex if style.color else PLAIN
            for letter in segment.text:
                pen.text((width * column, height * row), letter, colour, fonts[bool(style.bold)])
                column += 1
    return picture


def _font(bold: bool) -> ImageFont.FreeTypeFont:
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans Mono", weight=weight)), SIZE_PX)


def main(out: str, *command: str) -> None:
    """Run, draw, write."""
    console = Console(width=COLUMNS, file=io.StringIO(), force_terminal=True)
    prompt = Text(f"$ {' '.join(['benchsuite', *command])}\n\n", style="bold")
    screen = Text.from_ansi(last_screen(heard([sys.executable, "-m", "benchsuite", *command])).rstrip())
    lines = [line for text in (prompt, screen) for line in console.render_lines(text, pad=False)]
    drawn(lines).quantize(64, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
