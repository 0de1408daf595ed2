"""Mean PSNR of every attack against every defense, one panel a training stage and protocol."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData, in_stage_order
from gradsiege.report.labels import label
from gradsiege.report.wording import counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 3
TITLE = "Attacks against defenses"
ROW = ["dataset", "model", "protocol"]
COLUMNS = [*ROW, "training_stage", "defense", "attack", "kind", "threat_model", "victims", "rows"]
COLUMNS += ["failed", "psnr_capped", "psnr", "psnr_low", "psnr_high"]
CELL_WIDTH, CELL_HEIGHT, MARGIN, WIDEST = 0.62, 0.27, 2.6, 10.5  # inches
MOST_UNLABELLED = 2  # rows of panels that share the names of the defenses under the last one
MOST_SLANTED = 12  # names side by side; more of them stand upright, each on one line


def draw(data: StudyData) -> Drawn:
    """Draw a heat map of attacks (rows) against defenses (columns); an empty field says why it is empty."""
    shown = data.summary["kind"] != "bound"
    table = data.summary.loc[shown, COLUMNS].reset_index(drop=True)
    if table.empty:
        figure = style.nothing_to_draw("the study scored nothing.")
        return Drawn(TITLE, "Nothing was scored.", table, figure)
    defenses = data.in_order("defenses", table["defense"])
    stages = in_stage_order(table["training_stage"])
    wide = min(CELL_WIDTH, (WIDEST - MARGIN) / len(defenses)) * len(defenses)
    # As many panels side by side as a page holds: all stages of a row, or one under the other.
    columns = len(stages) if MARGIN + wide * len(stages) <= WIDEST else 1
    parts = [
        _Part(key, stage, part[part["training_stage"] == stage], _methods(data, part))
        for key, part in table.groupby(ROW, sort=False)
        for stage in in_stage_order(part["training_stage"])
    ]
    rows = _in_rows(parts, columns)
    with style.study_style():
        figure = _sheet(data, table, rows, defenses, max(style.WIDTH, MARGIN + wide * columns))
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(data, table))


@dataclass(frozen=True)
class _Part:
    """One panel: data set, model and protocol; stage; rows of the summary; (attack, threat model) rows."""

    key: tuple[Hashable, ...]
    stage: str
    own: pd.DataFrame
    methods: list[tuple[str, str]]

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
    sizes = [len(row[0].methods) for row in rows]
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
            _method_ticks(panel, part.methods if part is row[0] else [], data)
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


def _methods(data: StudyData, table: pd.DataFrame) -> list[tuple[str, str]]:
    """(attack, threat model) rows: attacks in study order, then controls (no threat model)."""
    attacks = table[table["kind"] == "attack"]
    order = data.in_order("attacks", attacks["attack"])
    pairs = set(zip(attacks["attack"], attacks["threat_model"], strict=True))
    threats = data.in_order("threat_models", attacks["threat_model"])
    rows = [(a, t) for a in order for t in threats if (a, t) in pairs]
    controls = dict.fromkeys(table.loc[table["kind"] == "control", "attack"])
    return rows + [(str(control), "") for control in controls]


def _values(
    own: pd.DataFrame, methods: list[tuple[str, str]], defenses: list[str]
) -> tuple[np.ndarray, dict[tuple[int, int], pd.Series]]:
    grid = np.full((len(methods), len(defenses)), np.nan)
    cells = {}
    for _, line in own.iterrows():
        threat = line["threat_model"] if line["kind"] == "attack" else ""
        place = methods.index((line["attack"], threat)), defenses.index(line["defense"])
        grid[place] = line["psnr"]
        cells[place] = line
    return grid, cells


def _panel(
    panel: Axes, part: _Part, defenses: list[str], limits: tuple[float, float], data: StudyData
) -> Any:
    """One heat map with the number in every cell."""
    import seaborn as sns

    methods = part.methods
    grid, cells = _values(part.own, methods, defenses)
    panel.set_facecolor(style.PAPER)
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    image: Any = panel.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, (attack, threat) in enumerate(methods):
        for column, defense in enumerate(defenses):
            line = cells.get((row, column))
            if line is None:
                words = data.why_missing(part.place(defense), threat, attack if threat else "")
                _mark(panel, row, column, words)
            elif np.isnan(line["psnr"]):
                _mark(panel, row, column, "failed")
            else:
                red, green, blue, _ = colours(float(image.norm(grid[row, column])))
                words = number(line["psnr"]) + ("*" if line["failed"] else "")
                colour = style.text_on((red, green, blue))
                options: Any = {"ha": "center", "va": "center", "fontsize": 7}
                panel.text(column, row, words, color=colour, **options)
    panel.set_xticks(np.arange(-0.5, len(defenses)), minor=True)
    panel.set_yticks(np.arange(-0.5, len(methods)), minor=True)
    panel.grid(False)
    panel.grid(which="minor", color=style.PAPER, linewidth=1.5, axis="both")
    attacks = sum(1 for _, threat in methods if threat)
    panel.axhline(attacks - 0.5, color=style.PAPER, linewidth=5)
    panel.tick_params(which="both", length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def _mark(panel: Axes, row: int, column: int, words: str) -> None:
    """An empty field: a dash where a counter answers another defense, hatched where the study has no such cell or no result."""
    from matplotlib.patches import Rectangle

    options: Any = {"ha": "center", "va": "center", "fontsize": 6, "color": style.MUTED}
    if words == "not applicable":
        panel.text(column, row, "–", **options)
        return
    corner = (column - 0.5, row - 0.5)
    panel.add_patch(Rectangle(corner, 1, 1, facecolor="none", hatch="////", linewidth=0))
    if words != "cut":
        panel.text(column, row, words, **options).set_path_effects(style.outlined())


def _method_ticks(panel: Axes, methods: list[tuple[str, str]], data: StudyData) -> None:
    """Names of attacks and controls, with the threat model where there are several."""
    several = len({threat for _, threat in methods if threat}) > 1
    names = []
    for attack, threat in methods:
        name = label(attack, data.name_of("attacks", attack))
        name = f"{name} · {threat.replace('_', ' ')}" if several and threat else name
        names.append(textwrap.fill(name, 44))
    panel.set_yticks(range(len(names)), names)


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
        "it controls that see no gradient: an attack near them recovered nothing. –: the counter answers another defense; "
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
