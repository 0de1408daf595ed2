"""All metrics of the reconstructions of one observation, after they were assigned to their truths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradsiege.metrics import on_normalised
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.assignment import assign
from gradsiege.metrics.identification import retrieval_rank
from gradsiege.metrics.perceptual_gallery import PerceptualGallery
from gradsiege.metrics.registry import METRICS


@dataclass(frozen=True)
class Scene:
    """The truth that all reconstructions of one observation are compared with.

    Attributes:
        truths: ``[victims, images, c, h, w]`` in [0, 1]; labels: ``[victims, images]``.
        gallery: the victims' images, then test images as distractors, ``[g, c, h, w]`` in [0, 1].
        statistics: mean and deviation of the data set's channels, each ``[c]``; None leaves out what needs them.
    """

    truths: Tensor
    labels: Tensor
    gallery: Tensor
    statistics: on_normalised.Statistics | None = None

    @cached_property
    def perceptual(self) -> PerceptualGallery:
        """The gallery for retrieval by LPIPS; its features are computed once for all reconstructions."""
        return PerceptualGallery(self.gallery, self.truths.shape[0] * self.truths.shape[1])


@dataclass(frozen=True)
class Measured:
    """Reconstructions in the order of their truths, ``[victims * images, c, h, w]``, and their metrics.

    Attributes:
        images: the reconstructions.
        numbers: every metric of the registry by name, and those of `on_normalised` if the scene has statistics, float64
            ``[victims * images]``; NaN if it is absent.
        ranks, perceptual_ranks: retrieval ranks by pixels and by LPIPS, int64 ``[victims * images]``; the second is None
            without the weights of LPIPS.
        scene: the truth that they were compared with.
    """

    images: Tensor
    numbers: dict[str, Tensor]
    ranks: Tensor
    perceptual_ranks: Tensor | None
    scene: Scene


def measure(images: Tensor, scene: Scene) -> Measured:
    """Assign each victim's reconstructions to its truths (least total MSE), then measure every pair.

    Args:
        images: reconstructions ``[victims, images, c, h, w]`` in [0, 1]; failed ones hold NaN.
        scene: the truth, with images of the same shape.

    >>> truths = torch.tensor([0.25, 0.75]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, 16, 16)
    >>> scene = Scene(truths, torch.zeros(1, 2), truths[0])
    >>> measure(truths.flip(1), scene).numbers["mse"].tolist()
    [0.0, 0.0]
    """
    pairs = zip(images, scene.truths, strict=True)
    ordered = torch.cat([batch[assign(batch, truth)] for batch, truth in pairs])
    truths = scene.truths.flatten(0, 1)
    missing = torch.full((len(ordered),), torch.nan)
    numbers = {
        name: missing if isinstance(values, Absent) else values
        for name, values in _metrics(ordered, truths, scene).items()
    }
    index = torch.arange(len(truths))
    ranks = retrieval_rank(ordered, index, scene.gallery)
    perceptual = scene.perceptual.ranks(ordered, index)
    return Measured(
        ordered, numbers, ranks, None if isinstance(perceptual, Absent) else perceptual, scene
    )


def absent_metrics(scene: Scene) -> dict[str, str]:
    """Return the reason for every metric, by name, that cannot be computed on these images or on this machine."""
    first = scene.truths.flatten(0, 1)[:1]
    height, width = first.shape[-2:]
    values = _metrics(first, first, scene)
    reasons: dict[str, str] = {}
    for name, value in values.items():
        absence = METRICS[name].absence(height, width) if name in METRICS else None
        if absence is None and isinstance(value, Absent):
            absence = value
        if absence is not None:
            reasons[name] = absence.reason
    return reasons


def _metrics(ordered: Tensor, truths: Tensor, scene: Scene) -> dict[str, Tensor | Absent]:
    """Return every metric of pairs of images ``[n, c, h, w]`` by its column."""
    values = {name: metric.load()(ordered, truths) for name, metric in METRICS.items()}
    if scene.statistics is not None:
        values |= on_normalised.measured(ordered, truths, scene.statistics)
    return values
