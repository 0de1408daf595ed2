"""The reconstructions of an attack, which the scoring stage reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.protocol.observation import group

RECONSTRUCTIONS = "reconstructions"


@dataclass(frozen=True)
class Reconstruction:
    """The result of an attack, per victim.

    Attributes:
        images: ``[victims, images, c, h, w]`` in [0, 1], NaN where the attack never had a finite loss.
        labels: ``[victims, images]``, given or inferred.
        matching_loss: ``[victims]``, of the returned images.
        restart, iteration: ``[victims]``, where the returned images come from.
        stages: ``[victims, stages, images, c, h, w]``, the images of each stage, and stage_losses
            ``[victims, stages]``, their matching losses; None for an attack of one stage.
        trace: (iteration, matching losses ``[victims, restarts]``) during the attack; stored in a separate table.
        failures: victims without a usable result, with the reason.
        kept_channels: for a counter that drops channels, the channels of every parameter that it keeps, bool ``[victims, out]``.
        engines: for each stage its engine, and the measurements that led to the choice.
        candidate_losses: ``[victims, candidates]``, of every image of the gallery that an attack chose among, in its order; None for
            other attacks.
    """

    images: Tensor
    labels: Tensor
    matching_loss: Tensor
    restart: Tensor
    iteration: Tensor
    stages: Tensor | None = None
    stage_losses: Tensor | None = None
    trace: list[tuple[int, Tensor]] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    kept_channels: dict[str, Tensor] = field(default_factory=dict)
    engines: list[dict[str, Any]] = field(default_factory=list)
    candidate_losses: Tensor | None = None


def save_reconstruction(path: Path, reconstruction: Reconstruction) -> None:
    """Write everything but the trace and the engines."""
    tensors = {
        "images": reconstruction.images,
        "labels": reconstruction.labels,
        "matching_loss": reconstruction.matching_loss,
        "restart": reconstruction.restart,
        "iteration": reconstruction.iteration,
    }
    if reconstruction.stages is not None and reconstruction.stage_losses is not None:
        tensors |= {"stages": reconstruction.stages, "stage_losses": reconstruction.stage_losses}
    if reconstruction.candidate_losses is not None:
        tensors["candidate_losses"] = reconstruction.candidate_losses
    tensors |= {f"kept.{name}": value for name, value in reconstruction.kept_channels.items()}
    metadata = {
        "failures": {str(victim): reason for victim, reason in reconstruction.failures.items()}
    }
    artifacts.write_tensors(path, tensors, RECONSTRUCTIONS, metadata)


def load_reconstruction(path: Path) -> Reconstruction:
    """Read what an attack wrote, without its trace and engines."""
    tensors, metadata = artifacts.read_tensors(path, RECONSTRUCTIONS)
    failures = {int(victim): reason for victim, reason in metadata["failures"].items()}
    return Reconstruction(
        images=tensors["images"],
        labels=tensors["labels"],
        matching_loss=tensors["matching_loss"],
        restart=tensors["restart"],
        iteration=tensors["iteration"],
        stages=tensors.get("stages"),
        stage_losses=tensors.get("stage_losses"),
        failures=failures,
        kept_channels=group(tensors, "kept."),
        candidate_losses=tensors.get("candidate_losses"),
    )
