"""Stage `prior`: train an attacker's prior on `aux`, and write its weights and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.errors import GradSiegeError
from gradsiege.images import load_images
from gradsiege.jobs import Job
from gradsiege.priors import module
from gradsiege.priors.resumable import Saving
from gradsiege.seeds import torch_generator

PRIOR = "prior"


def prior(job: Job) -> None:
    """Write ``prior.safetensors`` and ``card.json``."""
    cell, study = job.cell, job.study
    entry = study.one("priors", cell.prior)
    images, labels, _ = load_images(job.input(cell.at("fetch"), "aux.safetensors"))
    implementation = module(entry.name)
    generator = torch_generator(study.seed, cell.key, "prior")
    parameters = implementation.Parameters(**entry.parameters)
    weights, card = implementation.train(images[:], labels, parameters, generator, Saving(job))
    refuse_divergence(weights, entry.id)
    card |= {"id": entry.id, "dataset": cell.dataset, "role": "aux", "settings": entry.parameters}
    metadata = {"name": entry.name, "card": card}
    artifacts.write_tensors(job.path("prior.safetensors"), weights, PRIOR, metadata)
    artifacts.write_json(job.path("card.json"), card)


def refuse_divergence(weights: dict[str, Tensor], name: str) -> None:
    """Raise if training ended with a weight that is no number: such a prior would fail every attack that reads it."""
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise GradSiegeError(
            f"the prior {name!r} diverged: {len(broken)} of its tensors, {broken[0]!r} first, are not finite. "
            "Lower its learning_rate in the study file, or train it for fewer steps."
        )


def load_prior(path: Path) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Return (name, weights, card) of a trained prior."""
    weights, metadata = artifacts.read_tensors(path, PRIOR)
    return metadata["name"], weights, metadata["card"]
