"""The tidy tables of an audit, as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gradsiege import artifacts
from gradsiege.auditing.document import finding_as_data

if TYPE_CHECKING:
    from gradsiege.auditing.result import Result

# Columns of the score table that say something in an audit.
PICTURES = (
    "training_stage", "protocol", "defense", "threat_model", "attack", "kind", "picture", "victim", "image", "label", "status",
    "reason", "psnr", "ssim", "ms_ssim", "haarpsi", "lpips", "lpips_vgg", "identified", "rank", "gallery_size", "candidate_rank",
    "label_accuracy", "matching_loss", "seconds",
)  # fmt: skip
ATTACKERS = (
    "training_stage", "protocol", "defense", "threat_model", "attack", "kind", "victims", "rows", "failed", "psnr", "psnr_low",
    "psnr_high", "ssim", "lpips", "identified", "identified_low", "identified_high", "chance", "iterations", "seconds",
)  # fmt: skip


def write_tables(audit: Result, folder: Path) -> None:
    """Write ``pictures.csv``, ``attackers.csv``, ``situations.csv`` and ``defenses.csv``; the columns are those of a study's scores.

    Where the pictures have names, ``pictures.csv`` has them in a column of its own.
    """
    flat = pd.json_normalize([finding_as_data(one) for one in audit.findings], sep="_")
    pictures = audit.scores.table.reindex(columns=list(PICTURES))
    if audit.names:
        place = PICTURES.index("picture") + 1
        pictures.insert(place, "name", pictures["picture"].map(audit.name_of))
    tables = {
        "pictures": pictures,
        "attackers": audit.summary.reindex(columns=list(ATTACKERS)),
        "situations": flat,
        "defenses": pd.DataFrame([vars(cost) for cost in audit.costs]),
    }
    for name, table in tables.items():
        artifacts.write_text(folder / f"{name}.csv", table.to_csv(index=False))
