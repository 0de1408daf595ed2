"""Lay out pictures in rows of victims and columns of methods."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.report import style
from gradsiege.report.measured_text import width, wrapped
from gradsiege.report.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, GAP, UNDER, BETWEEN = 1.5, 0.06, 0.18, 0.16  # inches
HEADING, LINE = 6.5, 0.108  # points of a heading, and inches that a line of one takes
LEAST, LARGEST = 0.62, 0.8  # inches: the side of a picture
# Pictures side by side; further ones are placed below, beside a copy of the original.
MOST_COLUMNS = math.floor((style.WIDTH - LEFT) / (LEAST + GAP))
GROUPS = {
    "truth": "",
    "bound": "Bound",
    "control": "Controls: no gradient used",
    "attack": "Attacks",
    "identification": "Chosen among candidates",
}


@dataclass(frozen=True)
class Tile:
    """One picture: row of its block, column key and heading, kind, pixels [C, H, W], its score.

    kind: 'truth', 'bound', 'control' or 'attack'. score: its row of the score table, None for the truth
    and where no such row exists.
    """

    row: int
    column: str
    heading: str
    kind: str
    pixels: NDArray[np.uint8]
    score: pd.Series | None


@dataclass(frozen=True)
class Block:
    """One cell of the sheet: its ids, the lines that name it, reference attack, chosen victims.

    best: column of the best attack by row; filled when the sheet is drawn.
    """

    cell: Mapping[str, str]
    texts: tuple[str, ...]
    reference: str
    chosen: list[tuple[float, int, int]]
    tiles: list[Tile]
    best: Mapping[int, str | None] = field(default_factory=dict)

    @property
    def heads(self) -> dict[str, Tile]:
        """One tile per column, in the order of the columns: original, bound, controls, attacks."""
        by_column = {tile.column: tile for tile in self.tiles}
        return dict(sorted(by_column.items(), key=lambda item: [*GROUPS].index(item[1].kind)))


@dataclass(frozen=True)
class _Sheet:
    """One pair of axes over the whole page, measured in inches from the upper left corner."""

    axes: Axes
    size: float

    def left(self, place: int) -> float:
        """Left edge of a column."""
        return LEFT + place * (self.size + GAP)


def draw_sheet(blocks: list[Block]) -> Figure:
    """Draw the blocks below each other; repeat the headings if a block has other columns than the one above."""
    bands = [band for block in blocks for band in _bands(block)]
    most = max(len(band.heads) for band in bands)
    size = float(np.clip((style.WIDTH - LEFT) / most - GAP, LEAST, LARGEST))
    above: Mapping[str, Tile] = {}
    headers = []
    for band in bands:
        headers.append(_header(band.heads, size) if [*above] != [*band.heads] else 0.0)
        above = band.heads
    rows = sum(len(band.chosen) for band in bands)
    wide = LEFT + most * (size + GAP)
    height = sum(headers) + rows * (size + UNDER) + (len(bands) - 1) * BETWEEN
    figure = style.new_figure(wide, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = _Sheet(axes, size)
    top = 0.0
    for place, (band, header) in enumerate(zip(bands, headers, strict=True)):
        top += header + (BETWEEN if place else 0.0)
        if header:
            _headings(sheet, band.heads, top, top - header)
        _draw_block(sheet, band, top)
        top += len(band.chosen) * (size + UNDER)
    axes.set(xlim=(0, wide), ylim=(height, 0), aspect="auto")
    return figure


def _bands(block: Block) -> list[Block]:
    """Split a block that is too wide for a page; each piece has the original and the same rows."""
    rows = {
        row: {t.column: t for t in block.tiles if t.row == row} for row in range(len(block.chosen))
    }
    block = replace(block, best={row: _best(tiles) for row, tiles in rows.items()})
    first, *others = block.heads
    pieces_needed = max(1, math.ceil(len(others) / (MOST_COLUMNS - 1)))
    step = max(1, math.ceil(len(others) / pieces_needed))
    pieces = [others[start : start + step] for start in range(0, len(others), step)] or [[]]
    return [
        replace(block, tiles=[tile for tile in block.tiles if tile.column in {first, *piece}])
        for piece in pieces
    ]


def _lines(head: Tile, size: float) -> list[str]:
    """Return a heading in lines as wide as a picture."""
    return wrapped(head.heading, size, HEADING, _weight(head))


def _weight(head: Tile) -> str:
    return "bold" if head.kind == "truth" else "normal"


def _header(heads: Mapping[str, Tile], size: float) -> float:
    """Inches above a block for its headings and the names of their groups."""
    return 0.3 + LINE * max(len(_lines(head, size)) for head in heads.values())


def _headings(sheet: _Sheet, heads: Mapping[str, Tile], under: float, top: float) -> None:
    """Method names above their columns, and a rule over each group of columns."""
    options: Any = {"va": "bottom", "ha": "center", "fontsize": HEADING, "linespacing": 1.05}
    for place, head in enumerate(heads.values()):
        words = "\n".join(_lines(head, sheet.size))
        middle = sheet.left(place) + sheet.size / 2
        sheet.axes.text(middle, under - 0.05, words, weight=_weight(head), **options)
    note = "Under each picture:\nPSNR [dB]"
    sheet.axes.text(0, under - 0.05, note, va="bottom", fontsize=6.5, color=style.MUTED)
    kinds = [head.kind for head in heads.values()]
    for kind, title in GROUPS.items():
        if kind in kinds and title:
            start = sheet.left(kinds.index(kind))
            end = sheet.left(len(kinds) - 1 - kinds[::-1].index(kind)) + sheet.size
            rule = [top + 0.16, top + 0.16]
            sheet.axes.plot([start, end], rule, color=style.HATCH, linewidth=0.8)
            words = title if width(title, HEADING) <= end - start else title.partition(":")[0]
            sheet.axes.text(
                start, top + 0.13, words, va="bottom", fontsize=HEADING, color=style.MUTED
            )


def _draw_block(sheet: _Sheet, block: Block, top: float) -> None:
    y = top + 0.02
    for line, words in enumerate(block.texts):
        weight, colour = ("bold", style.INK) if line == 0 else ("normal", style.MUTED)
        for part in textwrap.wrap(words, 17 if line == 0 else 20):
            sheet.axes.text(0.0, y, part, va="top", fontsize=7, weight=weight, color=colour)
            y += 0.135
    columns = [*block.heads]
    for row, (quantile, _, _) in enumerate(block.chosen):
        y = top + row * (sheet.size + UNDER)
        middle = y + sheet.size / 2
        options: Any = {"ha": "right", "va": "center", "fontsize": 6.5, "color": style.MUTED}
        sheet.axes.text(LEFT - 0.08, middle, f"q {quantile:g}", **options)
        for tile in block.tiles:
            if tile.row == row:
                x = sheet.left(columns.index(tile.column))
                _draw_tile(sheet, tile, x, y, bold=tile.column == block.best[row])


def _best(tiles: Mapping[str, Tile]) -> str | None:
    scored = {
        column: float(tile.score["psnr"])
        for column, tile in tiles.items()
        if tile.kind == "attack" and tile.score is not None and tile.score["status"] == "complete"
    }
    return max(scored, key=lambda column: scored[column]) if scored else None


def _draw_tile(sheet: _Sheet, tile: Tile, x: float, y: float, *, bold: bool) -> None:
    """Draw one picture with its PSNR below it; hatch and label a failed one."""
    if tile.score is not None and tile.score["status"] != "complete":
        from matplotlib.patches import Rectangle

        words = "failed"
        options: Any = {"facecolor": style.PAPER, "edgecolor": style.HATCH, "hatch": "////"}
        sheet.axes.add_patch(Rectangle((x, y), sheet.size, sheet.size, linewidth=0.4, **options))
    else:
        words = "" if tile.score is None else number(float(tile.score["psnr"]))
        pixels = tile.pixels.transpose(1, 2, 0)
        sheet.axes.imshow(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="none",
            extent=(x, x + sheet.size, y + sheet.size, y),
        )
    sheet.axes.text(
        x + sheet.size / 2,
        y + sheet.size + 0.025,
        words,
        ha="center",
        va="top",
        fontsize=6.5,
        weight="bold" if bold else "normal",
        color=style.INK if bold else style.MUTED,
    )
