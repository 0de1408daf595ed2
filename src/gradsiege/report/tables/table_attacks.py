"""Every attack and control on undefended updates: fidelity, identification, cost, knowledge."""

from __future__ import annotations

import math

import pandas as pd

from gradsiege.analysis.paired import compare_with_baseline
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    counts_note,
    duration,
    fold_constant,
    number,
    p_value,
    percent,
    percent_interval,
    synthetic_note,
    threat_label,
    with_interval,
)

VERSION = 2
TITLE = "Attacks on undefended updates"
BASELINE = "inverting_gradients"
FOLDED = ["Data, model", "Where", "n"]
KEY = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack"]
# Columns that stand in the table only where the weights of LPIPS were there: heading, metric.
PERCEPTUAL = {
    "LPIPS": "lpips",
    "Identified by LPIPS": "identified_lpips",
}
COMPARED = ["difference", "difference_low", "difference_high", "d_z", "pairs", "unpaired"]
COMPARED += ["wilcoxon_p", "wilcoxon_holm", "permutation_p", "permutation_holm"]
# Names of the data file, where every quantity has one name in all tables.
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
    unmeasured = [heading for heading, name in PERCEPTUAL.items() if table[name].isna().all()]
    return shown.drop(columns=unmeasured, errors="ignore")


def _line(data: StudyData, row: pd.Series, *, is_baseline: bool) -> dict[str, str]:
    control = row["kind"] == "control"
    difference = with_interval(row["difference"], row["difference_low"], row["difference_high"])
    return {
        "Attack": label(row["attack"], data.name_of("attacks", row["attack"])),
        "Data, model": f"{label(row['dataset'])}, {label(row['model'])}",
        "Where": f"{row['training_stage']}, {label(row['protocol'])}",
        "Threat model": "control" if control else threat_label(data, row["threat_model"]),
        "PSNR [dB]": with_interval(row["psnr"], row["psnr_low"], row["psnr_high"]),
        "SSIM": with_interval(row["ssim"], row["ssim_low"], row["ssim_high"], 2),
        "LPIPS": with_interval(row["lpips"], row["lpips_low"], row["lpips_high"], 2),
        "Identified": percent_interval(
            row["identified"], row["identified_low"], row["identified_high"]
        ),
        "Identified by LPIPS": percent_interval(
            row["identified_lpips"], row["identified_lpips_low"], row["identified_lpips_high"]
        ),
        "Δ PSNR [dB]": "baseline" if is_baseline else difference,
        "p (Holm)": p_value(row["wilcoxon_holm"]),
        "n": str(int(row["victims"])),
        "Failed": f"{int(row['failed'])} of {int(row['rows'])}",
        "Evaluations": DASH if control else number(row["evaluations"], 0),
        "Time per cell": DASH if control else duration(row["seconds"]),
    }


def _caption(data: StudyData, table: pd.DataFrame, baseline: str | None) -> str:
    if table.empty:
        return "No undefended update was attacked."
    chance = table["chance"].mean()
    name = label(baseline) if baseline else "none"
    perceptual = (
        " LPIPS is lower for closer images; identified by LPIPS: the same retrieval by LPIPS (AlexNet) instead of pixels."
        if table["identified_lpips"].notna().any()
        else ""
    )
    return (
        "Attacks and controls on undefended updates. Controls use no gradient: what an attack "
        f"reaches above them, the gradient gave. Identified: rank-1 retrieval (chance "
        f"{percent(chance)}).{perceptual} Δ: mean paired difference to {name} on the same victims; p from "
        "Wilcoxon's signed-rank test, adjusted by Holm over this table. Restarts are part of an "
        "attack, not replicates; model evaluations per victim (restarts included) and time (a job on all "
        "victims of a cell) are medians; HaarPSI, iterations and whatever else was measured are in the data file. "
        f"{INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )
