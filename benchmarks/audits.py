"""Does a quick audit find the worst case of the adaptive study? `python -m benchmarks.audits [DEFENSE ...]`, ten minutes each on two free cores.

An audit of an untrained convnet on photographs of 32 px, as in `config/adaptive.yaml`, with the attacker's own 1,500 crops. Beside it
stands the worst case of `docs/results/adaptive`, which other attackers with other iterations and settings reached on eight
photographs. Prints a Markdown table: both numbers in dB, the audit's interval, its attacker, and what the audit left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch

import gradsiege as gs
from gradsiege.auditing.inputs.networks import network_named
from gradsiege.datasets.photos import Photos
from gradsiege.defenses.base import Defense

KEPT = Path(__file__).parents[1] / "docs" / "results" / "adaptive" / "table_headline_data.csv"
TRAINING = gs.LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
# Ids of the study, and the defense of each.
DEFENSES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "none": None,
    "tip-ratio0.6": ("Tip", {"ratio": 0.6}),
    "gaussian-sigma0.1": ("Gaussian", {"sigma": 0.1}),
    "precode": ("Precode", {}),
}


def worst_case_of_the_study(defense: str) -> float:
    """Return the mean PSNR [dB] of the strongest attacker that the study kept."""
    with KEPT.open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["model"], row["defense"]) == ("convnet", defense)
            and (row["role"], row["quantity"]) == ("worst_case", "psnr")
        ]
    (row,) = rows
    return float(row["value"])


def audited(defense: str, width: int, budget: str, folder: Path | None) -> Any:
    """Return the audit of a defense."""
    counts = {"victims": 32, "test": 96, "aux": 1500}
    splits = Photos().prepare(32, counts, 0).splits
    parts = {name: torch.from_numpy(splits[name].images).float() / 255 for name in counts}
    labels = {name: torch.from_numpy(splits[name].labels) for name in counts}
    chosen = DEFENSES[defense]
    tried: list[Defense | None] = [None]
    if chosen is not None:
        tried.append(getattr(gs.defenses, chosen[0])(**chosen[1]))
    return gs.audit(
        network_named(f"convnet:width={width}", 10, (3, 32, 32)).eval(),
        torch.cat([parts["victims"], parts["test"]]),
        torch.cat([labels["victims"], labels["test"]]),
        TRAINING,
        tried,
        budget,
        aux=parts["aux"],
        aux_labels=labels["aux"],
        resume=None if folder is None else folder / defense,
        tell=lambda words: print(words, flush=True),
    )


def main() -> None:
    """Audit the defenses that are named, one after the other, and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("defenses", nargs="*", choices=[*DEFENSES, []])
    options.add_argument("--width", type=int, default=32)
    options.add_argument("--budget", default="quick")
    options.add_argument(
        "--out", type=Path, help="folder of the audits, which then go on if stopped"
    )
    given = options.parse_args()
    rows = []
    for defense in given.defenses or DEFENSES:
        found = audited(defense, given.width, given.budget, given.out)
        if given.out is not None:
            found.save(given.out / defense)
        worst, kept = found.worst, worst_case_of_the_study(defense)
        rows.append(
            f"| {defense} | {kept:.1f} | {worst.psnr.estimate:.1f} [{worst.psnr.low:.1f}, {worst.psnr.high:.1f}] | "
            f"{worst.psnr.estimate - kept:+.1f} | {worst.attacker[0]} | {worst.pictures} | {found.seconds:.0f} | "
            f"{'; '.join(found.plan.notes) or 'nothing'} | {', '.join(found.left_out) or 'nobody'} |"
        )
        print(rows[-1], flush=True)
    print(
        "| defense | study | audit | difference | attacker | pictures | seconds | cut down | left out |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
