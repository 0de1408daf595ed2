"""Stage `prior`: train an attacker's prior on `aux`, and write its weights and its card."""

from __future__ import annotations

from gradsiege import artifacts
from gradsiege.images import load_images
from gradsiege.pipeline.jobs import Job
from gradsiege.priors import build
from gradsiege.priors.resumable import Checkpointer
from gradsiege.priors.trained import PRIOR, refuse_divergence
from gradsiege.seeds import torch_generator
from gradsiege.study.tuning import images_set_aside
from gradsiege.tuning.images import divided


def prior(job: Job) -> None:
    """Write ``prior.safetensors`` and ``card.json``."""
    cell, study = job.cell, job.study
    entry = study.one("priors", cell.prior)
    images, labels, _ = load_images(job.input(cell.at("fetch"), "aux.safetensors"))
    aside = images_set_aside(study)
    _, kept = divided(len(labels), aside, (study.seed, cell.dataset))
    generator = torch_generator(study.seed, cell.key, "prior")
    learner = build(entry.name, entry.parameters)
    weights, card = learner.train(images[kept], labels[kept], generator, Checkpointer(job))
    refuse_divergence(weights, entry.id)
    card |= {"id": entry.id, "dataset": cell.dataset, "role": "aux", "settings": entry.parameters}
    metadata = {"name": entry.name, "card": card}
    artifacts.write_tensors(job.path("prior.safetensors"), weights, PRIOR, metadata)
    artifacts.write_json(job.path("card.json"), card)
