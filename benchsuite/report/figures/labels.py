"""Short texts beside dots, each where it touches as little as possible."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from benchsuite.report.figures.paper import text_inches
from benchsuite.types import Noun

_SIZE = 8.0
_HIGH = _SIZE * 0.78
_DOT = 4.5
"""Half a dot's width, in points, with a little air."""
_AWAY = 7.0
_PIECES = 24
"""A line is taken for so many small boxes."""

Place = tuple[float, float]
Box = tuple[float, float, float, float]


class Label(Noun, frozen=True, kw_only=True):
    """A text for the dot at (x, y) of a line; `bars` are its intervals, from and to, in data units."""

    x: float
    y: float
    text: str
    colour: str
    line: int
    bars: tuple[tuple[Place, Place], ...]


def place_labels(axes: Axes, labels: Sequence[Label], *, joined: bool = True) -> None:
    """Write each label beside its dot, off lines and intervals if there is room; the scales must be final.

    `joined`: dots of a line are connected. A text that finds no place off all dots and texts is left
    out, since a number over another reads as a third.
    """

    def points(x: float, y: float) -> Place:
        across, up = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
        return float(across), float(up)

    where = [points(label.x, label.y) for label in labels]
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in where]
    strokes = [(points(*start), points(*end)) for label in labels for start, end in label.bars]
    if joined:
        pairs = zip(range(len(labels)), range(1, len(labels)), strict=False)
        strokes += [(where[i], where[j]) for i, j in pairs if labels[i].line == labels[j].line]
    thin = [box for start, end in strokes for box in _pieces(start, end)]
    x0, y0, x1, y1 = (each * 72 / axes.figure.dpi for each in axes.bbox.extents)
    for i, (label, (x, y)) in enumerate(zip(labels, where, strict=True)):
        width = text_inches(label.text, _SIZE) * 72
        sides = [(dx, dy, (x + dx, y + dy, x + dx + width, y + dy + _HIGH)) for dx, dy in _sides(width)]
        sides = [
            side
            for side in sides
            if side[2][0] > x0 and side[2][1] > y0 and side[2][2] < x1 and side[2][3] < y1
            and not _hits(side[2], taken[:i] + taken[i + 1 :])
        ]  # fmt: skip
        if sides:
            dx, dy, box = min(sides, key=lambda side: _hits(side[2], thin))
            axes.annotate(
                label.text, (label.x, label.y), xytext=(dx, dy), textcoords="offset points",
                fontsize=_SIZE, color=label.colour, zorder=6,
            )  # fmt: skip
            taken.append(box)


def _sides(width: float) -> tuple[Place, ...]:
    """Where a text of this width may begin, counted from its dot: best first."""
    middle, centre = -_HIGH / 2, -width / 2
    right, left = _AWAY, -_AWAY - width
    return (
        (right * 0.8, _AWAY * 0.7),
        (left * 0.95, _AWAY * 0.7),
        (right * 0.8, -_AWAY * 0.7 - _HIGH),
        (left * 0.95, -_AWAY * 0.7 - _HIGH),
        (right, middle),
        (left, middle),
        (centre, _AWAY),
        (centre, -_AWAY - _HIGH),
    )


def _pieces(start: Place, end: Place) -> list[Box]:
    """A stroke as small boxes, a point wide."""
    xs, ys = np.linspace(start[0], end[0], _PIECES), np.linspace(start[1], end[1], _PIECES)
    return [(x - 0.5, y - 0.5, x + 0.5, y + 0.5) for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]


def _hits(box: Box, others: Sequence[Box]) -> int:
    """How many of the others it touches."""
    return sum(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        for other in others
    )
