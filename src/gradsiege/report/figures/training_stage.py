"""Fidelity of each attack on undefended updates, from the untrained to the trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gradsiege.analysis.worst_case import worst_case
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData, in_stage_order
from gradsiege.report.labels import label
from gradsiege.report.wording import INTERVAL, counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 3
TITLE = "Training stage: what an undefended update gives away"
PANEL = ["dataset", "model", "protocol"]
COLUMNS = [*PANEL, "training_stage", "attack", "kind", "threat_model", "victims", "rows", "failed"]
COLUMNS += ["psnr_capped", "psnr", "psnr_low", "psnr_high"]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per panel, stage and attack: its strongest threat model on undefended updates."""
    table = data.undefended(data.summary)
    groups = [*PANEL, "training_stage", "attack"]
    kinds = [worst_case(table, by=groups, kind=kind) for kind in ("attack", "control")]
    return pd.concat([kind for kind in kinds if len(kind)] or kinds)[COLUMNS].reset_index(drop=True)


def draw(data: StudyData) -> Drawn:
    """Draw mean PSNR against training stage, one line per attack, controls in grey."""
    table = plotted(data)
    if table.empty:
        figure = style.nothing_to_draw("the study scored no undefended update.")
        return Drawn(TITLE, "No undefended update was scored.", table, figure)
    stages = in_stage_order(table["training_stage"])
    groups = list(table.groupby(PANEL, sort=False))
    columns = min(2, len(groups))
    with style.study_style():
        rows = -(-len(groups) // columns)
        figure, axes = style.panels(rows, columns, style.WIDTH, 3.0)
        flat = [panel for row in axes for panel in row]
        for panel, (key, part) in zip(flat, groups, strict=False):
            _lines(panel, part, in_stage_order(part["training_stage"]), data)
            names = [label(str(name)) for name in key]
            panel.set_title(f"{names[0]}, {names[1]}, {names[2]}")
        for panel in flat[len(groups) :]:
            panel.set_axis_off()
        style.legend_below(figure, flat)
    caption = (
        "Mean PSNR of reconstructions from undefended updates at each training stage; higher means "
        "more leaked. Each attack under its strongest threat model. Controls (grey, dashed) see no "
        f"gradient. {INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )
    return Drawn(TITLE, caption, table, figure, alt=_alt(table, stages))


def _lines(panel: Axes, part: pd.DataFrame, stages: list[str], data: StudyData) -> None:
    """Draw one line per attack, slightly shifted so that bars do not overlap."""
    attacks = data.in_order("attacks", part.loc[part["kind"] == "attack", "attack"])
    controls = list(dict.fromkeys(part.loc[part["kind"] == "control", "attack"]))
    for index, attack in enumerate([*attacks, *controls]):
        line = part[part["attack"] == attack].set_index("training_stage").reindex(stages)
        is_control = attack in controls
        step = min(0.09, 0.5 / len(attacks)) if attacks else 0.0
        shift = 0.0 if is_control else step * (index - (len(attacks) - 1) / 2)
        name = data.name_of("attacks", attack)
        error = [line["psnr"] - line["psnr_low"], line["psnr_high"] - line["psnr"]]
        panel.errorbar(
            [position + shift for position in range(len(stages))],
            line["psnr"],
            yerr=None if is_control else [side.fillna(0.0).clip(lower=0) for side in error],
            color=style.colour(name),
            marker=style.marker(name),
            linestyle=(0, (3, 2)) if is_control else style.LINES[_variant(data, attacks, attack)],
            linewidth=1.0 if is_control else 1.5,
            markersize=4.5,
            capsize=2.5,
            elinewidth=1.0,
            label=None if is_control else label(attack, name),
            zorder=2 if is_control else 3,
        )
    _name_controls(panel, part, controls, stages)
    panel.set_xticks(range(len(stages)), stages)
    panel.set_xlim(-0.4, len(stages) - 0.15)
    panel.set_xlabel("Training stage of the global model")
    panel.set_ylabel("PSNR [dB]")


def _variant(data: StudyData, attacks: list[str], attack: str) -> int:
    """Return the index of an attack among those of the same method, which share a colour but not a line style."""
    name = data.name_of("attacks", attack)
    same = [other for other in attacks if data.name_of("attacks", other) == name]
    return same.index(attack) % len(style.LINES)


def _name_controls(panel: Axes, part: pd.DataFrame, controls: list[str], stages: list[str]) -> None:
    """Write the name of each control at the end of its line, where no legend is needed."""
    last = part[part["training_stage"] == stages[-1]].set_index("attack")["psnr"]
    ends = [float(last[control]) for control in controls if control in last]
    low, high = panel.get_ylim()
    heights = style.spread(ends, 0.055 * (high - low))
    named = [control for control in controls if control in last]
    for control, height in zip(named, heights, strict=True):
        panel.text(
            len(stages) - 0.7,
            height,
            label(control),
            fontsize=6.5,
            va="center",
            color=style.MUTED,
        )


def _alt(table: pd.DataFrame, stages: list[str]) -> str:
    best = table[table["kind"] == "attack"].groupby("training_stage")["psnr"].max()
    known = [f"{stage} {number(best[stage])} dB" for stage in stages if stage in best]
    return "Line chart of PSNR by training stage. Best attack: " + ", ".join(known) + "."
