"""Class activation maps of the models that victims upload, before and after the defense, beside the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.report import style
from gradsiege.report.data import CELL_KEY, Drawn, StudyData
from gradsiege.report.tip_explained import MOMENTS, NOTHING, RULE, Explained, explained_cells
from gradsiege.report.wording import number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
REQUIRES = ("federate", "observe", "score")
TITLE = "Explanations: where the model looks, before and after the defense"
MOST_CELLS, MOST_VICTIMS = 8, 3
COLUMNS = [*CELL_KEY, "victim", "map_correlation", "blank_before", "blank_after"]


def likeness(cell: Explained, victim: int) -> dict[str, float | bool]:
    """Correlation over pixels of a victim's two maps, none where one of them is blank."""
    maps = [cell.arrays[f"map.{moment}"][victim] for moment in MOMENTS]
    blank = [bool(np.ptp(single) == 0) for single in maps]
    known = not any(blank)
    correlation = float(np.corrcoef(*(single.ravel() for single in maps))[0, 1]) if known else None
    return {
        "map_correlation": np.nan if correlation is None else correlation,
        "blank_before": blank[0],
        "blank_after": blank[1],
    }


def plotted(cells: list[Explained]) -> pd.DataFrame:
    """One row per pair of maps."""
    rows = [
        {**cell.ids, "victim": victim, **likeness(cell, victim)}
        for cell in cells
        for victim in range(min(cell.victims, MOST_VICTIMS))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(data: StudyData) -> Drawn:
    """Draw one row per defense: for each of the first victims the image and the two maps."""
    explained = explained_cells(data)
    cells = explained[:MOST_CELLS]
    table = plotted(cells)
    if table.empty:
        return Drawn(TITLE, f"Not drawn: {NOTHING}", table, style.nothing_to_draw(NOTHING))
    victims = int(table["victim"].max()) + 1
    with style.study_style():
        figure, axes = style.panels(len(cells), 3 * victims, style.WIDTH, 0.9)
        for row, cell in zip(axes, cells, strict=True):
            _row(row, cell, data)
        for victim in range(victims):
            words = (f"Victim {victim}", *(moment.capitalize() for moment in MOMENTS))
            for panel, text in zip(axes[0][3 * victim : 3 * victim + 3], words, strict=True):
                panel.set_title(text, fontsize=7, loc="center", weight="normal")
    caption = _caption(data, table, len(explained) - len(cells))
    return Drawn(TITLE, caption, table, figure, alt=_alt(cells))


def _row(row: list[Axes], cell: Explained, data: StudyData) -> None:
    for panel in row:
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
        for spine in panel.spines.values():
            spine.set_visible(False)
    for victim in range(min(cell.victims, MOST_VICTIMS)):
        image, before, after = row[3 * victim : 3 * victim + 3]
        picture = _picture(cell, data, victim)
        if picture is not None:
            image.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
        for panel, moment in zip((before, after), MOMENTS, strict=True):
            saliency = cell.arrays[f"map.{moment}"][victim]
            panel.imshow(saliency, cmap="viridis", vmin=0.0, vmax=1.0, interpolation="none")
        words = f"r = {number(float(likeness(cell, victim)['map_correlation']), 2)}"
        after.set_xlabel(words, fontsize=6.5, labelpad=2)
    row[0].set_ylabel(
        "\n".join(cell.lines), rotation=0, ha="right", va="center", fontsize=6.5, labelpad=4
    )


def _picture(cell: Explained, data: StudyData, victim: int) -> NDArray[np.uint8] | None:
    """The victim's first image as scoring stored it, ``[h, w, 3]`` or ``[h, w]``, or None before scoring."""
    if cell.key not in data.pictures:
        return None
    truths = data.pictures[cell.key]["truth"]
    per_victim = len(truths) // int(data.study.get("victims", len(truths)))
    pixels = truths[victim * per_victim].transpose(1, 2, 0)
    shown: NDArray[np.uint8] = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return shown


def _caption(data: StudyData, table: pd.DataFrame, left_out: int) -> str:
    blank = int((table["blank_before"] | table["blank_after"]).sum())
    text = (
        "Grad-CAM of the last convolution for the true class, scaled to 0..1, of the model after "
        "local training (before) and of the model that is uploaded (after), for the first victims. "
        f"r is the correlation of the two maps over pixels. {RULE} A map without positive evidence "
        f"is blank: {blank} of {len(table)} pairs hold one."
    )
    if left_out:
        text += f" {left_out} more of the study's cells are not drawn (at most {MOST_CELLS})."
    return text + synthetic_note(data, table["dataset"])


def _alt(cells: list[Explained]) -> str:
    parts = []
    for cell in cells:
        values = [
            likeness(cell, victim)["map_correlation"]
            for victim in range(min(cell.victims, MOST_VICTIMS))
        ]
        known = [value for value in values if not np.isnan(value)]
        mean = number(float(np.mean(known)), 2) if known else "none"
        parts.append(f"{', '.join(cell.lines)}: {mean}")
    return f"Grid of class activation maps. Mean correlation of the pairs: {'; '.join(parts)}."
