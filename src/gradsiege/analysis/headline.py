"""Defenses compared at equal accuracy: their leakage to each attacker, paired with no defense, and a verdict on the protection."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradsiege.analysis.bootstrap import mean_interval
from gradsiege.analysis.interval import Interval, unknown
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.worst_case import SETTING, worst_case
from gradsiege.seeds import numpy_generator

# A defense whose accuracy is at most this far below that of no defense is compared with others like it.
MARGIN = 0.05
# A loss of PSNR [dB] that protects nobody.
NEGLIGIBLE = 1.0
PLACE = ["training_stage", "protocol"]
METHOD = ["threat_model", "attack"]
CELL = [*SETTING, *PLACE]
ROLES = ("no_defense", "non_adaptive", "adaptive", "worst_case", "worst_identified")
IDS = [*CELL, *METHOD]
MEASURED = [f"{metric}{end}" for metric in ("psnr", "identified") for end in ("", "_low", "_high")]
COUNTED = ["victims", "rows", "failed", "psnr_capped"]
Key = tuple[str, ...]
Verdict = Literal["survives", "survives in part", "does not survive", "untested", "baseline", ""]


@dataclass(frozen=True)
class Roles:
    """The attackers of one defense setting, at the training stage and protocol of its worst case.

    Attributes:
        worst: row of the summary with the highest PSNR of all attackers; identified: with the highest identification rate.
        undefended: the strongest attack on no defense there; control: the strongest control; None if there is none.
        blind: the strongest attacker that does not know the defense; informed: all that do, strongest first.
    """

    worst: pd.Series
    identified: pd.Series
    undefended: pd.Series | None
    control: pd.Series | None
    blind: pd.Series | None
    informed: list[pd.Series]


def roles(
    summary: pd.DataFrame, bare: Collection[str], aware: Collection[str]
) -> Iterator[tuple[bool, Roles]]:
    """Yield (whether the setting is undefended, its roles) for every setting with a finished attack.

    summary: table of `analysis.summary`. bare: ids of undefended settings. aware: threat models that disclose the defense.
    """
    named = worst_case(summary, metric="identified")
    for (_, worst), (_, hit) in zip(worst_case(summary).iterrows(), named.iterrows(), strict=True):
        if pd.isna(worst["psnr"]):
            continue
        at = summary[(summary[CELL] == worst[CELL].tolist()).all(axis=1)]
        there = ["dataset", "model", *PLACE]
        same = (summary[there] == worst[there].tolist()).all(axis=1)
        informed = at[(at["kind"] == "attack") & at["threat_model"].isin(aware)]
        yield (
            worst["defense"] in bare,
            Roles(
                worst=worst,
                identified=hit,
                undefended=_strongest(summary[same & summary["defense"].isin(bare)]),
                control=_strongest(at, "control"),
                blind=_strongest(at[~at["threat_model"].isin(aware)]),
                informed=[
                    row for _, row in informed.sort_values("psnr", ascending=False).iterrows()
                ],
            ),
        )


def _strongest(table: pd.DataFrame, kind: str = "attack") -> pd.Series | None:
    candidates = table[(table["kind"] == kind) & table["psnr"].notna()]
    return (
        candidates.iloc[int(candidates["psnr"].astype("float64").argmax())]
        if len(candidates)
        else None
    )


class Pairs:
    """Mean differences of PSNR [dB] between rows of the summary, on the victims that both met; each is computed once."""

    def __init__(self, scores: pd.DataFrame) -> None:
        self._rows = dict(list(scores.groupby(IDS, sort=False)))
        self._held: dict[tuple[Key, Key], Interval] = {}

    def __call__(self, treated: pd.Series, reference: pd.Series | None) -> Interval:
        """Return the interval of treated - reference; unknown without a reference."""
        if reference is None:
            return unknown(math.nan, 0.95, 0, "bca")
        names = (tuple(str(treated[x]) for x in IDS), tuple(str(reference[x]) for x in IDS))
        if names not in self._held:
            pairs = paired_differences(self._rows[names[0]], self._rows[names[1]])
            self._held[names] = mean_interval(
                pairs["difference"].to_numpy(),
                pairs["victim"].to_numpy(),
                generator=numpy_generator(0, "headline", *names[0], *names[1]),
            )
        return self._held[names]


def verdict(
    is_bare: bool, who: Roles, lost: Interval, above: Interval, control_identified: float
) -> Verdict:
    """Judge a protection by its worst case.

    A defense leaks if the strongest attacker significantly beats the best control in fidelity (`above` > 0), or identifies
    more victims than chance and controls do. A protection without a leak survives if an informed attacker has tried. A
    protection with a leak survives in part if the attackers lose significantly more than `NEGLIGIBLE` against no defense
    (`lost`); otherwise it does not survive.
    """
    if is_bare:
        return "baseline"
    floor = np.nanmax([who.identified["chance"], control_identified, 0.0])
    if not (above.low > 0 or who.identified["identified_low"] > floor):
        return "survives" if who.informed else "untested"
    if math.isnan(lost.high):
        return ""
    return "survives in part" if lost.high < -NEGLIGIBLE else "does not survive"


def headline(
    summary: pd.DataFrame,
    scores: pd.DataFrame,
    changes: pd.DataFrame,
    bare: Collection[str],
    aware: Collection[str],
) -> pd.DataFrame:
    """Return one row per attacker that decides about a setting, settings in the order of their rank.

    changes: dataset, model, defense, `accuracy` and `change`, its difference to no defense. Columns: the ids; `role`
    (of `ROLES`, several may be adaptive); PSNR and identification with limits; the paired
    differences in PSNR `to_none`, `to_blind`, `to_control` with limits; `accuracy`, `change`; `comparable`, whether
    the accuracy is within `MARGIN` of no defense; `rank` by worst case among the comparable, the most private first; `verdict`.
    """
    rows, paired = [], Pairs(scores)
    for is_bare, who in roles(summary, bare, aware):
        lost = paired(who.worst, who.undefended)
        above = paired(who.worst, who.control)
        hits = float("nan") if who.control is None else _control_hits(summary, who.worst)
        judged = verdict(is_bare, who, lost, above, hits)
        for role, row in _listed(who):
            line: dict[str, Any] = {name: who.worst[name] for name in CELL}
            line |= {"role": role, **{name: row[name] for name in METHOD + MEASURED + COUNTED}}
            for name, reference in (
                ("none", who.undefended),
                ("blind", who.blind),
                ("control", who.control),
            ):
                line |= _limits(f"to_{name}", paired(row, reference))
            rows.append(line | {"verdict": judged, "worst_psnr": who.worst["psnr"]})
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).merge(changes, on=list(SETTING), how="left")
    return _ranked(table)


def _control_hits(summary: pd.DataFrame, worst: pd.Series) -> float:
    at = summary[(summary[CELL] == worst[CELL].tolist()).all(axis=1)]
    return float(at.loc[at["kind"] == "control", "identified"].max())


def _listed(who: Roles) -> list[tuple[str, pd.Series]]:
    rows = [("no_defense", who.undefended), ("non_adaptive", who.blind)]
    rows += [("adaptive", row) for row in who.informed]
    rows += [("worst_case", who.worst), ("worst_identified", who.identified)]
    return [(role, row) for role, row in rows if row is not None]


def _limits(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Put comparable settings first, by their worst case; the others behind, by their accuracy."""
    table["comparable"] = table["change"].ge(-MARGIN)
    places = []
    for _, part in table.groupby(["dataset", "model"], sort=False):
        settings = part.drop_duplicates(list(SETTING))
        equal = settings[settings["comparable"]].sort_values("worst_psnr", kind="stable")
        rest = settings[~settings["comparable"]].sort_values("accuracy", ascending=False)
        ranks = [*range(1, len(equal) + 1), *[math.nan] * len(rest)]
        ordered = pd.concat([equal, rest])[list(SETTING)]
        places.append(ordered.assign(rank=ranks))
    order = pd.concat(places, ignore_index=True)
    order["place"] = range(len(order))
    ranked = table.merge(order, on=list(SETTING)).sort_values("place", kind="stable")
    return ranked.drop(columns=["place", "worst_psnr"]).reset_index(drop=True)
