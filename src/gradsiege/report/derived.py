"""Derived results that figures, tables and findings share: utility, attackers and bounds by defense setting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.attackers import FLOORS, Kinds
from gradsiege.analysis.headline import headline
from gradsiege.analysis.interval import student_interval
from gradsiege.analysis.recipes import Recipe
from gradsiege.analysis.worst_case import worst_case
from gradsiege.report.data import StudyData
from gradsiege.report.equality import accuracies
from gradsiege.study import PLACES

PLACE = ["dataset", "model"]
SETTING = [*PLACE, "defense"]
UTILITY = [*SETTING, "accuracy", "accuracy_low", "accuracy_high", "change", "change_low"]
UTILITY += ["change_high", "macro_f1", "macro_f1_low", "macro_f1_high", "micro_f1"]
UTILITY += ["seconds", "peak_memory", "seeds", "failed_seeds"]


def families(data: StudyData) -> dict[str, str]:
    """Return, by id of an attack, a name of all its settings but the budget; attacks that differ in iterations share it."""
    return {str(item["id"]): _settings(item) for item in data.study.get("attacks", ())}


def _settings(item: dict[str, Any], *apart: str) -> str:
    """Return the settings of an attack but for its id, its budget, where it stands, and those named."""
    left_out = {"id", "iterations", "sweep", *PLACES, *apart}
    same = {key: value for key, value in item.items() if key not in left_out}
    return json.dumps(same, sort_keys=True, default=str)


def recipes(data: StudyData) -> dict[str, Recipe]:
    """Return, by id of an attack, its method without counter, iterations, rounds and priors, and its priors."""
    found = {}
    for item in data.study.get("attacks", ()):
        prior = item.get("prior") or ()
        priors = frozenset([prior] if isinstance(prior, str) else prior)
        found[str(item["id"])] = Recipe(_settings(item, "counter", "prior", "rounds"), priors)
    return found


def grants(data: StudyData) -> dict[str, str]:
    """Return, by id of a threat model, what it knows beside the defense and further rounds."""
    apart = ("id", "disclosure", "rounds")
    return {
        str(threat["id"]): json.dumps({key: threat[key] for key in sorted(threat.keys() - apart)})
        for threat in data.threat_models
    }


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
    """Return means over the finished seeds, one row per setting, with t intervals; time and memory over all rounds."""
    utility = data.utility
    last = utility[utility["round"] == utility.groupby(SETTING)["round"].transform("max")]
    ended = last[last["status"] == "complete"]
    bare = data.undefended(ended)[[*PLACE, "seed", "accuracy"]]
    paired = ended.merge(bare, on=[*PLACE, "seed"], how="left", suffixes=("", "_undefended"))
    paired["change"] = paired["accuracy"] - paired["accuracy_undefended"]
    rows = []
    for key, everything in utility.groupby(SETTING, sort=False):
        of_setting = paired[(paired[SETTING] == list(key)).all(axis=1)]
        row: dict[str, Any] = dict(zip(SETTING, key, strict=True))
        for name in ("accuracy", "macro_f1", "micro_f1"):
            row |= _interval(of_setting, name, (0.0, 1.0))
        row |= _interval(of_setting, "change", (-1.0, 1.0))
        row["seconds"] = everything["seconds"].median()
        row["peak_memory"] = everything["peak_memory"].max()
        row["seeds"] = len(of_setting)
        row["failed_seeds"] = everything.loc[everything["status"] != "complete", "seed"].nunique()
        rows.append(row)
    return pd.DataFrame(rows, columns=UTILITY)


def _interval(of_setting: pd.DataFrame, name: str, limits: tuple[float, float]) -> dict[str, float]:
    """Return the mean over seeds and the limits of its t interval, clipped to `limits`; NaN limits for one seed."""
    interval = student_interval(of_setting[name].dropna().to_numpy())
    low, high = np.clip([interval.low, interval.high], *limits)
    return {name: interval.estimate, f"{name}_low": float(low), f"{name}_high": float(high)}


def bounds(data: StudyData) -> pd.DataFrame:
    """Return how similar the images that clients trained on are to the private ones, if a defense transforms them.

    One row per setting, for the training stage and protocol with the highest PSNR [dB]; with their mean SSIM and
    LPIPS, which is NaN if its weights are absent.
    """
    strongest = worst_case(data.summary, by=SETTING, kind="bound")
    kept = ["psnr", "psnr_low", "psnr_high", "ssim", "lpips"]
    table = strongest.reindex(columns=[*SETTING, *kept])
    return table.rename(columns={column: f"bound_{column}" for column in kept})


def attackers(data: StudyData) -> pd.DataFrame:
    """Return every setting's attackers and the verdict on its protection, one row per attacker; see `analysis.headline`.

    Call it as `data.once(attackers)`, since it takes seconds.
    """
    return headline(data.summary, data.scores, accuracies(data), kinds(data))


def kinds(data: StudyData) -> Kinds:
    """Return what the ids of the study stand for: undefended settings, informed threat models, floors, counters."""
    summary = data.summary
    methods = {str(name): data.name_of("attacks", str(name)) for name in summary["attack"].unique()}
    answers = {
        str(item["id"]): str(item["counter"])
        for item in data.study.get("attacks", ())
        if item.get("counter")
    }
    generic = {name for name, counter in answers.items() if counter.startswith("generic.")}
    return Kinds(
        bare=set(data.undefended(summary)["defense"]),
        aware={name for name in summary["threat_model"].unique() if _informed(data, str(name))},
        floors={name for name, method in methods.items() if method in FLOORS},
        counters=set(answers) - generic,
        generic=generic,
        recipes=recipes(data),
        grants=grants(data),
    )


def _informed(data: StudyData, name: str) -> bool:
    """Return whether attackers of a threat model know more than one update: the defense, or several rounds."""
    several = any(
        threat.get("id") == name and threat.get("rounds", 1) > 1 for threat in data.threat_models
    )
    return several or data.adaptive(name)
