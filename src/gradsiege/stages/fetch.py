"""Stage `fetch`: prepare a data set and write one file per role, so that each reader gets only the images that it may see."""

from __future__ import annotations

import torch

from gradsiege import artifacts
from gradsiege.datasets import prepare
from gradsiege.errors import MissingError, StudyError
from gradsiege.images import IMAGES
from gradsiege.pipeline import identity
from gradsiege.pipeline.jobs import Job
from gradsiege.seeds import seed_for
from gradsiege.study import ROLES


def fetch(job: Job) -> None:
    """Write ``<role>.safetensors`` for the six roles, and the data card."""
    dataset = job.study.one("datasets", job.cell.dataset)
    identity.confirm(dataset, job.root)
    seed = seed_for(job.study.seed, dataset.id, dataset.size, "splits")
    try:
        prepared = prepare(
            dataset.name, dataset.size, dataset.counts, seed, dataset.parameters, job.scratch
        )
    except FileNotFoundError as error:
        raise MissingError(str(error)) from error
    except ValueError as error:
        raise StudyError(f"datasets.{dataset.id}: {error}") from error
    # Images were read after they had been looked at.
    identity.confirm(dataset, job.root)
    for role in ROLES:
        split = prepared.splits[role]
        tensors = {
            "images": torch.from_numpy(split.images),
            "labels": torch.from_numpy(split.labels),
            "groups": torch.from_numpy(split.groups),
        }
        if split.boxes is not None:
            tensors["boxes"] = torch.from_numpy(split.boxes)
        metadata = {"dataset": dataset.name, "role": role, "classes": list(prepared.classes)}
        artifacts.write_tensors(job.path(f"{role}.safetensors"), tensors, IMAGES, metadata)
    artifacts.write_json(job.path("card.json"), prepared.card)
