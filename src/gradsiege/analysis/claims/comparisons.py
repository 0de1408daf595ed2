"""The comparisons that a claim asks for, and the result of each in a study's tables."""

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
    departures_of,
    differ_as_asked,
    largest_budgets,
)
from gradsiege.analysis.claims.verdicts import Verdict, judge
from gradsiege.analysis.interval import Interval


@dataclass(frozen=True)
class Tables:
    """The measurements of a study: score rows, utility rows, explanation rows, and why metrics are absent.

    study: the resolved study file as plain data.
    """

    study: Mapping[str, Any]
    scores: pd.DataFrame
    utility: pd.DataFrame
    explained: pd.DataFrame
    absent: Mapping[str, str] = field(default_factory=dict)

    def rows(self, table: str, turn: int | None) -> pd.DataFrame:
        """Rows of one table: attacks without controls; utility of one round (None: the last)."""
        rows = {"scores": self.scores, "utility": self.utility, "explained": self.explained}[table]
        if rows.empty or table == "explained":
            return rows
        if table == "scores":
            return rows[rows["kind"] == "attack"]
        return rows[rows["round"] == (rows["round"].max() if turn is None else turn)]


@dataclass(frozen=True)
class Comparison:
    """One comparison that a claim asks for: its cells, the reference cells if any, and the published value."""

    cells: Selector
    against: Selector | None
    metric: str
    value: float | None


@dataclass(frozen=True)
class Part:
    """The result of one comparison in one cell, with the ids of the cell and of its reference."""

    comparison: Comparison
    ids: Mapping[str, str]
    reference: Mapping[str, str]
    arm: str
    interval: Interval
    lost: int
    verdict: Verdict
    why: str
    departures: Mapping[str, str]

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
    """Join reasons or departures into one phrase: each once, those that the study lacks something together.

    >>> listed(["the study has no attack gias", "the study has no prior pca", "x"])
    'the study has no attack gias, no prior pca; x'
    """
    unique = [*dict.fromkeys(filter(None, reasons))]
    lacking = [text.removeprefix(LACK) for text in unique if text.startswith(LACK)]
    others = [text for text in unique if not text.startswith(LACK)]
    return "; ".join([LACK + ", no ".join(lacking)] * bool(lacking) + others)


def parts_of(claim: Claim, comparison: Comparison, tables: Tables) -> list[Part]:
    """Return the results of a comparison in all cells that it applies to; raise NotRunError if there are none."""
    table = table_of(comparison.metric)
    chosen = choose(tables.study, table, comparison.cells, claim.needs)
    groups = _cells(tables, table, comparison.cells.round, chosen)
    parts, reasons = list[Part](), {_unfinished(comparison, tables): None}
    for key, rows in groups.items():
        ids = dict(zip(KEYS[table], key, strict=True))
        departures = departures_of(tables.study, ids, claim.needs)
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
    """Return the rows of each chosen cell; of several settings of one attack only those with the largest budget."""
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
    """Judge the cell by itself, or against every reference with the same victims."""
    table = table_of(comparison.metric)
    readable(rows, comparison.metric, tables.absent)
    arm_here = arm_of(tables.study, ids)
    if comparison.against is None:
        measured = sample(rows, comparison.metric, table)
        return [_part(claim, comparison, ids, {}, arm_here, measured, departures)]
    parts = []
    for reference, others in _references(comparison, ids, tables):
        readable(others, comparison.metric, tables.absent)
        arm = arm_here or arm_of(tables.study, {**ids, **reference})
        measured = difference(rows, others, comparison.metric, table)
        parts.append(_part(claim, comparison, ids, reference, arm, measured, departures))
    return parts


def _references(
    comparison: Comparison, ids: Mapping[str, str], tables: Tables
) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Cells that differ from `ids` in the fields of `against` alone, of the same arm where both have arms.

    One attack with other parameters is compared in those alone that the claim names.
    """
    assert comparison.against is not None
    table, compared = table_of(comparison.metric), comparison.cells.changed(comparison.against)
    varied = [name for name in comparison.against.given() if name in KEYS[table]]
    chosen = choose(tables.study, table, compared, Selector())
    chosen |= {name: [value] for name, value in ids.items() if name not in varied}
    arm, references = arm_of(tables.study, ids), []
    for key, rows in _cells(tables, table, compared.round, chosen).items():
        named = dict(zip(KEYS[table], key, strict=True))
        if named != dict(ids) and len({arm, arm_of(tables.study, named)} - {""}) < 2:
            if "attack" in varied and not differ_as_asked(
                tables.study,
                ids["attack"],
                named["attack"],
                comparison.cells.attack,
                comparison.against.attack,
            ):
                continue
            references.append(({name: named[name] for name in varied}, rows))
    if not references:
        raise NotRunError("the cells to compare with are cut from the study, or have not finished")
    return references


def _part(
    claim: Claim,
    comparison: Comparison,
    ids: Mapping[str, str],
    reference: Mapping[str, str],
    arm: str,
    measured: Sample,
    departures: Mapping[str, str],
) -> Part:
    names = ("claims", comparison.metric, *ids.values(), *reference.values())
    evidence = measured.evidence(*names, error=claim.error_of(comparison.metric))
    judgement = judge(
        claim.rule,
        evidence,
        comparison.value,
        claim.tolerance_of(comparison.metric),
        paired=comparison.against is not None,
        sign=-1 if claim.direction == "lower" else 1,
    )
    verdict, why = judgement.verdict, judgement.why
    interval, lost = evidence.interval, measured.lost
    if verdict == "undecided" and interval.units < claim.least_units:
        why = f"needs at least {claim.least_units} independent victims or scenes, and has {interval.units}"
    return Part(comparison, ids, reference, arm, interval, lost, verdict, why, departures)
