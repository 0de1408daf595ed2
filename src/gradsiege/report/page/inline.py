"""Figures as data addresses for the report, with colours for a dark page built in."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gradsiege.report import style
from gradsiege.report.save import encode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SVG_BYTES = 2_000_000
# Page and text colours, and those method colours that are too dark to see on a dark page.
DARK = {
    style.PAPER: "#1a1e22",
    style.INK: "#e3e6e9",
    style.MUTED: "#a3adb7",
    style.GRID: "#2e343a",
    style.HATCH: "#4a525a",
    style.TINT: "#302c20",
    style.FAINT: "#434b54",
    style.BAND: "#2b3138",
    style.FLOOR: "#b48be0",
    style.FLOOR_BAND: "#2d2539",
    style.SURVIVES: "#4fd1a8",
    style.BROKEN: "#f0975f",
    "#3d444d": "#d0d7de",
    "#0072b2": "#4aa3df",
    "#009e73": "#2fbf96",
    "#882255": "#d0679b",
    "#4a3fb0": "#9a8ff0",
    "#117733": "#4fae6b",
    "#661100": "#d9795c",
    "#aa4499": "#cf78c2",
}


def image_address(figure: Figure) -> str:
    """`data:` address of the figure: SVG that follows the page's colour scheme, PNG if huge."""
    svg = encode(figure, "svg")
    if len(svg) > MOST_SVG_BYTES:
        return "data:image/png;base64," + base64.b64encode(encode(figure, "png")).decode()
    return "data:image/svg+xml;base64," + base64.b64encode(with_dark_colours(svg)).decode()


def with_dark_colours(svg: bytes) -> bytes:
    """Add a style sheet that swaps the study's colours when the reader prefers a dark page.

    >>> b"prefers-color-scheme" in with_dark_colours(b"<svg><defs></defs></svg>")
    True
    """
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark} !important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )
    sheet = f"<style>@media screen and (prefers-color-scheme: dark){{{rules}}}</style>"
    head, mark, rest = svg.partition(b"<defs>")
    return head + sheet.encode() + mark + rest


def width_in_pixels(figure: Figure) -> int:
    """Width at which the figure's text has the size of the page's small print.

    Figures are drawn in inches with 8 point type; at 115 pixels per inch that is about 13 pixels.
    """
    return round(float(figure.get_size_inches()[0]) * 115)
