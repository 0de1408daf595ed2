"""Every published claim beside what the study measured, with the verdict of its rule."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gradsiege.analysis.claims.evaluation import Outcome
from gradsiege.report.claim_words import claimed, measured, part_names, place, reasons, tally
from gradsiege.report.data import Drawn, StudyData

VERSION = 3
REQUIRES = ("federate", "observe", "score")
TITLE = "Published claims and their verdicts"
COLUMNS = [
    "claim", "paper", "cited", "place", "origin", "statement", "rule", "claim_verdict", "why", "stand_in",
    "dataset", "model", "arm", "defense", "training_stage", "protocol", "threat_model", "attack", "round",
    "against", "metric", "published", "tolerance", "measured", "measured_low", "measured_high", "units", "without_value",
    "part_verdict", "deviations",
]  # fmt: skip


def draw(data: StudyData) -> Drawn:
    """Tabulate one row per comparison; a claim that was not run at all has one row with the reason."""
    shown = pd.DataFrame([line for outcome in data.outcomes for line in lines(outcome)])
    return Drawn(TITLE, tally(data.outcomes), plotted(data.outcomes), shown=shown)


def plotted(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The rows as numbers."""
    rows = []
    for outcome in outcomes:
        claim = outcome.claim
        head = {
            "claim": claim.id,
            "cited": claim.source,
            **{name: getattr(claim, name) for name in ("paper", "place", "origin")},
            "statement": claim.statement,
            "rule": claim.rule,
            "claim_verdict": outcome.shown_verdict,
            "why": reasons(outcome),
            "stand_in": outcome.stand_in,
            **{name: getattr(outcome, name) for name in ("dataset", "model", "arm")},
            "deviations": "; ".join(outcome.departures),
        }
        for part in outcome.parts:
            interval, metric = part.interval, part.comparison.metric
            rows.append(
                head
                | dict(part.ids)
                | {
                    "round": part.comparison.cells.round,
                    "against": " ".join(part.reference.values()),
                    "metric": metric,
                    "published": part.comparison.value,
                    "tolerance": claim.tolerance_of(metric),
                    "measured": interval.estimate,
                    "measured_low": interval.low,
                    "measured_high": interval.high,
                    "units": interval.units,
                    "without_value": part.lost,
                    "part_verdict": part.verdict,
                }
            )
        if not outcome.parts:
            rows.append(head)
    return pd.DataFrame(rows, columns=COLUMNS)


def lines(outcome: Outcome) -> list[dict[str, str]]:
    """The rows of one outcome as text."""
    claim = outcome.claim
    head = {"Claim": claim.id, "Statement": claim.statement}
    tail = {"Verdict": outcome.shown_verdict, "Where": place(outcome), "Why": reasons(outcome)}
    rows = []
    for name, part in zip(part_names(outcome.parts), outcome.parts, strict=True):
        asked, paired = part.comparison, part.comparison.against is not None
        held = claimed(claim, asked.metric, asked.value, paired=paired)
        compared = {"Comparison": name, "Claimed": held, "Measured": measured(part)}
        rows.append(head | compared | tail)
    return rows or [head | dict.fromkeys(("Comparison", "Claimed", "Measured"), "") | tail]
