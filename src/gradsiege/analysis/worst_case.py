"""The strongest attacker on each defense: a defense is judged by its worst case."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

SETTING = ("dataset", "model", "defense")
# Attacks that reconstruct, and attacks that choose among candidates with the private image in them: the likeness of what these return
# says nothing, so that they compete in identification alone.
IDENTIFYING = ("attack", "identification")


def worst_case(
    summary: pd.DataFrame,
    *,
    metric: str = "psnr",
    by: Sequence[str] = SETTING,
    kind: str = "attack",
) -> pd.DataFrame:
    """Keep, per defense setting, the summary row of the attacker with the highest mean `metric`.

    summary: the table of `analysis.summary.summarise`. Rows of one setting compete over whatever
    `by` leaves out (attacks, threat models, training stages, protocols); the winning row names
    them. Controls do not compete; with kind="control" only they do. Attacks of the kind "identification" compete in
    identification alone. Added columns: `attackers`
    (rows that competed) and `attackers_without_value` (those where every image failed). A
    setting where all failed keeps its first row, with NaN.

    The interval is the winner's own. As the winner was chosen by its mean, the estimate leans
    high when attackers are close (the winner's curse), that is, against the defense.
    """
    identifying = kind == "attack" and metric == "identified"
    rivals = summary[summary["kind"].isin(IDENTIFYING if identifying else [kind])]
    winners = []
    for _, table in rivals.groupby(list(by), sort=False, dropna=False, observed=True):
        known = table[metric].notna()
        best = table[metric].astype("float64").idxmax() if known.any() else table.index[0]
        winner = table.loc[[best]].copy()
        winner["attackers"] = len(table)
        winner["attackers_without_value"] = int((~known).sum())
        winners.append(winner)
    if not winners:
        return rivals.assign(attackers=[], attackers_without_value=[])
    return pd.concat(winners, ignore_index=True)
