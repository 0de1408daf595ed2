"""Every defense setting: accuracy, non-adaptive attackers, and the worst case over all."""

from __future__ import annotations

import pandas as pd

from gradsiege.analysis.worst_case import worst_case
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, bounds, final_accuracy, utility_by_setting
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    counts_note,
    fold_constant,
    number,
    percent_interval,
    synthetic_note,
    threat_label,
    with_interval,
)

VERSION = 4
TITLE = "Defenses under their strongest attacker"
BOUND = "Perfect inversion"
BLIND = "Non-adaptive PSNR [dB]"
TOLD = ["attack", "threat_model", "training_stage", "protocol", "attackers", "victims", "rows"]
TOLD += ["failed", "psnr_capped"]
PER_SETTING = ["bound_psnr", "bound_psnr_low", "bound_psnr_high", "bound_ssim", "bound_lpips"]
PER_SETTING += ["accuracy", "accuracy_low", "accuracy_high", "seeds", "failed_seeds", "change"]
PER_SETTING += ["adaptive_attackers"]


def draw(data: StudyData) -> Drawn:
    """Tabulate accuracy beside the strongest non-adaptive attacker and the strongest of all."""
    table = plotted(data)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    if len(table) and not table["adaptive_attackers"].any():
        shown = shown.drop(columns=BLIND)
    if table["bound_psnr"].isna().all():
        shown = shown.drop(columns=BOUND, errors="ignore")
    shown, folded = fold_constant(shown, ["Data, model"])
    return Drawn(TITLE, _caption(data, table) + folded, by_role(data), shown=shown)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per setting: accuracy, worst case by PSNR, non-adaptive worst case, identification."""
    summary = data.summary
    aware = [name for name in summary["threat_model"].unique() if data.adaptive(str(name))]
    blind = _blind(data)
    table = worst_case(summary, by=SETTING)
    table = table[[*SETTING, *TOLD, "psnr", "psnr_low", "psnr_high"]]
    table = table.merge(_renamed(worst_case(blind, by=SETTING), "psnr", "non_adaptive"), how="left")
    named = _renamed(worst_case(summary, metric="identified", by=SETTING), "identified", "worst")
    controls = _renamed(worst_case(summary, by=SETTING, kind="control"), "psnr", "control")
    changes = utility_by_setting(data)[[*SETTING, "change"]]
    for other in (named, controls, bounds(data), final_accuracy(data), changes):
        table = table.merge(other, on=SETTING, how="left")
    informed = summary[(summary["kind"] == "attack") & summary["threat_model"].isin(aware)]
    adapted = informed.groupby(SETTING, sort=False).size().rename("adaptive_attackers")
    table = table.merge(adapted.reset_index(), on=SETTING, how="left")
    table["adaptive_attackers"] = table["adaptive_attackers"].fillna(0).astype(int)
    return table


def by_role(data: StudyData) -> pd.DataFrame:
    """Return the rows of the data file: the strongest attacker in each role, then quantities that no attacker changes."""
    summary = data.summary
    roles = {
        "worst_case": worst_case(summary, by=SETTING),
        "non_adaptive": worst_case(_blind(data), by=SETTING),
        "worst_identified": worst_case(summary, metric="identified", by=SETTING),
        "control": worst_case(summary, by=SETTING, kind="control"),
    }
    limits = [
        f"{metric}{end}" for metric in ("psnr", "identified") for end in ("", "_low", "_high")
    ]
    columns = [*SETTING, *TOLD, *limits]
    parts = [part[columns].assign(role=role) for role, part in roles.items()]
    settings = plotted(data)[[*SETTING, *PER_SETTING]]
    settings = settings.rename(columns={"change": "accuracy_change"})
    return pd.concat([part for part in (*parts, settings) if len(part)] or parts, ignore_index=True)


def _blind(data: StudyData) -> pd.DataFrame:
    """The summary without attackers that know the defense."""
    threats = data.summary["threat_model"]
    aware = [name for name in threats.unique() if data.adaptive(str(name))]
    return data.summary[~threats.isin(aware)]


def _renamed(table: pd.DataFrame, metric: str, prefix: str) -> pd.DataFrame:
    """Keep the setting, the winner's name and its metric with limits, under a prefix."""
    kept = table[[*SETTING, "attack", metric, f"{metric}_low", f"{metric}_high"]]
    return kept.rename(columns={column: f"{prefix}_{column}" for column in kept.columns[3:]})


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    attack = label(row["attack"], data.name_of("attacks", row["attack"]))
    threat = threat_label(data, row["threat_model"])
    conditions = f"{row['training_stage']}, {label(row['protocol'])}, {threat}".replace("_", " ")
    accuracy = percent_interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"], 1)
    return {
        "Defense": label(row["defense"], data.name_of("defenses", row["defense"])),
        "Data, model": f"{label(row['dataset'])}, {label(row['model'])}",
        "Accuracy (change)": accuracy + _change(data, row),
        BLIND: with_interval(
            row["non_adaptive_psnr"], row["non_adaptive_psnr_low"], row["non_adaptive_psnr_high"]
        ),
        "Worst-case PSNR [dB]": with_interval(row["psnr"], row["psnr_low"], row["psnr_high"]),
        "Worst-case attack": f"{attack} ({conditions})",
        "Best control [dB]": number(row["control_psnr"]),
        BOUND: _bound(row),
        "Worst-case identified": percent_interval(
            row["worst_identified"], row["worst_identified_low"], row["worst_identified_high"]
        ),
    }


def _bound(row: pd.Series) -> str:
    """PSNR, SSIM and, where it could be computed, LPIPS of the images trained on."""
    if pd.isna(row["bound_psnr"]):
        return DASH
    psnr = with_interval(row["bound_psnr"], row["bound_psnr_low"], row["bound_psnr_high"])
    value, _, limits = psnr.partition(" ")
    parts = [f"{value} dB {limits}".rstrip(), f"SSIM {number(row['bound_ssim'], 2)}"]
    parts += [f"LPIPS {number(row['bound_lpips'], 2)}"] if pd.notna(row["bound_lpips"]) else []
    return ", ".join(parts)


def _change(data: StudyData, row: pd.Series) -> str:
    """Accuracy lost or gained against no defense with the same seeds, in percentage points."""
    if pd.isna(row["change"]) or data.name_of("defenses", row["defense"]) == "none":
        return ""
    return f" ({'+' if row['change'] > 0 else ''}{number(100 * row['change'])})"


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "No defense was attacked."
    informed = (
        "Non-adaptive attackers do not know the defense; the worst case is over all attackers, "
        "adaptive ones included."
        if (table["adaptive_attackers"] > 0).any()
        else "No attacker here knows the defense, so the worst case is over non-adaptive attackers "
        "only: no setting has been shown to resist an adaptive attack."
    )
    bound = (
        " Perfect inversion: similarity of the images that the client really trained on to its own "
        "images, where a defense transforms them (stage and protocol with the highest PSNR). An "
        "attack below that value did not find everything in the update."
        if table["bound_psnr"].notna().any()
        else ""
    )
    return (
        "Accuracy after training with the defense and its change against no defense [points], beside the strongest "
        f"attacker. {informed} The "
        "strongest is chosen by its mean over attacks, threat models, training stages and "
        "protocols, so the estimate leans against the defense. Best control: the highest PSNR that "
        f"needs no gradient.{bound} Accuracy with a t interval over seeds where there are several. The data file names the "
        "strongest attacker of every role, and counts attackers and seeds. "
        f"{INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )
