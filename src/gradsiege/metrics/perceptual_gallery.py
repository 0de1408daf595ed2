"""Retrieval by LPIPS instead of pixels: is the victim the gallery image most similar to the reconstruction?

LPIPS is the squared distance of two vectors (`deep_features`), so every image passes through AlexNet once.
Images are compared at 64 pixels: smaller ones are enlarged as LPIPS enlarges them, larger ones are averaged
down, which bounds the cost of a large gallery. The caveats of `identification`, which compares pixels, apply here, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradsiege.metrics import deep_features
from gradsiege.metrics._images import check_images
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.deep_features import DeepFeatures
from gradsiege.metrics.identification import check_gallery, rank_among

SIDE = deep_features.SMALLEST["alex"]
"""Side in pixels at which images are compared."""

SLACK = 1e-5
"""Values of LPIPS closer than this are a tie: they may differ by rounding, not by content."""


@dataclass(frozen=True)
class PerceptualGallery:
    """A gallery for retrieval by LPIPS with AlexNet.

    Attributes:
        images: ``[g, c, h, w]`` in [0, 1], g >= 2.
        victims: how many of them, the first ones, another observation does not have. The vectors of the others are
            remembered.
    """

    images: Tensor
    victims: int = 0

    @cached_property
    def features(self) -> DeepFeatures | Absent:
        """The verified network, or the reason why there is none."""
        return deep_features.load("alex")

    @cached_property
    def rows(self) -> Tensor:
        """The gallery's vectors, float32 ``[g, d]``, computed when they are first needed."""
        check_images(self.images, "gallery")
        assert isinstance(self.features, DeepFeatures)
        images = _reduced(self.images)
        others = self.features.remembered(images[self.victims :])
        if not self.victims:
            return others
        return torch.cat([self.features.embedding(images[: self.victims]), others])

    def ranks(self, reconstructions: Tensor, truth_index: Tensor) -> Tensor | Absent:
        """Rank of each reconstruction's victim among the gallery's images, the most similar first.

        Ties are counted against the attacker. Failed reconstructions get the last rank.

        Args:
            reconstructions: ``[n, c, h, w]`` in [0, 1]; failed ones hold NaN or infinity.
            truth_index: int64 ``[n]``, index of each victim in the gallery.

        Returns:
            int64 ``[n]`` in [1, g], or `Absent` if the network is not there.

        Raises:
            TypeError, ValueError: as `gradsiege.metrics.identification.retrieval_rank`.
        """
        if isinstance(self.features, Absent):
            return self.features
        finite = check_images(reconstructions, "reconstructions", allow_failed=True)
        check_gallery(reconstructions, truth_index, self.images)
        ranks = torch.full_like(truth_index, len(self.images))
        if finite.any():
            rows = self._embedding(reconstructions[finite])
            ranks[finite] = rank_among(self._distances(rows), truth_index[finite], SLACK)
        return ranks

    @cached_property
    def _lengths(self) -> Tensor:
        """Squared lengths of the gallery's vectors, float64 ``[g]``."""
        return _squared_lengths(self.rows)

    def _distances(self, rows: Tensor) -> Tensor:
        """LPIPS of vectors ``[n, d]`` and every gallery image, float64 ``[n, g]``."""
        products = (rows @ self.rows.T).double()
        return _squared_lengths(rows)[:, None] + self._lengths - 2 * products

    @torch.no_grad()
    def _embedding(self, images: Tensor) -> Tensor:
        assert isinstance(self.features, DeepFeatures)
        return self.features.embedding(_reduced(images))


def _reduced(images: Tensor) -> Tensor:
    """Average images down to `SIDE` pixels if they are larger."""
    if min(images.shape[2:]) <= SIDE:
        return images
    return torch.nn.functional.adaptive_avg_pool2d(images, (SIDE, SIDE))


def _squared_lengths(rows: Tensor) -> Tensor:
    """Squared length of each row, float64 ``[n]``."""
    return torch.stack([row.double().square().sum() for row in rows])
