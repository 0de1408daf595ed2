"""What a study can detect: the differences that its victims and scenes show with 80 % power, said before it runs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gradsiege.analysis.power import (
    least_adjusted_p,
    least_identified,
    paired_spread,
    planned_difference,
)
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import DASH, number, p_value, percent

VERSION = 1
TITLE = "What the study can detect"
# Standard deviation [dB] of paired differences between victims where the study has none of its own yet: the median over the
# worst cases of docs/results/adaptive, half the width of their intervals times the root of eight victims over t.
STATED_SPREAD = 2.8
# Part of the variance that victims of one scene have in common, where it is not known: a half, and the worst case.
SHARES = (0.5, 1.0)


def draw(data: StudyData) -> Drawn:
    """Tabulate data set by data set; nothing of it needs a finished attack."""
    table = planned(data)
    shown = pd.DataFrame([_line(row) for _, row in table.iterrows()])
    return Drawn(TITLE, _caption(data), table, shown=shown)


def planned(data: StudyData) -> pd.DataFrame:
    """Return one row for each data set and protocol: victims, scenes, and what they detect.

    Scenes are those of the scores where they are known, else one for each victim, which is the best case.
    """
    spread, compared = paired_spread(data.scores)
    rows = []
    for dataset in data.study.get("datasets", ()):
        for protocol in data.study.get("protocols", ()):
            row: dict[str, Any] = {"dataset": str(dataset["id"]), "protocol": str(protocol["id"])}
            victims = int(data.study.get("victims", 0))
            scenes = _scenes(data, row["dataset"], row["protocol"])
            units = victims if math.isnan(scenes) else int(scenes)
            count = _comparisons(data)
            own = compared and not math.isnan(spread)
            row |= {"victims": victims, "scenes": scenes, "comparisons": count}
            row["spread"] = spread if own else STATED_SPREAD
            for name, share in zip(("detectable", "detectable_at_worst"), SHARES, strict=True):
                row[name] = planned_difference(
                    row["spread"], max(victims, units), units, share=share, comparisons=count
                )
            row["least_holm"] = least_adjusted_p(units, count)
            row["undetected"] = least_identified(units)
            rows.append(row)
    return pd.DataFrame(rows)


def _scenes(data: StudyData, dataset: str, protocol: str) -> float:
    """Return the number of scenes that the scores know of, NaN where there is none."""
    if data.scores.empty or "scene" not in data.scores:
        return math.nan
    same = (data.scores["dataset"] == dataset) & (data.scores["protocol"] == protocol)
    scenes = data.scores.loc[same, "scene"].nunique()
    return float(scenes) if scenes else math.nan


def _comparisons(data: StudyData) -> int:
    """Return the number of pairs of a defense and an attacker that the study plans in its largest place, at least 1."""
    planned_cells = [key.split("/") for key in data.planned]
    bare = {str(i["id"]) for i in data.study.get("defenses", ()) if i.get("name") == "none"}
    places: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for key in planned_cells:
        if key[2] not in bare:
            places.setdefault((*key[:2], *key[3:5]), set()).add((key[2], *key[6:]))
    return max((len(pairs) for pairs in places.values()), default=1)


def _line(row: pd.Series) -> dict[str, str]:
    return {
        "Data, protocol": f"{label(row['dataset'])}, {label(row['protocol'])}",
        "Victims": number(row["victims"], 0),
        "Scenes": DASH if math.isnan(row["scenes"]) else number(row["scenes"], 0),
        "Comparisons": number(row["comparisons"], 0),
        "Spread [dB]": number(row["spread"]),
        "Detectable [dB]": number(row["detectable"]),
        "At worst [dB]": number(row["detectable_at_worst"]),
        "Least p after Holm": p_value(row["least_holm"]),
        "None identified excludes": percent(row["undetected"]),
    }


def _caption(data: StudyData) -> str:
    spread, _ = paired_spread(data.scores)
    source = (
        "a stated one, the median of a kept study"
        if math.isnan(spread)
        else "the median of this study's own"
    )
    return (
        "The smallest mean paired difference in PSNR that a t test over scenes finds with 80 % probability, at 5 % after Holm's "
        "adjustment for all comparisons; smaller ones are likely to stay undecided. Spread: standard deviation of paired "
        f"differences, {source}. Detectable: if victims of one scene have half of their variance in common; at worst: if they "
        "are all alike. A dash: the scenes are not known yet, and every victim counts as one. Least p: what an exact paired test "
        "can reach. Last column: even if none is identified, a smaller rate is not excluded."
    )
