"""Images under a Gaussian prior, searched in the coordinates in which that prior is standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.variables import Variables

WHITE = "z"


@dataclass(frozen=True)
class GaussianImages:
    """Images x = mu_y + L z, so that z is N(0, I) where x is N(mu_y, L L^T); a search starts at z = 0, the class's mean.

    Images may leave [0, 1], as those of a Gaussian do; the attack's result is clipped at the end. Equal starts make
    restarts equal, unless the optimizer draws.

    Attributes:
        means: mu, ``[classes, c, h, w]`` in [0, 1].
        factor: L, ``[d, d]`` for images of d values.
        count: images of one element.
        mean, deviation: ``[channels]``, the global model's own normalisation.
    """

    means: Tensor
    factor: Tensor
    count: int
    mean: Tensor
    deviation: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        """Return z = 0, ``[images, d]``."""
        return {WHITE: torch.zeros(self.count, len(self.factor), device=self.factor.device)}

    def follow(self, before: Variables) -> Variables:
        """Go on from the earlier phase's z."""
        return {WHITE: before[WHITE]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu_y + L z, as the network sees it and in pixels.

        Both ``[images, c, h, w]``; z is ``[images, d]``.
        """
        away = (x[WHITE] @ self.factor.T).unflatten(-1, self.means.shape[1:])
        images = self.means[labels] + away
        return (images - self.mean[:, None, None]) / self.deviation[:, None, None], images

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Labels are not optimised.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Every point is admissible."""
        return x
