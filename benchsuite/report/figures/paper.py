"""The paper that figures are drawn on: style, layout in inches, text that fits, and bytes.

Whatever the user's own matplotlib settings are, the same values give the same bytes.
"""

import io
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, Literal

import matplotlib as mpl
import msgspec
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from PIL import Image

from benchsuite.report.figures.sheet import Sheet
from benchsuite.report.screen import short_id

Format = Literal["png", "svg", "pdf"]

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
"""Okabe and Ito's palette, told apart by colour-blind people too; without its yellow, faint on white."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "p")
INK: Final = "#222222"
QUIET: Final = "#5A5A5A"
FAULT: Final = "#B02A00"

_DPI: Final = 100
_PNG_DPI: Final = 200
_MARGIN: Final = 0.2
_LEFT, _RIGHT, _GUTTER = 0.8, 0.25, 0.85
_ABOVE, _BELOW = 0.36, 0.56
"""Inches over a panel for its title, and under it for its axis."""
_LINE_HEIGHT: Final = 1.45
_TITLE, _SHARED, _KEY, _NOTE = 13.0, 9.0, 8.5, 7.5
"""Sizes of text in points."""
_KEY_HANDLE: Final = 0.65
"""Inches that a key takes beside its label."""
_STYLE: Final[Mapping[Any, Any]] = MappingProxyType(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": QUIET,
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.labelsize": 9.0,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.0,
        "font.family": ["DejaVu Sans"],
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.7,
        "legend.fontsize": _KEY,
        "legend.frameon": False,
        "pdf.fonttype": 42,
        "svg.hashsalt": "benchsuite",
        "text.color": INK,
        # A dollar sign is a price here, and a label may hold any.
        "text.parse_math": False,
        "xtick.color": QUIET,
        "xtick.labelcolor": INK,
        "xtick.labelsize": 8.5,
        "ytick.color": QUIET,
        "ytick.labelcolor": INK,
        "ytick.labelsize": 8.5,
    }
)
_NAMED: Final = 4
"""So many runs are named in the small print."""
_METADATA: Final = MappingProxyType({"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}})


class Layout(msgspec.Struct, frozen=True):
    """Panels in rows and columns; width of the page and height of a panel in inches."""

    rows: int
    columns: int
    width: float
    height: float


@contextmanager
def style() -> Generator[None]:
    """Its own defaults and our style for matplotlib; afterwards its settings are as they were."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A model's name may be in a script that the font lacks: a box is drawn, that is enough.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def page(
    sheet: Sheet, title: str, layout: Layout, keys: Sequence[Artist], notes: Sequence[str]
) -> tuple[Figure, list[Axes]]:
    """An empty page: title, what the runs share, a key, panels row by row, and notes under them.

    A run that is invalid is stamped so. Must be called, and the panels filled, inside `style`.
    """
    return blank(
        f"INVALID: {title}" if sheet.invalid else title,
        layout,
        keys,
        (*notes, _origin(sheet)),
        sheet.shared,
        stamped=bool(sheet.invalid),
    )


def blank(
    title: str,
    layout: Layout,
    keys: Sequence[Artist],
    notes: Sequence[str],
    under: Sequence[str] = (),
    *,
    stamped: bool = False,
) -> tuple[Figure, list[Axes]]:
    """The same of texts alone: `under` stands below the title; a `stamped` one has the colour of a fault."""
    room = layout.width - 2 * _MARGIN
    shared = [part for line in under for part in wrapped(line, _SHARED, room)]
    lines = [part for note in notes for part in wrapped(note, _NOTE, room)]
    labels = [str(key.get_label()) for key in keys]
    columns = _key_columns(labels, room)
    key_rows = -(-len(keys) // columns)
    tops = [_MARGIN, _MARGIN + _inches(_TITLE)]
    tops.append(tops[-1] + len(shared) * _inches(_SHARED) + 0.06)
    tops.append(tops[-1] + key_rows * 0.2)
    row_height = _ABOVE + layout.height + _BELOW
    bottom = tops[-1] + layout.rows * row_height + 0.08
    height = bottom + len(lines) * _inches(_NOTE) + 0.12
    figure = Figure(figsize=(layout.width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def write(text: str, top: float, size: float, **more: Any) -> None:
        figure.text(_MARGIN / layout.width, 1 - top / height, text, va="top", fontsize=size, **more)

    stamp = {"color": FAULT} if stamped else {}
    write(title, tops[0], _TITLE, fontweight="bold", **stamp)
    for i, line in enumerate(shared):
        write(line, tops[1] + i * _inches(_SHARED), _SHARED, color=QUIET)
    if keys:
        corner = (_MARGIN / layout.width, 1 - tops[2] / height)
        figure.legend(
            handles=_in_rows(keys, columns), loc="upper left", bbox_to_anchor=corner, ncols=columns,
            borderaxespad=0, borderpad=0, columnspacing=1.6, handlelength=2.6, labelspacing=0.45,
        )  # fmt: skip
    for i, line in enumerate(lines):
        write(line, bottom + i * _inches(_NOTE), _NOTE, color=QUIET)
    return figure, _panels(figure, layout, tops[-1], row_height, height)


def image(figure: Figure, format: Format) -> bytes:
    """The figure as a file's bytes: PNG at twice the usual resolution, SVG or PDF without a date."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=format, dpi=_PNG_DPI, metadata=dict(_METADATA[format]))
    return _smaller(buffer) if format == "png" else buffer.getvalue()


def _smaller(png: io.BytesIO) -> bytes:
    """The same picture in 256 colours, enough for a figure and its smooth edges: a third of the bytes."""
    buffer = io.BytesIO()
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(buffer, "png", optimize=True, dpi=(_PNG_DPI, _PNG_DPI))
    return buffer.getvalue()


def wrapped(text: str, size: float, room: float) -> list[str]:
    """The text in lines of at most `room` inches, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_inches(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def text_inches(text: str, size: float) -> float:
    """How wide a text is."""
    font = FontProperties(family=["DejaVu Sans"], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def _panels(figure: Figure, layout: Layout, top: float, row_height: float, height: float) -> list[Axes]:
    free = layout.width - _LEFT - _RIGHT - (layout.columns - 1) * _GUTTER
    wide = free / layout.columns
    return [
        figure.add_axes(
            (
                (_LEFT + column * (wide + _GUTTER)) / layout.width,
                1 - (top + row * row_height + _ABOVE + layout.height) / height,
                wide / layout.width,
                layout.height / height,
            )
        )
        for row in range(layout.rows)
        for column in range(layout.columns)
    ]


def _key_columns(labels: Sequence[str], room: float) -> int:
    """As many columns as there is room for, each as wide as its longest label."""
    widths = [text_inches(label, _KEY) + _KEY_HANDLE for label in labels]
    for columns in range(len(labels), 1, -1):
        if sum(max(widths[column::columns]) for column in range(columns)) <= room:
            return columns
    return 1


def _in_rows(keys: Sequence[Artist], columns: int) -> list[Artist]:
    """In the order in which a legend, which fills columns, shows them row by row."""
    return [key for column in range(columns) for key in keys[column::columns]]


def _inches(points: float) -> float:
    return points * _LINE_HEIGHT / 72


def _origin(sheet: Sheet) -> str:
    """Which runs these are, so that a picture can be traced back."""
    versions = sorted({f"benchsuite {run.manifest.version}" for run in sheet.runs})
    found = [short_id(run.manifest.run_id) for run in sheet.runs]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    ids = ", ".join(found[:_NAMED]) + more
    days = sorted({run.manifest.started[:10] for run in sheet.runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{', '.join(versions)} · run{'s' * (len(sheet.runs) > 1)} {ids} · {when}"
