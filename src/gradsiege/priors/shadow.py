"""Stage `shadow`: pretrain the defender's generator on `public`, and write its weights and its card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.images import load_images
from gradsiege.jobs import Job
from gradsiege.priors import shadow_generator
from gradsiege.priors.resumable import Saving
from gradsiege.seeds import torch_generator

SHADOW = "shadow"


def shadow(job: Job) -> None:
    """Write ``shadow.safetensors`` and ``card.json``; the settings are the generator's defaults."""
    cell, study = job.cell, job.study
    images, labels, _ = load_images(job.input(cell.at("fetch"), "public.safetensors"))
    generator = torch_generator(study.seed, cell.key, "shadow")
    parameters = shadow_generator.Parameters()
    weights, card = shadow_generator.train(images[:], labels, parameters, generator, Saving(job))
    card |= {"dataset": cell.dataset, "role": "public", "settings": asdict(parameters)}
    artifacts.write_tensors(job.path("shadow.safetensors"), weights, SHADOW, {"card": card})
    artifacts.write_json(job.path("card.json"), card)


def load_shadow(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (weights, card) of a pretrained shadow generator."""
    weights, metadata = artifacts.read_tensors(path, SHADOW)
    return weights, metadata["card"]
