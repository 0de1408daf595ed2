"""Stage `prior`: train an attacker's prior on `aux`, and write its weights and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.images import load_images
from gradsiege.jobs import Job
from gradsiege.priors import module
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
    weights, card = implementation.train(images, labels, parameters, generator)
    card |= {"id": entry.id, "dataset": cell.dataset, "role": "aux", "settings": entry.parameters}
    metadata = {"name": entry.name, "card": card}
    artifacts.write_tensors(job.path("prior.safetensors"), weights, PRIOR, metadata)
    artifacts.write_json(job.path("card.json"), card)


def load_prior(path: Path) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Return (name, weights, card) of a trained prior."""
    weights, metadata = artifacts.read_tensors(path, PRIOR)
    return metadata["name"], weights, metadata["card"]
