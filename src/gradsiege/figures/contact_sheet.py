"""Lay out pictures in rows of victims and columns of methods."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.figures import style
from gradsiege.figures.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, GAP, UNDER, HEADER, BETWEEN = 1.5, 0.06, 0.18, 0.6, 0.16  # inches
GROUPS = {
    "truth": "",
    "bound": "Bound",
    "control": "Controls: no gradient used",
    "attack": "Attacks",
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
    """One cell of the sheet: its ids, the lines that name it, reference attack, chosen victims."""

    cell: Mapping[str, str]
    texts: tuple[str, ...]
    reference: str
    chosen: list[tuple[float, int, int]]
    tiles: list[Tile]


@dataclass(frozen=True)
class _Sheet:
    """One pair of axes over the whole page, measured in inches from the upper left corner."""

    axes: Axes
    size: float
    columns: list[str]
    bounds: frozenset[str]

    def left(self, column: str) -> float:
        """Left edge of a column."""
        return LEFT + self.columns.index(column) * (self.size + GAP)


def draw_sheet(blocks: list[Block]) -> Figure:
    """Draw every block under the other; a method that a block lacks is a hatched square."""
    heads = {tile.column: tile for block in blocks for tile in block.tiles}
    order = list(GROUPS)
    columns = sorted(heads, key=lambda column: order.index(heads[column].kind))
    size = float(np.clip((style.WIDTH - LEFT) / len(columns) - GAP, 0.5, 0.8))
    rows = sum(len(block.chosen) for block in blocks)
    width = LEFT + len(columns) * (size + GAP)
    height = HEADER + rows * (size + UNDER) + (len(blocks) - 1) * BETWEEN
    figure = style.new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    bounds = frozenset(column for column in columns if heads[column].kind == "bound")
    sheet = _Sheet(axes, size, columns, bounds)
    _headings(sheet, heads)
    top = HEADER
    for number_of_block, block in enumerate(blocks):
        top += BETWEEN if number_of_block else 0.0
        _draw_block(sheet, block, top)
        top += len(block.chosen) * (size + UNDER)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def _headings(sheet: _Sheet, heads: Mapping[str, Tile]) -> None:
    """Method names above their columns, and a rule over each group of columns."""
    for column in sheet.columns:
        words = textwrap.fill(heads[column].heading, 11 if sheet.size < 0.7 else 13)
        middle = sheet.left(column) + sheet.size / 2
        weight = "bold" if heads[column].kind == "truth" else "normal"
        options: Any = {"ha": "center", "va": "bottom", "fontsize": 7, "weight": weight}
        sheet.axes.text(middle, HEADER - 0.05, words, linespacing=1.05, **options)
    note = "Under each picture:\nPSNR [dB]"
    sheet.axes.text(0, HEADER - 0.05, note, va="bottom", fontsize=6.5, color=style.MUTED)
    for kind, title in GROUPS.items():
        own = [column for column in sheet.columns if heads[column].kind == kind]
        if own and title:
            start, end = sheet.left(own[0]), sheet.left(own[-1]) + sheet.size
            sheet.axes.plot([start, end], [0.16, 0.16], color=style.HATCH, linewidth=0.8)
            sheet.axes.text(start, 0.13, title, va="bottom", fontsize=7, color=style.MUTED)


def _draw_block(sheet: _Sheet, block: Block, top: float) -> None:
    y = top + 0.02
    for line, words in enumerate(block.texts):
        weight, colour = ("bold", style.INK) if line == 0 else ("normal", style.MUTED)
        for part in textwrap.wrap(words, 17 if line == 0 else 20):
            sheet.axes.text(0.0, y, part, va="top", fontsize=7, weight=weight, color=colour)
            y += 0.135
    for row, (quantile, _, _) in enumerate(block.chosen):
        y = top + row * (sheet.size + UNDER)
        words = f"q {quantile:g}"
        middle = y + sheet.size / 2
        options: Any = {"ha": "right", "va": "center", "fontsize": 6.5, "color": style.MUTED}
        sheet.axes.text(LEFT - 0.08, middle, words, **options)
        own = {tile.column: tile for tile in block.tiles if tile.row == row}
        best = _best(own)
        for column in sheet.columns:
            if column in sheet.bounds and column not in own:
                continue  # what was trained on is the original itself
            _draw_tile(sheet, own.get(column), column, y, bold=column == best)


def _best(tiles: Mapping[str, Tile]) -> str | None:
    scored = {
        column: float(tile.score["psnr"])
        for column, tile in tiles.items()
        if tile.kind == "attack" and tile.score is not None and tile.score["status"] == "complete"
    }
    return max(scored, key=lambda column: scored[column]) if scored else None


def _draw_tile(sheet: _Sheet, tile: Tile | None, column: str, y: float, *, bold: bool) -> None:
    """One picture with its PSNR under it; failed or missing ones are hatched and say so."""
    x = sheet.left(column)
    words = ""
    if tile is None:
        words = "not run"
    elif tile.score is not None and tile.score["status"] != "complete":
        words = "failed"
    if tile is None or words:
        from matplotlib.patches import Rectangle

        options: Any = {"facecolor": style.PAPER, "edgecolor": style.HATCH, "hatch": "////"}
        sheet.axes.add_patch(Rectangle((x, y), sheet.size, sheet.size, linewidth=0.4, **options))
    else:
        pixels = tile.pixels.transpose(1, 2, 0)
        sheet.axes.imshow(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="none",
            extent=(x, x + sheet.size, y + sheet.size, y),
        )
        words = "" if tile.score is None else number(float(tile.score["psnr"]))
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
