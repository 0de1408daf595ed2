"""Accuracy against leakage along the strength of each defense: one panel per defense."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradsiege.report import placing, style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import PLACE, bounds
from gradsiege.report.figures.privacy_utility import by_role
from gradsiege.report.figures.privacy_utility import plotted as all_settings
from gradsiege.report.labels import label, strength
from gradsiege.report.wording import INTERVAL, counts_note, joined, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 5
TITLE = "Privacy against utility along the strength of each defense"
COLUMNS, HEIGHT = 4, 1.75  # panels side by side; inches
NAME_SIZE = 6.0  # points


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per defense setting with an accuracy and a finished attack, in the order of the study file.

    `method` is the defense; `strength` the parameter that a sweep set, `value` its number, empty for settings that belong to no curve; `bound_psnr` what
    a perfect inversion would show [dB], where the defense transforms the batch.
    """
    table = all_settings(data)
    table = table[table["metric"] == "psnr"].dropna(subset=["accuracy", "worst"])
    table = table.merge(bounds(data), on=[*PLACE, "defense"], how="left")
    order = data.in_order("defenses", table["defense"])
    table = table.sort_values("defense", key=lambda column: column.map(order.index), kind="stable")
    table["method"] = [data.name_of("defenses", setting) for setting in table["defense"]]
    pairs = zip(table["defense"], table["method"], strict=True)
    suffixes = [strength(setting.removeprefix(name).strip("-_")) for setting, name in pairs]
    table["strength"] = suffixes
    table["value"] = [text.rpartition(" ")[2] if _swept(text) else "" for text in suffixes]
    return table.reset_index(drop=True)


def _swept(text: str) -> bool:
    """Whether a setting's suffix is that of a sweep of one number, such as 'sigma 0.1'."""
    return re.fullmatch(r"[a-z_ ]+ -?[\d.e+-]+", text) is not None


def draw(data: StudyData) -> Drawn:
    """Draw every defense in a panel of its own, all others faintly behind it."""
    table = plotted(data)
    measured = by_role(table).drop(columns="value")
    shown = table[table["method"] != "none"]
    panels = list(shown.groupby([*PLACE, "method"], sort=False))
    if not panels:
        reason = "no defense setting has both an accuracy and a finished attack."
        return Drawn(TITLE, reason.capitalize(), measured, style.nothing_to_draw(reason))
    with style.study_style():
        rows = -(-len(panels) // COLUMNS)
        figure, axes = style.panels(rows, COLUMNS, style.WIDTH, HEIGHT)
        flat = [panel for row in axes for panel in row]
        for panel, (key, sweep) in zip(flat, panels, strict=False):
            place = table[(table[PLACE] == list(key[:2])).all(axis=1)]
            _behind(panel, place, str(key[2]))
            _limits(panel, place)
            _curve(panel, sweep, str(key[2]))
            _title(panel, sweep, several=len(table[PLACE].drop_duplicates()) > 1)
        for panel in flat[len(panels) :]:
            panel.set_axis_off()
        figure.supxlabel("Test accuracy after training [%]", fontsize=8)
        figure.supylabel("Worst-case PSNR [dB] (lower: more private)", fontsize=8)
        placing.settle(figure)
        nameless = []
        for panel, (key, sweep) in zip(flat, panels, strict=False):
            place = table[(table[PLACE] == list(key[:2])).all(axis=1)]
            left_out = _names(panel, place, sweep, str(key[2]))
            nameless += [f"{label(str(key[2]))} {words}" for words in left_out]
    return Drawn(TITLE, _caption(data, table, nameless), measured, figure, alt=_alt(table))


def _title(panel: Axes, rows: pd.DataFrame, *, several: bool) -> None:
    """The defense; under it what its numbers mean, and data and model where there are several."""
    first = rows.iloc[0]
    swept = rows.loc[rows["value"] != "", "strength"]
    words = [swept.iloc[0].rpartition(" ")[0]] if len(swept) else []
    words += [f"{label(first['dataset'])}, {label(first['model'])}"] if several else []
    panel.set_title(label(str(first["method"])), pad=4 + 8 * len(words))
    place: dict[str, Any] = {"transform": panel.transAxes, "fontsize": 6.5, "color": style.MUTED}
    panel.text(0, 1.03, "\n".join(words), **place)


def _behind(panel: Axes, place: pd.DataFrame, method: str) -> None:
    """The other defenses on the same data and model, and the undefended model."""
    others = place[~place["method"].isin([method, "none"])]
    panel.plot(
        100 * others["accuracy"], others["worst"], "o", color=style.FAINT, markersize=3, zorder=1
    )
    bare = place[place["method"] == "none"]
    panel.plot(
        100 * bare["accuracy"],
        bare["worst"],
        marker=style.marker("none"),
        color=style.colour("none"),
        markersize=5,
        linestyle="",
        zorder=2,
    )


def _curve(panel: Axes, rows: pd.DataFrame, method: str) -> None:
    """The settings of one defense with their intervals; a hollow marker is its perfect inversion."""
    x, y = 100 * rows["accuracy"], rows["worst"]
    low, high = 100 * rows["accuracy_low"], 100 * rows["accuracy_high"]
    panel.errorbar(
        x,
        y,
        xerr=[(x - low).fillna(0).clip(lower=0), (high - x).fillna(0).clip(lower=0)],
        yerr=[(y - rows["worst_low"]).fillna(0), (rows["worst_high"] - y).fillna(0)],
        color=style.colour(method),
        marker=style.marker(method),
        linestyle="",
        elinewidth=0.7,
        markersize=5,
        zorder=4,
    )
    curve = rows[rows["value"] != ""]
    panel.plot(100 * curve["accuracy"], curve["worst"], color=style.colour(method), zorder=3)
    options: dict[str, Any] = {
        "color": style.colour(method),
        "marker": style.marker(method),
        "linestyle": "",
    }
    # A defense that hardly touches the images has a bound far above all points: it stands at the frame.
    bound = rows["bound_psnr"].clip(upper=panel.get_ylim()[1])
    panel.plot(x, bound, markerfacecolor="none", markersize=5, zorder=3, clip_on=False, **options)


def _names(panel: Axes, place: pd.DataFrame, rows: pd.DataFrame, method: str) -> list[str]:
    """Write what the settings of a defense are beside their points, where it says anything; return words without room."""
    across, up = (100 * rows["accuracy"]).tolist(), rows["worst"].tolist()
    words = [row["value"] or row["strength"].removeprefix("control ") for _, row in rows.iterrows()]
    names = [
        placing.Name(x, y, text, style.colour(method))
        for x, y, text in zip(across, up, words, strict=True)
        if text
    ]
    bare = place[place["method"] == "none"]
    bounds = rows["bound_psnr"].clip(upper=panel.get_ylim()[1]).tolist()
    points = [*zip(across, up, strict=True), *zip(across, bounds, strict=True)]
    points += list(zip(100 * bare["accuracy"], bare["worst"], strict=True))
    return placing.name_points(panel, names, [p for p in points if p[1] == p[1]], NAME_SIZE)


def _limits(panel: Axes, place: pd.DataFrame) -> None:
    """The same limits in all panels of one data set and model, with room for the text."""
    low, high = float(place["worst"].min()), float(place["worst_high"].max())
    panel.set_ylim(low - 0.3 * (high - low + 1), high + 0.12 * (high - low + 1))
    across = 100 * place["accuracy"]
    room = float(across.max() - across.min()) + 4
    panel.set_xlim(across.min() - 0.15 * room, across.max() + 0.3 * room)


def _caption(data: StudyData, table: pd.DataFrame, nameless: Sequence[str]) -> str:
    named = table[(table["value"] == "") & (table["strength"] != "")]
    lone = [label(row["defense"], row["method"]) for _, row in named.iterrows()]
    apart = f" On no curve: {joined(lone)}." if lone else ""
    apart += f" Points without room for their name: {joined(nameless)}." if nameless else ""
    return (
        "One panel per defense; a line joins its strengths, which the numbers give. Dark circle: no "
        "defense; faint dots: all other settings on the same data and model. "
        "Hollow markers: what a perfect inversion would show, where a defense transforms the images; one on the upper "
        "edge lies above it. "
        "Vertical: the strongest attacker over attacks, threat models, training stages and protocols; "
        f"horizontal: final test accuracy with a t interval over seeds where there are several.{apart} "
        f"{INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    parts = [
        f"{label(str(method))} from {number(100 * rows['accuracy'].max())} % accuracy and "
        f"{number(rows['worst'].max())} dB to {number(100 * rows['accuracy'].min())} % and "
        f"{number(rows['worst'].min())} dB"
        for method, rows in table.groupby("method", sort=False)
    ]
    return f"Small panels of accuracy against worst-case PSNR. {'; '.join(parts)}."
