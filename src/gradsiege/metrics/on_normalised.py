"""SSIM and LPIPS of normalised images, as the released evaluation of GIFD (arXiv 2308.04699) computes both.

Both metrics are defined on other scales, so these numbers say nothing by themselves. They make published numbers comparable
with measured ones: claims use them, and neither the registry nor any table lists them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from gradsiege.metrics import deep_features
from gradsiege.metrics._images import per_image
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.deep_features import DeepFeatures
from gradsiege.metrics.fidelity import mean_similarity
from gradsiege.metrics.registry import METRICS

Statistics = tuple[Tensor, Tensor]
COLUMNS = ("ssim_on_normalised", "lpips_on_normalised")
SMALLEST_SIDE = 31  # of AlexNet's third layer one pixel is left


def structural_similarity(
    reconstructions: Tensor, truths: Tensor, statistics: Statistics
) -> Tensor:
    """Return SSIM of each pair of normalised images, with the constants of images in [0, 1], float64 ``[n]``.

    Normalised images have about four times the deviation of images in [0, 1], so the constants weigh less.

    Args:
        reconstructions, truths: ``[n, c, h, w]`` in [0, 1].
        statistics: mean and deviation of every channel, each ``[c]``, which normalise images.

    >>> import torch
    >>> ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> unchanged, narrow = [torch.zeros(1), torch.ones(1)], [torch.zeros(1), torch.full((1,), 0.25)]
    >>> [round(structural_similarity(ramp / 2, ramp, tuple(x)).item(), 4) for x in (unchanged, narrow)]
    [0.6521, 0.6408]
    """

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        return mean_similarity(_normalised(x, statistics), _normalised(y, statistics))

    return per_image(similarity, reconstructions, truths, METRICS["ssim"].smallest_side)


def lpips(reconstructions: Tensor, truths: Tensor, statistics: Statistics) -> Tensor | Absent:
    """Return LPIPS (AlexNet) of each pair of normalised images at their own size, taken for images in [-1, 1].

    The release enlarges no image, so that AlexNet's last layers see one pixel of an image of 32 px. Smaller ones than 31 px are NaN.

    Args:
        reconstructions, truths: ``[n, c, h, w]`` in [0, 1].
        statistics: mean and deviation of every channel, each ``[c]``, which normalise images.

    Returns:
        float64 ``[n]``, 0 for equal images; or `Absent` without the weights.
    """
    loaded = deep_features.load("alex")
    if isinstance(loaded, Absent):
        return loaded
    features = _at_own_size(loaded)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        # Features are of images in [0, 1], which they bring to [-1, 1].
        return features.distance(*((_normalised(image, statistics) + 1) / 2 for image in (x, y)))

    return per_image(distance, reconstructions, truths, SMALLEST_SIDE)


def measured(
    reconstructions: Tensor, truths: Tensor, statistics: Statistics
) -> dict[str, Tensor | Absent]:
    """Return both metrics of each pair of images ``[n, c, h, w]`` by the `COLUMNS` of score tables; arguments as those of `lpips`."""
    values = (
        metric(reconstructions, truths, statistics) for metric in (structural_similarity, lpips)
    )
    return dict(zip(COLUMNS, values, strict=True))


def _normalised(images: Tensor, statistics: Statistics) -> Tensor:
    mean, deviation = (value.to(images)[:, None, None] for value in statistics)
    return (images - mean) / deviation


@lru_cache(maxsize=2)
def _at_own_size(features: DeepFeatures) -> DeepFeatures:
    """The same object for the same features, so that it remembers what it has embedded."""
    return replace(features, smallest=1)
