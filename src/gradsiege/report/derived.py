"""What figures, tables and the findings derive alike from a study: by defense setting, its utility, attackers and bounds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.headline import headline
from gradsiege.analysis.interval import student_interval
from gradsiege.analysis.worst_case import worst_case
from gradsiege.report.data import StudyData
from gradsiege.study import PLACES

PLACE = ["dataset", "model"]
SETTING = [*PLACE, "defense"]
UTILITY = [*SETTING, "accuracy", "accuracy_low", "accuracy_high", "change", "change_low"]
UTILITY += ["change_high", "macro_f1", "macro_f1_low", "macro_f1_high", "micro_f1"]
UTILITY += ["seconds", "peak_memory", "seeds", "failed_seeds"]


def families(data: StudyData) -> dict[str, str]:
    """By id of an attack: a name of everything but its budget, shared by attacks that differ in iterations alone."""
    found = {}
    for item in data.study.get("attacks", ()):
        same = {k: v for k, v in item.items() if k not in ("id", "iterations", "sweep", *PLACES)}
        found[str(item["id"])] = json.dumps(same, sort_keys=True, default=str)
    return found


def final_accuracy(data: StudyData) -> pd.DataFrame:
    """Mean test accuracy of the last round over seeds with a t interval, one row per setting.

    Seeds that failed are counted in `failed_seeds`. Limits are cut to [0, 1]; one seed has none.
    """
    rows = []
    for key, table in data.utility.groupby(SETTING, sort=False):
        ended = table[(table["status"] == "complete") & (table["round"] == table["round"].max())]
        failed = table.loc[table["status"] != "complete", "seed"].nunique()
        known = ended.loc[ended["accuracy"].notna(), "accuracy"].astype("float64")
        interval = student_interval(known.to_numpy())
        rows.append(
            {
                **dict(zip(SETTING, key, strict=True)),
                "accuracy": interval.estimate,
                "accuracy_low": max(0.0, interval.low) if len(known) > 1 else np.nan,
                "accuracy_high": min(1.0, interval.high) if len(known) > 1 else np.nan,
                "seeds": interval.units,
                "failed_seeds": int(failed),
            }
        )
    columns = [*SETTING, "accuracy", "accuracy_low", "accuracy_high", "seeds", "failed_seeds"]
    return pd.DataFrame(rows, columns=columns)


def utility_by_setting(data: StudyData) -> pd.DataFrame:
    """Means over the seeds that ended, one row per setting, with t intervals; time and memory over all rounds."""
    utility = data.utility
    last = utility[utility["round"] == utility.groupby(SETTING)["round"].transform("max")]
    ended = last[last["status"] == "complete"]
    bare = data.undefended(ended)[[*PLACE, "seed", "accuracy"]]
    paired = ended.merge(bare, on=[*PLACE, "seed"], how="left", suffixes=("", "_undefended"))
    paired["change"] = paired["accuracy"] - paired["accuracy_undefended"]
    rows = []
    for key, everything in utility.groupby(SETTING, sort=False):
        own = paired[(paired[SETTING] == list(key)).all(axis=1)]
        row: dict[str, Any] = dict(zip(SETTING, key, strict=True))
        for name in ("accuracy", "macro_f1", "micro_f1"):
            row |= _interval(own, name, (0.0, 1.0))
        row |= _interval(own, "change", (-1.0, 1.0))
        row["seconds"] = everything["seconds"].median()
        row["peak_memory"] = everything["peak_memory"].max()
        row["seeds"] = len(own)
        row["failed_seeds"] = everything.loc[everything["status"] != "complete", "seed"].nunique()
        rows.append(row)
    return pd.DataFrame(rows, columns=UTILITY)


def _interval(own: pd.DataFrame, name: str, limits: tuple[float, float]) -> dict[str, float]:
    """Mean over seeds and the limits of its t interval, cut to what the quantity can be; one seed has none."""
    interval = student_interval(own[name].dropna().to_numpy())
    low, high = np.clip([interval.low, interval.high], *limits)
    return {name: interval.estimate, f"{name}_low": float(low), f"{name}_high": float(high)}


def bounds(data: StudyData) -> pd.DataFrame:
    """What the images that the clients trained on show of the private ones, where a defense transforms them.

    One row per setting, of the training stage and protocol where they show most by PSNR [dB]; with their mean SSIM and
    LPIPS, which is NaN where its weights are absent.
    """
    found = worst_case(data.summary, by=SETTING, kind="bound")
    kept = ["psnr", "psnr_low", "psnr_high", "ssim", "lpips"]
    table = found.reindex(columns=[*SETTING, *kept])
    return table.rename(columns={column: f"bound_{column}" for column in kept})


def attackers(data: StudyData) -> pd.DataFrame:
    """Every setting's attackers and the verdict on its protection, one row per attacker; see `analysis.headline`.

    Ask for it with `data.once(attackers)`: it costs seconds.
    """
    summary = data.summary
    return headline(
        summary,
        data.scores,
        utility_by_setting(data)[[*SETTING, "accuracy", "change"]],
        bare=set(data.undefended(summary)["defense"]),
        aware={name for name in summary["threat_model"].unique() if _informed(data, str(name))},
    )


def _informed(data: StudyData, name: str) -> bool:
    """Whether attackers of a threat model know more than one update: the defense, or several rounds of the images."""
    several = any(one.get("id") == name and one.get("rounds", 1) > 1 for one in data.threat_models)
    return several or data.adaptive(name)
