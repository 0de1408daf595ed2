"""Test accuracy per federated round under each defense, over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradsiege.analysis.interval import student_interval
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import percent, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 3
TITLE = "Utility: accuracy while training under each defense"
PANEL = ["dataset", "model"]
MOST_BANDS = 8  # settings in a panel; with more, bands hide the lines


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per setting and round: mean accuracy over the seeds that ended, with a t interval cut to [0, 1]."""
    done = data.utility[data.utility["status"] == "complete"]
    key = [*PANEL, "defense", "round"]
    rows = []
    for place, accuracy in done.groupby(key, sort=False)["accuracy"]:
        interval = student_interval(accuracy.to_numpy(dtype=float))
        low, high = np.clip([interval.low, interval.high], 0, 1)
        numbers = (interval.estimate, low, high, interval.units)
        rows.append([*place, *numbers])
    return pd.DataFrame(rows, columns=[*key, "accuracy", "accuracy_low", "accuracy_high", "seeds"])


def draw(data: StudyData) -> Drawn:
    """Draw accuracy against round, one line per defense setting, its interval over seeds as a band."""
    table = plotted(data)
    if table.empty:
        figure = style.nothing_to_draw("the study trained no model.")
        return Drawn(TITLE, "No model was trained.", table, figure)
    groups = list(table.groupby(PANEL, sort=False))
    columns = min(2, len(groups))
    with style.study_style():
        figure, axes = style.panels(-(-len(groups) // columns), columns, style.WIDTH, 3.0)
        flat = [panel for row in axes for panel in row]
        for panel, (key, part) in zip(flat, groups, strict=False):
            _curves(panel, part, data)
            panel.set_title(f"{label(str(key[0]))}, {label(str(key[1]))}")
        for panel in flat[len(groups) :]:
            panel.set_axis_off()
        style.legend_below(figure, flat)
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(table))


def _curves(panel: Axes, part: pd.DataFrame, data: StudyData) -> None:
    """Settings of one defense share its colour and differ by line style."""
    from matplotlib.ticker import MaxNLocator

    seen: dict[str, int] = {}
    for defense in data.in_order("defenses", part["defense"]):
        name = data.name_of("defenses", defense)
        curve = part[part["defense"] == defense].sort_values("round")
        strength = seen.setdefault(name, 0)
        seen[name] += 1
        panel.plot(
            curve["round"],
            100 * curve["accuracy"],
            color=style.colour(name),
            linestyle=style.LINES[strength % len(style.LINES)],
            marker=style.marker(name),
            markevery=max(1, len(curve) // 6),
            markersize=4,
            label=label(defense, name),
        )
        if curve["seeds"].max() > 1 and part["defense"].nunique() <= MOST_BANDS:
            panel.fill_between(
                curve["round"],
                100 * curve["accuracy_low"],
                100 * curve["accuracy_high"],
                color=style.colour(name),
                alpha=0.13,
                linewidth=0,
            )
    panel.set_xlabel("Federated round")
    panel.set_ylabel("Test accuracy [%]")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    seeds = int(table["seeds"].max())
    runs = data.utility[[*PANEL, "defense", "seed"]]
    failed = len(runs[data.utility["status"] != "complete"].drop_duplicates())
    many = table.groupby(PANEL)["defense"].nunique().max() > MOST_BANDS
    intervals = (
        "their 95 % t intervals are in the data file" if many else "bands their 95 % t intervals"
    )
    band = (
        f"Lines are means over {seeds} seeds, {intervals}."
        if seeds > 1
        else "One seed, hence no band: differences between lines carry no interval."
    )
    return (
        "Accuracy on the test split after each round of training with the defense in place. "
        f"{band} {failed} of {len(runs.drop_duplicates())} training runs failed.{synthetic_note(data, table['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    last = table.sort_values("round").groupby("defense", sort=False)["accuracy"].last()
    ends = ", ".join(f"{label(str(name))} {percent(value)}" for name, value in last.items())
    return f"Line chart of test accuracy by round. Final mean accuracy: {ends}."
