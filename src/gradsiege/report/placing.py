"""Places for the names of points on a chart: near their points, on no other name and no point, inside the axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradsiege.report import style
from gradsiege.report.measured_text import POINTS_PER_INCH, width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All in points.
MARKER, PADDING, LINE = (
    3.6,
    0.8,
    1.25,
)  # half the side of a marker; around a name; height of a name in sizes
DISTANCES = (5.0, 8.0, 12.0, 17.0, 23.0, 30.0, 38.0, 47.0, 58.0, 70.0, 85.0, 100.0, 120.0)
TIED = 8.0  # a name further away is tied to its point by a line
# Right and below first, then the other sides.
ANGLES = tuple(map(math.radians, (-35, 35, 0, -70, 70, 215, 145, 180, -90, 90, 250, 110)))

Point = tuple[float, float]


@dataclass(frozen=True)
class Name:
    """The name of a point: its place in data coordinates, the words, and the colour of the line that ties them."""

    x: float
    y: float
    words: str
    colour: str


@dataclass(frozen=True)
class Box:
    """A rectangle: centre, half its width, half its height [points]."""

    x: float
    y: float
    wide: float
    high: float

    def meets(self, other: Box) -> bool:
        """Whether two rectangles overlap.

        >>> Box(0, 0, 1, 1).meets(Box(1.5, 0, 1, 1)), Box(0, 0, 1, 1).meets(Box(2.5, 0, 1, 1))
        (True, False)
        """
        across = abs(self.x - other.x) < self.wide + other.wide
        return across and abs(self.y - other.y) < self.high + other.high

    def crosses(self, start: Point, end: Point) -> bool:
        """Whether a segment runs through the rectangle, by Liang and Barsky's clipping (1984).

        >>> Box(0, 0, 1, 1).crosses((-2, -2), (2, 2)), Box(0, 0, 1, 1).crosses((-2, 0), (-2, 2))
        (True, False)
        """
        enters, leaves = 0.0, 1.0
        for centre, half, here, there in (
            (self.x, self.wide, start[0], end[0]),
            (self.y, self.high, start[1], end[1]),
        ):
            step = there - here
            if step == 0.0:
                if abs(here - centre) >= half:
                    return False
                continue
            ends = sorted(((centre - half - here) / step, (centre + half - here) / step))
            enters, leaves = max(enters, ends[0]), min(leaves, ends[1])
        return enters < leaves


def settle(figure: Figure) -> None:
    """Lay a figure out now and for good, so that places on the page can be computed."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def name_points(
    panel: Axes, names: Sequence[Name], points: Sequence[Point], size: float
) -> list[str]:
    """Write names beside their points; return the words for which the panel has no room.

    The figure must be settled. points: everything that a name may not cover, in data coordinates. size: of the font
    [points]. Texts that the panel has already are not covered, either. The nearest free place is taken, names in their
    order.
    """
    markers = [Box(*_at(panel, point), MARKER, MARKER) for point in points]
    taken = [_box_of(panel, text) for text in panel.texts]
    ties: list[tuple[Point, Point]] = []
    left_out = []
    for name in names:
        point = _at(panel, (name.x, name.y))
        half = (width(name.words, size) * POINTS_PER_INCH / 2 + PADDING, LINE * size / 2)
        free = [
            place
            for place in _candidates(point, half)
            if _is_free(panel, place[0], [*taken, *markers])
        ]
        if not free:
            left_out.append(name.words)
            continue
        # In a crowd a tie may have to cross another name; names never lie on each other.
        clear = (place for place in free if _is_clear(point, place[0], taken, ties))
        box, tied = next(clear, free[0])
        taken.append(box)
        if tied:
            ties.append((point, _edge(box, point)))
        _write(panel, name, (box.x - point[0], box.y - point[1]), size, tied=tied)
    return left_out


def _candidates(point: Point, half: Point) -> Iterator[tuple[Box, bool]]:
    """Boxes around a point, the nearest first, and whether a line must tie them to it."""
    for distance in DISTANCES:
        for angle in ANGLES:
            x = point[0] + math.cos(angle) * (distance + half[0])
            y = point[1] + math.sin(angle) * (distance + half[1])
            yield Box(x, y, *half), distance > TIED


def _is_free(panel: Axes, box: Box, obstacles: Sequence[Box]) -> bool:
    """Whether a name may stand in a box: inside the axes, and on nothing."""
    frame = panel.get_window_extent()
    scale = POINTS_PER_INCH / _dpi(panel)
    inside = (
        frame.x0 * scale <= box.x - box.wide
        and box.x + box.wide <= frame.x1 * scale
        and frame.y0 * scale <= box.y - box.high
        and box.y + box.high <= frame.y1 * scale
    )
    return inside and not any(box.meets(other) for other in obstacles)


def _is_clear(
    point: Point, box: Box, names: Sequence[Box], ties: Sequence[tuple[Point, Point]]
) -> bool:
    """Whether no tie runs through a box, and its own tie through no name."""
    through = any(name.crosses(point, _edge(box, point)) for name in names)
    return not through and not any(box.crosses(*tie) for tie in ties)


def _edge(box: Box, point: Point) -> Point:
    """Return the place on a box that is nearest to a point."""
    x = float(np.clip(point[0], box.x - box.wide, box.x + box.wide))
    return x, float(np.clip(point[1], box.y - box.high, box.y + box.high))


def _at(panel: Axes, point: Point) -> Point:
    """Return the place of data coordinates on the page [points]."""
    x, y = panel.transData.transform(point) * POINTS_PER_INCH / _dpi(panel)
    return float(x), float(y)


def _box_of(panel: Axes, text: Any) -> Box:
    extent, scale = text.get_window_extent(), POINTS_PER_INCH / _dpi(panel)
    centre = ((extent.x0 + extent.x1) / 2 * scale, (extent.y0 + extent.y1) / 2 * scale)
    return Box(*centre, extent.width / 2 * scale + PADDING, extent.height / 2 * scale)


def _dpi(panel: Axes) -> float:
    figure = panel.get_figure(root=True)
    assert figure is not None
    return float(figure.dpi)


def _write(panel: Axes, name: Name, offset: Point, size: float, *, tied: bool) -> None:
    line: Any = {
        "arrowstyle": "-",
        "color": name.colour,
        "linewidth": 0.6,
        "shrinkA": 0,
        "shrinkB": 3,
    }
    text = panel.annotate(
        name.words,
        (name.x, name.y),
        xytext=offset,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=size,
        color=style.INK,
        zorder=5,
        arrowprops=line if tied else None,
    )
    text.set_path_effects(style.outlined())
