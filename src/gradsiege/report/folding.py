"""Sparse rows of counters, folded into one row "best informed" whose cells name the counter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradsiege import catalogue
from gradsiege.report.data import StudyData
from gradsiege.report.labels import label
from gradsiege.report.protection_words import counter_of

SPARSE = 0.5  # a counter that answers a smaller share of the columns has no row of its own


@dataclass(frozen=True)
class Method:
    """A row of a heat map: an attack or control under a threat model (empty for controls), or several counters.

    name: the attack; of a folded row the one that most of its members are. members: ids of the attacks in it.
    folded: whether they are counters, of which a cell shows the best by name.
    """

    name: str
    threat_model: str
    members: tuple[str, ...]
    folded: bool = False

    def title(self, data: StudyData) -> str:
        """Return the name for a reader, without the threat model."""
        if self.folded:
            return "Best informed"
        return label(self.name, data.name_of("attacks", self.name))


def methods(
    data: StudyData, pairs: Sequence[tuple[str, str]], defenses: Sequence[str]
) -> list[Method]:
    """Fold (attack, threat model) pairs, in their order: sparse counters join the first row of their threat model.

    A counter is sparse if it answers fewer than half of the defenses, which are the columns; one for any defense never
    is.
    """
    counters = _sparse(data, defenses)
    rows: dict[tuple[str, str, bool], list[str]] = {}
    for attack, threat in pairs:
        key = ("", threat, True) if attack in counters else (attack, threat, False)
        rows.setdefault(key, []).append(attack)
    return [
        Method(name or _usual(data, members), threat, tuple(members), folded)
        for (name, threat, folded), members in rows.items()
    ]


def _sparse(data: StudyData, defenses: Sequence[str]) -> set[str]:
    """Return the ids of attacks with a sparse counter."""
    columns = [data.name_of("defenses", defense) for defense in defenses]
    return {
        str(item["id"])
        for item in data.study.get("attacks", ())
        if item.get("counter")
        and sum(catalogue.answers(str(item["counter"]), name) for name in columns)
        < SPARSE * len(columns)
    }


def _usual(data: StudyData, members: Sequence[str]) -> str:
    """Return the method that most members are, of equally many the first."""
    return Counter(data.name_of("attacks", attack) for attack in members).most_common(1)[0][0]


def best(data: StudyData, method: Method, lines: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the line of a cell with the highest PSNR, and the name of its counter (empty in a plain row).

    lines: the rows of the summary in the cell, at least one. The attack is named, too, if it is not the usual one.
    """
    values = lines["psnr"].astype("float64").fillna(-np.inf)
    chosen = lines.iloc[int(values.argmax())]
    return chosen, _words(data, method, str(chosen["attack"])) if method.folded else ""


def _words(data: StudyData, method: Method, attack: str) -> str:
    name, idea = data.name_of("attacks", attack), counter_of(data, attack)
    return idea if name == method.name else f"{idea}, {label(name)}"


def why_missing(data: StudyData, place: Sequence[str], method: Method) -> str:
    """Return why a cell is empty, for a folded row the gravest reason of its members."""
    attacks = method.members if method.threat_model else ("",)
    reasons = {data.why_missing(place, method.threat_model, attack) for attack in attacks}
    return next(reason for reason in ("not run", "cut", "not applicable") if reason in reasons)
