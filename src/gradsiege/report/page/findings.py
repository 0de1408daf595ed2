"""The main findings in sentences, made from the numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gradsiege.analysis.worst_case import worst_case
from gradsiege.ranges import counted
from gradsiege.report.claim_words import tally
from gradsiege.report.data import StudyData, in_stage_order
from gradsiege.report.derived import SETTING, final_accuracy
from gradsiege.report.labels import label
from gradsiege.report.protection_words import standing
from gradsiege.report.wording import number, percent, percent_interval, with_interval

UNDEFENDED = ("table_attacks", "attack_defense_heatmap")
STANDING = ("table_headline", "table_defenses", "attack_defense_heatmap")
DEFENDED = ("table_defenses", "privacy_utility", "attack_defense_heatmap")


@dataclass(frozen=True)
class Finding:
    """One sentence of the summary, its topic, and the place of the rows behind it.

    exhibits: figures and tables that hold the rows, the best first ("claims" is the section of that name); words:
    what the rows have in common, for a table's filter.
    """

    topic: str
    sentence: str
    exhibits: tuple[str, ...] = UNDEFENDED
    words: str = ""


HEADLINE = ["dataset", "model", "training_stage", "protocol"]
MOST = 4  # sentences of one kind; the tables hold the rest


def findings(data: StudyData) -> list[Finding]:
    """Sentences for the head of the report, the most important first."""
    if data.scores.empty:
        return [Finding("Nothing yet", "No attack of this study has been scored yet.")]
    return [
        *_undefended(data)[:MOST],
        *_stages(data)[:MOST],
        *[Finding("Which protection survives", text, STANDING) for text in standing(data)[:MOST]],
        *_defenses(data)[: 2 * MOST],
        *_failures(data),
        *([Finding("Claims", tally(data.outcomes), ("claims",))] if data.claims else []),
    ]


def _undefended(data: StudyData) -> list[Finding]:
    """Best attack and best control per data set and model, at the earliest stage."""
    table = data.undefended(data.summary)
    if table.empty:
        return []
    first = in_stage_order(table["training_stage"])[0]
    table = table[table["training_stage"] == first]
    attacks = worst_case(table, by=HEADLINE)
    controls = worst_case(table, by=HEADLINE, kind="control").set_index(HEADLINE)
    sentences = []
    for _, row in attacks.dropna(subset=["psnr"]).iterrows():
        key = tuple(row[column] for column in HEADLINE)
        dataset = _data(data, row["dataset"]).replace(" (", ", ").rstrip(")")
        text = (
            f"On undefended {label(row['protocol'])} updates of the {row['training_stage']} "
            f"{label(row['model'])} ({dataset}), "
            f"{label(row['attack'], data.name_of('attacks', row['attack']))} reaches "
            f"{_decibel(row)} (n = {int(row['victims'])} victims)"
        )
        if key in controls.index:
            control = controls.loc[key]
            text += f"; best control {number(control['psnr'])} dB"
            text += f" ({label(control['attack']).lower()})"
        rate = percent_interval(row["identified"], row["identified_low"], row["identified_high"])
        text += f". It identifies {rate} of the victims (chance {percent(row['chance'])})."
        topic = f"Undefended, {_data(data, row['dataset'])}"
        words = label(row["attack"], data.name_of("attacks", row["attack"]))
        sentences.append(Finding(topic, text, (*UNDEFENDED, "training_stage"), words))
    return sentences


def _stages(data: StudyData) -> list[Finding]:
    """Compare the best undefended attack at the first and the last training stage."""
    table = data.undefended(data.summary)
    best = worst_case(table, by=HEADLINE).dropna(subset=["psnr"])
    sentences = []
    for (dataset, model, protocol), part in best.groupby(
        ["dataset", "model", "protocol"], sort=False
    ):
        stages = in_stage_order(part["training_stage"])
        if len(stages) < 2:
            continue
        start = part[part["training_stage"] == stages[0]].iloc[0]
        end = part[part["training_stage"] == stages[-1]].iloc[0]
        verb = "falls" if end["psnr"] < start["psnr"] else "rises"
        sentence = (
            f"The best undefended attack on {label(str(model))} ({label(str(protocol))}) {verb} "
            f"from {_decibel(start)} on the {stages[0]} to {_decibel(end)} on the {stages[-1]} model."
        )
        topic = f"Training, {_data(data, str(dataset))}"
        sentences.append(Finding(topic, sentence, ("training_stage", *UNDEFENDED)))
    return sentences


def _defenses(data: StudyData) -> list[Finding]:
    """State the cost of each defense and the result of its strongest attacker."""
    worst = worst_case(data.summary, by=SETTING).merge(final_accuracy(data), on=SETTING, how="left")
    controls = worst_case(data.summary, by=SETTING, kind="control").set_index(SETTING)["psnr"]
    limits = worst_case(data.summary, by=SETTING, kind="bound").set_index(SETTING)["psnr"]
    bare = data.undefended(worst).set_index(["dataset", "model"])
    sentences = []
    for _, row in worst.iterrows():
        name = data.name_of("defenses", row["defense"])
        if name == "none":
            continue
        place = row["dataset"], row["model"]
        sentence = f"{_accuracy(row)}; {_leak(data, row)}"
        control = controls.get((*place, row["defense"]), float("nan"))
        if row["psnr"] <= control:
            sentence += f", no more than the best control ({number(control)} dB)"
        limit = limits.get((*place, row["defense"]), float("nan"))
        if not pd.isna(limit):
            sentence += f"; a perfect inversion would show {number(limit)} dB"
        if place in bare.index:
            other = bare.loc[place]
            sentence += f" (without defense: {percent(other['accuracy'], 1)}"
            sentence += f", {number(other['psnr'])} dB)"
        topic = f"{label(row['defense'], name)}, {_data(data, row['dataset'])}"
        text = f"On {label(row['model'])}, {sentence}."
        sentences.append(Finding(topic, text, DEFENDED, label(row["defense"], name)))
    return sentences


def _accuracy(row: pd.Series) -> str:
    if pd.isna(row["accuracy"]):
        return "accuracy was not measured"
    return f"accuracy after the last round is {percent(row['accuracy'], 1)} ({counted(int(row['seeds']), 'seed')})"


def _leak(data: StudyData, row: pd.Series) -> str:
    if pd.isna(row["psnr"]):
        return "no attack finished"
    attack = label(row["attack"], data.name_of("attacks", row["attack"]))
    stage = row["training_stage"]
    return f"the strongest attacker ({attack}, {stage} model) reaches {_decibel(row)}"


def _failures(data: StudyData) -> list[Finding]:
    table = data.scores[data.scores["kind"] == "attack"]
    failed = int((table["status"] == "failed").sum())
    if not failed:
        return [Finding("Failures", f"None of the {len(table)} attacked images failed.")]
    reasons = table.loc[table["status"] == "failed", "reason"].value_counts()
    text = f"{failed} of {len(table)} attacked images failed"
    text += f" (most often: {reasons.index[0]})" if reasons.index[0] else ""
    return [Finding("Failures", f"{text}; they are counted, not dropped.")]


def _decibel(row: pd.Series) -> str:
    """'27.3 dB [25.1, 29.0]'."""
    value, _, limits = with_interval(row["psnr"], row["psnr_low"], row["psnr_high"]).partition(" ")
    return f"{value} dB {limits}".rstrip()


def _data(data: StudyData, dataset: str) -> str:
    return label(dataset) + (" (synthetic)" if data.synthetic(dataset) else "")
