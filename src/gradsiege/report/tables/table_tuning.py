"""The settings that attacks chose on simulated clients of auxiliary images, and what the choice gained there."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gradsiege.report.data import CELL_KEY, Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import fold_constant, joined, number, threat_label

VERSION = 1
TITLE = "Settings that attacks chose"
FOLDED = ["Data, model", "Where", "Attacker", "Clients"]
PLACE = [*CELL_KEY, "threat_model", "attack"]
SAME = [name for name in PLACE if name != "defense"]


def draw(data: StudyData) -> Drawn:
    """Tabulate every choice once, with the defenses against which it serves."""
    table = plotted(data)
    if table.empty:
        why = "No attack of the study has chosen settings: its file has no key `tuning`, or no attack has run."
        return Drawn(TITLE, why, table)
    groups = table.groupby(["choice", *SAME], sort=False)
    lines = pd.DataFrame([_line(data, part) for _, part in groups])
    shown, folded = fold_constant(lines, FOLDED)
    trials = table["trial"].max() + 1
    caption = (
        f"Each attack tried {trials} settings on simulated clients of auxiliary images, the same number for all, and took those "
        "of the highest mean PSNR; the first trial is the attack as it stands in the study. No victim was read. Defenses share a "
        f"line if the attacker made one choice for them.{folded}"
    )
    return Drawn(TITLE, caption, table, shown=shown)


def plotted(data: StudyData) -> pd.DataFrame:
    """Return one row for each attack cell and trial, in the order of the cells."""
    rows: list[dict[str, Any]] = []
    for job in data.manifests:
        record = job.get("tuning")
        if record:
            place = dict(zip(PLACE, str(job["cell"]).split("/"), strict=True))
            seed = int(place["seed"].removeprefix("seed"))
            rows += [{**place, "seed": seed, **trial} for trial in _trials(record)]
    numbers = ["choice", "trial", "trial_psnr", "chosen", "clients", "settings"]
    return pd.DataFrame(rows, columns=[*PLACE, *numbers])


def _trials(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            # Ten digits tell choices apart, and can be read.
            "choice": str(record["identity"])[:10],
            "trial": number,
            "trial_psnr": float(trial["psnr"]),
            "chosen": float(number == record["chosen"]),
            "clients": int(record["clients"]),
            "settings": ", ".join(f"{name} {value}" for name, value in trial["settings"].items()),
        }
        for number, trial in enumerate(record["trials"])
    ]


def _line(data: StudyData, part: pd.DataFrame) -> dict[str, str]:
    first = part[part["trial"] == 0].iloc[0]
    best = part[part["chosen"] == 1].iloc[0]
    defenses = [
        label(name, data.name_of("defenses", name)) for name in part["defense"].drop_duplicates()
    ]
    return {
        "Attack": label(first["attack"], data.name_of("attacks", first["attack"])),
        "Defenses": joined(defenses),
        "Data, model": f"{label(first['dataset'])}, {label(first['model'])}",
        "Where": f"{first['training_stage']}, {label(first['protocol'])}, seed {first['seed']}",
        "Attacker": threat_label(data, first["threat_model"]),
        "Clients": number(first["clients"], 0),
        "Chosen": best["settings"],
        "As it stands [dB]": number(first["trial_psnr"]),
        "Gain [dB]": number(best["trial_psnr"] - first["trial_psnr"]),
    }
