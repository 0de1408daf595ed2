"""What an audit found in every situation: the strongest attackers, with intervals, and a verdict by the rule of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gradsiege.analysis.attackers import FLOORS, Kinds, Roles, roles
from gradsiege.analysis.headline import shown
from gradsiege.analysis.interval import Interval, unknown
from gradsiege.analysis.pairs import Pairs
from gradsiege.analysis.recipes import Recipe
from gradsiege.analysis.summary import PSNR_CAP, summarise
from gradsiege.analysis.verdict import verdict
from gradsiege.auditing.portfolio import AWARE, BLIND, GENERIC, INFORMED, SEEKING, SEEKING_INFORMED
from gradsiege.auditing.situations import NONE, Situation

LEAKS, NO_LEAK, NOTHING = "leaks", "no leak shown", "no attack finished"


@dataclass(frozen=True)
class Rate:
    """A share with its limits, and the share that a guess reaches."""

    estimate: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True, eq=False)
class Finding:
    """One situation.

    Attributes:
        situation: what was audited.
        verdict: by the study's rule for a defense; ``leaks`` or ``no leak shown`` without one; because: what decides it.
        attacker: with the highest mean PSNR, threat model included; empty if none finished.
        psnr: of that attacker [dB], mean and 95 % limits; ssim, lpips: its means, NaN where they are not measured.
        highest: PSNR [dB] of the single picture that any attacker came closest to, and its number.
        identifier, identified: the attacker who tells most pictures from the others of the gallery, and how many.
        labels: share of labels that the best rule reads off the updates.
        floor, floor_attacker: PSNR [dB] of the best attacker that needs no update beyond its label.
        lost: difference [dB] to the strongest attack on no defense; unknown without a defense.
        clients, pictures: number of each; failed: rows without a result.
    """

    situation: Situation
    verdict: str
    because: str
    attacker: tuple[str, str]
    psnr: Interval
    ssim: float
    lpips: float
    highest: tuple[float, int]
    identifier: tuple[str, str]
    identified: Rate
    labels: float
    floor: float
    floor_attacker: str
    lost: Interval
    clients: int
    pictures: int
    failed: int


def kinds_of(summary: pd.DataFrame) -> Kinds:
    """Return what the ids of attackers stand for."""
    names = {str(name) for name in summary["attack"]}
    counters = {name: name.partition("+")[2] for name in names}
    generic = {name for name, counter in counters.items() if counter.startswith(GENERIC)}
    return Kinds(
        bare={NONE},
        aware=AWARE,
        floors={name for name in names if name in FLOORS},
        counters={name for name, counter in counters.items() if counter} - generic,
        generic=generic,
        recipes={name: Recipe(name.partition("+")[0]) for name in names},
        grants={
            BLIND.id: "update",
            INFORMED.id: "update",
            SEEKING.id: "gallery",
            SEEKING_INFORMED.id: "gallery",
        },
    )


def found(
    scores: pd.DataFrame, situations: Sequence[Situation], seed: int
) -> tuple[list[Finding], pd.DataFrame]:
    """Return a finding per situation, in their order, and the summary of all attackers."""
    summary = summarise(scores, seed=seed)
    kinds, pairs = kinds_of(summary), Pairs(scores)
    findings = []
    for situation in situations:
        here = summary[situation.rows_of(summary, NONE, situation.name)]
        own = scores[situation.rows_of(scores, situation.name)]
        who = next(
            (who for who in roles(here, kinds) if who.worst["defense"] == situation.name), None
        )
        findings.append(_finding(situation, own, who, pairs, kinds))
    return findings, summary


def _finding(
    situation: Situation, rows: pd.DataFrame, who: Roles | None, pairs: Pairs, kinds: Kinds
) -> Finding:
    attacks = rows[rows["kind"].isin(["attack", "identification"])]
    counts = {
        "clients": int(rows["victim"].nunique()),
        "pictures": len(rows[["victim", "image"]].drop_duplicates()),
        "failed": int(attacks["status"].eq("failed").sum()),
    }
    if who is None:
        return _of_nothing(situation, counts)
    judged, because = _judged(situation, who, pairs, kinds)
    worst, identified = who.worst, who.identified
    undefended = situation.name == NONE
    return Finding(
        situation=situation,
        verdict=judged,
        because=because,
        attacker=_named(worst),
        psnr=_interval(worst, "psnr"),
        ssim=float(worst["ssim"]),
        lpips=float(worst["lpips"]),
        highest=_highest(rows),
        identifier=_named(identified),
        identified=Rate(
            float(identified["identified"]),
            float(identified["identified_low"]),
            float(identified["identified_high"]),
            float(identified["chance"]),
        ),
        labels=_labels(attacks),
        floor=math.nan if who.floor is None else float(who.floor["psnr"]),
        floor_attacker="" if who.floor is None else str(who.floor["attack"]),
        lost=pairs(worst, None if undefended else who.undefended),
        **counts,
    )


def _of_nothing(situation: Situation, counts: Mapping[str, int]) -> Finding:
    """Return the finding on a situation in which no attack finished."""
    nothing = unknown(math.nan, 0.95, 0, "bca")
    return Finding(
        situation=situation,
        verdict=NOTHING,
        because="every attack failed, or none ran",
        attacker=("", ""),
        psnr=nothing,
        ssim=math.nan,
        lpips=math.nan,
        highest=(math.nan, -1),
        identifier=("", ""),
        identified=Rate(math.nan, math.nan, math.nan, math.nan),
        labels=math.nan,
        floor=math.nan,
        floor_attacker="",
        lost=nothing,
        **counts,
    )


def _judged(situation: Situation, who: Roles, pairs: Pairs, kinds: Kinds) -> tuple[str, str]:
    facts = shown(who, pairs, kinds)
    if situation.name != NONE:
        return verdict(facts)
    if facts.attacked:
        parts = [
            words
            for words, seen in (
                ("recovers more than the best guess without the update", facts.above_floor),
                ("identifies more pictures than a guess does", facts.identifies),
            )
            if seen
        ]
        return LEAKS, f"an attack {' and '.join(parts)}"
    return (
        NO_LEAK,
        "no attack is shown to beat guesses that do not need the update, on these pictures and with this budget",
    )


def _named(row: pd.Series) -> tuple[str, str]:
    return str(row["attack"]), str(row["threat_model"])


def _interval(row: pd.Series, metric: str) -> Interval:
    estimate, low, high = (float(row[f"{metric}{end}"]) for end in ("", "_low", "_high"))
    return Interval(estimate, low, high, 0.95, int(row["victims"]), "bca")


def _highest(rows: pd.DataFrame) -> tuple[float, int]:
    """Return the highest PSNR [dB] that an attack reached on one picture, and the picture."""
    attacks = rows[(rows["kind"] == "attack") & rows["psnr"].notna()]
    if attacks.empty:
        return math.nan, -1
    best = attacks.iloc[int(attacks["psnr"].to_numpy(dtype="float64").argmax())]
    return min(PSNR_CAP, float(best["psnr"])), int(best["picture"])


def _labels(attacks: pd.DataFrame) -> float:
    """Return the share of labels that the best rule infers."""
    known = attacks[attacks["label_accuracy"].notna()]
    if known.empty:
        return math.nan
    return float(known.groupby(["threat_model", "attack"])["label_accuracy"].mean().max())
