"""What an attack owes to batch-norm statistics and to labels, right and wrong ones (after Huang et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.bootstrap import mean_difference_interval
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.worst_case import worst_case
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    INTERVAL,
    counts_note,
    joined,
    number,
    synthetic_note,
    with_interval,
)
from gradsiege.seeds import numpy_generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
TITLE = "What labels and batch-norm statistics are worth to an attack"
PANEL = ["dataset", "model", "training_stage", "protocol", "method"]
GRANTS = ["labels", "batch_statistics"]
COLUMNS = [*PANEL, *GRANTS, "attack", "threat_model", "victims", "rows", "failed", "psnr_capped"]
COLUMNS += [
    "psnr",
    "psnr_low",
    "psnr_high",
    "psnr_change",
    "psnr_change_low",
    "psnr_change_high",
    "pairs",
]
LABELS = ("wrong", "inferred", "given")
ACROSS, SIDE = 4, 1.6  # panels side by side; inches
NOTHING = "no attack ran with and without one of the two grants."


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per method and grant: its strongest setting there, and the paired gain over the attacker who has neither.

    Attackers are compared that differ in the two grants alone: those who know the defense, and those who lack the protocol
    or auxiliary data where the others have them, are left out.
    """
    table = data.undefended(data.summary)
    table = table[table["kind"] == "attack"]
    known = {str(threat["id"]): threat for threat in _alike(data)}
    table = table[table["threat_model"].isin(list(known))].copy()
    threats = table["threat_model"].map(known.get)
    table["labels"] = [threat.get("labels", "inferred") for threat in threats]
    table["batch_statistics"] = [bool(threat.get("batch_statistics")) for threat in threats]
    table["method"] = [data.name_of("attacks", attack) for attack in table["attack"]]
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    best = worst_case(table, by=[*PANEL, *GRANTS])
    several = best.groupby(PANEL)["psnr"].transform("size") > 1
    rows = [_with_gain(data, row, best) for _, row in best[several].iterrows()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _alike(data: StudyData) -> list[Any]:
    """Threat models without a disclosure that agree in all else but the two grants: the largest such group."""
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for threat in data.threat_models:
        if not threat.get("disclosure"):
            rest = bool(threat.get("protocol", True)), bool(threat.get("auxiliary", True))
            groups.setdefault(rest, []).append(threat)
    return max(groups.values(), key=len, default=[])


def _with_gain(data: StudyData, row: pd.Series, best: pd.DataFrame) -> dict[str, Any]:
    same = best[(best[PANEL] == row[PANEL]).all(axis=1)]
    least = same[(same["labels"] == "inferred") & ~same["batch_statistics"]]
    gain: dict[str, Any] = {
        **row,
        "psnr_change": np.nan,
        "psnr_change_low": np.nan,
        "psnr_change_high": np.nan,
    }
    gain["pairs"] = 0
    if len(least) and not least.index.equals(pd.Index([row.name])):
        differences = paired_differences(_scores_of(data, row), _scores_of(data, least.iloc[0]))
        interval = mean_difference_interval(
            differences["difference"],
            np.zeros(len(differences)),
            differences["victim"],
            generator=numpy_generator(0, *map(str, row[[*PANEL, *GRANTS]])),
        )
        limits = {"psnr_change_low": interval.low, "psnr_change_high": interval.high}
        gain |= {"psnr_change": interval.estimate, "pairs": len(differences), **limits}
    return gain


def _scores_of(data: StudyData, row: pd.Series) -> pd.DataFrame:
    keys = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack"]
    return data.scores[(data.scores[keys] == row[keys]).all(axis=1)]


def draw(data: StudyData) -> Drawn:
    """Draw a square of four a method and setting: labels down, batch-norm statistics across."""
    table = plotted(data)
    groups = list(table.groupby(PANEL, sort=False))
    if not groups:
        return Drawn(TITLE, NOTHING.capitalize(), table, style.nothing_to_draw(NOTHING))
    columns = min(ACROSS, len(groups))
    # Attackers who are told wrong labels have a row where a study has them.
    labels = LABELS if table["labels"].eq("wrong").any() else LABELS[1:]
    limits = (float(table["psnr"].min()), float(table["psnr"].max()))
    with style.study_style():
        rows = -(-len(groups) // columns)
        width = max(style.WIDTH, columns * (SIDE + 0.3))
        figure, axes = style.panels(rows, columns, width, SIDE * len(labels) / 2 + 0.55)
        flat = [panel for row in axes for panel in row]
        image: Any = None
        for place, (panel, (key, cells)) in enumerate(zip(flat, groups, strict=False)):
            image = _square(panel, cells, labels, limits, named=place % columns == 0)
            dataset, model, stage, protocol, method = map(str, key)
            where = f"{label(dataset)}, {label(model)}\n{stage}, {label(protocol)}"
            panel.set_title(f"{label(method)}\n{where}", fontsize=7.5)
        for panel in flat[len(groups) :]:
            panel.set_axis_off()
        bar = figure.colorbar(image, ax=flat, shrink=0.8, aspect=22, pad=0.02)
        bar.set_label("Mean PSNR [dB] (darker: more leaked)")
        bar.outline.set_visible(False)
        figure.supxlabel("Statistics of the private batch", fontsize=8)
        figure.supylabel("Labels", fontsize=8)
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(table))


def _square(
    panel: Axes,
    cells: pd.DataFrame,
    labels: Sequence[str],
    limits: tuple[float, float],
    *,
    named: bool,
) -> Any:
    """The attackers of one method, each with its mean and its gain over the one who has neither."""
    import seaborn as sns
    from matplotlib.patches import Rectangle

    grid = np.full((len(labels), 2), np.nan)
    places = {}
    for _, row in cells.iterrows():
        place = labels.index(row["labels"]), int(row["batch_statistics"])
        grid[place], places[place] = row["psnr"], row
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    image = panel.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1])
    options: Any = {"ha": "center", "va": "center", "fontsize": 6.5, "linespacing": 1.5}
    for place in np.ndindex(len(labels), 2):
        if place in places and not np.isnan(grid[place]):
            red, green, blue, _ = colours(image.norm(grid[place]))
            words, shade = _words(places[place]), style.text_on((red, green, blue))
        else:
            corner = (place[1] - 0.5, place[0] - 0.5)
            panel.add_patch(Rectangle(corner, 1, 1, facecolor="none", hatch="////", linewidth=0))
            words = "failed" if place in places else "not in\nthe study"
            shade = style.MUTED
        text = panel.text(place[1], place[0], words, color=shade, **options)
        text.set_path_effects(style.outlined() if shade == style.MUTED else [])
    panel.set_xticks([0, 1], ["withheld", "granted"])
    names = labels if named else [""] * len(labels)
    panel.set_yticks(range(len(labels)), names, rotation=90, va="center")
    for edge in range(1, len(labels)):
        panel.axhline(edge - 0.5, color=style.PAPER, linewidth=1.5)
    panel.axvline(0.5, color=style.PAPER, linewidth=1.5)
    panel.grid(False)
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def _words(row: pd.Series) -> str:
    if np.isnan(row["psnr_change"]):
        return f"{number(row['psnr'])} dB"
    sign = "+" if round(row["psnr_change"], 1) > 0 else ""
    gain = with_interval(row["psnr_change"], row["psnr_change_low"], row["psnr_change_high"])
    return f"{number(row['psnr'])} dB\n{sign}{gain.replace(' [', chr(10) + '[')}"


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    methods = joined(dict.fromkeys(label(method) for method in table["method"]))
    return (
        "Undefended updates. Across: whether the attacker is given the private batch's own batch-norm statistics; down: "
        f"what it is told of the labels. Each square is the strongest setting of {methods} under such attackers; under its mean "
        "stands the paired difference to the attacker who has neither. Other methods ran under one of the four only. "
        f"{INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    gains = table.dropna(subset=["psnr_change"])
    if gains.empty:
        return "Squares of mean PSNR by labels and batch-norm statistics; no gain can be told."
    top = gains.sort_values("psnr_change").iloc[-1]
    with_statistics = "with" if top["batch_statistics"] else "without"
    return (
        f"Squares of mean PSNR by labels and batch-norm statistics. Largest gain: {number(top['psnr_change'])} dB for "
        f"{label(str(top['method']))}, labels {top['labels']}, {with_statistics} the batch's statistics."
    )
