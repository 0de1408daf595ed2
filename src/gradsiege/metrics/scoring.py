"""The rows of a score table: what one control, bound or attack reached on every victim image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import torch
from torch import Tensor

from gradsiege.images import to_bytes
from gradsiege.metrics.candidate_rank import candidate_rank
from gradsiege.metrics.gradient_level import gradient_level
from gradsiege.metrics.labels import label_accuracy
from gradsiege.metrics.measurement import Measured, Scene, measure
from gradsiege.metrics.stages import last_and_best_psnr, psnr_by_stage
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.reconstruction import Reconstruction

BOUND = "perfect_inversion"
# Columns that only attacks of several stages fill.
STAGES = ("psnr_last_stage", "psnr_best_stage")
# The same, a list with one number per stage in each row.
BY_STAGE = ("psnr_by_stage", "matching_loss_by_stage")


@dataclass(frozen=True)
class Scored:
    """The numbers of one source of reconstructions.

    Attributes:
        attack: name of the attack, control or bound, and kind: which of these it is.
        measured: its images in the order of the truths, with every metric.
        threat_model: of an attack.
        failures: victims without a result, with the reason.
        of_victims: ``[victims]`` by column.
        by_stage: columns of `STAGES` and `BY_STAGE`, one value or list per image; empty for an attack of one stage.
        further: one value per image by column, for tables that have such columns.
        cost: iterations, restarts and evaluations.
    """

    attack: str
    kind: str
    measured: Measured
    threat_model: str = ""
    failures: Mapping[int, str] = field(default_factory=dict)
    of_victims: Mapping[str, list[float]] = field(default_factory=dict)
    by_stage: Tensors = field(default_factory=dict)
    further: Tensors = field(default_factory=dict)
    cost: Mapping[str, int] = field(default_factory=dict)

    def pictures(self) -> Tensor:
        """Return the images as bytes ``[victims * images, c, h, w]``, black where there is none."""
        return to_bytes(torch.nan_to_num(self.measured.images, 0.0, 1.0, 0.0))

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per victim image."""
        return [self._row(place) for place in range(len(self.measured.images))]

    def _row(self, place: int) -> dict[str, Any]:
        measured, labels = self.measured, self.measured.scene.labels
        victim, image = divmod(place, labels.shape[1])
        rank, perceptual = int(measured.ranks[place]), measured.perceptual_ranks
        shown = self.by_stage
        return {
            "threat_model": self.threat_model,
            "attack": self.attack,
            "kind": self.kind,
            "victim": victim,
            "image": image,
            "label": int(labels[victim, image]),
            "status": "failed" if victim in self.failures else "complete",
            "reason": self.failures.get(victim, ""),
            **{
                name: self.of_victims[name][victim] if name in self.of_victims else None
                for name in ("matching_loss", "label_accuracy")
            },
            **{name: float(values[place]) for name, values in measured.numbers.items()},
            **{name: float(shown[name][place]) if shown else nan for name in STAGES},
            **{name: shown[name][place].tolist() if shown else None for name in BY_STAGE},
            "rank": rank,
            "rank_lpips": nan if perceptual is None else float(perceptual[place]),
            "gallery_size": len(measured.scene.gallery),
            "identified": rank == 1,
            **{name: self.cost.get(name, 0) for name in ("iterations", "restarts", "evaluations")},
            **{name: float(values[place]) for name, values in self.further.items()},
        }


def bound(trained: Tensor, scene: Scene) -> Scored:
    """Measure an attack that finds exactly what the clients trained on: the best that any inversion can do.

    It exists where the defense transforms the batch. Pixels outside [0, 1] are cut off, as in every picture.

    Args:
        trained: what the victims trained on, ``[victims, images, c, h, w]``.
        scene: what it is measured against.
    """
    finite = trained.isfinite().flatten(1).all(1)
    reason = "the images that the client trained on are not finite"
    failures = {victim: reason for victim in range(len(trained)) if not finite[victim]}
    return Scored(BOUND, "bound", measure(trained.clamp(0, 1), scene), failures=failures)


def reconstructed(
    reconstruction: Reconstruction,
    scene: Scene,
    attack: str,
    threat_model: str,
    cost: Mapping[str, int],
    products: Tensors | None = None,
) -> Scored:
    """Measure what an attack returned; images of failed victims count as NaN.

    The reconstruction holds images ``[victims, images, c, h, w]`` in [0, 1].

    Args:
        reconstruction: the attack's result.
        scene: what it is measured against.
        attack, threat_model, cost: as the attributes of `Scored`.
        products: of the explained victims, for an attack that left channels out (see `gradient_level`).
    """
    victims, count = scene.labels.shape
    images, failed = reconstruction.images.clone(), list(reconstruction.failures)
    images[failed] = torch.nan
    by_stage: Tensors = {}
    if reconstruction.stages is not None and reconstruction.stage_losses is not None:
        stages = reconstruction.stages.clone()
        stages[failed] = torch.nan
        psnr = psnr_by_stage(stages, scene.truths)
        losses = reconstruction.stage_losses.repeat_interleave(count, 0)
        by_stage = {"psnr_by_stage": psnr, "matching_loss_by_stage": losses}
        by_stage |= last_and_best_psnr(psnr, count)
    further = (
        {}
        if products is None
        else gradient_level(products, reconstruction.kept_channels, victims, count)
    )
    if reconstruction.candidate_losses is not None:
        further["candidate_rank"] = candidate_rank(reconstruction.candidate_losses, scene.gallery)
        further["candidate_rank_among_victims"] = candidate_rank(
            reconstruction.candidate_losses, scene.gallery, among=victims
        )
    of_victims = {
        "matching_loss": reconstruction.matching_loss.tolist(),
        "label_accuracy": label_accuracy(reconstruction.labels, scene.labels).tolist(),
    }
    return Scored(
        attack,
        # An image that was chosen from a gallery with the private one in it has no fidelity.
        "attack" if reconstruction.candidate_losses is None else "identification",
        measure(images, scene),
        threat_model,
        reconstruction.failures,
        of_victims,
        by_stage,
        further,
        cost,
    )
