"""Dropping flagged channels: how much of the gradient, and of the image, an attacker recovers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.headline import CELL
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, attackers
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    fold_constant,
    number,
    place_label,
    synthetic_note,
    with_interval,
)

VERSION = 3
TITLE = "Dropping flagged channels: the gradient and the image"
LEVEL = ["cosine_received", "cosine_matched", "energy_kept", "detection_auc"]
COLUMNS = [*CELL, "threat_model", "attack", "explained", *LEVEL]
PREDICTED = 0.9
# An attack that comes this close to the one without a defense [dB] has undone it.
CLOSE = 3.0


def draw(data: StudyData) -> Drawn:
    """Tabulate, for every counter that drops channels, cosines before and after beside PSNR."""
    table = plotted(data)
    lines = [_line(data, row) for _, row in table.iterrows()]
    shown, folded = fold_constant(pd.DataFrame(lines), ["Where"])
    return Drawn(TITLE, _caption(data, table) + folded, by_role(table), shown=shown)


def by_role(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the data file: the informed attacker, then the two that it is compared with."""
    if table.empty:
        return table
    others = {"no_defense_psnr": "no_defense", "non_adaptive_psnr": "non_adaptive"}
    informed = table.drop(columns=[*others, "works_low"]).assign(role="adaptive")
    parts = [table[CELL].assign(role=role, psnr=table[column]) for column, role in others.items()]
    parts[0] = parts[0].assign(to_control=np.nan, to_control_low=table["works_low"])
    return pd.concat([informed, *parts], ignore_index=True)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per counter and cell: means over explained victims, PSNR and its paired differences."""
    scores = data.scores
    if "cosine_matched" not in scores:
        return pd.DataFrame(columns=COLUMNS)
    measured = scores[scores["cosine_matched"].notna()]
    rows: list[dict[str, Any]] = []
    ids = [*CELL, "threat_model", "attack"]
    for key, part in measured.groupby(ids, sort=False):
        row: dict[str, Any] = dict(zip(ids, key, strict=True))
        row["explained"] = part["victim"].nunique()
        row |= {name: float(part[name].mean()) for name in LEVEL}
        rows.append(row | _image_level(data, row))
    return pd.DataFrame(rows, columns=None if rows else COLUMNS)


def _image_level(data: StudyData, row: dict[str, Any]) -> dict[str, Any]:
    """PSNR without the defense, blind and informed, with the paired differences of the headline table."""
    table = data.once(attackers)
    of_setting = table[(table[SETTING] == [row[name] for name in SETTING]).all(axis=1)]
    informed = of_setting[
        (of_setting["role"] == "adaptive") & (of_setting["attack"] == row["attack"])
    ]
    changes: dict[str, Any] = {}
    for role in ("no_defense", "non_adaptive"):
        other = of_setting[of_setting["role"] == role]
        changes[f"{role}_psnr"] = float("nan") if other.empty else other["psnr"].iloc[0]
        if role == "no_defense":
            changes["works_low"] = float("nan") if other.empty else other["to_control_low"].iloc[0]
    names = [f"{n}{e}" for n in ("psnr", "to_none", "to_blind") for e in ("", "_low", "_high")]
    for name in [*names, "identified"]:
        changes[name] = float("nan") if informed.empty else informed[name].iloc[0]
    return changes | {"at_gradient": _at_gradient(row), "at_image": _at_image(changes)}


def _at_gradient(row: dict[str, Any]) -> str:
    return "confirmed" if row["cosine_matched"] > PREDICTED else "refuted"


def _at_image(changes: dict[str, Any]) -> str:
    """Return "confirmed" within `CLOSE` of the undefended attack, "in part" for a shown gain, else "refuted".

    It is "not shown" if the attack does not beat the best control even without a defense.
    """
    if not changes["works_low"] > 0:
        return "not shown"
    if pd.isna(changes["to_none_low"]) or pd.isna(changes["to_blind_low"]):
        return "not shown"
    if changes["to_none_low"] > -CLOSE and changes["to_blind_low"] > 0:
        return "confirmed"
    return "in part" if changes["to_blind_low"] > 0 else "refuted"


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    return {
        "Defense": label(row["defense"], data.name_of("defenses", row["defense"])),
        "Where": place_label(row),
        "Counter": label(row["attack"], data.name_of("attacks", row["attack"])),
        "Cosine received": number(row["cosine_received"], 3),
        "Cosine kept": number(row["cosine_matched"], 3),
        "Informed − blind [dB]": _paired(row, "to_blind"),
        "Informed − none [dB]": _paired(row, "to_none"),
        "Image level": row["at_image"],
    }


def _paired(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return DASH
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "No victim of an attack that drops channels was explained (set `explained`)."
    return (
        "The server knows which channels a defense noises by the size of their update. Cosine: of the received update to "
        "the one before the defense, over all channels, and over those that the counter keeps. The prediction is that the "
        f"cosine kept is above {PREDICTED:g}. At image level it is confirmed where the "
        f"informed attack gains over the blind one and comes within {CLOSE:g} dB of no defense (limits of the paired "
        "intervals), in part where it gains, and refuted else; nothing is shown where the attack does not beat the best "
        "control even without a defense. Means over "
        f"{int(table['explained'].max())} explained victims. The data file holds the PSNR of each attacker, how well the "
        f"norms tell noised channels from clean ones, and the share of the gradient that the kept ones hold. {INTERVAL}{synthetic_note(data, table['dataset'])}"
    )
