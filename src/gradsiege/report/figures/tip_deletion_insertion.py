"""Whether the uploaded model still explains itself: deletion and insertion areas before and after each defense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradsiege.analysis.bootstrap import mean_difference_interval
from gradsiege.report import style
from gradsiege.report.data import CELL_KEY, Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.tip_explained import MOMENTS, NOTHING, RULE, Explained, explained_cells
from gradsiege.report.wording import number, synthetic_note, with_interval
from gradsiege.seeds import numpy_generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
REQUIRES = ("federate", "observe", "score")
TITLE = "Explanations scored: deletion and insertion before and after the defense"
CURVES = {"deletion": "lower is better", "insertion": "higher is better"}
PANEL = ["dataset", "model"]
COLUMNS = [*CELL_KEY, "curve", "victims", "failed", "area_before", "area_after"]
COLUMNS += [f"area_change{end}" for end in ("", "_low", "_high")]


def measured(cell: Explained, curve: str) -> dict[str, object]:
    """Mean areas of a cell's victims and their paired difference; victims with a broken model are counted apart."""
    before, after = (cell.arrays[f"{curve}_area.{moment}"].astype(float) for moment in MOMENTS)
    known = np.isfinite(before) & np.isfinite(after)
    generator = numpy_generator("deletion_insertion", curve, cell.key)
    change = mean_difference_interval(after[known], before[known], generator=generator)
    return {
        "curve": curve,
        "victims": int(known.sum()),
        "failed": int((~known).sum()),
        "area_before": before[known].mean() if known.any() else np.nan,
        "area_after": after[known].mean() if known.any() else np.nan,
        "area_change": change.estimate,
        "area_change_low": change.low,
        "area_change_high": change.high,
    }


def plotted(cells: list[Explained]) -> pd.DataFrame:
    """One row per cell and curve."""
    rows = [{**cell.ids, **measured(cell, curve)} for cell in cells for curve in CURVES]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(data: StudyData) -> Drawn:
    """Draw an open marker before and a filled one after: a line per defense, a panel per curve."""
    table = plotted(explained_cells(data))
    if table.empty:
        return Drawn(TITLE, f"Not drawn: {NOTHING}", table, style.nothing_to_draw(NOTHING))
    groups = list(table.groupby(PANEL, sort=False))
    most = max(part["defense"].nunique() for _, part in groups)
    with style.study_style():
        figure, axes = style.panels(len(groups), 2, style.WIDTH, 0.9 + 0.26 * most)
        for row, (key, part) in zip(axes, groups, strict=True):
            for panel, (curve, better) in zip(row, CURVES.items(), strict=True):
                _areas(panel, part[part["curve"] == curve], data)
                panel.set_title(f"{label(str(key[0]))}, {label(str(key[1]))}: {curve}")
                panel.set_xlabel(f"Area under the {curve} curve ({better})")
            row[1].tick_params(labelleft=False)
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(data, table))


def _areas(panel: Axes, part: pd.DataFrame, data: StudyData) -> None:
    defenses = data.in_order("defenses", part["defense"])
    rows = part.set_index("defense").loc[defenses]
    for place, (defense, line) in enumerate(rows.iterrows()):
        name = data.name_of("defenses", str(defense))
        colour, shape = style.colour(name), style.marker(name)
        panel.plot(
            [line["area_before"], line["area_after"]], [place, place], color=colour, linewidth=1.2
        )
        panel.plot(
            line["area_before"], place, shape, color=colour, markerfacecolor=style.PAPER, zorder=3
        )
        panel.plot(line["area_after"], place, shape, color=colour, zorder=4)
    names = [label(name, data.name_of("defenses", name)) for name in defenses]
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(visible=True, axis="x")
    panel.margins(x=0.12)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    victims = sorted(set(table["victims"].astype(int)))
    span = str(victims[0]) if len(victims) == 1 else f"{victims[0]} to {victims[-1]}"
    failed = int(table.loc[table["curve"] == "deletion", "failed"].sum())
    return (
        "Pixels are replaced in the order of the Grad-CAM map while the probability of the true "
        "class is read (Petsiuk et al., BMVC 2018): by the training mean (deletion), or in a "
        "blurred copy by the image (insertion). Open: map and model after local training; filled: "
        f"those that are uploaded. Means over {span} victims per cell; {failed} models gave no "
        "finite value. Paired differences with 95 % BCa intervals are in the data file. Where the "
        f"probability hardly moves, both areas are the same for any map and say nothing. {RULE}"
        f"{synthetic_note(data, table['dataset'])}"
    )


def _alt(data: StudyData, table: pd.DataFrame) -> str:
    parts = []
    for _, line in table.iterrows():
        value, low, high = (line[f"area_change{end}"] for end in ("", "_low", "_high"))
        name = label(line["defense"], data.name_of("defenses", line["defense"]))
        parts.append(
            f"{name} {line['curve']} {number(line['area_before'], 2)} to {number(line['area_after'], 2)}, difference "
            f"{with_interval(value, low, high, 2)}"
        )
    return f"Areas before and after each defense. {'; '.join(parts)}."
