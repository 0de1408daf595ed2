"""Mean PSNR of every attack against every defense, one panel a training stage and protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.figures import style
from gradsiege.figures.data import Drawn, StudyData, in_stage_order
from gradsiege.figures.labels import label
from gradsiege.figures.wording import counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 1
TITLE = "Attacks against defenses"
ROW = ["dataset", "model", "protocol"]
COLUMNS = [*ROW, "training_stage", "defense", "attack", "kind", "threat_model", "victims", "rows"]
COLUMNS += ["failed", "psnr_capped", "psnr", "psnr_low", "psnr_high"]
CELL_WIDTH, CELL_HEIGHT, MARGIN, WIDEST = 0.62, 0.27, 2.6, 10.5  # inches
MOST_UNLABELLED = 2  # rows of panels that share the names of the defenses under the last one


def draw(data: StudyData) -> Drawn:
    """Draw a heat map an attack (row) and defense (column); what was not run is hatched."""
    shown = data.summary["kind"] != "bound"
    table = data.summary.loc[shown, COLUMNS].reset_index(drop=True)
    if table.empty:
        figure = style.nothing_to_draw("the study scored nothing.")
        return Drawn(TITLE, "Nothing was scored.", table, figure)
    defenses = data.in_order("defenses", table["defense"])
    methods = _methods(data, table)
    stages = in_stage_order(table["training_stage"])
    parts = [
        (
            f"{', '.join(label(str(name)) for name in key)}\n{stage.capitalize()} model",
            part[part["training_stage"] == stage],
        )
        for key, part in table.groupby(ROW, sort=False)
        for stage in stages
    ]
    # As many panels side by side as a page holds: all stages of a row, or one under the other.
    wide = CELL_WIDTH * len(defenses)
    columns = len(stages) if MARGIN + wide * len(stages) <= WIDEST else 1
    with style.study_style():
        width = max(style.WIDTH, MARGIN + wide * columns)
        rows = len(parts) // columns
        height = (0.85 if rows <= MOST_UNLABELLED else 1.45) + CELL_HEIGHT * len(methods)
        figure, axes = style.panels(rows, columns, width, height)
        flat = [panel for row in axes for panel in row]
        limits = (float(table["psnr"].min()), float(table["psnr"].max()))
        image: Any = None
        for place, (panel, (title, own)) in enumerate(zip(flat, parts, strict=True)):
            image = _panel(panel, own, methods, defenses, limits)
            first = place % columns == 0
            last = place >= len(parts) - columns or rows > MOST_UNLABELLED
            panel.set_title(title if first else title.partition("\n")[2])
            _method_ticks(panel, methods if first else [], data)
            _defense_ticks(panel, defenses if last else [], data)
        tall = float(figure.get_size_inches()[1])
        length = min(0.75 * tall, 3.5)
        bar = figure.colorbar(
            image, ax=flat, shrink=length / tall, aspect=length / 0.13, anchor=(0, 0.95), pad=0.02
        )
        bar.set_label("Mean PSNR [dB] (darker: more leaked)")
        bar.outline.set_visible(False)
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(data, table))


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
    panel: Axes,
    own: pd.DataFrame,
    methods: list[tuple[str, str]],
    defenses: list[str],
    limits: tuple[float, float],
) -> Any:
    """One heat map with the number in every cell."""
    import seaborn as sns

    grid, cells = _values(own, methods, defenses)
    panel.set_facecolor(style.PAPER)
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    image: Any = panel.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row in range(len(methods)):
        for column in range(len(defenses)):
            place = cells.get((row, column))
            red, green, blue, _ = colours(float(image.norm(grid[row, column])))
            _annotate(panel, row, column, place, style.text_on((red, green, blue)))
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


def _annotate(panel: Axes, row: int, column: int, line: pd.Series | None, colour: str) -> None:
    """The mean, starred when images failed; hatched when nothing ran, 'failed' when all did."""
    from matplotlib.patches import Rectangle

    if line is None or np.isnan(line["psnr"]):
        corner = (column - 0.5, row - 0.5)
        panel.add_patch(Rectangle(corner, 1, 1, facecolor="none", hatch="////", linewidth=0))
        words = "not run" if line is None else "failed"
        text = panel.text(column, row, words, fontsize=6, color=style.MUTED)
        text.set_path_effects(style.outlined())
    else:
        words = number(line["psnr"]) + ("*" if line["failed"] else "")
        text = panel.text(column, row, words, fontsize=7, color=colour)
    text.set(ha="center", va="center")


def _method_ticks(panel: Axes, methods: list[tuple[str, str]], data: StudyData) -> None:
    """Names of attacks and controls, with the threat model where there are several."""
    several = len({threat for _, threat in methods if threat}) > 1
    names = []
    for attack, threat in methods:
        name = label(attack, data.name_of("attacks", attack))
        names.append(f"{name} · {threat.replace('_', ' ')}" if several and threat else name)
    panel.set_yticks(range(len(names)), names)


def _defense_ticks(panel: Axes, defenses: list[str], data: StudyData) -> None:
    names = [label(name, data.name_of("defenses", name)) for name in defenses]
    texts = [name.replace(" (", "\n(") for name in names]
    panel.set_xticks(range(len(texts)), texts, rotation=35, ha="right", rotation_mode="anchor")


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    return (
        "Mean PSNR over victims; darker means more leaked. Rows above the gap are attacks, below "
        "it controls that see no gradient: an attack near them recovered nothing. Hatched: not in "
        "the study, or not run; * some images failed and are left out of that mean."
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
