"""The choice of the victims whose pictures a figure shows: by the rank of their PSNR, never by eye."""

from __future__ import annotations

import pandas as pd

from gradsiege.report.data import StudyData

REFERENCE = "inverting_gradients"


def reference_rows(data: StudyData, of_cell: pd.DataFrame) -> pd.DataFrame:
    """Return the finished scores of the attack whose PSNR ranks the victims of a cell, under its first threat model.

    It is Inverting Gradients, else the first attack of the study file. of_cell: the scores of the cell; without a
    finished attack no row is left.
    """
    done = of_cell[(of_cell["kind"] == "attack") & (of_cell["status"] == "complete")]
    attacks = data.in_order("attacks", done["attack"])
    if not attacks:
        return done
    named = [attack for attack in attacks if data.name_of("attacks", attack) == REFERENCE]
    rows: pd.DataFrame = done[done["attack"] == (named or attacks)[0]]
    ranked: pd.DataFrame = rows[rows["threat_model"] == rows["threat_model"].iloc[0]]
    return ranked


def at_quantiles(rows: pd.DataFrame, quantiles: tuple[float, ...]) -> list[tuple[float, int, int]]:
    """(quantile, victim, image) at the nearest ranks of PSNR in the rows of one attack.

    Ties go to the lower (victim, image). With fewer images than quantiles each stands once.

    >>> rows = pd.DataFrame({"psnr": [20.0, 30.0, 25.0], "victim": [0, 1, 2], "image": 0})
    >>> at_quantiles(rows, (0.1, 0.5, 0.9))
    [(0.1, 0, 0), (0.5, 2, 0), (0.9, 1, 0)]
    """
    ranked = rows.sort_values(["psnr", "victim", "image"], kind="stable")
    chosen: dict[int, float] = {}
    for quantile in quantiles:
        chosen.setdefault(round(quantile * (len(ranked) - 1)), quantile)
    return [
        (quantile, int(ranked["victim"].iloc[place]), int(ranked["image"].iloc[place]))
        for place, quantile in chosen.items()
    ]
