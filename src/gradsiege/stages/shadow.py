"""Stage `shadow`: pretrain the defender's generator on `public`, and write its weights and its card."""

from __future__ import annotations

from dataclasses import asdict

from gradsiege import artifacts
from gradsiege.images import load_images
from gradsiege.pipeline.jobs import Job
from gradsiege.priors.resumable import Checkpointer
from gradsiege.priors.shadow_generator import ShadowGenerator
from gradsiege.priors.trained import SHADOW
from gradsiege.seeds import torch_generator


def shadow(job: Job) -> None:
    """Write ``shadow.safetensors`` and ``card.json``; the settings are the generator's defaults."""
    cell, study = job.cell, job.study
    images, labels, _ = load_images(job.input(cell.at("fetch"), "public.safetensors"))
    generator = torch_generator(study.seed, cell.key, "shadow")
    learner = ShadowGenerator()
    weights, card = learner.train(images[:], labels, generator, Checkpointer(job))
    card |= {"dataset": cell.dataset, "role": "public", "settings": asdict(learner)}
    artifacts.write_tensors(job.path("shadow.safetensors"), weights, SHADOW, {"card": card})
    artifacts.write_json(job.path("card.json"), card)
