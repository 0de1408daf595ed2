"""Does a reconstruction identify its victim? Rank-1 retrieval in a stated gallery.

PSNR and SSIM can be poor although people recognise the picture, and fair although they do not.
Retrieval measures a breach directly: is the victim the gallery image
nearest to the reconstruction? (Yin et al., See through gradients, CVPR 2021, compare a network's
features and call the rate image identifiability precision.) The rate depends on the gallery:
report the source and the number of its images together with the chance level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradsiege.metrics._images import check_images

Features = Callable[[Tensor], Tensor]
"""Images [n, C, H, W] in [0, 1] -> feature rows [n, d], compared by cosine distance."""

SLACK = 1e-9
"""Cosine distances closer than this are a tie: they differ by rounding, not by content."""


def pixels(images: Tensor, side: int = 16) -> Tensor:
    """Small grey and colour planes of each image, every plane with mean zero.

    Images are averaged down to at most `side` x `side`, which forgives small shifts. The grey plane
    (mean of the channels) stands beside the colour planes, so that shape weighs about as much as
    hue; the zero means make the feature blind to brightness and tint. A constant image, which shows
    nothing, becomes the zero row.

    Args:
        images: [n, C, H, W] in [0, 1].
        side: Largest side of the small planes, in pixels.

    Returns:
        float64 [n, (C + 1) * h * w] with h = min(side, H) and w = min(side, W).

    >>> pixels(torch.tensor([[0.0, 1.0], [0.5, 0.5]]).reshape(1, 1, 2, 2)).tolist()
    [[-0.5, 0.5, 0.0, 0.0, -0.5, 0.5, 0.0, 0.0]]
    """
    height, width = (min(side, size) for size in images.shape[2:])
    small = torch.nn.functional.adaptive_avg_pool2d(images.double(), (height, width))
    planes = torch.cat([small.mean(dim=1, keepdim=True), small], dim=1)
    rows = (planes - planes.mean(dim=(2, 3), keepdim=True)).flatten(1)
    # A constant image leaves rounding errors, which must not be scaled up to unit norm.
    return rows.where(rows.abs().amax(dim=1, keepdim=True) > 1e-6, 0.0)


def retrieval_rank(
    reconstructions: Tensor, truth_index: Tensor, gallery: Tensor, features: Features = pixels
) -> Tensor:
    """Rank of each reconstruction's victim among the gallery's images, the nearest first.

    The distance is one minus the cosine of the feature rows. The rank counts every gallery image
    that is at most as far as the victim: ties are counted against the attacker, so a constant
    reconstruction, equally far from all, gets the worst rank. For the same reason
    the gallery should contain each victim once.

    Args:
        reconstructions: [n, C, H, W] in [0, 1]; failed ones hold NaN or infinity.
        truth_index: int64 [n], index of each victim in the gallery.
        gallery: [g, C, H, W] in [0, 1], g >= 2, including the victims.
        features: The features to compare, by default weight-free `pixels`.

    Returns:
        int64 [n] in [1, g]; 1 identifies the victim, failed reconstructions get g.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`; also a truth index
            outside the gallery, image shapes that differ, or features that are not finite rows.

    >>> gallery = torch.eye(4).reshape(4, 1, 2, 2)
    >>> constant = torch.full((1, 1, 2, 2), 0.5)
    >>> guesses = torch.cat([gallery[2:3], gallery[3:] * 0.2 + gallery[:1] * 0.8, constant])
    >>> retrieval_rank(guesses, torch.tensor([2, 3, 3]), gallery).tolist()
    [1, 2, 4]
    """
    finite = check_images(reconstructions, "reconstructions", allow_failed=True)
    check_images(gallery, "gallery")
    check_gallery(reconstructions, truth_index, gallery)
    ranks = torch.full_like(truth_index, len(gallery))
    if finite.any():
        with torch.no_grad():
            rows = _unit_rows(features, reconstructions[finite])
            distances = 1 - rows @ _unit_rows(features, gallery).T  # [finite, g]
        ranks[finite] = rank_among(distances, truth_index[finite], SLACK)
    return ranks


def rank_among(distances: Tensor, truth_index: Tensor, slack: float) -> Tensor:
    """Return the rank of the truth in each row of distances ``[n, g]``; ties within `slack` count against the attacker.

    >>> rank_among(torch.tensor([[0.1, 0.2, 0.2], [0.1, 0.2, 0.3]]), torch.tensor([1, 0]), 0.0).tolist()
    [3, 1]
    """
    to_truth = distances.gather(1, truth_index[:, None])
    return (distances <= to_truth + slack).sum(dim=1)


def chance_rank_one(gallery_size: int) -> float:
    """Return the probability that a random guess is nearest to its victim: 1 / g.

    >>> chance_rank_one(50)
    0.02
    """
    if gallery_size < 1:
        raise ValueError(f"a gallery holds at least one image, got {gallery_size}")
    return 1 / gallery_size


def _unit_rows(features: Features, images: Tensor) -> Tensor:
    """Feature rows scaled to length one, float64 [n, d]; zero rows stay zero."""
    rows = features(images).double()
    if rows.ndim != 2 or len(rows) != len(images):
        raise ValueError(f"features must be [{len(images)}, d], got {list(rows.shape)}")
    if not rows.isfinite().all():
        raise ValueError("features of finite images hold NaN or infinity; they must be finite")
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    unit: Tensor = rows / norms.where(norms > 0, 1.0)
    return unit


def check_gallery(reconstructions: Tensor, truth_index: Tensor, gallery: Tensor) -> None:
    """Refuse galleries and indices that do not belong to these reconstructions.

    reconstructions: ``[n, c, h, w]``; truth_index: ``[n]``; gallery: ``[m, c, h, w]``.
    """
    if reconstructions.shape[1:] != gallery.shape[1:]:
        raise ValueError(
            f"reconstructions are {list(reconstructions.shape[1:])} and gallery images "
            f"{list(gallery.shape[1:])}: bring both to one shape"
        )
    if len(gallery) < 2:
        raise ValueError("a gallery of one image identifies everybody: give at least two")
    if truth_index.dtype != torch.int64 or truth_index.shape != (len(reconstructions),):
        raise ValueError(
            f"truth_index must be int64 [{len(reconstructions)}], got {truth_index.dtype} "
            f"{list(truth_index.shape)}"
        )
    low, high = (int(value) for value in truth_index.aminmax())
    if low < 0 or high >= len(gallery):
        raise ValueError(f"truth_index {low}..{high} leaves the gallery of {len(gallery)} images")
