"""Mean PSNR of every attack against every defense, one panel per training stage and protocol; counters share a row."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData, in_stage_order
from gradsiege.report.folding import Method, best, methods, why_missing
from gradsiege.report.labels import label
from gradsiege.report.wording import counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 5
TITLE = "Attacks against defenses"
ROW = ["dataset", "model", "protocol"]
COLUMNS = [*ROW, "training_stage", "defense", "attack", "kind", "threat_model", "victims", "rows"]
COLUMNS += ["failed", "psnr_capped", "psnr", "psnr_low", "psnr_high"]
CELL_WIDTH, CELL_HEIGHT, MARGIN, WIDEST = 0.62, 0.27, 2.2, 10.5  # inches
FOLDED = {
    False: 2.0,
    True: 3.0,
}  # height of a row whose cells name their counter (flat, upright), in plain rows
MOST_UNLABELLED = 2  # rows of panels that share the names of the defenses under the last one
MOST_SLANTED = 12  # names side by side; more of them stand upright, each on one line


def draw(data: StudyData) -> Drawn:
    """Draw a heat map of attacks (rows) and defenses (columns); an empty cell shows why it is empty."""
    # Which of a gallery the victim is has no decibels of its own, and a bound is not an attack.
    shown = data.summary["kind"].isin(["attack", "control"])
    table = data.summary.loc[shown, COLUMNS].reset_index(drop=True)
    if table.empty:
        figure = style.nothing_to_draw("the study scored nothing.")
        return Drawn(TITLE, "Nothing was scored.", table, figure)
    defenses = data.in_order("defenses", table["defense"])
    stages = in_stage_order(table["training_stage"])
    wide = min(CELL_WIDTH, (WIDEST - MARGIN) / len(defenses)) * len(defenses)
    # Put all stages of a row side by side if the page is wide enough, else below each other.
    columns = len(stages) if MARGIN + wide * len(stages) <= WIDEST else 1
    folded = FOLDED[len(defenses) > MOST_SLANTED]
    parts = [
        _Part(key, stage, part[part["training_stage"] == stage], _methods(data, part), folded)
        for key, part in table.groupby(ROW, sort=False)
        for stage in in_stage_order(part["training_stage"])
    ]
    rows = _in_rows(parts, columns)
    with style.study_style():
        figure = _sheet(data, table, rows, defenses, max(style.WIDTH, MARGIN + wide * columns))
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(data, table))


@dataclass(frozen=True)
class _Part:
    """One panel: data set, model and protocol; stage; rows of the summary; rows of the map; height of a folded one."""

    key: tuple[Hashable, ...]
    stage: str
    own: pd.DataFrame
    methods: list[Method]
    folded: float

    @property
    def edges(self) -> np.ndarray:
        """Upper edges of the rows, then the lower edge of the last, in plain rows from the top."""
        heights = [self.folded if method.folded else 1.0 for method in self.methods]
        return np.cumsum([0.0, *heights])

    def place(self, defense: str) -> tuple[str, ...]:
        """Data set, model, defense, training stage, protocol."""
        dataset, model, protocol = map(str, self.key)
        return dataset, model, defense, self.stage, protocol


def _in_rows(parts: list[_Part], columns: int) -> list[list[_Part]]:
    """Panels side by side share data, model and protocol, and so their attacks."""
    rows: list[list[_Part]] = []
    for part in parts:
        if rows and rows[-1][0].key == part.key and len(rows[-1]) < columns:
            rows[-1].append(part)
        else:
            rows.append([part])
    return rows


def _sheet(
    data: StudyData, table: pd.DataFrame, rows: list[list[_Part]], defenses: list[str], width: float
) -> Figure:
    """Every panel, as high as it has attacks, and one colour bar."""
    sizes = [float(row[0].edges[-1]) for row in rows]
    apart = 0.85 if len(rows) <= MOST_UNLABELLED else 1.45
    height = apart * len(rows) + CELL_HEIGHT * sum(sizes) + 0.3
    figure = style.new_figure(width, height, layout="constrained")
    columns = max(map(len, rows))
    axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": sizes})
    limits = (float(table["psnr"].min()), float(table["psnr"].max()))
    image: Any = None
    for place, row in enumerate(rows):
        named = place == len(rows) - 1 or len(rows) > MOST_UNLABELLED
        for panel, part in zip(axes[place], row, strict=False):
            image = _panel(panel, part, defenses, limits, data)
            head = ", ".join(label(str(name)) for name in part.key)
            title = f"{part.stage.capitalize()} model"
            panel.set_title(f"{head}\n{title}" if part is row[0] else title)
            _method_ticks(panel, part, data, named=part is row[0])
            _defense_ticks(panel, defenses if named else [], data)
        for panel in axes[place][len(row) :]:
            panel.set_axis_off()
    length = min(0.75 * height, 3.5)
    bar = figure.colorbar(
        image, ax=axes, shrink=length / height, aspect=length / 0.13, anchor=(0, 0.95), pad=0.02
    )
    bar.set_label("Mean PSNR [dB] (darker: more leaked)")
    bar.outline.set_visible(False)
    return figure


def _methods(data: StudyData, table: pd.DataFrame) -> list[Method]:
    """Attacks in study order, counters of one attack in one row, then controls (no threat model)."""
    attacks = table[table["kind"] == "attack"]
    order = data.in_order("attacks", attacks["attack"])
    pairs = set(zip(attacks["attack"], attacks["threat_model"], strict=True))
    threats = data.in_order("threat_models", attacks["threat_model"])
    controls = dict.fromkeys(table.loc[table["kind"] == "control", "attack"])
    return methods(
        data,
        [(a, t) for a in order for t in threats if (a, t) in pairs]
        + [(str(control), "") for control in controls],
    )


def _lines(part: _Part, method: Method, defense: str) -> pd.DataFrame:
    """The rows of the summary in one cell."""
    same = part.own["attack"].isin(method.members) & (part.own["defense"] == defense)
    if method.threat_model:
        same &= part.own["threat_model"] == method.threat_model
    return part.own[same]


def _panel(
    panel: Axes, part: _Part, defenses: list[str], limits: tuple[float, float], data: StudyData
) -> Any:
    """One heat map with the number in every cell, and the counter's name where a row holds several."""
    import seaborn as sns

    edges, columns = part.edges, np.arange(len(defenses) + 1) - 0.5
    grid = np.full((len(part.methods), len(defenses)), np.nan)
    panel.set_facecolor(style.PAPER)
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    cells = []
    for row, method in enumerate(part.methods):
        for column, defense in enumerate(defenses):
            lines = _lines(part, method, defense)
            centre = (column, (edges[row] + edges[row + 1]) / 2, edges[row + 1] - edges[row])
            if lines.empty:
                _mark(panel, centre, why_missing(data, part.place(defense), method))
                continue
            line, idea = best(data, method, lines)
            grid[row, column] = line["psnr"]
            cells.append((centre, line, idea))
    image: Any = panel.pcolormesh(
        columns, edges, np.ma.masked_invalid(grid), cmap=colours, vmin=limits[0], vmax=limits[1]
    )
    for centre, line, idea in cells:
        if np.isnan(line["psnr"]):
            _mark(panel, centre, "failed")
        else:
            red, green, blue, _ = colours(float(image.norm(line["psnr"])))
            _number(panel, centre, line, idea, style.text_on((red, green, blue)), len(defenses))
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
    centre: tuple[float, float, float],
    line: pd.Series,
    idea: str,
    colour: str,
    defenses: int,
) -> None:
    """The mean of a cell; below it the counter, upright where many cells stand side by side."""
    column, middle, height = centre
    words = number(line["psnr"]) + ("*" if line["failed"] else "")
    options: Any = {"ha": "center", "va": "center", "color": colour, "zorder": 5}
    panel.text(column, middle - (height / 2 - 0.5), words, fontsize=7, **options)
    if idea:
        upright = defenses > MOST_SLANTED
        wrapped = textwrap.fill(idea, 16 if upright else 12)
        panel.text(
            column,
            middle + 0.4,
            wrapped,
            fontsize=5.2 if upright else 5.0,
            rotation=90 if upright else 0,
            linespacing=1.0,
            **options,
        )


def _mark(panel: Axes, centre: tuple[float, float, float], words: str) -> None:
    """Draw an empty cell: a dash if the counter answers another defense, hatched if the study has no such cell or result."""
    from matplotlib.patches import Rectangle

    column, middle, height = centre
    options: Any = {"ha": "center", "va": "center", "fontsize": 6, "color": style.MUTED}
    if words == "not applicable":
        panel.text(column, middle, "–", **options)
        return
    corner = (column - 0.5, middle - height / 2)
    panel.add_patch(Rectangle(corner, 1, height, facecolor="none", hatch="////", linewidth=0))
    if words != "cut":
        panel.text(column, middle, words, **options).set_path_effects(style.outlined())


def _method_ticks(panel: Axes, part: _Part, data: StudyData, *, named: bool) -> None:
    """Write the names of attacks and controls, with the threat model if there are several among plain rows."""
    plain = {m.threat_model for m in part.methods if m.threat_model and not m.folded}
    names = []
    for method in part.methods if named else []:
        name = method.title(data)
        if len(plain) > 1 and method.threat_model and not method.folded:
            name = f"{name} · {method.threat_model.replace('_', ' ')}"
        names.append(textwrap.fill(name, 30))
    centres = (part.edges[:-1] + part.edges[1:]) / 2
    panel.set_yticks(centres[: len(names)], names)


def _defense_ticks(panel: Axes, defenses: list[str], data: StudyData) -> None:
    names = [label(name, data.name_of("defenses", name)) for name in defenses]
    slanted = len(names) <= MOST_SLANTED
    texts = [name.replace(" (", "\n(") for name in names] if slanted else names
    places, angle = range(len(texts)), 35 if slanted else 90
    anchor: Any = {"ha": "right", "va": "top" if slanted else "center", "rotation_mode": "anchor"}
    panel.set_xticks(places, texts, rotation=angle, **anchor)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    return (
        "Mean PSNR over victims; darker means more leaked. Rows above the gap are attacks, below "
        'it controls that see no gradient: an attack near them recovered nothing. In a row "best informed" each cell shows the '
        "strongest counter written for its defense, by name. –: no counter of the row answers the defense; "
        "hatched: left out of the study file, or 'not run'; * some images failed and are left out of that mean."
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
