"""PSNR and matching loss of the images of every stage of an attack, from the latent to the last feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.bootstrap import mean_interval
from gradsiege.analysis.summary import CELL, PSNR_CAP
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import INTERVAL, number, synthetic_note
from gradsiege.seeds import numpy_generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
TITLE = "Stage by stage: from the latent to the last feature"
KEY = [*CELL, "threat_model", "attack"]
PANEL = ["dataset", "model", "training_stage", "protocol"]
COLUMNS = [*KEY, "number", "phase", "psnr", "psnr_low", "psnr_high", "matching_loss", "victims"]
COLUMNS += ["psnr_selected", "psnr_last", "psnr_best"]
# Colours of the arms of one method, in turn.
COLOURS = [colour for colour, _ in style.ATTACKS.values()]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per cell, attack and stage; the stages' diagnostics of an attack (selected, last, best by truth) repeat."""
    if "psnr_by_stage" not in data.scores:
        return pd.DataFrame(columns=COLUMNS)
    scores = data.undefended(data.scores)
    scores = scores[scores["psnr_by_stage"].notna() & scores["status"].eq("complete")]
    rows = [
        {**dict(zip(KEY, key, strict=True)), **row}
        for key, part in scores.groupby(KEY, sort=False)
        for row in _stages(part, *key)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _stages(part: pd.DataFrame, *key: object) -> Iterator[dict[str, Any]]:
    by_stage = np.stack([np.asarray(row, dtype=float) for row in part["psnr_by_stage"]])
    losses = np.stack([np.asarray(row, dtype=float) for row in part["matching_loss_by_stage"]])
    victims = part["victim"].to_numpy()
    for place in range(by_stage.shape[1]):
        generator = numpy_generator("gifd_stages", *key, place)
        values = by_stage[:, place].clip(max=PSNR_CAP)
        interval = mean_interval(values, victims, generator=generator)
        yield {
            "number": place,
            "phase": f"h{place}" if place else "z",
            "psnr": interval.estimate,
            "psnr_low": interval.low,
            "psnr_high": interval.high,
            "matching_loss": float(np.median(losses[:, place])),
            "victims": interval.units,
            "psnr_selected": part["psnr"].clip(upper=PSNR_CAP).mean(),
            "psnr_last": part["psnr_last_stage"].clip(upper=PSNR_CAP).mean(),
            "psnr_best": part["psnr_best_stage"].clip(upper=PSNR_CAP).mean(),
        }


def draw(data: StudyData) -> Drawn:
    """Draw PSNR (left) and matching loss (right) by stage, a row of panels for every data set and model."""
    table = plotted(data)
    groups = list(table.groupby(PANEL, sort=False))
    if not groups:
        reason = "no finished attack on an undefended update has several stages."
        empty = table.drop(columns="number")
        return Drawn(TITLE, reason.capitalize(), empty, style.nothing_to_draw(reason))
    with style.study_style():
        figure, grid = style.panels(len(groups), 2, style.WIDTH, 2.6)
        for (left, right), (key, part) in zip(grid, groups, strict=True):
            _panels(left, right, part, data)
            left.set_title(", ".join(label(str(name)) for name in key))
    measured = table.drop(columns="number")
    return Drawn(TITLE, _caption(data, table), measured, figure, alt=_alt(table, data))


def _panels(left: Axes, right: Axes, part: pd.DataFrame, data: StudyData) -> None:
    ends: list[tuple[float, float, str, str]] = []
    for place, (attack, curve) in enumerate(_curves(part, data)):
        colour = COLOURS[place % len(COLOURS)]
        dashes: Any = style.LINES[place // len(COLOURS) % len(style.LINES)]
        options: dict[str, Any] = {"color": colour, "linestyle": dashes, "markersize": 3.5}
        options["marker"] = "osD^vPX<>h*"[place % 11]
        shift = 0.03 * (place - 3)
        error = [curve["psnr"] - curve["psnr_low"], curve["psnr_high"] - curve["psnr"]]
        bars = [side.fillna(0.0).clip(lower=0) for side in error]
        left.errorbar(curve["number"] + shift, curve["psnr"], yerr=bars, elinewidth=0.5, **options)
        right.plot(curve["number"] + shift, curve["matching_loss"], **options)
        last = curve.iloc[-1]
        ends.append((float(last["number"]), float(last["psnr"]), attack, colour))
    _name(left, ends)
    stages = part.drop_duplicates("number").sort_values("number")
    names = {"z": "$z$", **{f"h{k}": f"$h_{k}$" for k in range(1, 20)}}
    for panel in (left, right):
        panel.set_xticks(stages["number"], [names[stage] for stage in stages["phase"]])
        panel.set_xlabel("Optimised")
    left.set_ylabel("PSNR [dB]")
    right.set_ylabel("Matching loss (median)")
    right.set_yscale("log")


def _curves(part: pd.DataFrame, data: StudyData) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each curve once, with the names of all arms that have it; some arms differ only in the returned images."""
    by_values: dict[tuple[float, ...], tuple[list[str], pd.DataFrame]] = {}
    for attack in data.in_order("attacks", part["attack"]):
        curve = part[part["attack"] == attack].drop_duplicates("number").sort_values("number")
        names, _ = by_values.setdefault(tuple(curve["psnr"]), ([], curve))
        names.append(label(attack, data.name_of("attacks", attack)))
    for names, curve in by_values.values():
        yield " = ".join(names), curve


def _name(panel: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write the name of every arm right of the curves, in its colour."""
    low, high = panel.get_ylim()
    heights = style.spread([end[1] for end in ends], 0.075 * (high - low))
    reach = max(end[0] for end in ends)
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        panel.annotate(
            name,
            (x + 0.05, y),
            xytext=(reach + 0.35, height),
            fontsize=6,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": style.GRID, "linewidth": 0.6},
        )
    panel.set_xlim(-0.3, reach + 2.6)
    panel.set_ylim(min(low, min(heights)), max(high, max(heights)))


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    lost = (table["psnr_best"] - table["psnr_selected"]).max()
    return (
        "Left: mean PSNR of what each stage of an attack would have returned, on undefended updates. Right: the "
        "matching loss by which the attack chooses its stage; it sees no PSNR. Arms that only hand over another "
        "stage share a curve. To choose each victim's stage by the truth, which no attack can, would add "
        f"at most {number(lost)} dB to the mean of an arm. {INTERVAL}{synthetic_note(data, table['dataset'])}"
    )


def _alt(table: pd.DataFrame, data: StudyData) -> str:
    first = table[table["attack"] == table["attack"].iloc[0]]
    name = label(
        str(first["attack"].iloc[0]), data.name_of("attacks", str(first["attack"].iloc[0]))
    )
    ends = [
        f"{stage} {number(psnr)} dB"
        for stage, psnr in zip(first["phase"], first["psnr"], strict=True)
    ]
    return f"Line charts of PSNR and matching loss by stage. {name}: {', '.join(ends)}."
