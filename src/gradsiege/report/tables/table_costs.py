"""Cost of each attack and each defense: iterations, model evaluations, seconds, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gradsiege.pipeline.stage import STAGES
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import duration, fold_constant, number

VERSION = 3
TITLE = "What an attack and a defense cost"
PLACE = ["dataset", "model", "protocol"]
CELL = ["defense", "training_stage", "seed", "threat_model"]
COLUMNS = ["kind", *PLACE, "method", "jobs", "victims", "iterations", "restarts", "evaluations"]
COLUMNS += ["seconds", "per_evaluation", "ratio", "memory"]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per attack and place, then one row per defense: medians over jobs, the largest memory of any.

    seconds: of an attack's job on all victims of a cell, of one federated round under a defense; per_evaluation: of one
    model evaluation of one victim; ratio: of a round to one without defense; memory [MiB]: the largest resident set.
    """
    rows = [*_attacks(data), *_defenses(data)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _attacks(data: StudyData) -> list[dict[str, Any]]:
    scores = data.scores[data.scores["kind"] == "attack"]
    memory = memory_by_attack(data)
    rows = []
    for key, part in scores.groupby([*PLACE, "attack"], sort=False):
        jobs = part.drop_duplicates(CELL).assign(
            victims=part.groupby(CELL)["victim"].transform("nunique")
        )
        numbers = {name: jobs[name].median() for name in ("iterations", "restarts", "evaluations", "seconds") if name in jobs}  # fmt: skip
        spent = jobs["seconds"] / (jobs["evaluations"] * jobs["victims"]).replace(0, np.nan)
        place = dict(zip(PLACE, key[:3], strict=True))
        memories = [value for (cell, value) in memory if (*cell,) == key]
        rows.append(
            {"kind": "attack", **place, "method": key[3], "jobs": len(jobs), **numbers}
            | {"victims": int(jobs["victims"].max()), "per_evaluation": spent.median()}
            | {"memory": max(memories, default=np.nan)}
        )
    return rows


def memory_by_attack(data: StudyData) -> list[tuple[tuple[str, ...], float]]:
    """((data set, model, protocol, attack), MiB) of every attack's job whose memory was measured."""
    memories = []
    for job in data.manifests:
        if job["stage"] == "attack" and not np.isnan(float(job.get("memory") or np.nan)):
            ids = dict(zip(STAGES["attack"].fields, str(job["cell"]).split("/"), strict=True))
            key = tuple(ids[name] for name in (*PLACE, "attack"))
            memories.append((key, float(job["memory"])))
    return memories


def _defenses(data: StudyData) -> list[dict[str, Any]]:
    timed = data.utility[data.utility["seconds"].notna()]
    rows = []
    for (dataset, model), place in timed.groupby(["dataset", "model"], sort=False):
        bare = float(data.undefended(place)["seconds"].median())
        for defense, part in place.groupby("defense", sort=False):
            spent = float(part["seconds"].median())
            rows.append(
                {"kind": "defense", "dataset": dataset, "model": model, "method": defense}
                | {"protocol": "", "jobs": part["seed"].nunique(), "seconds": spent}
                | {"memory": part["peak_memory"].max(), "ratio": spent / bare if bare else np.nan}
            )
    return rows


def draw(data: StudyData) -> Drawn:
    """Tabulate attacks, then defenses."""
    table = plotted(data)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    shown, folded = fold_constant(shown, ["Where"])
    if table.empty:
        return Drawn(TITLE, "Nothing was attacked or trained.", by_method(table), shown=shown)
    unmeasured = bool(table["memory"].isna().any())
    caption = (
        "Attacks: iterations as asked for, model evaluations of one victim (restarts included), seconds of a "
        "job on all victims of a cell. Defenses: seconds of one federated round, and their ratio to a round without "
        "defense. Times and counts are medians over jobs; memory is the largest resident set of any, libraries "
        "included. Times of jobs that ran side by side are longer than alone. The data file counts restarts and jobs."
        + (
            " A dash: not measured (the memory of jobs run by hand is unknown)."
            if unmeasured
            else ""
        )
    )
    return Drawn(TITLE, caption + folded, by_method(table), shown=shown)


def by_method(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the data file: an attack or a defense, each with the name of its time."""
    attacks = table["kind"] == "attack"
    names = {"per_evaluation": "evaluation_seconds", "ratio": "round_ratio"}
    columns = {
        "attack": table["method"].where(attacks, ""),
        "defense": table["method"].mask(attacks, ""),
        "attack_seconds": table["seconds"].where(attacks),
        "round_seconds": table["seconds"].mask(attacks),
    }
    return table.assign(**columns).drop(columns=["kind", "method", "seconds"]).rename(columns=names)


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    attack = row["kind"] == "attack"
    section = "attacks" if attack else "defenses"
    each = row["per_evaluation"]
    return {
        "Method": label(str(row["method"]), data.name_of(section, str(row["method"]))),
        "Kind": str(row["kind"]),
        "Where": ", ".join(label(str(row[name])) for name in PLACE if row[name]),
        "Iterations": number(row["iterations"], 0),
        "Evaluations": number(row["evaluations"], 0),
        "Time": duration(row["seconds"]),
        "Per evaluation [ms]": number(1000 * each, 1 if 1000 * each >= 1 else 3),
        "× no defense": number(row["ratio"], 2),
        "Memory [MiB]": number(row["memory"], 0),
    }
