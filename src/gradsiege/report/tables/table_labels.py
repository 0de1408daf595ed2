"""Inferred labels: the share of every batch that each rule got right, for distinct and for duplicate labels."""

from __future__ import annotations

import pandas as pd

from gradsiege.analysis.bootstrap import mean_interval
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    INTERVAL,
    fold_constant,
    number,
    place_label,
    synthetic_note,
    threat_label,
    with_interval,
)
from gradsiege.seeds import numpy_generator

VERSION = 3
TITLE = "Labels inferred from the update"
CELL = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack"]


def draw(data: StudyData) -> Drawn:
    """Tabulate label accuracy of every attack that had to infer labels."""
    table = plotted(data)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    shown, folded = fold_constant(shown, ["Where", "Defense", "Threat model"])
    caption = (
        "Share of a batch's labels that were inferred, as multisets: order does not count, duplicates do. A rule that "
        "assumes distinct labels cannot be right on all of a batch that repeats one. No inferred label is ever put in "
        f"order with the true ones. {INTERVAL}{synthetic_note(data, table['dataset'])}{folded}"
    )
    return Drawn(TITLE, caption, table, shown=shown)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row for every cell whose threat model withholds labels: mean over victims, with interval."""
    models = data.study.get("threat_models", [])
    granted = {model["id"] for model in models if model["labels"] != "inferred"}
    scores = data.scores[data.scores["kind"] == "attack"]
    scores = scores[scores["label_accuracy"].notna()]
    scores = scores[~scores["threat_model"].isin(granted)]
    rows = []
    for key, part in scores.groupby(CELL, sort=False):
        victims = part.groupby("victim")["label_accuracy"].first()
        generator = numpy_generator("table_labels", *key)
        interval = mean_interval(victims.to_numpy(), generator=generator)
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                **rule_of(data, str(key[-1]), str(key[-3])),
                "label_accuracy": interval.estimate,
                "label_accuracy_low": interval.low,
                "label_accuracy_high": interval.high,
                "victims": len(victims),
            }
        )
    measured = [f"label_accuracy{end}" for end in ("", "_low", "_high")]
    columns = [*CELL, "label_rule", "duplicates", *measured, "victims"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["protocol", "label_rule", "attack"], kind="stable", ignore_index=True
    )


def rule_of(data: StudyData, attack: str, protocol: str) -> dict[str, object]:
    """Return the label rule of an attack, and whether a protocol's batches repeat labels."""
    attacks = {item["id"]: item for item in data.study.get("attacks", [])}
    protocols = {item["id"]: item for item in data.study.get("protocols", [])}
    rule = attacks.get(attack, {}).get("label_rule", "automatic")
    joint = data.name_of("attacks", attack) == "dlg"
    duplicates = protocols.get(protocol, {}).get("duplicates", False)
    return {"label_rule": "joint" if joint else rule, "duplicates": duplicates}


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    return {
        "Batches": "repeat labels" if row["duplicates"] else "distinct labels",
        "Rule": str(row["label_rule"]).replace("_", " "),
        "Attack": label(row["attack"], data.name_of("attacks", row["attack"])),
        "Threat model": threat_label(data, row["threat_model"]),
        "Accuracy": with_interval(
            row["label_accuracy"], row["label_accuracy_low"], row["label_accuracy_high"], 2
        ),
        "Where": place_label(row),
        "Defense": label(row["defense"], data.name_of("defenses", row["defense"])),
        "n": number(row["victims"], 0),
    }
