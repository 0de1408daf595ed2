"""Every attack and control on undefended updates: fidelity, identification, knowledge."""

from __future__ import annotations

import math

import pandas as pd

from gradsiege.analysis.paired import compare_with_baseline
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    INTERVAL,
    STARRED,
    counts_note,
    fold_constant,
    percent,
    percent_interval,
    place_label,
    starred,
    synthetic_note,
    threat_label,
    with_interval,
)

VERSION = 3
TITLE = "Attacks on undefended updates"
BASELINE = "inverting_gradients"
FOLDED = ["Where"]
KEY = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack"]
# A column that stands in the table only where the weights of LPIPS were there.
PERCEPTUAL = "LPIPS"
COMPARED = ["difference", "difference_low", "difference_high", "d_z", "pairs", "unpaired"]
COMPARED += ["wilcoxon_p", "wilcoxon_holm", "permutation_p", "permutation_holm"]
# Column names of the data file: a quantity has the same name in all tables.
NAMES = {f"difference{end}": f"psnr_change{end}" for end in ("", "_low", "_high")}
NAMES |= {"wilcoxon_p": "psnr_p", "wilcoxon_holm": "psnr_holm", "seconds": "attack_seconds"}
NAMES |= {f"permutation_{end}": f"psnr_permutation_{end}" for end in ("p", "holm")}


def draw(data: StudyData) -> Drawn:
    """Tabulate the summary of undefended cells beside paired differences from the baseline."""
    table = data.undefended(data.summary).reset_index(drop=True)
    baseline = baseline_attack(data, table)
    compared = compare_with_baseline(data.undefended(data.scores), baseline) if baseline else None
    if compared is not None and len(compared):
        table = table.merge(compared[[*KEY, *COMPARED]], on=KEY, how="left")
    else:
        table = table.assign(**dict.fromkeys(COMPARED, math.nan))
    order = {kind: place for place, kind in enumerate(("attack", "control"))}
    cells = ["dataset", "model", "training_stage", "protocol"]
    table["cell"] = table.groupby(cells, sort=False).ngroup()
    table = table.sort_values(["cell", "kind"], key=lambda c: c.map(order).fillna(c), kind="stable")
    table = table.drop(columns="cell").reset_index(drop=True)
    shown, folded = fold_constant(_shown(data, table, baseline), FOLDED)
    quiet = tuple(place for place, kind in enumerate(table["kind"]) if kind == "control")
    caption = _caption(data, table, baseline) + folded
    return Drawn(TITLE, caption, table.rename(columns=NAMES), shown=shown, quiet=quiet)


def baseline_attack(data: StudyData, table: pd.DataFrame) -> str | None:
    """The attack that others are compared with: Inverting Gradients, else the study's first."""
    attacks = data.in_order("attacks", table.loc[table["kind"] == "attack", "attack"])
    named = [attack for attack in attacks if data.name_of("attacks", attack) == BASELINE]
    return next(iter(named or attacks), None)


def _shown(data: StudyData, table: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """The table as text."""
    shown = pd.DataFrame(
        [_line(data, row, is_baseline=row["attack"] == baseline) for _, row in table.iterrows()]
    )
    unmeasured = table["lpips"].isna().all()
    return shown.drop(columns=PERCEPTUAL, errors="ignore") if unmeasured else shown


def _line(data: StudyData, row: pd.Series, *, is_baseline: bool) -> dict[str, str]:
    control = row["kind"] == "control"
    difference = with_interval(row["difference"], row["difference_low"], row["difference_high"])
    failed = f" ({int(row['failed'])} of {int(row['rows'])} failed)" if row["failed"] else ""
    return {
        "Attack": label(row["attack"], data.name_of("attacks", row["attack"])) + failed,
        "Where": place_label(row),
        "Threat model": "control" if control else threat_label(data, row["threat_model"]),
        "PSNR [dB]": with_interval(row["psnr"], row["psnr_low"], row["psnr_high"]),
        "SSIM": with_interval(row["ssim"], row["ssim_low"], row["ssim_high"], 2),
        PERCEPTUAL: with_interval(row["lpips"], row["lpips_low"], row["lpips_high"], 2),
        "Identified": percent_interval(
            row["identified"], row["identified_low"], row["identified_high"]
        ),
        "Δ PSNR [dB]": "baseline" if is_baseline else starred(difference, row["wilcoxon_holm"]),
    }


def _caption(data: StudyData, table: pd.DataFrame, baseline: str | None) -> str:
    if table.empty:
        return "No undefended update was attacked."
    chance = table["chance"].mean()
    name = label(baseline) if baseline else "none"
    perceptual = (
        " LPIPS (AlexNet) is lower for closer images." if table["lpips"].notna().any() else ""
    )
    return (
        "Attacks and controls on undefended updates. Controls use no gradient, so an attack's "
        f"gain over them comes from the gradient. Identified: rank-1 retrieval (chance "
        f"{percent(chance)}).{perceptual} Δ: mean paired difference to {name} on the same victims. {STARRED} "
        "(Wilcoxon's signed-rank test, adjusted by Holm over this table). Restarts are part of an attack, not "
        "replicates. The data file holds all p values, the other metrics, and the cost of each attack. "
        f"{INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )
