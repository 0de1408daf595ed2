"""Mean PSNR of every attack against every defense, one panel per training stage and protocol; sparse counters share a row."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData, in_stage_order
from gradsiege.report.folding import Method, best, methods, why_missing
from gradsiege.report.labels import label
from gradsiege.report.measured_text import width, wrapped
from gradsiege.report.wording import counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 6
TITLE = "Attacks against defenses"
ROW = ["dataset", "model", "protocol"]
COLUMNS = [*ROW, "training_stage", "defense", "attack", "kind", "threat_model", "victims", "rows"]
COLUMNS += ["failed", "psnr_capped", "psnr", "psnr_low", "psnr_high"]
# Inches: a cell, its greatest width on a page with few of them, the names of the rows, the page.
CELL_WIDTH, WIDEST_CELL, CELL_HEIGHT, NAMES, WIDEST = 0.62, 1.2, 0.27, 1.9, 10.5
HEAD, GAP, BAR, BAR_HEIGHT = 0.42, 0.14, 0.75, 3.5  # inches
MOST_UNLABELLED = 2  # rows of panels that share the names of the defenses under the last one
MOST_SLANTED = 12  # names side by side; more of them stand upright, each on one line
NAME_SIZE, IDEA_SIZE, SLANT = 7.5, 5.8, 35  # points, points, degrees
UPRIGHT_IDEA = 0.8  # inches of a counter's name in one line, where it stands upright
LINE = 1.2  # height of a line in sizes of the font


def draw(data: StudyData) -> Drawn:
    """Draw a heat map of attacks (rows) and defenses (columns); an empty cell shows why it is empty."""
    # Which of a gallery the victim is has no decibels of its own, and a bound is not an attack.
    shown = data.summary["kind"].isin(["attack", "control"])
    table = data.summary.loc[shown, COLUMNS].reset_index(drop=True)
    if table.empty:
        figure = style.nothing_to_draw("the study scored nothing.")
        return Drawn(TITLE, "Nothing was scored.", table, figure)
    with style.study_style():
        figure = _sheet(data, table, _panels(data, table))
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(data, table))


@dataclass(frozen=True)
class _Part:
    """One panel: data set, model and protocol; stage; defenses (columns), methods (rows), and what the cells hold.

    cells: (line of the summary, counter in words) by row and column; a cell that is not there is in `holes` with the
    reason.
    """

    key: tuple[Hashable, ...]
    stage: str
    defenses: list[str]
    methods: list[Method]
    cells: dict[tuple[int, int], tuple[pd.Series, str]]
    holes: dict[tuple[int, int], str]

    def edges(self, folded: float) -> np.ndarray:
        """Upper edges of the rows, then the lower edge of the last [inches from the top].

        folded: height of a row whose cells name their counters [inches].
        """
        heights = [folded if method.folded else CELL_HEIGHT for method in self.methods]
        return np.cumsum([0.0, *heights])


def _panels(data: StudyData, table: pd.DataFrame) -> list[list[_Part]]:
    """Return the panels in rows: of one data set, model and protocol side by side if the page is wide enough."""
    every = data.in_order("defenses", table["defense"])
    stages = in_stage_order(table["training_stage"])
    room = WIDEST - NAMES - BAR
    side_by_side = len(stages) * min(CELL_WIDTH * len(every), room) <= room
    rows: list[list[_Part]] = []
    for key, part in table.groupby(ROW, sort=False):
        row = _parts(data, key, part, every)
        rows += [row] if side_by_side else [[panel] for panel in row]
    return rows


def _parts(
    data: StudyData, key: tuple[Hashable, ...], part: pd.DataFrame, every: list[str]
) -> list[_Part]:
    """Return a panel per training stage; a defense that the study file keeps away from all of them has no column."""
    dataset, model, protocol = map(str, key)
    stages = in_stage_order(part["training_stage"])
    present = set(part["defense"])
    defenses = [
        name
        for name in every
        if name in present
        or any(data.why_missing((dataset, model, name, s, protocol)) == "not run" for s in stages)
    ]
    methods_of_row = _methods(data, part, every)
    panels = []
    for stage in stages:
        own = part[part["training_stage"] == stage]
        cells, holes = {}, {}
        for row, method in enumerate(methods_of_row):
            for column, defense in enumerate(defenses):
                lines = _lines(own, method, defense)
                if lines.empty:
                    place = (dataset, model, defense, stage, protocol)
                    holes[row, column] = why_missing(data, place, method)
                else:
                    cells[row, column] = best(data, method, lines)
        panels.append(_Part(key, stage, defenses, methods_of_row, cells, holes))
    return panels


def _methods(data: StudyData, table: pd.DataFrame, defenses: list[str]) -> list[Method]:
    """Attacks in study order, sparse counters in one row, then controls (no threat model)."""
    attacks = table[table["kind"] == "attack"]
    order = data.in_order("attacks", attacks["attack"])
    pairs = set(zip(attacks["attack"], attacks["threat_model"], strict=True))
    threats = data.in_order("threat_models", attacks["threat_model"])
    controls = dict.fromkeys(table.loc[table["kind"] == "control", "attack"])
    return methods(
        data,
        [(a, t) for a in order for t in threats if (a, t) in pairs]
        + [(str(control), "") for control in controls],
        defenses,
    )


def _lines(own: pd.DataFrame, method: Method, defense: str) -> pd.DataFrame:
    """The rows of the summary in one cell."""
    same = own["attack"].isin(method.members) & (own["defense"] == defense)
    if method.threat_model:
        same &= own["threat_model"] == method.threat_model
    return own[same]


@dataclass(frozen=True)
class _Layout:
    """Sizes in inches: width of a cell, height of a folded row, left margin of the panels; whether names are upright."""

    cell: float
    folded: float
    left: float
    upright: bool

    def idea(self, words: str) -> list[str]:
        """Return a counter's name in lines."""
        room = UPRIGHT_IDEA if self.upright else self.cell - 0.06
        return wrapped(words, room, IDEA_SIZE)


def _layout(data: StudyData, rows: list[list[_Part]]) -> _Layout:
    most = max(len(part.defenses) for row in rows for part in row)
    across = most * max(map(len, rows))
    names = [name for row in rows for name in _row_names(row[0], data)]
    left = 0.12 + max(width(line, NAME_SIZE) for name in names for line in name.split("\n"))
    narrow = min(CELL_WIDTH, (WIDEST - left - BAR) / across)
    cell = min(WIDEST_CELL, max(narrow, (style.WIDTH - left - BAR) / across))
    plain = _Layout(cell, CELL_HEIGHT, left, most > MOST_SLANTED)
    ideas = [plain.idea(idea) for row in rows for part in row for _, idea in part.cells.values()]
    if plain.upright:
        needed = max((width(line, IDEA_SIZE) for lines in ideas for line in lines), default=0.0)
    else:
        needed = max(map(len, ideas), default=0) * LINE * IDEA_SIZE / 72
    return replace(plain, folded=CELL_HEIGHT + needed + 0.05)


def _sheet(data: StudyData, table: pd.DataFrame, rows: list[list[_Part]]) -> Figure:
    """Every panel, as high as it has attacks, and one colour bar."""
    layout = _layout(data, rows)
    heights = [float(row[0].edges(layout.folded)[-1]) for row in rows]
    named = [
        place == len(rows) - 1
        or len(rows) > MOST_UNLABELLED
        or rows[place + 1][0].defenses != row[0].defenses
        for place, row in enumerate(rows)
    ]
    feet = [
        _foot(row[0], data, layout) if shown else 0.0
        for row, shown in zip(rows, named, strict=True)
    ]
    total = sum(heights) + sum(feet) + (HEAD + GAP) * len(rows)
    side = [layout.cell * len(row[0].defenses) * len(row) + GAP * (len(row) - 1) for row in rows]
    page = layout.left + max(side) + BAR
    figure = style.new_figure(page, total)
    limits = (float(table["psnr"].min()), float(table["psnr"].max()))
    image: Any = None
    top = total
    for row, height, foot, shown in zip(rows, heights, feet, named, strict=True):
        top -= HEAD
        for place, part in enumerate(row):
            across = layout.cell * len(part.defenses)
            left = layout.left + place * (across + GAP)
            panel = figure.add_axes(
                (left / page, (top - height) / total, across / page, height / total)
            )
            image = _panel(panel, part, layout, limits)
            head = ", ".join(label(str(name)) for name in part.key)
            title = f"{part.stage.capitalize()} model"
            panel.set_title(f"{head}\n{title}" if place == 0 else title)
            centres = (part.edges(layout.folded)[:-1] + part.edges(layout.folded)[1:]) / 2
            names = _row_names(part, data) if place == 0 else []
            panel.set_yticks(centres[: len(names)], names, fontsize=NAME_SIZE)
            _defense_ticks(panel, _defense_names(part, data, layout) if shown else [], layout)
        top -= height + foot + GAP
    length = min(BAR_HEIGHT, total - HEAD - GAP)
    corner = (
        (page - BAR + 0.15) / page,
        (total - HEAD - length) / total,
        0.13 / page,
        length / total,
    )
    bar = figure.colorbar(image, cax=figure.add_axes(corner))
    bar.set_label("Mean PSNR [dB] (darker: more leaked)")
    bar.outline.set_visible(False)
    return figure


def _panel(panel: Axes, part: _Part, layout: _Layout, limits: tuple[float, float]) -> Any:
    """One heat map with the number in every cell, and the counter's name where a row holds several."""
    import seaborn as sns

    edges, columns = part.edges(layout.folded), np.arange(len(part.defenses) + 1) - 0.5
    grid = np.full((len(part.methods), len(part.defenses)), np.nan)
    for place, (line, _) in part.cells.items():
        grid[place] = line["psnr"]
    panel.set_facecolor(style.PAPER)
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    image: Any = panel.pcolormesh(
        columns, edges, np.ma.masked_invalid(grid), cmap=colours, vmin=limits[0], vmax=limits[1]
    )
    for (row, column), words in part.holes.items():
        _mark(panel, (column, edges[row], edges[row + 1]), words)
    for (row, column), (line, idea) in part.cells.items():
        if np.isnan(line["psnr"]):
            _mark(panel, (column, edges[row], edges[row + 1]), "failed")
            continue
        red, green, blue, _ = colours(float(image.norm(line["psnr"])))
        ink = style.text_on((red, green, blue))
        _number(panel, (column, edges[row]), line, layout.idea(idea), ink, upright=layout.upright)
    panel.set_ylim(edges[-1], 0)
    panel.set_xlim(columns[0], columns[-1])
    panel.set_xticks(columns, minor=True)
    panel.set_yticks(edges, minor=True)
    panel.grid(False)
    panel.grid(which="minor", color=style.PAPER, linewidth=1.5, axis="both")
    # Mesh cells are drawn over a grid below them.
    panel.set_axisbelow(False)
    attacks = sum(1 for method in part.methods if method.threat_model)
    panel.axhline(edges[attacks], color=style.PAPER, linewidth=5)
    panel.tick_params(which="both", length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def _number(
    panel: Axes,
    place: tuple[float, float],
    line: pd.Series,
    idea: list[str],
    ink: str,
    *,
    upright: bool,
) -> None:
    """The mean of a cell at its top; below it the counter, upright where many cells stand side by side.

    place: column, and upper edge of the cell [inches].
    """
    column, top = place
    words = number(line["psnr"]) + ("*" if line["failed"] else "")
    options: Any = {"ha": "center", "color": ink, "zorder": 5}
    panel.text(column, top + CELL_HEIGHT / 2, words, fontsize=7, va="center", **options)
    if idea:
        options |= {"rotation": 90 if upright else 0, "linespacing": 1.0, "va": "top"}
        panel.text(column, top + CELL_HEIGHT, "\n".join(idea), fontsize=IDEA_SIZE, **options)


def _mark(panel: Axes, place: tuple[float, float, float], words: str) -> None:
    """Draw an empty cell: a dash if the counter answers another defense, hatched if the study has no such cell or result.

    place: column, upper and lower edge of the cell [inches].
    """
    from matplotlib.patches import Rectangle

    column, top, bottom = place
    options: Any = {"ha": "center", "va": "center", "fontsize": 6, "color": style.MUTED}
    if words == "not applicable":
        panel.text(column, (top + bottom) / 2, "–", **options)
        return
    corner = (column - 0.5, top)
    panel.add_patch(Rectangle(corner, 1, bottom - top, facecolor="none", hatch="////", linewidth=0))
    if words != "cut":
        panel.text(column, (top + bottom) / 2, words, **options).set_path_effects(style.outlined())


def _row_names(part: _Part, data: StudyData) -> list[str]:
    """Names of attacks and controls in lines, with the threat model if there are several among rows of their sort."""
    names = []
    for method in part.methods:
        same = {
            m.threat_model for m in part.methods if m.threat_model and m.folded == method.folded
        }
        name = method.title(data)
        if len(same) > 1 and method.threat_model:
            name = f"{name} · {method.threat_model.replace('_', ' ')}"
        names.append("\n".join(wrapped(name, NAMES, NAME_SIZE)))
    return names


def _defense_names(part: _Part, data: StudyData, layout: _Layout) -> list[str]:
    names = [label(name, data.name_of("defenses", name)) for name in part.defenses]
    return names if layout.upright else [name.replace(" (", "\n(") for name in names]


def _foot(part: _Part, data: StudyData, layout: _Layout) -> float:
    """Height that the names of the defenses take [inches]."""
    names = _defense_names(part, data, layout)
    longest = max(width(line, NAME_SIZE) for name in names for line in name.split("\n"))
    if layout.upright:
        return longest + 0.1
    lines = max(name.count("\n") + 1 for name in names)
    tilt = math.radians(SLANT)
    return longest * math.sin(tilt) + lines * LINE * NAME_SIZE / 72 * math.cos(tilt) + 0.1


def _defense_ticks(panel: Axes, names: list[str], layout: _Layout) -> None:
    slanted = not layout.upright
    anchor: Any = {"ha": "right", "va": "top" if slanted else "center", "rotation_mode": "anchor"}
    anchor |= {"fontsize": NAME_SIZE, "rotation": SLANT if slanted else 90}
    panel.set_xticks(range(len(names)), names, **anchor)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    return (
        "Mean PSNR over victims; darker means more leaked. Rows below the gap are controls that see no gradient: an attack near "
        'them recovered nothing. In the row "best informed" each cell names the strongest counter written for its defense, and '
        "the attack if most counters of the row belong to another. –: no counter of the row answers the defense. "
        "Hatched: left out of the study file, or 'not run'. * Some images failed and are left out of that mean."
        f"{counts_note(table)} Intervals are in the data file."
        f"{synthetic_note(data, table['dataset'])}"
    )


def _alt(data: StudyData, table: pd.DataFrame) -> str:
    attacks = table[(table["kind"] == "attack") & table["psnr"].notna()]
    if attacks.empty:
        return "Heat map of mean PSNR by attack and defense; no attack has a value."
    ranked = attacks.sort_values("psnr", ascending=False)
    parts = [
        f"{number(line['psnr'])} dB ({label(line['attack'])} on {label(line['defense'])}, "
        f"{line['training_stage']})"
        for line in (ranked.iloc[0], ranked.iloc[-1])
    ]
    return f"Heat map of mean PSNR by attack and defense, from {parts[0]} down to {parts[1]}."
