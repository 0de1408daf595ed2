"""Which settings train to the accuracy of no defense, and of the same clipping without noise; and epsilon of what clients send."""

from __future__ import annotations

import math

import pandas as pd

from gradsiege.analysis.equal_accuracy import Accuracy, Equality, compare, settled, together
from gradsiege.report.data import StudyData
from gradsiege.report.privacy_account import COLUMNS, privacy_account

PLACE = ["dataset", "model"]
SETTING = [*PLACE, "defense"]
FLAGS: dict[Equality, float] = {"equal": 1.0, "unequal": 0.0, "unknown": math.nan}
# Defenses that clip and add noise: the parameter that is the noise, and its value without noise.
NOISED = {"dp_sgd": ("noise_multiplier", 0.0)}


def accuracies(data: StudyData) -> pd.DataFrame:
    """Return one row per trained setting, as `analysis.headline` takes it.

    Columns: dataset, model, defense; `settled_accuracy` with the number of `seeds`; `accuracy_change` to no defense and
    `clipping_change` to the same clipping without noise, paired by seed with 95 % t limits; `comparable` (1, 0, or NaN for
    unknown); epsilon of one update, accounted and empirical (`report.privacy_account`), NaN for defenses without an account.
    """
    table = settled(data.utility, [*SETTING, "seed"])
    runs = {
        key: part.set_index("seed")["accuracy"] for key, part in table.groupby(SETTING, sort=False)
    }
    bare = set(data.undefended(table)["defense"])
    rows = []
    for (dataset, model, defense), run in runs.items():
        references = [
            runs[other] for other in runs if other[:2] == (dataset, model) and other[2] in bare
        ]
        to_none = compare(run, references[0]) if references else None
        clipped, needed = _clipped(data, str(defense))
        reference = runs.get((dataset, model, clipped))
        to_clipping = None if reference is None else compare(run, reference)
        row = {"dataset": dataset, "model": model, "defense": defense}
        row |= {"settled_accuracy": run.mean(), "seeds": len(run)}
        row |= _limits("accuracy_change", to_none) | _limits("clipping_change", to_clipping)
        parts: list[Equality] = [to_none.equality if to_none else "unknown"]
        parts += [to_clipping.equality if to_clipping else "unknown"] if needed else []
        row["comparable"] = 1.0 if defense in bare else FLAGS[together(parts)]
        rows.append(row | privacy_account(data, str(dataset), str(model), str(defense)))
    columns = [*SETTING, "settled_accuracy", "seeds"]
    columns += [
        f"{n}{e}" for n in ("accuracy_change", "clipping_change") for e in ("", "_low", "_high")
    ]
    return pd.DataFrame(rows, columns=[*columns, "comparable", *COLUMNS])


def _limits(name: str, compared: Accuracy | None) -> dict[str, float]:
    if compared is None:
        return {name: math.nan, f"{name}_low": math.nan, f"{name}_high": math.nan}
    change = compared.change
    return change.as_columns(name)


def _clipped(data: StudyData, defense: str) -> tuple[str | None, bool]:
    """Return the id of the setting that clips alike and adds no noise, and whether the comparison is asked for."""
    items = {str(item["id"]): item for item in data.study.get("defenses", ())}
    item = items.get(defense, {})
    if item.get("name") not in NOISED:
        return None, False
    parameter, silent = NOISED[item["name"]]
    settings = item.get("parameters") or {}
    if settings.get(parameter) == silent:
        return None, False
    for name, other in items.items():
        if other.get("name") == item["name"] and (other.get("parameters") or {}) == {
            **settings,
            parameter: silent,
        }:
            return name, True
    return None, True
