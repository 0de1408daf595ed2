"""Does a quick audit find the worst case of the study? `python -m benchmarks.audits [DEFENSE ...]`, ten minutes each on two free cores.

An audit of the federation of `config/fashion.yaml` before its training: the same pictures, initial network, clients and auxiliary images.
Beside it stands the strongest attack of `docs/results/fashion` on the untrained network, which other settings and other
iterations reached on 32 victims. Rows go to `audits.csv`, and the table of all to docs/AUDIT.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import gradsiege as gs
from benchmarks.audits_table import PAGE, keep, page, table
from gradsiege import defenses, models
from gradsiege.auditing.audit import Audit
from gradsiege.datasets import prepare
from gradsiege.federated.normalisation import set_normalisation
from gradsiege.images import StoredImages
from gradsiege.seeds import seed_for, torch_generator
from gradsiege.study import Study, load

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "config" / "fashion.yaml"
KEPT = ROOT / "docs" / "results" / "fashion" / "attack_defense_heatmap.csv"
MODEL, PROTOCOL, STAGE = "convnet", "fedsgd", "untrained"
DEFENSES = ("none", "tip-ratio0.6", "gaussian-sigma0.1", "precode")


@dataclass(frozen=True)
class Federation:
    """The study's network before training, the images ``[n, c, h, w]`` of its roles in [0, 1], and their labels ``[n]``."""

    network: nn.Module
    images: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]


def worst_case_of_the_study(defense: str) -> float:
    """Return the mean PSNR [dB] of the strongest attack that the study kept."""
    where = {
        "model": MODEL,
        "protocol": PROTOCOL,
        "training_stage": STAGE,
        "defense": defense,
        "kind": "attack",
        "quantity": "psnr",
    }
    with KEPT.open(encoding="utf-8") as file:
        return max(
            float(row["value"])
            for row in csv.DictReader(file)
            if where.items() <= row.items() and row["value"]
        )


def federation_of(study: Study) -> Federation:
    """Prepare the pictures and the initial network of seed 0, as the study's stages do."""
    (dataset,) = study.datasets
    seed = seed_for(study.seed, dataset.id, dataset.size, "splits")
    prepared = prepare(dataset.name, dataset.size, dataset.counts, seed, dataset.parameters)
    stored = {
        role: StoredImages(torch.from_numpy(split.images))
        for role, split in prepared.splits.items()
    }
    model = study.one("models", MODEL)
    spec = models.ModelSpec(
        model.name, model.parameters, len(prepared.classes), *stored["train"].shape[1:3]
    )
    network = models.build(
        spec, torch_generator(study.seed, dataset.id, MODEL, 0, "initial weights")
    )
    set_normalisation(network, stored["train"], STUDY.name)
    labels = {role: torch.from_numpy(split.labels) for role, split in prepared.splits.items()}
    return Federation(network.eval(), {role: part[:] for role, part in stored.items()}, labels)


def audited(
    study: Study, federation: Federation, defense: str, budget: str, folder: Path | None
) -> Audit:
    """Return the audit of a defense: the study's victims come first, and its test images complete the gallery."""
    entry = study.one("defenses", defense)
    tried = (
        [] if entry.name == "none" else [defenses.build(entry.name, entry.parameters, entry.arm)]
    )
    images, labels, count = federation.images, federation.labels, study.victims
    return gs.audit(
        federation.network,
        torch.cat([images["victims"][:count], images["test"]]),
        torch.cat([labels["victims"][:count], labels["test"]]),
        gs.LocalTraining(**study.one("protocols", PROTOCOL).training),
        tried or [None],
        budget,
        aux=images["aux"],
        aux_labels=labels["aux"],
        resume=None if folder is None else folder / defense,
        tell=lambda words: print(words, flush=True),
    )


def main() -> None:
    """Audit the defenses that are named, one after the other, and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("defenses", nargs="*", choices=[*DEFENSES, []])
    options.add_argument("--budget", default="quick")
    options.add_argument(
        "--out", type=Path, help="folder of the audits, which then go on if stopped"
    )
    given = options.parse_args()
    study = load(STUDY)
    federation = federation_of(study)
    rows = []
    for defense in given.defenses or DEFENSES:
        found = audited(study, federation, defense, given.budget, given.out)
        if given.out is not None:
            found.save(given.out / defense)
        worst = found.worst
        numbers = (worst.psnr.estimate, worst.psnr.low, worst.psnr.high)
        row = {"defense": defense, "study": f"{worst_case_of_the_study(defense):.2f}"}
        row |= dict(
            zip(("audit", "low", "high"), (f"{value:.2f}" for value in numbers), strict=True)
        )
        row |= {"attacker": worst.attacker[0], "seconds": f"{found.seconds:.0f}"}
        rows.append(row | {"left out": str(len(found.left_out))})
        print(table(rows[-1:]), flush=True)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), keep(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
