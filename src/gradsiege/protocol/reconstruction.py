"""What an attack hands over for scoring."""

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
    """What an attack returns, per victim.

    Attributes:
        images: ``[victims, images, c, h, w]`` in [0, 1], NaN where no finite loss was ever met.
        labels: ``[victims, images]``, given or inferred.
        matching_loss: ``[victims]``, of the returned images.
        restart, iteration: ``[victims]``, where the returned images come from.
        stages: ``[victims, stages, images, c, h, w]``, what each stage would have returned, and stage_losses
            ``[victims, stages]``, its matching loss; None for an attack of one stage.
        trace: (iteration, matching losses ``[victims, restarts]``) along the way; has a table of its own.
        failures: victims without a usable result, with the reason.
        kept: where a counter leaves channels out of the match, for every parameter which it keeps, ``[victims, out]``.
        engines: for each stage the engine that ran it, and what was measured before it was chosen.
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
    kept: dict[str, Tensor] = field(default_factory=dict)
    engines: list[dict[str, Any]] = field(default_factory=list)


def save_reconstruction(path: Path, found: Reconstruction) -> None:
    """Write everything but the trace and the engines."""
    tensors = {
        "images": found.images,
        "labels": found.labels,
        "matching_loss": found.matching_loss,
        "restart": found.restart,
        "iteration": found.iteration,
    }
    if found.stages is not None and found.stage_losses is not None:
        tensors |= {"stages": found.stages, "stage_losses": found.stage_losses}
    tensors |= {f"kept.{name}": value for name, value in found.kept.items()}
    metadata = {"failures": {str(victim): reason for victim, reason in found.failures.items()}}
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
        kept=group(tensors, "kept."),
    )
