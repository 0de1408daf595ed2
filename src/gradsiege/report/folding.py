"""Rows of counters that answer one defense each, folded into one row "best informed" per attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradsiege.report.data import StudyData
from gradsiege.report.labels import label
from gradsiege.report.protection_words import counter_of


@dataclass(frozen=True)
class Method:
    """A row of a heat map: an attack or control under a threat model (empty for controls), or several counters of one attack.

    members: ids of the attacks in it; folded: whether they are counters, of which a cell shows the best by name.
    """

    name: str
    threat_model: str
    members: tuple[str, ...]
    folded: bool = False

    def title(self, data: StudyData) -> str:
        """Return the name for a reader, without the threat model."""
        words = label(self.name, data.name_of("attacks", self.name))
        return f"{words} · best informed" if self.folded else words


def methods(data: StudyData, pairs: Sequence[tuple[str, str]]) -> list[Method]:
    """Fold (attack, threat model) pairs, in their order: a counter joins the first row of its attack.

    A counter for any defense keeps a row of its own.
    """
    answers = {
        str(item["id"]): str(item["counter"])
        for item in data.study.get("attacks", ())
        if item.get("counter") and not str(item["counter"]).startswith("generic.")
    }
    rows: dict[tuple[str, str, bool], list[str]] = {}
    for attack, threat in pairs:
        base = _without(attack, answers, data)
        rows.setdefault((base, threat, attack in answers), []).append(attack)
    return [
        Method(name, threat, tuple(members), folded)
        for (name, threat, folded), members in rows.items()
    ]


def _without(attack: str, answers: Mapping[str, str], data: StudyData) -> str:
    """Return an attack's id without its counter: 'gifd-iterations25' for 'gifd-tip.whitened-iterations25'."""
    if attack not in answers:
        return attack
    part = f"-{answers[attack]}"
    return attack.replace(part, "") if part in attack else data.name_of("attacks", attack)


def best(data: StudyData, method: Method, lines: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the line of a cell with the highest PSNR, and the name of its counter (empty in a plain row).

    lines: the rows of the summary in the cell, at least one.
    """
    values = lines["psnr"].astype("float64").fillna(-np.inf)
    chosen = lines.iloc[int(values.argmax())]
    return chosen, counter_of(data, str(chosen["attack"])) if method.folded else ""


def why_missing(data: StudyData, place: Sequence[str], method: Method) -> str:
    """Return why a cell is empty, for a folded row the gravest reason of its members."""
    attacks = method.members if method.threat_model else ("",)
    reasons = {data.why_missing(place, method.threat_model, attack) for attack in attacks}
    return next(reason for reason in ("not run", "cut", "not applicable") if reason in reasons)
