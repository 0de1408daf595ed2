"""Equal accuracy: whether training with a defense is shown to end within five points of training without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from gradsiege.analysis.equivalence import tost_student
from gradsiege.analysis.interval import Interval, student_interval, unknown

# Margin of accuracy within which two trainings count as equal.
MARGIN = 0.05
# Fewest seeds that are asked: a training is too variable for fewer.
LEAST_SEEDS = 10
# A training's accuracy is the mean of so many last rounds.
LAST_ROUNDS = 3

Equality = Literal["equal", "unequal", "unknown"]


@dataclass(frozen=True)
class Accuracy:
    """The comparison of one setting with one reference: the paired change with a 95 % t interval over seeds, and the verdict."""

    change: Interval
    equality: Equality


def settled(utility: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the accuracy of each training: the mean of its last `LAST_ROUNDS` rounds after the start. Failed trainings are left out.

    utility: one row per round with `round` (0 is the start), `accuracy` and `status`. keys: columns that name a training.
    """
    done = utility[(utility["status"] == "complete") & utility["accuracy"].notna()]
    last = done.groupby(keys)["round"].transform("max")
    counted = done[(done["round"] > last - LAST_ROUNDS) & ((done["round"] > 0) | (last == 0))]
    means = counted.astype({"accuracy": "float64"}).groupby(keys, sort=False)["accuracy"].mean()
    return means.reset_index()


def compare(treated: pd.Series[float], reference: pd.Series[float]) -> Accuracy:
    """Compare two settings, each a series of accuracies by seed; seeds that only one of them has are left out.

    `equal`: two one-sided t tests at 5 % show that the change lies within `MARGIN`. `unequal`: the 95 % interval lies outside
    it. `unknown`: neither is shown, or there are fewer than `LEAST_SEEDS` seeds.

    >>> seeds = pd.Series(np.linspace(0.50, 0.59, 10))
    >>> compare(seeds - 0.01, seeds).equality, compare(seeds[:9] - 0.01, seeds).equality
    ('equal', 'unknown')
    """
    changes = (treated - reference).dropna().to_numpy(dtype=np.float64)
    if not len(changes):
        return Accuracy(unknown(math.nan, 0.95, 0, "student"), "unknown")
    interval = student_interval(changes)
    equality: Equality = "unknown"
    if len(changes) >= LEAST_SEEDS:
        if tost_student(changes, -MARGIN, MARGIN).shown:
            equality = "equal"
        elif interval.low > MARGIN or interval.high < -MARGIN:
            equality = "unequal"
    return Accuracy(interval, equality)


def together(parts: list[Equality]) -> Equality:
    """Return the equality with all references: equal only if every part is.

    >>> together(["equal", "unknown"]), together(["unequal", "unknown"]), together([])
    ('unknown', 'unequal', 'unknown')
    """
    if not parts or "unequal" in parts:
        return "unequal" if parts else "unknown"
    return "unknown" if "unknown" in parts else "equal"
