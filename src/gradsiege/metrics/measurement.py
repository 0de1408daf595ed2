"""All metrics of the reconstructions of one observation, each victim's assigned to its truths first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradsiege.metrics.absent import Absent
from gradsiege.metrics.assignment import assign
from gradsiege.metrics.identification import retrieval_rank
from gradsiege.metrics.perceptual_gallery import PerceptualGallery
from gradsiege.metrics.registry import METRICS


@dataclass(frozen=True)
class Scene:
    """What all reconstructions of one observation are measured against.

    Attributes:
        truths: ``[victims, images, c, h, w]``; labels: ``[victims, images]``.
        gallery: the victims, then test images as distractors, ``[g, c, h, w]``.
    """

    truths: Tensor
    labels: Tensor
    gallery: Tensor

    @cached_property
    def perceptual(self) -> PerceptualGallery:
        """The gallery for retrieval by LPIPS; its features are computed once for all reconstructions."""
        return PerceptualGallery(self.gallery, self.truths.shape[0] * self.truths.shape[1])


@dataclass(frozen=True)
class Measured:
    """Reconstructions in the order of their truths, ``[victims * images, ...]``, and their numbers.

    `ranks` are by pixels, `perceptual_ranks` by LPIPS, or None where its weights are absent.
    """

    images: Tensor
    numbers: dict[str, Tensor]
    ranks: Tensor
    perceptual_ranks: Tensor | None
    scene: Scene


def measure(images: Tensor, scene: Scene) -> Measured:
    """Assign each victim's reconstructions to its truths (least total MSE), then measure every pair."""
    pairs = zip(images, scene.truths, strict=True)
    ordered = torch.cat([found[assign(found, truth)] for found, truth in pairs])
    truths = scene.truths.flatten(0, 1)
    numbers = {}
    for name, metric in METRICS.items():
        values = metric.load()(ordered, truths)
        numbers[name] = (
            torch.full((len(ordered),), torch.nan) if isinstance(values, Absent) else values
        )
    index = torch.arange(len(truths))
    ranks = retrieval_rank(ordered, index, scene.gallery)
    perceptual = scene.perceptual.ranks(ordered, index)
    return Measured(
        ordered, numbers, ranks, None if isinstance(perceptual, Absent) else perceptual, scene
    )


def absent_metrics(scene: Scene) -> dict[str, str]:
    """Return the metrics that could not be computed here, with the reason."""
    truths = scene.truths.flatten(0, 1)
    height, width = truths.shape[-2:]
    reasons: dict[str, str] = {}
    for name, metric in METRICS.items():
        absence = metric.absence(height, width)
        if absence is None:
            found = metric.load()(truths[:1], truths[:1])
            absence = found if isinstance(found, Absent) else None
        if absence is not None:
            reasons[name] = absence.reason
    return reasons
