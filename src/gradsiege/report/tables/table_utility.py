"""Cost of every defense in accuracy, F1, time and memory, attacked or not."""

from __future__ import annotations

import pandas as pd

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import utility_by_setting
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    fold_constant,
    number,
    percent_interval,
    synthetic_note,
    with_interval,
)

VERSION = 3
TITLE = "Utility under each defense"
# Column names of the data file: a quantity has the same name in all tables.
NAMES = {f"change{end}": f"accuracy_change{end}" for end in ("", "_low", "_high")}
NAMES |= {"seconds": "round_seconds", "peak_memory": "memory"}


def draw(data: StudyData) -> Drawn:
    """Tabulate the last round of every setting, with intervals over seeds."""
    table = utility_by_setting(data)
    measured = table.rename(columns=NAMES)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    shown, folded = fold_constant(shown, ["Data, model", "Seeds"])
    return Drawn(TITLE, _caption(data, table) + folded, measured, shown=shown)


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    points = [100 * row[name] for name in ("change", "change_low", "change_high")]
    name = data.name_of("defenses", row["defense"])
    failed = f" ({int(row['failed_seeds'])} failed)" if row["failed_seeds"] else ""
    return {
        "Defense": label(row["defense"], name),
        "Data, model": f"{label(row['dataset'])}, {label(row['model'])}",
        "Accuracy": percent_interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"], 1),
        "Change [points]": "baseline" if name == "none" else _signed(*points),
        "Macro-F1": percent_interval(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"], 1),
        "Round [s]": number(row["seconds"], 2),
        "Memory [MiB]": number(row["peak_memory"], 0),
        "Seeds": number(row["seeds"], 0) + failed,
    }


def _signed(value: float, low: float, high: float) -> str:
    """A change with its limits, and a plus where it is one."""
    return ("+" if value > 0 else "") + with_interval(value, low, high)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "No model was trained."
    seeds = int(table["seeds"].max())
    intervals = (
        f"Brackets are 95 % t intervals over at most {seeds} seeds; the change is paired by seed."
        if seeds > 1
        else "One seed, hence no interval: differences between rows may be chance."
    )
    return (
        "The global model on the test split after the last round of training with the defense. "
        f"{intervals} Change: accuracy against no defense on the same data and model. Micro-F1 of "
        "one label per image is the accuracy, and stands in the data file. Round: median seconds of a round, all its clients "
        "one after the other. Memory: the most that the process held, libraries and data included. "
        f"Failed seeds are left out of the means and counted.{synthetic_note(data, table['dataset'])}"
    )
