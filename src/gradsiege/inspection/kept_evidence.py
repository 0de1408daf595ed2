"""What the kept studies say of each claim of the ledger, and which of them says it best."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from gradsiege.analysis.claims.claim import Claim
from gradsiege.analysis.claims.verdicts import GRAVITY, Verdict, judge_difference, together
from gradsiege.analysis.interval import Interval

if TYPE_CHECKING:
    import pandas as pd

NAME = "table_claims_data.csv"
PLACE = ("claim", "dataset", "model", "arm")
CELL = ("defense", "against", "training_stage", "protocol", "threat_model", "attack", "round")


@dataclass(frozen=True)
class Measurement:
    """One comparison of a claim: its cell, the measured value with its 95 % interval, and the verdict on it.

    cell: the columns of `CELL` that have a value; units: independent victims (or seeds).
    """

    cell: Mapping[str, str]
    metric: str
    value: float
    low: float
    high: float
    units: int
    verdict: Verdict
    published: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The verdict of one kept study on a claim, for one data set, model and arm.

    said: the verdict as shown, with its marks (stand-in data, third-party number); judged: the day of the study's last cell.
    """

    claim: str
    study: str
    dataset: str
    model: str
    arm: str
    said: str
    why: str
    judged: date
    stand_in: bool = False
    deviations: tuple[str, ...] = ()
    measured: tuple[Measurement, ...] = field(default=(), repr=False)

    @property
    def verdict(self) -> str:
        """The verdict without its marks."""
        return self.said.partition(" (")[0]

    @property
    def units(self) -> int:
        """Units of the comparison that has fewest."""
        return min((part.units for part in self.measured), default=0)


def strength(evidence: Evidence) -> tuple[bool, int, int, int, str]:
    """Return the key that sorts evidence, the best first; no part of it depends on the verdict.

    A single unit, which gives no interval, comes after all others. Then the claim's own data come before data that stand in for them,
    then fewer deviations from the source's setting, then more units; the study's name decides the rest.
    """
    return (
        evidence.units == 1,
        int(evidence.stand_in),
        len(evidence.deviations),
        -evidence.units,
        f"{evidence.study} {evidence.dataset} {evidence.model} {evidence.arm}",
    )


def by_claim(claims: Iterable[Claim], folder: Path) -> dict[str, list[Evidence]]:
    """Return what the studies below `folder` tested of each claim, the best evidence first; an untested claim has none.

    Differences are judged by today's rule, from the intervals that were kept. Data that stand in say nothing of a claim that does not
    transfer to them, or no longer does.

    Raises GradSiegeError if a study's table or record cannot be read.
    """
    known = {claim.id: claim for claim in claims}
    tested: dict[str, list[Evidence]] = {name: [] for name in known}
    for table in sorted(folder.glob(f"*/{NAME}")):
        for evidence in read(table):
            claim = known.get(evidence.claim)
            if claim is not None and (claim.transfers or not evidence.stand_in):
                tested[claim.id].append(judged_again(claim, evidence))
    return {claim: sorted(evidence, key=strength) for claim, evidence in tested.items()}


def judged_again(claim: Claim, evidence: Evidence) -> Evidence:
    """Return evidence on differences with the verdicts of today's rule, which needs their intervals alone; other evidence as it is."""
    kept = together(part.verdict for part in evidence.measured) if evidence.measured else ""
    if claim.rule not in ("difference_sign", "ordering") or evidence.verdict != kept:
        return evidence
    judged = [_again(claim, part) for part in evidence.measured]
    parts = tuple(part for part, _ in judged)
    verdict = together(part.verdict for part in parts)
    if verdict == evidence.verdict:
        return replace(evidence, measured=parts)
    why = "; ".join(dict.fromkeys(why for part, why in judged if part.verdict == verdict))
    said = verdict + evidence.said.removeprefix(evidence.verdict)
    return replace(evidence, measured=parts, said=said, why=why)


def _again(claim: Claim, part: Measurement) -> tuple[Measurement, str]:
    """Return a comparison with its verdict by today's rule, and the reason; without an interval, as it is."""
    if part.low != part.low:
        return part, ""
    interval = Interval(part.value, part.low, part.high, 0.95, part.units, "kept")
    sign = -1 if claim.direction == "lower" else 1
    found = judge_difference(interval, sign, part.published, claim.tolerance_of(part.metric))
    return replace(part, verdict=found.verdict), found.why


def read(table: Path) -> list[Evidence]:
    """Return every verdict but *not run* of one kept study, from its tidy table of claims."""
    import pandas as pd

    rows = pd.read_csv(table, dtype={"round": "string"}, keep_default_na=False, na_values=[""])
    ids = [*PLACE, *CELL, "metric"]
    rows[ids] = rows[ids].astype("string").fillna("")
    record = json.loads((table.parent / "run.json").read_text())
    judged = date.fromisoformat(record["last cell ended"][:10])
    verdicts = [
        _evidence(group, table.parent.name, judged)
        for _, group in rows.groupby([*PLACE], sort=False)
    ]
    return [evidence for evidence in verdicts if evidence.verdict != "not run"]


def _evidence(rows: pd.DataFrame, study: str, judged: date) -> Evidence:
    claim, dataset, model, arm = (str(rows[name].iloc[0]) for name in PLACE)
    head = rows[rows["metric"].eq("")].set_index("quantity")
    texts = head["text"].dropna()
    return Evidence(
        claim,
        study,
        dataset,
        model,
        arm,
        said=texts["claim_verdict"],
        why=texts.get("why", ""),
        judged=judged,
        stand_in=bool(head["value"].get("stand_in", 0.0)),
        deviations=tuple(filter(None, str(texts.get("deviations", "")).split("; "))),
        measured=tuple(_measurements(rows[rows["metric"].ne("")])),
    )


def _measurements(rows: pd.DataFrame) -> Iterable[Measurement]:
    for key, part in rows.groupby([*CELL, "metric"], sort=False):
        *cell, metric = map(str, key)
        by_quantity = {str(line["quantity"]): line for line in part.to_dict("records")}
        if "measured" not in by_quantity:
            continue
        value = by_quantity["measured"]
        published = by_quantity.get("published")
        yield Measurement(
            {name: text for name, text in zip(CELL, cell, strict=True) if text},
            metric,
            float(value["value"]),
            float(value["low"]),
            float(value["high"]),
            units=int(value["n"]),
            verdict=GRAVITY[GRAVITY.index(by_quantity["part_verdict"]["text"])],
            published=None if published is None else float(published["value"]),
        )
