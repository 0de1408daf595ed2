"""The tables of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gradsiege.auditing.findings import Finding
from gradsiege.auditing.page.sentences import (
    CHIPS,
    DASH,
    interval,
    knows,
    number,
    percent,
)
from gradsiege.auditing.result import Result
from gradsiege.auditing.situations import NONE
from gradsiege.auditing.words import attacker_in_words, lasting


@dataclass(frozen=True)
class Table:
    """A table of the page: caption, headings, rows of text; the first cell of a row names it, `numeric` columns are aligned right."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    chips: Sequence[str] = ()


def situations_table(findings: Sequence[Finding], labels: Sequence[str]) -> Table:
    """Return one row per situation."""
    rows = [
        [
            label,
            interval(one.psnr.estimate, one.psnr.low, one.psnr.high),
            number(one.floor),
            number(one.ssim, 2),
            number(one.lpips, 2),
            f"{percent(one.identified.estimate)} of {one.pictures}",
            percent(one.labels),
            one.verdict,
        ]
        for label, one in zip(labels, findings, strict=True)
    ]
    caption = (
        "The strongest attacker in every situation. Worst case: mean PSNR in dB with a 95 % interval, higher means closer to the private "
        "picture. Guess: the best attacker that needs no update beyond its label. Identified: share of pictures told from all "
        "others of the gallery by the best attacker at that."
    )
    headings = (
        "Situation",
        "Worst case, dB",
        "Guess, dB",
        "SSIM",
        "LPIPS",
        "Identified",
        "Labels read",
        "Verdict",
    )
    return Table(
        caption,
        headings,
        rows,
        frozenset(range(1, 7)),
        [CHIPS.get(one.verdict, "undecided") for one in findings],
    )


def defenses_table(audit: Result) -> Table | None:
    """Return one row per defense: what it brings, and what it costs."""
    if not audit.costs:
        return None
    findings = {one.situation.name: one for one in audit.findings if one.situation.name != NONE}
    rows = []
    for cost in audit.costs:
        one = findings[cost.defense]
        rows.append(
            [
                cost.defense,
                interval(one.psnr.estimate, one.psnr.low, one.psnr.high),
                interval(one.lost.estimate, one.lost.low, one.lost.high),
                percent(one.identified.estimate),
                DASH if cost.reason else f"{number(cost.norm, 2)} ×",
                number(cost.cosine, 2),
                number(cost.mean_cosine, 2),
                percent(cost.progress) if not cost.progress < 0 else "loss rises",
            ]
        )
    caption = (
        "What each defense brings and costs, on the same pictures with the same budget. Lost: what its strongest attacker loses against "
        "the strongest one without a defense, in dB. Norm and cosine compare an upload with the undefended one; the cosine of the "
        "mean compares the means over all clients, where independent noise averages out. Progress: how much of the "
        "decrease in loss of one round is left. None of these is the accuracy of a trained network."
    )
    headings = (
        "Defense",
        "Worst case, dB",
        "Lost, dB",
        "Identified",
        "Norm",
        "Cosine",
        "Of the mean",
        "Progress",
    )
    return Table(caption, headings, rows, frozenset(range(1, 8)))


def attackers_table(audit: Result, finding: Finding, label: str) -> Table:
    """Return one row per attacker of a situation, the strongest first."""
    situation, summary = finding.situation, audit.summary
    rows = summary[situation.rows_of(summary, situation.name)]
    rows = rows.assign(order=rows["psnr"].where(rows["kind"] != "identification")).sort_values(
        "order", ascending=False, kind="stable"
    )
    listed = [
        [
            attacker_in_words(str(row["attack"])),
            _knowledge(row),
            DASH
            if row["kind"] == "identification"
            else interval(row["psnr"], row["psnr_low"], row["psnr_high"]),
            DASH if row["kind"] == "identification" else number(row["ssim"], 2),
            interval(
                100 * row["identified"],
                100 * row["identified_low"],
                100 * row["identified_high"],
                0,
            ),
            f"{int(row['failed'])} of {int(row['rows'])}",
            DASH
            if row["kind"] == "control"
            else lasting(row["seconds"])
            if math.isfinite(row["seconds"])
            else DASH,
        ]
        for _, row in rows.iterrows()
    ]
    caption = f"All attackers: {label}. Identification has no PSNR, since it returns a candidate."
    headings = (
        "Attacker",
        "Knows",
        "PSNR, dB",
        "SSIM",
        "Identified, %",
        "Failed",
        "Time",
    )
    return Table(caption, headings, listed, frozenset(range(2, 7)))


def _knowledge(row: pd.Series) -> str:
    """Return what an attacker or a control knows; the nearest auxiliary picture is a diagnosis that looks at the truth."""
    if row["attack"] == "control_nearest_aux":
        return "the picture itself: a yardstick"
    return "no update: a yardstick" if row["kind"] == "control" else knows(str(row["threat_model"]))


def pictures_table(audit: Result, finding: Finding) -> Table:
    """Return one row per picture: the attacker that came closest, in the situation that is judged."""
    situation, scores = finding.situation, audit.scores.table
    rows = scores[situation.rows_of(scores, situation.name)]
    listed = []
    for picture, part in rows.groupby("picture"):
        attacks = part[(part["kind"] == "attack") & part["psnr"].notna()]
        hits = part[part["kind"].isin(["attack", "identification"]) & part["identified"].eq(True)]
        best = None if attacks.empty else _closest(attacks)
        listed.append(
            [
                audit.names[int(part["picture"].iloc[0])] if audit.names else f"{picture}",
                f"{int(part['label'].iloc[0])}",
                number(math.nan if best is None else float(best["psnr"])),
                number(
                    math.nan if best is None or pd.isna(best["ssim"]) else float(best["ssim"]), 2
                ),
                DASH if best is None else attacker_in_words(str(best["attack"])),
                f"{hits['attack'].nunique()}",
            ]
        )
    caption = "Every picture in the situation that is judged: the attacker that came closest, and how many attackers tell it from the gallery."
    headings = ("Picture", "Label", "PSNR, dB", "SSIM", "Closest attacker", "Identified by")
    return Table(caption, headings, listed, frozenset((1, 2, 3, 5)))


def _closest(attacks: pd.DataFrame) -> pd.Series:
    """Return the row of highest PSNR."""
    return attacks.iloc[int(attacks["psnr"].to_numpy(dtype="float64").argmax())]
