"""Numbers, threat models and captions in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from gradsiege.report.data import StudyData
from gradsiege.report.labels import label

DASH = "–"
SIGNIFICANT = 0.05
LABELS_IN_WORDS = {
    "given": "The attacker is given the labels.",
    "inferred": "The attacker must infer the labels from the update.",
    "wrong": "The attacker is misled: it takes the class after the true one for the label.",
}
STARRED = f"A star: p < {SIGNIFICANT:g}"
INTERVAL = (
    "Brackets and bars are 95 % confidence intervals over scenes (photographs, patients; victims where scenes are unknown): "
    "BCa bootstrap with small-sample tails for means, Wilson for rates."
)


def number(value: float, digits: int = 1) -> str:
    """Return one number as text, or a dash if there is none.

    >>> number(27.25), number(float("nan")), number(-0.04)
    ('27.2', '–', '0.0')
    """
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 1) -> str:
    """Value with its limits; without limits, the value alone.

    >>> with_interval(27.3, 25.1, 29.0)
    '27.3 [25.1, 29.0]'
    """
    if math.isnan(low) or math.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def starred(text: str, p: float) -> str:
    """Return the text of a difference, with a star where its p value is below `SIGNIFICANT`.

    >>> starred("1.2 [0.3, 2.1]", 0.01), starred("0.1 [-0.3, 0.5]", 0.6), starred("1.2", float("nan"))
    ('1.2 [0.3, 2.1] *', '0.1 [-0.3, 0.5]', '1.2')
    """
    return f"{text} *" if p < SIGNIFICANT else text


def place_label(row: Mapping[str, Any] | pd.Series) -> str:
    """Return where an attack ran, as one cell of a table: data set, model, training stage, protocol.

    >>> place_label({"dataset": "photos", "model": "convnet", "training_stage": "late", "protocol": "fedsgd"})
    'Photos, ConvNet, late, FedSGD'
    """
    place = f"{label(row['dataset'])}, {label(row['model'])}"
    return f"{place}, {row['training_stage']}, {label(row['protocol'])}"


def percent(value: float, digits: int = 0) -> str:
    """Share as a percentage; a small share keeps the digit that makes it visible.

    >>> percent(0.925), percent(0.02), percent(0.002)
    ('92 %', '2 %', '0.2 %')
    """
    if math.isnan(value):
        return DASH
    return f"{number(100 * value, max(digits, 1) if 0 < value < 0.01 else digits)} %"


def percent_interval(value: float, low: float, high: float, digits: int = 0) -> str:
    """Share with limits, in percent.

    >>> percent_interval(0.9, 0.596, 0.982)
    '90 % [60, 98]'
    """
    if math.isnan(low) or math.isnan(high):
        return percent(value, digits)
    return f"{percent(value, digits)} [{number(100 * low, digits)}, {number(100 * high, digits)}]"


def duration(seconds: float) -> str:
    """Return seconds in readable units.

    >>> duration(3.2), duration(95), duration(7260)
    ('3.2 s', '1 min 35 s', '2 h 1 min')
    """
    if math.isnan(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def p_value(value: float) -> str:
    """A p value without false precision.

    >>> p_value(0.0312), p_value(0.00002)
    ('0.031', '< 0.001')
    """
    if math.isnan(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def joined(parts: Iterable[str]) -> str:
    """Words as a list in a sentence.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    words = list(parts)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def threat_in_words(threat: Mapping[str, Any]) -> list[str]:
    """Return the grants of one threat model, one sentence each."""
    return [
        LABELS_IN_WORDS[threat.get("labels", "inferred")],
        "It knows the local protocol: learning rate, steps and batch-norm mode."
        if threat.get("protocol", True)
        else "It does not know the local learning rate, steps or batch-norm mode.",
        "It knows the defense and its public parameters, and may adapt to them."
        if threat.get("disclosure", False)
        else "It does not know which defense the client uses.",
        "It holds auxiliary images, disjoint from the victims, and priors trained on them."
        if threat.get("auxiliary", True)
        else "It holds no auxiliary images and no prior trained on them.",
        "It is given the private batch's own batch-norm statistics."
        if threat.get("batch_statistics", False)
        else "It is not given the private batch's own batch-norm statistics.",
        *_rounds_in_words(int(threat.get("rounds", 1))),
        f"The nearest threat model of the SoK of Carletti et al. (USENIX Security 2025) is {sok_model(threat)}.",
    ]


def _rounds_in_words(rounds: int) -> list[str]:
    """Return a sentence for attackers who know that several updates belong together, else nothing."""
    if rounds == 1:
        return []
    return [f"It sees {rounds} rounds of the client, and knows that they are of the same images."]


def sok_model(threat: Mapping[str, Any]) -> str:
    """The letter of the nearest model of Carletti et al.; see `ThreatModel.sok_model`."""
    from gradsiege.protocol.threat_model import ThreatModel

    named = {key: value for key, value in threat.items() if key in ThreatModel.__dataclass_fields__}
    return ThreatModel(**{"id": "", **named}).sok_model()


def threat_label(data: StudyData, name: object) -> str:
    """Return a threat model for a table: its id, and the SoK's letter if the study describes it."""
    plain = str(name).replace("_", " ")
    threat = next((model for model in data.threat_models if model.get("id") == name), None)
    return plain if threat is None else f"{plain} (SoK {sok_model(threat)})"


def synthetic_note(data: StudyData, datasets: Iterable[str]) -> str:
    """Return the sentence of a caption about synthetic stand-ins, or an empty string."""
    stand_ins = [label(name) for name in dict.fromkeys(datasets) if data.synthetic(name)]
    if not stand_ins:
        return ""
    verb = "is a synthetic stand-in" if len(stand_ins) == 1 else "are synthetic stand-ins"
    return f" {joined(stand_ins)} {verb}, not real images."


def counts_note(table: pd.DataFrame) -> str:
    """Sample size and failures of the rows of a summary that a figure shows."""
    if table.empty:
        return ""
    span = _span(table["victims"])
    known = table["scenes"].dropna() if "scenes" in table else table["victims"].iloc[:0]
    of = f" of {_span(known)} scenes" if len(known) else ""
    failed, rows = int(table["failed"].sum()), int(table["rows"].sum())
    capped = int(table["psnr_capped"].sum())
    note = f" n = {span} victims{of} per cell; {failed} of {rows} attempted images failed"
    note += " (no fidelity, counted as not identified)." if failed else "."
    return note + (f" PSNR above 100 dB counts as 100 dB ({capped} images)." if capped else "")


def _span(counts: pd.Series) -> str:
    """The smallest and the largest of some counts, or the only one."""
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def fold_constant(shown: pd.DataFrame, columns: Iterable[str]) -> tuple[pd.DataFrame, str]:
    """Drop the columns with one value throughout, and state these values in a sentence.

    >>> table = pd.DataFrame({"Attack": ["a", "b"], "Stage": ["late", "late"]})
    >>> fold_constant(table, ["Stage"])[1]
    ' In every row: stage late.'
    """
    folded = [c for c in columns if c in shown and len(shown) and shown[c].nunique() == 1]
    if not folded:
        return shown, ""
    constants = "; ".join(
        f"{column[0].lower()}{column[1:]} {shown[column].iloc[0]}" for column in folded
    )
    return shown.drop(columns=folded), f" In every row: {constants}."
