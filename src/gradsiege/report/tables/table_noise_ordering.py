"""TIP's ordering of accuracies, at the published constants and at equal noise: which noise produces it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd

from gradsiege import catalogue
from gradsiege.analysis.interval import student_interval
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import number, percent_interval, synthetic_note, with_interval

VERSION = 3
TITLE = "TIP, AGP and DP at unequal and at equal noise"
# The published order of accuracies, best first, is none, TIP, AGP, DP (arXiv 2602.11633, accuracy figure). All three clip the
# gradients too, so that the effect of noise is judged against clipping alone.
ORDER = ("clipped", "tip", "agp", "tip_dp")
SHOWN = ("none", *ORDER)
ENDS = ("", "_low", "_high")
PUBLISHED = "published constants"
STEPS = tuple(f"{better} - {worse}" for better, worse in pairwise(ORDER))
NAMES = {
    "clipped": "Clipping alone",
    "tip": "TIP",
    "agp": "AGP",
    "tip_dp": "DP",
}
COLUMNS = ["dataset", "model", "noise", "method", *(f"accuracy{end}" for end in ENDS)]
COLUMNS += ["against", *(f"accuracy_change{end}" for end in ENDS), "order"]
HOLDS, BROKEN, OPEN = "holds", "broken", "undecided"


def draw(data: StudyData) -> Drawn:
    """Tabulate the accuracies of all arms, and whether their order is the published one."""
    table = plotted(data)
    shown = pd.DataFrame([_line(row) for _, row in table.iterrows()])
    return Drawn(TITLE, _caption(data, table), by_arm(table), shown=shown)


def by_arm(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the data file: an arm with its accuracy, a step with its change, then the order."""
    rows: list[dict[str, Any]] = []
    for _, row in table.iterrows():
        noise = {name: row[name] for name in ("dataset", "model", "noise")}
        rows += [
            {**noise, "method": arm, **{f"accuracy{end}": row[f"{arm}{end}"] for end in ENDS}}
            for arm in SHOWN
        ]
        for step, (better, worse) in zip(STEPS, pairwise(ORDER), strict=True):
            change = {f"accuracy_change{end}": row[f"{step}{end}"] for end in ENDS}
            rows.append({**noise, "method": better, "against": worse, **change})
        rows.append({**noise, "order": row["order"]})
    return pd.DataFrame(rows, columns=COLUMNS)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per noise setting of which TIP, AGP and DP were all trained.

    Columns: dataset, model, noise; of each arm its accuracy after the last round with a t interval over seeds; of
    each step of the order the paired difference with limits; order: "holds" (every step above 0), "broken" (a step
    below 0), or "undecided".
    """
    last = data.utility[data.utility["round"] == data.utility["round"].max()]
    last = last[last["status"] == "complete"]
    rows: list[dict[str, Any]] = []
    for place, part in last.groupby(["dataset", "model"], sort=False):
        by_id = {
            name: group.set_index("seed")["accuracy"] for name, group in part.groupby("defense")
        }
        for noise, arms in settings(data).items():
            if set(arms) == set(SHOWN) and set(arms.values()) <= set(by_id):
                accuracies = {arm: by_id[identifier] for arm, identifier in arms.items()}
                where = dict(zip(("dataset", "model"), place, strict=True))
                rows.append({**where, "noise": noise, **_numbers(accuracies)})
    return pd.DataFrame(rows, columns=["dataset", "model", "noise", *_columns(), "order"])


def _columns() -> list[str]:
    return [f"{name}{end}" for name in (*SHOWN, *STEPS) for end in ENDS]


def settings(data: StudyData) -> dict[str, dict[str, str]]:
    """Return, by noise setting, the id of every arm; no defense, and TIP without noise, stand in each."""
    by_noise: dict[str, dict[str, str]] = {}
    quiet = {}
    for item in data.study.get("defenses", ()):
        if item["name"] == "none":
            quiet["none"] = item["id"]
        elif item["name"] in ORDER and item.get("arm", "faithful") == "faithful":
            declared = catalogue.entries("defenses")[item["name"]].parameters
            given = dict(item.get("parameters", {}))
            norm = given.pop("noise_norm", None)
            if all(value == declared[name][1] for name, value in given.items()):
                if norm == 0:
                    quiet["clipped"] = item["id"]
                    continue
                noise = PUBLISHED if norm is None else f"equal norm {number(norm, 2)}"
                by_noise.setdefault(noise, {})[item["name"]] = item["id"]
    return {noise: {**quiet, **arms} for noise, arms in by_noise.items()}


def _numbers(accuracies: dict[str, pd.Series]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for arm, values in accuracies.items():
        row |= student_interval(values.to_numpy()).as_columns(arm)
    steps = []
    for name, (better, worse) in zip(STEPS, pairwise(ORDER), strict=True):
        change = (accuracies[better] - accuracies[worse]).dropna()
        steps.append(student_interval(change.to_numpy()))
        row |= steps[-1].as_columns(name)
    broken = any(step.high < 0 for step in steps)
    holds = all(step.low > 0 for step in steps)
    return row | {"order": BROKEN if broken else HOLDS if holds else OPEN}


def _line(row: pd.Series) -> dict[str, str]:
    line = {
        "Data, model: noise": f"{label(row['dataset'])}, {label(row['model'])}: {row['noise']}",
    }
    for arm in ORDER:
        line[NAMES[arm]] = percent_interval(row[arm], row[f"{arm}_low"], row[f"{arm}_high"], 1)
    for step, (better, worse) in zip(STEPS, pairwise(ORDER), strict=True):
        points = [100 * row[f"{step}{end}"] for end in ENDS]
        line[f"{NAMES[better]} − {NAMES[worse]} [points]"] = with_interval(*points)
    return line | {"Published order": str(row["order"])}


def conclusion(table: pd.DataFrame) -> str:
    """Say, from the table alone, which noise produces the published order."""
    unequal = table.loc[table["noise"] == PUBLISHED, "order"]
    equal = table.loc[table["noise"] != PUBLISHED, "order"]
    if unequal.empty or equal.empty:
        return "The order was trained at one kind of noise only, so that nothing follows from it."
    if (unequal == HOLDS).all() and (equal == HOLDS).all():
        return "The published order stands at unequal and at equal noise."
    if (unequal == HOLDS).all():
        kept = int((equal == HOLDS).sum())
        return (
            "The published order appears where the three noises are as unequal as in the paper; at equal noise it "
            f"holds in {kept} of {len(equal)} settings ({_counted(equal)}): unequal noise produces it."
        )
    if (unequal == BROKEN).any():
        return (
            f"The published order does not appear even at the published constants here ({_counted(unequal)}); "
            f"at equal noise: {_counted(equal)}. {_gaps(table)}"
        )
    return (
        f"These seeds leave the published order undecided at the published constants; at equal noise: {_counted(equal)}. "
        f"{_gaps(table)}"
    )


def _gaps(table: pd.DataFrame) -> str:
    """How far TIP stands above DP in the mean, where no interval decides."""
    gaps = 100 * (table["tip"] - table["tip_dp"])
    unequal, equal = gaps[table["noise"] == PUBLISHED], gaps[table["noise"] != PUBLISHED]
    return (
        f"In the mean TIP stands {number(unequal.mean())} points above DP at the published constants, and between "
        f"{number(equal.min())} and {number(equal.max())} at equal noise."
    )


def _counted(orders: pd.Series) -> str:
    counts = orders.value_counts()
    return ", ".join(f"{counts[name]} {name}" for name in (HOLDS, BROKEN, OPEN) if name in counts)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "No noise setting was trained under TIP, AGP and DP alike."
    return (
        f"{conclusion(table)} Accuracy after the last round with clipped gradients without noise, and under TIP, AGP "
        "and noise on every weight (DP), which clip as well; best first as published. Equal norm: the whole noise has the same root mean square l2 norm in all three. "
        "Brackets are 95 % t intervals over seeds, steps are paired by seed. The order holds where every step lies "
        "above zero with its interval, is broken where one lies below, else undecided. The data file holds the accuracy without a defense, too."
        f"{synthetic_note(data, table['dataset'])}"
    )
