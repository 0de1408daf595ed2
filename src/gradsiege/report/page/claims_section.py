"""The report's section on claims, as plain values for the template."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradsiege.analysis.claims.evaluation import Outcome
from gradsiege.analysis.power import detectable_difference, paired_spread
from gradsiege.report.claim_words import ORIGINS, place, reasons, tally
from gradsiege.report.data import StudyData
from gradsiege.report.tables import table_claims
from gradsiege.report.wording import number


@dataclass(frozen=True)
class Line:
    """One comparison: its name, the claimed value and the measured one."""

    name: str
    claimed: str
    measured: str
    verdict: str


@dataclass(frozen=True)
class Row:
    """One verdict."""

    id: str
    paper: str
    statement: str
    reading: str
    source: str
    where: str
    lines: list[Line]
    verdict: str
    stand_in: bool
    copies: bool
    third_party: bool
    why: str
    departures: tuple[str, ...]

    @property
    def chip(self) -> str:
        """Class of the verdict's chip."""
        return self.verdict.replace(" ", "-")


@dataclass(frozen=True)
class Section:
    """The values for the template: verdicts, claims that were not run at all, and two sentences."""

    tally: str
    power: str
    tested: list[Row]
    untested: list[Row]


def section(data: StudyData) -> Section:
    """Gather the section; a study without a ledger has an empty one."""
    rows = [_row(outcome) for outcome in data.outcomes]
    return Section(
        tally=tally(data.outcomes),
        power=power_line(data),
        tested=[row for row in rows if row.lines],
        untested=[row for row in rows if not row.lines],
    )


def power_line(data: StudyData) -> str:
    """Return a sentence on the difference that the study's number of victims can detect, given its spread, or ""."""
    spread, units = paired_spread(data.scores)
    size = detectable_difference(spread, units)
    if math.isnan(size):
        return ""
    return (
        f"With {units} victims and the median spread of paired PSNR differences found here "
        f"({number(spread)} dB), a paired t test at 5 % finds a mean difference of {number(size)} dB with 80 % "
        "probability; smaller ones are likely to stay undecided."
    )


def _row(outcome: Outcome) -> Row:
    claim = outcome.claim
    told = table_claims.lines(outcome) if outcome.parts else []
    lines = [
        Line(text["Comparison"], text["Claimed"], text["Measured"], part.verdict)
        for text, part in zip(told, outcome.parts, strict=True)
    ]
    source = [claim.place, claim.source, ORIGINS[claim.origin]]
    return Row(
        id=claim.id,
        paper=claim.paper,
        statement=claim.statement,
        reading=claim.reading,
        source="; ".join(filter(None, source)),
        where=place(outcome),
        lines=lines,
        verdict=outcome.verdict,
        stand_in=outcome.stand_in,
        copies=outcome.copies,
        third_party=claim.origin == "third_party",
        why=reasons(outcome),
        departures=outcome.departures,
    )
