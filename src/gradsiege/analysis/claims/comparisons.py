"""The comparisons that a claim asks for, and what a study's tables say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pandas as pd

from gradsiege.analysis.claims.claim import KEYS, Claim, Selector, table_of
from gradsiege.analysis.claims.evidence import Sample, difference, readable, sample
from gradsiege.analysis.claims.selection import (
    LACK,
    NotRunError,
    arm_of,
    choose,
    deviations,
    largest_budgets,
)
from gradsiege.analysis.claims.verdicts import Verdict, judge
from gradsiege.analysis.interval import Interval


@dataclass(frozen=True)
class Tables:
    """What a study measured: score rows, utility rows, explanation rows, and why metrics are absent.

    study: the resolved study file as plain data.
    """

    study: Mapping[str, Any]
    scores: pd.DataFrame
    utility: pd.DataFrame
    explained: pd.DataFrame
    absent: Mapping[str, str] = field(default_factory=dict)

    def rows(self, table: str, turn: int | None) -> pd.DataFrame:
        """Rows of one table: attacks without controls; utility of one round (None: the last)."""
        found = {"scores": self.scores, "utility": self.utility, "explained": self.explained}[table]
        if found.empty or table == "explained":
            return found
        if table == "scores":
            return found[found["kind"] == "attack"]
        return found[found["round"] == (found["round"].max() if turn is None else turn)]


@dataclass(frozen=True)
class Comparison:
    """One comparison that a claim asks for; its cells, maybe a reference, and the published value."""

    cells: Selector
    against: Selector | None
    metric: str
    value: float | None


@dataclass(frozen=True)
class Part:
    """What one comparison found in one cell: ids of the cell, and of the reference it was compared with."""

    comparison: Comparison
    ids: Mapping[str, str]
    reference: Mapping[str, str]
    arm: str
    interval: Interval
    lost: int
    verdict: Verdict
    why: str
    deviations: Mapping[str, str]

    @property
    def place(self) -> tuple[str, str]:
        """Data set and model."""
        return self.ids["dataset"], self.ids["model"]


def comparisons_of(claim: Claim) -> list[Comparison]:
    """The comparisons that must all come out as claimed."""
    if claim.arms:
        return [
            Comparison(claim.cells.changed(first), second, metric, None)
            for metric in claim.tolerance
            for first, second in pairwise(claim.arms)
        ]
    references: list[Selector | None] = [*claim.against] or [None]
    return [
        Comparison(cells, reference, metric, value)
        for cells, metric, value in claim.published()
        for reference in references
    ]


def listed(reasons: Iterable[str]) -> str:
    """Reasons or departures in one phrase, each once, what the study lacks together.

    >>> listed(["the study has no attack gias", "the study has no prior pca", "x"])
    'the study has no attack gias, no prior pca; x'
    """
    unique = [*dict.fromkeys(filter(None, reasons))]
    lacking = [text.removeprefix(LACK) for text in unique if text.startswith(LACK)]
    others = [text for text in unique if not text.startswith(LACK)]
    return "; ".join([LACK + ", no ".join(lacking)] * bool(lacking) + others)


def parts_of(claim: Claim, comparison: Comparison, tables: Tables) -> list[Part]:
    """What a comparison found in every cell that it meets; raises NotRunError if it meets none."""
    table = table_of(comparison.metric)
    chosen = choose(tables.study, table, comparison.cells, claim.needs)
    groups = _cells(tables, table, comparison.cells.round, chosen)
    parts, reasons = list[Part](), {_unfinished(comparison, tables): None}
    for key, rows in groups.items():
        ids = dict(zip(KEYS[table], key, strict=True))
        departures = deviations(tables.study, ids, claim.needs)
        if departures and not claim.transfers:
            text = listed(departures.values())
            reasons[f"it is not tested outside the setting of its source: {text}"] = None
            continue
        try:
            parts += _compared(claim, comparison, ids, rows, departures, tables)
        except NotRunError as reason:
            reasons[str(reason)] = None
    if not parts:
        raise NotRunError([*reasons][-1])
    return parts


def _cells(
    tables: Tables, table: str, turn: int | None, chosen: Mapping[str, list[str]]
) -> dict[Any, pd.DataFrame]:
    """Rows by cell, of the chosen ids alone; of one attack's settings those of the largest budget."""
    rows = tables.rows(table, turn)
    if rows.empty:
        return {}
    for name, ids in chosen.items():
        rows = rows[rows[name].isin(ids)]
    groups = dict(list(rows.groupby(list(KEYS[table]), sort=False)))
    return largest_budgets(tables.study, groups) if "attack" in KEYS[table] else groups


def _unfinished(comparison: Comparison, tables: Tables) -> str:
    turn, last = comparison.cells.round, tables.study.get("federation", {}).get("rounds")
    if turn is not None and last is not None and turn > last:
        return f"the study ends with round {last}"
    if table_of(comparison.metric) == "explained" and not tables.study.get("explained"):
        return "the study explains no victim (`explained` is 0)"
    return "its cells are cut from the study, or have not finished"


def _compared(
    claim: Claim,
    comparison: Comparison,
    ids: Mapping[str, str],
    rows: pd.DataFrame,
    departures: Mapping[str, str],
    tables: Tables,
) -> list[Part]:
    """The cell by itself, or against every reference that shares its victims."""
    table = table_of(comparison.metric)
    readable(rows, comparison.metric, tables.absent)
    own = arm_of(tables.study, ids)
    if comparison.against is None:
        found = sample(rows, comparison.metric, table)
        return [_part(claim, comparison, ids, {}, own, found, departures)]
    parts = []
    for reference, others in _references(comparison, ids, tables):
        readable(others, comparison.metric, tables.absent)
        arm = own or arm_of(tables.study, {**ids, **reference})
        found = difference(rows, others, comparison.metric, table)
        parts.append(_part(claim, comparison, ids, reference, arm, found, departures))
    return parts


def _references(
    comparison: Comparison, ids: Mapping[str, str], tables: Tables
) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Cells that differ from `ids` in the fields of `against` alone, of the same arm where both have arms."""
    assert comparison.against is not None
    table, whole = table_of(comparison.metric), comparison.cells.changed(comparison.against)
    varied = [name for name in comparison.against.given() if name in KEYS[table]]
    chosen = choose(tables.study, table, whole, Selector())
    chosen |= {name: [value] for name, value in ids.items() if name not in varied}
    own, found = arm_of(tables.study, ids), []
    for key, rows in _cells(tables, table, whole.round, chosen).items():
        named = dict(zip(KEYS[table], key, strict=True))
        if named != dict(ids) and len({own, arm_of(tables.study, named)} - {""}) < 2:
            found.append(({name: named[name] for name in varied}, rows))
    if not found:
        raise NotRunError("the cells to compare with are cut from the study, or have not finished")
    return found


def _part(
    claim: Claim,
    comparison: Comparison,
    ids: Mapping[str, str],
    reference: Mapping[str, str],
    arm: str,
    found: Sample,
    departures: Mapping[str, str],
) -> Part:
    names = ("claims", comparison.metric, *ids.values(), *reference.values())
    evidence = found.evidence(*names)
    judgement = judge(
        claim.rule,
        evidence,
        comparison.value,
        claim.tolerance_of(comparison.metric),
        paired=comparison.against is not None,
        sign=-1 if claim.direction == "lower" else 1,
    )
    verdict, why = judgement.verdict, judgement.why
    interval, lost = evidence.interval, found.lost
    return Part(comparison, ids, reference, arm, interval, lost, verdict, why, departures)
