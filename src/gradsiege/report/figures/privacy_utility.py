"""Test accuracy against the strongest attack on each defense setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.worst_case import worst_case
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, final_accuracy
from gradsiege.report.labels import label, strength
from gradsiege.report.wording import INTERVAL, counts_note, joined, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 3
NAME_SIZE = 6.5  # points
HEIGHT, MARGINS, NAME_HEIGHT = 3.1, 0.75, 0.115  # inches: a row of panels, of it no axes, a name
TITLE = "Privacy against utility: the strongest attack on each defense"
# The attacker that is strongest by each metric.
ROLES = {"psnr": "worst_case", "identified": "worst_identified"}
KEPT = ["threat_model", "attack", "training_stage", "protocol", "attackers", "victims", "rows"]
KEPT += ["failed", "psnr_capped"]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per metric and setting: the strongest attacker over everything the study attacked."""
    parts = []
    for metric in ROLES:
        table = worst_case(data.summary, metric=metric, by=SETTING)
        renamed = table[[*SETTING, *KEPT]].assign(metric=metric, worst=table[metric])
        renamed["worst_low"] = table[f"{metric}_low"]
        renamed["worst_high"] = table[f"{metric}_high"]
        parts.append(renamed)
    joint = pd.concat(parts, ignore_index=True)
    return joint.merge(final_accuracy(data), on=SETTING, how="left")


def draw(data: StudyData) -> Drawn:
    """Draw one point per defense setting in each panel, settings of one defense joined by a line."""
    table = plotted(data)
    known = table[table["accuracy"].notna() & table["worst"].notna()]
    if known.empty:
        reason = "no defense setting has both an accuracy and a finished attack."
        return Drawn(TITLE, reason.capitalize(), by_role(table), style.nothing_to_draw(reason))
    groups = list(known.groupby(["dataset", "model"], sort=False))
    with style.study_style():
        most = max(len(_named(part, data)) for _, part in groups)
        height = max(HEIGHT, MARGINS + NAME_HEIGHT * most)
        figure, axes = style.panels(len(groups), 2, style.WIDTH, height)
        for row, (key, part) in zip(axes, groups, strict=True):
            for panel, metric in zip(row, ROLES, strict=True):
                _points(panel, part[part["metric"] == metric], data)
                _reference(panel, data, (str(key[0]), str(key[1])), metric)
                panel.set_title(f"{label(str(key[0]))}, {label(str(key[1]))}")
                panel.set_xlabel("Test accuracy after training [%]")
            _names(row[0], part, data, height - MARGINS)
            row[0].set_ylabel("Worst-case PSNR [dB] (lower: more private)")
            row[1].set_ylabel("Worst-case identification [%]")
            row[1].set_ylim(-4, 104)
        style.legend_below(figure, [panel for row in axes for panel in row])
    caption = _caption(data, table, known)
    return Drawn(TITLE, caption, by_role(table), figure, alt=_alt(data, known))


def by_role(table: pd.DataFrame) -> pd.DataFrame:
    """The rows as the data file has them: the role of the attacker, and its metric under the metric's own name."""
    parts = [
        table[table["metric"] == metric]
        .rename(columns={f"worst{end}": f"{metric}{end}" for end in ("", "_low", "_high")})
        .assign(role=role)
        for metric, role in ROLES.items()
    ]
    return pd.concat([part for part in parts if len(part)] or parts).drop(columns="metric")


def _points(panel: Axes, part: pd.DataFrame, data: StudyData) -> None:
    scale = 100.0 if part["metric"].eq("identified").any() else 1.0
    order = data.in_order("defenses", part["defense"])
    names = {identifier: data.name_of("defenses", identifier) for identifier in order}
    for name in dict.fromkeys(names.values()):
        settings = [identifier for identifier in order if names[identifier] == name]
        points = part.set_index("defense").loc[settings]
        x, y = 100 * points["accuracy"], scale * points["worst"]
        panel.errorbar(
            x,
            y,
            xerr=_reach(points, "accuracy", 100.0),
            yerr=_reach(points, "worst", scale),
            color=style.colour(name),
            marker=style.marker(name),
            linestyle="-",
            linewidth=1.1,
            elinewidth=0.9,
            markersize=6,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.7,
            label=label(name),
            zorder=3,
        )
    panel.margins(0.12, 0.14)


def _names(panel: Axes, part: pd.DataFrame, data: StudyData, height: float) -> None:
    """Write what the settings of a defense are at the right of the panel, each tied to its point.

    height: of the panel [inches].
    """
    named = _named(part, data)
    low, high = panel.get_ylim()
    places = [(value - low) / (high - low) for value in named["worst"]]
    gap = NAME_HEIGHT / height
    for place, (_, row) in zip(style.spread(places, gap, 0.0, 1.0), named.iterrows(), strict=True):
        tie: Any = {
            "arrowstyle": "-",
            "linewidth": 0.5,
            "shrinkA": 0,
            "shrinkB": 2,
            "relpos": (0, 0.5),
        }
        panel.annotate(
            row["words"],
            (100 * row["accuracy"], row["worst"]),
            xytext=(1.03, place),
            textcoords="axes fraction",
            ha="left",
            va="center",
            fontsize=NAME_SIZE,
            color=style.MUTED,
            arrowprops={**tie, "color": style.colour(row["method"])},
        )


def _named(part: pd.DataFrame, data: StudyData) -> pd.DataFrame:
    """Return the PSNR of the settings of defenses that have several, with the words that tell them apart."""
    points = part[part["metric"] == "psnr"]
    methods = [data.name_of("defenses", str(setting)) for setting in points["defense"]]
    words = [
        strength(setting.removeprefix(name).strip("-_")) or f"{label(name)}, default"
        for setting, name in zip(points["defense"], methods, strict=True)
    ]
    several = [methods.count(name) > 1 for name in methods]
    return points.assign(method=methods, words=words).loc[np.array(several, dtype=bool)]


def _reach(points: pd.DataFrame, column: str, scale: float) -> list[pd.Series]:
    """Length of both sides of an error bar; no interval, no bar."""
    below = scale * (points[column] - points[f"{column}_low"])
    above = scale * (points[f"{column}_high"] - points[column])
    return [below.fillna(0.0).clip(lower=0.0), above.fillna(0.0).clip(lower=0.0)]


def _reference(panel: Axes, data: StudyData, key: tuple[str, str], metric: str) -> None:
    """The level reached without any gradient: best control's PSNR, or chance."""
    dataset, model = key
    of_panel = data.summary[(data.summary["dataset"] == dataset) & (data.summary["model"] == model)]
    controls = of_panel[of_panel["kind"] == "control"]
    level = controls["psnr"].max() if metric == "psnr" else 100 * of_panel["chance"].mean()
    if np.isnan(level):
        return
    text = "best control" if metric == "psnr" else "chance"
    panel.axhline(level, color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    panel.text(
        0.01,
        level,
        f"{text}: {number(level)} {'dB' if metric == 'psnr' else '%'}",
        transform=panel.get_yaxis_transform(),
        ha="left",
        va="bottom",
        fontsize=6.5,
        color=style.MUTED,
        path_effects=style.outlined(),
    )


def _caption(data: StudyData, table: pd.DataFrame, known: pd.DataFrame) -> str:
    absent = [
        label(name, data.name_of("defenses", name))
        for name in data.in_order("defenses", table["defense"])
        if name not in set(known["defense"])
    ]
    seeds = int(known["seeds"].max())
    bars = f"t interval over {seeds} seeds" if seeds > 1 else "one seed, hence no horizontal bar"
    note = (
        f" Without a point (no accuracy or no finished attack): {joined(absent)}." if absent else ""
    )
    return (
        "Each point is one defense setting; lines join the strengths of one defense. Lower and "
        "further right is better for the client. Vertical: the strongest attacker over attacks, "
        "threat models, training stages and protocols, chosen per panel by its mean; controls "
        f"excluded. Horizontal: final test accuracy ({bars}). {INTERVAL} Dashed: what needs no "
        f"gradient.{counts_note(known[known['metric'] == 'psnr'])}{note}"
        f"{synthetic_note(data, known['dataset'])}"
    )


def _alt(data: StudyData, known: pd.DataFrame) -> str:
    points = [
        f"{label(line['defense'], data.name_of('defenses', line['defense']))}: accuracy "
        f"{number(100 * line['accuracy'])} %, worst-case PSNR {number(line['worst'])} dB"
        for _, line in known[known["metric"] == "psnr"].iterrows()
    ]
    return "Scatter plot of accuracy against worst-case leakage. " + "; ".join(points) + "."
