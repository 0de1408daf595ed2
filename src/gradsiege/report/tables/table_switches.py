"""Effect of every single defect of released code: paired with the same defense as its paper describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from gradsiege import catalogue
from gradsiege.analysis.interval import student_interval
from gradsiege.analysis.paired import compare_with_baseline
from gradsiege.analysis.significance import holm
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    STARRED,
    fold_constant,
    place_label,
    starred,
    synthetic_note,
    threat_label,
    with_interval,
)

VERSION = 3
TITLE = "Defects of released code, one at a time"
PLACE = ["dataset", "model"]
CELL = [*PLACE, "training_stage", "protocol", "threat_model", "attack"]
FOLDED = ["Where", "Threat model", "Attack", "n"]
EFFECTS = ("psnr_change", "accuracy_change")
COLUMNS = ["defense", "against", "switches", *CELL, "victims", "seeds"]
COLUMNS += [f"{effect}{end}" for effect in EFFECTS for end in ("", "_low", "_high")]
COLUMNS += ["psnr_p", "psnr_holm"]


def draw(data: StudyData) -> Drawn:
    """Tabulate every defense with a switch on against the same one with it off."""
    table = plotted(data)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    shown, folded = fold_constant(shown, FOLDED)
    return Drawn(TITLE, _caption(data, table) + folded, table, shown=shown)


def pairs(data: StudyData) -> Iterator[tuple[str, str, str]]:
    """Yield (id, id of the same defense as described, names of the switches that differ) from the study file."""
    faithful = {
        (item["name"], _rest(item)): item["id"]
        for item in data.study.get("defenses", ())
        if item.get("arm", "faithful") == "faithful" and not _switches(item)
    }
    for item in data.study.get("defenses", ()):
        released = item.get("arm", "faithful") == "as_released"
        against = faithful.get((item["name"], _rest(item)))
        if against and (released or _switches(item)):
            yield item["id"], against, "all" if released else ", ".join(_switches(item))


def _switches(item: dict[str, Any]) -> list[str]:
    """The defects of released code that are on; such a parameter is a bool that follows the arm by default."""
    return [name for name in _known(item) if item.get("parameters", {}).get(name)]


def _known(item: dict[str, Any]) -> list[str]:
    declared = catalogue.entries("defenses")[item["name"]].parameters
    return [name for name, (kind, _) in declared.items() if kind == bool | None]


def _rest(item: dict[str, Any]) -> str:
    """Every other parameter, as text."""
    switches = _known(item)
    given = item.get("parameters", {})
    return repr(sorted((name, value) for name, value in given.items() if name not in switches))


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per pair and attacked cell: paired differences of PSNR [dB] over victims and of accuracy over seeds."""
    # The comparison pairs attacks within a defense; with the two columns exchanged it pairs defenses within an attack.
    swapped = data.scores.rename(columns={"defense": "attack", "attack": "defense"})
    place = ["defense" if name == "attack" else name for name in CELL]
    rows = []
    for defense, against, switches in pairs(data):
        swap = swapped[swapped["attack"].isin([defense, against])]
        compared = compare_with_baseline(swap, against, by=place)
        for _, pair in compared.iterrows():
            cell = {name: pair[column] for name, column in zip(CELL, place, strict=True)}
            row = {"defense": defense, "against": against, "switches": switches, **cell}
            row |= {"victims": pair["victims"], "psnr_change": pair["difference"]}
            row |= {f"psnr_change_{end}": pair[f"difference_{end}"] for end in ("low", "high")}
            row |= {"psnr_p": pair["wilcoxon_p"]}
            rows.append(row | _accuracy(data, defense, against, cell))
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["psnr_holm"] = holm(table["psnr_p"].to_numpy(dtype="float64"))
    return table


def _accuracy(
    data: StudyData, defense: str, against: str, cell: dict[str, Any]
) -> dict[str, float]:
    """The change of the last round's accuracy, paired by seed, with a t interval."""
    table = data.utility
    here = table[(table[PLACE] == [cell[name] for name in PLACE]).all(axis=1)]
    here = here[(here["status"] == "complete") & (here["round"] == here["round"].max())]
    sides = [
        here[here["defense"] == name].set_index("seed")["accuracy"] for name in (defense, against)
    ]
    change = (sides[0] - sides[1]).dropna()
    interval = student_interval(change.to_numpy())
    limits = {"accuracy_change_low": interval.low, "accuracy_change_high": interval.high}
    return {"accuracy_change": interval.estimate, **limits, "seeds": len(change)}


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    points = [100 * row[f"accuracy_change{end}"] for end in ("", "_low", "_high")]
    change = [row[f"psnr_change{end}"] for end in ("", "_low", "_high")]
    return {
        "Defense": label(row["against"], data.name_of("defenses", row["against"])),
        "Switched on": str(row["switches"]).replace("_", " "),
        "Where": place_label(row),
        "Threat model": threat_label(data, row["threat_model"]),
        "Attack": label(row["attack"], data.name_of("attacks", row["attack"])),
        "Δ PSNR [dB]": starred(with_interval(*change), row["psnr_holm"]),
        "Δ accuracy [points]": with_interval(*points) if row["seeds"] else DASH,
        "n": f"{int(row['victims'])} victims, {int(row['seeds'])} seeds",
    }


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "No defense was attacked both as described and with a defect of its release."
    return (
        "Each row is a defense with one defect of its released code switched on (all: the whole release) minus the same "
        "defense as its paper describes it. PSNR: same attack, same victims; positive: the defect makes the defense "
        "leak more. At a trained stage the two also train different models. Accuracy: after the last round, paired by "
        f"seed, with a t interval. {STARRED} (Wilcoxon's signed-rank test on victims, adjusted by Holm over this table). "
        f"{INTERVAL}{synthetic_note(data, table['dataset'])}"
    )
